//! Receiving: replay, then the tag, then decryption; only then is anything remembered.

use super::{
    MasterKey, SrtpError, Suite,
    protect::roc,
    session::{Number, RTCP, RTP, Session},
    stream::Window,
};
use crate::{limits::SRTP_STREAMS_MAX, rtp::HEADER_LEN};

/// Header and SSRC of the first RTCP packet stay readable (RFC 3711 §3.4).
pub(super) const RTCP_HEAD_LEN: usize = 8;
const RTCP_INDEX_LEN: usize = 4;

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    /// No packet has proven since the key changed that the sender's roll-over count went on.
    rekeyed: bool,
    used: u64,
}

/// Takes what the peer of one leg sends, in up to `SRTP_STREAMS_MAX` streams.
#[derive(Debug)]
pub struct Unprotector {
    rtp: Session,
    rtcp: Session,
    streams: Vec<Stream>,
    uses: u64,
}

impl Unprotector {
    /// Begins with roll-over count 0 for every stream.
    #[must_use]
    pub fn new(suite: Suite, master: &MasterKey) -> Self {
        Self {
            rtp: Session::new(suite, master, RTP, suite.rtp_tag_len()),
            rtcp: Session::new(suite, master, RTCP, suite.rtcp_tag_len()),
            streams: Vec::with_capacity(SRTP_STREAMS_MAX),
            uses: 0,
        }
    }

    /// The peer changes its key. RFC 3711 §3.3.1 lets its roll-over counts go on; many begin at 0
    /// again, so the first packet of each stream may prove either.
    pub fn rekey(&mut self, suite: Suite, master: &MasterKey) {
        self.rtp = Session::new(suite, master, RTP, suite.rtp_tag_len());
        self.rtcp = Session::new(suite, master, RTCP, suite.rtcp_tag_len());
        for stream in &mut self.streams {
            stream.rekeyed = true;
            stream.rtp.rekey();
            stream.rtcp = Window::default();
        }
    }

    /// Authenticates and decrypts an SRTP packet in place. Returns the length of the RTP packet.
    ///
    /// # Errors
    /// See [`SrtpError`]; the bytes and all state are as they were.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(self.rtp.tag_len).ok_or(SrtpError::Malformed)?;
        let (message, tag) = packet.split_at_mut(len);
        let head_len = head_len(message)?;
        let seq = u16::from_be_bytes([message[2], message[3]]);
        let ssrc = word(message, 8).ok_or(SrtpError::Malformed)?;
        let place = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let (mut window, rekeyed) = place.map_or((Window::default(), false), |at| {
            let stream = &self.streams[at];
            (stream.rtp, stream.rekeyed)
        });
        // Where the count is a guess, a second one: the sender begins again with its new key, or
        // its first packets were lost on the way and a round ended among them.
        let second = match place {
            Some(_) => rekeyed.then_some(u64::from(seq)),
            None => (seq < 0x8000).then_some(1 << 16 | u64::from(seq)),
        };
        let mut index = window.estimate(seq).and_then(|index| window.check(index).map(|()| index));
        let (head, body) = message.split_at_mut(head_len);
        let mut opens = |index: u64| self.rtp.open(Number { ssrc, index }, head, body, &roc(index), tag);
        if !index.is_ok_and(&mut opens) {
            let failed = index.err().unwrap_or(SrtpError::Unauthentic);
            index = second.filter(|index| opens(*index)).ok_or(failed);
            window = Window::default();
        }
        let index = index?;
        window.note(index);
        let stream = self.stream(place, ssrc);
        stream.rtp = window;
        stream.rekeyed = false;
        Ok(len)
    }

    /// Authenticates and decrypts an SRTCP packet in place. Returns the length of the RTCP packet.
    ///
    /// # Errors
    /// See [`SrtpError`]; the bytes and all state are as they were.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let tag_len = self.rtcp.tag_len;
        let len = packet.len().checked_sub(tag_len + RTCP_INDEX_LEN).filter(|len| *len >= RTCP_HEAD_LEN);
        let len = len.ok_or(SrtpError::Malformed)?;
        if packet[0] >> 6 != 2 {
            return Err(SrtpError::Malformed);
        }
        // The index stands before the tag, under GCM behind it (RFC 7714 §9).
        let (trailer_at, tag_at) = if self.rtcp.is_aead() { (len + tag_len, len) } else { (len, len + RTCP_INDEX_LEN) };
        let (Some(ssrc), Some(trailer)) = (word(packet, 4), word(packet, trailer_at)) else {
            return Err(SrtpError::Malformed);
        };
        let (is_encrypted, index) = (trailer >> 31 == 1, u64::from(trailer & !(1 << 31)));
        let place = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let mut window = place.map_or(Window::default(), |at| self.streams[at].rtcp);
        window.check(index)?;
        let is_authentic = if is_encrypted {
            self.open_rtcp(packet, len, tag_at, Number { ssrc, index }, trailer)
        } else {
            let (message, tag) = packet.split_at(tag_at);
            self.rtcp.is_authentic_in_clear(message, &tag[..tag_len])
        };
        if !is_authentic {
            return Err(SrtpError::Unauthentic);
        }
        window.note(index);
        self.stream(place, ssrc).rtcp = window;
        Ok(len)
    }

    fn open_rtcp(&self, packet: &mut [u8], len: usize, tag_at: usize, number: Number, trailer: u32) -> bool {
        let (head, rest) = packet.split_at_mut(RTCP_HEAD_LEN);
        let (body, behind) = rest.split_at_mut(len - RTCP_HEAD_LEN);
        let tag = &behind[tag_at - len..][..self.rtcp.tag_len];
        let trailer = trailer.to_be_bytes();
        if !self.rtcp.is_aead() {
            return self.rtcp.open(number, head, body, &trailer, tag);
        }
        let mut known = [0; RTCP_HEAD_LEN + RTCP_INDEX_LEN];
        known[..RTCP_HEAD_LEN].copy_from_slice(head);
        known[RTCP_HEAD_LEN..].copy_from_slice(&trailer);
        self.rtcp.open(number, &known, body, &[], tag)
    }

    /// The stream's state, made if it is new: an authentic packet has come.
    fn stream(&mut self, place: Option<usize>, ssrc: u32) -> &mut Stream {
        self.uses += 1;
        let at = place.unwrap_or_else(|| {
            let fresh = Stream { ssrc, rtp: Window::default(), rtcp: Window::default(), rekeyed: false, used: 0 };
            if self.streams.len() < SRTP_STREAMS_MAX {
                self.streams.push(fresh);
                return self.streams.len() - 1;
            }
            // A peer with so many streams one after the other: the longest unused one is over.
            let oldest = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.used);
            let at = oldest.map_or(0, |(at, _)| at);
            self.streams[at] = fresh;
            at
        });
        let stream = &mut self.streams[at];
        stream.used = self.uses;
        stream
    }
}

/// Length of an RTP header with its CSRCs and extension: what stays readable.
pub(super) fn head_len(packet: &[u8]) -> Result<usize, SrtpError> {
    if packet.len() < HEADER_LEN || packet[0] >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    let mut len = HEADER_LEN + usize::from(packet[0] & 0x0F) * 4;
    if packet[0] & 0x10 != 0 {
        let extension = word(packet, len).ok_or(SrtpError::Malformed)?;
        len += 4 + (extension & 0xFFFF) as usize * 4;
    }
    if len > packet.len() { Err(SrtpError::Malformed) } else { Ok(len) }
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}
