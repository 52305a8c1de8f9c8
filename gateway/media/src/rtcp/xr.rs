//! Extended reports (RFC 3611): receiver reference time, DLRR and VoIP metrics, built and parsed.

use super::parse::{RtcpError, word};
use crate::limits::RTCP_XR_BLOCKS_MAX;

const REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;
const VOIP_METRICS: u8 = 7;
/// The value that means "unavailable" in VoIP metrics (RFC 3611 §4.7).
const UNAVAILABLE: u8 = 127;

/// One block; kinds we have no use for are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XrBlock {
    /// A receiver's clock (RFC 3611 §4.4), NTP 32.32; to be echoed in a DLRR block.
    ReferenceTime {
        /// NTP timestamp.
        ntp: u64,
    },
    /// The echo of a receiver's clock (§4.5).
    Dlrr {
        /// Whose clock.
        ssrc: u32,
        /// Middle 32 bits of its NTP time.
        last_rr: u32,
        /// Delay since then in 1/65536 s.
        delay_since_last_rr: u32,
    },
    /// How a stream sounds to its receiver (§4.7).
    VoipMetrics(VoipMetrics),
}

/// RFC 3611 §4.7. Levels and echo, which a gateway can't measure, are sent as unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The stream reported on.
    pub ssrc: u32,
    /// Lost on the way, 1/256.
    pub loss_rate: u8,
    /// Thrown away by the playout buffer, 1/256.
    pub discard_rate: u8,
    /// Lost within bursts, 1/256.
    pub burst_density: u8,
    /// Lost within gaps, 1/256.
    pub gap_density: u8,
    /// Mean length of bursts, ms.
    pub burst_ms: u16,
    /// Mean length of gaps, ms.
    pub gap_ms: u16,
    /// Round trip between the RTP interfaces, ms; 0 if unknown.
    pub round_trip_ms: u16,
    /// Delay within the end system, ms.
    pub end_system_ms: u16,
    /// Rating R, 0–100; 127 if unknown.
    pub r_factor: u8,
    /// Listening quality, tenths of a MOS; 127 if unknown.
    pub mos_lq_x10: u8,
    /// Conversational quality, tenths of a MOS; 127 if unknown.
    pub mos_cq_x10: u8,
    /// Playout buffer now, ms.
    pub playout_ms: u16,
    /// The longest it has been, ms.
    pub playout_max_ms: u16,
}

