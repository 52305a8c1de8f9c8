//! Digits as tones in a leg's received audio, where a trunk has them so.

use std::time::{Duration, Instant};

use crate::{
    Codec, codec,
    dtmf::{Digit, InbandDetector},
    limits::{DTMF_END_TIMEOUT_MS, FRAME_SAMPLES},
};

/// Off by default; a leg without it pays for a comparison per packet.
#[derive(Debug, Default)]
pub(super) struct Inband {
    at_work: Option<Box<AtWork>>,
    /// The peer has sent an event: its tones are the same key presses again.
    gave_way: bool,
}

#[derive(Debug)]
struct AtWork {
    detector: InbandDetector,
    /// Decoded samples; kept for the allocation.
    samples: Vec<i16>,
    heard_at: Instant,
}

impl Inband {
    pub(super) fn configure(&mut self, now: Instant, wanted: bool) {
        if !wanted || self.gave_way {
            self.at_work = None;
        } else if self.at_work.is_none() {
            let samples = Vec::with_capacity(FRAME_SAMPLES);
            self.at_work = Some(Box::new(AtWork { detector: InbandDetector::default(), samples, heard_at: now }));
        }
    }

    /// A digit that is being heard arrives as an event too, so it isn't reported.
    pub(super) fn give_way(&mut self) {
        self.gave_way = true;
        self.at_work = None;
    }

    pub(super) fn receive(
        &mut self,
        now: Instant,
        codec: Codec,
        timestamp: u32,
        payload: &[u8],
        found: impl FnMut(Digit),
    ) {
        if let Some(at_work) = &mut self.at_work
            && codec.is_g711()
        {
            at_work.samples.clear();
            codec::decode_into(codec, payload, &mut at_work.samples);
            at_work.heard_at = now;
            at_work.detector.receive(timestamp, &at_work.samples, found);
        }
    }

    /// Ends a digit after which nothing was sent any more.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Digit> {
        let at_work = self.at_work.as_mut()?;
        let silence = now.saturating_duration_since(at_work.heard_at);
        if silence < Duration::from_millis(DTMF_END_TIMEOUT_MS) { None } else { at_work.detector.flush() }
    }

    pub(super) fn flush(&mut self) -> Option<Digit> {
        self.at_work.as_mut()?.detector.flush()
    }
}
