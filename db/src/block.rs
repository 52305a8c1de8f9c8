//! Senders who aren't heard (黑名单): with a reason, until a time, lifted by a person.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::Result,
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    party::Address,
    pool::Store,
    sql::sql,
};

/// A sender who isn't heard.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Block {
    /// Row id.
    pub id: Id,
    /// Keyed hash of number, openid or mail address.
    #[serde(skip)]
    pub subject_hash: String,
    /// The sender as people may see them.
    pub subject_mask: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub from_at: i64,
    /// Until when; `None`: until lifted.
    pub until_at: Option<i64>,
    /// Who decided: a user.
    pub created_by: String,
    /// When it was lifted.
    pub lifted_at: Option<i64>,
    /// By whom.
    pub lifted_by: Option<String>,
}

crate::lite::row!(Block {
    id,
    subject_hash,
    subject_mask,
    reason,
    from_at,
    until_at,
    created_by,
    lifted_at,
    lifted_by
});

macro_rules! select_block {
    ($tail:expr) => {
        sql(concat!(
            "SELECT id, subject_hash, subject_mask, reason, from_at, until_at, created_by, lifted_at, lifted_by \
             FROM block ",
            $tail
        ))
    };
}

impl Store {
    /// Hears a sender no longer, until `until_at`. One that holds already is replaced.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a reason that is too long.
    pub async fn block_add(
        &self,
        subject: Address,
        reason: &str,
        until_at: Option<i64>,
        by: &str,
        now: i64,
    ) -> Result<Block> {
        limits::text("reason", reason, SHORT_TEXT_CHARS_MAX)?;
        limits::text("created_by", by, SHORT_TEXT_CHARS_MAX)?;
        let (reason, by, id) = (reason.to_owned(), by.to_owned(), Id::new());
        self.write(move |c| {
            Box::pin(async move {
                c.lock(format!("block:{}", subject.hash)).await?;
                let lift = sql("UPDATE block SET lifted_at = $2, lifted_by = $3 \
                     WHERE subject_hash = $1 AND lifted_at IS NULL")
                .bind(subject.hash.as_str())
                .bind(now)
                .bind(by.as_str());
                c.run(lift).await?;
                let query = sql("INSERT INTO block (id, subject_hash, subject_mask, reason, from_at, until_at, \
                     created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(id)
                .bind(subject.hash)
                .bind(subject.mask)
                .bind(reason)
                .bind(now)
                .bind(until_at)
                .bind(by);
                c.run(query).await?;
                c.one(select_block!("WHERE id = $1").bind(id)).await
            })
        })
        .await
    }

    /// Hears the sender again; `false` when it was lifted before.
    ///
    /// # Errors
    /// As any write.
    pub async fn block_lift(&self, id: Id, by: &str, now: i64) -> Result<bool> {
        limits::text("lifted_by", by, SHORT_TEXT_CHARS_MAX)?;
        let query = sql("UPDATE block SET lifted_at = $2, lifted_by = $3 WHERE id = $1 AND lifted_at IS NULL")
            .bind(id)
            .bind(now)
            .bind(by);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Whether a sender isn't heard now.
    ///
    /// # Errors
    /// As any read.
    pub async fn block_of(&self, subject_hash: &str, now: i64) -> Result<Option<Block>> {
        let query = select_block!(
            "WHERE subject_hash = $1 AND lifted_at IS NULL AND (until_at IS NULL OR until_at > $2) LIMIT 1"
        );
        self.reader().await?.opt(query.bind(subject_hash).bind(now)).await
    }

    /// Those who aren't heard now, the newest first; with `all`, those of the past too.
    ///
    /// # Errors
    /// As any read.
    pub async fn blocks(&self, all: bool, now: i64, before: Option<Id>, limit: i64) -> Result<Vec<Block>> {
        let query = select_block!(
            "WHERE ($1 OR (lifted_at IS NULL AND (until_at IS NULL OR until_at > $2))) \
             AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4"
        );
        self.reader().await?.all(query.bind(all).bind(now).bind(before).bind(limits::page(limit))).await
    }
}
