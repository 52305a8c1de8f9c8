//! SDP (RFC 8866) and offer/answer (RFC 3264) for one audio stream with telephone events,
//! plain, encrypted with keys in it (RFC 4568), or a browser's (RFC 8829, one bundled stream).

mod answer;
mod crypto;
mod offer;
mod parse;
mod rtc;

pub use answer::{AnswerError, Negotiated, accept_answer, answer};
pub use crypto::{Crypto, LocalKeys, mask_sdp_keys};
pub use offer::{offer, reoffer};
pub use parse::{SdpError, parse};
pub use rtc::{LocalRtc, RtcLines};

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use crate::{Codec, LegParams, OtherFormats, XrWish, latch::Trust, rtc::RtcParams, srtp::SrtpParams};

/// Who sends, seen from the side that wrote the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `a=sendrecv`, the default.
    SendRecv,
    /// `a=sendonly`: how a phone holds the other side.
    SendOnly,
    /// `a=recvonly`.
    RecvOnly,
    /// `a=inactive`.
    Inactive,
}

impl Direction {
    /// From two flags.
    #[must_use]
    pub const fn new(send: bool, recv: bool) -> Self {
        match (send, recv) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The writer sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// The writer receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The attribute's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// One `a=rtpmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpMap {
    /// The payload type.
    pub payload_type: u8,
    /// Encoding name as written.
    pub name: String,
    /// Clock rate.
    pub rate_hz: u32,
    /// Channels; 1 where none are written.
    pub channels: u8,
}

impl RtpMap {
    /// The codec, if it is one of ours at its clock: Opus always says two channels (RFC 7587 §7).
    fn codec(&self) -> Option<Codec> {
        let codec = Codec::ALL.into_iter().find(|codec| self.name.eq_ignore_ascii_case(codec.encoding_name()))?;
        (self.rate_hz == codec.rtp_clock_hz() && self.channels == codec.sdp_channels()).then_some(codec)
    }
}

/// One media description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaLine {
    /// `audio`, `video`, …
    pub kind: String,
    /// 0: rejected or switched off.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP` and `UDP/TLS/RTP/SAVPF` are the ones we speak.
    pub proto: String,
    /// Payload types or other formats, in order of preference.
    pub formats: Vec<String>,
    /// Its own `c=`.
    pub connection: Option<IpAddr>,
    /// Its `a=rtpmap` lines.
    pub rtpmaps: Vec<RtpMap>,
    /// `a=ptime`.
    pub ptime_ms: Option<u32>,
    /// Its own direction attribute.
    pub direction: Option<Direction>,
    /// `a=rtcp` (RFC 3605): port and, if given, address.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// `a=rtcp-xr` (RFC 3611 §5.1).
    pub xr: Option<XrWish>,
    /// The `a=crypto` lines we can use, preferred first (RFC 4568 §5.1.1).
    pub crypto: Vec<Crypto>,
    /// What a browser says about its ICE and DTLS here.
    pub rtc: RtcLines,
    /// `a=mid` (RFC 5888).
    pub mid: Option<String>,
}

/// A parsed session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sdp {
    /// `o=` session id and version, as written.
    pub origin: Option<(String, String)>,
    /// Session-level `c=`.
    pub connection: Option<IpAddr>,
    /// Session-level direction.
    pub direction: Option<Direction>,
    /// Session-level `a=rtcp-xr`.
    pub xr: Option<XrWish>,
    /// ICE and DTLS for all descriptions.
    pub rtc: RtcLines,
    /// The `a=mid`s of `a=group:BUNDLE` (RFC 9143).
    pub bundle: Vec<String>,
    /// The media descriptions in order.
    pub media: Vec<MediaLine>,
}

impl Sdp {
    /// The extended reports the writer wants for a description.
    #[must_use]
    pub fn xr(&self, media: &MediaLine) -> XrWish {
        media.xr.or(self.xr).unwrap_or_default()
    }

    /// Index of the audio description we would take: audio, port not 0, one of our codecs, over RTP/AVP,
    /// over RTP/SAVP with a key, or a browser's with all it needs.
    #[must_use]
    pub fn audio(&self) -> Option<usize> {
        self.media.iter().position(|media| self.is_usable_audio(media) && self.address(media).is_some())
    }

