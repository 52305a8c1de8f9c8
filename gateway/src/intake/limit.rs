//! How much one sender, one channel and all of them may send: pure, in memory, per gateway. A
//! restart begins anew.

use std::collections::HashMap;

use super::envelope::Channel;
use crate::config::Intake;

/// Senders remembered; when there are more, the counts of those not heard for an hour go, and while
/// that frees nothing a further sender isn't counted (the channel and the whole still are).
const SENDERS_MAX: usize = 200_000;
/// Messages of danger that are heard of one sender in an hour though they are over a limit: one who shouts danger
/// all the time must not fill the red lane and page the leaders for ever.
const DANGER_OVER_MAX: u32 = 20;
const HOUR_MS: i64 = 3_600_000;
const SECOND_MS: i64 = 1_000;

/// What a limit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Within all of them.
    Free,
    /// The sender's or the channel's is used up: kept, and nothing follows. `first` of its hour.
    Limited {
        /// The first one over it.
        first: bool,
    },
    /// All together are too many: to be sent again later.
    Flood,
}

/// A window that begins with its first event.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    from: i64,
    count: u32,
}

impl Window {
    /// Counts one; how many there were in this window, this one included.
    fn add(&mut self, now: i64, length_ms: i64) -> u32 {
        if now.saturating_sub(self.from) >= length_ms || now < self.from {
            *self = Self { from: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    fn less(&mut self, now: i64, length: i64) {
        if now.saturating_sub(self.from) < length {
            self.count = self.count.saturating_sub(1);
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Limits {
    per_sender: u32,
    per_channel: u32,
    per_second: u32,
    wrong_codes: u32,
    senders: HashMap<String, Window>,
    channels: HashMap<Channel, Window>,
    wrong: HashMap<String, Window>,
    danger: HashMap<String, Window>,
    all: Window,
}

impl Limits {
    /// The site's.
    #[must_use]
    pub fn of(settings: &Intake) -> Self {
        Self {
            per_sender: settings.per_sender_hour,
            per_channel: settings.per_channel_hour,
            per_second: settings.per_second_max,
            wrong_codes: settings.wrong_codes_hour,
            ..Self::default()
        }
    }

    /// Judges a message; `sender` is the keyed hash of its address, if known.
    pub fn admit(&mut self, now: i64, channel: Channel, sender: Option<&str>) -> Admission {
        if self.per_second > 0 && self.all.add(now, SECOND_MS) > self.per_second {
            return Admission::Flood;
        }
        if let Some(sender) = sender.filter(|_| self.per_sender > 0) {
            let own = counted(&mut self.senders, sender, now).map(|count| over(count, self.per_sender));
            if let Some(own @ Admission::Limited { .. }) = own {
                // One sender's excess must not use up what the others may send.
                return own;
            }
        }
        if self.per_channel == 0 {
            return Admission::Free;
        }
        over(self.channels.entry(channel).or_default().add(now, HOUR_MS), self.per_channel)
    }

    /// Takes a message back that was only said again by its carrier.
    pub fn repeated(&mut self, now: i64, channel: Channel, sender: Option<&str>) {
        if let Some(window) = sender.and_then(|sender| self.senders.get_mut(sender)) {
            let was_own_excess = self.per_sender > 0 && window.count > self.per_sender;
            window.less(now, HOUR_MS);
            if was_own_excess {
                // The channel didn't count it.
                return;
            }
        }
        if let Some(window) = self.channels.get_mut(&channel) {
            window.less(now, HOUR_MS);
        }
    }

    /// Counts a message of danger that is over a limit; whether it is heard all the same, as
    /// whatever comes from a sender nobody knows is.
    pub fn hears_danger(&mut self, now: i64, sender: Option<&str>) -> bool {
        let count = sender.and_then(|sender| counted(&mut self.danger, sender, now));
        count.is_none_or(|count| count <= DANGER_OVER_MAX)
    }

    /// Takes one back that was only said again by its carrier.
    pub fn danger_repeated(&mut self, now: i64, sender: Option<&str>) {
        if let Some(window) = sender.and_then(|sender| self.danger.get_mut(sender)) {
            window.less(now, HOUR_MS);
        }
    }

    /// Counts a wrong query code of a sender; whether it may still be answered.
    pub fn wrong_code(&mut self, now: i64, sender: &str) -> bool {
        counted(&mut self.wrong, sender, now).is_some_and(|count| count <= self.wrong_codes)
    }

    /// Whether a sender has guessed too often to be believed, even with a right code.
    #[must_use]
    pub fn is_guessing(&self, now: i64, sender: &str) -> bool {
        self.wrong.get(sender).is_some_and(|w| w.count > self.wrong_codes && now.saturating_sub(w.from) < HOUR_MS)
    }
}

fn over(count: u32, most: u32) -> Admission {
    if count > most { Admission::Limited { first: count == most + 1 } } else { Admission::Free }
}

/// Counts one event of a sender; `None` when there is no room to.
fn counted(windows: &mut HashMap<String, Window>, sender: &str, now: i64) -> Option<u32> {
    if let Some(window) = windows.get_mut(sender) {
        return Some(window.add(now, HOUR_MS));
    }
    if windows.len() >= SENDERS_MAX {
        windows.retain(|_, w| now.saturating_sub(w.from) < HOUR_MS);
    }
    if windows.len() >= SENDERS_MAX {
        return None;
    }
    Some(windows.entry(sender.to_owned()).or_default().add(now, HOUR_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::of(&Intake {
            per_sender_hour: 2,
            per_channel_hour: 4,
            per_second_max: 6,
            wrong_codes_hour: 2,
            ..Intake::default()
        })
    }

    #[test]
    fn each_limit_counts_its_own_and_says_so_once() {
        let mut l = limits();
        assert_eq!(l.admit(0, Channel::Sms, Some("a")), Admission::Free);
        assert_eq!(l.admit(0, Channel::Sms, Some("a")), Admission::Free);
        assert_eq!(l.admit(0, Channel::Sms, Some("a")), Admission::Limited { first: true });
        assert_eq!(l.admit(0, Channel::Sms, Some("a")), Admission::Limited { first: false });
        assert_eq!(l.admit(0, Channel::Sms, Some("b")), Admission::Free, "a's excess is a's alone");
        assert_eq!(l.admit(0, Channel::Mail, None), Admission::Free);
        assert_eq!(l.admit(0, Channel::Mail, None), Admission::Flood);
        assert_eq!(l.admit(1_000, Channel::Sms, Some("b")), Admission::Free);
        assert_eq!(l.admit(1_000, Channel::Sms, Some("c")), Admission::Limited { first: true }, "the channel's");
        assert_eq!(l.admit(1_000, Channel::Mail, Some("d")), Admission::Free);
        assert_eq!(l.admit(3_600_000, Channel::Sms, Some("a")), Admission::Free, "a new hour");
    }

    #[test]
    fn a_repetition_is_taken_back_from_those_who_counted_it() {
        let mut l = limits();
        for _ in 0..2 {
            l.admit(0, Channel::Sms, Some("a"));
        }
        assert_eq!(l.admit(0, Channel::Sms, Some("a")), Admission::Limited { first: true });
        l.repeated(0, Channel::Sms, Some("a"));
        assert_eq!((l.senders["a"].count, l.channels[&Channel::Sms].count), (2, 2), "the channel never counted it");
        l.repeated(0, Channel::Sms, Some("a"));
        assert_eq!((l.senders["a"].count, l.channels[&Channel::Sms].count), (1, 1));
        l.repeated(3_600_000, Channel::Sms, Some("a"));
        assert_eq!(l.senders["a"].count, 1, "another hour");
    }

    #[test]
    fn who_guesses_codes_is_no_longer_answered() {
        let mut l = limits();
        assert!(l.wrong_code(0, "a") && l.wrong_code(1, "a") && !l.is_guessing(2, "a"));
        assert!(!l.wrong_code(2, "a") && l.is_guessing(3, "a") && !l.is_guessing(3, "b"));
        assert!(!l.is_guessing(3_600_000, "a"));
    }

    #[test]
    fn danger_over_a_limit_is_heard_so_often_and_no_more() {
        let mut l = limits();
        for n in 0..DANGER_OVER_MAX {
            assert!(l.hears_danger(i64::from(n), Some("a")));
        }
        assert!(!l.hears_danger(100, Some("a")));
        l.danger_repeated(100, Some("a"));
        l.danger_repeated(100, Some("a"));
        assert!(l.hears_danger(101, Some("a")) && !l.hears_danger(102, Some("a")));
        assert!(l.hears_danger(102, Some("b")) && l.hears_danger(102, None));
        assert!(l.hears_danger(HOUR_MS, Some("a")), "a new hour");
    }

    #[test]
    fn a_crowd_of_senders_takes_bounded_memory() {
        let mut l = limits();
        l.per_second = 0;
        l.per_channel = 0;
        for n in 0..SENDERS_MAX + 10 {
            l.admit(0, Channel::Sms, Some(&n.to_string()));
        }
        assert_eq!(l.senders.len(), SENDERS_MAX);
        l.admit(HOUR_MS, Channel::Sms, Some("new"));
        assert_eq!(l.senders.len(), 1, "those of the past hour went");
    }
}
