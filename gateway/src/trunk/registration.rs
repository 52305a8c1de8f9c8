//! Our registration with a carrier (RFC 3261 §10.2), without clock and sockets: when to ask for how
//! long, and what an answer means.

use std::time::{Duration, Instant};

use hotline_sip::Reply;

/// First pause after a failure; doubles up to [`PAUSE_MAX`], with jitter (RFC 5626 §4.5).
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A carrier's `Retry-After` is believed up to here.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Longest registration asked for after a 423.
const EXPIRES_S_MAX: u32 = 86_400;
/// After a 403 a person must look, who may do so at the carrier's side: asked again so rarely that no
/// carrier locks an account for it.
const REFUSED_PAUSE: Duration = Duration::from_secs(900);
/// After a lost connection the carrier can't reach us; registered anew within this time.
const RENEW_SPREAD: Duration = Duration::from_secs(5);
/// Unless the registration is younger: a carrier that closes after each answer is not asked in a loop.
const RENEW_MIN: Duration = Duration::from_secs(30);
/// 423 in a row that are answered at once.
const TOO_BRIEF_MAX: u32 = 2;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// Not yet, or no longer: another try follows.
    Registering,
    /// The carrier sends our calls.
    Registered,
    /// Refused (403): a person must look; a rare try follows.
    Refused,
    /// Taken back at the drain.
    Ended,
}

/// One account at one carrier.
#[derive(Debug)]
pub(super) struct Registration {
    expires_s: u32,
    state: RegistrationState,
    /// The carrier keeps our contact until then.
    valid_until: Option<Instant>,
    next_at: Option<Instant>,
    /// When the carrier last agreed.
    agreed_at: Option<Instant>,
    failures: u32,
    too_brief: u32,
}

impl Registration {
    /// Asks at once.
    #[must_use]
    pub(super) const fn new(now: Instant, expires_s: u32) -> Self {
        Self {
            expires_s,
            state: RegistrationState::Registering,
            valid_until: None,
            next_at: Some(now),
            agreed_at: None,
            failures: 0,
            too_brief: 0,
        }
    }

    /// When to ask next; `None` once taken back.
    #[must_use]
    pub(super) const fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// How long to ask for.
    #[must_use]
    pub(super) const fn expires_s(&self) -> u32 {
        self.expires_s
    }

    /// How it stands at `now`: an old registration counts until it lapses.
    #[must_use]
    pub(super) fn state(&self, now: Instant) -> RegistrationState {
        match self.state {
            RegistrationState::Registering if self.valid_until.is_some_and(|until| until > now) => {
                RegistrationState::Registered
            }
            state => state,
        }
    }

    /// Takes an answer; `jitter` is random in 0..1.
    pub(super) fn on_reply(&mut self, now: Instant, reply: &Reply, jitter: f64) {
        let jitter = jitter.clamp(0.0, 1.0);
        if self.state == RegistrationState::Ended {
            return;
        }
        match reply.code {
            200..300 => {
                let granted = reply.expires_s.unwrap_or(self.expires_s);
                if granted == 0 {
                    return self.fail(now, None, jitter);
                }
                let granted = Duration::from_secs(u64::from(granted.min(EXPIRES_S_MAX)));
                (self.failures, self.too_brief) = (0, 0);
                self.state = RegistrationState::Registered;
                self.valid_until = Some(now + granted);
                self.agreed_at = Some(now);
                // Early enough for another try, spread so that many gateways don't ask at once.
                self.next_at = Some(now + granted.mul_f64(0.1f64.mul_add(jitter, 0.8)));
            }
            // RFC 3261 §10.2.8: at once, with what the registrar wants.
            423 if self.too_brief < TOO_BRIEF_MAX && reply.min_expires_s.is_some_and(|min| min > self.expires_s) => {
                self.too_brief += 1;
                self.expires_s = reply.min_expires_s.unwrap_or_default().min(EXPIRES_S_MAX);
                self.next_at = Some(now);
            }
            403 => {
                self.state = RegistrationState::Refused;
                self.valid_until = None;
                let wished = Duration::from_secs(u64::from(reply.retry_after_s.unwrap_or(0))).min(RETRY_AFTER_MAX);
                self.next_at = Some(now + REFUSED_PAUSE.mul_f64(0.2f64.mul_add(jitter, 0.9)).max(wished));
            }
            _ => self.fail(now, reply.retry_after_s, jitter),
        }
    }

    /// The connection it was made over is gone: renewed soon. A try that is due anyway stays as it is.
    pub(super) fn on_conn_lost(&mut self, now: Instant, jitter: f64) {
        if self.state != RegistrationState::Registered {
            return;
        }
        let soon = now + RENEW_SPREAD.mul_f64(jitter.clamp(0.0, 1.0));
        let soon = self.agreed_at.map_or(soon, |at| soon.max(at + RENEW_MIN));
        self.next_at = self.next_at.map(|at| at.min(soon));
    }

    /// Taken back: nothing follows.
    pub(super) const fn end(&mut self) {
        self.state = RegistrationState::Ended;
        (self.valid_until, self.next_at) = (None, None);
    }

    fn fail(&mut self, now: Instant, retry_after_s: Option<u32>, jitter: f64) {
        self.state = RegistrationState::Registering;
        self.too_brief = 0;
        let doubled = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.mul_f64(0.5f64.mul_add(jitter, 0.5));
        let wished = Duration::from_secs(u64::from(retry_after_s.unwrap_or(0))).min(RETRY_AFTER_MAX);
        self.next_at = Some(now + pause.max(wished));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16) -> Reply {
        Reply { code, ..Reply::default() }
    }