    /// The user fragment of the browser's audio.
    #[must_use]
    pub fn ice_ufrag(&self) -> Option<&str> {
        let audio = self.media.iter().find(|media| media.kind == "audio")?;
        audio.rtc.ufrag.as_deref().or(self.rtc.ufrag.as_deref())
    }

    fn is_usable_audio(&self, media: &MediaLine) -> bool {
        media.is_usable_audio() && (!media.is_rtc() || (self.rtc(media).is_whole() && media.rtcp_mux))
    }

    /// What a browser says about ICE and DTLS of a description.
    fn rtc(&self, media: &MediaLine) -> RtcLines {
        media.rtc.or(&self.rtc)
    }

    /// The peer's RTP address for a description.
    #[must_use]
    pub fn address(&self, media: &MediaLine) -> Option<SocketAddr> {
        let ip = media.connection.or(self.connection);
        // A browser's address is what it checks from; it may well write a name or none.
        let ip = ip.or(media.is_rtc().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let ip = ip.filter(|ip| !ip.is_multicast())?;
        Some(SocketAddr::new(ip, media.port))
    }

    /// The direction of a description; a connection of 0.0.0.0 (RFC 2543 hold) receives nothing.
    #[must_use]
    pub fn direction(&self, media: &MediaLine) -> Direction {
        let written = media.direction.or(self.direction).unwrap_or(Direction::SendRecv);
        let held = !media.is_rtc() && media.connection.or(self.connection).is_some_and(|ip| ip.is_unspecified());
        Direction::new(written.sends(), written.receives() && !held)
    }

    /// The peer has put us on hold (sendonly, inactive or 0.0.0.0 on its audio).
    #[must_use]
    pub fn is_hold(&self) -> bool {
        self.audio().is_some_and(|index| !self.direction(&self.media[index]).receives())
    }
}

impl MediaLine {
    /// The codec behind a format, by `a=rtpmap` or the static table (RFC 3551 §6).
    #[must_use]
    pub fn codec(&self, format: &str) -> Option<(u8, Codec)> {
        let payload_type: u8 = format.parse().ok().filter(|pt| *pt < 128)?;
        if let Some(map) = self.rtpmaps.iter().find(|map| map.payload_type == payload_type) {
            return map.codec().map(|codec| (payload_type, codec));
        }
        [Codec::Pcma, Codec::Pcmu, Codec::G722]
            .into_iter()
            .find(|codec| codec.static_payload_type() == payload_type)
            .map(|codec| (payload_type, codec))
    }

    /// The payload type of `telephone-event` and its clock, if listed: the one at the clock of the codec
    /// in use (RFC 4733 §2.1), else the one at 8000, which old phones offer whatever they speak.
    #[must_use]
    pub fn telephone_event(&self, clock_hz: u32) -> Option<(u8, u32)> {
        [clock_hz, 8000].into_iter().find_map(|clock_hz| Some((self.telephone_event_at(clock_hz)?, clock_hz)))
    }

    fn telephone_event_at(&self, clock_hz: u32) -> Option<u8> {
        let listed = |pt: u8| self.formats.iter().any(|format| format.parse() == Ok(pt));
        self.rtpmaps
            .iter()
            .find(|map| {
                map.name.eq_ignore_ascii_case("telephone-event") && map.rate_hz == clock_hz && listed(map.payload_type)
            })
            .map(|map| map.payload_type)
    }

    fn is_plain(&self) -> bool {
        self.proto.eq_ignore_ascii_case("RTP/AVP")
    }

    fn is_encrypted(&self) -> bool {
        self.proto.eq_ignore_ascii_case("RTP/SAVP")
    }

    /// DTLS-SRTP with feedback, as browsers have it (RFC 5764 §8); what there is without it serves too.
    pub(crate) fn is_rtc(&self) -> bool {
        ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"].iter().any(|proto| self.proto.eq_ignore_ascii_case(proto))
    }

