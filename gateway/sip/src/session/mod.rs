//! Sessions: one INVITE dialog each, with its offer/answer state

mod body;
mod dtmf;
mod transfer;

pub(crate) use body::sdp_of;
pub(crate) use dtmf::{DTMF_TYPES, dtmf_of};
pub(crate) use transfer::{Orphan, Transfer};

use crate::dialog::Dialog;
use crate::flow::Flow;
use crate::transaction::{Retransmit, earliest};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The peer's INVITE is unanswered
    Incoming { invite: u64 },
    /// Our INVITE is unanswered
    Dialing { invite: u64 },
    /// Our 2xx is not acknowledged yet
    Accepted,
    /// Both sides agree
    Confirmed,
    /// Over for the driver; our BYE is on its way or waits for the ACK
    Ending,
}

/// A 2xx of ours that waits for its ACK (RFC 3261 §13.3.1.4)
#[derive(Debug)]
pub(crate) struct OkWait {
    pub(crate) bytes: Vec<u8>,
    pub(crate) flow: Flow,
    pub(crate) resend: Retransmit,
    pub(crate) give_up_at: Instant,
    pub(crate) cseq: u32,
    /// The 2xx carried the offer, so the ACK carries the answer
    pub(crate) offered: bool,
    /// It answered the first INVITE
    pub(crate) is_first: bool,
}

/// The peer's re-offer that waits for the driver
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReofferIn {
    pub(crate) tx: u64,
    pub(crate) is_invite: bool,
    /// It came without SDP: our answer is the offer
    pub(crate) wants_offer: bool,
    pub(crate) give_up_at: Instant,
}

/// Our re-offer that waits for the peer
#[derive(Debug)]
pub(crate) struct ReofferOut {
    pub(crate) sdp: Vec<u8>,
    pub(crate) try_count: u8,
    /// After a 491: when to try again
    pub(crate) retry_at: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) state: State,
    pub(crate) dialog: Dialog,
    pub(crate) flow: Flow,
    /// Reached over its own flow only (NAT)
    pub(crate) is_phone: bool,
    /// We placed the call, so we own the Call-ID (glare timers)
    pub(crate) is_caller: bool,
    pub(crate) contact: String,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) ring_until: Option<Instant>,
    /// Without any response until then, our call has failed
    pub(crate) first_response_until: Option<Instant>,
    /// SDP of the last provisional
    pub(crate) early_sdp: Option<Vec<u8>>,
    /// The first INVITE carried an offer
    pub(crate) had_offer: bool,
    pub(crate) ok: Option<OkWait>,
    pub(crate) reoffer_in: Option<ReofferIn>,
    pub(crate) reoffer_out: Option<ReofferOut>,
    /// Send BYE with this reason once the ACK is there
    pub(crate) bye_after_ack: Option<String>,
    /// A REFER came before: the next one's event has an id
    pub(crate) was_referred: bool,
}

impl Session {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        earliest(&[
            self.ring_until,
            self.first_response_until,
            self.ok.as_ref().map(|ok| ok.resend.at.min(ok.give_up_at)),
            self.reoffer_in.map(|r| r.give_up_at),
            self.reoffer_out.as_ref().and_then(|r| r.retry_at),
        ])
    }

    /// Whether this is the dialog with that Call-ID and that tag of the peer's
    pub(crate) fn is_named(&self, call_id: &[u8], remote_tag: &[u8]) -> bool {
        self.dialog.call_id == call_id && self.dialog.remote_tag == remote_tag
    }

    /// Neither side has an unanswered offer (RFC 3264 §4)
    pub(crate) fn is_stable(&self) -> bool {
        self.can_take_offer() && self.reoffer_out.is_none()
    }

    /// No offer is on the wire; one of ours may wait for its next try after a 491
    pub(crate) fn can_take_offer(&self) -> bool {
        let is_silent = self.reoffer_out.as_ref().is_none_or(|r| r.retry_at.is_some());
        self.ok.is_none() && self.reoffer_in.is_none() && is_silent
    }
}
