//! Our offers.

use std::fmt::Write as _;

use super::{
    Direction, LocalAudio, MediaLine, Sdp, crypto,
    crypto::Crypto,
    ip_text,
    rtc::{self, Own},
};
use crate::{Codec, XrWish, rtc::Setup};

/// `mid` of the one description in our own offers.
const MID: &str = "0";

/// Payload types of telephone events in our own offers, by clock (RFC 4733 §2.1).
const TELEPHONE_EVENTS: [(u8, u32); 2] = [(101, 8000), (102, 48_000)];

/// What we want of Opus (RFC 7587 §6.1): the other side hears 8 kHz, so more would be sent in vain.
const OPUS_FMTP: &str = "maxplaybackrate=8000;sprop-maxcapturerate=8000;stereo=0;useinbandfec=1";

/// A fresh offer with one audio description.
#[must_use]
pub fn offer(local: &LocalAudio) -> Vec<u8> {
    let mut text = session(local);
    if local.security.rtc().is_some() {
        rtc::write_session(&mut text, Some(MID));
    }
    write_own(&mut text, local);
    text.into_bytes()
}

/// An audio description with the payload types of our own choice.
fn write_own(text: &mut String, local: &LocalAudio) {
    let formats: Vec<(u8, Codec)> = local.codecs.iter().map(|&codec| (codec.static_payload_type(), codec)).collect();
    let events = events(local, |_, pt| pt);
    let direction = Direction::new(local.send, local.recv);
    let crypto = offered_keys(local);
    write_audio(
        text,
        local,
        &Audio {
            formats: &formats,
            events: &events,
            direction,
            rtcp_mux: local.security.rtc().is_some(),
            xr: XrWish::default(),
            crypto: &crypto,
            rtc: offered_rtc(local, Some(MID)),
        },
    );
}

/// Telephone events for each clock among our codecs; `number` gives a payload type, from the clock and
/// the one of our own choice.
fn events(local: &LocalAudio, number: impl Fn(u32, u8) -> u8) -> Vec<(u8, u32)> {
    let is_used = |clock_hz: u32| local.dtmf && local.codecs.iter().any(|codec| codec.rtp_clock_hz() == clock_hz);
    TELEPHONE_EVENTS
        .into_iter()
        .filter(|(_, clock_hz)| is_used(*clock_hz))
        .map(|(pt, clock_hz)| (number(clock_hz, pt), clock_hz))
        .collect()
}

/// An offer within a session whose peer last described itself as `remote`: the descriptions keep
/// their places (RFC 3264 §8), audio where it was, all others switched off.
#[must_use]
pub fn reoffer(local: &LocalAudio, remote: &Sdp) -> Vec<u8> {
    let place = remote.media.iter().position(|media| media.kind == "audio");
    let mut text = session(local);
    if local.security.rtc().is_some() {
        let mid = place.and_then(|place| remote.media[place].mid.as_deref());
        rtc::write_session(&mut text, mid.filter(|mid| remote.bundle.iter().any(|other| other == mid)));
    }
    for (index, media) in remote.media.iter().enumerate() {
        if Some(index) != place {
            write_rejected(&mut text, media);
            continue;
        }
        // Payload types keep their meaning for the whole session (RFC 3264 §8.3.2).
        let known = |codec: Codec| {
            let by_peer = media.formats.iter().filter_map(|format| media.codec(format)).find(|(_, c)| *c == codec);
            by_peer.unwrap_or((codec.static_payload_type(), codec))
        };
        let formats: Vec<(u8, Codec)> = local.codecs.iter().map(|&codec| known(codec)).collect();
        let events = events(local, |clock_hz, pt| media.telephone_event_at(clock_hz).unwrap_or(pt));
        let direction = Direction::new(local.send, local.recv);
        let (rtcp_mux, crypto) = (media.rtcp_mux, offered_keys(local));
        write_audio(
            &mut text,
            local,
            &Audio {
                formats: &formats,
                events: &events,
                direction,
                rtcp_mux,
                xr: remote.xr(media),
                crypto: &crypto,
                rtc: offered_rtc(local, media.mid.as_deref()),
            },
        );
    }
    if place.is_none() {
        write_own(&mut text, local);
    }
    text.into_bytes()
}

