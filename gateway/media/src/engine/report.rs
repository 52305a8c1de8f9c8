//! RTCP: taking the peer's reports and sending ours.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{AudioFault, Engine, command::rtcp_port, leg::Leg, output::Outbox, watch::PeerClock};
use crate::{
    LegId,
    limits::{FRAME_MS, RTCP_INTERVAL_MS, UNHEARD_PACKETS_MIN, UNHEARD_REPORTS},
    quality::PeerView,
    rtcp::{self, CompoundReport, ReportBlock, Rtcp, SenderInfo, VoipMetrics, XrBlock},
};

/// "Unavailable" in VoIP metrics (RFC 3611 §4.7.5).
const UNKNOWN: u8 = 127;

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
        let announced = leg.params.as_ref().and_then(|params| params.remote_rtcp);
        let sender = packets.first().map_or(0, Rtcp::sender);
        if !leg.latch.as_mut().is_some_and(|latch| latch.admit_rtcp(from, sender, announced)) {
            self.totals.dropped_foreign += 1;
            return;
        }
        leg.rtcp_source = Some(from);
        let clock = ntp_middle(ntp(self.cfg.unix_ms, now.saturating_duration_since(self.started).as_micros()));
        for packet in packets {
            match packet {
                Rtcp::SenderReport { sender, reports, .. } => {
                    leg.last_sr = Some((sender.ntp_middle(), now));
                    take_reports(leg, now, clock, &reports, &mut self.out);
                }
                Rtcp::ReceiverReport { reports, .. } => {
                    take_reports(leg, now, clock, &reports, &mut self.out);
                }
                // RFC 3550 §6.6: nothing more is expected of that stream, so nothing is reported on it.
                Rtcp::Bye { ssrcs } => {
                    if leg.source.as_ref().is_some_and(|source| ssrcs.contains(&source.ssrc)) {
                        leg.watch.left_at = Some(leg.packets_in);
                    }
                }
                Rtcp::ExtendedReport { ssrc, blocks } => take_extended(leg, now, clock, ssrc, &blocks),
            }
        }
    }

    /// Sends a report of `leg`, with a BYE if it is the last.
    pub(super) fn send_report(&mut self, now: Instant, leg: &mut Leg, bye: bool) {
        leg.rtcp_due = now + Duration::from_millis(report_interval_ms(self.random.next()));
        let Some((to, is_mux)) = rtcp_target(leg) else {
            return;
        };
        let ntp = ntp(self.cfg.unix_ms, now.saturating_duration_since(self.started).as_micros());
        let sender = (leg.packets_out > leg.reported_out).then(|| SenderInfo {
            ntp,
            timestamp: leg.out.timestamp_at(now),
            packets: leg.packets_out as u32,
            octets: leg.octets_out as u32,
        });
        leg.reported_out = leg.packets_out;
        let last_sr = leg.last_sr;
        let has_left = leg.watch.left_at == Some(leg.packets_in);
        let report = leg.source.as_mut().filter(|_| !has_left).map(|source| ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: source.take_fraction_lost(),
            lost: i32::try_from(source.lost()).unwrap_or(i32::MAX),
            extended_max: source.extended_max(),
            jitter: source.jitter_samples(),
            last_sr: last_sr.map_or(0, |(ntp, _)| ntp),
            delay_since_last_sr: last_sr.map_or(0, |(_, at)| delay_65536(at, now)),
        });
        let (xr, xr_len) = extended(leg, now, ntp, self.cfg.rtcp_xr);
        if sender.is_some() || xr[..xr_len].iter().any(|block| matches!(block, XrBlock::ReferenceTime { .. })) {
            leg.watch.note_clock(ntp_middle(ntp));
        }
        // The name identifies the stream, not a person or a host (RFC 7022).
        let cname = format!("{:08x}@hotline", leg.out.ssrc());
        let compound = CompoundReport { ssrc: leg.out.ssrc(), sender, report, cname: &cname, xr: &xr[..xr_len], bye };
        let srtp = leg.srtp.as_deref_mut();
        self.out.packet(leg.id, rtcp_port(is_mux), to, |bytes| {
            let start = bytes.len();
            rtcp::write_report(&compound, bytes);
            srtp.is_none_or(|secured| secured.protector.protect_rtcp(bytes, start).is_ok())
        });
    }
}

/// RFC 3550 §6.3.1 and A.7: half to one and a half of the interval, over e − 3/2. Two members' reports stay far
/// below 5 % of a voice stream, so that the minimum of five seconds is the interval.
fn report_interval_ms(random: u64) -> u64 {
    (RTCP_INTERVAL_MS / 2 + random % RTCP_INTERVAL_MS) * 100_000 / 121_828
}

