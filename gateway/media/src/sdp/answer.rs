//! Answering an offer, and taking the answer to ours.

use std::net::SocketAddr;

use super::{
    Agreed, Crypto, Direction, LocalAudio, MediaLine, Sdp, Security,
    offer::{Audio, session, write_audio, write_rejected},
    rtc::{self, Own},
};
use crate::{Codec, OtherFormats, rtc::Setup, srtp::SrtpParams};

/// Why there is no agreement; the SIP side answers 488 (Not Acceptable Here).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No audio over RTP with an address and a codec we share.
    #[error("no audio description with a codec we speak over RTP/AVP or RTP/SAVP and a plain address")]
    NoAudio,
    /// Audio we could take, were it encrypted with a suite and a key we can use.
    #[error("SRTP with a usable a=crypto line is required here")]
    NotEncrypted,
    /// Audio we could take, were it not encrypted.
    #[error("SRTP is off here")]
    Encrypted,
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

impl AnswerError {
    /// What is wrong is the profile, RTP/AVP or RTP/SAVP: warning 302 of RFC 3261 §20.43.
    #[must_use]
    pub const fn is_about_encryption(self) -> bool {
        matches!(self, Self::NotEncrypted | Self::Encrypted)
    }
}

/// Answers an offer: one usable audio description is taken, all others are rejected in place; the
/// codec is the first of the offer we speak or the one we prefer, the `a=crypto` line the first too; a hold is mirrored (RFC 3264
/// §6.1). Of several descriptions the first is taken, an encrypted one before if that is preferred.
///
/// # Errors
/// See [`AnswerError`].
pub fn answer(offer: &Sdp, local: &LocalAudio) -> Result<Negotiated, AnswerError> {
    let place = choose(offer, local)?;
    let line = offer.media[place].crypto.first().filter(|_| offer.media[place].is_encrypted());
    // Who may begin the handshake leaves it to the browser; two that wait would wait for ever.
    let asked = offer.rtc(&offer.media[place]).setup;
    let setup = if asked == Some(Setup::Passive) { Setup::Active } else { Setup::Passive };
    let agreed = agree(offer, &offer.media[place], local, line, setup == Setup::Active).ok_or(AnswerError::NoAudio)?;
    let mut text = session(local);
    let mid = offer.media[place].mid.as_deref();
    if agreed.rtc.is_some() {
        rtc::write_session(&mut text, mid.filter(|mid| offer.bundle.iter().any(|other| other == mid)));
    }
    for (index, media) in offer.media.iter().enumerate() {
        if index == place {
            let own = line.zip(agreed.srtp.as_ref());
            let own = own.map(|(line, srtp)| Crypto { key: srtp.local.clone(), ..line.clone() });
            let events = media.telephone_event(agreed.codec.rtp_clock_hz()).filter(|_| local.dtmf);
            let audio = Audio {
                formats: &[(agreed.payload_type, agreed.codec)],
                events: events.as_slice(),
                direction: Direction::new(agreed.send, agreed.recv),
                rtcp_mux: media.rtcp_mux,
                xr: agreed.xr,
                crypto: own.as_slice(),
                rtc: local.security.rtc().map(|local| Own { local, setup, mid }),
            };
            write_audio(&mut text, local, &audio);
        } else {
            write_rejected(&mut text, media);
        }
    }
    Ok(Negotiated { sdp: text.into_bytes(), agreed })
}

/// The description to take.
fn choose(offer: &Sdp, local: &LocalAudio) -> Result<usize, AnswerError> {
    let find = |is_encrypted: bool| {
        offer.media.iter().position(|media| {
            offer.is_usable_audio(media)
                && (media.is_encrypted() || media.is_rtc()) == is_encrypted
                && media.is_rtc() == local.security.rtc().is_some()
                && common_codec(media, local).is_some()
                && offer.address(media).is_some()
        })
    };
    let (plain, encrypted) = (find(false), find(true));
    match &local.security {
        Security::Plain => plain.ok_or(encrypted.map_or(AnswerError::NoAudio, |_| AnswerError::Encrypted)),
        Security::Preferred(_) => encrypted.or(plain).ok_or(AnswerError::NoAudio),
        Security::Dtls(_) => encrypted.ok_or(AnswerError::NotEncrypted),
        Security::Required(_) => encrypted.ok_or(plain.map_or(AnswerError::NoAudio, |_| AnswerError::NotEncrypted)),
    }
}

