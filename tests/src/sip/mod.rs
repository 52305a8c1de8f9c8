//! An independent SIP user agent for tests: enough of RFC 3261 to be a citizen's
//! telephone, an operator's phone or a registrar, and honest enough to be strict.
//!
//! [`Agent`] owns sockets and transactions, [`Call`] one dialog with its media.
//! [`Citizen`], [`Phone`] and [`Registrar`] are what tests start with.

pub mod digest;
pub mod message;
pub mod sdp;

mod agent;
mod call;
mod citizen;
mod dialog;
mod incoming;
mod outgoing;
mod phone;
mod registrar;
mod serve;
mod transaction;
mod transport;

pub use agent::{Agent, AgentConfig, Traced};
pub use call::{Call, End, Event, Side, State};
pub use citizen::{Citizen, CitizenConfig};
pub use digest::{Algorithm, Credentials};
pub use message::Message;
pub use outgoing::Dial;
pub use phone::{Behaviour, Phone, PhoneConfig};
pub use registrar::{Binding, Registrar};
pub use sdp::{Direction, Sdp};
pub use transport::Transport;
