//! Calls that tell something and have no item yet.

use serde::Serialize;
use sqlx::FromRow;

use crate::{call::Direction, error::Result, id::Id, limits, pool::Store, recording::RecordingKind, sql::sql};

/// A finished call with a transcript and without an item.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct UnfiledCall {
    /// The call.
    pub call: Id,
    /// Its contact.
    pub contact: Id,
    /// The citizen.
    pub party: Option<Id>,
    /// When it rang.
    pub at: i64,
    /// What was said, redacted.
    pub text: String,
}

crate::lite::row!(UnfiledCall { call, contact, party, at, text });

impl Store {
    /// Incoming calls ended before `ended_before` whose talk or message is transcribed and which
    /// nobody made an item of, in the order of arrival. A call with two transcripts appears twice.
    ///
    /// # Errors
    /// [`crate::DbError`].
    pub async fn calls_unfiled(&self, ended_before: i64, limit: i64) -> Result<Vec<UnfiledCall>> {
        let query =
            sql("SELECT c.id AS call, k.id AS contact, k.party AS party, c.ring_at AS at, t.redacted_text AS text \
             FROM contact k JOIN call c ON c.contact = k.id JOIN recording r ON r.call = c.id \
             JOIN transcript t ON t.recording = r.id \
             WHERE k.item IS NULL AND k.direction = $1 AND c.end_at <= $2 \
             AND (r.kind = $3 OR r.kind = $4) AND t.redacted_text <> '' ORDER BY k.seq LIMIT $5")
            .bind(Direction::Inbound)
            .bind(ended_before)
            .bind(RecordingKind::Talk)
            .bind(RecordingKind::Message)
            .bind(limits::page(limit));
        self.reader().await?.all(query).await
    }
}
