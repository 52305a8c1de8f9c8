//! Text channels: what citizens write to us, and what we write to them. Each decodes its carrier's form, hands
//! the message to the one door (`intake::accept`), and acknowledges only what the door has taken.

pub mod mail;
pub mod sms;
pub mod template;
pub mod web;
pub mod wechat;
