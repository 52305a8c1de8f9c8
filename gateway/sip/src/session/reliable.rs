//! Reliable provisionals of an incoming call (RFC 3262 §3)

use crate::flow::Flow;
use crate::transaction::Retransmit;
use std::collections::VecDeque;
use std::time::Instant;

/// What a call from a peer that knows 100rel needs
#[derive(Debug)]
pub(crate) struct Reliable {
    /// The peer wants every 101–199 this way, else only those with SDP
    pub(crate) is_required: bool,
    /// The INVITE's number
    pub(crate) cseq: u32,
    /// `RSeq` of the last one sent
    pub(crate) rseq: u32,
    /// The one that waits for its PRACK; the others wait for it
    pub(crate) wait: Option<PrackWait>,
    pub(crate) queue: VecDeque<(u16, Option<Vec<u8>>)>,
    /// `RSeq` of one that was still unacknowledged when the 2xx went: its PRACK may come yet
    pub(crate) late: Option<u32>,
    /// A PRACK came, so the peer knows the dialog
    pub(crate) is_acknowledged: bool,
    /// Our SDP that a PRACK has confirmed
    pub(crate) agreed: Option<Vec<u8>>,
    /// SDP of a 2xx held back until the PRACK
    pub(crate) held: Option<Vec<u8>>,
}

/// A reliable provisional on its way
#[derive(Debug)]
pub(crate) struct PrackWait {
    pub(crate) bytes: Vec<u8>,
    pub(crate) flow: Flow,
    pub(crate) resend: Retransmit,
    pub(crate) give_up_at: Instant,
    pub(crate) sdp: Option<Vec<u8>>,
}

impl Reliable {
    pub(crate) fn new(is_required: bool, rseq: u32, cseq: u32) -> Self {
        Self {
            is_required,
            rseq,
            cseq,
            wait: None,
            queue: VecDeque::new(),
            late: None,
            is_acknowledged: false,
            agreed: None,
            held: None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wait.as_ref().map(|w| w.resend.at.min(w.give_up_at))
    }
}
