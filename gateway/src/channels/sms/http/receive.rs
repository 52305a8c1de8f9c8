//! Pushes of an aggregator: who sent them, and what they say. Pure: headers, octets and the time go in.

use std::net::IpAddr;

use hotline_sip::IpNet;
use serde_json::{Map, Value};

use super::limits::{FIELD_BYTES_MAX, ID_CHARS_MAX, PUSH_LEN_MAX};
use super::sign::{expand, is_signed};
use crate::config::{HttpFormat, HttpLine, HttpPush};
use crate::privacy::{Pii, constant_time_eq};

/// Why a push wasn't taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Nothing says whom to trust.
    #[error("未配置 trust:须有 allow、token 或 signature / trust is not set: allow, token or signature")]
    Closed,
    /// Not from where pushes come from.
    #[error("来源地址未列入 trust.allow / the sender's address is not in trust.allow")]
    Address,
    /// No or a wrong token or signature.
    #[error("签名或令牌不符 / the signature or token is wrong")]
    Signature,
    /// Outside the window: a replay, or a clock that is off.
    #[error("时间戳超出窗口,请校时 / the timestamp is outside the window: check the clock")]
    Stale,
    /// No JSON, no form.
    #[error("无法解析 / the body can't be read: {0}")]
    Body(String),
    /// A field is missing or too long.
    #[error("字段缺失或过长 / a field is missing or too long: {0}")]
    Field(String),
    /// More at once than is taken.
    #[error("一次推送过多 / more than {PUSH_LEN_MAX} in one push")]
    TooMany,
}

/// A push as it came.
pub(super) struct Push<'a> {
    pub(super) peer: IpAddr,
    /// A header's value by its lower-case name.
    pub(super) header: &'a dyn Fn(&str) -> Option<String>,
    pub(super) body: &'a [u8],
    /// Epoch ms.
    pub(super) now: i64,
}

/// A message that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) from: Pii<String>,
    pub(super) to: String,
    pub(super) text: String,
    /// The aggregator's id, if it gives one.
    pub(super) id: Option<String>,
}

/// What a report says became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pending,
    Delivered,
    Failed,
}

/// A report that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) id: String,
    pub(super) fate: Fate,
    pub(super) code: String,
}

/// The messages of a push.
pub(super) fn messages(line: &HttpLine, push: &Push<'_>) -> Result<Vec<Message>, Refusal> {
    let rule = &line.push;
    let one = |entry: &Value| {
        let from = field(entry, &rule.from).filter(|f| !f.is_empty());
        let text = field(entry, &rule.text);
        let id = field(entry, &rule.id).filter(|id| !id.is_empty());
        if id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
            return Err(Refusal::Field(rule.id.clone()));
        }
        Ok(Message {
            from: Pii::new(from.ok_or_else(|| Refusal::Field(rule.from.clone()))?),
            to: field(entry, &rule.to).unwrap_or_default(),
            text: text.ok_or_else(|| Refusal::Field(rule.text.clone()))?,
            id,
        })
    };
    entries(line, rule, push)?.iter().map(one).collect()
}

/// The reports of a push.
pub(super) fn reports(line: &HttpLine, push: &Push<'_>) -> Result<Vec<Report>, Refusal> {
    let rule = &line.report;
    let one = |entry: &Value| {
        let id = field(entry, &rule.id).filter(|id| !id.is_empty() && id.chars().count() <= ID_CHARS_MAX);
        let status = field(entry, &rule.status).ok_or_else(|| Refusal::Field(rule.status.clone()))?;
        let fate = if rule.delivered.contains(&status) {
            Fate::Delivered
        } else if rule.pending.contains(&status) {
            Fate::Pending
        } else {
            Fate::Failed
        };
        let code = status.chars().filter(|c| !c.is_control()).take(32).collect();
        Ok(Report { id: id.ok_or_else(|| Refusal::Field(rule.id.clone()))?, fate, code })
    };
    entries(line, rule, push)?.iter().map(one).collect()
}

