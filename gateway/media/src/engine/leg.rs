//! The state of one leg.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    AudioFault, Random, inband::Inband, mix::Playout, output::Outbox, rtc::Rtc, secure::Secured, watch::Watch,
};
use crate::{
    Codec, LegId, LegParams, LegStats,
    codec::{self, Decoder, Encoder},
    dtmf::{self, Digit, EventPayload},
    latch::{Latch, Stale},
    limits::{FRAME_SAMPLES, QUALITY_INTERVAL_MS, RTCP_INTERVAL_MS, SAMPLE_RATE_HZ, SAMPLES_PER_MS},
    player::Player,
    recorder::Recording,
    rtp::{Outgoing, Source},
};

/// Comfort noise (RFC 3389): proves the peer alive, carries nothing for us.
const COMFORT_NOISE_PT: u8 = 13;

/// What a payload type means on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Audio(Codec),
    /// Telephone events counted at a clock, in Hz.
    Event(u32),
    ComfortNoise,
}

/// The newest packet of an event that was passed on to a leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelayedEvent {
    pub(super) from: LegId,
    /// By the source's count.
    pub(super) press: u32,
    /// As it was sent.
    pub(super) timestamp: u32,
    pub(super) payload: EventPayload,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) params: Option<LegParams>,
    pub(super) latch: Option<Latch>,
    /// What the port received before, until the latch takes it.
    pub(super) stale: Option<Stale>,
    pub(super) source: Option<Source>,
    pub(super) srtp: Option<Box<Secured>>,
    /// Of a browser's leg.
    pub(super) rtc: Option<Box<Rtc>>,
    pub(super) out: Outgoing,
    /// Newest number sent, to tell relayed stragglers.
    pub(super) newest_out: Option<u16>,
    /// Coded samples of the frame being sent; kept for its allocation.
    pub(super) coded: Vec<u8>,
    /// Of a codec with a state, once there was something to code.
    encoder: Option<Encoder>,
    /// Of a codec with a state, once there was something to record.
    decoder: Option<Decoder>,
    /// Where its packets are passed on to as they come.
    pub(super) peer: Option<LegId>,
    /// Whose packets it is sent as they come.
    pub(super) fed_by: Option<LegId>,
    /// The mix it belongs to; every bridge is one.
    pub(super) mix: Option<usize>,
    /// What it says is wanted at once: it is connected with somebody, and the driver was told so.
    pub(super) is_urgent: bool,
    /// It is sent a frame of its mix every 20 ms.
    pub(super) is_mixed: bool,
    /// What it says, for those who are sent a mix.
    pub(super) playout: Option<Box<Playout>>,
    /// The coding of the last audio received, before it the one agreed on.
    pub(super) codec_in: Codec,
    /// Its peer has changed between codings that can't be passed on in each other's place.
    pub(super) is_fickle: bool,
    pub(super) player: Option<Player>,
    /// Its phase of the wheel while it is on it.
    pub(super) phase: Option<usize>,
    pub(super) digits: dtmf::Sender,
    /// RTP timestamp of the event being sent.
    pub(super) event_timestamp: u32,
    pub(super) relayed_event: Option<RelayedEvent>,
    pub(super) dtmf: dtmf::Receiver,
    /// The clock of the newest event received, in Hz.
    pub(super) event_clock_in: u32,
    pub(super) inband: Inband,
    pub(super) recording: Option<Box<Recording>>,
    pub(super) heard_at: Instant,
    pub(super) silent: bool,
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    pub(super) octets_out: u64,
    pub(super) dropped: u64,
    pub(super) srtp_refused: u64,
    /// Lost in streams that have ended.
    pub(super) lost_before: u64,
    pub(super) last_source: Option<SocketAddr>,
    pub(super) rtcp_source: Option<SocketAddr>,
    pub(super) rtcp_due: Instant,
    /// Middle of the last sender report's NTP time, and when it came.
    pub(super) last_sr: Option<(u32, Instant)>,
    pub(super) reported_out: u64,
    /// No sound was heard yet in this talk: its packets are looked into.
    pub(super) is_listened_to: bool,
    /// The last packet was comfort noise: a pause may follow.
    pub(super) is_noise: bool,
    /// When the leg is looked at next.
    pub(super) watch_at: Instant,
    pub(super) watch: Box<Watch>,
}

impl Leg {
    pub(super) fn new(id: LegId, now: Instant, random: &mut Random) -> Self {
        let (ssrc, start) = (random.next(), random.next());
        // RFC 3550 §6.2: the first report after half the interval, all of them spread.
        let first_report_ms = RTCP_INTERVAL_MS / 2 + random.next() % (RTCP_INTERVAL_MS / 2);
        Self {
            id,
            params: None,
            latch: None,
            stale: None,
            source: None,
            srtp: None,
            rtc: None,
            // The first number lies in the lower half, so that a peer who misses the first packets of an
            // encrypted stream knows its roll-over count (RFC 3711 §3.3.1).
            out: Outgoing::new(now, ssrc as u32, start as u16 & 0x7FFF, (start >> 32) as u32),
            newest_out: None,
            coded: Vec::with_capacity(FRAME_SAMPLES),
            encoder: None,
            decoder: None,
            peer: None,
            fed_by: None,
            mix: None,
            is_urgent: false,
            is_mixed: false,
            playout: None,
            codec_in: Codec::Pcma,
            is_fickle: false,
            player: None,
            phase: None,
            digits: dtmf::Sender::default(),
            event_timestamp: 0,
            relayed_event: None,
            dtmf: dtmf::Receiver::default(),
            event_clock_in: SAMPLE_RATE_HZ,
            inband: Inband::default(),
            recording: None,
            heard_at: now,
            silent: false,
            packets_in: 0,
            packets_out: 0,
            octets_out: 0,
            dropped: 0,
            srtp_refused: 0,
            lost_before: 0,
            last_source: None,
            rtcp_source: None,
            rtcp_due: now + Duration::from_millis(first_report_ms),
            last_sr: None,
            reported_out: 0,
            is_listened_to: true,
            is_noise: false,
            watch_at: now + Duration::from_millis(QUALITY_INTERVAL_MS),
            watch: Box::new(Watch::new(now)),
        }
    }

