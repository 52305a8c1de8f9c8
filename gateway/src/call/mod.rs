//! One driver per call: it owns the legs, runs the voice flow, follows the queue and writes the story.
//!
//! `driver` waits for what happens, the other files do what follows: `citizen` (the citizen's leg),
//! `operator` (ringing and talking), `desk` and `supervise` (what operators and leaders ask through the console),
//! `desk_call` and `desk_notice` (an operator calls), `flow` (what the voice flow wants), `action` (what a flow asks the gateway), `recording`, `guest` (three-way, listening, whispering), `hearing` (who hears whom), and `finish` (rows
//! after the end).

mod action;
mod citizen;
mod consult;
mod control;
mod desk;
mod desk_call;
mod desk_notice;
mod driver;
mod emergency;
mod finish;
mod flow;
mod guest;
mod hearing;
mod leg;
mod lent;
mod live;
mod nailed_up;
mod on_call;
mod on_call_turns;
mod operator;
mod operator_leg;
mod outside;
mod phone_media;
mod pick_up;
mod quality;
mod recording;
mod recover;
mod request;
mod route;
mod routing;
mod security;
mod selftest;
mod start;
mod state;
mod story;
mod supervise;
mod takeover;
mod transfer;
mod trust;

pub use control::{Control, ControlError, LeaderWish, Outcome, SHUTDOWN, Target, Wish};
pub use desk_call::from_desk;
pub use driver::{Origin, Verdict};
pub use finish::{Finished, Spoilt};
pub use guest::{GuestView, Part};
pub use live::{LiveCall, LiveCalls};
pub use nailed_up::{LineError, NailedUp, raise};
pub use on_call::Roster;
pub(crate) use outside::has_trunk;
pub use quality::{AudioTrouble, Grade};
pub use recording::finish_orphans;
pub use recover::{RecoverError, recover};
pub use request::Request;
pub use start::{inbound, outbound};
pub use state::{CallState, View};
