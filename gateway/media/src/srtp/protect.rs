//! Sending: encrypt, then append the tag.

use super::{
    MasterKey, SrtpError, Suite,
    session::{Number, RTCP, RTP, Session},
    stream::Window,
    unprotect::{RTCP_HEAD_LEN, head_len, word},
};
use crate::limits::SRTP_RTCP_INDEX_MAX;

/// Protects the one stream a leg sends.
#[derive(Debug)]
pub struct Protector {
    rtp: Session,
    rtcp: Session,
    ssrc: Option<u32>,
    /// What was sent: an index sent twice would use the same key stream twice (RFC 3711 §9.1).
    sent: Window,
    rtcp_next: u32,
}

impl Protector {
    /// Begins with roll-over count 0 and SRTCP index 0.
    #[must_use]
    pub fn new(suite: Suite, master: &MasterKey) -> Self {
        Self {
            rtp: Session::new(suite, master, RTP, suite.rtp_tag_len()),
            rtcp: Session::new(suite, master, RTCP, suite.rtcp_tag_len()),
            ssrc: None,
            sent: Window::default(),
            rtcp_next: 0,
        }
    }

    /// Goes on with another suite or key; the indices go on too (RFC 3711 §3.3.1).
    pub fn rekey(&mut self, suite: Suite, master: &MasterKey) {
        self.rtp = Session::new(suite, master, RTP, suite.rtp_tag_len());
        self.rtcp = Session::new(suite, master, RTCP, suite.rtcp_tag_len());
    }

    fn claim(&mut self, ssrc: u32) -> Result<(), SrtpError> {
        if *self.ssrc.get_or_insert(ssrc) == ssrc { Ok(()) } else { Err(SrtpError::OtherStream) }
    }

    /// Turns the RTP packet that begins at `start` of `buffer` and ends with it into SRTP.
    ///
    /// # Errors
    /// See [`SrtpError`]; the buffer is as it was.
    pub fn protect_rtp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        let packet = buffer.get_mut(start..).ok_or(SrtpError::Malformed)?;
        let head_len = head_len(packet)?;
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = word(packet, 8).ok_or(SrtpError::Malformed)?;
        self.claim(ssrc)?;
        let index = self.sent.estimate(seq)?;
        self.sent.check(index)?;
        let (head, body) = packet.split_at_mut(head_len);
        let tag = self.rtp.seal(Number { ssrc, index }, head, body, &roc(index)).ok_or(SrtpError::Exhausted)?;
        buffer.extend_from_slice(&tag[..self.rtp.tag_len]);
        self.sent.note(index);
        Ok(())
    }

    /// Turns the compound RTCP packet that begins at `start` of `buffer` and ends with it into SRTCP.
    ///
    /// # Errors
    /// See [`SrtpError`]; the buffer is as it was.
    pub fn protect_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        let packet = buffer.get_mut(start..).filter(|packet| packet.len() >= RTCP_HEAD_LEN);
        let packet = packet.ok_or(SrtpError::Malformed)?;
        let ssrc = word(packet, 4).ok_or(SrtpError::Malformed)?;
        self.claim(ssrc)?;
        let index = self.rtcp_next;
        if index > SRTP_RTCP_INDEX_MAX {
            return Err(SrtpError::Exhausted);
        }
        self.rtcp_next = index + 1;
        // The E bit: this one is encrypted (RFC 3711 §3.4).
        let trailer = (index | 1 << 31).to_be_bytes();
        let (head, body) = packet.split_at_mut(RTCP_HEAD_LEN);
        let number = Number { ssrc, index: u64::from(index) };
        if self.rtcp.is_aead() {
            let mut known = [0; RTCP_HEAD_LEN + 4];
            known[..RTCP_HEAD_LEN].copy_from_slice(head);
            known[RTCP_HEAD_LEN..].copy_from_slice(&trailer);
            let tag = self.rtcp.seal(number, &known, body, &[]).ok_or(SrtpError::Exhausted)?;
            buffer.extend_from_slice(&tag[..self.rtcp.tag_len]);
            buffer.extend_from_slice(&trailer);
        } else {
            let tag = self.rtcp.seal(number, head, body, &trailer).ok_or(SrtpError::Exhausted)?;
            buffer.extend_from_slice(&trailer);
            buffer.extend_from_slice(&tag[..self.rtcp.tag_len]);
        }
        Ok(())
    }
}

/// The roll-over counter of an index.
pub(super) fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}
