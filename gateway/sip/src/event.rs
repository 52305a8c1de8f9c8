//! What an endpoint tells its driver

use crate::flow::{Flow, NodeId};
use crate::tunnel::Parcel;
use std::net::IpAddr;

/// Names a session of one [`crate::Endpoint`]; never reused
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Names a request of [`crate::Endpoint::ask`]; never reused
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// The final answer to a request outside any dialog
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Status code
    pub code: u16,
    /// Reason phrase
    pub reason: String,
    /// `CSeq` it answers
    pub cseq: u32,
    /// How long our contact is kept, from a 2xx to REGISTER
    pub expires_s: Option<u32>,
    /// `Min-Expires` of a 423
    pub min_expires_s: Option<u32>,
    /// `Retry-After`
    pub retry_after_s: Option<u32>,
    /// Made here: nobody answered (408), or the request could not be sent (503)
    pub is_local: bool,
}

/// What the driver has to do next
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes: one datagram, or a whole message on a stream
    Transmit {
        /// Where to; `conn: None` with TCP means reuse or open a connection to `remote`
        flow: Flow,
        /// The message
        bytes: Vec<u8>,
    },
    /// Close this TCP connection: its stream can't be framed any more
    CloseConn(u64),
    /// Hand this to another gateway, which gives it to [`crate::Endpoint::handle_parcel`]
    ToNode {
        /// Which
        node: NodeId,
        /// What
        parcel: Parcel,
    },
    /// Something happened
    Event(Event),
}

/// An INVITE that was admitted
#[derive(Clone, Debug)]
pub struct Incoming {
    /// `Call-ID`
    pub call_id: String,
    /// The number dialled, without parameters such as `phone-context`
    pub request_user: String,
    /// User part of `From`; empty when there is none
    pub from_user: String,
    /// Display name of `From`, GB18030 converted
    pub from_display: Option<String>,
    /// The number of `P-Asserted-Identity` (RFC 3325) or `Remote-Party-ID`, from trusted trunks only
    pub asserted: Option<String>,
    /// The best number of the caller: asserted, else that of `From`; a local one with a known
    /// prefix is written `85201234;phone-context=+86519`
    pub caller: String,
    /// The caller asked not to be shown (RFC 3323); the number may be known all the same
    pub withheld: bool,
    /// What may be the number dialled, the original one first (RFC 7044, 5806), then the
    /// Request-URI's and that of `To`
    pub dialled: Vec<String>,
    /// Who diverted the call to us last (RFC 5806)
    pub diverted_from: Option<String>,
    /// The trunk it came in by
    pub trunk: Option<String>,
    /// The authenticated phone that placed it
    pub user: Option<String>,
    /// Where it came from
    pub flow: Flow,
    /// The offer; `None` asks us to offer in the 2xx
    pub sdp: Option<Vec<u8>>,
    /// The session this call is to take the place of (RFC 3891), from phones only:
    /// accept this one, then hang the other up
    pub replaces: Option<SessionId>,
}

/// Where a phone wants its peer to be sent (the `Refer-To` of RFC 3515)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferTarget {
    /// The URI without its headers
    pub uri: String,
    /// Its number or user alone; empty when there is none
    pub number: String,
    /// The session the target is in with us: an attended transfer (RFC 3891)
    pub replaces: Option<SessionId>,
}

/// A `Contact` of a redirection (RFC 3261 §8.1.3.4)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectContact {
    /// The URI
    pub uri: String,
    /// Preference in thousandths, 0–1000
    pub q: u16,
}

/// Who or what ended a session
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// The peer's BYE
    Remote,
    /// Our own hang_up or reject
    Local,
    /// No ACK, no answer to an in-dialog request, or an incoming call nobody took
    Timeout,
}