    /// What a payload type means: peers change between the formats of an answer without asking (RFC
    /// 3264 §7). Either G.711 static type is taken, whatever was agreed on.
    pub(super) fn kind(&self, payload_type: u8) -> Option<Kind> {
        let params = self.params.as_ref()?;
        if payload_type == params.payload_type {
            return Some(Kind::Audio(params.codec));
        }
        if Some(payload_type) == params.dtmf_pt {
            return Some(Kind::Event(params.dtmf_clock_hz));
        }
        if let Some(codec) = params.others.audio(payload_type) {
            return Some(Kind::Audio(codec));
        }
        if let Some(clock_hz) = params.others.event_clock_hz(payload_type) {
            return Some(Kind::Event(clock_hz));
        }
        match payload_type {
            8 => Some(Kind::Audio(Codec::Pcma)),
            0 => Some(Kind::Audio(Codec::Pcmu)),
            COMFORT_NOISE_PT => Some(Kind::ComfortNoise),
            _ => None,
        }
    }

    /// Codes a frame into `coded`, which stays empty if that fails.
    pub(super) fn encode(&mut self, codec: Codec, samples: &[i16; FRAME_SAMPLES]) {
        self.coded.clear();
        if codec.is_g711() {
            return codec::encode_into(codec, samples, &mut self.coded);
        }
        let encoder = self.encoder.take().filter(|encoder| encoder.codec() == codec);
        self.encoder.insert(encoder.unwrap_or_else(|| Encoder::new(codec))).encode(samples, &mut self.coded);
    }

    /// Appends what the peer says in a codec with a state, packets in order.
    pub(super) fn decode(&mut self, codec: Codec, payload: &[u8], out: &mut Vec<i16>) {
        let decoder = self.decoder.take().filter(|decoder| decoder.codec() == codec);
        self.decoder.insert(decoder.unwrap_or_else(|| Decoder::new(codec))).decode(payload, out);
    }

    /// Timestamp units per sample of what is received.
    pub(super) fn scale_in(&self) -> u32 {
        (self.codec_in.rtp_clock_hz() / SAMPLE_RATE_HZ).max(1)
    }

    /// A digit whose length was counted in the units of its events' clock (RFC 4733 §2.1).
    pub(super) fn digit(&self, digit: Option<Digit>) -> Option<Digit> {
        let scale = (self.event_clock_in / SAMPLE_RATE_HZ).max(1);
        digit.map(|digit| Digit { duration_ms: digit.duration_ms / scale, ..digit })
    }

    /// Where media goes now, if it may be sent at all.
    pub(super) fn target(&self) -> Option<SocketAddr> {
        self.params.as_ref().filter(|params| params.send)?;
        self.latch.as_ref()?.target()
    }

    /// It is heard in no mix any more; what its playout threw away stays counted.
    pub(super) fn end_playout(&mut self) {
        self.watch.discarded_before += self.playout.take().map_or(0, |playout| playout.discarded());
    }

    /// Another peer is learnt: reports go to it and speak of it, and it has not reported yet.
    pub(super) fn forget_reports(&mut self, now: Instant, out: &mut Outbox) {
        self.rtcp_source = None;
        self.last_sr = None;
        self.watch.forget_reports();
        self.watch.restore(now, self.id, AudioFault::NotHeard, out);
    }

    /// What the peer says is wanted.
    pub(super) fn is_heard(&self) -> bool {
        self.params.as_ref().is_some_and(|params| params.recv)
    }

    /// We may send to the peer.
    pub(super) fn is_sent(&self) -> bool {
        self.params.as_ref().is_some_and(|params| params.send)
    }

    /// A prompt or a digit is being sent, so what others say isn't.
    pub(super) fn is_occupied(&self) -> bool {
        self.player.is_some() || self.digits.is_busy()
    }

    /// The last stream received, as the next leg on this port must know it.
    pub(super) fn last_received(&self, now: Instant) -> Option<Stale> {
        match (&self.source, self.last_source) {
            (Some(source), Some(address)) => Some(Stale::new(now, address, source.ssrc, source.extended_max() as u16)),
            // Nothing came: what the port received before may still go on.
            _ => match &self.latch {
                Some(latch) => latch.stale(now),
                None => self.stale.filter(|stale| stale.is_valid(now)),
            },
        }
    }

    pub(super) fn stats(&self) -> LegStats {
        let source = self.source.as_ref();
        let jitter = source.map_or(0, Source::jitter_samples);
        LegStats {
            packets_in: self.packets_in,
            packets_out: self.packets_out,
            lost: self.lost_before + source.map_or(0, Source::lost),
            jitter_ms: jitter / self.scale_in() / SAMPLES_PER_MS as u32,
            dropped: self.dropped,
            srtp_refused: self.srtp_refused,
            srtp: self.params.as_ref().and_then(|params| params.srtp.as_ref()).map(|srtp| srtp.suite),
            last_source: self.last_source,
            quality: self.quality(),
        }
    }
}
