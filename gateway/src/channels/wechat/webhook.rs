//! `/hooks/wechat`: what the platform pushes, checked, taken, committed, and only then answered.
//!
//! The platform waits 5 s and pushes the same message three times in all within some 15 s: a duplicate
//! gets the answer the first one got. What isn't signed by us is 403, what is too long 413, and what
//! the door couldn't take 500, so that the platform pushes it again.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hotline_db::OutgoingState;
use serde::Deserialize;
use tracing::{debug, warn};

use super::crypto::{CryptoError, Envelope};
use super::quota::{Action, Quota};
use super::take::{Letter, envelope};
use super::xml::{Event, Fields, Pushed, What, XmlError, sealed_reply, text_reply};
use super::{Official, limits, menu, openid_hash};
use crate::app::Services;
use crate::clock::now_ms;
use crate::console::Api;
use crate::intake::accept::{self, Taken};

/// What the platform adds to the address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Signed {
    pub(super) signature: String,
    pub(super) timestamp: String,
    pub(super) nonce: String,
    pub(super) echostr: String,
    pub(super) msg_signature: String,
}

/// Why a push is refused, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not signed with our token, or not sealed for us.
    Crypto(CryptoError),
    /// Signed, but too long ago or in the future.
    Replay,
    /// Signed, and yet no message.
    Xml(XmlError),
    /// Safe mode, and nothing encrypted.
    Plain,
    /// Longer than any message.
    Size,
}

impl Refusal {
    /// Label of the counter.
    fn reason(&self) -> &'static str {
        match self {
            Self::Crypto(CryptoError::AppId) => "appid",
            Self::Crypto(CryptoError::Signature) => "signature",
            Self::Crypto(_) => "cipher",
            Self::Replay => "replay",
            Self::Xml(_) => "xml",
            Self::Plain => "plain",
            Self::Size => "size",
        }
    }

    /// Counts it, warns once a minute, and answers.
    pub(super) fn answer(&self, sv: &Services) -> Response {
        let reason = self.reason();
        sv.metrics.wechat_refused.with_label_values(&[reason]).inc();
        if sv.wechat.may_warn(now_ms()) {
            warn!(reason, "微信推送被拒 / a push to the WeChat webhook was refused; further ones are only counted");
        } else {
            debug!(reason, "a push to the WeChat webhook was refused");
        }
        match self {
            Self::Xml(_) => StatusCode::BAD_REQUEST.into_response(),
            Self::Size => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            _ => StatusCode::FORBIDDEN.into_response(),
        }
    }
}

/// 接入校验: echoes `echostr` to whoever knows the token.
pub(crate) async fn check(State(api): State<Api>, Query(signed): Query<Signed>) -> Response {
    let Some(official) = &api.sv.wechat.official else { return StatusCode::NOT_FOUND.into_response() };
    match official.envelope.verify(&signed.signature, &[&signed.timestamp, &signed.nonce]) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], signed.echostr).into_response(),
        Err(e) => Refusal::Crypto(e).answer(&api.sv),
    }
}

