//! RTCP (RFC 3550 §6): sender and receiver reports, SDES CNAME, BYE and extended reports (RFC 3611), built and
//! parsed. Reduced-size packets (RFC 5506) are never agreed on and refused.

mod build;
mod parse;
mod xr;

pub use build::{CompoundReport, write_report};
pub use parse::{Rtcp, RtcpError, parse};
pub use xr::{VoipMetrics, XrBlock};

/// One report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream reported on.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all; 24 bits, signed.
    pub lost: i32,
    /// Highest sequence number with cycles.
    pub extended_max: u32,
    /// Jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time; 0 without one.
    pub last_sr: u32,
    /// Delay since that SR in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// What a sender report says of its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP timestamp, 32.32.
    pub ntp: u64,
    /// The same moment as RTP timestamp.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

impl SenderInfo {
    /// Middle 32 bits of the NTP time, as receivers echo it.
    #[must_use]
    pub fn ntp_middle(&self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const XR: u8 = 207;
