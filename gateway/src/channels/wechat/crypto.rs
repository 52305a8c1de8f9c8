//! WeChat's envelope (消息加解密): SHA-1 signatures and AES-256-CBC, the same for Official Accounts and
//! for 微信客服.

use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

use crate::privacy::constant_time_eq;

/// The padding's block, twice AES's own.
const PAD_BLOCK: usize = 32;
const AES_BLOCK: usize = 16;
/// Random bytes before the length.
const RANDOM_LEN: usize = 16;

/// WeChat's keys have 43 characters whose last one carries two bits nobody uses, not always zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The signature is of somebody without our token.
    #[error("签名不符:检查 token / the signature is wrong: compare the token with the platform's")]
    Signature,
    /// Not base64, not whole blocks, or padding that can't be.
    #[error("密文无法解开:检查 EncodingAESKey / cannot be decrypted: compare the EncodingAESKey")]
    Cipher,
    /// Sealed for another account.
    #[error("appid 不符 / the message is for another appid")]
    AppId,
    /// The key isn't 43 base64 characters.
    #[error("EncodingAESKey 应为 43 个字符 / an EncodingAESKey has 43 characters")]
    Key,
}

/// Token, key and account of one endpoint.
#[derive(Clone)]
pub struct Envelope {
    token: String,
    key: Option<[u8; 32]>,
    receiver: String,
}

/// An encrypted answer and what goes beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Base64 of the ciphertext.
    pub encrypt: String,
    /// SHA-1 over token, timestamp, nonce and `encrypt`.
    pub signature: String,
    /// Seconds since 1970.
    pub timestamp: String,
    /// Random.
    pub nonce: String,
}

impl Envelope {
    /// `aes_key` empty: plain mode. `receiver` is the appid (or corpid) messages must be for.
    ///
    /// # Errors
    /// [`CryptoError::Key`].
    pub fn new(token: &str, aes_key: &str, receiver: &str) -> Result<Self, CryptoError> {
        let key = if aes_key.is_empty() { None } else { Some(key_of(aes_key)?) };
        Ok(Self { token: token.into(), key, receiver: receiver.into() })
    }

