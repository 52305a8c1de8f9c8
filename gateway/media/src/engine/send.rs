//! Sending: relayed packets at once, prompts and digits when the wheel says so. Whatever is sent
//! goes into the leg's recording, on the right.

use std::{net::SocketAddr, time::Instant};

use super::{
    Engine, Event, Totals,
    leg::{Leg, RelayedEvent},
    mix::is_relayed,
    output::{Outbox, Port},
    receive::audio_of,
    secure::seal,
};
use crate::{
    Codec, LegId, codec,
    dtmf::{Chunk, EventPayload},
    latch::Latch,
    limits::{DTMF_END_COPIES, FRAME_SAMPLES, SAMPLE_RATE_HZ},
    recorder::{Audio, Channel, Origin, Packet as RecorderPacket, Recording, Stamp},
    rtp::{Header, Packet},
};

impl Engine {
    /// Passes a packet of leg `from` on to the leg it is bridged with. `codec` is its coding, or
    /// `None` for an event.
    pub(super) fn relay(&mut self, now: Instant, from: LegId, packet: &Packet<'_>, codec: Option<Codec>) {
        let Some(to) = self.legs.get(&from).and_then(|leg| leg.peer) else {
            return;
        };
        let (event_clock, press) = self.legs.get(&from).map_or((0, 0), |leg| (leg.event_clock_in, leg.dtmf.presses()));
        let Some(leg) = self.legs.get_mut(&to) else {
            return;
        };
        let (Some(target), Some(params)) = (leg.target(), leg.params.as_ref()) else {
            return;
        };
        // Events of another clock are made anew when they have ended.
        if leg.is_occupied() || (codec.is_none() && params.dtmf_clock_hz != event_clock) {
            return;
        }
        let (own_codec, own_pt) = (params.codec, params.payload_type);
        let (payload_type, samples) = match (codec, params.dtmf_pt) {
            (Some(codec), _) if !is_relayed(codec, own_codec) => return leg.out.leave_out(from.0, &packet.header),
            (Some(codec), _) => (own_pt, codec::packet_samples(codec, packet.payload)),
            (None, Some(dtmf_pt)) => (dtmf_pt, 0),
            (None, None) => return leg.out.leave_out(from.0, &packet.header),
        };
        let Some(header) = leg.out.relay(now, from.0, &packet.header, payload_type, samples) else {
            self.totals.late += 1;
            return;
        };
        let srtp = leg.srtp.as_deref_mut();
        let sent = self.out.packet(to, Port::Rtp, target, |bytes| {
            let start = bytes.len();
            header.write(bytes);
            match codec {
                Some(codec) => codec::transcode_into(codec, own_codec, packet.payload, bytes),
                None => bytes.extend_from_slice(packet.payload),
            }
            seal(srtp, bytes, start)
        });
        if !sent {
            return;
        }
        count_sent(leg, &mut self.totals, packet.payload.len());
        if let (Some(codec), Some(recording)) = (codec, leg.recording.as_mut()) {
            // A straggler keeps its number; whether it is one shows in the source's numbers.
            let in_order = !is_straggler(&header, leg.newest_out);
            let stamp = Stamp { in_order, ..stamp_of(&header, codec) };
            record_sent(recording, now, stamp, audio_of(codec, packet.payload, &self.pcm));
        }
        if codec.is_none()
            && !is_straggler(&header, leg.newest_out)
            && let Some(payload) = EventPayload::parse(packet.payload)
        {
            leg.relayed_event = Some(RelayedEvent { from, press, timestamp: header.timestamp, payload });
        }
        note_newest(leg, &header);
    }

