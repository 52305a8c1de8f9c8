//! Reading what a REGISTER wants

use crate::config::PasswordMark;
use crate::flow::Flow;
use crate::limits;
use crate::message::{HeaderName, Message, NameAddr, Uri};
use std::net::IpAddr;

/// What a REGISTER wants
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// No contact: only list what there is
    Query,
    /// `*` with `Expires: 0`
    RemoveAll,
    Set(Vec<Change>),
}

/// A wish about one contact
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) contact: String,
    /// 0 removes it
    pub(crate) expires_s: u32,
    /// In thousandths
    pub(crate) q: u16,
    /// `+sip.instance` with its quotes
    pub(crate) instance: Option<String>,
    /// `reg-id`; only beside an instance (RFC 5626 §6)
    pub(crate) reg_id: Option<u32>,
    /// What the REGISTER was authenticated with
    pub(crate) password: PasswordMark,
}

/// Why a REGISTER can't be granted
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadWish {
    /// It contradicts itself or exceeds a limit: 400
    #[error("unusable Contact")]
    Contact,
    /// A lifetime below `limits::REGISTER_EXPIRES_S_MIN`: 423 (RFC 3261 §10.3 step 7)
    #[error("lifetime too short")]
    TooBrief,
}

/// Reads the contacts; lifetimes above `longest_s` are lowered to it
pub(crate) fn wish_of(message: &Message, flow: Flow, longest_s: u32) -> Result<Wish, BadWish> {
    let default_s = message.header(HeaderName::Expires).map_or(longest_s, |text| seconds(text, longest_s));
    let contacts: Vec<&[u8]> = message.elements(HeaderName::Contact).collect();
    if contacts.is_empty() {
        return Ok(Wish::Query);
    }
    if contacts.contains(&&b"*"[..]) {
        let is_alone = contacts.len() == 1 && default_s == 0;
        return if is_alone { Ok(Wish::RemoveAll) } else { Err(BadWish::Contact) };
    }
    if contacts.len() > limits::CONTACTS_PER_REGISTER_MAX {
        return Err(BadWish::Contact);
    }
    let changes = contacts.into_iter().map(|contact| change_of(contact, default_s, flow, longest_s));
    changes.collect::<Result<Vec<_>, _>>().map(Wish::Set)
}

/// A number too large means "as long as you can", no number our own choice (RFC 3261 §20.19)
fn seconds(text: &[u8], longest_s: u32) -> u32 {
    let text = std::str::from_utf8(text).unwrap_or("");
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().unwrap_or(if is_number { u32::MAX } else { longest_s })
}

fn change_of(text: &[u8], default_s: u32, flow: Flow, longest_s: u32) -> Result<Change, BadWish> {
    let contact = NameAddr::parse(text).ok_or(BadWish::Contact)?;
    let uri = Uri::parse(contact.uri).ok().filter(Uri::is_sip).ok_or(BadWish::Contact)?;
    let text = std::str::from_utf8(contact.uri).ok().filter(|t| t.len() <= limits::CONTACT_BYTES_MAX);
    let text = text.ok_or(BadWish::Contact)?;
    let wish_s = contact.param("expires").map_or(default_s, |text| seconds(text, longest_s));
    if (1..limits::REGISTER_EXPIRES_S_MIN).contains(&wish_s) {
        return Err(BadWish::TooBrief);
    }
    let longest_s = if is_behind_nat(&uri, flow) { longest_s.min(limits::REGISTER_EXPIRES_S_NAT) } else { longest_s };
    let expires_s = if wish_s == 0 { 0 } else { wish_s.min(longest_s) };
    let instance = contact.param("+sip.instance").and_then(instance_of);
    let reg_id = contact.param("reg-id").and_then(number).filter(|_| instance.is_some());
    let q = contact.param("q").map_or(1_000, thousandths);
    Ok(Change { contact: text.to_owned(), expires_s, q, instance, reg_id, password: PasswordMark::default() })
}

