//! Who is listened to: rates before parsing, failures and bans.

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// Limits of SIP sources.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Messages a second from an address on no list.
    pub stranger_rate: u32,
    /// How many of them at once.
    pub stranger_burst: u32,
    /// Messages a second from an address in the phone networks; 0: no limit.
    pub phone_rate: u32,
    /// How many of them at once.
    pub phone_burst: u32,
    /// Messages a second from a trunk's address; 0: no limit.
    pub trunk_rate: u32,
    /// How many of them at once.
    pub trunk_burst: u32,
    /// Wrong passwords of one source within ten minutes that end in a ban; 0: nobody is banned.
    pub failures_max: u32,
    /// Length of the first ban; each further one within a day is twice as long.
    pub ban_s: u32,
    /// The longest ban.
    pub ban_max_s: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            stranger_rate: 5,
            stranger_burst: 20,
            phone_rate: 500,
            phone_burst: 2_000,
            trunk_rate: 0,
            trunk_burst: 0,
            failures_max: 30,
            ban_s: 300,
            ban_max_s: 86_400,
        }
    }
}

impl Guard {
    /// The same for the endpoint.
    #[must_use]
    pub fn settings(&self) -> hotline_sip::GuardConfig {
        let rate = |per_s, burst| hotline_sip::Rate { per_s, burst };
        hotline_sip::GuardConfig {
            stranger: rate(self.stranger_rate, self.stranger_burst),
            phone: rate(self.phone_rate, self.phone_burst),
            trunk: rate(self.trunk_rate, self.trunk_burst),
            failures_max: self.failures_max,
            ban_s: self.ban_s,
            ban_s_max: self.ban_max_s,
        }
    }

    pub(super) fn judge(&self) -> Result<(), Fault> {
        if self.stranger_rate == 0 {
            let remedy = "陌生来源必须限速,至少 1 / strangers need a limit: at least 1";
            return fault("sip.guard.stranger_rate", "0 would let anybody in without limit".into(), remedy);
        }
        let bursts = [
            ("sip.guard.stranger_burst", self.stranger_rate, self.stranger_burst),
            ("sip.guard.phone_burst", self.phone_rate, self.phone_burst),
            ("sip.guard.trunk_burst", self.trunk_rate, self.trunk_burst),
        ];
        for (key, rate, burst) in bursts {
            if rate > 0 && burst == 0 {
                return fault(key, "0 lets nothing through".into(), "至少 1 / at least 1");
            }
        }
        if !(10..=604_800).contains(&self.ban_s) || !(self.ban_s..=604_800).contains(&self.ban_max_s) {
            let problem = format!("{} and {} are no span within 10…604800", self.ban_s, self.ban_max_s);
            return fault("sip.guard.ban_s", problem, "10 秒至 7 天,且 ban_s 不大于 ban_max_s / ban_s up to ban_max_s");
        }
        if (1..5).contains(&self.failures_max) {
            let problem = format!("{} shuts out who mistypes a password", self.failures_max);
            return fault("sip.guard.failures_max", problem, "0 或至少 5 / 0 or at least 5");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_endpoints_own_and_nonsense_is_refused() {
        assert_eq!(Guard::default().settings(), hotline_sip::GuardConfig::default());
        assert!(Guard::default().judge().is_ok());
        let bad = [
            Guard { stranger_rate: 0, ..Guard::default() },
            Guard { phone_burst: 0, ..Guard::default() },
            Guard { ban_s: 1, ..Guard::default() },
            Guard { ban_max_s: 100, ..Guard::default() },
            Guard { failures_max: 2, ..Guard::default() },
        ];
        assert!(bad.iter().all(|guard| guard.judge().is_err()));
        assert!(Guard { failures_max: 0, phone_rate: 0, phone_burst: 0, ..Guard::default() }.judge().is_ok());
    }
}
