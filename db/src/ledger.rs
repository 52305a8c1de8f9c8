//! The embedded ledger: a small case core in our own database. It is reached through the same
//! outbox as any other; nothing outside this file touches its tables.

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;

use crate::{
    case_event::CaseStage,
    conn::Conn,
    error::{DbError, Result},
    ledger_group::NewCase,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
    text::Json,
};

/// A case of the ledger.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct LedgerCase {
    /// Its number.
    pub case_no: String,
    /// The key it was created with.
    pub idempotency_key: String,
    /// What was handed over.
    pub payload: Json,
    /// Where it stands.
    pub stage: CaseStage,
    /// When it was created.
    pub created_at: i64,
    /// When it changed last.
    pub updated_at: i64,
}

crate::lite::row!(LedgerCase { case_no, idempotency_key, payload, stage, created_at, updated_at });

/// An event of the ledger, to be read in order of `seq`.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct LedgerEvent {
    /// The cursor: rises in commit order.
    pub seq: i64,
    /// The event's id.
    pub event_id: String,
    /// The case.
    pub case_no: String,
    /// What caused it: `create`, `stage`, `close`, `reopen` or `remind`.
    pub command: String,
    /// Where the case stands after it.
    pub stage: CaseStage,
    /// A remark.
    pub note: Option<String>,
    /// When.
    pub at: i64,
}

crate::lite::row!(LedgerEvent { seq, event_id, case_no, command, stage, note, at });

/// What can be asked of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerCommand {
    /// Close it.
    Close,
    /// Take it up again.
    Reopen,
    /// Hurry; the stage stays.
    Remind,
    /// The handling unit reports a stage.
    Stage(CaseStage),
}

impl LedgerCommand {
    fn word(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Reopen => "reopen",
            Self::Remind => "remind",
            Self::Stage(_) => "stage",
        }
    }
}

macro_rules! select_case {
    ($tail:literal) => {
        sql(concat!(
            "SELECT case_no, idempotency_key, payload, stage, created_at, updated_at \
             FROM ledger_case ",
            $tail
        ))
    };
}

/// The number of the ledger's nth case.
pub(crate) fn case_no(n: i64) -> String {
    format!("LD{n:08}")
}

struct Entry {
    key: String,
    case_no: String,
    command: &'static str,
    stage: CaseStage,
    note: Option<String>,
    at: i64,
}

