//! What a trace may show: numbers and names masked, secrets never.

use crate::privacy::mask_phone;

/// A run of so many digits is somebody's number wherever it stands; shorter ones are hotline numbers,
/// extensions, addresses and ports.
const NUMBER_DIGITS_MIN: usize = 7;
/// Longer runs are counters and random ids, unless they stand where a user stands.
const NUMBER_DIGITS_MAX: usize = 15;
/// Body types that are shown; of others only the length.
const SHOWN_BODIES: [&str; 3] = ["application/sdp", "message/sipfrag", "application/dtmf"];

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Numbers, names and keyed digits are masked; secrets too.
    Masked,
    /// Only secrets are masked: digest responses and SRTP keys.
    Raw,
}

/// The message as text for people.
#[must_use]
pub fn show(bytes: &[u8], view: View) -> String {
    let text = String::from_utf8_lossy(bytes);
    // As the parser reads it: line breaks before the start line are skipped, and a bare LF ends a line too.
    let start = text.len() - text.trim_start_matches(['\r', '\n']).len();
    let (breaks, message) = text.split_at(start);
    let mut out = String::with_capacity(text.len());
    out.push_str(breaks);
    let (head, body) = message.split_at(head_len(message));
    let mut body_type = String::new();
    // A folded line belongs to the field above it (RFC 3261 §7.3.1).
    let mut field = String::new();
    for (i, line) in head.split_inclusive('\n').enumerate() {
        if i == 0 {
            push_start(&mut out, line, view);
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            field = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            if matches!(field.as_str(), "content-type" | "c") {
                body_type = line.split_once(':').map_or_else(String::new, |(_, v)| v.trim().to_ascii_lowercase());
            }
        }
        push_field(&mut out, &field, line, view);
    }
    push_body(&mut out, &body_type, body, view);
    out
}

/// Up to and with the empty line that ends the header fields.
fn head_len(message: &str) -> usize {
    let mut len = 0;
    for line in message.split_inclusive('\n') {
        len += line.len();
        if matches!(line, "\n" | "\r\n") {
            break;
        }
    }
    len
}

/// The first line alone, masked.
#[must_use]
pub fn first_line(bytes: &[u8], view: View) -> String {
    let line = bytes.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    let mut out = String::new();
    push_start(&mut out, &String::from_utf8_lossy(line), view);
    out
}

fn push_start(out: &mut String, line: &str, view: View) {
    if view == View::Raw {
        out.push_str(line);
    } else {
        out.push_str(&users(line, true));
    }
}

fn push_field(out: &mut String, field: &str, line: &str, view: View) {
    if matches!(field, "authorization" | "proxy-authorization") {
        out.push_str(&without_parameter(line, "response"));
        return;
    }
    if view == View::Raw {
        out.push_str(line);
        return;
    }
    match field {
        "from"
        | "f"
        | "to"
        | "t"
        | "contact"
        | "m"
        | "p-asserted-identity"
        | "p-preferred-identity"
        | "remote-party-id"
        | "diversion"
        | "history-info"
        | "referred-by"
        | "b"
        | "refer-to"
        | "r"
        | "p-called-party-id"
        | "reply-to" => out.push_str(&users(&without_names(line), true)),
        // The user part of a record-route may carry a number; the rest is a proxy's business.
        "route" | "record-route" | "p-associated-uri" | "path" | "service-route" => out.push_str(&users(line, true)),
        "subject" | "s" => {
            out.push_str(line.split(':').next().unwrap_or_default());
            out.push_str(": ***\r\n");
        }
        _ => out.push_str(&users(line, false)),
    }
}

fn push_body(out: &mut String, body_type: &str, body: &str, view: View) {
    if body.is_empty() {
        return;
    }
    if view == View::Masked && !SHOWN_BODIES.iter().any(|t| body_type.starts_with(t)) {
        out.push_str(&format!("[{} bytes]", body.len()));
        return;
    }
    if body_type.starts_with("application/dtmf") && view == View::Masked {
        // Keyed digits may be an identity or a query code.
        out.push_str("Signal=*\r\n");
        return;
    }
    for line in body.split_inclusive('\n') {
        let shown = match line.find("inline:") {
            Some(at) if line.starts_with("a=crypto") => format!("{}inline:***\r\n", &line[..at]),
            _ if view == View::Raw => line.to_owned(),
            _ => users(line, true),
        };
        out.push_str(&shown);
    }
}

