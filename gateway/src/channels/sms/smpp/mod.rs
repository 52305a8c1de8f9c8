//! SMPP 3.4 as an ESME: our number at a carrier's SMSC.
//!
//! `message`, `receipt`, `status`, `window` and `guard` are sans-IO; `link` drives the library's connection.

mod driver;
mod guard;
mod limits;
mod link;
mod message;
mod receipt;
mod status;
mod window;

pub use driver::spawn;
pub use status::Submitted;
