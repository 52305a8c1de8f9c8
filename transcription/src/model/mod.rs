//! Model files: the catalogue, the one-time fetch, and the check before loading.
//!
//! The service never downloads; only `hotline model get` does.

pub mod catalog;
pub mod check;
pub mod get;
mod part;
#[cfg(test)]
pub(crate) mod samples;

pub use check::{CheckError, ModelInfo, ModelKind, check};
pub use get::{GetError, bar, get, report};
pub use part::sum_of;
