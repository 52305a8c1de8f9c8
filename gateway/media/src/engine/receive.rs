//! A received RTP packet's way through the engine.

use std::{net::SocketAddr, time::Instant};

use super::{
    AudioFault, Engine, Event, Totals,
    leg::{Kind, Leg},
    output::Outbox,
};
use crate::{
    Codec, LegId,
    dtmf::Digit,
    latch::Admission,
    limits::{SAMPLE_RATE_HZ, SAMPLES_PER_MS},
    recorder::{Audio, Channel, Origin, Packet as RecorderPacket, Placed, Stamp},
    rtp::{Packet, PacketError, Source, Verdict},
};

/// What is left to do with an accepted packet.
struct Accepted {
    kind: Kind,
    in_order: bool,
}

impl Engine {
    pub(super) fn handle_rtp(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8]) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(PacketError::Rtcp) => return self.handle_rtcp(now, id, from, bytes),
            Err(_) => {
                leg.dropped += 1;
                self.totals.malformed += 1;
                return;
            }
        };
        if leg.kind(packet.header.payload_type).is_none() {
            return self.pass_over(now, id, from, &packet);
        }
        let arrival = now.saturating_duration_since(self.started).as_nanos() * u128::from(SAMPLES_PER_MS) / 1_000_000;
        let Some(accepted) = accept(leg, now, from, &packet, arrival as u64, &mut self.totals, &mut self.out) else {
            leg.dropped += 1;
            return;
        };
        leg.packets_in += 1;
        self.totals.packets_in += 1;
        if !leg.params.as_ref().is_some_and(|params| params.recv) {
            return;
        }
        match accepted.kind {
            Kind::Audio(codec) => {
                leg.is_noise = false;
                if leg.is_listened_to {
                    leg.listen(now, codec, packet.payload, &mut self.out);
                }
                if !codec.is_g711() {
                    self.decode_to_record(id, codec, packet.payload, accepted.in_order);
                }
                let Some(leg) = self.legs.get_mut(&id) else {
                    return;
                };
                let audio = audio_of(codec, packet.payload, &self.pcm);
                record_received(leg, now, &packet, codec, audio, accepted.in_order, &mut self.totals);
                leg.inband.receive(now, codec, packet.header.timestamp, packet.payload, |digit| {
                    report_digits(id, [Some(digit)], &mut self.out);
                });
                if let Some(playout) = &mut leg.playout {
                    playout.insert(now, codec, &packet);
                }
                if codec != leg.codec_in {
                    self.change_codec_in(now, id, codec);
                }
                self.relay(now, id, &packet, Some(codec));
            }
            Kind::Event(clock_hz) => {
                let header = &packet.header;
                leg.event_clock_in = clock_hz;
                leg.inband.give_way();
                let before = leg.dtmf.presses();
                let digits = leg.dtmf.receive(now, header.ssrc, header.timestamp, packet.payload);
                let digits = digits.map(|digit| leg.digit(digit));
                let presses = [before, leg.dtmf.presses()];
                report_digits(id, digits, &mut self.out);
                let digits = presses.into_iter().zip(digits).filter_map(|(press, digit)| Some((press, digit?)));
                self.pass_digits(now, id, digits);
                self.relay(now, id, &packet, None);
            }
            Kind::ComfortNoise => {
                leg.is_noise = true;
                if leg.is_listened_to {
                    leg.listen_to_noise(now, packet.payload, &mut self.out);
                }
                if let Some(playout) = &mut leg.playout {
                    playout.insert_comfort(now, &packet);
                }
                self.leave_out(id, &packet);
            }
        }
    }
}

impl Engine {
    /// A packet of a type nobody agreed on: nothing of it is used, but it isn't lost, either.
    fn pass_over(&mut self, now: Instant, id: LegId, from: SocketAddr, packet: &Packet<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.dropped += 1;
        self.totals.dropped_other += 1;
        let (ssrc, seq) = (packet.header.ssrc, packet.header.seq);
        if !leg.latch.as_mut().is_some_and(|latch| latch.is_known(now, from, ssrc, seq)) {
            return;
        }
        let verdict = leg.source.as_mut().filter(|source| source.ssrc == ssrc).map(|source| source.count(seq));
        if let Some(Verdict::New { lost }) = verdict {
            if lost > 0 {
                note_hole(leg, lost);
            }
            self.leave_out(id, packet);
        }
    }

