//! `/hooks/wechat/kf`: 微信客服 only says that something came. The hint is noted and answered at once;
//! what came stays on the platform until `kf_sync` has fetched it behind its cursor.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::webhook::{Refusal, Signed, opened, success};
use super::xml::Content;
use super::{Kf, limits};
use crate::clock::now_ms;
use crate::console::Api;

/// The name of the callback's event.
const EVENT: &str = "kf_msg_or_event";

impl Kf {
    /// A callback came: its token serves the account's next round.
    fn hint(&self, account: &str, token: &str) {
        self.note(account, token, true);
        self.to_sync.notify_one();
    }

    /// Something came for this account; a token noted meanwhile is newer than one given back.
    pub(super) fn note(&self, account: &str, token: &str, is_new: bool) {
        if account.is_empty() || account.len() > limits::KF_ACCOUNT_BYTES_MAX {
            return;
        }
        let mut hints = self.hints.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // What is left out here comes with the next look at all accounts.
        let is_known = hints.contains_key(account);
        if (is_known && is_new && !token.is_empty()) || (!is_known && hints.len() < limits::KF_ACCOUNTS_MAX) {
            hints.insert(account.to_owned(), token.to_owned());
        }
    }

    /// The accounts something came for, once.
    pub(super) fn take_hints(&self) -> std::collections::BTreeMap<String, String> {
        std::mem::take(&mut *self.hints.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// 接入校验: the echo is sealed here.
pub(crate) async fn check(State(api): State<Api>, Query(signed): Query<Signed>) -> Response {
    let Some(kf) = &api.sv.wechat.kf else { return StatusCode::NOT_FOUND.into_response() };
    let parts = [signed.timestamp.as_str(), &signed.nonce, &signed.echostr];
    let echo = kf.envelope.verify(&signed.msg_signature, &parts).and_then(|()| kf.envelope.open(&signed.echostr));
    match echo {
        Ok(echo) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], echo).into_response(),
        Err(e) => Refusal::Crypto(e).answer(&api.sv),
    }
}

/// One callback.
pub(crate) async fn push(
    State(api): State<Api>,
    Query(signed): Query<Signed>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let sv = &api.sv;
    let Some(kf) = &sv.wechat.kf else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(body) = body else { return Refusal::Size.answer(sv) };
    match opened(&kf.envelope, &signed, &body, kf.window_s, now_ms() / 1_000) {
        Ok(fields) => {
            if fields.get("Event") == EVENT {
                kf.hint(fields.get("OpenKfId"), fields.get("Token"));
            }
            success()
        }
        Err(refusal) => refusal.answer(sv),
    }
}

/// One entry of `sync_msg`.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    /// From a citizen.
    Message {
        /// `msgid`.
        id: String,
        /// `open_kfid`.
        account: String,
        /// `external_userid`.
        from: String,
        /// Seconds since 1970.
        created_s: i64,
        /// What.
        content: Content,
    },
    /// A citizen opened a session; the code allows one greeting within 20 s.
    Entered {
        /// `welcome_code`.
        code: String,
        /// Seconds since 1970.
        created_s: i64,
    },
    /// A text of ours didn't arrive.
    Failed {
        /// `open_kfid`.
        account: String,
        /// `fail_msgid`: what we called it.
        id: String,
        /// `fail_type`.
        code: String,
    },
    /// Nothing for us: colleagues' answers, other events.
    Other,
}

/// Reads one entry; `None`: a citizen's message without what every one has.
pub(super) fn entry(value: &Value) -> Option<Entry> {
    let text = |field: &str| value[field].as_str().filter(|t| !t.is_empty() && t.len() <= 512).map(str::to_owned);
    let created_s = value["send_time"].as_i64().unwrap_or(0);
    // 3: the citizen. 4: the system. 5: a servicer, whose words are not a report.
    match value["origin"].as_i64() {
        Some(3) => Some(Entry::Message {
            id: text("msgid")?,
            account: text("open_kfid")?,
            from: text("external_userid")?,
            created_s,
            content: content(value),
        }),
        Some(4) => Some(event(&value["event"], created_s)),
        _ => Some(Entry::Other),
    }
}

fn event(event: &Value, created_s: i64) -> Entry {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    match event["event_type"].as_str() {
        Some("enter_session") if !text("welcome_code").is_empty() => {
            Entry::Entered { code: text("welcome_code"), created_s }
        }
        Some("msg_send_fail") => Entry::Failed {
            account: text("open_kfid"),
            id: text("fail_msgid"),
            code: event["fail_type"].as_i64().unwrap_or(0).to_string(),
        },
        _ => Entry::Other,
    }
}

fn content(value: &Value) -> Content {
    let kind = value["msgtype"].as_str().unwrap_or_default();
    let inner = &value[kind];
    let text = |field: &str| inner[field].as_str().unwrap_or_default().to_owned();
    let media = || Some(text("media_id")).filter(|id| !id.is_empty());
    let read = match kind {
        "text" => Some(Content::Text(text("content"))),
        "image" => media().map(|media| Content::Image { media }),
        "voice" => media().map(|media| Content::Voice { media, format: "amr".into() }),
        "video" => media().map(|media| Content::Video { media }),
        "location" => match (inner["latitude"].as_f64(), inner["longitude"].as_f64()) {
            (Some(lat), Some(lon)) if crate::geo::is_point(lon, lat) => {
                let label = [text("name"), text("address")].join(" ").trim().to_owned();
                Some(Content::Location { lat, lon, label })
            }
            _ => None,
        },
        "link" => Some(Content::Link { title: text("title"), description: text("desc"), url: text("url") }),
        _ => None,
    };
    read.unwrap_or_else(|| Content::Other(super::xml::cut(kind, 64)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: &str, inner: Value) -> Content {
        let message = json!({"msgid": "m1", "open_kfid": "wk1", "external_userid": "wm1", "send_time": 5,
            "origin": 3, "msgtype": kind, kind: inner});
        match entry(&message) {
            Some(Entry::Message { content, id, .. }) if id == "m1" => content,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_message_is_read() {
        assert_eq!(of("text", json!({"content": "漏水", "menu_id": "1"})), Content::Text("漏水".into()));
        assert_eq!(of("image", json!({"media_id": "a"})), Content::Image { media: "a".into() });
        let place = of("location", json!({"latitude": 31.8, "longitude": 119.9, "name": "路口", "address": "1号"}));
        assert_eq!(place, Content::Location { lat: 31.8, lon: 119.9, label: "路口 1号".into() });
        assert_eq!(of("miniprogram", json!({})), Content::Other("miniprogram".into()));
        assert_eq!(of("image", json!({})), Content::Other("image".into()));
    }

    #[test]
    fn only_citizens_words_are_messages() {
        assert_eq!(entry(&json!({"origin": 5, "msgtype": "text"})), Some(Entry::Other));
        assert_eq!(entry(&json!({"origin": 3, "msgtype": "text"})), None, "without an id it can't be deduplicated");
        let failed = json!({"origin": 4, "event": {"event_type": "msg_send_fail", "open_kfid": "wk1", "fail_msgid": "x", "fail_type": 2}});
        assert_eq!(entry(&failed), Some(Entry::Failed { account: "wk1".into(), id: "x".into(), code: "2".into() }));
        assert_eq!(entry(&Value::Null), Some(Entry::Other));
    }
}
