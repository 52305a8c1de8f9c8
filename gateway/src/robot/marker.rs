//! The sign by which the gateway knows its own self-test: it can't be forged, doesn't fit another channel
//! and is old after ten minutes. Nobody else's report can vanish as a "test".

use crate::privacy::{Sealer, constant_time_eq, random_token};

/// A sign counts for so long.
const AGE_MS_MAX: i64 = 10 * 60_000;
/// Clocks of two gateways on one database may differ by so much.
const SKEW_MS: i64 = 60_000;
/// Besides the sign a test says next to nothing: a citizen's answer that quotes one is no test.
const OTHER_CHARS_MAX: usize = 40;
const NONCE_LEN: usize = 16;
const MAC_LEN: usize = 32;

/// A sign of one run. As text: `HT-CHANNEL-MILLISECONDS-NONCE-MAC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) channel: String,
    pub(crate) at: i64,
    pub(crate) nonce: String,
}

impl Marker {
    /// A new one.
    #[must_use]
    pub(crate) fn new(channel: &str, at: i64) -> Self {
        let nonce = random_token().chars().take(NONCE_LEN).collect();
        Self { channel: channel.into(), at, nonce }
    }

    /// As it travels.
    #[must_use]
    pub(crate) fn text(&self, sealer: &Sealer) -> String {
        format!("HT-{}-{}-{}-{}", self.channel, self.at, self.nonce, self.mac(sealer))
    }

    fn mac(&self, sealer: &Sealer) -> String {
        let signed = format!("self-test\0{}\0{}\0{}", self.channel, self.at, self.nonce);
        sealer.hash(&signed).chars().take(MAC_LEN).collect()
    }

    /// The sign in a text that came by `channel` at `now`, if it is ours, fresh, and nearly all of the text.
    #[must_use]
    pub(crate) fn find(text: &str, channel: &str, sealer: &Sealer, now: i64) -> Option<Self> {
        let start = text.find("HT-")?;
        let sign: &str = text.get(start..)?.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()?;
        if text.chars().count() > sign.chars().count() + OTHER_CHARS_MAX {
            return None;
        }
        Self::read(sign, channel, sealer, now)
    }

    /// The sign a text is.
    #[must_use]
    pub(crate) fn read(sign: &str, channel: &str, sealer: &Sealer, now: i64) -> Option<Self> {
        let parts: Vec<&str> = sign.split('-').collect();
        let ["HT", named, at, nonce, mac] = parts.as_slice() else { return None };
        let at: i64 = at.parse().ok()?;
        let fresh = (-SKEW_MS..=AGE_MS_MAX).contains(&now.saturating_sub(at));
        if *named != channel || !fresh || nonce.len() != NONCE_LEN {
            return None;
        }
        let marker = Self { channel: (*named).into(), at, nonce: (*nonce).into() };
        constant_time_eq(marker.mac(sealer).as_bytes(), mac.as_bytes()).then_some(marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_sign_of_ours_for_this_channel_counts() {
        let (ours, other) = (Sealer::from_key([1; 32]), Sealer::from_key([2; 32]));
        let marker = Marker::new("sms", 1_000_000);
        let text = format!("自检 {}", marker.text(&ours));
        let find = |text: &str, channel, sealer: &Sealer, now| Marker::find(text, channel, sealer, now);
        assert_eq!(find(&text, "sms", &ours, 1_000_500), Some(marker.clone()));
        assert_eq!(find(&text, "sms", &other, 1_000_500), None, "another key's");
        assert_eq!(find(&text, "web", &ours, 1_000_500), None, "another channel's");
        assert_eq!(find(&text, "sms", &ours, 1_000_000 + AGE_MS_MAX + 1), None, "an old one");
        assert_eq!(find(&text, "sms", &ours, 1_000_000 - SKEW_MS - 1), None, "one of the future");
        let forged = text.replace(&marker.nonce, "0123456789abcdef");
        assert_eq!(find(&forged, "sms", &ours, 1_000_500), None);
        let report = format!("{text} {}", "人民路88号井盖缺失,有人掉下去了".repeat(3));
        assert_eq!(find(&report, "sms", &ours, 1_000_500), None, "a report that quotes a sign is a report");
    }

    #[test]
    fn nothing_in_a_text_makes_it_panic() {
        let ours = Sealer::from_key([1; 32]);
        for text in ["", "HT-", "HT-sms", "HT----", "井HT-sms-9999999999999999999-x-y", "HT-sms--5-0123456789abcdef-"]
        {
            assert_eq!(Marker::find(text, "sms", &ours, 0), None, "{text}");
        }
        assert_eq!(Marker::read("HT-sms-0-0123456789abcdef-", "sms", &ours, i64::MIN), None);
    }
}
