//! What gateways of a cluster hand each other, so that one rings a phone that is registered at another
//!
//! The phone's flow stays where it is (a NAT, TLS or a WebSocket lets nobody else in): requests and responses of the
//! gateway that has the call are written there, and what the phone says comes back. Media doesn't come this way.

use crate::flow::Flow;

/// Something for another gateway
#[derive(Clone, Debug)]
pub enum Parcel {
    /// Write this on a flow of yours
    Write {
        /// As you told of it, without a node
        flow: Flow,
        /// One whole message
        bytes: Vec<u8>,
    },
    /// A phone here said this, and it is about a call of yours
    Heard {
        /// As we tell of it, without a node
        flow: Flow,
        /// The accounts that are registered over this flow
        users: Vec<String>,
        /// One whole message
        bytes: Vec<u8>,
    },
    /// What you had us write can't be sent
    Failed {
        /// Where to
        flow: Flow,
    },
    /// A connection of ours is gone
    Closed {
        /// Its number
        conn: u64,
    },
    /// All contacts of some phones, as in [`Parcel::Contacts`]: at the beginning of a link they crowd
    Phones(
        /// `limits::NODE_PHONES_MAX` at most
        Vec<(String, Vec<Contact>)>,
    ),
    /// All contacts a phone has at our gateway, none left out
    Contacts {
        /// The phone's user name
        user: String,
        /// `limits::BINDINGS_PER_USER_MAX` at most
        contacts: Vec<Contact>,
    },
}

/// A contact as another gateway is told of it: times are distances, for clocks differ
#[derive(Clone, Debug)]
pub struct Contact {
    /// Contact URI as registered
    pub contact: String,
    /// Where it registered from; `local` is what that gateway advertises there
    pub flow: Flow,
    /// How long it lives on
    pub expires_ms: u64,
    /// How long ago its last REGISTER came; `None`: before that gateway's start
    pub age_ms: Option<u64>,
    /// Preference in thousandths
    pub q: u16,
    /// `Call-ID` of the last REGISTER
    pub call_id: String,
    /// Its `CSeq`
    pub cseq: u32,
    /// `+sip.instance` with its quotes (RFC 5626)
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626)
    pub reg_id: Option<u32>,
}