    /// Fills `pcm` where a recording needs it: the leg's own, or that of the leg its packets go to.
    fn decode_to_record(&mut self, id: LegId, codec: Codec, payload: &[u8], in_order: bool) {
        self.pcm.clear();
        let is_recorded = |id: &LegId| self.legs.get(id).is_some_and(|leg| leg.recording.is_some());
        let peer = self.legs.get(&id).and_then(|leg| leg.peer);
        // A decoder can't go back: what comes out of order stays silent.
        if !in_order || !(is_recorded(&id) || peer.as_ref().is_some_and(is_recorded)) {
            return;
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.decode(codec, payload, &mut self.pcm);
        }
    }
}

/// What a recording takes of a packet.
pub(super) const fn audio_of<'a>(codec: Codec, payload: &'a [u8], pcm: &'a Vec<i16>) -> Audio<'a> {
    if codec.is_g711() { Audio::G711 { codec, payload } } else { Audio::Linear(pcm.as_slice()) }
}

pub(super) fn report_digits(leg: LegId, digits: impl IntoIterator<Item = Option<Digit>>, out: &mut Outbox) {
    for Digit { digit, duration_ms } in digits.into_iter().flatten() {
        out.event(Event::Digit { leg, digit, duration_ms });
    }
}

/// The guards: payload type, source address, stream, sequence number. `None`: refused, counted.
fn accept(
    leg: &mut Leg,
    now: Instant,
    from: SocketAddr,
    packet: &Packet<'_>,
    arrival: u64,
    totals: &mut Totals,
    out: &mut Outbox,
) -> Option<Accepted> {
    let header = &packet.header;
    let (Some(kind), Some(latch)) = (leg.kind(header.payload_type), leg.latch.as_mut()) else {
        totals.dropped_other += 1;
        return None;
    };
    let admission = latch.admit(now, from, header.ssrc, header.seq);
    match admission {
        // Whoever was learnt before and reported to us may be another's peer by now.
        Admission::Learned => leg.forget_reports(now, out),
        Admission::NewStream | Admission::Known => {}
        Admission::Foreign => {
            totals.dropped_foreign += 1;
            return None;
        }
        Admission::Probation => {
            totals.dropped_other += 1;
            return None;
        }
    }
    if leg.source.as_ref().is_none_or(|source| source.ssrc != header.ssrc) {
        let lost = leg.source.as_ref().map_or(0, Source::lost);
        leg.lost_before += lost;
        leg.source = Some(Source::new(header.ssrc, header.seq));
    }
    let source = leg.source.as_mut()?;
    let verdict = match kind {
        Kind::Audio(codec) => {
            let arrival = arrival * u64::from(codec.rtp_clock_hz() / SAMPLE_RATE_HZ);
            source.receive(header.seq, header.timestamp, arrival)
        }
        Kind::Event(_) | Kind::ComfortNoise => source.count(header.seq),
    };
    if leg.packets_in == 0 {
        out.event(Event::FirstPacket { leg: leg.id });
    }
    leg.last_source = Some(from);
    leg.heard_at = now;
    if std::mem::take(&mut leg.silent) {
        out.event(Event::Resumed { leg: leg.id });
        leg.watch.restore(now, leg.id, AudioFault::NoRtp, out);
    }
    if let Verdict::New { lost: lost @ 1.. } = verdict {
        note_hole(leg, lost);
    }
    match verdict {
        Verdict::TooOld => totals.late += 1,
        Verdict::Duplicate | Verdict::Jump => totals.dropped_other += 1,
        Verdict::New { .. } | Verdict::Reordered | Verdict::Restarted => {
            return Some(Accepted { kind, in_order: verdict != Verdict::Reordered });
        }
    }
    None
}

fn note_hole(leg: &mut Leg, lost: u16) {
    let received = leg.packets_in - std::mem::replace(&mut leg.watch.hole_at, leg.packets_in);
    leg.watch.bursts.hole(received, u64::from(lost));
}

fn record_received(
    leg: &mut Leg,
    now: Instant,
    packet: &Packet<'_>,
    codec: Codec,
    audio: Audio<'_>,
    in_order: bool,
    totals: &mut Totals,
) {
    let Some(recording) = leg.recording.as_mut().filter(|_| !audio.is_empty()) else {
        return;
    };
    let header = &packet.header;
    let (ssrc, timestamp, marker) = (header.ssrc, header.timestamp, header.marker);
    let stamp = Stamp { ssrc, timestamp, clock_hz: codec.rtp_clock_hz(), marker, in_order, origin: Origin::Peer };
    let placed = recording.place(now, &RecorderPacket { channel: Channel::Received, stamp, audio });
    if placed == Placed::TooLate {
        totals.late += 1;
    }
}
