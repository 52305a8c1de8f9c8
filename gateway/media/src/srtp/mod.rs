//! SRTP and SRTCP (RFC 3711): counter-mode encryption and HMAC-SHA1, keys from SDP (RFC 4568).
//!
//! A [`Protector`] makes what we send, an [`Unprotector`] takes what comes: one pair a leg. Both work
//! in place, allocate nothing per packet, and change no state for a packet that isn't authentic.

mod keys;
mod protect;
mod session;
mod stream;
mod unprotect;

pub use keys::{MasterKey, SrtpParams, Suite};
pub use protect::Protector;
pub use unprotect::Unprotector;

/// Why a packet is neither sent nor taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Too short for its own headers and the authentication tag, or not version 2.
    #[error("no SRTP packet")]
    Malformed,
    /// The tag is wrong: forged, damaged, or another key.
    #[error("authentication failed")]
    Unauthentic,
    /// This packet was there before.
    #[error("replayed")]
    Replayed,
    /// Older than the replay window (`SRTP_WINDOW`): it can't be told from a replay.
    #[error("older than the replay window")]
    TooOld,
    /// The key has served as many packets as RFC 3711 §9.2 allows (2^48 RTP, 2^31 RTCP).
    #[error("the key is used up")]
    Exhausted,
    /// A protector serves one SSRC: with a second one its packet indices would begin again.
    #[error("not the stream of this key")]
    OtherStream,
}