/// Who sent it is judged before what it says is looked into, as far as that is possible.
fn entries(line: &HttpLine, rule: &HttpPush, push: &Push<'_>) -> Result<Vec<Value>, Refusal> {
    let trust = &line.trust;
    if trust.allow.is_empty() && trust.token.is_empty() && trust.signature.is_empty() {
        return Err(Refusal::Closed);
    }
    let allow: Vec<IpNet> = trust.allow.iter().filter_map(|net| net.parse().ok()).collect();
    if !trust.allow.is_empty() && !allow.iter().any(|net| net.contains(push.peer)) {
        return Err(Refusal::Address);
    }
    let document = parse(rule.format, push.body)?;
    judge(line, &document, push)?;
    let found = if rule.list.is_empty() { Some(&document) } else { document.pointer(&rule.list) };
    let list = match found {
        Some(Value::Array(list)) => list.clone(),
        Some(Value::Null) | None => return Err(Refusal::Field(rule.list.clone())),
        Some(one) => vec![one.clone()],
    };
    if list.len() > PUSH_LEN_MAX { Err(Refusal::TooMany) } else { Ok(list) }
}

fn parse(format: HttpFormat, body: &[u8]) -> Result<Value, Refusal> {
    match format {
        HttpFormat::Json => serde_json::from_slice(body).map_err(|e| Refusal::Body(e.to_string())),
        HttpFormat::Form => {
            let text = std::str::from_utf8(body).map_err(|e| Refusal::Body(e.to_string()))?;
            Ok(Value::Object(form_fields(text)))
        }
    }
}