/// `Name <…>` and `"Name" <…>`: the name goes.
fn without_names(line: &str) -> String {
    let Some((name, rest)) = line.split_once(':') else { return line.to_owned() };
    let mut out = format!("{name}:");
    // Commas inside quotes or angle brackets separate nothing.
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut depth = 0;
    for (i, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted && depth == 0 => {
                depth = 1;
                let shown = rest[start..i].trim_start_matches([' ', ',']);
                let lead = &rest[start..i - shown.len()];
                out.push_str(lead);
                if !shown.trim().is_empty() {
                    out.push_str("\"***\" ");
                }
                start = i;
            }
            '>' if !quoted => depth = 0,
            ',' if !quoted && depth == 0 => {
                out.push_str(&rest[start..i]);
                start = i;
            }
            _ => {}
        }
    }
    out.push_str(&rest[start..]);
    out
}

/// Masks what looks like a number. `in_uri`: runs longer than a number's are masked too.
fn users(line: &str, in_uri: bool) -> String {
    let mut out = String::with_capacity(line.len());
    let mut run = String::new();
    for c in line.chars() {
        // Visual separators (RFC 3966 §5.1.1) don't hide a number, but dots would join addresses.
        if c.is_ascii_digit() || (c == '-' && in_uri && !run.is_empty()) {
            run.push(c);
        } else {
            flush(&mut out, &mut run, in_uri);
            out.push(c);
        }
    }
    flush(&mut out, &mut run, in_uri);
    out
}

fn flush(out: &mut String, run: &mut String, in_uri: bool) {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let touches_word = out.ends_with(|c: char| c.is_ascii_alphabetic());
    // Outside of addresses a mobile number's form decides: tags, branches and sessions are long digits too.
    let is_number = if in_uri {
        digits >= NUMBER_DIGITS_MIN
    } else {
        digits <= NUMBER_DIGITS_MAX && !touches_word && is_mobile(run)
    };
    if is_number {
        let plain: String = run.chars().filter(char::is_ascii_digit).collect();
        out.push_str(&mask_phone(&plain));
    } else {
        out.push_str(run);
    }
    run.clear();
}

/// 11 digits from 13 to 19, perhaps behind 86 or 0086.
fn is_mobile(run: &str) -> bool {
    let rest = run.strip_prefix("0086").or_else(|| run.strip_prefix("86").filter(|r| r.len() == 11)).unwrap_or(run);
    rest.len() == 11 && rest.starts_with('1') && rest.as_bytes().get(1).is_some_and(|b| (b'3'..=b'9').contains(b))
}

