//! What a connection tells its driver.

use super::pdu::{self, Version};
use super::read::{self, Deliver, Report};

/// What became of a SUBMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The carrier has it, under this id.
    Accepted(u64),
    /// The carrier refused it (`Result`).
    Refused(u32),
    /// "Flow control": later.
    Throttled,
    /// No answer: it may have been taken.
    Unanswered,
}

/// What an acknowledgement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    /// Our own number: the peer's may repeat.
    pub(super) id: u64,
}

/// Something odd that doesn't end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// `AuthenticatorISMG` doesn't fit.
    WrongDigest,
    /// An answer nobody waits for: too late, doubled, or never asked for.
    UnexpectedAnswer,
    /// A PDU that isn't understood.
    Unreadable,
    /// More DELIVERs than we hold: answered with flow control.
    TooManyDelivers,
    /// A report without an id or a state.
    BadReport,
}

impl Warning {
    /// A word for counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongDigest => "wrong_digest",
            Self::UnexpectedAnswer => "unexpected_answer",
            Self::Unreadable => "unreadable",
            Self::TooManyDelivers => "too_many_delivers",
            Self::BadReport => "bad_report",
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    /// The carrier refused our CONNECT.
    #[error("CONNECT 被拒 {0} / refused: {text}", text = pdu::status_text(*.0))]
    Refused(u32),
    /// The answer to CONNECT can't be the carrier's (`check_digest = "strict"`).
    #[error("AuthenticatorISMG 不符 / the carrier's digest is wrong")]
    WrongDigest,
    /// The stream can't be followed.
    #[error(transparent)]
    BadLength(#[from] read::BadLength),
    /// CONNECT got no answer.
    #[error("CONNECT 无应答 / no answer to CONNECT")]
    NoAnswer,
    /// ACTIVE_TEST got no answer.
    #[error("链路检测无应答 / no answer to ACTIVE_TEST")]
    Dead,
    /// The carrier ended it.
    #[error("对端 TERMINATE / terminated by the carrier")]
    Terminated,
}

/// What the driver is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connected; the layout we submit in.
    Up(Version),
    /// A SUBMIT's end.
    Outcome(u64, Outcome),
    /// A citizen's message, to be acknowledged once it is durable.
    Deliver(Handle, Box<Deliver>),
    /// A status report, to be acknowledged once it is durable.
    Report(Handle, Report),
    /// Something odd; `true` if it is worth a line in the log.
    Warned(Warning, bool),
    /// The end; nothing follows.
    Down(Down),
}
