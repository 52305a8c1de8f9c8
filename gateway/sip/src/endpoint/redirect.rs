//! Where a 3xx points to; whether to go there is the driver's decision

use crate::event::RedirectContact;
use crate::limits;
use crate::message::{HeaderName, Message, NameAddr};

/// Contacts of a 300, 301 or 302, preferred first (RFC 3261 §8.1.3.4); a 305 or 380 names no callee
pub(super) fn redirect_contacts(message: &Message) -> Vec<RedirectContact> {
    if !matches!(message.code(), 300..=302) {
        return Vec::new();
    }
    let contacts = message.elements(HeaderName::Contact).filter_map(NameAddr::parse);
    let mut contacts: Vec<_> = contacts
        .filter(|contact| contact.uri.len() <= limits::CONTACT_BYTES_MAX && contact.parsed_uri().is_some())
        .map(|contact| RedirectContact {
            uri: String::from_utf8_lossy(contact.uri).into_owned(),
            q: contact.param("q").map_or(1_000, thousandths),
        })
        .collect();
    contacts.sort_by_key(|contact| std::cmp::Reverse(contact.q));
    contacts.truncate(limits::REDIRECT_CONTACT_COUNT_MAX);
    contacts
}

/// A qvalue `0.7` as 700; what is none counts as 0
fn thousandths(text: &[u8]) -> u16 {
    let text = std::str::from_utf8(text).unwrap_or("");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    match whole {
        "1" => 1_000,
        "0" | "" if digits => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[test]
    fn qvalues_are_read() {
        let read = |text: &str| thousandths(text.as_bytes());
        assert_eq!([read("1"), read("1.0"), read("0.7"), read("0.05"), read("0")], [1_000, 1_000, 700, 50, 0]);
        assert_eq!([read(""), read("2"), read("0.12345"), read("-1"), read("0.x")], [0; 5]);
    }
}