    fn wait(registration: &Registration, now: Instant) -> f64 {
        registration.next_at().unwrap().duration_since(now).as_secs_f64()
    }

    #[test]
    fn it_is_refreshed_at_80_to_90_percent_of_what_was_granted() {
        let now = Instant::now();
        let mut registration = Registration::new(now, 3_600);
        assert_eq!((registration.next_at(), registration.state(now)), (Some(now), RegistrationState::Registering));
        for (granted, jitter, after) in [(Some(600), 0.0, 480.0), (Some(600), 1.0, 540.0), (None, 0.5, 3_060.0)] {
            registration.on_reply(now, &Reply { expires_s: granted, ..reply(200) }, jitter);
            assert!((wait(&registration, now) - after).abs() < 0.01);
            assert_eq!(registration.state(now), RegistrationState::Registered);
        }
    }

    #[test]
    fn a_423_is_answered_at_once_with_the_wanted_time_and_not_for_ever() {
        let now = Instant::now();
        let mut registration = Registration::new(now, 60);
        for min in [1_800, 3_600] {
            registration.on_reply(now, &Reply { min_expires_s: Some(min), ..reply(423) }, 0.5);
            assert_eq!((registration.expires_s(), registration.next_at()), (min, Some(now)));
        }
        registration.on_reply(now, &Reply { min_expires_s: Some(7_200), ..reply(423) }, 0.5);
        assert!(wait(&registration, now) > 0.0, "a registrar that raises it again and again");
        registration.on_reply(now, &Reply { min_expires_s: Some(60), ..reply(423) }, 0.5);
        assert!(wait(&registration, now) > 0.0, "a registrar that contradicts itself");
    }

    #[test]
    fn failures_wait_longer_each_time_and_as_long_as_the_carrier_says() {
        let now = Instant::now();
        let mut registration = Registration::new(now, 60);
        let waits: Vec<f64> = (0..10)
            .map(|_| {
                registration.on_reply(now, &Reply { is_local: true, ..reply(408) }, 1.0);
                wait(&registration, now)
            })
            .collect();
        assert_eq!(waits, [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]);
        registration.on_reply(now, &reply(503), 0.0);
        assert!((wait(&registration, now) - 150.0).abs() < 0.01, "jitter halves it at most");
        registration.on_reply(now, &Reply { retry_after_s: Some(900), ..reply(503) }, 0.0);
        assert!((wait(&registration, now) - 900.0).abs() < 0.01);
        registration.on_reply(now, &Reply { retry_after_s: Some(u32::MAX), ..reply(503) }, 0.0);
        assert!((wait(&registration, now) - 3_600.0).abs() < 0.01);
        registration.on_reply(now, &Reply { expires_s: Some(60), ..reply(200) }, 0.0);
        registration.on_reply(now, &reply(500), 1.0);
        assert!((wait(&registration, now) - 2.0).abs() < 0.01, "a success forgives");
    }

    #[test]
    fn a_failed_refresh_leaves_the_old_registration_until_it_lapses() {
        let now = Instant::now();
        let mut registration = Registration::new(now, 60);
        registration.on_reply(now, &reply(200), 0.0);
        let later = now + Duration::from_secs(48);
        registration.on_reply(later, &reply(503), 0.0);
        assert_eq!(registration.state(later), RegistrationState::Registered);
        assert_eq!(registration.state(now + Duration::from_secs(60)), RegistrationState::Registering);
        registration.on_reply(later, &Reply { expires_s: Some(0), ..reply(200) }, 0.0);
        assert_eq!(registration.state(now + Duration::from_secs(60)), RegistrationState::Registering, "0 is no grant");
    }

    #[test]
    fn a_403_is_shown_as_refused_and_tried_again_after_a_long_pause() {
        let now = Instant::now();
        let mut registration = Registration::new(now, 60);
        registration.on_reply(now, &reply(200), 0.0);
        registration.on_reply(now, &reply(403), 0.0);
        assert_eq!(registration.state(now), RegistrationState::Refused);
        assert!((wait(&registration, now) - 810.0).abs() < 0.01);
        let later = now + Duration::from_secs(810);
        registration.on_reply(later, &reply(403), 1.0);
        assert_eq!(registration.state(later), RegistrationState::Refused);
        assert!((wait(&registration, later) - 990.0).abs() < 0.01);
        registration.on_reply(later, &reply(200), 1.0);
        assert_eq!(registration.state(later), RegistrationState::Registered);
    }

    #[test]
    fn a_lost_connection_renews_it_soon_but_never_in_a_loop() {
        let now = Instant::now();
        let mut registration = Registration::new(now, 3_600);
        registration.on_reply(now, &reply(200), 0.0);
        let later = now + Duration::from_secs(100);
        registration.on_conn_lost(later, 1.0);
        assert!((wait(&registration, later) - 5.0).abs() < 0.01);
        registration.on_reply(later, &reply(200), 0.0);
        registration.on_conn_lost(later, 0.0);
        assert!((wait(&registration, later) - 30.0).abs() < 0.01, "the carrier closes after each answer");
        registration.on_reply(later, &reply(503), 1.0);
        let paused = registration.next_at();
        registration.on_conn_lost(later, 0.0);
        assert_eq!(registration.next_at(), paused, "a pause after a failure stays");
        registration.end();
        registration.on_conn_lost(later, 0.0);
        assert_eq!(registration.next_at(), None);
    }
}