    /// True in safe mode: only encrypted messages are taken.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.key.is_some()
    }

    /// Checks `signature` over the token and `parts` (timestamp, nonce and, where there is one, the ciphertext).
    ///
    /// # Errors
    /// [`CryptoError::Signature`].
    pub fn verify(&self, signature: &str, parts: &[&str]) -> Result<(), CryptoError> {
        let wanted = self.sign(parts);
        // An empty token would let anybody in.
        let same = constant_time_eq(wanted.as_bytes(), signature.as_bytes());
        if same && !self.token.is_empty() { Ok(()) } else { Err(CryptoError::Signature) }
    }

    /// SHA-1 over the sorted token and parts, hex.
    #[must_use]
    pub fn sign(&self, parts: &[&str]) -> String {
        let mut all: Vec<&str> = parts.to_vec();
        all.push(&self.token);
        all.sort_unstable();
        let mut hash = Sha1::new();
        for part in all {
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize())
    }

    /// Opens a ciphertext whose signature has been checked.
    ///
    /// # Errors
    /// [`CryptoError::Cipher`], [`CryptoError::AppId`]; [`CryptoError::Key`] in plain mode.
    pub fn open(&self, encrypt: &str) -> Result<String, CryptoError> {
        let key = self.key.as_ref().ok_or(CryptoError::Key)?;
        let sealed = LENIENT.decode(encrypt.trim()).map_err(|_| CryptoError::Cipher)?;
        if sealed.is_empty() || !sealed.len().is_multiple_of(AES_BLOCK) {
            return Err(CryptoError::Cipher);
        }
        let plain = decryptor(key)?.decrypt_padded_vec_mut::<NoPadding>(&sealed).map_err(|_| CryptoError::Cipher)?;
        let body = unpad(&plain).ok_or(CryptoError::Cipher)?;
        let rest = body.get(RANDOM_LEN..).ok_or(CryptoError::Cipher)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or(CryptoError::Cipher)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| CryptoError::Cipher)?;
        if len > rest.len() {
            return Err(CryptoError::Cipher);
        }
        let (text, receiver) = rest.split_at(len);
        if !constant_time_eq(receiver, self.receiver.as_bytes()) {
            return Err(CryptoError::AppId);
        }
        String::from_utf8(text.to_vec()).map_err(|_| CryptoError::Cipher)
    }

    /// Seals an answer; `now_s` becomes its time stamp.
    ///
    /// # Errors
    /// [`CryptoError::Key`] in plain mode.
    pub fn seal(&self, text: &str, now_s: i64) -> Result<Sealed, CryptoError> {
        let random: [u8; RANDOM_LEN] = rand::random();
        let encrypt = self.seal_with(text, random)?;
        let (timestamp, nonce) = (now_s.to_string(), rand::random::<u32>().to_string());
        let signature = self.sign(&[&timestamp, &nonce, &encrypt]);
        Ok(Sealed { encrypt, signature, timestamp, nonce })
    }

    fn seal_with(&self, text: &str, random: [u8; RANDOM_LEN]) -> Result<String, CryptoError> {
        let key = self.key.as_ref().ok_or(CryptoError::Key)?;
        let len = u32::try_from(text.len()).map_err(|_| CryptoError::Cipher)?;
        let mut plain = Vec::with_capacity(text.len() + 64 + self.receiver.len());
        plain.extend_from_slice(&random);
        plain.extend_from_slice(&len.to_be_bytes());
        plain.extend_from_slice(text.as_bytes());
        plain.extend_from_slice(self.receiver.as_bytes());
        pad(&mut plain);
        Ok(base64::engine::general_purpose::STANDARD
            .encode(encryptor(key)?.encrypt_padded_vec_mut::<NoPadding>(&plain)))
    }
}

fn key_of(text: &str) -> Result<[u8; 32], CryptoError> {
    if text.len() != 43 {
        return Err(CryptoError::Key);
    }
    LENIENT.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(CryptoError::Key)
}

/// The IV is the key's first half: the platform's choice.
fn decryptor(key: &[u8; 32]) -> Result<cbc::Decryptor<aes::Aes256>, CryptoError> {
    cbc::Decryptor::new_from_slices(key, &key[..AES_BLOCK]).map_err(|_| CryptoError::Key)
}

fn encryptor(key: &[u8; 32]) -> Result<cbc::Encryptor<aes::Aes256>, CryptoError> {
    cbc::Encryptor::new_from_slices(key, &key[..AES_BLOCK]).map_err(|_| CryptoError::Key)
}

/// PKCS#7 over blocks of 32, so that up to two AES blocks are padding.
fn pad(plain: &mut Vec<u8>) {
    let n = PAD_BLOCK - plain.len() % PAD_BLOCK;
    plain.resize(plain.len() + n, u8::try_from(n).unwrap_or_default());
}

fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let n = usize::from(*plain.last()?);
    if n == 0 || n > PAD_BLOCK || n > plain.len() {
        return None;
    }
    let (body, padding) = plain.split_at(plain.len() - n);
    padding.iter().all(|b| usize::from(*b) == n).then_some(body)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

    fn envelope() -> Envelope {
        Envelope::new("spamtest", KEY, "wx2c2769f8efd9abc2").unwrap()
    }

    #[test]
    fn what_is_sealed_opens_again_whatever_its_length() {
        let e = envelope();
        for n in 0..100 {
            let text = "井".repeat(n);
            let sealed = e.seal(&text, 1_700_000_000).unwrap();
            e.verify(&sealed.signature, &[&sealed.timestamp, &sealed.nonce, &sealed.encrypt]).unwrap();
            assert_eq!(e.open(&sealed.encrypt).unwrap(), text);
        }
    }

    #[test]
    fn padding_fills_blocks_of_thirty_two() {
        for n in 0..70 {
            let mut plain = vec![7; n];
            pad(&mut plain);
            assert!(plain.len().is_multiple_of(32) && plain.len() > n, "{n}");
            assert_eq!(unpad(&plain).unwrap(), vec![7; n]);
        }
        assert!(unpad(&[]).is_none() && unpad(&[0; 32]).is_none() && unpad(&[33; 64]).is_none());
        assert!(unpad(&[1, 1, 2, 3]).is_none(), "the last byte lies");
    }

    #[test]
    fn another_key_token_or_account_is_refused() {
        let (e, text) = (envelope(), "<xml/>");
        let sealed = e.seal(text, 1).unwrap();
        let parts = [sealed.timestamp.as_str(), &sealed.nonce, &sealed.encrypt];
        let other = Envelope::new("other", KEY, "wx2c2769f8efd9abc2").unwrap();
        assert_eq!(other.verify(&sealed.signature, &parts), Err(CryptoError::Signature));
        assert_eq!(e.verify("", &parts), Err(CryptoError::Signature));
        assert_eq!(Envelope::new("", KEY, "x").unwrap().verify(&sha_of_nothing(), &[]), Err(CryptoError::Signature));
        let wrong = Envelope::new("spamtest", KEY, "wx0000000000000000").unwrap();
        assert_eq!(wrong.open(&sealed.encrypt), Err(CryptoError::AppId));
        let key = KEY.replace('a', "b");
        assert_eq!(Envelope::new("spamtest", &key, "x").unwrap().open(&sealed.encrypt), Err(CryptoError::Cipher));
        assert_eq!(Envelope::new("t", "short", "x").err(), Some(CryptoError::Key));
    }

    #[test]
    fn what_two_public_libraries_sealed_opens() {
        // By PyPI wechatpy 1.8.18 and npm wechat-crypto 0.0.2, with this token, key and account.
        for (encrypt, signature, text) in [
            (
                "RtKgjeB1SB9KjhxbtLCeCPAIiBWlG9tw1tB8akTBefbjflgJOtyzeHOyQnC55/fN6xPWbOvAQHZX6wJrywD1rwpq5xp+LTCHqXs+\
                 Y6b0OzUNm4vVm46OUpNXdEQqZdmk",
                "2f2daa1cd1dab9bbf7c3bf941f8b993fee32abd9",
                "<xml><Content>井盖缺失</Content></xml>",
            ),
            (
                "x8y29ZUVRTTEN8GVVM54focXZ9LmDB5ShrSOS0+Um3xizB9MWNtGlkuuPqRKq7TxGU/gXRgKC6mNEOPkXRu10Obu/E7ZDYqw84pD\
                 x2yjaW5fHtlyPYtAK7EYzhXZ4BBs",
                "6c2fbefe8a04398b8516a8c3ddaf9246a2012180",
                "<xml><Content>路面塌陷</Content></xml>",
            ),
        ] {
            let e = envelope();
            e.verify(signature, &["1409735669", "1320562132", encrypt]).unwrap();
            assert_eq!(e.open(encrypt).unwrap(), text);
        }
    }

    fn sha_of_nothing() -> String {
        Envelope::new("", "", "").unwrap().sign(&[])
    }

    #[test]
    fn no_ciphertext_panics() {
        let e = envelope();
        let whole = e.seal("你好", 1).unwrap().encrypt;
        for cut in 0..whole.len() {
            let _ = e.open(&whole[..cut]);
        }
        let mut seed = 11_u64;
        for _ in 0..500 {
            let mut bytes = whole.clone().into_bytes();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(seed >> 33).unwrap() % bytes.len();
            bytes[at] = b"ABCDwxyz0189+/=*"[usize::try_from(seed >> 20).unwrap() % 16];
            let _ = e.open(&String::from_utf8(bytes).unwrap());
        }
    }
}
