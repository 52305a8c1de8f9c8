//! What happened in a call: append-only, the source of every metric.

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;

use crate::{
    call_patch::{CallPatch, apply_patch},
    conn::Conn,
    error::Result,
    id::Id,
    limits,
    pool::Store,
    sql::sql,
    text::Json,
};

/// One event of a call.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct CallEvent {
    /// Row id.
    pub id: Id,
    /// The call.
    pub call: Id,
    /// Place in the call's list, from 1.
    pub n: i64,
    /// When it happened.
    pub at: i64,
    /// A word of the call driver; `begin` and `end` are ours.
    pub kind: String,
    /// Details.
    pub data: Json,
}

crate::lite::row!(CallEvent { id, call, n, at, kind, data });

/// Holds the call's list for the rest of the transaction: lines get their places one after another.
async fn lock(c: &mut Conn, call: Id) -> Result<()> {
    c.lock(format!("call_event:{call}")).await
}

pub(crate) async fn insert(c: &mut Conn, call: Id, at: i64, kind: &str, data: &Value) -> Result<i64> {
    lock(c, call).await?;
    insert_locked(c, call, at, kind, data).await
}

async fn insert_locked(c: &mut Conn, call: Id, at: i64, kind: &str, data: &Value) -> Result<i64> {
    let data = limits::json("data", data)?;
    let query = sql("INSERT INTO call_event (id, call, n, at, kind, data) \
         SELECT $1, $2, COALESCE(MAX(n), 0) + 1, $3, $4, $5 FROM call_event WHERE call = $2 \
         RETURNING n")
    .bind(Id::new())
    .bind(call)
    .bind(at)
    .bind(kind)
    .bind(data);
    let (n,): (i64,) = c.one(query).await?;
    Ok(n)
}

/// The first line of a call made in this transaction: nobody else knows it yet.
pub(crate) async fn insert_first(c: &mut Conn, call: Id, at: i64, kind: &str, data: &Value) -> Result<()> {
    let query = sql("INSERT INTO call_event (id, call, n, at, kind, data) VALUES ($1, $2, 1, $3, $4, $5)")
        .bind(Id::new())
        .bind(call)
        .bind(at)
        .bind(kind)
        .bind(limits::json("data", data)?);
    c.run(query).await.map(|_| ())
}

/// A line of a call's story.
#[derive(Debug, Clone)]
pub enum CallLine {
    /// Something happened.
    Event {
        /// When.
        at: i64,
        /// A word of the call driver.
        kind: String,
        /// Details.
        data: Value,
    },
    /// The row has new facts.
    Patch(CallPatch),
}

pub(crate) async fn insert_lines(c: &mut Conn, call: Id, lines: Vec<CallLine>) -> Result<()> {
    // The patches of one transaction are one statement: a later value wins.
    let mut patched: Option<CallPatch> = None;
    let mut locked = false;
    for line in lines {
        match line {
            CallLine::Event { at, kind, data } => {
                limits::text("kind", &kind, limits::SHORT_TEXT_CHARS_MAX)?;
                if !std::mem::replace(&mut locked, true) {
                    lock(c, call).await?;
                }
                insert_locked(c, call, at, &kind, &data).await?;
            }
            CallLine::Patch(patch) => patched = Some(patched.unwrap_or_default().then(patch)),
        }
    }
    match patched {
        Some(patch) => apply_patch(c, call, patch).await,
        None => Ok(()),
    }
}

impl Store {
    /// Adds several lines in their order, in one transaction: one commit instead of one a line.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such call; nothing of the lines is kept then.
    pub async fn call_lines(&self, call: Id, lines: Vec<CallLine>) -> Result<()> {
        self.write(move |c| Box::pin(insert_lines(c, call, lines))).await
    }

    /// Adds an event to a call; its place in the call's list.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such call.
    pub async fn call_event(&self, call: Id, at: i64, kind: &str, data: Value) -> Result<i64> {
        limits::text("kind", kind, limits::SHORT_TEXT_CHARS_MAX)?;
        let kind = kind.to_owned();
        self.write(move |c| Box::pin(async move { insert(c, call, at, &kind, &data).await })).await
    }

    /// The events of a call in their order.
    ///
    /// # Errors
    /// As any read.
    pub async fn call_events(&self, call: Id) -> Result<Vec<CallEvent>> {
        let query = sql("SELECT id, call, n, at, kind, data FROM call_event \
                         WHERE call = $1 ORDER BY n")
        .bind(call);
        self.reader().await?.all(query).await
    }
}