/// The session part.
pub(super) fn session(local: &LocalAudio) -> String {
    let ip = ip_text(local.address.ip());
    format!("v=0\r\no=hotline {} {} {ip}\r\ns=-\r\nc={ip}\r\nt=0 0\r\n", local.session_id, local.version)
}

fn offered_keys(local: &LocalAudio) -> Vec<Crypto> {
    local.security.keys().map(super::LocalKeys::offered).unwrap_or_default()
}

/// The other side decides who begins (RFC 5763 §5).
fn offered_rtc<'a>(local: &'a LocalAudio, mid: Option<&'a str>) -> Option<Own<'a>> {
    local.security.rtc().map(|local| Own { local, setup: Setup::ActPass, mid })
}

/// What our audio description says.
pub(super) struct Audio<'a> {
    pub(super) formats: &'a [(u8, Codec)],
    /// Payload types of telephone events with their clocks.
    pub(super) events: &'a [(u8, u32)],
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    /// Extended reports both sides send.
    pub(super) xr: XrWish,
    /// With any: RTP/SAVP.
    pub(super) crypto: &'a [Crypto],
    /// A browser's: UDP/TLS/RTP/SAVPF.
    pub(super) rtc: Option<Own<'a>>,
}

/// Our audio description.
pub(super) fn write_audio(text: &mut String, local: &LocalAudio, audio: &Audio<'_>) {
    let Audio { formats, events, direction, rtcp_mux, xr, crypto, rtc } = *audio;
    let profile = match rtc {
        Some(_) => "UDP/TLS/RTP/SAVPF",
        None if crypto.is_empty() => "RTP/AVP",
        None => "RTP/SAVP",
    };
    let _ = write!(text, "m=audio {} {profile}", local.address.port());
    for payload_type in formats.iter().map(|(pt, _)| *pt).chain(events.iter().map(|(pt, _)| *pt)) {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for (payload_type, codec) in formats {
        let _ = write!(text, "a=rtpmap:{payload_type} {}/{}", codec.encoding_name(), codec.rtp_clock_hz());
        match codec.sdp_channels() {
            1 => text.push_str("\r\n"),
            channels => {
                let _ = write!(text, "/{channels}\r\n");
            }
        }
        if *codec == Codec::Opus {
            let _ = write!(text, "a=fmtp:{payload_type} {OPUS_FMTP}\r\n");
        }
    }
    for (pt, clock_hz) in events {
        let _ = write!(text, "a=rtpmap:{pt} telephone-event/{clock_hz}\r\na=fmtp:{pt} 0-15\r\n");
    }
    for line in crypto {
        crypto::write(text, line);
    }
    if let Some(own) = &rtc {
        rtc::write(text, local.address, own);
    }
    let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction.name());
    if rtcp_mux {
        text.push_str("a=rtcp-mux\r\n");
    }
    if xr != XrWish::default() {
        text.push_str("a=rtcp-xr:");
        text.push_str(match (xr.reference_time, xr.voip_metrics) {
            (true, true) => "rcvr-rtt=all voip-metrics\r\n",
            (true, false) => "rcvr-rtt=all\r\n",
            (false, _) => "voip-metrics\r\n",
        });
    }
}

/// A description we don't take: port 0, everything else as offered (RFC 3264 §6).
pub(super) fn write_rejected(text: &mut String, media: &MediaLine) {
    let _ = write!(text, "m={} 0 {}", media.kind, media.proto);
    for format in &media.formats {
        let _ = write!(text, " {format}");
    }
    text.push_str("\r\n");
}