    /// Ends the event whose packets have been passed on to a leg so far, and from now on are not.
    pub(super) fn end_relayed_event(&mut self, id: LegId) {
        let Some(event) = self.legs.get(&id).and_then(|leg| leg.relayed_event).filter(|event| !event.payload.end)
        else {
            return;
        };
        // One that has ended without a word must not come to life again.
        let is_pressed = |leg: &Leg| leg.dtmf.presses() == event.press && leg.dtmf.poll_timeout().is_some();
        if !self.legs.get(&event.from).is_some_and(is_pressed) {
            return;
        }
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let (Some(target), Some(params)) = (leg.target(), leg.params.as_ref()) else {
            return;
        };
        let Some(dtmf_pt) = params.dtmf_pt else {
            return;
        };
        let samples = u32::from(event.payload.duration) / (params.dtmf_clock_hz / SAMPLE_RATE_HZ).max(1);
        let payload = EventPayload { end: true, ..event.payload };
        leg.relayed_event = Some(RelayedEvent { payload, ..event });
        let end = event.timestamp.wrapping_add(samples * leg.out.scale());
        for _ in 0..DTMF_END_COPIES {
            let header = leg.out.own_at(dtmf_pt, event.timestamp, false, end);
            write_event(leg, target, &header, payload, &mut self.totals, &mut self.out);
        }
    }

    /// A packet of leg `from` that came, but isn't for the leg it is bridged with.
    pub(super) fn leave_out(&mut self, from: LegId, packet: &Packet<'_>) {
        let peer = self.legs.get(&from).and_then(|leg| leg.peer);
        if let Some(leg) = peer.and_then(|peer| self.legs.get_mut(&peer)) {
            leg.out.leave_out(from.0, &packet.header);
        }
    }

    /// Serves the legs of one phase: 20 ms of prompt or digit for each. `at` is the scheduled
    /// time, so that timestamps and recordings know nothing of a late thread.
    pub(super) fn serve_slot(&mut self, slot: usize, at: Instant) {
        for index in (0..self.wheel.legs(slot).len()).rev() {
            let id = self.wheel.legs(slot)[index];
            let is_idle = match self.legs.get_mut(&id) {
                Some(leg) => {
                    // Prompts of a mixed leg keep to the mix's rhythm.
                    if !leg.is_mixed {
                        serve(leg, at, &mut self.totals, &mut self.out);
                    }
                    if leg.is_mixed || !leg.is_occupied() {
                        leg.phase = None;
                    }
                    leg.phase.is_none()
                }
                None => true,
            };
            // From the back: the leg that takes a removed one's place has been served.
            if is_idle {
                self.wheel.remove_at(slot, index);
            }
        }
    }
}

fn is_straggler(header: &Header, newest: Option<u16>) -> bool {
    newest.is_some_and(|newest| (header.seq.wrapping_sub(newest) as i16) < 0)
}

fn stamp_of(header: &Header, codec: Codec) -> Stamp {
    let Header { ssrc, timestamp, marker, .. } = *header;
    Stamp { ssrc, timestamp, clock_hz: codec.rtp_clock_hz(), marker, in_order: true, origin: Origin::Peer }
}

fn record_sent(recording: &mut Recording, now: Instant, stamp: Stamp, audio: Audio<'_>) {
    if !audio.is_empty() {
        recording.place(now, &RecorderPacket { channel: Channel::Sent, stamp, audio });
    }
}

fn note_newest(leg: &mut Leg, header: &Header) {
    if !is_straggler(header, leg.newest_out) {
        leg.newest_out = Some(header.seq);
    }
}

fn count_sent(leg: &mut Leg, totals: &mut Totals, payload_len: usize) {
    leg.packets_out += 1;
    leg.octets_out += payload_len as u64;
    totals.packets_out += 1;
}

