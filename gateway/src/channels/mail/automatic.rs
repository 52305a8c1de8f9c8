//! Mail that programs write. It is stored and never answered (RFC 3834 §2): whoever answers robots makes loops.

use mail_parser::{HeaderName, HeaderValue, Message, MimeHeaders};

/// Local parts nobody reads.
const ROBOTS: [&str; 9] = [
    "mailer-daemon",
    "postmaster",
    "noreply",
    "no-reply",
    "no_reply",
    "donotreply",
    "do-not-reply",
    "bounce",
    "bounces",
];
/// Headers only programs write.
const MARKS: [&str; 8] = [
    "List-Id",
    "List-Unsubscribe",
    "List-Post",
    "X-Autoreply",
    "X-Autorespond",
    "X-Autoresponder",
    "X-Auto-Reply",
    "Feedback-ID",
];

/// Why a mail counts as written by a program; `None`: a person wrote it. `own` is our address.
#[must_use]
pub(super) fn of(message: &Message<'_>, from: Option<&str>, own: &str) -> Option<&'static str> {
    let text = |name: &'static str| first_text(message, name).map(|v| v.to_ascii_lowercase());
    if text("Auto-Submitted").is_some_and(|v| v.split([';', ' ']).next() != Some("no")) {
        return Some("auto-submitted");
    }
    if text("X-Loop").is_some() {
        return Some("loop");
    }
    if text("Precedence").is_some_and(|v| matches!(v.as_str(), "bulk" | "junk" | "list" | "auto_reply" | "auto-reply"))
    {
        return Some("precedence");
    }
    if MARKS.iter().any(|name| first_header(message, name).is_some()) {
        return Some("list");
    }
    if message.is_content_type("multipart", "report") || message.is_content_type("message", "delivery-status") {
        return Some("report");
    }
    // RFC 5321 §4.5.5: a null reverse-path asks for no answer.
    if first_header(message, "Return-Path").is_some_and(|_| is_null_path(message)) {
        return Some("null return-path");
    }
    let from = from?;
    if from.eq_ignore_ascii_case(own) {
        return Some("our own address");
    }
    by_address(from)
}

/// By the sender alone: for mail that comes without headers.
#[must_use]
pub(super) fn by_address(from: &str) -> Option<&'static str> {
    let local = from.split('@').next().unwrap_or_default().to_ascii_lowercase();
    // `bounce+token=…` and `noreply-123` are the same robots.
    let is_robot = |robot: &str| local.strip_prefix(robot).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
    ROBOTS.iter().any(|robot| is_robot(robot)).then_some("robot's address")
}

fn first_header<'m>(message: &'m Message<'_>, name: &str) -> Option<&'m HeaderValue<'m>> {
    let headers = message.headers();
    headers.iter().find(|h| h.name.as_str().eq_ignore_ascii_case(name)).map(|h| &h.value)
}

fn first_text<'m>(message: &'m Message<'_>, name: &str) -> Option<&'m str> {
    match first_header(message, name)? {
        HeaderValue::Text(text) => Some(text.trim()),
        HeaderValue::TextList(list) => list.first().map(|t| t.trim()),
        _ => Some(""),
    }
}

fn is_null_path(message: &Message<'_>) -> bool {
    let raw = message.header_raw(HeaderName::ReturnPath).unwrap_or_default();
    let inside: String = raw.chars().filter(|c| !c.is_whitespace() && !matches!(c, '<' | '>')).collect();
    inside.is_empty()
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    fn judged(headers: &str) -> Option<&'static str> {
        let raw = format!("{headers}\r\nSubject: x\r\n\r\ntext\r\n");
        let message = MessageParser::default().parse(raw.as_bytes()).unwrap();
        let from = message.from().and_then(|f| f.first()).and_then(|a| a.address()).map(str::to_owned);
        of(&message, from.as_deref(), "12319@city.gov.cn")
    }

    #[test]
    fn programs_are_recognised_and_people_are_not() {
        for (headers, why) in [
            ("From: a@b.cn\r\nAuto-Submitted: auto-replied", "auto-submitted"),
            ("From: a@b.cn\r\nAuto-Submitted: auto-generated; x=y", "auto-submitted"),
            ("From: a@b.cn\r\nPrecedence: Bulk", "precedence"),
            ("From: a@b.cn\r\nList-Id: <news.b.cn>", "list"),
            ("From: a@b.cn\r\nLIST-UNSUBSCRIBE: <mailto:x@b.cn>", "list"),
            ("From: a@b.cn\r\nX-Loop: 12319@city.gov.cn", "loop"),
            ("From: a@b.cn\r\nX-Autoreply: yes", "list"),
            ("From: MAILER-DAEMON@mx.b.cn", "robot's address"),
            ("From: noreply-77@b.cn", "robot's address"),
            ("From: bounce+a=b@b.cn", "robot's address"),
            ("Return-Path: <>\r\nFrom: a@b.cn", "null return-path"),
            ("From: 12319@CITY.gov.cn", "our own address"),
            ("From: a@b.cn\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x", "report"),
        ] {
            assert_eq!(judged(headers), Some(why), "{headers}");
        }
        for headers in [
            "From: zhang@b.cn",
            "Return-Path: <zhang@b.cn>\r\nFrom: zhang@b.cn\r\nAuto-Submitted: no",
            "From: noreplying.zhang@b.cn",
            "From: postmasters@b.cn\r\nPrecedence: normal",
        ] {
            assert_eq!(judged(headers), None, "{headers}");
        }
    }
}
