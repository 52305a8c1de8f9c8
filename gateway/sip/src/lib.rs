//! SIP as a deterministic state machine: no sockets, no clocks
//!
//! [`Endpoint`] is the one door: bytes and times go in, bytes, deadlines and
//! [`Event`]s come out. Below it lie the message layer (lossless bytes with
//! hard limits), digest (both roles), the four transaction machines with the
//! Accepted states of RFC 6026, dialogs, sessions and the registrar.

mod config;
mod dialog;
pub mod digest;
pub mod endpoint;
mod event;
mod flow;
mod framing;
mod guard;
mod identity;
pub mod limits;
pub mod message;
mod random;
mod registrar;
mod session;
mod tap;
mod transaction;
mod tunnel;

pub use config::{Ask, AskMethod, Binding, Config, Dial, SessionTimer, Stats, Target, Trunk, User};
pub use endpoint::{AskError, DialError, Endpoint, SessionError, Standing};
pub use event::{AskId, EndedBy, Event, Incoming, Output, RedirectContact, Reply, SessionId, TransferTarget};
pub use flow::{Flow, IpNet, IpNetError, NodeId, Transport};
pub use guard::{Ban, BanReason, GuardConfig, Rate, ban_sources};
pub use tap::Tap;
pub use tunnel::{Contact, Parcel};
