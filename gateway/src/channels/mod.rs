//! Text channels: what citizens write to us, and what we write to them.

pub mod template;