/// `name="value"` or `name=value` with the value gone.
fn without_parameter(line: &str, name: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut at = 0;
    while let Some(found) = lower[at..].find(name).map(|f| f + at) {
        let before = lower[..found].chars().next_back();
        let rest = lower[found + name.len()..].trim_start();
        if before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-') && rest.starts_with('=') {
            let value = lower.len() - rest.len() + 1;
            let tail = &line[value..];
            let quoted = tail.trim_start().starts_with('"');
            let end = if quoted {
                tail.match_indices('"').nth(1).map_or(tail.len(), |(i, _)| i + 1)
            } else {
                tail.find([',', '\r', '\n', ' ']).unwrap_or(tail.len())
            };
            return format!("{}\"***\"{}", &line[..value], &tail[end..]);
        }
        at = found + name.len();
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:12319@10.0.0.1:5060 SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK17634567890123\r\n\
From: \"张三 13812345678\" <sip:+86-138-1234-5678@ims.example;user=phone>;tag=9a1763456789\r\n\
To: <sip:12319@10.0.0.1>\r\n\
Call-ID: 138a12345678@192.0.2.9\r\n\
CSeq: 1 INVITE\r\n\
P-Asserted-Identity: <tel:+8613812345678>, \"Li, Si\" <sip:051988887777@x>\r\n\
X-Carrier-Caller: 8613812345678\r\n\
Diversion: 王五\r\n <sip:13900001111@x>;reason=unconditional\r\n\
Authorization: Digest username=\"12319\", realm=\"r\", nonce=\"n\", response=\"0123456789abcdef\", qop=auth\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 0\r\n\r\n\
v=0\r\no=13812345678 1763000000 1 IN IP4 192.0.2.9\r\nm=audio 4000 RTP/SAVP 8\r\n\
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0|2^20\r\n";

    #[test]
    fn numbers_and_names_are_masked_wherever_a_carrier_writes_them() {
        let shown = show(INVITE.as_bytes(), View::Masked);
        for secret in
            ["13812345678", "1234-5678", "张三", "Si", "051988887777", "13900001111", "0123456789abcdef", "c2Vj"]
        {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        for kept in [
            "sip:12319@10.0.0.1:5060",
            "z9hG4bK17634567890123",
            "192.0.2.9",
            "861*****",
            "138****5678@",
            "qop=auth",
            "CSeq: 1 INVITE",
        ] {
            assert!(shown.contains(kept) || kept.contains('*'), "{kept}: {shown}");
        }
        assert!(shown.contains("\"***\" <sip:"), "{shown}");
    }

    #[test]
    fn the_raw_view_shows_numbers_but_no_secret() {
        let shown = show(INVITE.as_bytes(), View::Raw);
        assert!(shown.contains("张三 13812345678") && shown.contains("tel:+8613812345678"));
        assert!(!shown.contains("0123456789abcdef") && !shown.contains("c2Vj"), "{shown}");
        assert!(shown.contains("response=\"***\", qop=auth"), "{shown}");
        for header in
            ["Authorization: Digest response=abc123,uri=\"x\"\r\n", "proxy-authorization: Digest RESPONSE = \"a\"\r\n"]
        {
            let text = format!("REGISTER sip:h SIP/2.0\r\n{header}\r\n");
            let shown = show(text.as_bytes(), View::Raw);
            assert!(!shown.contains("abc123") && !shown.contains("\"a\""), "{shown}");
        }
    }

    #[test]
    fn line_ends_the_parser_accepts_hide_nothing() {
        let bare = INVITE.replace("\r\n", "\n");
        let mixed = INVITE.replace("\r\n\r\n", "\n\r\n");
        let behind_breaks = format!("\r\n\r\n{INVITE}");
        for text in [bare, mixed, behind_breaks] {
            assert!(hotline_sip::message::Message::parse(text.as_bytes()).is_ok(), "{text}");
            for view in [View::Masked, View::Raw] {
                let shown = show(text.as_bytes(), view);
                assert!(!shown.contains("0123456789abcdef") && !shown.contains("c2Vj"), "{shown}");
            }
            let shown = show(text.as_bytes(), View::Masked);
            for secret in ["13812345678", "1234-5678", "张三", "Si", "051988887777", "13900001111"] {
                assert!(!shown.contains(secret), "{secret}: {shown}");
            }
            assert!(shown.contains("m=audio 4000") && shown.contains("sip:12319@10.0.0.1:5060"), "{shown}");
        }
    }

    #[test]
    fn keyed_digits_and_foreign_bodies_stay_out_of_the_masked_view() {
        let info = "INFO sip:a@b SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=7\r\nDuration=100\r\n";
        assert!(!show(info.as_bytes(), View::Masked).contains("Signal=7"));
        assert!(show(info.as_bytes(), View::Raw).contains("Signal=7"));
        let text = "MESSAGE sip:a@b SIP/2.0\r\nc: text/plain\r\n\r\n我家住人民路88号";
        assert!(show(text.as_bytes(), View::Masked).ends_with("bytes]"));
    }

    #[test]
    fn bytes_that_are_no_text_and_broken_headers_are_shown_without_a_panic() {
        for odd in [
            &b"INVITE sip:\xc4\xe3@h SIP/2.0\r\nFrom: \xc4\xe3\xba\xc3 <sip:13812345678@h>\r\n\r\n"[..],
            b"",
            b"\r\n\r\n",
            b"From",
            b"X\r\nFrom: \"<sip:13812345678@h\r\nAuthorization: response\r\n\r\n",
            b"X\r\nAuthorization: response=\"13812345678\r\n\r\n",
            "X\r\nAuthorization: é response=\"é\"\r\n\r\n".as_bytes(),
        ] {
            let shown = show(odd, View::Masked);
            assert!(!shown.contains("13812345678"), "{shown}");
        }
    }
}