    fn is_usable_audio(&self) -> bool {
        self.kind == "audio"
            && self.port != 0
            && (self.is_plain() || self.is_rtc() || (self.is_encrypted() && !self.crypto.is_empty()))
            && self.formats.iter().any(|format| self.codec(format).is_some())
    }
}

/// Whether audio is to be encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// RTP/AVP only.
    #[default]
    Plain,
    /// We offer RTP/SAVP only; offered both, we take it; offered RTP/AVP alone, we take that.
    Preferred(LocalKeys),
    /// RTP/SAVP only.
    Required(LocalKeys),
    /// A browser's: ICE-lite and DTLS-SRTP only.
    Dtls(LocalRtc),
}

impl Security {
    const fn keys(&self) -> Option<&LocalKeys> {
        match self {
            Self::Plain | Self::Dtls(_) => None,
            Self::Preferred(keys) | Self::Required(keys) => Some(keys),
        }
    }

    const fn rtc(&self) -> Option<&LocalRtc> {
        match self {
            Self::Dtls(local) => Some(local),
            Self::Plain | Self::Preferred(_) | Self::Required(_) => None,
        }
    }
}

/// Our side of the one audio stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAudio {
    /// Advertised RTP address; RTCP is on the next port.
    pub address: SocketAddr,
    /// Codecs in order of preference: offered so, while the peer's order decides in an answer.
    pub codecs: Vec<Codec>,
    /// Taken whatever the peer's order, if the peer has it: what the other leg of a bridge speaks, so
    /// that nothing has to be transcoded.
    pub preferred: Option<Codec>,
    /// Offer or accept telephone events.
    pub dtmf: bool,
    /// We want to send.
    pub send: bool,
    /// We want to receive.
    pub recv: bool,
    /// Encryption.
    pub security: Security,
    /// `o=` session id: one per session of ours.
    pub session_id: u64,
    /// `o=` version: raised by one for each changed description (RFC 3264 §8).
    pub version: u64,
}

impl LocalAudio {
    /// G.711 (A-law first), telephone events, both directions, unencrypted, version 1.
    #[must_use]
    pub fn new(address: SocketAddr, session_id: u64) -> Self {
        Self {
            address,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            preferred: None,
            dtmf: true,
            send: true,
            recv: true,
            security: Security::Plain,
            session_id,
            version: 1,
        }
    }
}

/// What offer/answer settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The peer's RTP address.
    pub remote: SocketAddr,
    /// The peer's RTCP address; equal to `remote` when RTP and RTCP share the port (RFC 5761).
    pub remote_rtcp: Option<SocketAddr>,
    /// The codec to send.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// Payload type of telephone events.
    pub dtmf_pt: Option<u8>,
    /// The clock of those events.
    pub dtmf_clock_hz: u32,
    /// What the peer may send beside these.
    pub others: OtherFormats,
    /// The packet time the peer asked for, if any (we send 20 ms).
    pub ptime_ms: Option<u32>,
    /// We may send.
    pub send: bool,
    /// We take what comes.
    pub recv: bool,
    /// Extended reports the peer wants.
    pub xr: XrWish,
    /// How it is encrypted.
    pub srtp: Option<SrtpParams>,
    /// A browser's leg.
    pub rtc: Option<Arc<RtcParams>>,
    /// Our SDP that was sent or will be; the next one of the session has version + 1.
    pub version: u64,
}

impl Agreed {
    /// The same as parameters of a leg.
    #[must_use]
    pub fn leg_params(&self, trust: Trust) -> LegParams {
        LegParams {
            remote: self.remote,
            remote_rtcp: self.remote_rtcp,
            codec: self.codec,
            payload_type: self.payload_type,
            dtmf_pt: self.dtmf_pt,
            dtmf_clock_hz: self.dtmf_clock_hz,
            others: self.others,
            inband_dtmf: false,
            trust,
            send: self.send,
            recv: self.recv,
            xr: self.xr,
            srtp: self.srtp.clone(),
            rtc: self.rtc.clone(),
        }
    }
}

/// `IN IP4 …` or `IN IP6 …`.
fn ip_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("IN IP4 {ip}"),
        IpAddr::V6(ip) => format!("IN IP6 {ip}"),
    }
}