/// Appends an XR packet with `blocks`, if there are any.
pub(super) fn write_xr(ssrc: u32, blocks: &[XrBlock], out: &mut Vec<u8>) {
    if blocks.is_empty() {
        return;
    }
    let start = out.len();
    out.extend_from_slice(&[0x80, super::XR, 0, 0]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    for block in blocks.iter().take(RTCP_XR_BLOCKS_MAX) {
        write_block(block, out);
    }
    super::build::close(start, out);
}

fn write_block(block: &XrBlock, out: &mut Vec<u8>) {
    match *block {
        XrBlock::ReferenceTime { ntp } => {
            out.extend_from_slice(&[REFERENCE_TIME, 0, 0, 2]);
            out.extend_from_slice(&ntp.to_be_bytes());
        }
        XrBlock::Dlrr { ssrc, last_rr, delay_since_last_rr } => {
            out.extend_from_slice(&[DLRR, 0, 0, 3]);
            for word in [ssrc, last_rr, delay_since_last_rr] {
                out.extend_from_slice(&word.to_be_bytes());
            }
        }
        XrBlock::VoipMetrics(m) => {
            out.extend_from_slice(&[VOIP_METRICS, 0, 0, 8]);
            out.extend_from_slice(&m.ssrc.to_be_bytes());
            out.extend_from_slice(&[m.loss_rate, m.discard_rate, m.burst_density, m.gap_density]);
            for half in [m.burst_ms, m.gap_ms, m.round_trip_ms, m.end_system_ms] {
                out.extend_from_slice(&half.to_be_bytes());
            }
            // Signal, noise and echo level; Gmin 16 as in `quality::Bursts`.
            out.extend_from_slice(&[UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, 16]);
            out.extend_from_slice(&[m.r_factor, UNAVAILABLE, m.mos_lq_x10, m.mos_cq_x10]);
            // Concealment unspecified, playout adaptive (§4.7.6): both are the listener's.
            out.extend_from_slice(&[0b0011_0000, 0]);
            for half in [m.playout_ms, m.playout_max_ms, m.playout_max_ms] {
                out.extend_from_slice(&half.to_be_bytes());
            }
        }
    }
}

/// The blocks of an XR packet's body (after the header word): the sender, then what it says.
pub(super) fn parse_xr(body: &[u8]) -> Result<(u32, Vec<XrBlock>), RtcpError> {
    let ssrc = word(body, 0)?;
    let mut rest = body.get(4..).ok_or(RtcpError::Short)?;
    let mut blocks = Vec::new();
    for _ in 0..RTCP_XR_BLOCKS_MAX {
        let Some((head, after)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        let content = after.get(..len).ok_or(RtcpError::Short)?;
        rest = &after[len..];
        match (head[0], len) {
            (REFERENCE_TIME, 8) => {
                let ntp = (u64::from(word(content, 0)?) << 32) | u64::from(word(content, 1)?);
                blocks.push(XrBlock::ReferenceTime { ntp });
            }
            (DLRR, 12..) => {
                for sub in content.chunks_exact(12).take(RTCP_XR_BLOCKS_MAX) {
                    let (ssrc, last_rr, delay_since_last_rr) = (word(sub, 0)?, word(sub, 1)?, word(sub, 2)?);
                    blocks.push(XrBlock::Dlrr { ssrc, last_rr, delay_since_last_rr });
                }
            }
            (VOIP_METRICS, 32) => blocks.push(XrBlock::VoipMetrics(voip_metrics(content)?)),
            // Unknown, or of a length the block cannot have: ignored (RFC 3611 §3).
            _ => {}
        }
    }
    Ok((ssrc, blocks))
}

fn voip_metrics(content: &[u8]) -> Result<VoipMetrics, RtcpError> {
    let bytes = |index: usize| word(content, index).map(u32::to_be_bytes);
    let halves = |index: usize| word(content, index).map(|word| ((word >> 16) as u16, word as u16));
    let [loss_rate, discard_rate, burst_density, gap_density] = bytes(1)?;
    let (burst_ms, gap_ms) = halves(2)?;
    let (round_trip_ms, end_system_ms) = halves(3)?;
    let [r_factor, _, mos_lq_x10, mos_cq_x10] = bytes(5)?;
    let (_, playout_ms) = halves(6)?;
    let (playout_max_ms, _) = halves(7)?;
    Ok(VoipMetrics {
        ssrc: word(content, 0)?,
        loss_rate,
        discard_rate,
        burst_density,
        gap_density,
        burst_ms,
        gap_ms,
        round_trip_ms,
        end_system_ms,
        r_factor,
        mos_lq_x10,
        mos_cq_x10,
        playout_ms,
        playout_max_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> VoipMetrics {
        VoipMetrics {
            ssrc: 0x0102_0304,
            loss_rate: 5,
            discard_rate: 6,
            burst_density: 128,
            gap_density: 1,
            burst_ms: 380,
            gap_ms: 20_000,
            round_trip_ms: 42,
            end_system_ms: 60,
            r_factor: 88,
            mos_lq_x10: 42,
            mos_cq_x10: 41,
            playout_ms: 40,
            playout_max_ms: 200,
        }
    }

    fn sample() -> (Vec<XrBlock>, Vec<u8>) {
        let blocks = vec![
            XrBlock::ReferenceTime { ntp: 0x1122_3344_5566_7788 },
            XrBlock::Dlrr { ssrc: 7, last_rr: 8, delay_since_last_rr: 9 },
            XrBlock::VoipMetrics(metrics()),
        ];
        let mut bytes = Vec::new();
        write_xr(99, &blocks, &mut bytes);
        (blocks, bytes)
    }

    #[test]
    fn blocks_have_the_lengths_of_the_rfc_and_read_back() {
        let (blocks, bytes) = sample();
        assert_eq!(bytes.len(), 8 + 12 + 16 + 36);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) * 4 + 4, bytes.len());
        assert_eq!(parse_xr(&bytes[4..]), Ok((99, blocks)));
        let mut nothing = Vec::new();
        write_xr(99, &[], &mut nothing);
        assert!(nothing.is_empty());
    }

    #[test]
    fn unknown_blocks_and_blocks_of_a_wrong_length_are_passed_over() {
        let (blocks, bytes) = sample();
        let mut odd = bytes[4..8].to_vec();
        odd.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0]);
        odd.extend_from_slice(&[REFERENCE_TIME, 0, 0, 1, 0, 0, 0, 0]);
        odd.extend_from_slice(&[DLRR, 0, 0, 0]);
        odd.extend_from_slice(&bytes[8..]);
        assert_eq!(parse_xr(&odd), Ok((99, blocks)));
        assert_eq!(parse_xr(&[0, 0, 0, 1, VOIP_METRICS, 0, 0xFF, 0xFF]), Err(RtcpError::Short));
        assert_eq!(parse_xr(&[0, 0, 0]), Err(RtcpError::Short));
    }

    #[test]
    fn many_blocks_are_cut_off_at_the_limit() {
        let mut flood = vec![0, 0, 0, 1];
        flood.extend_from_slice(&[DLRR, 0, 0, 90]);
        flood.extend_from_slice(&[7; 360]);
        for _ in 0..40 {
            flood.extend_from_slice(&[REFERENCE_TIME, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(parse_xr(&flood).unwrap().1.len(), 2 * RTCP_XR_BLOCKS_MAX - 1);
    }
}
