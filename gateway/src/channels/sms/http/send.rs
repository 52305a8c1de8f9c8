//! A text on its way to an aggregator: the request as configured, and what its answer means.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::limits::{ANSWER_BYTES_MAX, ID_CHARS_MAX};
use super::sign::{expand, sign};
use crate::channels::sms::smpp::Submitted;
use crate::config::{HttpFormat, HttpLine, SmppNumbers};

/// A text as an aggregator may want it.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    /// E.164 with `+`, or a short number.
    pub(super) to: &'a str,
    pub(super) text: &'a str,
    /// Ours: the same for every attempt.
    pub(super) id: &'a str,
    /// The template this carrier knows the text by.
    pub(super) template_id: &'a str,
    pub(super) params: &'a Value,
    /// Epoch ms.
    pub(super) now: i64,
    pub(super) nonce: &'a str,
}

/// Sends it; never fails, the outcome says it all.
pub(super) async fn send(client: &Client, line: &HttpLine, text: &Text<'_>) -> Submitted {
    let request = match build(client, line, text) {
        Ok(request) => request,
        Err(e) => return Submitted::Refused(format!("request: {e}")),
    };
    let mut response = match request.send().await {
        Ok(response) => response,
        // Without a connection nothing left; after that nobody knows.
        Err(e) if e.is_connect() || e.is_builder() => return Submitted::NotSent(reason(&e)),
        Err(e) => return Submitted::Unknown(reason(&e)),
    };
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() < ANSWER_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(_) => break,
            Err(e) => return Submitted::Unknown(reason(&e)),
        }
    }
    body.truncate(ANSWER_BYTES_MAX);
    read_answer(line, status, &body)
}

/// An error without the address, which may hold the secret.
fn reason(e: &reqwest::Error) -> String {
    let what = if e.is_timeout() {
        "timeout"
    } else if e.is_connect() {
        "no connection"
    } else {
        "broken connection"
    };
    what.to_owned()
}

fn build(client: &Client, line: &HttpLine, text: &Text<'_>) -> Result<RequestBuilder, String> {
    let method = Method::from_bytes(line.method.as_bytes()).map_err(|e| e.to_string())?;
    let plain = values(line, text);
    let value = |name: &str| plain.get(name).cloned().or_else(|| param(text.params, name));
    let signed = sign(&line.sign, &line.secret, &expand(&line.sign.over, &value));
    let value = |name: &str| if name == "sign" { Some(signed.clone()) } else { value(name) };
    let url = expand(&line.url, &|name| value(name).map(|v| escape(&v)));
    let mut request = client.request(method, url).timeout(Duration::from_millis(line.timeout_ms));
    for (name, template) in &line.headers {
        request = request.header(name, expand(template, &value));
    }
    if line.body.is_null() {
        return Ok(request);
    }
    let body = filled(&line.body, &value);
    Ok(match line.format {
        HttpFormat::Json => request.json(&body),
        HttpFormat::Form => {
            let kind = "application/x-www-form-urlencoded; charset=utf-8";
            request.header("content-type", kind).body(form(&body))
        }
    })
}

fn values(line: &HttpLine, text: &Text<'_>) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("to", recipient(line.numbers, text.to)),
        ("text", text.text.to_owned()),
        ("from", line.from.clone()),
        ("account", line.account.clone()),
        ("secret", line.secret.clone()),
        ("id", text.id.to_owned()),
        ("nonce", text.nonce.to_owned()),
        ("timestamp", (text.now / 1000).to_string()),
        ("timestamp_ms", text.now.to_string()),
        ("template_id", text.template_id.to_owned()),
    ])
}

/// `param.NAME` of the template's parameters.
fn param(params: &Value, name: &str) -> Option<String> {
    match params.get(name.strip_prefix("param.")?) {
        Some(Value::String(s)) => Some(s.clone()),
        Some(other) => Some(other.to_string()),
        None => Some(String::new()),
    }
}

/// Every text of a document with its placeholders replaced.
fn filled(template: &Value, value: &dyn Fn(&str) -> Option<String>) -> Value {
    match template {
        Value::String(s) => Value::String(expand(s, value)),
        Value::Array(list) => list.iter().map(|v| filled(v, value)).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), filled(v, value))).collect()),
        other => other.clone(),
    }
}

fn form(body: &Value) -> String {
    let Value::Object(fields) = body else { return String::new() };
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    fields.iter().map(|(n, v)| format!("{}={}", escape(n), escape(&text(v)))).collect::<Vec<_>>().join("&")
}

/// RFC 3986 §2.1, unreserved characters as they are.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut s, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            s.push(char::from(b));
        } else {
            let _ = write!(s, "%{b:02X}");
        }
        s
    })
}

fn recipient(numbers: SmppNumbers, to: &str) -> String {
    let digits = to.strip_prefix('+').unwrap_or(to);
    match numbers {
        SmppNumbers::Plus => to.to_owned(),
        SmppNumbers::International => digits.to_owned(),
        SmppNumbers::National if to.starts_with('+') => digits.strip_prefix("86").unwrap_or(digits).to_owned(),
        SmppNumbers::National => digits.to_owned(),
    }
}

