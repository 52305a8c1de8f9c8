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
