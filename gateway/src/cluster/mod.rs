//! Several gateways on one PostgreSQL: who is there (`beat`, by rows), who leads the queues (`lease`, pure), and links
//! between all of them (`peers`, `link`, `crypt`); `phones` carries SIP over them, `door` sends new calls elsewhere.
//! What the frames say is their senders' business: `acd`'s, SIP's and `abroad`'s.

mod counts;
mod crypt;
pub mod door;
mod guests;
mod inbox;
mod lease;
pub mod limits;
mod link;
mod peers;
pub mod phones;
#[cfg(test)]
mod tests;
pub mod twin;
#[cfg(test)]
pub(crate) mod words;

pub use counts::{LinkCounts, SendError};

pub use lease::{Lease, Role};
pub use peers::{Me, PeerEvent, PeerNews, Peers};

/// What links carry.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A sign of life.
    Beat,
    /// Something of the queues.
    Acd(Vec<u8>),
    /// A SIP message for or from a phone at the other gateway, with whatever its senders put before it.
    Sip(Vec<u8>),
    /// About calls: what people ask of them, and what happens to them.
    Desk(Vec<u8>),
}

// Neither callers' nor phones' data belong into a log.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", self.tag(), self.len())
    }
}

impl Frame {
    const fn tag(&self) -> u8 {
        match self {
            Self::Beat => 0,
            Self::Acd(_) => 1,
            Self::Sip(_) => 2,
            Self::Desk(_) => 3,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Beat => 0,
            Self::Acd(content) | Self::Sip(content) | Self::Desk(content) => content.len(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let content: &[u8] = match self {
            Self::Beat => &[],
            Self::Acd(content) | Self::Sip(content) | Self::Desk(content) => content,
        };
        let mut bytes = Vec::with_capacity(1 + content.len());
        bytes.push(self.tag());
        bytes.extend_from_slice(content);
        bytes
    }

    /// `None`: of a gateway that knows more than we do.
    fn decode(mut bytes: Vec<u8>) -> Option<Self> {
        let tag = *bytes.first()?;
        bytes.remove(0);
        match tag {
            0 => Some(Self::Beat),
            1 => Some(Self::Acd(bytes)),
            2 => Some(Self::Sip(bytes)),
            3 => Some(Self::Desk(bytes)),
            _ => None,
        }
    }
}