/// Something the driver should know
///
/// Each session ends with exactly one of [`Event::Failed`],
/// [`Event::Cancelled`] and [`Event::Ended`]; nothing about it follows.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call came in and got its 100 Trying; answer with `provisional`, `accept` or `reject`
    Incoming {
        /// The new session
        id: SessionId,
        /// What the INVITE said
        invite: Box<Incoming>,
    },
    /// Our dial got a 101–199
    Progress {
        /// The session
        id: SessionId,
        /// Status code
        code: u16,
        /// Early media, if offered
        sdp: Option<Vec<u8>>,
    },
    /// Our dial got a 2xx and we sent the ACK
    Answered {
        /// The session
        id: SessionId,
        /// The answer (of the 2xx, else of the last provisional)
        sdp: Option<Vec<u8>>,
    },
    /// The ACK for our 2xx arrived
    Confirmed {
        /// The session
        id: SessionId,
        /// The answer, where our 2xx carried the offer
        sdp: Option<Vec<u8>>,
    },
    /// Our dial failed (408: nobody answered in time; 503: the connection broke)
    Failed {
        /// The session, now gone
        id: SessionId,
        /// Final status code
        code: u16,
        /// Reason phrase
        reason: String,
        /// `Retry-After`: the peer wants no call for so long
        retry_after_s: Option<u32>,
        /// Where a 300, 301 or 302 points to, preferred first; nobody was called there
        contacts: Vec<RedirectContact>,
    },
    /// The caller gave up before we answered
    Cancelled {
        /// The session, now gone
        id: SessionId,
        /// `Reason` header (RFC 3326) of the peer's CANCEL
        reason: Option<String>,
    },
    /// The session is over
    Ended {
        /// The session, now gone
        id: SessionId,
        /// Who ended it
        by: EndedBy,
        /// `Reason` header (RFC 3326) of the peer's BYE
        reason: Option<String>,
    },
    /// The peer renegotiates (re-INVITE, or UPDATE with an offer)
    ///
    /// Answer with `answer_reoffer` or `reject_reoffer`. `sdp: None` asks us
    /// to offer; the peer's answer then comes as [`Event::ReofferAnswered`].
    Reoffer {
        /// The session
        id: SessionId,
        /// The new offer
        sdp: Option<Vec<u8>>,
    },
    /// The peer answered our new offer
    ReofferAnswered {
        /// The session
        id: SessionId,
        /// Final status code; below 300 means agreed
        code: u16,
        /// The answer
        sdp: Option<Vec<u8>>,
    },
    /// A key pressed, by INFO (`application/dtmf-relay` or `application/dtmf`)
    Dtmf {
        /// The session
        id: SessionId,
        /// `0`–`9`, `*`, `#`, `A`–`D`
        digit: char,
        /// How long it was held
        duration_ms: u32,
    },
    /// A phone asks us to send its peer elsewhere (REFER, RFC 3515)
    ///
    /// Answer with `accept_transfer`, then tell its course with
    /// `transfer_progress`, or with `reject_transfer`.
    Transfer {
        /// The session of the phone that asks
        id: SessionId,
        /// Where to
        target: TransferTarget,
        /// `Referred-By` as sent (RFC 3892)
        referred_by: Option<String>,
    },
    /// The answer to a request outside any dialog
    Replied {
        /// Which request
        id: AskId,
        /// What was answered
        reply: Reply,
    },
    /// A phone registered or refreshed
    Registered {
        /// Its user name
        user: String,
        /// Its contact URI
        contact: String,
        /// Where it registered from
        flow: Flow,
        /// How long the binding lives without a refresh
        expires_s: u32,
    },
    /// The contacts of a phone are others, or live longer, than before: for those who keep them
    BindingsChanged {
        /// Its user name
        user: String,
    },
    /// The last binding of a phone at this gateway is gone; others may have one
    Unregistered {
        /// Its user name
        user: String,
    },
    /// Credentials were wrong or the user is unknown
    AuthFailed {
        /// The name it claimed
        user: String,
        /// Where it came from
        source: IpAddr,
    },
    /// A source is banned: nothing it sends is looked at before `ban.until`
    Banned {
        /// Whom, why and for how long
        ban: crate::guard::Ban,
    },
    /// A stranger was turned away; at most one event per source and period
    Refused {
        /// Where it came from
        source: IpAddr,
        /// Its method
        method: String,
        /// The response sent; `None` for silence
        code: Option<u16>,
    },
}

impl Event {
    /// The variant's name: what a log may say of an event that carries digits, numbers or SDP
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Incoming { .. } => "Incoming",
            Self::Progress { .. } => "Progress",
            Self::Answered { .. } => "Answered",
            Self::Confirmed { .. } => "Confirmed",
            Self::Failed { .. } => "Failed",
            Self::Cancelled { .. } => "Cancelled",
            Self::Ended { .. } => "Ended",
            Self::Reoffer { .. } => "Reoffer",
            Self::ReofferAnswered { .. } => "ReofferAnswered",
            Self::Dtmf { .. } => "Dtmf",
            Self::Transfer { .. } => "Transfer",
            Self::Replied { .. } => "Replied",
            Self::Registered { .. } => "Registered",
            Self::BindingsChanged { .. } => "BindingsChanged",
            Self::Unregistered { .. } => "Unregistered",
            Self::AuthFailed { .. } => "AuthFailed",
            Self::Banned { .. } => "Banned",
            Self::Refused { .. } => "Refused",
        }
    }
}
