//! Watching over a leg: its quality every five seconds, and whether anything can be heard on it.

use std::time::{Duration, Instant};

use super::{Engine, Event, leg::Leg, output::Outbox};
use crate::{
    Codec, LegId,
    limits::{AUDIO_MUTED_MS, AUDIO_MUTED_PACKETS_MS, NOISE_SILENCE_FACTOR, RTCP_SENT_KEPT, WATCH_MS},
    quality::{Bursts, Ear, LegQuality, Meter, Reception},
    rtp::Source,
};

/// What is wrong with a leg's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFault {
    /// No packets come; of a browser on hold, none of its checks.
    NoRtp,
    /// Packets come, but since the answer there was no sound in them, while the other side of the talk is heard.
    Muted,
    /// The peer reports that it receives nothing of what we send.
    NotHeard,
}

impl AudioFault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoRtp, Self::Muted, Self::NotHeard];
}

/// A peer's clock to be echoed in a DLRR block (RFC 3611 §4.5).
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerClock {
    pub(super) ssrc: u32,
    pub(super) ntp_middle: u32,
    pub(super) at: Instant,
}

/// What is known of a leg beyond its packets' way; looked at seldom.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) meter: Meter,
    pub(super) bursts: Bursts,
    /// Packets received when the last hole ended.
    pub(super) hole_at: u64,
    /// Middles of the NTP times we sent, so that only a true echo measures a round trip.
    clocks_sent: [u32; RTCP_SENT_KEPT],
    clocks: usize,
    pub(super) peer_clock: Option<PeerClock>,
    /// Highest number the peer has reported.
    pub(super) peer_max: Option<u32>,
    /// Packets sent when the peer last reported.
    pub(super) reported_at: u64,
    /// Reports in a row that say nothing arrived.
    pub(super) unheard: u8,
    /// Packets thrown away by playouts that have ended.
    pub(super) discarded_before: u64,
    /// Packets received when the peer said goodbye.
    pub(super) left_at: Option<u64>,
    ear: Ear,
    /// There was sound since the answer, or since a hold ended.
    is_alive: bool,
    talk_since: Option<Instant>,
    faults: [Option<Instant>; AudioFault::ALL.len()],
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            meter: Meter::new(now),
            bursts: Bursts::default(),
            hole_at: 0,
            clocks_sent: [0; RTCP_SENT_KEPT],
            clocks: 0,
            peer_clock: None,
            peer_max: None,
            reported_at: 0,
            unheard: 0,
            discarded_before: 0,
            left_at: None,
            ear: Ear::default(),
            is_alive: false,
            talk_since: None,
            faults: [None; AudioFault::ALL.len()],
        }
    }

    /// A clock of ours went out.
    pub(super) fn note_clock(&mut self, ntp_middle: u32) {
        self.clocks_sent[self.clocks % RTCP_SENT_KEPT] = ntp_middle;
        self.clocks += 1;
    }

    /// `echo` is a clock of ours.
    pub(super) fn sent_clock(&self, echo: u32) -> bool {
        self.clocks_sent[..self.clocks.min(RTCP_SENT_KEPT)].contains(&echo)
    }

    /// What the peer said in its reports.
    pub(super) fn forget_reports(&mut self) {
        self.peer_clock = None;
        self.peer_max = None;
        self.unheard = 0;
    }

    pub(super) fn raise(&mut self, now: Instant, leg: LegId, fault: AudioFault, out: &mut Outbox) {
        let slot = &mut self.faults[fault as usize];
        if slot.is_none() {
            *slot = Some(now);
            out.event(Event::Audio { leg, fault, lasted_ms: None });
        }
    }

    pub(super) fn restore(&mut self, now: Instant, leg: LegId, fault: AudioFault, out: &mut Outbox) {
        if let Some(since) = self.faults[fault as usize].take() {
            let lasted = now.saturating_duration_since(since).as_millis();
            out.event(Event::Audio { leg, fault, lasted_ms: Some(u64::try_from(lasted).unwrap_or(u64::MAX)) });
        }
    }
}

impl Leg {
    /// A talk begins: sound is listened for anew, and only its absence since the answer counts.
    pub(super) fn talk_begins(&mut self, now: Instant) {
        self.watch.talk_since = Some(now);
        self.watch.ear = Ear::default();
        self.is_listened_to = true;
        self.watch_at = self.watch_at.min(now + Duration::from_millis(WATCH_MS));
    }

