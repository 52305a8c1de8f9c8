//! Carrier trunks: their sockets and certificates.

mod sockets;

pub(crate) use sockets::towards;
pub use sockets::{advertised, core_trunks, local_of, sockets};
