//! The intake: everything a citizen tells us comes through `accept`.

pub mod accept;
pub mod command;
pub mod conversation;
pub mod draft;
pub mod envelope;
pub mod from_call;
pub mod item;
pub mod journal;
pub mod limit;
pub mod machine;
pub mod record;
pub mod replay;
pub mod reply;
pub mod settle;
mod state;
#[cfg(test)]
mod tests;
mod turns;

pub use state::Intake;