/// Takes the answer to our offer. What was offered encrypted has to be answered encrypted, with a
/// line of the offer and a key of the peer's own (RFC 4568 §5.1.3); nothing falls back in silence.
///
/// # Errors
/// See [`AnswerError`].
pub fn accept_answer(answer: &Sdp, local: &LocalAudio) -> Result<Agreed, AnswerError> {
    let audio = answer.media.iter().find(|media| media.kind == "audio").ok_or(AnswerError::NoAudio)?;
    if audio.port == 0 {
        return Err(AnswerError::Rejected);
    }
    let line = match local.security.keys() {
        None if local.security.rtc().is_some() => match audio.is_rtc() {
            true => None,
            false => return Err(AnswerError::NotEncrypted),
        },
        None if audio.is_encrypted() || audio.is_rtc() => return Err(AnswerError::Encrypted),
        None => None,
        Some(keys) => {
            let offered = keys.offered();
            let is_ours = |line: &&Crypto| offered.iter().any(|ours| ours.tag == line.tag && ours.suite == line.suite);
            let line = audio.crypto.iter().find(is_ours).filter(|_| audio.is_encrypted());
            Some(line.ok_or(AnswerError::NotEncrypted)?)
        }
    };
    if !answer.is_usable_audio(audio) {
        return Err(AnswerError::NoAudio);
    }
    let is_client = answer.rtc(audio).setup == Some(Setup::Passive);
    let agreed = agree(answer, audio, local, line, is_client).ok_or(AnswerError::NoAudio)?;
    Ok(Agreed { others: others(audio, local), ..agreed })
}

/// All that an answer to our offer lets the peer send: what it lists of ours, by its numbers and, where
/// it gives them no other meaning, by those of our offer.
fn others(media: &MediaLine, local: &LocalAudio) -> OtherFormats {
    let mut others = OtherFormats::default();
    let shared = || {
        let known = media.formats.iter().filter_map(|format| media.codec(format));
        known.filter(|(_, codec)| local.codecs.contains(codec))
    };
    shared().for_each(|(payload_type, codec)| others.add_audio(payload_type, codec));
    for clock_hz in [8000, 48_000] {
        if let Some(payload_type) = media.telephone_event_at(clock_hz).filter(|_| local.dtmf) {
            others.add_events(payload_type, clock_hz);
        }
    }
    for (_, codec) in shared() {
        let ours = codec.static_payload_type();
        if !media.formats.iter().any(|format| format.parse() == Ok(ours)) {
            others.add_audio(ours, codec);
        }
    }
    others
}

fn common_codec(media: &MediaLine, local: &LocalAudio) -> Option<(u8, Codec)> {
    let shared = || {
        let known = media.formats.iter().filter_map(|format| media.codec(format));
        known.filter(|(_, codec)| local.codecs.contains(codec))
    };
    shared().find(|(_, codec)| Some(*codec) == local.preferred).or_else(|| shared().next())
}

