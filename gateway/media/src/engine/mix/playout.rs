//! One received stream on its way into a mix: jitter buffer, decoder, level, gain.

use std::time::Instant;

use crate::{
    Codec,
    codec::Decoder,
    jitter::{JitterBuffer, JitterPacket},
    mixer::{AutoGain, Frame, Meter},
    rtp::{Header, Packet},
};

#[derive(Debug)]
pub(in crate::engine) struct Playout {
    jitter: JitterBuffer,
    decoder: Decoder,
    meter: Meter,
    gain: AutoGain,
    /// Packets thrown away in codings before this one.
    discarded_before: u64,
}

impl Playout {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            jitter: JitterBuffer::default(),
            decoder: Decoder::new(codec),
            meter: Meter::default(),
            gain: AutoGain::default(),
            discarded_before: 0,
        }
    }

    /// Takes a packet of audio. With another coding than before a new stream begins.
    pub(in crate::engine) fn insert(&mut self, now: Instant, codec: Codec, packet: &Packet<'_>) {
        if codec != self.decoder.codec() {
            self.discarded_before = self.discarded();
            self.decoder = Decoder::new(codec);
            self.jitter = JitterBuffer::default();
        }
        self.jitter.insert(now, self.place(packet));
    }

    /// Takes a packet of comfort noise (RFC 3389), which counts in the audio's clock.
    pub(in crate::engine) fn insert_comfort(&mut self, now: Instant, packet: &Packet<'_>) {
        self.jitter.insert_comfort(now, self.place(packet));
    }

    /// Packets that came, but too late or too many at once to be played.
    pub(in crate::engine) fn discarded(&self) -> u64 {
        let stats = self.jitter.stats();
        self.discarded_before + stats.late + stats.overflow
    }

    fn place<'a>(&self, packet: &Packet<'a>) -> JitterPacket<'a> {
        let Header { ssrc, seq, timestamp, marker, .. } = packet.header;
        let clock_hz = self.decoder.codec().rtp_clock_hz();
        JitterPacket { ssrc, seq, timestamp, clock_hz, marker, payload: packet.payload }
    }

    /// The next 20 ms of the stream.
    pub(super) fn next_frame(&mut self, at: Instant, with_gain: bool, out: &mut Frame) {
        self.jitter.next_frame(at, &mut self.decoder, out);
        let power = self.meter.measure(out);
        if with_gain {
            self.gain.apply(out, power);
        }
    }
}