/// The report blocks of one SR or RR: what the peer says of our stream.
fn take_reports(leg: &mut Leg, now: Instant, clock: u32, reports: &[ReportBlock], out: &mut Outbox) {
    let packets = leg.packets_out.saturating_sub(leg.watch.reported_at);
    let own = reports.iter().find(|block| block.ssrc == leg.out.ssrc());
    if let (Some(block), Some(codec)) = (own, leg.codec()) {
        if block.last_sr != 0 && leg.watch.sent_clock(block.last_sr) {
            leg.watch.meter.round_trip(round_trip_ms(clock, block.last_sr, block.delay_since_last_sr));
        }
        let jitter_us = block.jitter.saturating_mul(125) / leg.out.scale();
        let view = PeerView { fraction_lost: block.fraction_lost, lost: block.lost, jitter_us, packets };
        leg.watch.meter.report(&view, codec);
    }
    if packets < UNHEARD_PACKETS_MIN {
        return;
    }
    leg.watch.reported_at = leg.packets_out;
    let before = leg.watch.peer_max;
    let max = own.map(|block| block.extended_max);
    if max.is_some() && max != before {
        leg.watch.peer_max = max;
        leg.watch.unheard = 0;
        leg.watch.restore(now, leg.id, AudioFault::NotHeard, out);
    } else if before.is_some() {
        // Reports without a block of somebody who never sent one prove nothing: simple gateways send no others.
        leg.watch.unheard = leg.watch.unheard.saturating_add(1);
        if leg.watch.unheard >= UNHEARD_REPORTS {
            leg.watch.raise(now, leg.id, AudioFault::NotHeard, out);
        }
    }
}

fn take_extended(leg: &mut Leg, now: Instant, clock: u32, ssrc: u32, blocks: &[XrBlock]) {
    for block in blocks {
        match *block {
            XrBlock::ReferenceTime { ntp } => {
                leg.watch.peer_clock = Some(PeerClock { ssrc, ntp_middle: ntp_middle(ntp), at: now });
            }
            XrBlock::Dlrr { ssrc, last_rr, delay_since_last_rr } => {
                if ssrc == leg.out.ssrc() && last_rr != 0 && leg.watch.sent_clock(last_rr) {
                    leg.watch.meter.round_trip(round_trip_ms(clock, last_rr, delay_since_last_rr));
                }
            }
            XrBlock::VoipMetrics(metrics) => {
                if metrics.ssrc == leg.out.ssrc() {
                    leg.watch.meter.peer_playout(metrics.discard_rate, metrics.playout_ms);
                }
            }
        }
    }
}

/// The extended report blocks due on a leg, and how many.
fn extended(leg: &Leg, now: Instant, ntp: u64, always: bool) -> ([XrBlock; 3], usize) {
    let mut blocks = [XrBlock::ReferenceTime { ntp }; 3];
    let mut len = 0;
    let mut push = |block| {
        blocks[len] = block;
        len += 1;
    };
    let wish = leg.params.as_ref().map(|params| params.xr).unwrap_or_default();
    if wish.reference_time || always {
        push(XrBlock::ReferenceTime { ntp });
    }
    if let Some(PeerClock { ssrc, ntp_middle, at }) = leg.watch.peer_clock {
        push(XrBlock::Dlrr { ssrc, last_rr: ntp_middle, delay_since_last_rr: delay_65536(at, now) });
    }
    if let Some(source) = leg.source.as_ref().filter(|_| wish.voip_metrics || always) {
        push(XrBlock::VoipMetrics(voip_metrics(leg, source.ssrc)));
    }
    (blocks, len)
}

/// What we hear of the peer, in the words of RFC 3611 §4.7.
fn voip_metrics(leg: &Leg, ssrc: u32) -> VoipMetrics {
    let (reception, quality) = (leg.reception(), leg.quality());
    let expected = reception.received + reception.lost;
    let bursts = reception.bursts.summary(reception.received.saturating_sub(leg.watch.hole_at), FRAME_MS);
    let score = quality.received.mos_x100;
    let tenths = score.map_or(UNKNOWN, |mos| (mos / 10) as u8);
    let short = |ms: u32| u16::try_from(ms).unwrap_or(u16::MAX);
    VoipMetrics {
        ssrc,
        loss_rate: (reception.lost * 256).checked_div(expected).map_or(0, |rate| rate.min(255) as u8),
        discard_rate: (reception.discarded * 256).checked_div(expected).map_or(0, |rate| rate.min(255) as u8),
        burst_density: bursts.burst_density,
        gap_density: bursts.gap_density,
        burst_ms: bursts.burst_ms,
        gap_ms: bursts.gap_ms,
        round_trip_ms: short(quality.rtt_ms.unwrap_or(0)),
        end_system_ms: short(FRAME_MS as u32),
        r_factor: UNKNOWN,
        mos_lq_x10: UNKNOWN,
        mos_cq_x10: tenths,
        playout_ms: short(quality.received.jitter_ms * 2),
        playout_max_ms: short(quality.received.jitter_max_ms * 2),
    }
}

/// RFC 3550 §6.4.1: arrival less the echoed clock less the delay at the peer. A negative one is a rounding.
fn round_trip_ms(clock: u32, echo: u32, delay: u32) -> u32 {
    let units = clock.wrapping_sub(echo).wrapping_sub(delay) as i32;
    let ms = i64::from(units.max(0)) * 1000 / 65_536;
    u32::try_from(ms).unwrap_or(u32::MAX)
}

const fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
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
    let is_proven = |rtcp: &SocketAddr| rtcp.ip() == media.ip() || params.trust.believes_sdp();
    let announced =
        params.remote_rtcp.filter(|rtcp| rtcp.port() != 0 && !rtcp.ip().is_unspecified() && is_proven(rtcp));
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