/// `line`: the peer's line that holds, where audio is encrypted; `is_client`: we begin a browser's handshake.
fn agree(
    remote: &Sdp,
    media: &MediaLine,
    local: &LocalAudio,
    line: Option<&Crypto>,
    is_client: bool,
) -> Option<Agreed> {
    let address = remote.address(media)?;
    let (payload_type, codec) = common_codec(media, local)?;
    let direction = remote.direction(media);
    let events = media.telephone_event(codec.rtp_clock_hz()).filter(|_| local.dtmf);
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
        dtmf_pt: events.map(|(pt, _)| pt),
        dtmf_clock_hz: events.map_or(codec.rtp_clock_hz(), |(_, clock_hz)| clock_hz),
        others: OtherFormats::default(),
        ptime_ms: media.ptime_ms,
        send: local.send && direction.receives(),
        recv: local.recv && direction.sends(),
        xr: remote.xr(media),
        srtp: match line {
            Some(Crypto { suite, key, .. }) => Some(SrtpParams {
                suite: *suite,
                local: local.security.keys()?.of(*suite).clone(),
                remote: key.clone(),
            }),
            None => None,
        },
        rtc: match local.security.rtc() {
            Some(local) => Some(remote.rtc(media).params(local, is_client)?),
            None => None,
        },
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
        assert!(agreed.leg_params(crate::latch::Trust::new(true, [])).trust.believes_sdp());
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

    /// What the browsers' and phones' offers look like.
    const WIDE: &str = "m=audio 4000 RTP/AVP 111 9 8 101 110\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:110 telephone-event/48000\r\n";

    fn wide() -> LocalAudio {
        LocalAudio { codecs: vec![Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus], ..local() }
    }

    #[test]
    fn the_offers_order_decides_unless_the_other_leg_speaks_one_of_its_codecs() {
        let answered = answer(&sdp(WIDE), &wide()).unwrap();
        let text = String::from_utf8(answered.sdp).unwrap();
        assert_eq!((answered.agreed.codec, answered.agreed.payload_type), (Codec::Opus, 111));
        assert_eq!(answered.agreed.dtmf_pt, Some(110));
        assert!(
            text.contains("m=audio 30000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 max"),
            "{text}"
        );
        assert!(text.contains("a=rtpmap:110 telephone-event/48000\r\n"), "{text}");
        let preferred = LocalAudio { preferred: Some(Codec::Pcma), ..wide() };
        let answered = answer(&sdp(WIDE), &preferred).unwrap();
        assert_eq!((answered.agreed.codec, answered.agreed.dtmf_pt), (Codec::Pcma, Some(101)));
        let absent = LocalAudio { preferred: Some(Codec::Pcmu), ..wide() };
        assert_eq!(answer(&sdp(WIDE), &absent).unwrap().agreed.codec, Codec::Opus);
        assert_eq!(answer(&sdp(WIDE), &local()).unwrap().agreed.codec, Codec::Pcma, "a carrier speaks G.711 only");
        let g722 = answer(&sdp("m=audio 4000 RTP/AVP 9\r\n"), &wide()).unwrap();
        assert!(String::from_utf8(g722.sdp).unwrap().contains("a=rtpmap:9 G722/8000\r\n"));
    }

    #[test]
    fn our_offer_of_all_codecs_is_taken_with_events_at_the_codecs_clock() {
        let caller = wide();
        let text = String::from_utf8(offer(&caller)).unwrap();
        assert!(text.contains("m=audio 30000 RTP/AVP 8 0 9 111 101 102\r\n"), "{text}");
        assert!(text.contains("a=rtpmap:102 telephone-event/48000\r\n"), "{text}");
        let taken = |lines: &str| {
            let agreed = accept_answer(&sdp(lines), &caller).unwrap();
            (agreed.codec, agreed.payload_type, agreed.dtmf_pt)
        };
        let opus =
            "m=audio 4000 RTP/AVP 111 102\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:102 telephone-event/48000\r\n";
        assert_eq!(taken(opus), (Codec::Opus, 111, Some(102)));
        let old = "m=audio 4000 RTP/AVP 111 101\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";
        assert_eq!(taken(old), (Codec::Opus, 111, Some(101)));
        assert_eq!(accept_answer(&sdp(old), &caller).unwrap().dtmf_clock_hz, 8000);
        assert_eq!(accept_answer(&sdp(opus), &caller).unwrap().dtmf_clock_hz, 48_000);
        assert_eq!(taken("m=audio 4000 RTP/AVP 9\r\n"), (Codec::G722, 9, None));
        let text = String::from_utf8(reoffer(&wide(), &sdp(WIDE))).unwrap();
        assert!(text.contains("m=audio 30000 RTP/AVP 8 0 9 111 101 110\r\n"), "{text}");
    }

    #[test]
    fn all_formats_of_an_answer_may_be_sent_and_of_an_offer_the_one_we_answer() {
        let answered = accept_answer(
            &sdp("m=audio 4000 RTP/AVP 9 8 96 18 101 102\r\na=rtpmap:96 opus/48000/2\r\n\
                a=rtpmap:101 telephone-event/8000\r\na=rtpmap:102 telephone-event/48000\r\n"),
            &LocalAudio { preferred: Some(Codec::Pcma), ..wide() },
        )
        .unwrap();
        assert_eq!((answered.codec, answered.dtmf_pt, answered.dtmf_clock_hz), (Codec::Pcma, Some(101), 8000));
        let taken = [9, 8, 96, 111, 0, 18, 101].map(|pt| answered.others.audio(pt));
        let opus = Some(Codec::Opus);
        assert_eq!(taken, [Some(Codec::G722), Some(Codec::Pcma), opus, opus, None, None, None]);
        assert_eq!([101, 102].map(|pt| answered.others.event_clock_hz(pt)), [Some(8000), Some(48_000)]);
        let carrier = accept_answer(&sdp("m=audio 4000 RTP/AVP 8 9\r\n"), &local()).unwrap();
        assert_eq!(carrier.others.audio(9), None, "not offered");
        assert_eq!(answer(&sdp(WIDE), &wide()).unwrap().agreed.others, OtherFormats::default());
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

    fn keys(byte: u8) -> super::super::LocalKeys {
        super::super::LocalKeys::generate(|key| {
            key.fill(byte);
            key[0] ^= key.len() as u8;
            Ok::<(), ()>(())
        })
        .unwrap()
    }

    fn side(security: Security) -> LocalAudio {
        LocalAudio { security, ..local() }
    }

    const KEY: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn an_encrypted_offer_is_answered_with_its_tag_and_a_key_of_our_own() {
        let caller = side(Security::Required(keys(1)));
        let offered = parse(&offer(&caller)).unwrap();
        assert_eq!((offered.media[0].proto.as_str(), offered.media[0].crypto.len()), ("RTP/SAVP", 2));
        let answered = answer(&offered, &side(Security::Preferred(keys(2)))).unwrap();
        let text = String::from_utf8(answered.sdp.clone()).unwrap();
        assert!(text.contains("m=audio 30000 RTP/SAVP 8 101\r\n"), "{text}");
        assert_eq!(text.matches("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:").count(), 1, "{text}");
        assert_eq!(text.matches("a=crypto").count(), 1);
        let theirs = answered.agreed.srtp.unwrap();
        let ours = accept_answer(&parse(&answered.sdp).unwrap(), &caller).unwrap().srtp.unwrap();
        assert_eq!((ours.suite, &ours.local, &ours.remote), (theirs.suite, &theirs.remote, &theirs.local));
        assert_ne!(ours.local, ours.remote);
    }

    #[test]
    fn of_two_descriptions_the_policy_takes_its_own() {
        let both = format!(
            "m=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/SAVP 8\r\na=crypto:9 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n"
        );
        let port = |security| answer(&sdp(&both), &side(security)).map(|n| n.agreed.remote.port());
        assert_eq!(port(Security::Plain), Ok(4000));
        assert_eq!(port(Security::Preferred(keys(1))), Ok(4002));
        assert_eq!(port(Security::Required(keys(1))), Ok(4002));
        let plain = "m=audio 4000 RTP/AVP 8\r\n";
        let preferred = answer(&sdp(plain), &side(Security::Preferred(keys(1)))).unwrap();
        assert_eq!(preferred.agreed.srtp, None);
        assert!(!String::from_utf8(preferred.sdp).unwrap().contains("crypto"));
        assert_eq!(answer(&sdp(plain), &side(Security::Required(keys(1)))), Err(AnswerError::NotEncrypted));
        let unusable = format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n");
        assert_eq!(answer(&sdp(&unusable), &side(Security::Required(keys(1)))), Err(AnswerError::NoAudio));
        let secure = format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
        assert_eq!(answer(&sdp(&secure), &local()), Err(AnswerError::Encrypted));
    }

    #[test]
    fn an_answer_that_drops_or_changes_the_encryption_is_refused() {
        let caller = side(Security::Preferred(keys(1)));
        let line = |profile: &str, crypto: &str| sdp(&format!("m=audio 4000 {profile} 8\r\n{crypto}\r\n"));
        let take = |answer: Sdp| accept_answer(&answer, &caller).map(|agreed| agreed.srtp.is_some());
        let good = format!("a=crypto:2 AES_CM_128_HMAC_SHA1_32 {KEY}");
        assert_eq!(take(line("RTP/SAVP", &good)), Ok(true));
        assert_eq!(take(line("RTP/AVP", "a=ptime:20")), Err(AnswerError::NotEncrypted));
        assert_eq!(take(line("RTP/AVP", &good)), Err(AnswerError::NotEncrypted));
        assert_eq!(take(line("RTP/SAVP", "a=ptime:20")), Err(AnswerError::NotEncrypted));
        let other_tag = format!("a=crypto:3 AES_CM_128_HMAC_SHA1_32 {KEY}");
        assert_eq!(take(line("RTP/SAVP", &other_tag)), Err(AnswerError::NotEncrypted));
        let other_suite = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_32 {KEY}");
        assert_eq!(take(line("RTP/SAVP", &other_suite)), Err(AnswerError::NotEncrypted));
        assert_eq!(accept_answer(&line("RTP/SAVP", &good), &local()), Err(AnswerError::Encrypted));
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