/// A NAT between us and a phone on UDP forgets its mapping: such a phone has to come back soon
fn is_behind_nat(uri: &Uri<'_>, flow: Flow) -> bool {
    let stated: Option<IpAddr> = uri.host.parse().ok();
    !flow.transport.is_reliable() && stated.is_some_and(|ip| ip.to_canonical() != flow.remote.ip().to_canonical())
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `"<urn:uuid:…>"`, kept with its quotes
fn instance_of(text: &[u8]) -> Option<String> {
    let is_plain = text.len() <= limits::INSTANCE_BYTES_MAX && text.iter().all(|b| (0x20..0x7F).contains(b));
    let is_quoted = text.len() > 2 && text.starts_with(b"\"") && text.ends_with(b"\"");
    (is_plain && is_quoted).then(|| String::from_utf8_lossy(text).into_owned())
}

/// `0.725` as 725; what is no such value counts as 1 (RFC 3261 §25.1)
fn thousandths(text: &[u8]) -> u16 {
    let value = std::str::from_utf8(text).ok().filter(|t| t.len() <= 5).and_then(|t| {
        let (whole, part) = t.split_once('.').unwrap_or((t, ""));
        let digits = part.bytes().all(|b| b.is_ascii_digit()) && matches!(whole, "" | "0" | "1");
        let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
        Some((if whole == "1" { 1_000 } else { part }).min(1_000))
    });
    value.unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;

    const LONGEST_S: u32 = 600;

    fn flow() -> Flow {
        Flow {
            transport: Transport::Udp,
            local: "10.0.0.1:5060".parse().unwrap(),
            remote: "10.0.0.2:5060".parse().unwrap(),
            conn: None,
            node: None,
        }
    }

    fn wish(headers: &str) -> Result<Wish, BadWish> {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:1@h>;tag=1\r\n\
             To: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n{headers}\r\n"
        );
        wish_of(&Message::parse(text.as_bytes()).unwrap(), flow(), LONGEST_S)
    }

    fn only(headers: &str) -> Change {
        match wish(headers) {
            Ok(Wish::Set(changes)) if changes.len() == 1 => changes.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lifetimes_have_bounds_and_zero_removes() {
        let s = |headers: &str| only(headers).expires_s;
        assert_eq!(wish(""), Ok(Wish::Query));
        assert_eq!(s("m: <sip:1@10.0.0.2>\r\n"), LONGEST_S);
        assert_eq!(s("m: <sip:1@10.0.0.2>\r\nExpires: 9000\r\n"), LONGEST_S);
        assert_eq!(s("m: <sip:1@10.0.0.2>\r\nExpires: 90\r\n"), 90);
        assert_eq!(s("m: <sip:1@10.0.0.2>;expires=60\r\nExpires: 90\r\n"), 60);
        assert_eq!(s("m: <sip:1@10.0.0.2>;expires=0\r\n"), 0);
        assert_eq!(s("m: <sip:1@10.0.0.2>;expires=280297596632815\r\n"), LONGEST_S);
        assert_eq!(s("m: <sip:1@10.0.0.2>;expires=soon\r\n"), LONGEST_S);
        assert_eq!(wish("m: <sip:1@10.0.0.2>;expires=59\r\n"), Err(BadWish::TooBrief));
        assert_eq!(wish("m: <sip:1@10.0.0.2>\r\nExpires: 1\r\n"), Err(BadWish::TooBrief));
        assert_eq!(s("m: <sip:1@192.168.7.7>\r\n"), limits::REGISTER_EXPIRES_S_NAT, "behind a NAT");
    }

    #[test]
    fn a_star_stands_alone_and_with_expires_zero() {
        assert_eq!(wish("m: *\r\nExpires: 0\r\n"), Ok(Wish::RemoveAll));
        for bad in ["m: *\r\nExpires: 60\r\n", "m: *\r\nm: <sip:1@h>\r\nExpires: 0\r\n", "m: <mailto:x@y>\r\n"] {
            assert_eq!(wish(bad), Err(BadWish::Contact), "{bad}");
        }
        assert_eq!(wish(&"m: <sip:1@h>\r\n".repeat(9)), Err(BadWish::Contact));
    }

    #[test]
    fn preference_and_instance_are_read() {
        let change = only("m: <sip:1@10.0.0.2>;q=0.7;reg-id=2;+sip.instance=\"<urn:uuid:00ff>\"\r\n");
        assert_eq!((change.q, change.reg_id, change.instance.as_deref()), (700, Some(2), Some("\"<urn:uuid:00ff>\"")));
        let plain = only("m: <sip:1@10.0.0.2>;reg-id=2\r\n");
        assert_eq!((plain.q, plain.reg_id, plain.instance), (1_000, None, None));
        let q = |text: &str| thousandths(text.as_bytes());
        assert_eq!([q("0"), q("1"), q("0.05"), q(".5"), q("1.000"), q("0.123")], [0, 1_000, 50, 500, 1_000, 123]);
        assert_eq!([q("2"), q("-1"), q("0.1234"), q("x"), q("0.-1")], [1_000; 5]);
    }
}
