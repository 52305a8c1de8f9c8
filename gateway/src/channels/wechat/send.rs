//! Texts to citizens on WeChat: customer-service message while the citizen's window is open, then a
//! template message, then SMS where the number is known. (First comes the push's own answer, `webhook`.)

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{Address, Json, NewOutgoing, Outgoing};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::client::{ApiError, Client, Meaning};
use super::quota::{Action, Quota};
use super::{CHANNEL, KF_LINE, Official, limits};
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::WechatTemplate;

/// Sends what is due until cancelled.
pub(super) async fn run(sv: Arc<Services>) {
    loop {
        let found = match sv.store.outgoing_claim(CHANNEL, now_ms(), lease_ms(&sv), limits::CLAIM_ROWS).await {
            Ok(rows) => {
                let found = !rows.is_empty();
                all(&sv, rows).await;
                found
            }
            Err(e) => {
                warn!(error = %e, "texts for WeChat can't be read now");
                false
            }
        };
        if found {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(limits::LOOK_EVERY_MS)) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

/// A lease must outlast every request one text may cost: token, message, token again, message, template.
pub(super) fn lease_ms(sv: &Services) -> i64 {
    let request = i64::try_from(sv.config.wechat.timeout_ms).unwrap_or(60_000);
    limits::LEASE_MS.max(request.saturating_mul(8))
}

async fn all(sv: &Arc<Services>, rows: Vec<Outgoing>) {
    let mut tasks = JoinSet::new();
    for row in rows {
        let sv = Arc::clone(sv);
        tasks.spawn(async move { one(&sv, &row).await });
    }
    while tasks.join_next().await.is_some() {}
}

/// What became of one way to the citizen.
enum Way {
    /// It left, under these ids of the platform's.
    Sent(Vec<String>),
    /// The same way again later.
    Later(String),
    /// Nobody knows whether it left.
    Unknown(String),
    /// This way is closed: the next one.
    Next(String),
    /// The row is nobody's any more: cancelled, or another worker's.
    Dropped,
}

/// What goes at most once counts as sent before its first byte leaves, and not before a way is open;
/// `Some`: it doesn't leave.
async fn mark(sv: &Services, row: &Outgoing, is_marked: &mut bool) -> Option<Way> {
    if !row.once || *is_marked {
        return None;
    }
    match sv.store.outgoing_submitted(row.id, &line_of(sv, row), &[], now_ms()).await {
        Ok(marked) => {
            *is_marked = marked;
            (!marked).then_some(Way::Dropped)
        }
        Err(e) => Some(Way::Later(e.to_string())),
    }
}

async fn one(sv: &Services, row: &Outgoing) {
    let Ok(to) = sv.sealer.open_sealed(&row.to_sealed) else {
        failed(sv, row, "the address can't be opened with this key").await;
        return;
    };
    let is_kf = row.line.as_deref().is_some_and(|line| line.starts_with(KF_LINE));
    let (mut why, mut is_marked) = (String::new(), false);
    for step in 0..2 {
        let way = match (step, is_kf) {
            (0, true) => by_kf(sv, row, &to, &mut is_marked).await,
            (0, false) => by_service(sv, row, &to, &mut is_marked).await,
            (_, false) => by_template(sv, row, &to, &mut is_marked).await,
            _ => Way::Next(String::new()),
        };
        match way {
            Way::Sent(ids) => return sent(sv, row, &ids).await,
            Way::Dropped => return,
            Way::Later(error) if !is_marked => return later(sv, row, &error).await,
            Way::Unknown(error) if is_marked => {
                warn!(id = %row.id, error, "a text sent at most once may or may not have left");
                return;
            }
            Way::Unknown(error) => return later(sv, row, &error).await,
            Way::Next(error) | Way::Later(error) => {
                let between = if why.is_empty() || error.is_empty() { "" } else { "; " };
                why = format!("{why}{between}{error}");
            }
        }
    }
    by_sms(sv, row, &why).await;
}

/// 客服消息.
async fn by_service(sv: &Services, row: &Outgoing, to: &str, is_marked: &mut bool) -> Way {
    let Some(official) = &sv.wechat.official else { return Way::Next("no Official Account is configured".into()) };
    let counted = match allowed(sv, row).await {
        Ok(Some(action)) => action,
        Ok(None) => return Way::Next(CLOSED.into()),
        Err(e) => return Way::Later(e.to_string()),
    };
    if let Some(way) = mark(sv, row, is_marked).await {
        return way;
    }
    let body = json!({"touser": to, "msgtype": "text", "text": {"content": fitted(&row.text)}});
    let answer = official.client.post("/cgi-bin/message/custom/send", &body).await;
    judged(sv, row, "custom", Some(counted), answer.map(|_| Vec::new())).await
}

/// 微信客服. Our own `msgid` makes a repetition harmless.
async fn by_kf(sv: &Services, row: &Outgoing, to: &str, is_marked: &mut bool) -> Way {
    let account = row.line.as_deref().and_then(|line| line.strip_prefix(KF_LINE)).unwrap_or_default();
    let Some(kf) = &sv.wechat.kf else { return Way::Next("no 微信客服 is configured".into()) };
    let counted = match allowed(sv, row).await {
        Ok(Some(action)) => action,
        Ok(None) => return Way::Next(CLOSED.into()),
        Err(e) => return Way::Later(e.to_string()),
    };
    if let Some(way) = mark(sv, row, is_marked).await {
        return way;
    }
    let id = row.id.to_string().replace('-', "");
    let text = fitted(&row.text);
    let body = json!({"touser": to, "open_kfid": account, "msgid": id, "msgtype": "text", "text": {"content": text}});
    let answer = kf.client.post("/cgi-bin/kf/send_msg", &body).await;
    let answer = answer.map(|v| vec![v["msgid"].as_str().unwrap_or(&id).to_owned()]);
    judged(sv, row, "kf", Some(counted), answer).await
}

/// 模板消息, where the site has one for this text. `client_msg_id` keeps a repetition from arriving twice.
async fn by_template(sv: &Services, row: &Outgoing, to: &str, is_marked: &mut bool) -> Way {
    let Some(official) = &sv.wechat.official else { return Way::Next(String::new()) };
    let Some(template) = official.templates.get(&row.template) else { return Way::Next(String::new()) };
    if let Some(way) = mark(sv, row, is_marked).await {
        return way;
    }
    let body = template_body(template, row, to);
    let answer = official.client.post("/cgi-bin/message/template/send", &body).await;
    let answer = answer.map(|v| v["msgid"].as_i64().map(|id| id.to_string()).into_iter().collect());
    judged(sv, row, "template", None, answer).await
}

fn template_body(template: &WechatTemplate, row: &Outgoing, to: &str) -> Value {
    let data: serde_json::Map<String, Value> = template
        .data
        .iter()
        .map(|(field, pattern)| {
            let value = super::xml::cut(&filled(pattern, &row.params.0), limits::TEMPLATE_VALUE_CHARS_MAX);
            (field.clone(), json!({ "value": value }))
        })
        .collect();
    let mut body = json!({
        "touser": to, "template_id": template.id, "client_msg_id": row.id.to_string().replace('-', ""), "data": data
    });
    if !template.url.is_empty() {
        body["url"] = json!(template.url);
    }
    body
}

/// `{name}` replaced by the parameter; one that isn't there leaves nothing.
fn filled(pattern: &str, params: &Value) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match &params[name] {
            Value::String(text) => out.push_str(text),
            Value::Null => {}
            other => out.push_str(&other.to_string()),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// SMS to the citizen's number if we have it; otherwise the text has failed.
async fn by_sms(sv: &Services, row: &Outgoing, why: &str) {
    let party = match row.party {
        Some(id) => sv.store.party_get(id).await,
        None => Ok(None),
    };
    let phone = match party {
        Ok(party) => {
            party.and_then(|p| Some(Address { hash: p.phone_hash?, sealed: p.phone_sealed?, mask: p.phone_mask? }))
        }
        Err(e) => return later(sv, row, &e.to_string()).await,
    };
    let Some(to) = phone.filter(|_| !row.test) else { return failed(sv, row, why).await };
    let new = NewOutgoing {
        channel: "sms".into(),
        line: None,
        to,
        template: row.template.clone(),
        params: Json(row.params.0.clone()),
        text: row.text.clone(),
        purpose: row.purpose,
        dedup_key: Some(format!("wechat-{}", row.id)),
        conversation: row.conversation,
        item: row.item,
        party: row.party,
        once: row.once,
        test: row.test,
        next_at: now_ms(),
        expires_at: row.expires_at,
    };
    match sv.store.outgoing_add(new, now_ms()).await {
        Ok(_) => {
            info!(id = %row.id, why, "a text for WeChat goes as an SMS");
            failed(sv, row, &format!("改发短信 / sent as an SMS instead: {why}")).await;
        }
        Err(e) => later(sv, row, &e.to_string()).await,
    }
}

/// Why a customer-service message isn't tried.
const CLOSED: &str = "客服消息条数已用完 / the citizen's window is closed";

/// Counts the message in the citizen's window; `None`: it would be refused.
async fn allowed(sv: &Services, row: &Outgoing) -> Result<Option<Action>, hotline_db::DbError> {
    let now = now_ms();
    sv.store
        .wechat_window(&row.to_hash, move |window| {
            let mut quota = Quota::from(*window);
            let open = quota.take(now);
            *window = quota.into();
            open
        })
        .await
}

/// What the platform's answer means; `counted` is what the message was counted on, if it was.
async fn judged(
    sv: &Services,
    row: &Outgoing,
    call: &str,
    counted: Option<Action>,
    answer: Result<Vec<String>, ApiError>,
) -> Way {
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(e) => match e.meaning() {
            Meaning::Later => "later",
            Meaning::Closed => "closed",
            Meaning::Gone => "gone",
            Meaning::Never => "refused",
        },
    };
    sv.metrics.wechat_sent.with_label_values(&[call, outcome]).inc();
    let error = match answer {
        Ok(ids) => return Way::Sent(ids),
        Err(error) => error,
    };
    let is_unknown = matches!(error, ApiError::NoAnswer(_) | ApiError::Unreadable(_));
    if let Some(action) = counted.filter(|_| !is_unknown) {
        let is_closed = error.meaning() == Meaning::Closed;
        let correct = move |window: &mut hotline_db::WechatWindow| {
            let mut quota = Quota::from(*window);
            if is_closed {
                quota.exhaust()
            } else {
                quota.give_back(action)
            }
            *window = quota.into();
        };
        if let Err(e) = sv.store.wechat_window(&row.to_hash, correct).await {
            warn!(error = %e, "a citizen's WeChat window wasn't corrected");
        }
    }
    match error.meaning() {
        _ if is_unknown => Way::Unknown(error.to_string()),
        Meaning::Later => Way::Later(error.to_string()),
        _ => Way::Next(error.to_string()),
    }
}

fn line_of(sv: &Services, row: &Outgoing) -> String {
    let name = || sv.wechat.official.as_ref().map_or(CHANNEL, |o: &Official| o.name.as_str()).to_owned();
    row.line.clone().filter(|line| line.starts_with(KF_LINE)).unwrap_or_else(name)
}

async fn sent(sv: &Services, row: &Outgoing, ids: &[String]) {
    // Marked before, it only lacks the platform's id, which a report of its needs.
    if row.once {
        return;
    }
    if let Err(e) = sv.store.outgoing_submitted(row.id, &line_of(sv, row), ids, now_ms()).await {
        warn!(id = %row.id, error = %e, "a text left and its row doesn't say so: it may go twice");
    }
}

async fn later(sv: &Services, row: &Outgoing, error: &str) {
    if let Err(e) = sv.store.outgoing_retry(row, now_ms() + pause_ms(row.attempts), error).await {
        warn!(id = %row.id, error = %e, "a text for WeChat wasn't given back: its lease runs out");
    }
}

async fn failed(sv: &Services, row: &Outgoing, why: &str) {
    if let Err(e) = sv.store.outgoing_failed(row, why).await {
        warn!(id = %row.id, error = %e, "a text for WeChat wasn't given up: its lease runs out");
    }
}

/// Doubles with each attempt; the second half is random, so that a platform that comes back isn't met at once.
pub(super) fn pause_ms(attempts: i64) -> i64 {
    let power = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
    let whole = limits::RETRY_MS_MIN.saturating_mul(2_i64.saturating_pow(power)).min(limits::RETRY_MS_MAX);
    whole / 2 + rand::random_range(0..=whole / 2)
}

/// A text within what the platform takes, cut at a character.
pub(super) fn fitted(text: &str) -> String {
    if text.len() <= limits::REPLY_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = limits::REPLY_BYTES_MAX - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// One text to whoever just opened a session (欢迎语); nothing is lost if it fails.
pub(super) async fn welcome(client: &Client, code: &str, text: &str) -> Result<(), ApiError> {
    let body = json!({"code": code, "msgtype": "text", "text": {"content": fitted(text)}});
    client.post("/cgi-bin/kf/send_msg_on_event", &body).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_from_the_parameters() {
        let params = json!({"number": "32040026112230001", "n": 5});
        assert_eq!(filled("编号{number}共{n}件{none}", &params), "编号32040026112230001共5件");
        assert_eq!(filled("{open", &params), "{open");
        assert_eq!(filled("", &params), "");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "井".repeat(2_000);
        let cut = fitted(&long);
        assert!(cut.len() <= limits::REPLY_BYTES_MAX && cut.ends_with('…'));
        assert_eq!(fitted("短"), "短");
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for attempts in [i64::MIN, 1, 2, 5, 100, i64::MAX] {
            let pause = pause_ms(attempts);
            assert!((limits::RETRY_MS_MIN / 2..=limits::RETRY_MS_MAX).contains(&pause), "{attempts}: {pause}");
        }
    }
}