/// What an answer means. A 5xx may come from a proxy after the aggregator took the text: nobody knows.
fn read_answer(line: &HttpLine, http: u16, body: &[u8]) -> Submitted {
    match http {
        429 => return Submitted::Throttled,
        503 => return Submitted::Later("HTTP 503".into()),
        401 | 403 | 404 | 407 => return Submitted::Later(format!("HTTP {http}")),
        500.. => return Submitted::Unknown(format!("HTTP {http}")),
        _ => {}
    }
    let rule = &line.answer;
    let text = String::from_utf8_lossy(body);
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let scalar = |pointer: &str| match document.as_ref()?.pointer(pointer)? {
        Value::String(s) => Some(s.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    };
    let (status, id) = if rule.status.is_empty() {
        let (status, rest) = text.trim().split_once(',').unwrap_or((text.trim(), ""));
        (Some(status.trim().to_owned()), rest.split(',').next().map(|id| id.trim().to_owned()))
    } else {
        (scalar(&rule.status), None)
    };
    let id = if rule.id.is_empty() { id } else { scalar(&rule.id) };
    let id = id.unwrap_or_default().chars().take(ID_CHARS_MAX).collect();
    match status {
        Some(s) if rule.ok.contains(&s) => Submitted::Accepted(id),
        Some(s) if rule.throttled.contains(&s) => Submitted::Throttled,
        Some(s) if rule.refused.contains(&s) => Submitted::Refused(short(&s)),
        Some(s) => Submitted::Later(short(&s)),
        None if http >= 400 => Submitted::Refused(format!("HTTP {http}")),
        // It answered, and not as configured: it may well have taken the text.
        None => Submitted::Unknown("unreadable answer".into()),
    }
}

fn short(status: &str) -> String {
    status.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{HttpAnswer, HttpSign, SignAlgorithm};

    fn text<'a>(params: &'a Value) -> Text<'a> {
        Text {
            to: "+8613812345678",
            text: "受理{account}&1",
            id: "row-1",
            template_id: "SMS_1",
            params,
            now: 1_800_000_000_123,
            nonce: "n0",
        }
    }

    #[test]
    fn a_request_is_written_as_configured() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let line = HttpLine {
            url: "http://127.0.0.1:9/send?to={to}&t={text}".into(),
            headers: BTreeMap::from([("x-sign".into(), "{sign}".into())]),
            body: json!({"m": ["{to}"], "c": "{text}", "p": {"n": "{param.number}"}, "t": "{template_id}", "ts": "{timestamp}", "x": 1}),
            account: "acc".into(),
            secret: "s".into(),
            sign: HttpSign {
                algorithm: SignAlgorithm::Md5,
                over: "{account}{timestamp_ms}{secret}".into(),
                ..HttpSign::default()
            },
            ..HttpLine::default()
        };
        let params = json!({"number": "3204"});
        let request = build(&Client::new(), &line, &text(&params)).unwrap().build().unwrap();
        assert_eq!(request.url().query(), Some("to=13812345678&t=%E5%8F%97%E7%90%86%7Baccount%7D%261"));
        let wanted = sign(&line.sign, "", "acc1800000000123s");
        assert_eq!(request.headers()["x-sign"], wanted.as_str());
        let body: Value = serde_json::from_slice(request.body().unwrap().as_bytes().unwrap()).unwrap();
        let expected = json!({"m": ["13812345678"], "c": "受理{account}&1", "p": {"n": "3204"}, "t": "SMS_1", "ts": "1800000000", "x": 1});
        assert_eq!(body, expected, "a value is not looked into again");
        let form = HttpLine { format: HttpFormat::Form, body: json!({"a b": "{text}"}), ..line };
        let request = build(&Client::new(), &form, &text(&params)).unwrap().build().unwrap();
        let body = std::str::from_utf8(request.body().unwrap().as_bytes().unwrap()).unwrap();
        assert_eq!(body, "a%20b=%E5%8F%97%E7%90%86%7Baccount%7D%261");
    }

    #[test]
    fn answers_are_read_in_the_aggregators_own_terms() {
        let answer = HttpAnswer { throttled: vec!["42".into()], refused: vec!["7".into()], ..HttpAnswer::default() };
        let line = HttpLine { answer, ..HttpLine::default() };
        let of = |http, body: &str| read_answer(&line, http, body.as_bytes());
        assert_eq!(of(200, r#"{"code":0,"id":123}"#), Submitted::Accepted("123".into()));
        assert_eq!(of(200, r#"{"code":"0"}"#), Submitted::Accepted(String::new()));
        assert_eq!(of(200, r#"{"code":42}"#), Submitted::Throttled);
        assert_eq!(of(200, r#"{"code":7}"#), Submitted::Refused("7".into()));
        assert_eq!(of(400, r#"{"code":8}"#), Submitted::Later("8".into()));
        assert_eq!(of(400, "bad"), Submitted::Refused("HTTP 400".into()));
        assert!(matches!(of(200, "<html>"), Submitted::Unknown(_)));
        assert!(matches!(of(502, r#"{"code":0}"#), Submitted::Unknown(_)));
        assert_eq!((of(429, ""), of(503, "")), (Submitted::Throttled, Submitted::Later("HTTP 503".into())));
        let plain = HttpAnswer { status: String::new(), id: String::new(), ..HttpAnswer::default() };
        let plain = HttpLine { answer: plain, ..HttpLine::default() };
        let of = |body: &str| read_answer(&plain, 200, body.as_bytes());
        assert_eq!(of("0, abc ,x\r\n"), Submitted::Accepted("abc".into()));
        assert_eq!(of("0"), Submitted::Accepted(String::new()));
        assert_eq!(of("-3,balance"), Submitted::Later("-3".into()));
    }
}
