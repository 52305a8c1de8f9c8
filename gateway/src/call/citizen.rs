//! What happens on the citizen's leg.

use hotline_db::CallPatch;
use hotline_ivr::Input;
use hotline_sip::{EndedBy, Event};

use super::driver::{Driver, Side, Stage};
use super::leg::Settled;
use crate::clock::now_ms;

impl Driver {
    pub(crate) async fn on_citizen(&mut self, event: Event) {
        if let Event::Confirmed { .. } = event {
            self.citizen.confirm(&self.sv.media);
        }
        match event {
            Event::Confirmed { sdp: Some(answer), .. } => match self.citizen.take_answer(&self.sv.media, &answer) {
                Ok(settled) => self.note_encryption("citizen", settled.srtp),
                Err(e) => self.end_line(Side::System, &format!("unusable answer: {e}")),
            },
            Event::Dtmf { digit, .. } if self.stage != Stage::Talk => self.input(Input::Digit(digit)),
            Event::Reoffer { sdp, .. } => self.citizen_reoffer(sdp),
            Event::ReofferAnswered { code, sdp: Some(answer), .. } if code < 300 => {
                match self.citizen.take_answer(&self.sv.media, &answer) {
                    Ok(settled) => self.note_encryption("citizen", settled.srtp),
                    Err(e) => tracing::info!(call = %self.call, error = %e, "answer to our offer can't be used"),
                }
            }
            Event::Cancelled { .. } => self.end_line(Side::Citizen, "cancelled"),
            Event::Failed { code, reason, .. } => self.end_line(Side::Network, &format!("{code} {reason}")),
            Event::Ended { by, reason, .. } => {
                let (side, why) = match by {
                    EndedBy::Remote if reason.as_deref().is_some_and(is_network_cause) => {
                        (Side::Network, reason.unwrap_or_default())
                    }
                    EndedBy::Remote => (Side::Citizen, "bye".to_owned()),
                    EndedBy::Timeout => (Side::Network, "signalling timed out".to_owned()),
                    EndedBy::Local => (Side::System, "ended here".to_owned()),
                };
                if self.stage == Stage::Talk && self.talk_ended_by.is_none() {
                    self.talk_ended_by = Some((side, "line_ended"));
                }
                self.input(Input::HungUp);
                self.end_line(side, &why);
            }
            _ => {}
        }
    }

    pub(crate) fn citizen_reoffer(&mut self, sdp: Option<Vec<u8>>) {
        let session = self.citizen.session;
        let Some(offer) = sdp else {
            // RFC 3261 §14.2: a re-INVITE without offer asks for ours.
            self.sv.sip.answer_reoffer(session, &self.citizen.offer());
            return;
        };
        match self.citizen.answer(&self.sv.media, &offer) {
            Ok((answer, negotiated)) => {
                self.sv.sip.answer_reoffer(session, &answer);
                self.note_encryption("citizen", negotiated.srtp);
                self.story.event("citizen_hold", serde_json::json!({ "on": negotiated.they_hold }));
            }
            Err(e) => {
                tracing::info!(call = %self.call, error = %e, "re-offer refused");
                self.sv.sip.reject_reoffer(session, 488);
            }
        }
    }

    /// Answered by both sides of signalling: the row says so.
    pub(crate) async fn write_answered(&mut self, settled: Option<Settled>) {
        self.answered = true;
        let codec = settled.map_or("offered", |settled| settled.codec).to_owned();
        let patch = CallPatch { answer_at: Some(now_ms()), codec: Some(codec), ..CallPatch::default() };
        self.story.patch(patch);
        if let Some(settled) = settled {
            self.note_encryption("citizen", settled.srtp);
        }
        self.tell_faults();
    }

    /// The call's events say which leg is encrypted, and since when or until when.
    pub(crate) fn note_encryption(&mut self, leg: &'static str, suite: Option<&'static str>) {
        if self.encryption.get(leg).copied() != suite {
            self.story.event("srtp", serde_json::json!({ "leg": leg, "suite": suite }));
        }
        match suite {
            Some(suite) => drop(self.encryption.insert(leg, suite)),
            None => drop(self.encryption.remove(leg)),
        }
    }
}

/// RFC 3326 causes that say the network, not the person, ended the call (Q.850 classes beyond "normal").
fn is_network_cause(reason: &str) -> bool {
    let cause =
        reason.split(';').filter_map(|p| p.trim().strip_prefix("cause=")).find_map(|c| c.trim().parse::<u16>().ok());
    let q850 = reason.trim_start().to_ascii_lowercase().starts_with("q.850");
    matches!((q850, cause), (true, Some(c)) if c >= 34)
}

#[cfg(test)]
mod tests {
    use super::is_network_cause;

    #[test]
    fn a_carrier_that_reports_congestion_ended_the_call_itself() {
        assert!(is_network_cause("Q.850;cause=41;text=\"Temporary failure\""));
        assert!(!is_network_cause("Q.850;cause=16;text=\"Normal call clearing\""));
        assert!(!is_network_cause("SIP;cause=200"));
    }
}
