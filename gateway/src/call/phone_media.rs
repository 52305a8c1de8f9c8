//! The operator's phone as far as its media goes: how it is encrypted, and what becomes of a talk it sends
//! nothing to any more. Its signalling may be away meanwhile: a talk goes on as long as it is heard.

use std::time::{Duration, Instant};

use hotline_media::LegId;
use hotline_media::engine::AudioFault;
use hotline_media::sdp::Security;
use hotline_sip::Transport;
use serde_json::json;
use tracing::info;

use super::driver::Driver;
use super::security::{SecurityError, browser, security};

impl Driver {
    /// For a leg of a phone that signals over `transport`. A browser speaks DTLS-SRTP and nothing else.
    pub(crate) fn security_over(&self, transport: Transport) -> Result<Security, SecurityError> {
        if transport.is_web() {
            return browser(self.sv.media.fingerprint());
        }
        let sip = &self.sv.config.sip;
        security(sip.phone_srtp, transport, sip.srtp_keys_in_clear)
    }

    /// Nothing comes from a leg any more, or again. Only a talk waits for it: a phone on hold may be silent.
    pub(crate) fn watch_phone(&mut self, leg: LegId, fault: AudioFault, begins: bool) {
        let is_phone = self.operator.as_ref().is_some_and(|o| o.talking && o.leg.id() == leg);
        if !is_phone || fault != AudioFault::NoRtp {
            return;
        }
        let media = &self.sv.config.media;
        let left = Duration::from_millis(media.phone_dead_ms.saturating_sub(media.rtp_silence_ms));
        self.phone_dead_at = begins.then(|| (leg, Instant::now() + left));
    }

    /// The phone has been silent for too long: the citizen goes back to the head of the queue.
    pub(crate) async fn phone_died(&mut self, leg: LegId) {
        let operator = self.operator.as_ref().filter(|o| o.talking && o.leg.id() == leg && !o.holds.any());
        let Some(session) = operator.map(|o| o.leg.session) else { return };
        info!(call = %self.call, "nothing comes from the operator's phone any more");
        self.story.event("operator_media_lost", json!({}));
        self.sv.sip.hang_up(session, "SIP;cause=408;text=\"no media\"");
        self.operator_lost().await;
    }

    /// A browser's leg has come to no keys: nobody will ever hear anything on it.
    pub(crate) async fn secure_failed(&mut self, leg: LegId, why: &'static str) {
        self.story.event("secure_failed", json!({ "leg": self.role(leg), "why": why }));
        self.phone_died(leg).await;
    }
}
