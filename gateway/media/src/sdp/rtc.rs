//! What a description says about ICE (RFC 8839) and DTLS-SRTP (RFC 5763, RFC 8842).

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use super::ip_text;
use crate::rtc::{Fingerprint, IceCredentials, RtcParams, Setup};

/// Priority of our only candidate: a host's, component 1 (RFC 8445 §5.1.2).
const PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;
/// Longest user fragment and password (RFC 8839 §5.4) and `mid` taken.
const WORD_LEN_MAX: usize = 256;

/// `a=ice-ufrag`, `a=ice-pwd`, `a=fingerprint` and `a=setup`, of a session or of one description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtcLines {
    /// User fragment.
    pub ufrag: Option<String>,
    /// The password is there: a lite agent never needs it.
    pub has_pwd: bool,
    /// Of the certificate.
    pub fingerprint: Option<Fingerprint>,
    /// Who begins.
    pub setup: Option<Setup>,
}

impl RtcLines {
    /// Takes an attribute; false if it is none of these.
    pub(super) fn take(&mut self, name: &str, value: &str) -> bool {
        let is_word =
            value.len() <= WORD_LEN_MAX && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
        match name {
            "ice-ufrag" => self.ufrag = Some(value).filter(|v| is_word && v.len() >= 4).map(str::to_owned),
            "ice-pwd" => self.has_pwd = is_word && value.len() >= 22,
            "fingerprint" => self.fingerprint = self.fingerprint.or(Fingerprint::parse(value)),
            "setup" => self.setup = Setup::parse(value),
            _ => return false,
        }
        true
    }

    /// These, and what they lack from the session's.
    pub(super) fn or(&self, session: &Self) -> Self {
        let own_ice = self.ufrag.is_some();
        Self {
            ufrag: self.ufrag.clone().or_else(|| session.ufrag.clone()),
            has_pwd: if own_ice { self.has_pwd } else { session.has_pwd },
            fingerprint: self.fingerprint.or(session.fingerprint),
            setup: self.setup.or(session.setup),
        }
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.ufrag.is_some() && self.has_pwd && self.fingerprint.is_some()
    }

    /// What holds between `local` and the writer of these; `is_client`: we begin the handshake.
    pub(super) fn params(&self, local: &LocalRtc, is_client: bool) -> Option<Arc<RtcParams>> {
        Some(Arc::new(RtcParams {
            local: Arc::clone(&local.ice),
            remote_ufrag: self.ufrag.clone()?,
            fingerprint: self.fingerprint?,
            is_client,
        }))
    }
}

/// Our side of a browser's leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRtc {
    /// Of this leg; others after an ICE restart.
    pub ice: Arc<IceCredentials>,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
}

/// What the description says beside the codecs.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) local: &'a LocalRtc,
    pub(super) setup: Setup,
    pub(super) mid: Option<&'a str>,
}

/// The session's part: we are lite, and the one stream is a bundle by itself.
pub(super) fn write_session(text: &mut String, bundled: Option<&str>) {
    text.push_str("a=ice-lite\r\n");
    if let Some(mid) = bundled {
        let _ = write!(text, "a=group:BUNDLE {mid}\r\n");
    }
}

/// The description's part. RTCP shares the port, which is the one candidate there is.
pub(super) fn write(text: &mut String, address: SocketAddr, own: &Own<'_>) {
    let Own { local, setup, mid } = *own;
    if let Some(mid) = mid {
        let _ = write!(text, "a=mid:{mid}\r\n");
    }
    let (ice, ip, port) = (&local.ice, address.ip(), address.port());
    let _ = write!(text, "a=rtcp:{port} {}\r\n", ip_text(ip));
    let _ = write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.ufrag, ice.pwd);
    let _ = write!(text, "a=fingerprint:sha-256 {}\r\na=setup:{}\r\n", local.fingerprint.text(), setup.name());
    let _ = write!(text, "a=candidate:1 1 udp {PRIORITY} {ip} {port} typ host\r\na=end-of-candidates\r\n");
    // Names the stream for the page's script; it means nothing to us.
    text.push_str("a=msid:hotline audio\r\n");
}

