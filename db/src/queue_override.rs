//! Queues a shift leader opened or closed by hand: they stay so over a restart, until their time is over.

use serde::Serialize;
use sqlx::FromRow;

use crate::{error::Result, id::Id, limits, pool::Store, sql::sql};

/// A queue opened or closed by hand.
#[derive(Debug, Clone, Serialize, FromRow, PartialEq, Eq)]
pub struct QueueOverride {
    /// Name of the queue.
    pub queue: String,
    /// Open or closed.
    pub open: bool,
    /// Until then (epoch ms); the calendar decides again afterwards.
    pub until_at: i64,
    /// Who decided.
    pub made_by: Id,
    /// Why.
    pub reason: String,
    /// When (epoch ms).
    pub at: i64,
}

crate::lite::row!(QueueOverride { queue, open, until_at, made_by, reason, at });

impl Store {
    /// Keeps what a leader decided about a queue, in place of what was decided before.
    ///
    /// # Errors
    /// [`crate::DbError`] for words that are too long, and as any write.
    pub async fn queue_override_set(&self, row: QueueOverride) -> Result<()> {
        limits::text("queue", &row.queue, limits::SHORT_TEXT_CHARS_MAX)?;
        limits::text("reason", &row.reason, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| {
            Box::pin(async move {
                let query = sql("INSERT INTO queue_override (queue, open, until_at, made_by, reason, at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (queue) DO UPDATE SET open = excluded.open, \
                     until_at = excluded.until_at, made_by = excluded.made_by, reason = excluded.reason, \
                     at = excluded.at")
                .bind(row.queue)
                .bind(row.open)
                .bind(row.until_at)
                .bind(row.made_by)
                .bind(row.reason)
                .bind(row.at);
                c.run(query).await.map(|_| ())
            })
        })
        .await
    }

    /// The calendar decides again.
    ///
    /// # Errors
    /// As any write.
    pub async fn queue_override_end(&self, queue: &str) -> Result<()> {
        let queue = queue.to_owned();
        self.write(|c| {
            Box::pin(
                async move { c.run(sql("DELETE FROM queue_override WHERE queue = $1").bind(queue)).await.map(|_| ()) },
            )
        })
        .await
    }

    /// What is decided by hand at this time.
    ///
    /// # Errors
    /// As any read.
    pub async fn queue_overrides(&self, now: i64) -> Result<Vec<QueueOverride>> {
        let query = sql("SELECT queue, open, until_at, made_by, reason, at FROM queue_override WHERE until_at > $1 \
                         ORDER BY queue LIMIT 64")
        .bind(now);
        self.reader().await?.all(query).await
    }
}
