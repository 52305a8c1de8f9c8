//! The little SDP a telephone needs (RFC 4566, RFC 3264): one audio line,
//! G.711 and telephone-event.

use std::net::{IpAddr, SocketAddr};

/// Media direction as seen by the description's author.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Puts the other side on hold.
    SendOnly,
    /// Listens.
    RecvOnly,
    /// Nothing flows.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The answer to an offer with this direction by someone who wants all.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }

    /// True when the author of a description with this direction listens.
    #[must_use]
    pub fn author_listens(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// What a session description says about its one audio stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    /// Where the author receives RTP.
    pub rtp: SocketAddr,
    /// Payload types in order of preference.
    pub payload_types: Vec<u8>,
    /// Payload type of telephone-event, if offered.
    pub dtmf_pt: Option<u8>,
    /// Direction.
    pub direction: Direction,
    /// Version in the o= line: rises with every change.
    pub version: u64,
}

/// Payload type of A-law (RFC 3551).
pub const PT_PCMA: u8 = 8;
/// Payload type of µ-law (RFC 3551).
pub const PT_PCMU: u8 = 0;
/// Payload type this harness offers for telephone-event.
pub const PT_DTMF: u8 = 101;

impl Sdp {
    /// An offer of the codecs in `payload_types` plus telephone-event.
    #[must_use]
    pub fn offer(rtp: SocketAddr, payload_types: &[u8], version: u64) -> Self {
        Self {
            rtp,
            payload_types: payload_types.to_vec(),
            dtmf_pt: Some(PT_DTMF),
            direction: Direction::SendRecv,
            version,
        }
    }

    /// Reads a body. `None` when there is no audio line with G.711 in it.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let (mut address, mut port, mut in_audio) = (None, None, false);
        let (mut formats, mut dtmf_pt) = (Vec::new(), None);
        let (mut direction, mut version) = (Direction::SendRecv, 0);
        for line in text.lines() {
            let Some((kind, value)) = line.trim_end().split_once('=') else {
                continue;
            };
            match kind {
                "o" => version = value.split(' ').nth(2)?.parse().unwrap_or(0),
                "c" if in_audio || port.is_none() => {
                    address = value.split(' ').nth(2)?.split('/').next()?.parse::<IpAddr>().ok();
                }
                "m" => {
                    in_audio = value.starts_with("audio ") && port.is_none();
                    if in_audio {
                        let mut words = value.split(' ').skip(1);
                        port = words.next()?.split('/').next()?.parse::<u16>().ok();
                        formats = words.skip(1).filter_map(|w| w.parse().ok()).collect();
                    }
                }
                "a" if in_audio || port.is_none() => {
                    direction = parse_direction(value).unwrap_or(direction);
                    dtmf_pt = parse_dtmf(value).or(dtmf_pt);
                }
                _ => {}
            }
        }
        let payload_types: Vec<u8> = formats.into_iter().filter(|&pt| pt == PT_PCMA || pt == PT_PCMU).collect();
        let rtp = SocketAddr::new(address?, port?);
        let usable = !payload_types.is_empty();
        usable.then_some(Self { rtp, payload_types, dtmf_pt, direction, version })
    }

    /// The answer to this offer with our address: its first codec that we `accept`.
    #[must_use]
    pub fn answer(&self, rtp: SocketAddr, accept: &[u8], version: u64) -> Option<Self> {
        let chosen = self.payload_types.iter().copied().find(|pt| accept.contains(pt))?;
        Some(Self {
            rtp,
            payload_types: vec![chosen],
            dtmf_pt: self.dtmf_pt,
            direction: self.direction.mirrored(),
            version,
        })
    }

    /// True when the author may be sent audio.
    #[must_use]
    pub fn wants_audio(&self) -> bool {
        self.direction.author_listens() && !self.rtp.ip().is_unspecified() && self.rtp.port() != 0
    }

    /// The body's text.
    #[must_use]
    pub fn to_body(&self) -> String {
        let ip = self.rtp.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let formats = self.payload_types.iter().chain(self.dtmf_pt.iter());
        let list: Vec<String> = formats.map(u8::to_string).collect();
        let mut body = format!(
            "v=0\r\no=- 4711 {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {}\r\n",
            self.version,
            self.rtp.port(),
            list.join(" ")
        );
        for pt in &self.payload_types {
            let name = if *pt == PT_PCMU { "PCMU" } else { "PCMA" };
            body.push_str(&format!("a=rtpmap:{pt} {name}/8000\r\n"));
        }
        if let Some(pt) = self.dtmf_pt {
            body.push_str(&format!("a=rtpmap:{pt} telephone-event/8000\r\na=fmtp:{pt} 0-15\r\n"));
        }
        body.push_str(&format!("a=ptime:20\r\na={}\r\n", self.direction.token()));
        body
    }
}

fn parse_direction(attribute: &str) -> Option<Direction> {
    let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    all.into_iter().find(|d| d.token() == attribute)
}

fn parse_dtmf(attribute: &str) -> Option<u8> {
    let (pt, encoding) = attribute.strip_prefix("rtpmap:")?.split_once(' ')?;
    let named = encoding.trim().to_ascii_lowercase().starts_with("telephone-event/8000");
    named.then(|| pt.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_answered_with_its_first_accepted_codec_and_its_own_dtmf_type() {
        let body = "v=0\r\no=- 1 3 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18 0 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=sendonly\r\n";
        let offer = Sdp::parse(body.as_bytes()).unwrap();
        assert_eq!((offer.payload_types.as_slice(), offer.version), (&[0, 8][..], 3));
        let answer = offer.answer("10.0.0.2:5000".parse().unwrap(), &[PT_PCMA], 1).unwrap();
        assert_eq!((answer.payload_types, answer.dtmf_pt), (vec![PT_PCMA], Some(96)));
        assert_eq!(answer.direction, Direction::RecvOnly);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut sdp = Sdp::offer("127.0.1.1:12000".parse().unwrap(), &[PT_PCMA, PT_PCMU], 5);
        sdp.direction = Direction::Inactive;
        assert_eq!(Sdp::parse(sdp.to_body().as_bytes()), Some(sdp));
    }

    #[test]
    fn old_style_hold_sends_nothing() {
        let body = "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 8\r\n";
        assert!(!Sdp::parse(body.as_bytes()).unwrap().wants_audio());
    }

    #[test]
    fn truncated_descriptions_never_panic() {
        let sdp = Sdp::offer("127.0.1.1:12000".parse().unwrap(), &[PT_PCMA], 5).to_body();
        for end in 0..sdp.len() {
            let _ = Sdp::parse(&sdp.as_bytes()[..end]);
        }
    }
}
