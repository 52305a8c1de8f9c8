//! One test of one way, from outside in: what is sent leaves this process and comes back through its sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hotline_db::{AddressKind, Id, Json, NewOutgoing, OutgoingPurpose, OutgoingState};
use tokio::sync::oneshot;

use super::marker::Marker;
use super::phone::{self, Wish};
use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::draft;

/// Packets of sound that prove the way back: 400 ms.
const PACKETS_WANTED: usize = 20;
/// The report page takes nothing filled in faster.
const FILL: Duration = Duration::from_millis(2_200);
/// The openid the robot writes under.
const TESTER: &str = "hotline-self-test";
/// A text's row is looked at so often.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes read of the report page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Tries a way; `None`: it isn't set up.
pub(super) async fn try_way(sv: &Arc<Services>, way: &str) -> Option<Result<(), String>> {
    let robot = &sv.config.robot;
    match way {
        "call" if !robot.call.is_empty() => Some(call(sv).await),
        "web" if !robot.web.is_empty() => Some(web(sv).await),
        "wechat" if !robot.wechat.is_empty() => Some(wechat(sv).await),
        "sms" if !robot.sms.is_empty() => Some(sms(sv).await),
        "mail" if robot.mail => Some(mail(sv).await),
        _ => None,
    }
}

/// A new sign, and who hears of its arrival.
fn sign(sv: &Services, way: &str) -> (String, oneshot::Receiver<()>) {
    let marker = Marker::new(way, now_ms());
    (marker.text(&sv.sealer), sv.robot.expect(&marker.nonce))
}

async fn stored(arrival: oneshot::Receiver<()>) -> Result<(), String> {
    arrival.await.map_err(|_| "too many tests at once".to_owned())
}

/// A call to the hotline number, answered, with sound both ways.
async fn call(sv: &Services) -> Result<(), String> {
    let robot = &sv.config.robot;
    let (sign, arrival) = sign(sv, "call");
    let listener = sv.config.sip.listen.first().ok_or("no SIP listener")?;
    let host = if listener.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listener.ip() };
    let wish = Wish {
        from: robot.call_from,
        to: SocketAddr::new(host, listener.port()),
        number: robot.call.clone(),
        call_id: sign,
        patience: Duration::from_secs(robot.timeout_s.min(20)),
        packets_wanted: PACKETS_WANTED,
    };
    phone::call(&wish).await.map_err(|e| e.to_string())?;
    stored(arrival).await
}

/// A report through the page without a link.
async fn web(sv: &Services) -> Result<(), String> {
    let url = &sv.config.robot.web;
    let client = client()?;
    let page = client.get(url).send().await.map_err(|e| outline(&e))?;
    if !page.status().is_success() {
        return Err(format!("GET: HTTP {}", page.status().as_u16()));
    }
    let bytes = page.bytes().await.map_err(|e| outline(&e))?;
    let text = String::from_utf8_lossy(bytes.get(..PAGE_BYTES_MAX).unwrap_or(&bytes)).into_owned();
    let proof = hidden(&text, "form").ok_or("网页上没有表单 / there is no form on the page")?;
    tokio::time::sleep(FILL).await;
    let (sign, arrival) = sign(sv, "web");
    let form =
        reqwest::multipart::Form::new().text("form", proof).text("text", format!("自检 {sign}")).text("place", "自检");
    let answer = client.post(url).multipart(form).send().await.map_err(|e| outline(&e))?;
    if !answer.status().is_success() && !answer.status().is_redirection() {
        return Err(format!("POST: HTTP {}", answer.status().as_u16()));
    }
    stored(arrival).await
}

/// A mail to ourselves: out by SMTP, in by IMAP.
async fn mail(sv: &Services) -> Result<(), String> {
    let (sign, arrival) = sign(sv, "mail");
    let to = draft::address(sv, AddressKind::Mail, &sv.config.mail.address).map_err(|e| e.to_string())?;
    let now = now_ms();
    let new = NewOutgoing {
        channel: "mail".into(),
        line: None,
        to: to.ok_or("mail.address")?,
        template: "robot".into(),
        params: Json(serde_json::json!({"subject": "HT"})),
        text: format!("自检 {sign}"),
        purpose: OutgoingPurpose::Test,
        dedup_key: None,
        conversation: None,
        item: None,
        party: None,
        once: false,
        test: true,
        next_at: now,
        expires_at: now + 600_000,
    };
    sv.store.outgoing_add(new, now).await.map_err(|e| e.to_string())?;
    stored(arrival).await
}

