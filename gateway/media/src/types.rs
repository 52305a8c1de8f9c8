//! The plain types shared by the core, its driver and the call logic.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    latch::Trust,
    limits::{OTHER_AUDIO_MAX, OTHER_EVENTS_MAX},
    quality::LegQuality,
    rtc::RtcParams,
    srtp::{SrtpParams, Suite},
};

/// Names one leg (one RTP session with one peer); unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

impl std::fmt::Display for LegId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "leg-{}", self.0)
    }
}

/// Names one recording; the caller's own id, handed back unchanged in events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordingId(pub String);

impl std::fmt::Display for RecordingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The audio codecs spoken here. Whatever they carry is 8 kHz mono inside this package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T G.711 A-law, the standard in China and Europe; static payload type 8 (RFC 3551 §6).
    Pcma,
    /// ITU-T G.711 µ-law; static payload type 0 (RFC 3551 §6).
    Pcmu,
    /// ITU-T G.722 at 64 kbit/s; static payload type 9 (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 6716), carried as in RFC 7587.
    Opus,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pcma, Self::Pcmu, Self::G722, Self::Opus];

    /// The payload type RFC 3551 §6 assigns; of Opus, which has none, the one of our own offers.
    #[must_use]
    pub const fn static_payload_type(self) -> u8 {
        match self {
            Self::Pcma => 8,
            Self::Pcmu => 0,
            Self::G722 => 9,
            Self::Opus => 111,
        }
    }

    /// The encoding name used in `a=rtpmap`.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Units of the RTP timestamp a second. G.722 samples at 16 kHz and counts at 8 (RFC 3551
    /// §4.5.2); Opus counts at 48 whatever it carries (RFC 7587 §4.1).
    #[must_use]
    pub const fn rtp_clock_hz(self) -> u32 {
        match self {
            Self::Pcma | Self::Pcmu | Self::G722 => 8000,
            Self::Opus => 48_000,
        }
    }

    /// Channels in `a=rtpmap`: Opus says two whatever it carries (RFC 7587 §7).
    #[must_use]
    pub(crate) const fn sdp_channels(self) -> u8 {
        match self {
            Self::Pcma | Self::Pcmu | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// One byte a sample and no state: the hot path translates and relays it without a decoder.
    #[must_use]
    pub const fn is_g711(self) -> bool {
        matches!(self, Self::Pcma | Self::Pcmu)
    }
}

/// Extended reports a peer wants, by its `a=rtcp-xr` (RFC 3611 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XrWish {
    /// `voip-metrics`.
    pub voip_metrics: bool,
    /// `rcvr-rtt`: our clock as a receiver.
    pub reference_time: bool,
}

/// Payload types agreed on beside those we send: a peer may change to any of them at any time, and
/// nothing announces it (RFC 3264 §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherFormats {
    audio: [Option<(u8, Codec)>; OTHER_AUDIO_MAX],
    events: [Option<(u8, u32)>; OTHER_EVENTS_MAX],
}

impl OtherFormats {
    /// Takes audio of a payload type. The first meaning of a payload type holds; beyond
    /// [`OTHER_AUDIO_MAX`] nothing is taken.
    pub fn add_audio(&mut self, payload_type: u8, codec: Codec) {
        if self.audio(payload_type).is_none() && self.event_clock_hz(payload_type).is_none() {
            add(&mut self.audio, (payload_type, codec));
        }
    }

    /// Takes telephone events of a payload type, counted at `clock_hz`; at most [`OTHER_EVENTS_MAX`].
    pub fn add_events(&mut self, payload_type: u8, clock_hz: u32) {
        if self.audio(payload_type).is_none() && self.event_clock_hz(payload_type).is_none() {
            add(&mut self.events, (payload_type, clock_hz));
        }
    }

    /// The codec of a payload type.
    #[must_use]
    pub fn audio(&self, payload_type: u8) -> Option<Codec> {
        find(&self.audio, payload_type)
    }

    /// The clock of the telephone events of a payload type.
    #[must_use]
    pub fn event_clock_hz(&self, payload_type: u8) -> Option<u32> {
        find(&self.events, payload_type)
    }
}

fn add<T>(places: &mut [Option<T>], entry: T) {
    if let Some(free) = places.iter_mut().find(|place| place.is_none()) {
        *free = Some(entry);
    }
}

fn find<T: Copy>(places: &[Option<(u8, T)>], payload_type: u8) -> Option<T> {
    places.iter().flatten().find(|(pt, _)| *pt == payload_type).map(|(_, meaning)| *meaning)
}

/// What an offer/answer exchange settled for one leg. Given again after each re-INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegParams {
    /// The peer's RTP address from its SDP; an unspecified address or port 0 means "send nothing".
    pub remote: SocketAddr,
    /// The peer's RTCP address (`a=rtcp`, RFC 3605); `None` means RTP port + 1.
    pub remote_rtcp: Option<SocketAddr>,
    /// The codec we send.
    pub codec: Codec,
    /// The payload type of `codec` in this session.
    pub payload_type: u8,
    /// The payload type of `telephone-event` (RFC 4733), if agreed.
    pub dtmf_pt: Option<u8>,
    /// The clock those events are counted at: beside Opus it may be another than the audio's.
    pub dtmf_clock_hz: u32,
    /// What the peer may send beside `payload_type` and `dtmf_pt`.
    pub others: OtherFormats,
    /// Look for digits as tones in the peer's audio, until it sends its first event (G.711 only).
    pub inband_dtmf: bool,
    /// Where the peer's media may come from and go to beside `remote`.
    pub trust: Trust,
    /// We may send media to the peer.
    pub send: bool,
    /// We take media from the peer; when false its audio is neither bridged nor recorded.
    pub recv: bool,
    /// Extended reports the peer asked for (RFC 3611 §5).
    pub xr: XrWish,
    /// Encryption; `None` is plain RTP. Equal keys go on, others begin anew with the next packet.
    pub srtp: Option<SrtpParams>,
    /// A browser's leg: ICE-lite on one port, and keys that come out of a DTLS handshake, for which `srtp` is
    /// `None` here. Nothing is sent before there are any.
    pub rtc: Option<Arc<RtcParams>>,
}

/// Counters of one leg, for the call's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegStats {
    /// RTP packets accepted from the peer.
    pub packets_in: u64,
    /// RTP packets sent to the peer.
    pub packets_out: u64,
    /// Packets the peer sent and we never saw (RFC 3550 A.3), over all its streams.
    pub lost: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 A.8) at the end.
    pub jitter_ms: u32,
    /// Packets refused: foreign source, malformed, duplicate or too late.
    pub dropped: u64,
    /// Packets of an encrypted leg, RTCP too, that were not authentic or came twice.
    pub srtp_refused: u64,
    /// How the leg was encrypted at its end.
    pub srtp: Option<Suite>,
    /// Where the peer's accepted packets last came from.
    pub last_source: Option<SocketAddr>,
    /// How it sounded, both ways.
    pub quality: LegQuality,
}
