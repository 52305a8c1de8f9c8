//! What the platform pushes to a webhook.

use std::time::{SystemTime, UNIX_EPOCH};

use sha1::{Digest, Sha1};

use crate::{Error, Result};

/// Where pushes go, and the secret they are signed with.
#[derive(Clone, Debug)]
pub struct Account {
    /// `http://…/hooks/wechat`.
    pub hook: String,
    /// Token.
    pub token: String,
}

/// One push before it is signed.
#[derive(Clone, Debug)]
pub struct Push {
    /// The body.
    pub body: String,
    /// Seconds since 1970 in the address.
    pub timestamp: i64,
    /// Nonce in the address.
    pub nonce: String,
    /// More of the query, e.g. `&encrypt_type=aes&msg_signature=…`.
    pub more: String,
}

/// What the webhook answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Answer {
    /// True for `success`, which ends the platform's retries without a word to the citizen.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == 200 && self.body == "success"
    }

    /// The text of a passive reply.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let (_, rest) = self.body.split_once("<Content><![CDATA[")?;
        Some(rest.split_once("]]>")?.0.to_owned())
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl Push {
    /// A message or event of `from`; `inner` is what stands after `CreateTime`.
    #[must_use]
    pub fn of(from: &str, inner: &str) -> Self {
        let timestamp = now_s();
        let body = format!(
            "<xml><ToUserName><![CDATA[gh_hotline]]></ToUserName><FromUserName><![CDATA[{from}]]></FromUserName>\
             <CreateTime>{timestamp}</CreateTime>{inner}</xml>"
        );
        Self { body, timestamp, nonce: "1320562132".into(), more: String::new() }
    }

    /// A text message.
    #[must_use]
    pub fn text(from: &str, id: u64, text: &str) -> Self {
        let inner =
            format!("<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{text}]]></Content><MsgId>{id}</MsgId>");
        Self::of(from, &inner)
    }

    /// A picture, voice or video.
    #[must_use]
    pub fn media(from: &str, id: u64, kind: &str, media_id: &str) -> Self {
        let inner = format!(
            "<MsgType><![CDATA[{kind}]]></MsgType><MediaId><![CDATA[{media_id}]]></MediaId>\
             <Format><![CDATA[amr]]></Format><MsgId>{id}</MsgId>"
        );
        Self::of(from, &inner)
    }

    /// An event; `rest` holds what belongs to it.
    #[must_use]
    pub fn event(from: &str, event: &str, rest: &str) -> Self {
        Self::of(from, &format!("<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{event}]]></Event>{rest}"))
    }

    /// A click on a menu entry.
    #[must_use]
    pub fn click(from: &str, key: &str) -> Self {
        Self::event(from, "CLICK", &format!("<EventKey><![CDATA[{key}]]></EventKey>"))
    }
}

impl Account {
    /// SHA-1 over the sorted parts, hexadecimal.
    #[must_use]
    pub fn sign(&self, timestamp: i64, nonce: &str) -> String {
        let timestamp = timestamp.to_string();
        let mut parts = [self.token.as_str(), &timestamp, nonce];
        parts.sort_unstable();
        Sha1::digest(parts.concat()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Pushes, signed.
    ///
    /// # Errors
    /// [`Error::Http`] when no answer came.
    pub async fn push(&self, push: &Push) -> Result<Answer> {
        self.push_signed(push, &self.sign(push.timestamp, &push.nonce)).await
    }

    /// Pushes with any signature.
    ///
    /// # Errors
    /// [`Error::Http`] when no answer came.
    pub async fn push_signed(&self, push: &Push, signature: &str) -> Result<Answer> {
        let Push { timestamp, nonce, more, body } = push;
        let url = format!("{}?signature={signature}&timestamp={timestamp}&nonce={nonce}{more}", self.hook);
        let fail = |e: reqwest::Error| Error::Http { request: self.hook.clone(), status: 0, body: e.to_string() };
        let request = crate::api::client()?.post(url).header("content-type", "text/xml").body(body.clone());
        let response = request.send().await.map_err(fail)?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await.map_err(fail)? })
    }
}
