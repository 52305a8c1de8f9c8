//! China Mobile Peer to Peer 2.0 and 3.0, as a service provider (SP) towards a carrier's gateway (ISMG).
//!
//! [`pdu`] and [`read`] are the octets, [`session`] is one connection without sockets or clocks, [`link`]
//! drives it; section numbers are those of the 3.0 document.

pub mod event;
pub mod link;
pub mod pdu;
pub mod read;
pub mod session;

mod limits;
mod orders;
mod window;
