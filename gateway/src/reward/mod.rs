//! Rewards: rules as data, decisions with frozen evidence, payment once a month.

pub mod judge;
pub mod rules;
pub mod run;
pub mod sheet;

pub use rules::Rules;
pub use run::spawn;
