//! What WeChat needs remembered: how many messages a citizen's actions still allow, and answers given
//! in the push's own response.

use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::Result,
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::{sql, sql_each},
};

/// One citizen's last actions and what was sent on their account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct WechatWindow {
    /// The last message.
    pub message_at: i64,
    /// Messages sent on its account.
    pub message_used: i64,
    /// The last click in the menu.
    pub click_at: i64,
    /// Messages sent on its account.
    pub click_used: i64,
}

crate::lite::row!(WechatWindow { message_at, message_used, click_at, click_used });

/// A citizen wrote: their window opens anew, in the message's own transaction. A time already known changes nothing.
pub(crate) async fn wrote(c: &mut Conn, hash: &str, at: i64) -> Result<()> {
    c.lock(format!("wechat_window:{hash}")).await?;
    let open = sql("INSERT INTO wechat_window (openid_hash, message_at, message_used, click_at, click_used) \
         VALUES ($1, $2, 0, 0, 0) ON CONFLICT (openid_hash) DO UPDATE SET message_at = excluded.message_at, \
         message_used = 0 WHERE wechat_window.message_at < excluded.message_at")
    .bind(hash)
    .bind(at);
    c.run(open).await.map(|_| ())
}

async fn change<T>(c: &mut Conn, hash: String, with: impl FnOnce(&mut WechatWindow) -> T + Send) -> Result<T> {
    c.lock(format!("wechat_window:{hash}")).await?;
    let find = sql("SELECT message_at, message_used, click_at, click_used FROM wechat_window WHERE openid_hash = $1");
    let before: Option<WechatWindow> = c.opt(find.bind(hash.as_str())).await?;
    let mut window = before.unwrap_or_default();
    let told = with(&mut window);
    if before != Some(window) {
        let keep = sql("INSERT INTO wechat_window (openid_hash, message_at, message_used, click_at, click_used) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (openid_hash) DO UPDATE SET message_at = excluded.message_at, \
             message_used = excluded.message_used, click_at = excluded.click_at, click_used = excluded.click_used")
        .bind(hash)
        .bind(window.message_at)
        .bind(window.message_used)
        .bind(window.click_at)
        .bind(window.click_used);
        c.run(keep).await?;
    }
    Ok(told)
}

#[derive(FromRow)]
struct Answer {
    id: Id,
    text: String,
}

crate::lite::row!(Answer { id, text });

async fn answer(c: &mut Conn, to_hash: String, line: String, provider_id: String, now: i64) -> Result<Option<String>> {
    let take = sql_each(
        "UPDATE outgoing SET state = '已提交', sent_line = $3, submitted_at = $2, attempts = attempts + 1 \
         WHERE id = (SELECT id FROM outgoing WHERE to_hash = $1 AND channel = 'wechat' AND state = '待发' \
         AND (line IS NULL OR line = $3) AND next_at <= $2 AND expires_at > $2 ORDER BY id LIMIT 1) RETURNING id, text",
        "UPDATE outgoing SET state = '已提交', sent_line = $3, submitted_at = $2, attempts = attempts + 1 \
         WHERE id = (SELECT id FROM outgoing WHERE to_hash = $1 AND channel = 'wechat' AND state = '待发' \
         AND (line IS NULL OR line = $3) AND next_at <= $2 AND expires_at > $2 ORDER BY id LIMIT 1 \
         FOR UPDATE SKIP LOCKED) RETURNING id, text",
    )
    .bind(to_hash)
    .bind(now)
    .bind(line.as_str());
    let Some(Answer { id, text }) = c.opt(take).await? else {
        return Ok(None);
    };
    let part = sql("INSERT INTO outgoing_part (id, line, provider_id, outgoing, n, state, at) \
         VALUES ($1, $2, $3, $4, 1, '已提交', $5)")
    .bind(Id::new())
    .bind(line)
    .bind(provider_id)
    .bind(id)
    .bind(now);
    c.run(part).await?;
    Ok(Some(text))
}

impl Store {
    /// Reads a citizen's window (keyed hash of the openid), lets `with` change it and keeps it, in one transaction.
    ///
    /// # Errors
    /// As any write.
    pub async fn wechat_window<T: Send + 'static>(
        &self,
        openid_hash: &str,
        with: impl FnOnce(&mut WechatWindow) -> T + Send + 'static,
    ) -> Result<T> {
        limits::text("openid_hash", openid_hash, SHORT_TEXT_CHARS_MAX)?;
        let hash = openid_hash.to_owned();
        self.write(move |c| Box::pin(change(c, hash, with))).await
    }

    /// Takes the oldest text that waits for this citizen on `line` and is due, to be given as the
    /// answer to a push: it counts as submitted under `provider_id`. Its words.
    ///
    /// # Errors
    /// As any write.
    pub async fn wechat_answer(
        &self,
        to_hash: &str,
        line: &str,
        provider_id: &str,
        now: i64,
    ) -> Result<Option<String>> {
        limits::text("provider_id", provider_id, SHORT_TEXT_CHARS_MAX)?;
        let (to_hash, line, provider_id) = (to_hash.to_owned(), line.to_owned(), provider_id.to_owned());
        self.write(move |c| Box::pin(answer(c, to_hash, line, provider_id, now))).await
    }
}
