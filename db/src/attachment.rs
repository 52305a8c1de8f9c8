//! What citizens send along, by the SHA-256 of its bytes.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::{DbError, Result},
    pool::Store,
    sql::sql,
};

/// A kept file.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Attachment {
    /// SHA-256 of the bytes as they came, hex.
    pub sha256: String,
    /// `jpeg`, `png`, `webp`, `heic`, `amr`, `mp3`, `wav`, `mp4`.
    pub kind: String,
    /// Its size.
    pub bytes: i64,
    /// Width of the upright picture, pixels.
    pub width: Option<i64>,
    /// Its height.
    pub height: Option<i64>,
    /// Longitude the picture itself tells, degrees, WGS-84.
    pub lon: Option<f64>,
    /// Latitude.
    pub lat: Option<f64>,
    /// When it was taken, as it tells.
    pub taken_at: Option<i64>,
    /// When it came last.
    pub stored_at: i64,
}

crate::lite::row!(Attachment { sha256, kind, bytes, width, height, lon, lat, taken_at, stored_at });

/// A file to keep.
#[derive(Debug, Clone, Default)]
pub struct NewAttachment {
    /// SHA-256 of the bytes as they came, hex.
    pub sha256: String,
    /// What it is.
    pub kind: String,
    /// Its size.
    pub bytes: i64,
    /// Width of the upright picture, pixels.
    pub width: Option<i64>,
    /// Its height.
    pub height: Option<i64>,
    /// Longitude the picture itself tells, degrees, WGS-84.
    pub lon: Option<f64>,
    /// Latitude.
    pub lat: Option<f64>,
    /// When it was taken, as it tells.
    pub taken_at: Option<i64>,
    /// Now.
    pub at: i64,
}

macro_rules! select_attachment {
    ($tail:literal) => {
        sql(concat!(
            "SELECT a.sha256, a.kind, a.bytes, a.width, a.height, a.lon, a.lat, a.taken_at, a.stored_at \
             FROM attachment a ",
            $tail
        ))
    };
}

impl Store {
    /// Notes a file that is on disk. Again: only its time moves.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a sum that is none.
    pub async fn attachment_put(&self, new: NewAttachment) -> Result<()> {
        if new.sha256.len() != 64 || !new.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DbError::Invalid { field: "sha256", why: "64 hex digits expected".into() });
        }
        let query = sql("INSERT INTO attachment (sha256, kind, bytes, width, height, lon, lat, taken_at, stored_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (sha256) DO UPDATE SET stored_at = excluded.stored_at")
        .bind(new.sha256)
        .bind(new.kind)
        .bind(new.bytes)
        .bind(new.width)
        .bind(new.height)
        .bind(new.lon)
        .bind(new.lat)
        .bind(new.taken_at)
        .bind(new.at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// A file by its sum.
    ///
    /// # Errors
    /// As any read.
    pub async fn attachment_get(&self, sha256: &str) -> Result<Option<Attachment>> {
        self.reader().await?.opt(select_attachment!("WHERE a.sha256 = $1").bind(sha256)).await
    }

    /// The files of a message in their order.
    ///
    /// # Errors
    /// As any read.
    pub async fn attachments_of_message(&self, message: crate::Id) -> Result<Vec<Attachment>> {
        let query = select_attachment!(
            "JOIN message_media m ON m.sha256 = a.sha256 WHERE m.message = $1 ORDER BY m.n LIMIT 100"
        );
        self.reader().await?.all(query.bind(message)).await
    }

    /// Forgets a file no message refers to; `false` if one does. `true` for a file without a row.
    ///
    /// # Errors
    /// As any write.
    pub async fn attachment_drop_unused(&self, sha256: &str) -> Result<bool> {
        let used = sql("SELECT COUNT(*) FROM message_media WHERE sha256 = $1").bind(sha256);
        let forget = sql("DELETE FROM attachment WHERE sha256 = $1").bind(sha256);
        self.write(|c| {
            Box::pin(async move {
                let (n,): (i64,) = c.one(used).await?;
                if n == 0 {
                    c.run(forget).await?;
                }
                Ok(n == 0)
            })
        })
        .await
    }
}
