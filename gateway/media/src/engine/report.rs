//! RTCP: taking the peer's reports and sending ours.

use std::{net::SocketAddr, time::Instant};

use super::{Engine, command::rtcp_port, leg::Leg};
use crate::{
    LegId,
    limits::RTCP_INTERVAL_MS,
    rtcp::{self, CompoundReport, ReportBlock, Rtcp, SenderInfo},
};

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_UNIX_OFFSET_S: u64 = 2_208_988_800;

impl Engine {
    pub(super) fn handle_rtcp(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8]) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let Ok(packets) = rtcp::parse(bytes) else {
            self.totals.malformed += 1;
            return;
        };
        // Reports teach an address only for the peer media was learnt from.
        let is_peer =
            leg.latch.as_ref().is_some_and(|latch| latch.is_learnt() && latch.ip() == Some(from.ip().to_canonical()));
        if !is_peer {
            self.totals.dropped_foreign += 1;
            return;
        }
        leg.rtcp_source = Some(from);
        for packet in packets {
            if let Rtcp::SenderReport { sender, .. } = packet {
                leg.last_sr = Some((sender.ntp_middle(), now));
            }
        }
    }

    /// Sends a report of `leg`, with a BYE if it is the last.
    pub(super) fn send_report(&mut self, now: Instant, leg: &mut Leg, bye: bool) {
        let interval_ms = RTCP_INTERVAL_MS / 2 + self.random.next() % RTCP_INTERVAL_MS;
        leg.rtcp_due = now + std::time::Duration::from_millis(interval_ms);
        let Some((to, is_mux)) = rtcp_target(leg) else {
            return;
        };
        let elapsed_us = now.saturating_duration_since(self.started).as_micros();
        let sender = (leg.packets_out > leg.reported_out).then(|| SenderInfo {
            ntp: ntp(self.cfg.unix_ms, elapsed_us),
            timestamp: leg.out.timestamp_at(now),
            packets: leg.packets_out as u32,
            octets: leg.octets_out as u32,
        });
        leg.reported_out = leg.packets_out;
        let last_sr = leg.last_sr;
        let report = leg.source.as_mut().map(|source| ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: source.take_fraction_lost(),
            lost: i32::try_from(source.lost()).unwrap_or(i32::MAX),
            extended_max: source.extended_max(),
            jitter: source.jitter_samples(),
            last_sr: last_sr.map_or(0, |(ntp, _)| ntp),
            delay_since_last_sr: last_sr.map_or(0, |(_, at)| delay_65536(at, now)),
        });
        // The name identifies the stream, not a person or a host (RFC 7022).
        let cname = format!("{:08x}@hotline", leg.out.ssrc());
        let compound = CompoundReport { ssrc: leg.out.ssrc(), sender, report, cname: &cname, xr: &[], bye };
        let srtp = leg.srtp.as_deref_mut();
        self.out.packet(leg.id, rtcp_port(is_mux), to, |bytes| {
            let start = bytes.len();
            rtcp::write_report(&compound, bytes);
            srtp.is_none_or(|secured| secured.protector.protect_rtcp(bytes, start).is_ok())
        });
    }
}

/// Where reports go: to the media's own host, never anywhere else. Second: share the RTP port.
fn rtcp_target(leg: &Leg) -> Option<(SocketAddr, bool)> {
    let params = leg.params.as_ref()?;
    let media = leg.latch.as_ref()?.target()?;
    if params.remote_rtcp == Some(params.remote) {
        return Some((media, true));
    }
    if let Some(source) = leg.rtcp_source.filter(|source| source.ip().to_canonical() == media.ip().to_canonical()) {
        return Some((source, false));
    }
    if media.ip() != params.remote.ip() {
        return None;
    }
    let next_port = params.remote.port().checked_add(1).map(|port| SocketAddr::new(media.ip(), port));
    let announced = params.remote_rtcp.filter(|rtcp| rtcp.port() != 0 && !rtcp.ip().is_unspecified());
    announced.or(next_port).map(|to| (to, false))
}

fn ntp(unix_ms: u64, elapsed_us: u128) -> u64 {
    let us = u128::from(unix_ms) * 1000 + elapsed_us;
    let seconds = (us / 1_000_000) as u64 + NTP_UNIX_OFFSET_S;
    let fraction = ((us % 1_000_000) << 32) / 1_000_000;
    (seconds << 32) | fraction as u64
}

fn delay_65536(at: Instant, now: Instant) -> u32 {
    let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
    u32::try_from(delay).unwrap_or(u32::MAX)
}
