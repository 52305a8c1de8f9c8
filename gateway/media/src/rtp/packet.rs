//! Parsing and writing of RTP packets (RFC 3550 §5.1).

use crate::limits::RTP_PAYLOAD_LEN_MAX;

/// Length of the fixed header, all we ever write.
pub const HEADER_LEN: usize = 12;

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than its own header says.
    #[error("RTP packet cut short")]
    Short,
    /// The version is not 2.
    #[error("not RTP version 2")]
    Version,
    /// The padding count is 0 or longer than the payload.
    #[error("RTP padding is longer than the packet")]
    Padding,
    /// The payload is longer than `RTP_PAYLOAD_LEN_MAX`.
    #[error("RTP payload too long")]
    Long,
    /// The payload type belongs to RTCP (RFC 5761 §4).
    #[error("an RTCP packet on the RTP port")]
    Rtcp,
}

/// The fields of the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First packet after a pause or of a digit.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// Sequence number.
    pub seq: u16,
    /// Timestamp in samples.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// Appends the 12 bytes of the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(0x80);
        out.push((u8::from(self.marker) << 7) | (self.payload_type & 0x7F));
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// A received packet: header and payload, with CSRCs, extension and padding taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// What it carries; may be empty.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    ///
    /// # Errors
    /// See [`PacketError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let (fixed, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(PacketError::Short)?;
        if fixed[0] >> 6 != 2 {
            return Err(PacketError::Version);
        }
        // RFC 5761 §4: SR, RR, SDES, BYE, APP and their kin read as marker + payload type 64–95.
        if (192..=223).contains(&fixed[1]) {
            return Err(PacketError::Rtcp);
        }
        let csrc_len = usize::from(fixed[0] & 0x0F) * 4;
        let mut payload = rest.get(csrc_len..).ok_or(PacketError::Short)?;
        if fixed[0] & 0x10 != 0 {
            let (extension, after) = payload.split_first_chunk::<4>().ok_or(PacketError::Short)?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            payload = after.get(words * 4..).ok_or(PacketError::Short)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*payload.last().ok_or(PacketError::Padding)?);
            let keep = payload.len().checked_sub(padding).filter(|_| padding > 0);
            payload = &payload[..keep.ok_or(PacketError::Padding)?];
        }
        if payload.len() > RTP_PAYLOAD_LEN_MAX {
            return Err(PacketError::Long);
        }
        let header = Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            seq: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        Ok(Self { header, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header { marker: true, payload_type: 8, seq: 65535, timestamp: 7, ssrc: 0xDEAD_BEEF };
        header.write(&mut bytes);
        bytes.extend_from_slice(&[0xD5; 160]);
        bytes
    }

    #[test]
    fn a_written_packet_reads_back() {
        let bytes = sample();
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.header.marker);
        assert_eq!((packet.header.seq, packet.header.timestamp), (65535, 7));
        assert_eq!((packet.header.payload_type, packet.header.ssrc), (8, 0xDEAD_BEEF));
        assert_eq!(packet.payload.len(), 160);
    }

    #[test]
    fn csrc_extension_and_padding_are_taken_off() {
        let mut bytes = sample();
        bytes[0] = 0x80 | 0x20 | 0x10 | 2;
        // Two CSRCs, an extension of one word, then the payload whose last four bytes are padding.
        let head = [1, 1, 1, 1, 2, 2, 2, 2, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9];
        bytes.splice(12..12, head);
        bytes.extend_from_slice(&[0, 0, 0, 4]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload, &[0xD5; 160]);
    }

    #[test]
    fn broken_packets_are_named() {
        assert_eq!(Packet::parse(&[]), Err(PacketError::Short));
        assert_eq!(Packet::parse(&[0u8; 12]), Err(PacketError::Version));
        let mut rtcp = sample();
        rtcp[1] = 200;
        assert_eq!(Packet::parse(&rtcp), Err(PacketError::Rtcp));
        let mut padded = sample();
        padded[0] |= 0x20;
        *padded.last_mut().unwrap() = 161;
        assert_eq!(Packet::parse(&padded), Err(PacketError::Padding));
        *padded.last_mut().unwrap() = 0;
        assert_eq!(Packet::parse(&padded), Err(PacketError::Padding));
        let mut long = sample();
        long.resize(12 + RTP_PAYLOAD_LEN_MAX + 1, 0);
        assert_eq!(Packet::parse(&long), Err(PacketError::Long));
        let mut extended = sample();
        extended[0] |= 0x10;
        extended[14..16].copy_from_slice(&[0xFF, 0xFF]);
        assert_eq!(Packet::parse(&extended), Err(PacketError::Short));
    }
}
