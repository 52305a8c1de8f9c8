//! What is looked at every 50 ms: digits without an end, silence, RTCP, recordings.

use std::time::{Duration, Instant};

use super::{AudioFault, Engine, Event, RecorderOp, receive::report_digits};
use crate::{LegId, dtmf::Digit};

impl Engine {
    pub(super) fn keep_house(&mut self, now: Instant) {
        let silence = Duration::from_millis(self.cfg.rtp_silence_ms);
        let mut full: Vec<(LegId, Instant)> = Vec::new();
        let mut passed: Vec<(LegId, u32, Digit)> = Vec::new();
        let mut reporting: Vec<LegId> = Vec::new();
        let mut looking: Vec<LegId> = Vec::new();
        for (id, leg) in self.legs.iter_mut() {
            leg.expire_paths(now, &mut self.out);
            let digit = leg.dtmf.handle_timeout(now);
            let digit = leg.digit(digit);
            report_digits(id, [digit, leg.inband.handle_timeout(now)], &mut self.out);
            passed.extend(digit.map(|digit| (id, leg.dtmf.presses(), digit)));
            let is_expected = leg.params.as_ref().is_some_and(|params| params.recv);
            if is_expected && !leg.silent && now.saturating_duration_since(leg.heard_at) >= silence {
                leg.silent = true;
                self.out.event(Event::Silent { leg: id });
                if !leg.is_noise {
                    leg.watch.raise(now, id, AudioFault::NoRtp, &mut self.out);
                }
            }
            if leg.watch_at <= now {
                looking.push(id);
            }
            if leg.rtcp_due <= now {
                reporting.push(id);
            }
            if let Some(recording) = &mut leg.recording {
                let out = &mut self.out;
                let lost_ms = recording.flush(now, &self.cfg.pool, |write| out.recorder(RecorderOp::Write(write)));
                if lost_ms > 0 {
                    self.totals.gaps_ms += lost_ms;
                    self.out.event(Event::RecordingGap { leg: id, ms: lost_ms });
                }
                if recording.ends_at() <= now {
                    full.push((id, recording.ends_at()));
                }
            }
        }
        for (id, press, digit) in passed {
            self.pass_digits(now, id, [(press, digit)]);
        }
        for (id, at) in full {
            self.stop_record(at, id);
        }
        for id in looking {
            self.look_at(now, id);
        }
        for id in reporting {
            // Taken out for the call, since a report needs the engine's other parts too.
            if let Some(mut leg) = self.legs.remove(&id) {
                self.send_report(now, &mut leg, false);
                self.legs.insert(id, leg);
            }
        }
    }
}
