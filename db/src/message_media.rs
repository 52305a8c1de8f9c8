//! What came with a message: files of ours by their hash, and what the channel's worker still has to fetch.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::Result,
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    message::{NewMessage, of_messages_of_item},
    pool::Store,
    sql::{Sql, sql, sql_claim},
    text::words,
};

words! {
    /// What it is.
    MediaKind {
        /// A picture.
        Image = "image",
        /// A voice message.
        Voice = "voice",
        /// A video.
        Video = "video",
        /// Anything else.
        File = "file",
    }
}

words! {
    /// Where it is.
    MediaState {
        /// Here, under its hash.
        Here = "已存",
        /// To be fetched.
        Wanted = "待取",
        /// It can't be had any more, or was refused.
        Failed = "失败",
    }
}

/// What comes with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMedia {
    /// What it is.
    pub kind: MediaKind,
    /// SHA-256 of a file that is stored, hex.
    pub sha256: Option<String>,
    /// The channel's name for it (`media_id`, an address …), where it is still to be fetched.
    pub reference: Option<String>,
}

/// What came with a message, as it is kept.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct MessageMedia {
    /// Row id.
    pub id: Id,
    /// The message.
    pub message: Id,
    /// Order within the message, from 1.
    pub n: i64,
    /// The message's channel.
    pub channel: String,
    /// The line of ours it came by.
    pub line: String,
    /// What it is.
    pub kind: MediaKind,
    /// SHA-256 of the stored file, hex.
    pub sha256: Option<String>,
    /// The channel's name for it.
    #[serde(skip)]
    pub reference: Option<String>,
    /// Where it is.
    pub state: MediaState,
    /// Attempts to fetch it.
    pub attempts: i64,
    /// Not before.
    pub next_at: i64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

crate::lite::row!(MessageMedia {
    id,
    message,
    n,
    channel,
    line,
    kind,
    sha256,
    reference,
    state,
    attempts,
    next_at,
    last_error
});

macro_rules! select_media {
    ($tail:expr) => {
        sql(concat!(
            "SELECT id, message, n, channel, line, kind, sha256, reference, state, attempts, next_at, last_error \
             FROM message_media ",
            $tail
        ))
    };
}

/// Things that come with one message at most; more are left out.
const MEDIA_MAX: usize = 20;

/// What a stored file is: its own row knows best.
async fn kind_of(c: &mut Conn, media: &NewMedia) -> Result<MediaKind> {
    let Some(sha256) = media.sha256.as_deref().filter(|_| media.kind == MediaKind::File) else { return Ok(media.kind) };
    let stored: Option<(String,)> = c.opt(sql("SELECT kind FROM attachment WHERE sha256 = $1").bind(sha256)).await?;
    Ok(match stored.as_ref().map(|(kind,)| kind.as_str()) {
        Some("image/jpeg" | "image/png" | "image/webp") => MediaKind::Image,
        Some(kind) if kind.starts_with("audio/") => MediaKind::Voice,
        Some(kind) if kind.starts_with("video/") => MediaKind::Video,
        _ => MediaKind::File,
    })
}

pub(crate) async fn insert(c: &mut Conn, message: Id, new: &NewMessage) -> Result<()> {
    for (n, media) in (1_i64..).zip(new.media.iter().take(MEDIA_MAX)) {
        let text = media.sha256.as_deref().or(media.reference.as_deref()).unwrap_or_default();
        limits::text("media", text, SHORT_TEXT_CHARS_MAX)?;
        let state = if media.sha256.is_some() { MediaState::Here } else { MediaState::Wanted };
        let query = sql("INSERT INTO message_media (id, message, n, channel, line, kind, sha256, reference, state, \
             attempts, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)")
        .bind(Id::new())
        .bind(message)
        .bind(n)
        .bind(new.channel.as_str())
        .bind(new.line.as_str())
        .bind(kind_of(c, media).await?)
        .bind(media.sha256.as_deref())
        .bind(media.reference.as_deref())
        .bind(state)
        .bind(new.at);
        c.run(query).await?;
    }
    Ok(())
}

