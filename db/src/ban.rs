//! Banned SIP sources: they outlive a restart, and a person may lift them from outside the gateway.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::Result,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct SipBan {
    /// The gateway that banned it.
    pub node: String,
    /// Address.
    pub source: String,
    /// `passwords` or `scanning`.
    pub reason: String,
    /// How often within a day.
    pub times: i64,
    /// Since when.
    pub from_at: i64,
    /// Until when.
    pub until_at: i64,
}

crate::lite::row!(SipBan { node, source, reason, times, from_at, until_at });

impl Store {
    /// Writes a ban; one of the same source is replaced, lifted or not.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a text that is too long.
    pub async fn ban_put(&self, ban: SipBan) -> Result<()> {
        for (field, text) in [("source", &ban.source), ("reason", &ban.reason)] {
            limits::text(field, text, SHORT_TEXT_CHARS_MAX)?;
        }
        let query = sql("INSERT INTO sip_ban (node, source, reason, times, from_at, until_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (node, source) DO UPDATE \
             SET reason = excluded.reason, times = excluded.times, from_at = excluded.from_at, \
             until_at = excluded.until_at, lifted_at = NULL")
        .bind(ban.node)
        .bind(ban.source)
        .bind(ban.reason)
        .bind(ban.times)
        .bind(ban.from_at)
        .bind(ban.until_at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Bans of all gateways that hold at `now`, the one that ends last first.
    ///
    /// # Errors
    /// As any read.
    pub async fn bans(&self, now: i64) -> Result<Vec<SipBan>> {
        let query = sql("SELECT node, source, reason, times, from_at, until_at FROM sip_ban \
             WHERE until_at > $1 AND lifted_at IS NULL ORDER BY until_at DESC, source LIMIT $2")
        .bind(now)
        .bind(limits::BANS_LEN_MAX);
        self.reader().await?.all(query).await
    }

    /// Marks a source's bans as lifted, at every gateway; `false` when none held.
    ///
    /// # Errors
    /// As any write.
    pub async fn ban_lift(&self, source: &str, now: i64) -> Result<bool> {
        let query = sql("UPDATE sip_ban SET lifted_at = $2 WHERE source = $1 AND until_at > $2 AND lifted_at IS NULL")
            .bind(source)
            .bind(now);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Takes the sources whose bans were lifted at this gateway: their rows are gone then, and so
    /// are those of bans that ended before `ended_before`.
    ///
    /// # Errors
    /// As any write.
    pub async fn bans_lifted(&self, node: &str, ended_before: i64) -> Result<Vec<String>> {
        // Mostly there is nothing: then nothing is written.
        let due = sql("SELECT COUNT(*) FROM sip_ban WHERE node = $1 AND (lifted_at IS NOT NULL OR until_at < $2)")
            .bind(node)
            .bind(ended_before);
        let (count,): (i64,) = self.reader().await?.one(due).await?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let lifted = sql("SELECT source FROM sip_ban WHERE node = $1 AND lifted_at IS NOT NULL").bind(node);
        let forget = sql("DELETE FROM sip_ban WHERE node = $1 AND (lifted_at IS NOT NULL OR until_at < $2)")
            .bind(node)
            .bind(ended_before);
        self.write(|c| {
            Box::pin(async move {
                let sources: Vec<(String,)> = c.all(lifted).await?;
                c.run(forget).await?;
                Ok(sources.into_iter().map(|(source,)| source).collect())
            })
        })
        .await
    }
}
