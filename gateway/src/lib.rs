//! The hotline gateway: calls, queue, intake, hand-off, callbacks, console.
//!
//! `app` starts and drains everything; a call's path is net → call → acd → intake;
//! see ARCHITECTURE.md for the map and three walkthroughs.

pub mod abroad;
pub mod acd;
pub mod app;
pub mod attachment;
pub mod calendar;
pub mod call;
pub mod callback;
pub mod casecore;
pub mod channels;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod console;
pub mod desk_phone;
pub mod dialout;
pub mod duty;
pub mod events;
pub mod floor;
pub mod geo;
pub mod incident;
pub mod intake;
pub mod measure;
pub mod net;
pub mod observe;
mod patience;
pub mod privacy;
pub mod registry;
pub mod reward;
pub mod robot;
pub mod trace;
pub mod trunk;
pub mod voice;
pub mod worklist;
