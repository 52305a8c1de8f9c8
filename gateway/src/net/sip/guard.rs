//! Registrations and bans, for those who keep, show and lift them.

use std::net::IpAddr;
use std::time::Instant;

use hotline_sip::{Ban, Binding};

use super::Sip;

impl Sip {
    /// Takes over (user, binding) of an earlier run; how many count.
    pub fn restore_bindings(&self, bindings: Vec<(String, Binding)>) -> usize {
        self.with(|core, now| core.endpoint.restore_bindings(now, bindings))
    }

    /// Takes over bans of an earlier run.
    pub fn restore_bans(&self, bans: Vec<Ban>) {
        self.with(|core, _| core.endpoint.restore_bans(bans));
    }

    /// Bans that hold, the one that ends last first.
    #[must_use]
    pub fn bans(&self) -> Vec<Ban> {
        self.lock().endpoint.bans(Instant::now())
    }

    /// Ends a ban; false if there was none.
    pub fn lift_ban(&self, source: IpAddr) -> bool {
        self.with(|core, now| core.endpoint.lift_ban(now, source))
    }
}