/// One push.
pub(crate) async fn push(
    State(api): State<Api>,
    Query(signed): Query<Signed>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let sv = &api.sv;
    let Some(official) = &sv.wechat.official else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(body) = body else { return Refusal::Size.answer(sv) };
    let now = now_ms();
    let read = opened(&official.envelope, &signed, &body, official.window_s, now / 1_000)
        .and_then(|fields| fields.pushed().map_err(Refusal::Xml));
    let pushed = match read {
        Ok(pushed) => pushed,
        Err(refusal) => return refusal.answer(sv),
    };
    let (to, from) = (pushed.from.clone(), pushed.to.clone());
    let taking = take(sv, official, pushed, now);
    match tokio::time::timeout(Duration::from_millis(limits::ANSWER_MS), taking).await {
        Ok(Ok(None)) => success(),
        Ok(Ok(Some(text))) => reply(&official.envelope, &to, &from, &text, now / 1_000),
        Ok(Err(e)) => {
            warn!(error = %e, "a WeChat message was not taken: the platform pushes it again");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => {
            warn!("a WeChat message was not taken in time: the platform pushes it again");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Signature, age, cipher and account; then the fields. In safe mode nothing plain is believed.
pub(super) fn opened(
    envelope: &Envelope,
    signed: &Signed,
    body: &[u8],
    window_s: i64,
    now_s: i64,
) -> Result<Fields, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Xml(XmlError::Syntax("not UTF-8".into())))?;
    if !envelope.is_safe() {
        // The plain signature doesn't cover the body: it is looked at before anything is parsed.
        envelope.verify(&signed.signature, &[&signed.timestamp, &signed.nonce]).map_err(Refusal::Crypto)?;
        is_fresh(&signed.timestamp, window_s, now_s)?;
        return Fields::read(text).map_err(Refusal::Xml);
    }
    let outer = Fields::read(text).map_err(Refusal::Xml)?;
    let sealed = outer.get("Encrypt");
    if sealed.is_empty() {
        return Err(Refusal::Plain);
    }
    let parts = [signed.timestamp.as_str(), &signed.nonce, sealed];
    envelope.verify(&signed.msg_signature, &parts).map_err(Refusal::Crypto)?;
    is_fresh(&signed.timestamp, window_s, now_s)?;
    let inner = envelope.open(sealed).map_err(Refusal::Crypto)?;
    Fields::read(&inner).map_err(Refusal::Xml)
}

/// A captured push can be sent again only for so long; meanwhile its `MsgId` is known.
fn is_fresh(timestamp: &str, window_s: i64, now_s: i64) -> Result<(), Refusal> {
    let at: i64 = timestamp.parse().map_err(|_| Refusal::Replay)?;
    let fresh = (now_s.saturating_sub(window_s)..=now_s.saturating_add(limits::AHEAD_S)).contains(&at);
    if fresh { Ok(()) } else { Err(Refusal::Replay) }
}

/// Takes what was pushed; the text to answer with, if one is ready.
async fn take(
    sv: &Services,
    official: &Official,
    pushed: Pushed,
    now: i64,
) -> Result<Option<String>, accept::AcceptError> {
    match pushed.what {
        What::Event(event) => happened(sv, official, &pushed.from, pushed.created_s, event, now).await,
        What::Message { id, content } => {
            let hash = openid_hash(sv, &pushed.from);
            let letter = Letter {
                line: official.name.clone(),
                dedup_key: id.clone(),
                from: pushed.from,
                to: pushed.to,
                created_s: pushed.created_s,
                content,
            };
            let letter = envelope(letter, now);
            let has_media = !letter.fetch.is_empty();
            match accept::message(sv, letter).await? {
                Taken::New { .. } => {
                    if has_media {
                        sv.wechat.to_fetch.notify_one();
                    }
                    Ok(first_answer(sv, official, &hash, &id, now).await)
                }
                Taken::Duplicate { .. } => Ok(same_answer(sv, official, &id).await),
                // Who isn't heard isn't told so.
                Taken::Journaled | Taken::Refused(_) => Ok(None),
            }
        }
    }
}

/// A text that waits for this citizen goes as the push's own answer: it costs no quota.
async fn first_answer(sv: &Services, official: &Official, hash: &str, id: &str, now: i64) -> Option<String> {
    match sv.store.wechat_answer(hash, &official.name, &passive(id), now).await {
        Ok(text) => text,
        Err(e) => {
            // The worker sends it then.
            debug!(error = %e, "no answer taken along");
            None
        }
    }
}

/// The platform pushed again because our answer got lost: so it is given again.
async fn same_answer(sv: &Services, official: &Official, id: &str) -> Option<String> {
    let row = sv.store.outgoing_by_provider(&official.name, &passive(id)).await.ok()??;
    let row = sv.store.outgoing_get(row).await.ok()??;
    (row.state == OutgoingState::Submitted).then_some(row.text)
}

fn passive(id: &str) -> String {
    format!("passive:{id}")
}

async fn happened(
    sv: &Services,
    official: &Official,
    openid: &str,
    created_s: i64,
    event: Event,
    now: i64,
) -> Result<Option<String>, accept::AcceptError> {
    let hash = openid_hash(sv, openid);
    let answer = match event {
        Event::Subscribe => {
            grant(sv, &hash, Action::Click, created_s).await;
            Some(official.welcome.clone())
        }
        Event::Scan(_) => {
            grant(sv, &hash, Action::Click, created_s).await;
            None
        }
        Event::Click(key) => {
            grant(sv, &hash, Action::Click, created_s).await;
            match menu::answer(sv, &hash, &key).await {
                Ok(text) => text,
                Err(e) => {
                    warn!(error = %e, "a menu entry of WeChat couldn't be answered");
                    Some("系统繁忙,请稍后再试,或拨打热线电话。".into())
                }
            }
        }
        Event::TemplateDone { id, status } => {
            let state = if status == "success" { OutgoingState::Delivered } else { OutgoingState::Failed };
            // Not stored is not acknowledged: the platform pushes it again.
            sv.store.outgoing_report(&official.name, &id, state, &status, now).await?;
            None
        }
        Event::Unsubscribe | Event::Location | Event::Other(_) => None,
    };
    Ok(answer)
}

/// Notes what a click allows; without the row texts go another way. (A message's window opens in its own commit.)
async fn grant(sv: &Services, hash: &str, action: Action, created_s: i64) {
    let at = created_s.saturating_mul(1_000);
    let granted = sv
        .store
        .wechat_window(hash, move |window| {
            let mut quota = Quota::from(*window);
            quota.grant(action, at);
            *window = quota.into();
        })
        .await;
    if let Err(e) = granted {
        warn!(error = %e, "a citizen's WeChat window wasn't noted");
    }
}

pub(super) fn success() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "success").into_response()
}

