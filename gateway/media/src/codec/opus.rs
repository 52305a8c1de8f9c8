//! Opus (RFC 6716), by the `opus-pure` package, at 8 kHz mono both ways: the decoder turns whatever
//! bandwidth and channels a packet has into that.
//!
//! A panic in the package would take a media thread and all its calls along, so it ends here; the
//! stream goes on with a fresh state.

use std::panic::{AssertUnwindSafe, catch_unwind};

use opus_pure::{Application, Bandwidth, OpusDecoder as Packets, OpusEncoder as Coder, Signal};

use crate::limits::{
    FRAME_SAMPLES, OPUS_BITRATE_BPS, OPUS_COMPLEXITY, OPUS_LOSS_PERCENT, OPUS_PACKET_LEN_MAX, OPUS_PACKET_SAMPLES_MAX,
    SAMPLE_RATE_HZ,
};

/// By the first bytes alone (RFC 6716 §3.1).
pub(super) fn packet_samples(payload: &[u8]) -> u32 {
    let samples = opus_pure::packet::samples(payload, SAMPLE_RATE_HZ as i32).unwrap_or(0);
    u32::try_from(samples.min(OPUS_PACKET_SAMPLES_MAX)).unwrap_or(0)
}

/// Samples of the shortest Opus frame, 2.5 ms.
const SHORTEST: usize = 20;

fn caught<T>(work: impl FnOnce() -> opus_pure::Result<T>) -> Result<Option<T>, ()> {
    catch_unwind(AssertUnwindSafe(work)).map(Result::ok).map_err(drop)
}

/// Without a state only if the package cannot make one; then it decodes nothing.
pub(super) struct OpusDecoder(Option<Packets>);

impl Default for OpusDecoder {
    fn default() -> Self {
        Self(Packets::new(SAMPLE_RATE_HZ as i32, 1).ok())
    }
}

impl std::fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusDecoder")
    }
}

impl OpusDecoder {
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        // An empty payload would be read as a lost packet.
        if payload.is_empty() {
            return;
        }
        let start = out.len();
        out.resize(start + OPUS_PACKET_SAMPLES_MAX, 0);
        let written = self
            .run(|packets| packets.decode_s16(payload, OPUS_PACKET_SAMPLES_MAX, &mut out[start..]))
            .unwrap_or(0)
            .min(OPUS_PACKET_SAMPLES_MAX);
        out.truncate(start + written);
    }

    pub(super) fn conceal(&mut self, out: &mut [i16]) -> bool {
        self.fill(out, |packets, samples| packets.decode_s16(&[], samples.len(), samples))
    }

    pub(super) fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        !next.is_empty() && self.fill(out, |packets, samples| packets.decode_fec_s16(next, samples.len(), samples))
    }

    fn fill(
        &mut self,
        out: &mut [i16],
        work: impl FnOnce(&mut Packets, &mut [i16]) -> opus_pure::Result<usize>,
    ) -> bool {
        let len = out.len();
        if len == 0 || len > OPUS_PACKET_SAMPLES_MAX || !len.is_multiple_of(SHORTEST) {
            return false;
        }
        let mut buffer = [0; OPUS_PACKET_SAMPLES_MAX];
        let samples = &mut buffer[..len];
        let is_done = self.run(|packets| work(packets, samples)) == Some(len);
        if is_done {
            out.copy_from_slice(&buffer[..len]);
        }
        is_done
    }

    fn run(&mut self, work: impl FnOnce(&mut Packets) -> opus_pure::Result<usize>) -> Option<usize> {
        let packets = self.0.as_mut()?;
        caught(|| work(packets)).unwrap_or_else(|()| {
            *self = Self::default();
            None
        })
    }
}

/// Without a state only if the package cannot make one; then it encodes nothing.
pub(super) struct OpusEncoder(Option<Coder>);

impl Default for OpusEncoder {
    fn default() -> Self {
        let mut coder = Coder::new(SAMPLE_RATE_HZ as i32, 1, Application::Voip).ok();
        if let Some(coder) = &mut coder {
            coder.bitrate_bps = OPUS_BITRATE_BPS;
            coder.complexity = OPUS_COMPLEXITY;
            coder.use_inband_fec = true;
            coder.packet_loss_perc = OPUS_LOSS_PERCENT;
            coder.max_bandwidth = Bandwidth::Narrowband;
            coder.signal_type = Some(Signal::Voice);
        }
        Self(coder)
    }
}

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusEncoder")
    }
}

impl OpusEncoder {
    pub(super) fn encode(&mut self, samples: &[i16; FRAME_SAMPLES], out: &mut Vec<u8>) {
        let Some(coder) = self.0.as_mut() else {
            return;
        };
        let start = out.len();
        out.resize(start + OPUS_PACKET_LEN_MAX, 0);
        let written = match caught(|| coder.encode_s16(samples, FRAME_SAMPLES, &mut out[start..])) {
            Ok(written) => written.unwrap_or(0).min(OPUS_PACKET_LEN_MAX),
            Err(()) => {
                *self = Self::default();
                0
            }
        };
        out.truncate(start + written);
    }
}
