//! The self-test robot: every few minutes it calls, writes and mails through the same ways citizens use,
//! and raises an alarm at the first miss. What it sends carries a sign nobody else can make (`marker`), by
//! which the intake keeps it from people, items and figures.

mod marker;
mod phone;
mod probe;
mod run;
mod state;

use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::envelope::{Envelope, Sender};

pub(crate) use run::spawn;
pub use state::{Robot, Run, Seen};

use marker::Marker;

/// Looks whether a message is the robot's: then it is marked as a test, nobody's, and answered by no one.
/// A `test` nobody signed is none. Returns the sign to report with [`arrived`].
pub(crate) fn recognise(sv: &Services, e: &mut Envelope) -> Option<String> {
    let sign = Marker::find(&e.text, e.channel.as_str(), &sv.sealer, now_ms());
    e.test = sign.is_some();
    if e.test {
        e.automatic = true;
        e.sender = Sender::Unknown;
    }
    sign.map(|sign| sign.nonce)
}

/// The nonce of an INVITE that is the robot's; the sign stands in the `Call-ID`.
pub(crate) fn call_of(sv: &Services, call_id: &str) -> Option<String> {
    let sign = call_id.split('@').next().unwrap_or_default();
    Marker::read(sign, "call", &sv.sealer, now_ms()).map(|sign| sign.nonce)
}

/// A test is stored.
pub(crate) fn arrived(sv: &Services, nonce: &str) {
    sv.robot.arrived(nonce);
}
