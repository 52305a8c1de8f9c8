//! Hand-off to the case core: one contract, one outbox, bindings behind it.
//!
//! Every binding, the embedded ledger too, is reached through the outbox only, so the path that
//! matters is the one every installation runs.

pub mod contract;
mod deliver;
mod events;
mod http;
mod ledger;
mod payload;

pub use contract::{CaseCore, Core, DeliverError, Receipt, StatusEvent};
pub use deliver::run as deliver;
pub use events::{apply, poll};
pub use http::HttpCore;
pub use ledger::Ledger;
pub use payload::{item_payload, link_payload, supplement_payload, void_payload};