/// A message pushed to our own webhook, signed (and in safe mode sealed) as the platform does it.
async fn wechat(sv: &Services) -> Result<(), String> {
    let official = sv.wechat.official.as_ref().ok_or("wechat.app_id")?;
    let account = &sv.config.wechat.app_id;
    let (sign, arrival) = sign(sv, "wechat");
    let (now_s, id) = (now_ms() / 1_000, rand::random::<u64>() >> 1);
    let message = format!(
        "<xml><ToUserName>{account}</ToUserName><FromUserName>{TESTER}</FromUserName><CreateTime>{now_s}</CreateTime>\
         <MsgType>text</MsgType><Content>自检 {sign}</Content><MsgId>{id}</MsgId></xml>"
    );
    let envelope = &official.envelope;
    let (query, body) = if envelope.is_safe() {
        let sealed = envelope.seal(&message, now_s).map_err(|e| e.to_string())?;
        let signature = envelope.sign(&[&sealed.timestamp, &sealed.nonce]);
        let query = format!(
            "signature={signature}&timestamp={}&nonce={}&encrypt_type=aes&msg_signature={}",
            sealed.timestamp, sealed.nonce, sealed.signature
        );
        let body = format!("<xml><ToUserName>{account}</ToUserName><Encrypt>{}</Encrypt></xml>", sealed.encrypt);
        (query, body)
    } else {
        let (timestamp, nonce) = (now_s.to_string(), rand::random::<u32>().to_string());
        let signature = envelope.sign(&[&timestamp, &nonce]);
        (format!("signature={signature}&timestamp={timestamp}&nonce={nonce}"), message)
    };
    let url = format!("{}?{query}", sv.config.robot.wechat);
    let answer = client()?.post(url).body(body).send().await.map_err(|e| outline(&e))?;
    if !answer.status().is_success() {
        return Err(format!("POST: HTTP {}", answer.status().as_u16()));
    }
    stored(arrival).await
}

/// A text to the test number: it has passed when the carrier says it arrived, or when a phone that sends
/// everything back brings it to us again.
async fn sms(sv: &Services) -> Result<(), String> {
    let robot = &sv.config.robot;
    let (sign, arrival) = sign(sv, "sms");
    let to = draft::address(sv, AddressKind::Phone, &robot.sms).map_err(|e| e.to_string())?;
    let now = now_ms();
    let new = NewOutgoing {
        channel: "sms".into(),
        line: Some(robot.sms_line.clone()).filter(|line| !line.is_empty()),
        to: to.ok_or("robot.sms")?,
        template: "robot".into(),
        params: Json(serde_json::json!({})),
        text: format!("自检 {sign}"),
        purpose: OutgoingPurpose::Test,
        dedup_key: None,
        conversation: None,
        item: None,
        party: None,
        once: true,
        test: true,
        next_at: now,
        expires_at: now + 600_000,
    };
    let id = sv.store.outgoing_add(new, now).await.map_err(|e| e.to_string())?.ok_or("not written")?;
    tokio::select! {
        back = stored(arrival) => back,
        reported = reported(sv, id) => reported,
    }
}

/// What the carrier says of a text.
async fn reported(sv: &Services, id: Id) -> Result<(), String> {
    loop {
        tokio::time::sleep(LOOK).await;
        let row = sv.store.outgoing_get(id).await.map_err(|e| e.to_string())?.ok_or("its row is gone")?;
        match row.state {
            OutgoingState::Delivered => return Ok(()),
            OutgoingState::Queued | OutgoingState::Sending | OutgoingState::Submitted => {}
            other => {
                let why = row.code.or(row.last_error).unwrap_or_default();
                return Err(format!("短信未送达 / the text didn't arrive: {} {why}", other.as_str()));
            }
        }
    }
}

fn client() -> Result<reqwest::Client, String> {
    // The redirection to the receipt isn't followed: stored is stored.
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(|e| outline(&e))
}

/// Without the address, which may hold a secret.
fn outline(e: &reqwest::Error) -> String {
    let kind = if e.is_connect() {
        "connection"
    } else if e.is_timeout() {
        "timeout"
    } else {
        "request"
    };
    format!("{kind} failed")
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> Option<String> {
    let wanted = format!("name=\"{name}\"");
    let input = page.split("<input").find(|input| input.split('>').next().is_some_and(|tag| tag.contains(&wanted)))?;
    let value = input.split('>').next()?.split("value=\"").nth(1)?.split('"').next()?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_field_is_found_wherever_it_stands() {
        let page =
            r#"<form><input type="text" name="text" value="a"><input value="p.1.f" type="hidden" name="form"></form>"#;
        assert_eq!(hidden(page, "form").as_deref(), Some("p.1.f"));
        assert_eq!(hidden(page, "gone"), None);
    }
}
