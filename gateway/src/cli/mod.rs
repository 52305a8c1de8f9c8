//! Everything `hotline` does besides serving: one file per subcommand.

pub mod ban;
pub mod doctor;
pub mod ivr;
pub mod model;
pub mod outbox;
pub mod show;
pub mod trace;
pub mod trunk;
pub mod user;
pub mod web;
pub mod wechat;

/// A line for the person at the terminal.
#[allow(clippy::print_stdout, reason = "a command's answer belongs on standard output")]
pub fn say(text: &str) {
    println!("{text}");
}
