//! The sender's half of SRTP with AEAD_AES_256_GCM (RFC 3711 §4.3, RFC 7714 §8), written apart from the gateway's.

use aes::cipher::{BlockEncrypt, KeyInit};
use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, Nonce};

/// Key and salt of a master in this suite.
pub(crate) const KEY_LEN: usize = 32;
pub(crate) const SALT_LEN: usize = 12;
/// Version, payload type, number, timestamp, source.
const HEADER_LEN: usize = 12;
/// Labels of the derived values.
const ENCRYPTION: u8 = 0;
const SALT: u8 = 2;

/// Protects the packets of one stream.
pub(crate) struct Protector {
    cipher: Aes256Gcm,
    salt: [u8; SALT_LEN],
}

impl Protector {
    /// From a master key and salt.
    pub(crate) fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        let derived = derive::<KEY_LEN>(key, salt, ENCRYPTION)?;
        let salt = derive::<SALT_LEN>(key, salt, SALT)?;
        Some(Self { cipher: Aes256Gcm::new_from_slice(&derived).ok()?, salt })
    }

    /// Encrypts a packet with a plain header, whose number never began anew.
    pub(crate) fn protect(&self, packet: &mut Vec<u8>) -> Option<()> {
        let header: [u8; HEADER_LEN] = packet.get(..HEADER_LEN)?.try_into().ok()?;
        let mut nonce = [0; SALT_LEN];
        nonce[2..6].copy_from_slice(&header[8..]);
        nonce[10..].copy_from_slice(&header[2..4]);
        nonce.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        let payload = packet.get_mut(HEADER_LEN..)?;
        let tag = self.cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), &header, payload).ok()?;
        packet.extend_from_slice(&tag);
        Some(())
    }
}

/// AES in counter mode over the label and the salt (RFC 3711 §4.3.3); a salt of 12 bytes ends in zeros.
fn derive<const N: usize>(key: &[u8], salt: &[u8], label: u8) -> Option<[u8; N]> {
    let cipher = aes::Aes256::new_from_slice(key).ok()?;
    let mut out = [0; N];
    for (index, piece) in out.chunks_mut(16).enumerate() {
        let mut block = [0; 16];
        block[..SALT_LEN].copy_from_slice(salt.get(..SALT_LEN)?);
        block[7] ^= label;
        block[15] = u8::try_from(index).ok()?;
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        piece.copy_from_slice(&block[..piece.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_keeps_its_header_and_grows_by_its_tag() {
        let protector = Protector::new(&[7; KEY_LEN], &[9; SALT_LEN]).unwrap();
        let mut first = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
        first.extend([0xD5; 160]);
        let plain = first.clone();
        protector.protect(&mut first).unwrap();
        assert_eq!((first.len(), &first[..HEADER_LEN]), (plain.len() + 16, &plain[..HEADER_LEN]));
        let mut second = plain.clone();
        second[3] = 2;
        protector.protect(&mut second).unwrap();
        assert_ne!(first[HEADER_LEN..], second[HEADER_LEN..], "each number has its own stream");
        assert!(protector.protect(&mut vec![0; 5]).is_none());
    }
}
