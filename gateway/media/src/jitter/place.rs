//! Where a packet belongs on the time line, whatever its sender does to SSRC and timestamps.

use std::time::Instant;

use super::{JitterBuffer, JitterPacket, ms, queue::Content};
use crate::limits::{FRAME_SAMPLES, JITTER_DELAY_MS_MAX, JITTER_EXCESS_MS_MAX, JITTER_JUMP_MS, SAMPLE_RATE_HZ};

/// A new stream that begins this near the end of the old one goes on where that ended.
const JOIN_MS: u64 = 100;
/// So many packets late in a row, spread as live packets are: the sender's clock is another one now.
const LATE_RUN: u32 = 5;
/// Packets closer together than this are a burst.
const BURST_MS: u64 = 8;

/// The stream that is being received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    ssrc: u32,
    clock_hz: u32,
    newest_seq: u16,
    /// The newest timestamp without its wraps, and what puts it on the time line.
    timestamp: i64,
    offset: i64,
    /// Where the newest packet lies.
    newest_at: i64,
    /// Samples of the last packet decoded.
    pub(super) packet_samples: i64,
}

impl Stream {
    fn unwrapped(&self, timestamp: u32) -> i64 {
        self.timestamp + i64::from(timestamp.wrapping_sub(self.timestamp as u32) as i32)
    }

    fn is_newer(&self, seq: u16) -> bool {
        (seq.wrapping_sub(self.newest_seq) as i16) > 0
    }
}

/// RTP units to samples of the time line.
fn scaled(timestamp: i64, clock_hz: u32) -> i64 {
    timestamp * i64::from(SAMPLE_RATE_HZ) / i64::from(clock_hz.max(1))
}

impl JitterBuffer {
    /// Takes a packet of audio at the time it came.
    pub fn insert(&mut self, now: Instant, packet: JitterPacket<'_>) {
        self.take(now, packet, Content::Audio);
    }

    /// Takes a packet of comfort noise (RFC 3389): what follows it sounds so until audio comes.
    pub fn insert_comfort(&mut self, now: Instant, packet: JitterPacket<'_>) {
        self.take(now, packet, Content::Comfort);
    }

    fn take(&mut self, now: Instant, packet: JitterPacket<'_>, content: Content) {
        let arrival = self.clock(now);
        self.stats.packets += 1;
        let mut at = self.place(arrival, &packet);
        if at < self.next && !self.may_still_play(arrival, at) {
            if !self.is_clock_changed(arrival) {
                self.stats.late += 1;
                return self.delay.observe(arrival - at);
            }
            at = self.begin_stream(arrival, &packet);
        }
        self.late_run.1 = 0;
        self.delay.observe(arrival - at);
        match self.queue.insert(at, content, packet.payload) {
            None => self.stats.duplicates += 1,
            Some(dropped) => {
                self.stats.overflow += dropped;
                self.next = self.next.min(at.max(self.decoded_to));
            }
        }
    }

    /// Its time was concealed, with nothing played since: it can still be heard, a little later.
    fn may_still_play(&self, arrival: i64, at: i64) -> bool {
        let delay = arrival - at - self.delay.base().unwrap_or(arrival - at);
        at >= self.decoded_to && delay <= ms(JITTER_DELAY_MS_MAX + JITTER_EXCESS_MS_MAX)
    }

    /// Counts late packets in a row. A burst after a stall is over soon; a clock that has jumped
    /// back, or stood still in a pause, stays.
    fn is_clock_changed(&mut self, arrival: i64) -> bool {
        let (before, count) = self.late_run;
        if count == 0 || arrival - before >= ms(BURST_MS) {
            self.late_run = (arrival, count + 1);
        }
        self.late_run.1 >= LATE_RUN
    }

    fn place(&mut self, arrival: i64, packet: &JitterPacket<'_>) -> i64 {
        let Some(mut stream) = self.stream.filter(|s| s.ssrc == packet.ssrc && s.clock_hz == packet.clock_hz) else {
            return self.begin_stream(arrival, packet);
        };
        let timestamp = stream.unwrapped(packet.timestamp);
        let at = scaled(timestamp, stream.clock_hz) + stream.offset;
        let is_newer = stream.is_newer(packet.seq);
        let ahead = self.delay.base().map_or(0, |base| base - (arrival - at));
        // A newer packet with older audio, or audio from the future.
        if (is_newer && at < stream.newest_at) || ahead > ms(JITTER_JUMP_MS) {
            return self.begin_stream(arrival, packet);
        }
        if is_newer {
            stream.newest_seq = packet.seq;
            stream.timestamp = timestamp;
            stream.newest_at = at;
            self.stream = Some(stream);
        }
        at
    }

    /// A stream whose timestamps have nothing to do with what was before: it follows the old one
    /// if it comes in time for that, and otherwise lies where a quick packet would.
    fn begin_stream(&mut self, arrival: i64, packet: &JitterPacket<'_>) -> i64 {
        let quick = arrival - self.delay.base().unwrap_or(arrival);
        let packet_samples = self.stream.map_or(FRAME_SAMPLES as i64, |stream| stream.packet_samples);
        let at = match self.stream {
            Some(old) if (old.newest_at + packet_samples - quick).abs() <= ms(JOIN_MS) => {
                old.newest_at + packet_samples
            }
            _ => quick,
        };
        self.stats.jumps += u64::from(self.stream.is_some());
        let timestamp = i64::from(packet.timestamp);
        self.stream = Some(Stream {
            ssrc: packet.ssrc,
            clock_hz: packet.clock_hz,
            newest_seq: packet.seq,
            timestamp,
            offset: at - scaled(timestamp, packet.clock_hz),
            newest_at: at,
            packet_samples,
        });
        at
    }
}