async fn claim(c: &mut Conn, channel: String, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<MessageMedia>> {
    let pick = sql_claim!(
        "SELECT id FROM message_media WHERE channel = $1 AND state = '待取' AND next_at <= $2 \
         AND (lease_until IS NULL OR lease_until <= $2) ORDER BY next_at, id LIMIT $3"
    )
    .bind(channel)
    .bind(now)
    .bind(limits::claim(limit));
    let ids: Vec<IdRow> = c.all(pick).await?;
    let mut rows = Vec::with_capacity(ids.len());
    for IdRow { id } in ids {
        let take = sql("UPDATE message_media SET attempts = attempts + 1, lease_until = $2 WHERE id = $1");
        c.run(take.bind(id).bind(now.saturating_add(lease_ms))).await?;
        rows.push(c.one(select_media!("WHERE id = $1").bind(id)).await?);
    }
    Ok(rows)
}

pub(crate) fn of_item(item: Id) -> Sql {
    of_messages_of_item!(
        "SELECT a.id, a.message, a.n, a.channel, a.line, a.kind, a.sha256, a.reference, a.state, a.attempts, a.next_at, \
         a.last_error FROM message m JOIN message_media a ON a.message = m.id",
        "m.seq + 0, a.n"
    )
    .bind(item)
    .bind(limits::PAGE_LEN_MAX)
}

impl Store {
    /// Leases up to `limit` things of a channel that are to be fetched and due.
    ///
    /// # Errors
    /// As any write.
    pub async fn media_claim(&self, channel: &str, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<MessageMedia>> {
        // Looking costs no write.
        let any = sql("SELECT id FROM message_media WHERE channel = $1 AND state = '待取' AND next_at <= $2 \
             AND (lease_until IS NULL OR lease_until <= $2) LIMIT 1")
        .bind(channel)
        .bind(now);
        if self.reader().await?.opt::<IdRow>(any).await?.is_none() {
            return Ok(Vec::new());
        }
        let channel = channel.to_owned();
        self.write(move |c| Box::pin(claim(c, channel, now, lease_ms, limit))).await
    }

    /// Notes that it was fetched and stored under this hash; `false` when it wasn't wanted any more.
    ///
    /// # Errors
    /// As any write.
    pub async fn media_fetched(&self, id: Id, sha256: &str) -> Result<bool> {
        limits::text("sha256", sha256, SHORT_TEXT_CHARS_MAX)?;
        let query = sql("UPDATE message_media SET state = '已存', sha256 = $2, lease_until = NULL, last_error = NULL \
             WHERE id = $1 AND state = '待取'")
        .bind(id)
        .bind(sha256);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Tries it again at `next_at`, or with `None` gives it up; `false` when it wasn't wanted any more.
    ///
    /// # Errors
    /// As any write.
    pub async fn media_missed(&self, id: Id, next_at: Option<i64>, error: &str) -> Result<bool> {
        let state = if next_at.is_some() { MediaState::Wanted } else { MediaState::Failed };
        let query = sql("UPDATE message_media SET state = $2, next_at = COALESCE($3, next_at), lease_until = NULL, \
             last_error = $4 WHERE id = $1 AND state = '待取'")
        .bind(id)
        .bind(state)
        .bind(next_at)
        .bind(limits::error_text(error));
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// What came with the messages of an item, supplements included, in order of arrival.
    ///
    /// # Errors
    /// As any read.
    pub async fn media_of_item(&self, item: Id) -> Result<Vec<MessageMedia>> {
        self.reader().await?.all(of_item(item)).await
    }

    /// What came with a message.
    ///
    /// # Errors
    /// As any read.
    pub async fn media_of_message(&self, message: Id) -> Result<Vec<MessageMedia>> {
        self.reader().await?.all(select_media!("WHERE message = $1 ORDER BY n").bind(message)).await
    }
}
