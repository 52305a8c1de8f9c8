//! Answering an offer, and taking the answer to ours.

use std::net::SocketAddr;

use super::{
    Agreed, Direction, LocalAudio, MediaLine, Sdp,
    offer::{session, write_audio, write_rejected},
};
use crate::Codec;

/// Why there is no agreement; the SIP side answers 488 (Not Acceptable Here).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No audio over plain RTP with an address and a codec we share.
    #[error("no audio description with G.711 over RTP/AVP and a plain address")]
    NoAudio,
    /// The answer rejects our audio.
    #[error("the peer rejects our audio")]
    Rejected,
}

/// An answer and what it settles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The SDP to send.
    pub sdp: Vec<u8>,
    /// What now holds.
    pub agreed: Agreed,
}

/// Answers an offer: the first usable audio description is taken, all others are rejected in
/// place; the codec is the first of the offer we speak; a hold is mirrored (RFC 3264 §6.1).
///
/// # Errors
/// See [`AnswerError`].
pub fn answer(offer: &Sdp, local: &LocalAudio) -> Result<Negotiated, AnswerError> {
    let usable = |media: &MediaLine| media.is_usable_audio() && common_codec(media, local).is_some();
    let place = offer.media.iter().position(|media| usable(media) && offer.address(media).is_some());
    let place = place.ok_or(AnswerError::NoAudio)?;
    let agreed = agree(offer, &offer.media[place], local).ok_or(AnswerError::NoAudio)?;
    let mut text = session(local);
    for (index, media) in offer.media.iter().enumerate() {
        if index == place {
            let direction = Direction::new(agreed.send, agreed.recv);
            let format = [(agreed.payload_type, agreed.codec)];
            write_audio(&mut text, local, &format, agreed.dtmf_pt, direction, media.rtcp_mux);
        } else {
            write_rejected(&mut text, media);
        }
    }
    Ok(Negotiated { sdp: text.into_bytes(), agreed })
}

/// Takes the answer to our offer.
///
/// # Errors
/// See [`AnswerError`].
pub fn accept_answer(answer: &Sdp, local: &LocalAudio) -> Result<Agreed, AnswerError> {
    let audio = answer.media.iter().find(|media| media.kind == "audio").ok_or(AnswerError::NoAudio)?;
    if audio.port == 0 {
        return Err(AnswerError::Rejected);
    }
    if !audio.is_usable_audio() {
        return Err(AnswerError::NoAudio);
    }
    agree(answer, audio, local).ok_or(AnswerError::NoAudio)
}

fn common_codec(media: &MediaLine, local: &LocalAudio) -> Option<(u8, Codec)> {
    media.formats.iter().filter_map(|format| media.codec(format)).find(|(_, codec)| local.codecs.contains(codec))
}

