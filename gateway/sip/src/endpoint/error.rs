//! Why the driver's verbs fail

/// Why a call could not be placed
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The phone has no live binding
    #[error("the phone is not registered")]
    NotRegistered,
    /// The session or transaction limit is reached
    #[error("too many sessions")]
    TooManySessions,
    /// The session description is longer than `limits::SDP_BYTES_MAX`
    #[error("the session description is too long")]
    SdpTooLong,
    /// The target or the `to` text is no usable URI
    #[error("not a usable URI")]
    BadUri,
    /// More than `limits::EXTRA_HEADER_COUNT_MAX` extra header fields, or a name that is no token
    #[error("extra header fields can't be sent")]
    BadHeaders,
}

/// Why a request outside any dialog was not sent
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The transaction limit is reached
    #[error("too many transactions")]
    Busy,
    /// A text is no usable SIP URI
    #[error("not a usable URI")]
    BadUri,
}

/// Why an operation on a session was refused
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no such session, or it has ended
    #[error("no such session")]
    Unknown,
    /// The session's state doesn't allow it
    #[error("not possible in this state of the session")]
    WrongState,
    /// The session description is longer than `limits::SDP_BYTES_MAX`, or empty where one is needed
    #[error("unusable session description")]
    BadSdp,
    /// The peer doesn't serve the method it needs
    #[error("the peer doesn't allow it")]
    NotAllowed,
    /// The status code is outside the operation's range
    #[error("status code out of range")]
    BadCode,
    /// The transaction limit is reached
    #[error("too many transactions")]
    TooManyTransactions,
}

/// An SDP that may go out
pub(super) fn check_sdp(sdp: &[u8]) -> Result<(), SessionError> {
    if sdp.is_empty() || sdp.len() > crate::limits::SDP_BYTES_MAX { Err(SessionError::BadSdp) } else { Ok(()) }
}
