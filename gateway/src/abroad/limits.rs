//! Bounds of what gateways say to each other about calls, with what happens at each.

use std::time::Duration;

use crate::acd::ASK_WITHIN;

/// Calls in one message; more go into the next.
pub(super) const CALLS_OF_PARCEL_MAX: usize = 500;
/// Events in one message; more go into the next.
pub(super) const EVENTS_OF_PARCEL_MAX: usize = 256;
/// Calls known of one other gateway; further ones can't be controlled from here, which is logged.
pub(super) const CALLS_MAX: usize = 65_536;
/// Requests of people here that wait for another gateway; with one more 503, nothing done.
pub(super) const WAITING_MAX: usize = 1_024;
/// Requests of other gateways at work here; with one more 503 there, nothing done.
pub(super) const AT_WORK_MAX: usize = 1_024;
/// A request of another gateway is carried out within this: a driver that waits for the queues' leader still tells
/// what became of it.
pub(super) const WORK_WITHIN: Duration = Duration::from_secs(10);
/// A request to another gateway is answered within this, else 504.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(12);
const _: () =
    assert!(ASK_WITHIN.as_millis() < WORK_WITHIN.as_millis() && WORK_WITHIN.as_millis() < ANSWER_WITHIN.as_millis());
/// Lost gateways are looked for so often.
pub(super) const TICK: Duration = Duration::from_millis(200);