pub(super) fn serve(leg: &mut Leg, at: Instant, totals: &mut Totals, out: &mut Outbox) {
    if leg.digits.is_busy() {
        let dtmf_pt = leg.params.as_ref().and_then(|params| params.dtmf_pt);
        match leg.digits.next_chunk(dtmf_pt.is_some()) {
            Some(Chunk::Event { payload, first }) => {
                if let Some(dtmf_pt) = dtmf_pt {
                    send_event(leg, at, dtmf_pt, payload, first, totals, out);
                }
            }
            Some(Chunk::Tone(samples)) => send_frame(leg, at, (&samples, Origin::Prompt), totals, out),
            Some(Chunk::Pause) | None => {}
        }
        return;
    }
    let Some(player) = leg.player.as_mut() else {
        return;
    };
    // A prompt is heard from its beginning: it waits for an address it may go to.
    if leg.latch.as_ref().is_some_and(Latch::is_unproven) {
        return;
    }
    let mut samples = [0; FRAME_SAMPLES];
    if player.next_frame(&mut samples) {
        send_frame(leg, at, (&samples, Origin::Prompt), totals, out);
        return;
    }
    // One slot after the last frame: now it has been heard to its end.
    let play_id = player.play_id;
    leg.player = None;
    out.event(Event::PlayDone { leg: leg.id, play_id });
}

fn sendable(leg: &Leg) -> Option<(SocketAddr, Codec, u8)> {
    let target = leg.target()?;
    leg.params.as_ref().map(|params| (target, params.codec, params.payload_type))
}

/// Sends a frame of our own audio; while sending is forbidden (hold), it just passes.
pub(super) fn send_frame(
    leg: &mut Leg,
    at: Instant,
    (samples, origin): (&[i16; FRAME_SAMPLES], Origin),
    totals: &mut Totals,
    out: &mut Outbox,
) {
    let Some((target, codec, payload_type)) = sendable(leg) else {
        return;
    };
    leg.encode(codec, samples);
    if leg.coded.is_empty() {
        return;
    }
    let header = leg.out.own(at, payload_type, FRAME_SAMPLES as u32);
    let (coded, srtp) = (&leg.coded, leg.srtp.as_deref_mut());
    let sent = out.packet(leg.id, Port::Rtp, target, |bytes| {
        let start = bytes.len();
        header.write(bytes);
        bytes.extend_from_slice(coded);
        seal(srtp, bytes, start)
    });
    if !sent {
        return;
    }
    if let Some(recording) = leg.recording.as_mut() {
        // What went into the encoder is at hand; G.711 is kept bit for bit as it was sent.
        let audio = if codec.is_g711() { Audio::G711 { codec, payload: &leg.coded } } else { Audio::Linear(samples) };
        record_sent(recording, at, Stamp { origin, ..stamp_of(&header, codec) }, audio);
    }
    note_newest(leg, &header);
    count_sent(leg, totals, leg.coded.len());
}

fn send_event(
    leg: &mut Leg,
    at: Instant,
    dtmf_pt: u8,
    payload: EventPayload,
    first: bool,
    totals: &mut Totals,
    out: &mut Outbox,
) {
    let Some((target, _, _)) = sendable(leg) else {
        return;
    };
    let samples = u32::from(payload.duration);
    // Its length is counted by the events' clock, its place among the audio by the audio's.
    let event_scale = leg.params.as_ref().map_or(1, |params| params.dtmf_clock_hz / SAMPLE_RATE_HZ).max(1);
    let duration = u16::try_from(samples * event_scale).unwrap_or(u16::MAX);
    let payload = EventPayload { duration, ..payload };
    let header = if first {
        let header = leg.out.own(at, dtmf_pt, FRAME_SAMPLES as u32);
        leg.event_timestamp = header.timestamp;
        Header { marker: true, ..header }
    } else {
        let end = leg.event_timestamp.wrapping_add(samples * leg.out.scale());
        leg.out.own_at(dtmf_pt, leg.event_timestamp, false, end)
    };
    write_event(leg, target, &header, payload, totals, out);
}

fn write_event(
    leg: &mut Leg,
    target: SocketAddr,
    header: &Header,
    payload: EventPayload,
    totals: &mut Totals,
    out: &mut Outbox,
) {
    let srtp = leg.srtp.as_deref_mut();
    let sent = out.packet(leg.id, Port::Rtp, target, |bytes| {
        let start = bytes.len();
        header.write(bytes);
        bytes.extend_from_slice(&payload.bytes());
        seal(srtp, bytes, start)
    });
    if sent {
        note_newest(leg, header);
        count_sent(leg, totals, payload.bytes().len());
    }
}