    /// Whoever isn't in a talk may be as silent as they like.
    pub(super) fn talk_ends(&mut self, now: Instant, out: &mut Outbox) {
        self.watch.talk_since = None;
        self.watch.restore(now, self.id, AudioFault::Muted, out);
    }

    /// The peer is expected to send from now on, after an answer or a hold.
    pub(super) fn audio_expected(&mut self) {
        self.watch.is_alive = false;
        self.watch.ear = Ear::default();
        self.is_listened_to = true;
    }

    /// A packet of a leg nothing was heard of yet; of codecs other than G.711 sound is taken for granted.
    pub(super) fn listen(&mut self, now: Instant, codec: Codec, payload: &[u8], out: &mut Outbox) {
        let is_g711 = matches!(codec, Codec::Pcma | Codec::Pcmu);
        if is_g711 {
            self.watch.ear.hear_g711(codec, payload);
        }
        self.heard_something(now, !is_g711, out);
    }

    /// Comfort noise of a leg nothing was heard of yet.
    pub(super) fn listen_to_noise(&mut self, now: Instant, payload: &[u8], out: &mut Outbox) {
        self.watch.ear.hear_noise(payload);
        self.heard_something(now, false, out);
    }

    fn heard_something(&mut self, now: Instant, is_certain: bool, out: &mut Outbox) {
        if is_certain || self.watch.ear.has_sound() {
            self.is_listened_to = false;
            self.watch.is_alive = true;
            self.watch.restore(now, self.id, AudioFault::Muted, out);
        }
    }

    /// Somebody speaks on this leg in the talk that goes on.
    fn speaks(&self) -> bool {
        self.watch.talk_since.is_some() && !self.is_listened_to
    }

    pub(super) fn reception(&self) -> Reception {
        let source = self.source.as_ref();
        Reception {
            received: self.packets_in,
            lost: self.lost_before + source.map_or(0, Source::lost),
            discarded: self.watch.discarded_before + self.playout.as_ref().map_or(0, |playout| playout.discarded()),
            jitter_us: self.jitter_us(),
            bursts: self.watch.bursts,
        }
    }

    /// Interarrival jitter: a sample lasts 125 µs.
    fn jitter_us(&self) -> u32 {
        self.source.as_ref().map_or(0, Source::jitter_samples).saturating_mul(125) / self.scale_in()
    }

    pub(super) fn codec(&self) -> Option<Codec> {
        self.params.as_ref().map(|params| params.codec)
    }

    /// The figures of the leg so far, what was not judged yet included.
    pub(super) fn quality(&self) -> LegQuality {
        let mut meter = self.watch.meter.clone();
        if let Some(codec) = self.codec() {
            meter.finish(&self.reception(), codec);
        }
        meter.quality(self.codec())
    }
}

impl Engine {
    /// What is due on a leg: its quality, and whether it is dead.
    pub(super) fn look_at(&mut self, now: Instant, id: LegId) {
        let is_spoken_to = self.partners(id).any(Leg::speaks);
        let silence = Duration::from_millis(self.cfg.rtp_silence_ms);
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let reception = leg.reception();
        if let Some(codec) = leg.codec()
            && leg.watch.meter.due() <= now
        {
            leg.watch.meter.measure(now, &reception, codec);
        }
        if leg.silent && now.saturating_duration_since(leg.heard_at) >= silence * NOISE_SILENCE_FACTOR {
            leg.watch.raise(now, id, AudioFault::NoRtp, &mut self.out);
        }
        let talk_ms = leg.watch.talk_since.map_or(0, |since| now.saturating_duration_since(since).as_millis());
        let is_waiting = leg.is_listened_to && !leg.watch.is_alive && leg.watch.talk_since.is_some();
        let has_packets = leg.watch.ear.silent_ms() >= AUDIO_MUTED_PACKETS_MS;
        if is_waiting && is_spoken_to && has_packets && talk_ms >= u128::from(AUDIO_MUTED_MS) {
            leg.watch.raise(now, id, AudioFault::Muted, &mut self.out);
        }
        let next = leg.watch.meter.due().max(now + Duration::from_millis(WATCH_MS));
        leg.watch_at = if is_waiting || leg.silent { now + Duration::from_millis(WATCH_MS) } else { next };
    }
}