fn agree(remote: &Sdp, media: &MediaLine, local: &LocalAudio) -> Option<Agreed> {
    let address = remote.address(media)?;
    let (payload_type, codec) = common_codec(media, local)?;
    let direction = remote.direction(media);
    let remote_rtcp = if media.rtcp_mux {
        Some(address)
    } else {
        media.rtcp.map(|(port, ip)| SocketAddr::new(ip.unwrap_or(address.ip()), port))
    };
    Some(Agreed {
        remote: address,
        remote_rtcp,
        codec,
        payload_type,
        dtmf_pt: media.telephone_event().filter(|_| local.dtmf),
        ptime_ms: media.ptime_ms,
        send: local.send && direction.receives(),
        recv: local.recv && direction.sends(),
        version: local.version,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{offer, parse, reoffer};
    use super::*;

    fn local() -> LocalAudio {
        LocalAudio::new("192.0.2.9:30000".parse().unwrap(), 42)
    }

    fn sdp(lines: &str) -> Sdp {
        parse(format!("v=0\r\nc=IN IP4 10.0.0.1\r\n{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn our_offer_and_our_answer_agree_with_each_other() {
        let mut caller = local();
        caller.codecs = vec![Codec::Pcmu, Codec::Pcma];
        let offered = parse(&offer(&caller)).unwrap();
        let callee = LocalAudio::new("[2001:db8::2]:4000".parse().unwrap(), 7);
        let answered = answer(&offered, &callee).unwrap();
        assert_eq!(answered.agreed.codec, Codec::Pcmu);
        assert_eq!(answered.agreed.remote, caller.address);
        assert_eq!(answered.agreed.dtmf_pt, Some(101));
        let agreed = accept_answer(&parse(&answered.sdp).unwrap(), &caller).unwrap();
        assert_eq!(agreed.codec, Codec::Pcmu);
        assert_eq!(agreed.remote, callee.address);
        assert!(agreed.send && agreed.recv);
        assert!(agreed.leg_params(true).latch_any_ip);
    }

    #[test]
    fn an_answer_keeps_the_order_and_rejects_the_rest() {
        let offered = sdp(
            "m=video 5000 RTP/AVP 96\r\nm=audio 6000 RTP/SAVP 8\r\nm=audio 4000 RTP/AVP 97 98 8\r\na=rtpmap:97 opus/48000/2\r\na=rtpmap:98 PCMU/8000\r\nm=application 9 TCP/MRCPv2 1\r\n",
        );
        let answered = answer(&offered, &local()).unwrap();
        let text = String::from_utf8(answered.sdp).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 96",
                "m=audio 0 RTP/SAVP 8",
                "m=audio 30000 RTP/AVP 98",
                "m=application 0 TCP/MRCPv2 1",
            ]
        );
        assert_eq!((answered.agreed.payload_type, answered.agreed.codec), (98, Codec::Pcmu));
        assert_eq!(answered.agreed.dtmf_pt, None);
        assert!(!text.contains("rtcp-mux"));
    }

    #[test]
    fn holds_are_mirrored() {
        for (attribute, send, recv, name) in [
            ("a=sendonly", false, true, "a=recvonly"),
            ("a=inactive", false, false, "a=inactive"),
            ("a=recvonly", true, false, "a=sendonly"),
            ("a=sendrecv", true, true, "a=sendrecv"),
            ("c=IN IP4 0.0.0.0", false, true, "a=recvonly"),
        ] {
            let answered = answer(&sdp(&format!("m=audio 4000 RTP/AVP 8\r\n{attribute}\r\n")), &local()).unwrap();
            assert_eq!((answered.agreed.send, answered.agreed.recv), (send, recv), "{attribute}");
            assert!(String::from_utf8(answered.sdp).unwrap().contains(name), "{attribute}");
        }
    }

    #[test]
    fn rtcp_addresses_and_mux_are_taken_as_offered() {
        let plain = answer(&sdp("m=audio 4000 RTP/AVP 8\r\na=rtcp:5001\r\n"), &local()).unwrap();
        assert_eq!(plain.agreed.remote_rtcp, Some("10.0.0.1:5001".parse().unwrap()));
        let mux = answer(&sdp("m=audio 4000 RTP/AVP 8\r\na=rtcp-mux\r\n"), &local()).unwrap();
        assert_eq!(mux.agreed.remote_rtcp, Some(mux.agreed.remote));
        assert!(String::from_utf8(mux.sdp).unwrap().contains("a=rtcp-mux"));
    }

    #[test]
    fn no_common_codec_and_a_rejected_audio_are_told_apart() {
        assert_eq!(answer(&sdp("m=audio 4000 RTP/AVP 18\r\n"), &local()).unwrap_err(), AnswerError::NoAudio);
        assert_eq!(answer(&sdp("m=video 4000 RTP/AVP 31\r\n"), &local()).unwrap_err(), AnswerError::NoAudio);
        assert_eq!(accept_answer(&sdp("m=audio 0 RTP/AVP 8\r\n"), &local()).unwrap_err(), AnswerError::Rejected);
        assert_eq!(accept_answer(&sdp(""), &local()).unwrap_err(), AnswerError::NoAudio);
    }

    #[test]
    fn a_reoffer_keeps_places_and_payload_types() {
        let remote = sdp(
            "m=video 5000 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 98 100\r\na=rtpmap:98 PCMA/8000\r\na=rtpmap:100 telephone-event/8000\r\n",
        );
        let mut held = local();
        held.recv = false;
        held.version = 2;
        let text = String::from_utf8(reoffer(&held, &remote)).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(lines, ["m=video 0 RTP/AVP 96", "m=audio 30000 RTP/AVP 98 0 100"]);
        assert!(text.contains("a=sendonly"));
        assert!(text.contains("o=hotline 42 2 "));
    }
}
