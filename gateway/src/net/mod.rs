//! Sockets, and nothing but sockets: SIP over UDP and TCP, RTP on the media threads.

pub mod address;
pub mod media;
pub mod media_routes;
pub mod sip;
