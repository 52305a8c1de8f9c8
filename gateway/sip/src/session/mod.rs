//! Sessions: one INVITE dialog each, with its offer/answer state

mod body;
mod dtmf;
mod early;
mod expiry;
mod reliable;
mod transfer;

pub(crate) use body::sdp_of;
pub(crate) use dtmf::{DTMF_TYPES, dtmf_of};
pub(crate) use early::Early;
pub(crate) use expiry::{Expiry, min_se, session_expires};
pub(crate) use reliable::{PrackWait, Reliable};
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
#[derive(Clone, Debug)]
pub(crate) struct ReofferIn {
    pub(crate) tx: u64,
    pub(crate) is_invite: bool,
    /// It came without SDP: our answer is the offer
    pub(crate) wants_offer: bool,
    pub(crate) give_up_at: Instant,
    /// A fork's tag and its offer, which holds for that early dialog once it is answered
    pub(crate) early: Option<(Vec<u8>, Vec<u8>)>,
}

/// Our re-INVITE or UPDATE that waits for the peer
#[derive(Debug)]
pub(crate) struct ReofferOut {
    /// The offer; empty where an UPDATE only refreshes
    pub(crate) sdp: Vec<u8>,
    pub(crate) is_update: bool,
    /// The session timer wants it, not the driver
    pub(crate) is_refresh: bool,
    /// The peer's tag: an early dialog's UPDATE doesn't concern another fork
    pub(crate) remote_tag: Vec<u8>,
    pub(crate) try_count: u8,
    /// After a 491: when to try again
    pub(crate) retry_at: Option<Instant>,
    /// `RSeq` of the last reliable provisional to it, and the answer that one carried
    pub(crate) rseq: Option<u32>,
    pub(crate) answer: Option<Vec<u8>>,
    /// Its transaction: a response to an earlier one says nothing about it
    pub(crate) tx: u64,
}

impl ReofferOut {
    pub(crate) fn new(sdp: Vec<u8>, is_update: bool, is_refresh: bool, remote_tag: Vec<u8>) -> Self {
        Self { sdp, is_update, is_refresh, remote_tag, try_count: 1, retry_at: None, rseq: None, answer: None, tx: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) state: State,
    pub(crate) dialog: Dialog,
    pub(crate) flow: Flow,
    /// Reached over its own flow only (NAT)
    pub(crate) is_phone: bool,
    /// Its flow was another gateway's, and is gone
    pub(crate) is_astray: bool,
    /// The phone's account, where it is known by one
    pub(crate) account: Option<String>,
    /// We placed the call, so we own the Call-ID (glare timers)
    pub(crate) is_caller: bool,
    pub(crate) contact: String,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) ring_until: Option<Instant>,
    /// Without any response until then, our call has failed
    pub(crate) first_response_until: Option<Instant>,
    /// Early dialogs of our call
    pub(crate) early: Vec<Early>,
    /// Reliable provisionals of the peer's call, if it knows them
    pub(crate) reliable: Option<Box<Reliable>>,
    /// The last SDP of ours: what a refresh by re-INVITE repeats
    pub(crate) local_sdp: Vec<u8>,
    /// The peer's `Allow` names UPDATE
    pub(crate) allows_update: bool,
    pub(crate) expiry: Option<Expiry>,
    /// The greatest `Min-SE` seen
    pub(crate) min_se_s: u32,
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
    /// A session of an unanswered INVITE
    pub(crate) fn new(state: State, dialog: Dialog, flow: Flow, contact: String) -> Self {
        Self {
            state,
            dialog,
            flow,
            is_phone: false,
            is_astray: false,
            account: None,
            is_caller: matches!(state, State::Dialing { .. }),
            contact,
            credentials: None,
            ring_until: None,
            first_response_until: None,
            early: Vec::new(),
            reliable: None,
            local_sdp: Vec::new(),
            allows_update: false,
            expiry: None,
            min_se_s: 0,
            had_offer: true,
            ok: None,
            reoffer_in: None,
            reoffer_out: None,
            bye_after_ack: None,
            was_referred: false,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        earliest(&[
            self.ring_until,
            self.first_response_until,
            self.ok.as_ref().map(|ok| ok.resend.at.min(ok.give_up_at)),
            self.reoffer_in.as_ref().map(|r| r.give_up_at),
            self.reoffer_out.as_ref().and_then(|r| r.retry_at),
            self.reliable.as_ref().and_then(|r| r.deadline()),
            self.expiry.map(|e| e.refresh_at.map_or(e.end_at, |at| at.min(e.end_at))),
        ])
    }

    /// Whether this is the dialog with that Call-ID and that tag of the peer's
    pub(crate) fn is_named(&self, call_id: &[u8], remote_tag: &[u8]) -> bool {
        self.dialog.call_id == call_id
            && (self.dialog.remote_tag == remote_tag || self.early.iter().any(|e| e.dialog.remote_tag == remote_tag))
    }

    /// The dialog with that tag of the peer's: an early one, else the session's own
    pub(crate) fn dialog_mut(&mut self, remote_tag: &[u8]) -> &mut Dialog {
        let early = self.early.iter_mut().find(|e| e.dialog.remote_tag == remote_tag);
        early.map_or(&mut self.dialog, |e| &mut e.dialog)
    }

    /// Whether offer and answer of this dialog are complete, so that an UPDATE may bring a new offer (RFC 3311 §5.1)
    pub(crate) fn is_agreed(&self, remote_tag: &[u8]) -> bool {
        match self.state {
            State::Incoming { .. } => self.reliable.as_ref().is_some_and(|r| r.agreed.is_some()),
            State::Dialing { .. } => self.early.iter().any(|e| e.dialog.remote_tag == remote_tag && e.is_agreed),
            State::Accepted | State::Confirmed => true,
            State::Ending => false,
        }
    }

    /// Its signalling is gone and only the peer can bring it back; media may go on all the same
    pub(crate) fn is_cut(&self) -> bool {
        self.is_astray || (self.flow.transport.is_web() && self.flow.conn.is_none())
    }

    /// Its signalling may be away while its media goes on, and nobody but the peer can bring it back
    pub(crate) fn can_be_cut(&self) -> bool {
        self.is_astray || self.flow.transport.is_web() || self.flow.node.is_some()
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
