//! The intake: everything a citizen tells us comes through `accept`.

pub mod accept;
pub mod command;
pub mod conversation;
pub mod draft;
pub mod envelope;
mod frame;
pub mod from_call;
pub mod item;
pub mod journal;
pub mod limit;
pub mod machine;
pub mod pager;
pub mod prune;
pub mod record;
pub mod replay;
pub mod reply;
pub mod settle;
mod state;
#[cfg(test)]
mod tests;
mod turns;
pub mod unread;

pub use state::Intake;
