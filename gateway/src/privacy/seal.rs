use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Why a key or a sealed value can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file can't be read or written.
    #[error("密钥文件 / key file {0}: {1}")]
    File(String, std::io::Error),
    /// The key file isn't 64 hex digits.
    #[error(
        "密钥文件损坏,请从备份恢复 / key file {0} is damaged: restore it from a backup (numbers sealed with it are lost otherwise)"
    )]
    Damaged(String),
    /// Numbers are sealed already and the key that opens them is gone.
    #[error(
        "密钥文件不存在,但库中已有加密号码:请从备份恢复 / key file {0} is missing but numbers are sealed with it: restore it from a backup"
    )]
    Missing(String),
    /// The value was sealed with another key or changed.
    #[error("sealed value cannot be opened with this key")]
    Open,
    /// The cipher refused.
    #[error("value cannot be sealed")]
    Seal,
}

/// Seals phone numbers (ChaCha20-Poly1305, RFC 8439) and makes the keyed hash they are looked up by.
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    hash_key: [u8; 32],
}

const NONCE_LEN: usize = 12;

impl Sealer {
    /// Reads the key file, or makes one (0600) at the first start. With `may_create` false (numbers
    /// are sealed already) a missing file is an error: a new key would lock every number away.
    pub fn open(path: &Path, may_create: bool) -> Result<Self, SealError> {
        let name = path.display().to_string();
        let hex = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !may_create => {
                return Err(SealError::Missing(name));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let hex = to_hex(&rand::random::<[u8; 32]>());
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(|e| SealError::File(name.clone(), e))?;
                file.write_all(hex.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|e| SealError::File(name.clone(), e))?;
                hex
            }
            Err(e) => return Err(SealError::File(name, e)),
        };
        let key = from_hex(hex.trim()).ok_or(SealError::Damaged(name))?;
        Ok(Self::from_key(key))
    }

    /// From 32 bytes.
    #[must_use]
    pub fn from_key(key: [u8; 32]) -> Self {
        // Two purposes, two keys (RFC 5869's idea: expand with a label).
        let derive =
            |label: &str| -> [u8; 32] { Sha256::new().chain_update(key).chain_update(label).finalize().into() };
        Self { cipher: ChaCha20Poly1305::new(&Key::from(derive("seal"))), hash_key: derive("look-up") }
    }

    /// nonce ‖ ciphertext ‖ tag.
    pub fn seal(&self, plain: &str) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), plain.as_bytes()).map_err(|_| SealError::Seal)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The plain text again.
    pub fn open_sealed(&self, sealed: &[u8]) -> Result<String, SealError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Open)?;
        let plain = self.cipher.decrypt(&Nonce::from(*nonce), body).map_err(|_| SealError::Open)?;
        String::from_utf8(plain).map_err(|_| SealError::Open)
    }

    /// Keyed hash for equality look-ups (hex).
    #[must_use]
    pub fn hash(&self, plain: &str) -> String {
        hmac_hex(&self.hash_key, plain.as_bytes())
    }
}

/// HMAC-SHA-256 as hex (RFC 2104).
#[must_use]
pub fn hmac_hex(key: &[u8], data: &[u8]) -> String {
    // HMAC takes keys of any length: the error case doesn't exist.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) else { return String::new() };
    mac.update(data);
    to_hex(&mac.finalize().into_bytes())
}

/// SHA-256 as hex.
#[must_use]
pub fn sha256_hex(data: &[u8]) -> String {
    to_hex(&Sha256::digest(data))
}

/// Compares without telling by its time where two values differ.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// 256 random bits as hex: session tokens, link secrets.
#[must_use]
pub fn random_token() -> String {
    to_hex(&rand::random::<[u8; 32]>())
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_number_opens_with_its_key_only() {
        let (a, b) = (Sealer::from_key([1; 32]), Sealer::from_key([2; 32]));
        let sealed = a.seal("+8613812345678").unwrap();
        assert_eq!(a.open_sealed(&sealed).unwrap(), "+8613812345678");
        assert!(matches!(b.open_sealed(&sealed), Err(SealError::Open)));
        assert!(matches!(a.open_sealed(&sealed[..5]), Err(SealError::Open)));
        assert_eq!(a.hash("1"), a.hash("1"));
        assert_ne!(a.hash("1"), b.hash("1"));
    }

    #[test]
    fn the_key_file_is_made_once_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let sealed = Sealer::open(&path, true).unwrap().seal("1").unwrap();
        assert_eq!(Sealer::open(&path, false).unwrap().open_sealed(&sealed).unwrap(), "1");
        fs::write(&path, "zz").unwrap();
        assert!(matches!(Sealer::open(&path, true), Err(SealError::Damaged(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Sealer::open(&path, false), Err(SealError::Missing(_))));
        assert!(!path.exists(), "no new key beside numbers sealed with the old one");
    }
}
