//! The session timer (RFC 4028): when to refresh, and when a silent peer is given up

use crate::limits;
use crate::message::{HeaderName, Message, params};
use std::time::{Duration, Instant};

/// A running session timer
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    pub(crate) interval_s: u32,
    /// We refresh, else the peer does
    pub(crate) is_ours: bool,
    /// When our refresh is due
    pub(crate) refresh_at: Option<Instant>,
    /// Without a refresh until then the session is over (RFC 4028 §10)
    pub(crate) end_at: Instant,
}

impl Expiry {
    pub(crate) fn new(now: Instant, interval_s: u32, is_ours: bool) -> Self {
        let early_s = (interval_s / 3).min(32);
        let refresh_at = is_ours.then(|| now + Duration::from_secs(u64::from(interval_s / 2)));
        let end_at = now + Duration::from_secs(u64::from(interval_s - early_s));
        Self { interval_s, is_ours, refresh_at, end_at }
    }

    /// Nobody can refresh now: looks again after `pause`, and leaves the peer time once it is back
    pub(crate) fn wait(&mut self, now: Instant, pause: Duration) {
        self.refresh_at = self.is_ours.then(|| now + pause);
        self.end_at = self.end_at.max(now + pause + Duration::from_millis(limits::RECONNECT_GRACE_MS));
    }

    /// A refresh failed but the session lives: once more halfway to its end
    pub(crate) fn postpone(&mut self, now: Instant) {
        let left = self.end_at.saturating_duration_since(now);
        self.refresh_at = (left > Duration::from_secs(4)).then(|| now + left / 2);
    }
}

/// `Session-Expires`: seconds, and the refresher it names (`true` for the sender of the request)
pub(crate) fn session_expires(message: &Message) -> Option<(u32, Option<bool>)> {
    let value = message.header(HeaderName::SessionExpires)?;
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    let seconds = std::str::from_utf8(value[..end].trim_ascii()).ok()?.parse().ok()?;
    let refresher = params(&value[end..]).find(|(name, _)| name.eq_ignore_ascii_case(b"refresher"));
    let is_uac = refresher.and_then(|(_, value)| value).and_then(|value| {
        let is = |role: &[u8]| value.eq_ignore_ascii_case(role);
        (is(b"uac") || is(b"uas")).then(|| is(b"uac"))
    });
    Some((seconds, is_uac))
}

/// `Min-SE` in seconds, without parameters
pub(crate) fn min_se(message: &Message) -> Option<u32> {
    let value = message.header(HeaderName::MinSe)?;
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    std::str::from_utf8(value[..end].trim_ascii()).ok()?.parse().ok()
}
