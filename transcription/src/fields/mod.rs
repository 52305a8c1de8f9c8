//! Fields of the intake form guessed from a text; the operator confirms each.

pub mod class;
pub mod extract;
pub mod place;
pub mod urgency;

pub use class::ClassGuess;
pub use extract::{Fields, extract};
pub use place::Place;
pub use urgency::UrgencyHit;
