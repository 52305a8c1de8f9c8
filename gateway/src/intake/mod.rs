//! The intake: everything a citizen tells us comes through `accept`.

pub mod accept;
pub mod from_call;
pub mod item;
