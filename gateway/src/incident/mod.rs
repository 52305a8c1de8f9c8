//! The same incident reported more than once: found, merged, and told to who calls about it.

pub mod announce;
pub mod check;
pub mod find;
pub mod score;

pub use check::{check, compare, spawn};
pub use find::{Candidate, candidates};
