//! Parsing of compound packets.

use super::{
    BYE, RR, ReportBlock, SR, SenderInfo, XR,
    xr::{XrBlock, parse_xr},
};
use crate::limits::{RTCP_LEN_MAX, RTCP_PACKETS_MAX, RTCP_REPORTS_MAX};

/// Why bytes are no RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Shorter than a length field says.
    #[error("RTCP packet cut short")]
    Short,
    /// The version is not 2.
    #[error("not RTCP version 2")]
    Version,
    /// A compound begins with an SR or RR (RFC 3550 §6.1); anything else is refused.
    #[error("RTCP compound does not begin with a report")]
    Kind,
}

/// One packet of a compound; kinds we have no use for are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rtcp {
    /// Sender report.
    SenderReport {
        /// Who sends it.
        ssrc: u32,
        /// What it sent.
        sender: SenderInfo,
        /// What it received.
        reports: Vec<ReportBlock>,
    },
    /// Receiver report.
    ReceiverReport {
        /// Who sends it.
        ssrc: u32,
        /// What it received.
        reports: Vec<ReportBlock>,
    },
    /// The sources leave.
    Bye {
        /// Which.
        ssrcs: Vec<u32>,
    },
    /// Extended report.
    ExtendedReport {
        /// Who sends it.
        ssrc: u32,
        /// What it says.
        blocks: Vec<XrBlock>,
    },
}

impl Rtcp {
    /// The SSRC of who sent it; 0 for a BYE that names none.
    #[must_use]
    pub fn sender(&self) -> u32 {
        match self {
            Self::SenderReport { ssrc, .. } | Self::ReceiverReport { ssrc, .. } | Self::ExtendedReport { ssrc, .. } => {
                *ssrc
            }
            Self::Bye { ssrcs } => ssrcs.first().copied().unwrap_or(0),
        }
    }
}

/// Reads a compound packet, up to the package's limits.
///
/// # Errors
/// See [`RtcpError`].
pub fn parse(bytes: &[u8]) -> Result<Vec<Rtcp>, RtcpError> {
    let mut rest = &bytes[..bytes.len().min(RTCP_LEN_MAX)];
    let mut packets = Vec::new();
    for index in 0..RTCP_PACKETS_MAX {
        if rest.is_empty() && index > 0 {
            break;
        }
        let (head, _) = rest.split_first_chunk::<4>().ok_or(RtcpError::Short)?;
        if head[0] >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        if index == 0 && !matches!(head[1], SR | RR) {
            return Err(RtcpError::Kind);
        }
        let len = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        let body = rest.get(4..len).ok_or(RtcpError::Short)?;
        rest = &rest[len..];
        let count = usize::from(head[0] & 0x1F);
        match head[1] {
            SR => packets.push(sender_report(body, count)?),
            RR => packets.push(receiver_report(body, count)?),
            BYE => packets.push(bye(body, count)?),
            // A broken extension takes no report along.
            XR => packets.extend(parse_xr(body).ok().map(|(ssrc, blocks)| Rtcp::ExtendedReport { ssrc, blocks })),
            _ => {}
        }
    }
    Ok(packets)
}

pub(super) fn word(bytes: &[u8], index: usize) -> Result<u32, RtcpError> {
    let at = bytes.get(index * 4..index * 4 + 4).ok_or(RtcpError::Short)?;
    Ok(u32::from_be_bytes([at[0], at[1], at[2], at[3]]))
}

fn sender_report(body: &[u8], count: usize) -> Result<Rtcp, RtcpError> {
    let sender = SenderInfo {
        ntp: (u64::from(word(body, 1)?) << 32) | u64::from(word(body, 2)?),
        timestamp: word(body, 3)?,
        packets: word(body, 4)?,
        octets: word(body, 5)?,
    };
    let reports = blocks(body.get(24..).ok_or(RtcpError::Short)?, count)?;
    Ok(Rtcp::SenderReport { ssrc: word(body, 0)?, sender, reports })
}

fn receiver_report(body: &[u8], count: usize) -> Result<Rtcp, RtcpError> {
    let reports = blocks(body.get(4..).ok_or(RtcpError::Short)?, count)?;
    Ok(Rtcp::ReceiverReport { ssrc: word(body, 0)?, reports })
}

fn blocks(body: &[u8], count: usize) -> Result<Vec<ReportBlock>, RtcpError> {
    let mut reports = Vec::new();
    for index in 0..count.min(RTCP_REPORTS_MAX) {
        let at = |n: usize| word(body, index * 6 + n);
        let loss = at(1)?;
        reports.push(ReportBlock {
            ssrc: at(0)?,
            fraction_lost: (loss >> 24) as u8,
            // 24 bits, sign kept by shifting it to the top and back.
            lost: ((loss << 8) as i32) >> 8,
            extended_max: at(2)?,
            jitter: at(3)?,
            last_sr: at(4)?,
            delay_since_last_sr: at(5)?,
        });
    }
    Ok(reports)
}

fn bye(body: &[u8], count: usize) -> Result<Rtcp, RtcpError> {
    let ssrcs = (0..count).map(|index| word(body, index)).collect::<Result<_, _>>()?;
    Ok(Rtcp::Bye { ssrcs })
}

#[cfg(test)]
mod tests {
    use super::super::{CompoundReport, write_report};
    use super::*;

    const XR_BLOCKS: [XrBlock; 1] = [XrBlock::ReferenceTime { ntp: 3 }];

    fn sample() -> (SenderInfo, ReportBlock, Vec<u8>) {
        let sender = SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: 9, packets: 10, octets: 1600 };
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: 12,
            lost: -3,
            extended_max: 70_000,
            jitter: 4,
            last_sr: 6,
            delay_since_last_sr: 7,
        };
        let mut bytes = Vec::new();
        let report = CompoundReport {
            ssrc: 1,
            sender: Some(sender),
            report: Some(block),
            cname: "abc",
            xr: &XR_BLOCKS,
            bye: true,
        };
        write_report(&report, &mut bytes);
        (sender, block, bytes)
    }

    #[test]
    fn a_compound_report_reads_back() {
        let (sender, block, bytes) = sample();
        assert!(bytes.len().is_multiple_of(4));
        let packets = parse(&bytes).unwrap();
        assert_eq!(
            packets,
            [
                Rtcp::SenderReport { ssrc: 1, sender, reports: vec![block] },
                Rtcp::ExtendedReport { ssrc: 1, blocks: XR_BLOCKS.to_vec() },
                Rtcp::Bye { ssrcs: vec![1] },
            ]
        );
        assert_eq!(sender.ntp_middle(), 0x0304_0506);
        let mut empty = Vec::new();
        write_report(
            &CompoundReport { ssrc: 2, sender: None, report: None, cname: "", xr: &[], bye: false },
            &mut empty,
        );
        assert_eq!(parse(&empty).unwrap(), [Rtcp::ReceiverReport { ssrc: 2, reports: vec![] }]);
    }

    #[test]
    fn truncated_and_mutated_reports_are_errors_or_values_never_panics() {
        let (_, _, bytes) = sample();
        for len in 0..bytes.len() {
            let _ = parse(&bytes[..len]);
        }
        let mut state = 0x9E37_79B9u32;
        for _ in 0..20_000 {
            let mut mutated = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % mutated.len();
                mutated[at] = state as u8;
            }
            let _ = parse(&mutated);
        }
        assert_eq!(parse(&[]), Err(RtcpError::Short));
        assert_eq!(parse(&[0x80, 203, 0, 0]), Err(RtcpError::Kind));
    }
}