async fn append(c: &mut Conn, entry: Entry) -> Result<()> {
    let seq = c.next("ledger_event").await?;
    let query = sql("INSERT INTO ledger_event (seq, event_id, idempotency_key, case_no, command, \
         stage, note, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
    .bind(seq)
    .bind(format!("ledger-{seq}"))
    .bind(entry.key)
    .bind(entry.case_no)
    .bind(entry.command)
    .bind(entry.stage)
    .bind(entry.note)
    .bind(entry.at);
    c.run(query).await.map(|_| ())
}

async fn create(c: &mut Conn, key: String, payload: String, at: i64) -> Result<(String, bool)> {
    c.lock(format!("ledger:{key}")).await?;
    let known = select_case!("WHERE idempotency_key = $1").bind(key.as_str());
    if let Some(case) = c.opt::<LedgerCase>(known).await? {
        return Ok((case.case_no, false));
    }
    let case_no = case_no(c.next("ledger_case").await?);
    let query = sql("INSERT INTO ledger_case (case_no, idempotency_key, payload, stage, \
                     created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)")
    .bind(case_no.as_str())
    .bind(key.as_str())
    .bind(payload)
    .bind(CaseStage::Received)
    .bind(at);
    c.run(query).await?;
    let stage = CaseStage::Received;
    let entry = Entry { key, case_no: case_no.clone(), command: "create", stage, note: None, at };
    append(c, entry).await?;
    Ok((case_no, true))
}

async fn command(c: &mut Conn, command: LedgerCommand, mut entry: Entry) -> Result<bool> {
    c.lock(format!("ledger:{}", entry.key)).await?;
    let known = sql("SELECT seq FROM ledger_event WHERE idempotency_key = $1");
    if c.opt::<(i64,)>(known.bind(entry.key.as_str())).await?.is_some() {
        return Ok(false);
    }
    // Takes the case's row, so that two commands on one case follow each other.
    let touch =
        sql("UPDATE ledger_case SET updated_at = $2 WHERE case_no = $1").bind(entry.case_no.as_str()).bind(entry.at);
    if c.run(touch).await? == 0 {
        return Err(DbError::NotFound);
    }
    let case: LedgerCase = c.one(select_case!("WHERE case_no = $1").bind(entry.case_no.as_str())).await?;
    entry.stage = match command {
        LedgerCommand::Close => CaseStage::Closed,
        LedgerCommand::Reopen => CaseStage::Reopened,
        LedgerCommand::Remind => case.stage,
        LedgerCommand::Stage(stage) => stage,
    };
    let update = sql("UPDATE ledger_case SET stage = $2 WHERE case_no = $1").bind(case.case_no).bind(entry.stage);
    c.run(update).await?;
    append(c, entry).await?;
    Ok(true)
}

impl Store {
    /// Takes a case; its number. `false` beside the number an earlier request with this key got.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a key or payload that is too long.
    pub async fn ledger_create(&self, idempotency_key: &str, payload: &Value, at: i64) -> Result<(String, bool)> {
        limits::text("idempotency_key", idempotency_key, SHORT_TEXT_CHARS_MAX)?;
        let payload = limits::json("payload", payload)?;
        let key = idempotency_key.to_owned();
        if let Some(gather) = self.cases_gathered() {
            let new = NewCase { key: key.clone(), payload: payload.clone(), at };
            if let Some(taken) = gather.take(new, None).await? {
                return Ok(taken);
            }
        }
        self.write(move |c| Box::pin(create(c, key, payload, at))).await
    }

    /// Carries out a command on a case; `false` when one with this key was carried out before.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such case.
    pub async fn ledger_command(
        &self,
        idempotency_key: &str,
        case_no: &str,
        what: LedgerCommand,
        note: Option<&str>,
        at: i64,
    ) -> Result<bool> {
        limits::text("idempotency_key", idempotency_key, SHORT_TEXT_CHARS_MAX)?;
        limits::text("note", note.unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
        let entry = Entry {
            key: idempotency_key.to_owned(),
            case_no: case_no.to_owned(),
            command: what.word(),
            // Settled once the case is read.
            stage: CaseStage::Received,
            note: note.map(str::to_owned),
            at,
        };
        self.write(move |c| Box::pin(command(c, what, entry))).await
    }

    /// The events behind `cursor` (0 for the beginning), at most 200.
    ///
    /// # Errors
    /// As any read.
    pub async fn ledger_events_after(&self, cursor: i64, limit: i64) -> Result<Vec<LedgerEvent>> {
        let query = sql("SELECT seq, event_id, case_no, command, stage, note, at \
                         FROM ledger_event WHERE seq > $1 ORDER BY seq LIMIT $2")
        .bind(cursor)
        .bind(limits::page(limit));
        self.reader().await?.all(query).await
    }

    /// A case by number.
    ///
    /// # Errors
    /// As any read.
    pub async fn ledger_case(&self, case_no: &str) -> Result<Option<LedgerCase>> {
        self.reader().await?.opt(select_case!("WHERE case_no = $1").bind(case_no)).await
    }

    /// The case an idempotency key led to: the question after an unknown outcome.
    ///
    /// # Errors
    /// As any read.
    pub async fn ledger_find(&self, idempotency_key: &str) -> Result<Option<LedgerCase>> {
        let query = select_case!("WHERE idempotency_key = $1").bind(idempotency_key);
        self.reader().await?.opt(query).await
    }

    /// Whether a command with this key was carried out.
    ///
    /// # Errors
    /// As any read.
    pub async fn ledger_command_known(&self, idempotency_key: &str) -> Result<bool> {
        let query = sql("SELECT seq FROM ledger_event WHERE idempotency_key = $1");
        let query = query.bind(idempotency_key);
        Ok(self.reader().await?.opt::<(i64,)>(query).await?.is_some())
    }
}