fn reply(envelope: &Envelope, to: &str, from: &str, text: &str, now_s: i64) -> Response {
    let text = super::send::fitted(text);
    let plain = text_reply(to, from, now_s, &text);
    let body = if envelope.is_safe() {
        match envelope.seal(&plain, now_s) {
            Ok(sealed) => sealed_reply(&sealed),
            Err(_) => return success(),
        }
    } else {
        plain
    };
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
    const BODY: &str = "<xml><ToUserName>gh</ToUserName><FromUserName>o1</FromUserName>\
        <CreateTime>1700000000</CreateTime><MsgType>text</MsgType><Content>漏水</Content><MsgId>1</MsgId></xml>";

    fn signed(envelope: &Envelope, at: i64, sealed: &str) -> Signed {
        let (timestamp, nonce) = (at.to_string(), "n".to_owned());
        Signed {
            signature: envelope.sign(&[&timestamp, &nonce]),
            msg_signature: envelope.sign(&[&timestamp, &nonce, sealed]),
            timestamp,
            nonce,
            echostr: String::new(),
        }
    }

    fn safe_body(envelope: &Envelope, inner: &str) -> (String, String) {
        let sealed = envelope.seal(inner, 1).unwrap().encrypt;
        (format!("<xml><ToUserName>gh</ToUserName><Encrypt>{sealed}</Encrypt></xml>"), sealed)
    }

    #[test]
    fn a_plain_push_is_opened_while_it_is_fresh() {
        let e = Envelope::new("t", "", "wx1").unwrap();
        let s = signed(&e, 1_700_000_000, "");
        let open = |now_s: i64| opened(&e, &s, BODY.as_bytes(), 600, now_s).map(|f| f.get("Content").to_owned());
        assert_eq!(open(1_700_000_000).unwrap(), "漏水");
        assert_eq!(open(1_700_000_600).unwrap(), "漏水");
        assert_eq!(open(1_700_000_601), Err(Refusal::Replay));
        assert_eq!(open(1_700_000_000 - 301), Err(Refusal::Replay));
        let forged = Signed { signature: "0".repeat(40), ..s.clone() };
        let bad = opened(&e, &forged, BODY.as_bytes(), 600, 1_700_000_000);
        assert_eq!(bad, Err(Refusal::Crypto(CryptoError::Signature)));
        assert!(matches!(opened(&e, &s, b"\xff\xfe", 600, 1_700_000_000), Err(Refusal::Xml(_))));
    }

    #[test]
    fn in_safe_mode_only_what_was_sealed_for_us_is_opened() {
        let e = Envelope::new("t", KEY, "wx1").unwrap();
        let now = 1_700_000_000;
        let (body, sealed) = safe_body(&e, BODY);
        let s = signed(&e, now, &sealed);
        let open = |s: &Signed, body: &str, now_s: i64| opened(&e, s, body.as_bytes(), 600, now_s).map(|_| ());
        assert_eq!(open(&s, &body, now), Ok(()));
        assert_eq!(open(&s, &body, now + 601), Err(Refusal::Replay));
        assert_eq!(open(&s, BODY, now), Err(Refusal::Plain), "a plain body with a right plain signature");
        let other = Envelope::new("t", KEY, "wx2").unwrap();
        let (body, sealed) = safe_body(&other, BODY);
        assert_eq!(open(&signed(&e, now, &sealed), &body, now), Err(Refusal::Crypto(CryptoError::AppId)));
        let moved = body.replace("<Encrypt>", "<Encrypt>A");
        assert_eq!(open(&s, &moved, now), Err(Refusal::Crypto(CryptoError::Signature)));
    }
}
