//! REGISTER (RFC 3261 §10.3, RFC 5626 §6)

use super::Endpoint;
use super::authenticate::{Among, Identity};
use crate::config::Binding;
use crate::event::Event;
use crate::flow::{Flow, Transport};
use crate::limits;
use crate::message::{HeaderName, Message};
use crate::registrar::{BadWish, Change, Wish, wish_of};
use crate::transaction::TimerKey;
use std::time::Instant;

impl Endpoint {
    pub(super) fn receive_register(&mut self, now: Instant, flow: Flow, message: Message) {
        // An address of record is a SIP or SIPS URI (RFC 3261 §10.3).
        if !message.to().and_then(|to| to.parsed_uri()).is_some_and(|uri| uri.is_sip()) {
            return self.reply(flow, &message, 400, "Bad From or To", &[]);
        }
        let (user, password) = match self.authenticate(now, flow, &message, Among::Phones) {
            Identity::Phone(user, password) => (user, password),
            Identity::Wrong(user) => return self.refuse_credentials(flow, &message, user),
            Identity::Unknown { stale } => return self.challenge(now, flow, &message, stale),
            Identity::Trunk(_) | Identity::Mismatch => return self.challenge(now, flow, &message, false),
            Identity::Paused => return,
        };
        // A phone may register its own address of record and no other.
        if message.to().map(|to| to.number()).as_deref() != Some(&user) {
            return self.reply(flow, &message, 403, "", &[]);
        }
        if self.refuse_register_extensions(flow, &message) {
            return;
        }
        let mut wish = match wish_of(&message, flow, self.config.register_s_max) {
            Ok(wish) => wish,
            Err(BadWish::Contact) => return self.reply(flow, &message, 400, "Bad Contact", &[]),
            Err(BadWish::TooBrief) => {
                let least = limits::REGISTER_EXPIRES_S_MIN.to_string();
                return self.reply(flow, &message, 423, "Interval Too Brief", &[("Min-Expires", &least)]);
            }
        };
        if let Wish::Set(changes) = &mut wish {
            changes.iter_mut().for_each(|change| change.password = password);
        }
        let is_outbound = has_outbound(&message);
        if let Wish::Set(changes) = &mut wish
            && !is_outbound
        {
            // Who doesn't speak of flows has one only.
            changes.iter_mut().for_each(|change| change.reg_id = None);
        }
        self.apply(now, flow, message, user, wish, is_outbound);
    }

    fn apply(&mut self, now: Instant, flow: Flow, message: Message, user: String, wish: Wish, is_outbound: bool) {
        let (call_id, cseq) = (String::from_utf8_lossy(message.call_id()).into_owned(), message.cseq());
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        let was_here = self.registrar.is_here(now, &user);
        let result = match &wish {
            Wish::Query => Ok(()),
            Wish::RemoveAll => self.registrar.remove_all(&user, (&call_id, cseq)),
            Wish::Set(changes) => self.registrar.register(now, &user, flow, (&call_id, cseq), changes),
        };
        if result.is_err() {
            self.respond(now, tx, 500, "Out Of Order", &[], b"");
            return;
        }
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        let live = self.registrar.live(now, &user);
        let contacts: Vec<String> = live.iter().map(|binding| contact_of(now, binding)).collect();
        let mut headers: Vec<(&str, &str)> = contacts.iter().map(|c| ("Contact", c.as_str())).collect();
        if is_outbound && live.iter().any(|b| b.reg_id.is_some()) {
            headers.push(("Require", "outbound"));
        }
        self.respond(now, tx, 200, "", &headers, b"");
        if wish == Wish::Query {
            return;
        }
        if let Wish::Set(changes) = wish {
            let contacts: Vec<&String> = changes.iter().filter(|c| c.expires_s > 0).map(|c| &c.contact).collect();
            self.take_over_flows(now, &user, flow, &contacts);
            for Change { contact, expires_s, .. } in changes.into_iter().filter(|c| c.expires_s > 0) {
                self.emit(Event::Registered { user: user.clone(), contact, flow, expires_s });
            }
        }
        if was_here && !self.registrar.is_here(now, &user) {
            self.emit(Event::Unregistered { user: user.clone() });
        }
        self.announce(now, &user);
        self.emit(Event::BindingsChanged { user });
    }

    /// As for any request, but of REGISTER we know `outbound` too; 439 where a proxy between us
    /// and the phone can't keep its flow (RFC 5626 §6)
    fn refuse_register_extensions(&mut self, flow: Flow, message: &Message) -> bool {
        if message.elements(HeaderName::Require).any(is_outbound_tag) && !is_first_hop(message) {
            self.reply(flow, message, 439, "First Hop Lacks Outbound Support", &[]);
            return true;
        }
        self.refuse_extensions_but(flow, message, "outbound")
    }

    /// Takes over bindings of an earlier run, so that calls reach the phones at once; how many count
    ///
    /// Connections died with that run: only bindings over UDP, of users that still exist, from
    /// networks that still are phones', count.
    pub fn restore_bindings(&mut self, now: Instant, bindings: Vec<(String, Binding)>) -> usize {
        let mut count = 0;
        for (user, binding) in bindings {
            let flow = binding.flow;
            let is_usable = flow.transport == Transport::Udp
                && binding.expires_at > now
                && self.users.contains_key(&user)
                && self.is_phone_network(flow.local, flow.remote.ip());
            let is_taken = is_usable && self.registrar.restore(&user, binding);
            if is_taken {
                self.announce(now, &user);
            }
            count += usize::from(is_taken);
        }
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        count
    }
}

fn is_outbound_tag(tag: &[u8]) -> bool {
    tag.eq_ignore_ascii_case(b"outbound")
}

fn is_first_hop(message: &Message) -> bool {
    message.elements(HeaderName::Via).count() <= 1
}

/// Whether the phone speaks RFC 5626 and is our direct neighbour
fn has_outbound(message: &Message) -> bool {
    let mut tags = message.elements(HeaderName::Supported).chain(message.elements(HeaderName::Require));
    tags.any(is_outbound_tag) && is_first_hop(message)
}

fn contact_of(now: Instant, binding: &Binding) -> String {
    let expires_s = binding.expires_at.saturating_duration_since(now).as_secs();
    let mut text = format!("<{}>;expires={expires_s}", binding.contact);
    if binding.q < 1_000 {
        text.push_str(&format!(";q=0.{:03}", binding.q));
    }
    if let Some(instance) = &binding.instance {
        text.push_str(&format!(";+sip.instance={instance}"));
    }
    if let Some(reg_id) = binding.reg_id {
        text.push_str(&format!(";reg-id={reg_id}"));
    }
    text
}
