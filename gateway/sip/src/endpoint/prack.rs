//! PRACK in both roles (RFC 3262)

use super::Endpoint;
use super::client_tx::{Order, Owner};
use super::extension::{requires, supports};
use crate::dialog::next_hop;
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::message::{HeaderName, Message, Method};
use crate::session::{Reliable, sdp_of};
use std::time::Instant;

/// `RAck`: (RSeq, CSeq number) of the provisional to an INVITE it names
fn rack_of(message: &Message) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(message.header(HeaderName::RAck)?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let numbers = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next() == Some("INVITE") && words.next().is_none()).then_some(numbers)
}

/// What becomes of a reliable provisional
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnReliable {
    /// The next one in order, or the first
    Take,
    /// It came before, or one before it is missing (RFC 3262 §4)
    Absorb,
}

/// Judges a provisional by its `RSeq` and the last one taken; `None` where it isn't reliable
pub(super) fn on_reliable(last: &mut Option<u32>, message: &Message) -> Option<OnReliable> {
    if !requires(message, "100rel") {
        return None;
    }
    let rseq = message.number(HeaderName::RSeq)?;
    let is_next = last.is_none_or(|last| last.checked_add(1) == Some(rseq));
    if is_next {
        *last = Some(rseq);
    }
    Some(if is_next { OnReliable::Take } else { OnReliable::Absorb })
}

impl Endpoint {
    /// What an incoming call needs for reliable provisionals; `None` where the peer doesn't know them
    pub(super) fn reliable_for(&mut self, invite: &Message) -> Option<Box<Reliable>> {
        let is_required = requires(invite, "100rel");
        supports(invite, "100rel").then(|| {
            // RFC 3262 §3: the first number lies between 1 and 2^31 − 1.
            let first = u32::try_from(self.random.next_u64() % (1 << 30)).unwrap_or(0);
            Box::new(Reliable::new(is_required, first, invite.cseq()))
        })
    }

    pub(super) fn receive_prack(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (Some((rseq, cseq)), Some(reliable)) = (rack_of(&message), &mut session.reliable) else {
            return self.reply(flow, &message, 481, "", &[]);
        };
        let is_late = reliable.late == Some(rseq) && reliable.cseq == cseq;
        let is_named = is_late || (rseq, cseq) == (reliable.rseq, reliable.cseq);
        let waited = reliable.wait.take_if(|_| is_named && !is_late);
        if !is_late && waited.is_none() {
            return self.reply(flow, &message, 481, "", &[]);
        }
        reliable.is_acknowledged = true;
        let sent = waited.and_then(|w| w.sdp);
        let sdp = sdp_of(&message);
        let had_offer = session.had_offer;
        if let Some(sent) = &sent {
            session.local_sdp.clone_from(sent);
            reliable.agreed = Some(sent.clone());
        }
        let is_agreed = reliable.agreed.is_some();
        self.arm_session(id);
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        match sdp {
            Err(error) => {
                self.respond(now, tx, error.code(), "", &[("Accept", "application/sdp")], b"");
            }
            // Our provisional carried the offer, so this is the answer.
            Ok(sdp) if sent.is_some() && !had_offer => {
                self.respond(now, tx, 200, "", &[], b"");
                self.emit(Event::ReofferAnswered { id, code: 200, sdp });
            }
            Ok(None) => {
                self.respond(now, tx, 200, "", &[], b"");
            }
            // A new offer may come only after the first was answered (RFC 3262 §5).
            Ok(sdp) if is_agreed && !is_late => self.await_reoffer_answer(now, id, tx, false, sdp),
            Ok(Some(_)) => {
                self.respond(now, tx, 488, "", &[], b"");
            }
        }
        self.release_provisionals(now, id);
    }

    /// Acknowledges a reliable provisional of an early dialog
    pub(super) fn send_prack(&mut self, now: Instant, id: SessionId, message: &Message) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(rseq) = message.number(HeaderName::RSeq) else {
            return;
        };
        let (flow, is_phone, credentials) = (session.flow, session.is_phone, session.credentials.clone());
        let dialog = session.dialog_mut(message.to_tag());
        let mut prack = dialog.request(Method::Prack);
        prack.headers.push(("RAck".to_owned(), format!("{rseq} {} INVITE", message.cseq())));
        let flow = next_hop(&dialog.next_hop_uri(), flow, is_phone);
        let local_tag = dialog.local_tag.clone();
        self.open_client(
            now,
            prack,
            Order { flow, owner: Owner::Prack(id), credentials, local_tag, try_count: 0, is_phone: false },
        );
    }
}
