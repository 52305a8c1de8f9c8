//! Orders of the call logic. Orders for a leg that is gone are ignored: it may have closed while
//! they were on their way.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::{AudioFault, DtlsOp, Engine, Event, MixRow, RecorderOp, output::Port, receive::report_digits};
use crate::{
    Clip, LegId, LegParams, RecordingId,
    latch::Latch,
    player::Player,
    recorder::{Recording, RecordingKey, RecordingSpec},
    srtp::SrtpParams,
};

/// What to record, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSpec {
    /// The caller's id.
    pub rec: RecordingId,
    /// The final name.
    pub path: PathBuf,
    /// Ends by itself after this long.
    pub max_ms: u64,
}

/// An order. See the driver's methods of the same names.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the driver's documented methods")]
pub enum Command {
    /// Apply what offer/answer settled.
    Configure { leg: LegId, params: LegParams },
    /// Play clips, replacing what plays.
    Play { leg: LegId, play_id: u64, clips: Vec<Arc<Clip>>, repeat: bool },
    /// Stop playing.
    StopPlay { leg: LegId },
    /// Connect two legs.
    Bridge { a: LegId, b: LegId },
    /// Connect legs as the rows say, instead of what they were connected to.
    Mix { rows: Vec<MixRow> },
    /// Disconnect a leg from all others.
    Unbridge { leg: LegId },
    /// Start a recording.
    Record { leg: LegId, spec: RecordSpec },
    /// Finish the recording.
    StopRecord { leg: LegId },
    /// Pause or resume the recording.
    PauseRecord { leg: LegId, paused: bool },
    /// Send a digit.
    SendDigit { leg: LegId, digit: char, ms: u32 },
    /// Send a datagram of the leg's DTLS.
    SendDtls { leg: LegId, bytes: Vec<u8> },
    /// Take the keys of the leg's handshake.
    Secure { leg: LegId, srtp: SrtpParams },
    /// The leg's handshake has failed.
    SecureFailed { leg: LegId, why: &'static str },
    /// Close the leg.
    CloseLeg { leg: LegId },
}

impl Engine {
    pub(super) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Configure { leg, params } => self.configure(now, leg, params),
            Command::Play { leg, play_id, clips, repeat } => self.play(now, leg, play_id, clips, repeat),
            Command::StopPlay { leg } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.player = None;
                }
            }
            Command::Bridge { a, b } => self.bridge(now, a, b),
            Command::Mix { rows } => self.mix(now, rows),
            Command::Unbridge { leg } => self.unbridge(now, leg),
            Command::Record { leg, spec } => self.record(now, leg, spec),
            Command::StopRecord { leg } => self.stop_record(now, leg),
            Command::PauseRecord { leg, paused } => {
                if let Some(recording) = self.legs.get_mut(&leg).and_then(|leg| leg.recording.as_mut()) {
                    recording.pause(now, paused);
                }
            }
            Command::SendDigit { leg, digit, ms } => {
                let taken = self.legs.get_mut(&leg).is_some_and(|leg| leg.digits.push(digit, ms));
                if taken {
                    self.pace(now, leg);
                }
            }
            Command::SendDtls { leg, bytes } => self.send_dtls(leg, &bytes),
            Command::Secure { leg, srtp } => self.secure_rtc(now, leg, srtp),
            Command::SecureFailed { leg, why } => self.fail_rtc(leg, why),
            Command::CloseLeg { leg } => self.close_leg(now, leg),
        }
    }

    fn configure(&mut self, now: Instant, id: LegId, mut params: LegParams) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.keep_dtls_keys(&mut params, &mut self.out);
        match &mut leg.latch {
            Some(latch) => {
                if latch.update(params.remote, params.trust.clone(), params.srtp.is_some()) {
                    leg.forget_reports(now, &mut self.out);
                }
            }
            None => {
                let stale = leg.stale.take();
                leg.latch = Some(Latch::new(params.remote, params.trust.clone(), params.srtp.is_some(), stale));
            }
        }
        // Silence is counted from the moment the peer is expected to send, and ends when it isn't any more.
        let was_expected = leg.params.as_ref().is_some_and(|before| before.recv);
        if params.recv != was_expected {
            if params.recv {
                leg.heard_at = now;
                leg.audio_expected();
            }
            if std::mem::take(&mut leg.silent) {
                self.out.event(Event::Resumed { leg: id });
            }
            leg.watch.restore(now, id, AudioFault::NoRtp, &mut self.out);
        }
        leg.inband.configure(now, params.inband_dtmf);
        leg.secure(&params);
        leg.out.set_clock(now, params.codec.rtp_clock_hz());
        leg.codec_in = params.codec;
        leg.is_fickle = false;
        leg.params = Some(params);
        leg.settle_path();
        leg.settle_urgency(&mut self.out);
        self.reroute(now, id);
    }

    fn play(&mut self, now: Instant, id: LegId, play_id: u64, clips: Vec<Arc<Clip>>, repeat: bool) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.player = Some(Player::new(play_id, clips, repeat));
        self.pace(now, id);
    }

    /// Puts a leg on the wheel, unless it is there.
    pub(super) fn pace(&mut self, now: Instant, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id)
            && leg.phase.is_none()
        {
            leg.phase = Some(self.wheel.add(now, id));
        }
    }

    fn record(&mut self, now: Instant, id: LegId, spec: RecordSpec) {
        let RecordSpec { rec, path, max_ms } = spec;
        let refused = match self.legs.get(&id) {
            None => Some("the leg is closed"),
            Some(leg) if leg.recording.is_some() => Some("the leg is being recorded already"),
            Some(_) if path.extension().is_none_or(|extension| extension != "wav") => {
                Some("the name of a recording ends in .wav")
            }
            Some(_) => None,
        };
        if let Some(reason) = refused {
            return self.out.event(Event::RecordingRefused { leg: id, rec, path, reason });
        }
        let key = RecordingKey(self.recording_next);
        self.recording_next += 1;
        let format = self.cfg.format;
        self.out.recorder(RecorderOp::Open { key, leg: id, path: path.clone(), format });
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.recording = Some(Box::new(Recording::new(RecordingSpec { key, rec, path, max_ms, format }, now)));
            self.totals.recordings += 1;
        }
    }

    pub(super) fn stop_record(&mut self, now: Instant, id: LegId) {
        if let Some(recording) = self.legs.get_mut(&id).and_then(|leg| leg.recording.take()) {
            self.totals.recordings -= 1;
            self.out.recorder(RecorderOp::Finish(Box::new(recording.finish(now, id))));
        }
    }

    fn close_leg(&mut self, now: Instant, id: LegId) {
        self.stop_record(now, id);
        self.unbridge(now, id);
        let Some(mut leg) = self.legs.remove(&id) else {
            return;
        };
        if let Some(phase) = leg.phase {
            self.wheel.remove(phase, id);
        }
        if leg.rtc.is_some() {
            self.out.dtls(id, DtlsOp::End);
        }
        let digit = leg.dtmf.flush();
        report_digits(id, [leg.digit(digit), leg.inband.flush()], &mut self.out);
        if leg.packets_out > 0 {
            self.send_report(now, &mut leg, true);
        }
        self.out.event(Event::LegClosed { leg: id, stats: leg.stats(), stale: leg.last_received(now) });
    }
}

/// The socket RTCP leaves from.
pub(super) const fn rtcp_port(is_mux: bool) -> Port {
    if is_mux { Port::Rtp } else { Port::Rtcp }
}
