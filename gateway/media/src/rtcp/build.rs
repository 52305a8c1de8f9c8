//! Building of compound packets.

use super::{BYE, RR, ReportBlock, SDES, SR, SenderInfo, XrBlock, xr::write_xr};

/// What one compound packet is to say.
#[derive(Clone, Copy, Debug)]
pub struct CompoundReport<'a> {
    /// Our SSRC.
    pub ssrc: u32,
    /// Present if we sent since the last report: makes it an SR, otherwise an RR.
    pub sender: Option<SenderInfo>,
    /// On the stream we receive, if any.
    pub report: Option<ReportBlock>,
    /// Canonical name (RFC 3550 §6.5.1), at most 255 bytes used.
    pub cname: &'a str,
    /// Extended report blocks; with none there is no XR packet.
    pub xr: &'a [XrBlock],
    /// Adds a BYE.
    pub bye: bool,
}

/// Appends a compound packet (SR or RR, SDES, perhaps XR and BYE) to `out`.
pub fn write_report(report: &CompoundReport<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let count = u8::from(report.report.is_some());
    let kind = if report.sender.is_some() { SR } else { RR };
    out.extend_from_slice(&[0x80 | count, kind, 0, 0]);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    if let Some(sender) = &report.sender {
        out.extend_from_slice(&sender.ntp.to_be_bytes());
        for word in [sender.timestamp, sender.packets, sender.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    if let Some(block) = &report.report {
        write_block(block, out);
    }
    close(start, out);

    let start = out.len();
    out.extend_from_slice(&[0x81, SDES, 0, 0]);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    let name = &report.cname.as_bytes()[..report.cname.len().min(255)];
    out.extend_from_slice(&[1, name.len() as u8]);
    out.extend_from_slice(name);
    // At least one zero ends the chunk, then up to the next word.
    out.push(0);
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
    close(start, out);

    write_xr(report.ssrc, report.xr, out);

    if report.bye {
        let start = out.len();
        out.extend_from_slice(&[0x81, BYE, 0, 0]);
        out.extend_from_slice(&report.ssrc.to_be_bytes());
        close(start, out);
    }
}

fn write_block(block: &ReportBlock, out: &mut Vec<u8>) {
    out.extend_from_slice(&block.ssrc.to_be_bytes());
    let lost = block.lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
    out.extend_from_slice(&((u32::from(block.fraction_lost) << 24) | lost).to_be_bytes());
    for word in [block.extended_max, block.jitter, block.last_sr, block.delay_since_last_sr] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Writes the length field: words minus one.
pub(super) fn close(start: usize, out: &mut [u8]) {
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}
