//! Our offers.

use std::fmt::Write as _;

use super::{Direction, LocalAudio, MediaLine, Sdp, crypto, crypto::Crypto, ip_text};
use crate::{Codec, XrWish};

/// Payload type of telephone events in our own offers.
const TELEPHONE_EVENT_PT: u8 = 101;

/// A fresh offer with one audio description.
#[must_use]
pub fn offer(local: &LocalAudio) -> Vec<u8> {
    let mut text = session(local);
    write_own(&mut text, local);
    text.into_bytes()
}

/// An audio description with the payload types of our own choice.
fn write_own(text: &mut String, local: &LocalAudio) {
    let formats: Vec<(u8, Codec)> = local.codecs.iter().map(|&codec| (codec.static_payload_type(), codec)).collect();
    let dtmf_pt = local.dtmf.then_some(TELEPHONE_EVENT_PT);
    let direction = Direction::new(local.send, local.recv);
    let crypto = offered_keys(local);
    write_audio(
        text,
        local,
        &Audio { formats: &formats, dtmf_pt, direction, rtcp_mux: false, xr: XrWish::default(), crypto: &crypto },
    );
}

/// An offer within a session whose peer last described itself as `remote`: the descriptions keep
/// their places (RFC 3264 §8), audio where it was, all others switched off.
#[must_use]
pub fn reoffer(local: &LocalAudio, remote: &Sdp) -> Vec<u8> {
    let place = remote.media.iter().position(|media| media.kind == "audio");
    let mut text = session(local);
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
        let dtmf_pt = local.dtmf.then(|| media.telephone_event().unwrap_or(TELEPHONE_EVENT_PT));
        let direction = Direction::new(local.send, local.recv);
        let (rtcp_mux, crypto) = (media.rtcp_mux, offered_keys(local));
        write_audio(
            &mut text,
            local,
            &Audio { formats: &formats, dtmf_pt, direction, rtcp_mux, xr: remote.xr(media), crypto: &crypto },
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

/// What our audio description says.
pub(super) struct Audio<'a> {
    pub(super) formats: &'a [(u8, Codec)],
    pub(super) dtmf_pt: Option<u8>,
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    /// Extended reports both sides send.
    pub(super) xr: XrWish,
    /// With any: RTP/SAVP.
    pub(super) crypto: &'a [Crypto],
}

/// Our audio description.
pub(super) fn write_audio(text: &mut String, local: &LocalAudio, audio: &Audio<'_>) {
    let Audio { formats, dtmf_pt, direction, rtcp_mux, xr, crypto } = *audio;
    let profile = if crypto.is_empty() { "RTP/AVP" } else { "RTP/SAVP" };
    let _ = write!(text, "m=audio {} {profile}", local.address.port());
    for payload_type in formats.iter().map(|(pt, _)| *pt).chain(dtmf_pt) {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for (payload_type, codec) in formats {
        let _ = write!(text, "a=rtpmap:{payload_type} {}/8000\r\n", codec.encoding_name());
    }
    if let Some(pt) = dtmf_pt {
        let _ = write!(text, "a=rtpmap:{pt} telephone-event/8000\r\na=fmtp:{pt} 0-15\r\n");
    }
    for line in crypto {
        crypto::write(text, line);
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