/// A `mid` we would write again: a plain token.
pub(super) fn mid(value: &str) -> Option<String> {
    let is_plain = (1..=WORD_LEN_MAX).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    is_plain.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{AnswerError, LocalAudio, Security, accept_answer, answer, offer, parse};
    use super::*;
    use crate::Codec;

    fn local() -> LocalAudio {
        LocalAudio::new("192.0.2.9:30000".parse().unwrap(), 42)
    }

    /// A browser's description, shortened to what counts.
    const BROWSER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio0\r\na=msid-semantic: WMS x\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 8 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
        a=candidate:1 1 udp 2113937151 7f1a.local 50000 typ host\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:actpass\r\na=mid:audio0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:126 telephone-event/8000\r\n";

    fn web() -> LocalAudio {
        let ice = IceCredentials { ufrag: "ours".into(), pwd: "p".repeat(24) };
        let local_rtc = LocalRtc { ice: ice.into(), fingerprint: Fingerprint([7; 32]) };
        LocalAudio { security: Security::Dtls(local_rtc), ..local() }
    }

    #[test]
    fn a_browsers_offer_is_answered_on_one_port_with_our_certificate() {
        let answered = answer(&parse(BROWSER.as_bytes()).unwrap(), &web()).unwrap();
        let text = String::from_utf8(answered.sdp).unwrap();
        for line in [
            "a=ice-lite",
            "a=group:BUNDLE audio0",
            "m=audio 30000 UDP/TLS/RTP/SAVPF 8 126",
            "a=mid:audio0",
            "a=ice-ufrag:ours",
            "a=setup:passive",
            "a=rtcp-mux",
            "a=sendrecv",
            "a=candidate:1 1 udp 2130706431 192.0.2.9 30000 typ host",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
        let agreed = answered.agreed;
        let rtc = agreed.rtc.unwrap();
        assert_eq!((rtc.remote_ufrag.as_str(), rtc.is_client, rtc.fingerprint.0[31]), ("EsAw", false, 31));
        assert!(agreed.send && agreed.recv && agreed.srtp.is_none(), "0.0.0.0 is no hold here");
        assert_eq!((agreed.codec, agreed.payload_type, agreed.dtmf_pt), (Codec::Pcma, 8, Some(126)));
        let waiting = answer(&parse(BROWSER.replace("actpass", "passive").as_bytes()).unwrap(), &web()).unwrap();
        assert!(waiting.agreed.rtc.unwrap().is_client);
        assert!(String::from_utf8(waiting.sdp).unwrap().contains("a=setup:active\r\n"));
    }

    #[test]
    fn our_offer_to_a_browser_and_its_answer_agree() {
        let text = String::from_utf8(offer(&web())).unwrap();
        assert!(
            text.contains("a=ice-lite\r\na=group:BUNDLE 0\r\nm=audio 30000 UDP/TLS/RTP/SAVPF 8 0 101\r\n"),
            "{text}"
        );
        assert!(text.contains("a=mid:0\r\n") && text.contains("a=setup:actpass\r\n"), "{text}");
        let answered = parse(BROWSER.replace("actpass", "active").as_bytes()).unwrap();
        let agreed = accept_answer(&answered, &web()).unwrap();
        assert!(!agreed.rtc.unwrap().is_client);
        assert_eq!(agreed.remote_rtcp, Some(agreed.remote), "RTCP shares the port");
    }

    #[test]
    fn a_browser_without_all_it_needs_and_anybody_else_are_refused() {
        for missing in ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=rtcp-mux"] {
            let text: String = BROWSER.split_inclusive("\r\n").filter(|line| !line.starts_with(missing)).collect();
            let offered = parse(text.as_bytes()).unwrap();
            assert_eq!(answer(&offered, &web()).unwrap_err(), AnswerError::NotEncrypted, "{missing}");
            assert!(accept_answer(&offered, &web()).is_err(), "{missing}");
        }
        let plain = parse(b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\n").unwrap();
        assert_eq!(answer(&plain, &web()).unwrap_err(), AnswerError::NotEncrypted);
        assert_eq!(accept_answer(&plain, &web()).unwrap_err(), AnswerError::NotEncrypted);
        let browser = parse(BROWSER.as_bytes()).unwrap();
        assert!(answer(&browser, &local()).is_err() && accept_answer(&browser, &local()).is_err());
    }
}
