//! Which INVITEs become calls

use super::Endpoint;
use super::authenticate::{Among, Identity};
use super::is_sips;
use super::session_timer::allows_update;
use crate::config::Trunk;
use crate::dialog::Dialog;
use crate::event::{Event, Incoming, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{HeaderName, Message, Uri};
use crate::session::{Session, State, sdp_of};
use crate::transaction::merge_key;
use std::time::{Duration, Instant};

impl Endpoint {
    pub(super) fn receive_invite(&mut self, now: Instant, flow: Flow, message: Message) {
        let ip = flow.remote.ip();
        let trunk = self.trunk_of(flow.local, ip).map(str::to_owned);
        let is_phone_network = self.is_phone_network(flow.local, ip);
        // Where a range belongs to both, a phone is known by its credentials or its registration.
        let as_phone = is_phone_network
            && (trunk.is_none() || self.credentials_of(&message).is_some() || self.registrar.has_flow(now, flow));
        if let (Some(trunk), false) = (trunk, as_phone) {
            return self.admit(now, flow, message, Identity::Trunk(trunk));
        }
        if !is_phone_network {
            return self.receive_roaming(now, flow, message);
        }
        match self.authenticate(now, flow, &message, Among::All) {
            Identity::Unknown { stale } => self.challenge(now, flow, &message, stale),
            Identity::Wrong(user) => self.refuse_credentials(flow, &message, user),
            Identity::Trunk(name) if !self.is_trunk_at(&name, flow.local) => {
                self.refuse_credentials(flow, &message, name);
            }
            Identity::Mismatch => self.reply(flow, &message, 400, "Digest URI Mismatch", &[]),
            Identity::Paused => {}
            Identity::Phone(user, _) if Self::is_borrowed_name(&message, &user) => {
                self.reply(flow, &message, 403, "", &[]);
            }
            identity => self.admit(now, flow, message, identity),
        }
    }

    pub(super) fn refuse_credentials(&mut self, flow: Flow, message: &Message, user: String) {
        self.reply(flow, message, 403, "", &[]);
        self.emit(Event::AuthFailed { user, source: flow.remote.ip() });
    }

    /// An address of no trunk and no phone: only a trunk's password opens the door
    fn receive_roaming(&mut self, now: Instant, flow: Flow, message: Message) {
        if !self.has_roaming_trunk(flow.local) {
            return self.refuse_stranger(now, flow, &message);
        }
        match self.authenticate(now, flow, &message, Among::Trunks) {
            Identity::Trunk(trunk) if !self.is_trunk_at(&trunk, flow.local) => {
                self.refuse_stranger(now, flow, &message);
            }
            Identity::Trunk(trunk) => {
                self.note_proven(now, flow);
                self.admit(now, flow, message, Identity::Trunk(trunk));
            }
            Identity::Unknown { stale } => {
                if self.is_proven(now, flow.remote.ip()) || self.may_answer_stranger(now, flow) {
                    self.challenge(now, flow, &message, stale);
                } else {
                    self.counters.refused_strangers += 1;
                }
            }
            Identity::Wrong(user) => {
                self.counters.refused_strangers += 1;
                if self.may_answer_stranger(now, flow) {
                    self.refuse_credentials(flow, &message, user);
                }
            }
            Identity::Phone(..) | Identity::Mismatch => self.refuse_stranger(now, flow, &message),
            Identity::Paused => self.counters.refused_strangers += 1,
        }
    }

    fn admit(&mut self, now: Instant, flow: Flow, message: Message, identity: Identity) {
        // The cheapest look first: under load it is nearly the only one.
        if self.refuse_overload(now, flow, &message, &identity) {
            return;
        }
        if self.refuse_unusable(flow, &message) {
            return;
        }
        if self.merged.contains_key(&merge_key(&message)) {
            return self.reply(flow, &message, 482, "", &[]);
        }
        let sdp = match sdp_of(&message) {
            Ok(sdp) => sdp,
            Err(error) => {
                return self.reply(flow, &message, error.code(), "", &[("Accept", "application/sdp")]);
            }
        };
        let replaces = match self.judge_replaces(&message, &identity) {
            Ok(replaces) => replaces,
            Err(code) => return self.reply(flow, &message, code, "", &[]),
        };
        if let Some(min_s) = self.too_short_timer(&message) {
            return self.reply(flow, &message, 422, "", &[("Min-SE", &min_s.to_string())]);
        }
        let reliable = self.reliable_for(&message);
        let allows_update = allows_update(&message).unwrap_or(false);
        let is_phone = matches!(identity, Identity::Phone(..));
        let local_tag = if is_phone { self.phone_tag() } else { self.random.token() };
        let invite = Incoming { replaces, ..describe(&message, &identity, self.trusts(&identity, flow), flow, sdp) };
        let dialog = Dialog::of_invite(&message, local_tag.clone());
        // RFC 3261 §12.1.1: a call to a sips URI has a sips Contact.
        let contact = self.contact(flow, &invite.request_user, is_sips(message.uri()));
        let Some(tx) = self.open_server(now, flow, message, Some(local_tag)) else {
            return;
        };
        self.counters.invites_admitted += 1;
        self.respond(now, tx, 100, "", &[], b"");
        let id = SessionId(self.next_id());
        let session = Session {
            is_phone,
            account: invite.user.clone(),
            ring_until: Some(now + Duration::from_millis(self.config.ring_timeout_ms)),
            reliable,
            allows_update,
            had_offer: invite.sdp.is_some(),
            ..Session::new(State::Incoming { invite: tx }, dialog, flow, contact)
        };
        self.own_server(tx, id);
        self.load.admitted(now, id, invite.trunk.as_deref());
        self.add_session(id, session);
        self.emit(Event::Incoming { id, invite: Box::new(invite) });
    }

    /// Whether what this sender asserts about callers counts (RFC 3325 §5)
    fn trusts(&self, identity: &Identity, flow: Flow) -> bool {
        let Identity::Trunk(name) = identity else {
            return false;
        };
        let trunk = self.config.trunks.iter().find(|t| t.name == *name);
        let is_source = |t: &Trunk| t.sources.iter().any(|net| net.contains(flow.remote.ip()));
        trunk.is_some_and(|t| t.trust_identity.unwrap_or_else(|| is_source(t)))
    }

    /// Answers an INVITE we could not serve whoever sent it; true if it did
    fn refuse_unusable(&mut self, flow: Flow, message: &Message) -> bool {
        if message.number(HeaderName::MaxForwards) == Some(0) {
            // A back-to-back agent may send the call on, so it guards against loops (RFC 7332 §5).
            self.reply(flow, message, 483, "", &[]);
            return true;
        }
        if self.refuse_uri(flow, message) {
            return true;
        }
        if message.elements(HeaderName::RecordRoute).count() > limits::ROUTE_COUNT_MAX || message.from_tag().len() > 256
        {
            self.reply(flow, message, 400, "", &[]);
            return true;
        }
        self.refuse_extensions(flow, message) || self.refuse_accept(flow, message)
    }
}

fn describe(message: &Message, identity: &Identity, trusted: bool, flow: Flow, sdp: Option<Vec<u8>>) -> Incoming {
    let from = message.from();
    let (trunk, user) = match identity {
        Identity::Trunk(name) => (Some(name.clone()), None),
        Identity::Phone(name, _) => (None, Some(name.clone())),
        _ => (None, None),
    };
    let told = crate::identity::read(message, trusted);
    Incoming {
        call_id: String::from_utf8_lossy(message.call_id()).into_owned(),
        request_user: Uri::parse(message.uri()).map(|uri| uri.number()).unwrap_or_default(),
        from_user: from.map(|f| f.number()).unwrap_or_default(),
        from_display: from.and_then(|f| f.display()),
        asserted: told.asserted,
        caller: told.caller,
        withheld: told.withheld,
        dialled: told.dialled,
        diverted_from: told.diverted_from,
        trunk,
        user,
        flow,
        sdp,
        replaces: None,
    }
}
