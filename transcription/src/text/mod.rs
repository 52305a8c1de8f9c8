//! What happens to recognised text: simplified, joined, masked.

pub mod join;
pub mod redact;
pub mod simplify;

pub use join::{join, of_side, tidy};
pub use redact::redact;
pub use simplify::simplify;
