//! REGISTER (RFC 3261 §10.3)

use super::Endpoint;
use super::authenticate::{Among, Identity};
use crate::event::Event;
use crate::flow::Flow;
use crate::limits;
use crate::message::{HeaderName, Message, NameAddr, Uri};
use crate::registrar::{Change, granted_s};
use crate::transaction::TimerKey;
use std::time::Instant;

/// What a REGISTER wants
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// No contact: only list what there is
    Query,
    /// `*` with `Expires: 0`
    RemoveAll,
    Set(Vec<Change>),
}

impl Endpoint {
    pub(super) fn receive_register(&mut self, now: Instant, flow: Flow, message: Message) {
        // An address of record is a SIP or SIPS URI (RFC 3261 §10.3).
        if !message.to().and_then(|to| to.parsed_uri()).is_some_and(|uri| uri.is_sip()) {
            return self.reply(flow, &message, 400, "Bad From or To", &[]);
        }
        let user = match self.authenticate(now, flow, &message, Among::Phones) {
            Identity::Phone(user) => user,
            Identity::Wrong(user) => return self.refuse_credentials(flow, &message, user),
            Identity::Unknown { stale } => return self.challenge(now, flow, &message, stale),
            Identity::Trunk(_) | Identity::Mismatch => return self.challenge(now, flow, &message, false),
            Identity::Paused => return,
        };
        // A phone may register its own address of record and no other.
        if message.to().map(|to| to.number()).as_deref() != Some(&user) {
            return self.reply(flow, &message, 403, "", &[]);
        }
        if self.refuse_extensions(flow, &message) {
            return;
        }
        let Some(wish) = wish_of(&message) else {
            return self.reply(flow, &message, 400, "Bad Contact", &[]);
        };
        let order = (message.call_id().to_vec(), message.cseq());
        let had_binding = !self.registrar.live(now, &user).is_empty();
        let result = match &wish {
            Wish::Query => Ok(()),
            Wish::RemoveAll => self.registrar.remove_all(&user, (&order.0, order.1)),
            Wish::Set(changes) => self.registrar.register(now, &user, flow, (&order.0, order.1), changes),
        };
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        if result.is_err() {
            self.respond(now, tx, 500, "Out Of Order", &[], b"");
            return;
        }
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        let live = self.registrar.live(now, &user);
        let contacts: Vec<String> = live
            .iter()
            .map(|b| format!("<{}>;expires={}", b.contact, b.expires_at.saturating_duration_since(now).as_secs()))
            .collect();
        let headers: Vec<(&str, &str)> = contacts.iter().map(|c| ("Contact", c.as_str())).collect();
        self.respond(now, tx, 200, "", &headers, b"");
        if let Wish::Set(changes) = wish {
            for change in changes.into_iter().filter(|c| c.expires_s > 0) {
                let Change { contact, expires_s } = change;
                self.emit(Event::Registered { user: user.clone(), contact, flow, expires_s });
            }
        }
        if had_binding && live.is_empty() {
            self.emit(Event::Unregistered { user });
        }
    }
}

/// `None` for a REGISTER that contradicts itself or exceeds a limit
fn wish_of(message: &Message) -> Option<Wish> {
    let number = |text: &[u8]| -> u32 {
        let text = std::str::from_utf8(text).unwrap_or("");
        // A number too large means "as long as you can" (RFC 3261 §20.19).
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().unwrap_or(if is_number { u32::MAX } else { limits::REGISTER_EXPIRES_S_MAX })
    };
    let default_s = message.header(HeaderName::Expires).map_or(limits::REGISTER_EXPIRES_S_MAX, number);
    let contacts: Vec<&[u8]> = message.elements(HeaderName::Contact).collect();
    if contacts.is_empty() {
        return Some(Wish::Query);
    }
    if contacts.contains(&&b"*"[..]) {
        return (contacts.len() == 1 && default_s == 0).then_some(Wish::RemoveAll);
    }
    if contacts.len() > limits::CONTACTS_PER_REGISTER_MAX {
        return None;
    }
    let changes = contacts.into_iter().map(|contact| {
        let contact = NameAddr::parse(contact)?;
        let is_usable = contact.uri.len() <= limits::CONTACT_BYTES_MAX && Uri::parse(contact.uri).ok()?.is_sip();
        let text = std::str::from_utf8(contact.uri).ok().filter(|_| is_usable)?;
        let expires_s = granted_s(contact.param("expires").map_or(default_s, number));
        Some(Change { contact: text.to_owned(), expires_s })
    });
    changes.collect::<Option<Vec<_>>>().map(Wish::Set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(headers: &str) -> Option<Wish> {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:1@h>;tag=1\r\n\
             To: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}\r\n"
        );
        wish_of(&Message::parse(text.as_bytes()).unwrap())
    }

    fn set(expires_s: u32) -> Option<Wish> {
        Some(Wish::Set(vec![Change { contact: "sip:1@10.0.0.2".into(), expires_s }]))
    }

    #[test]
    fn lifetimes_are_clamped_and_zero_removes() {
        assert_eq!(wish(""), Some(Wish::Query));
        assert_eq!(wish("m: <sip:1@10.0.0.2>\r\n"), set(limits::REGISTER_EXPIRES_S_MAX));
        assert_eq!(wish("m: <sip:1@10.0.0.2>;expires=5\r\nExpires: 900\r\n"), set(60));
        assert_eq!(wish("m: <sip:1@10.0.0.2>\r\nExpires: 900\r\n"), set(limits::REGISTER_EXPIRES_S_MAX));
        assert_eq!(wish("m: <sip:1@10.0.0.2>\r\nExpires: 90\r\n"), set(90));
        assert_eq!(wish("m: <sip:1@10.0.0.2>;expires=0\r\n"), set(0));
        assert_eq!(wish("m: <sip:1@10.0.0.2>;expires=280297596632815\r\n"), set(limits::REGISTER_EXPIRES_S_MAX));
    }

    #[test]
    fn a_star_stands_alone_and_with_expires_zero() {
        assert_eq!(wish("m: *\r\nExpires: 0\r\n"), Some(Wish::RemoveAll));
        assert_eq!(wish("m: *\r\nExpires: 60\r\n"), None);
        assert_eq!(wish("m: *\r\nm: <sip:1@h>\r\nExpires: 0\r\n"), None);
        assert_eq!(wish("m: <mailto:x@y>\r\n"), None);
        assert_eq!(wish(&"m: <sip:1@h>\r\n".repeat(9)), None);
    }
}