/// `a=1&b=%E4%BA%95` (WHATWG URL §5.1); of a name that comes twice the first counts.
fn form_fields(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        fields.entry(unescape(name)).or_insert_with(|| Value::String(unescape(value)));
    }
    fields
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&b) = bytes.get(at) {
        let digits = (b == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if b == b'+' { b' ' } else { b });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A scalar under a pointer as text; nothing longer than any text we take.
fn field(document: &Value, pointer: &str) -> Option<String> {
    let text = match document.pointer(pointer).filter(|_| !pointer.is_empty())? {
        Value::String(s) => s.clone(),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        _ => return None,
    };
    (text.len() <= FIELD_BYTES_MAX).then_some(text)
}

/// `header.x-name` or `/field`.
fn place(at: &str, document: &Value, push: &Push<'_>) -> Option<String> {
    match at.strip_prefix("header.") {
        Some(name) => (push.header)(name),
        None => field(document, at),
    }
}

fn judge(line: &HttpLine, document: &Value, push: &Push<'_>) -> Result<(), Refusal> {
    let trust = &line.trust;
    if !trust.token.is_empty() {
        let given = place(&trust.token, document, push).unwrap_or_default();
        if line.secret.is_empty() || !constant_time_eq(given.as_bytes(), line.secret.as_bytes()) {
            return Err(Refusal::Signature);
        }
    }
    if !trust.signature.is_empty() {
        let given = place(&trust.signature, document, push).unwrap_or_default();
        let value = |name: &str| match name {
            "body" => Some(String::from_utf8_lossy(push.body).into_owned()),
            "secret" => Some(line.secret.clone()),
            "account" => Some(line.account.clone()),
            "sorted" => Some(sorted(document, trust.signature.strip_prefix('/').unwrap_or_default())),
            at => (at.starts_with('/') || at.starts_with("header."))
                .then(|| place(at, document, push).unwrap_or_default()),
        };
        if !is_signed(&trust.sign, &line.secret, &expand(&trust.sign.over, &value), &given) {
            return Err(Refusal::Signature);
        }
    }
    if !trust.timestamp.is_empty() {
        let given = place(&trust.timestamp, document, push).and_then(|t| t.trim().parse::<i64>().ok());
        let at = given.ok_or_else(|| Refusal::Field(trust.timestamp.clone()))?;
        // Seconds until the year 5138, milliseconds since 1973.
        let at = if at.unsigned_abs() < 100_000_000_000 { at.saturating_mul(1000) } else { at };
        let window_ms = trust.window_s.saturating_mul(1000);
        if push.now.abs_diff(at) > window_ms {
            return Err(Refusal::Stale);
        }
    }
    Ok(())
}

/// `a=1&b=2` of a flat document in order of the names, without the signature itself and empty values.
fn sorted(document: &Value, without: &str) -> String {
    let Value::Object(fields) = document else { return String::new() };
    let mut pairs: Vec<(&String, String)> = fields
        .iter()
        .filter(|(name, _)| *name != without)
        .filter_map(|(name, _)| {
            field(document, &format!("/{}", name.replace('~', "~0").replace('/', "~1"))).map(|v| (name, v))
        })
        .filter(|(_, v)| !v.is_empty())
        .collect();
    pairs.sort();
    pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::sign::sign;
    use super::*;
    use crate::config::{HttpSign, HttpTrust, SignAlgorithm};

    const NOW: i64 = 1_800_000_000_000;

    fn push<'a>(body: &'a str, header: &'a dyn Fn(&str) -> Option<String>) -> Push<'a> {
        Push { peer: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), header, body: body.as_bytes(), now: NOW }
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    fn line(trust: HttpTrust) -> HttpLine {
        let anybody = HttpTrust { allow: vec!["0.0.0.0/0".into()], ..HttpTrust::default() };
        let trust = if trust == HttpTrust::default() { anybody } else { trust };
        HttpLine { secret: "s3cret".into(), account: "acc".into(), trust, ..HttpLine::default() }
    }

    const BODY: &str = r#"{"mobile":"13812345678","port":10612319,"content":"井盖缺失","id":"m1","ts":1800000000}"#;

    #[test]
    fn messages_come_alone_in_lists_and_as_forms() {
        let open = line(HttpTrust::default());
        let one = messages(&open, &push(BODY, &none)).unwrap();
        assert_eq!(
            (one[0].text.as_str(), one[0].to.as_str(), one[0].id.as_deref()),
            ("井盖缺失", "10612319", Some("m1"))
        );
        assert_eq!(one[0].from.reveal(), "13812345678");
        let list = format!("[{BODY},{BODY}]");
        assert_eq!(messages(&open, &push(&list, &none)).unwrap().len(), 2);
        let mut nested = line(HttpTrust::default());
        nested.push.list = "/data/list".into();
        let body = format!(r#"{{"data":{{"list":[{BODY}]}}}}"#);
        assert_eq!(messages(&nested, &push(&body, &none)).unwrap(), one);
        assert!(matches!(messages(&nested, &push(BODY, &none)), Err(Refusal::Field(_))));
        let mut form = line(HttpTrust::default());
        form.push.format = HttpFormat::Form;
        let body = "mobile=13812345678&port=10612319&content=%E4%BA%95%E7%9B%96+%zz&id=m1&mobile=2";
        let read = messages(&form, &push(body, &none)).unwrap();
        assert_eq!((read[0].from.reveal().as_str(), read[0].text.as_str()), ("13812345678", "井盖 %zz"));
    }

    #[test]
    fn forged_tampered_and_replayed_pushes_are_refused() {
        let trust = HttpTrust {
            signature: "header.x-sign".into(),
            sign: HttpSign { over: "{body}{header.x-time}".into(), ..HttpSign::default() },
            timestamp: "header.x-time".into(),
            ..HttpTrust::default()
        };
        let l = line(trust);
        let with = |signature: String, time: &'static str| {
            move |name: &str| match name {
                "x-sign" => Some(signature.clone()),
                "x-time" => Some(time.to_owned()),
                _ => None,
            }
        };
        let signed = |time: &str| sign(&l.trust.sign, "s3cret", &format!("{BODY}{time}"));
        let good = with(signed("1800000010"), "1800000010");
        assert!(messages(&l, &push(BODY, &good)).is_ok());
        let ms = with(signed("1800000010000"), "1800000010000");
        assert!(messages(&l, &push(BODY, &ms)).is_ok());
        let tampered = BODY.replace("井盖", "井水");
        assert_eq!(messages(&l, &push(&tampered, &good)), Err(Refusal::Signature));
        assert_eq!(messages(&l, &push(BODY, &with(signed("1800000010"), "1800000011"))), Err(Refusal::Signature));
        assert_eq!(messages(&l, &push(BODY, &none)), Err(Refusal::Signature));
        let old = with(signed("1799999000"), "1799999000");
        assert_eq!(messages(&l, &push(BODY, &old)), Err(Refusal::Stale));
        let odd = with(signed("-9223372036854775808"), "-9223372036854775808");
        assert_eq!(messages(&l, &push(BODY, &odd)), Err(Refusal::Stale));
    }

    #[test]
    fn sorted_fields_with_md5_and_tokens_are_judged() {
        let over = "{sorted}&key={secret}";
        let sign_rule = HttpSign { algorithm: SignAlgorithm::Md5, over: over.into(), ..HttpSign::default() };
        let l = line(HttpTrust { signature: "/sign".into(), sign: sign_rule.clone(), ..HttpTrust::default() });
        let wanted = sign(&sign_rule, "", "content=x&empty2=1&mobile=13812345678&key=s3cret");
        let body = format!(r#"{{"mobile":"13812345678","content":"x","empty":"","empty2":1,"sign":"{wanted}"}}"#);
        assert!(messages(&l, &push(&body, &none)).is_ok());
        assert_eq!(messages(&l, &push(&body.replace("\"x\"", "\"y\""), &none)), Err(Refusal::Signature));
        let token = line(HttpTrust { token: "header.x-token".into(), ..HttpTrust::default() });
        let right = |_: &str| Some("s3cret".to_owned());
        let wrong = |_: &str| Some("s3cre".to_owned());
        assert!(messages(&token, &push(BODY, &right)).is_ok());
        assert_eq!(messages(&token, &push(BODY, &wrong)), Err(Refusal::Signature));
        let unset = HttpLine { secret: String::new(), ..token };
        let empty = |_: &str| Some(String::new());
        assert_eq!(messages(&unset, &push(BODY, &empty)), Err(Refusal::Signature), "no secret, no trust");
    }

    #[test]
    fn only_listed_addresses_may_push() {
        let l = line(HttpTrust { allow: vec!["198.51.100.0/24".into()], ..HttpTrust::default() });
        assert_eq!(messages(&l, &push(BODY, &none)), Err(Refusal::Address));
        let l = line(HttpTrust { allow: vec!["203.0.113.0/24".into()], ..HttpTrust::default() });
        assert!(messages(&l, &push(BODY, &none)).is_ok());
        let nobody = HttpLine { trust: HttpTrust::default(), ..l };
        assert_eq!(messages(&nobody, &push(BODY, &none)), Err(Refusal::Closed));
    }

    #[test]
    fn reports_settle_texts_and_nonsense_is_named() {
        let l = line(HttpTrust::default());
        let of = |body: &str| reports(&l, &push(body, &none));
        let read = of(
            r#"[{"id":"a","status":"DELIVRD"},{"id":7,"status":0},{"id":"b","status":"ENROUTE"},{"id":"c","status":"X\u0000Y"}]"#,
        );
        let fates: Vec<_> = read.unwrap().into_iter().map(|r| (r.id, r.fate, r.code)).collect();
        let f = |id: &str, fate, code: &str| (id.to_owned(), fate, code.to_owned());
        let expected = [
            f("a", Fate::Delivered, "DELIVRD"),
            f("7", Fate::Delivered, "0"),
            f("b", Fate::Pending, "ENROUTE"),
            f("c", Fate::Failed, "XY"),
        ];
        assert_eq!(fates, expected);
        for bad in
            ["", "nonsense", "{}", r#"{"id":"a"}"#, r#"{"status":"0"}"#, "null", "[1]", r#"{"id":{},"status":"0"}"#]
        {
            assert!(matches!(of(bad), Err(Refusal::Body(_) | Refusal::Field(_))), "{bad}");
        }
        let long = format!(r#"{{"id":"{}","status":"0"}}"#, "x".repeat(65));
        assert!(matches!(of(&long), Err(Refusal::Field(_))));
        let many = format!("[{}]", vec![r#"{"id":"a","status":"0"}"#; PUSH_LEN_MAX + 1].join(","));
        assert_eq!(of(&many), Err(Refusal::TooMany));
    }
}
