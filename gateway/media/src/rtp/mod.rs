//! RTP (RFC 3550 §5): packets, the state of a received stream, the state of a sent stream.

mod mapping;
mod outgoing;
mod packet;
mod source;

pub use outgoing::Outgoing;
pub use packet::{HEADER_LEN, Header, Packet, PacketError};
pub use source::{Source, Verdict};
