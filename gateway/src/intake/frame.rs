//! Records in the journal's files: length and CRC-32 (little-endian, four bytes each), then the body.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Longest record; an envelope is far shorter.
pub(super) const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes before a record's body.
pub(super) const HEAD: usize = 8;

pub(super) fn head(body: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    head[4..].copy_from_slice(&crc32(body).to_le_bytes());
    head
}

/// The next whole record; `None` at the end or where the rest is torn.
pub(super) fn next(reader: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    if !filled(reader, &mut head)? {
        return Ok(None);
    }
    let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
    let length = word(0) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return Ok(None);
    }
    let mut body = vec![0; length];
    Ok((filled(reader, &mut body)? && crc32(&body) == word(4)).then_some(body))
}

fn filled(reader: &mut impl Read, into: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(into) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

/// Where the last whole record ends, and how many there are.
pub(super) fn survey(file: &mut File) -> std::io::Result<(u64, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = std::io::BufReader::new(file);
    let (mut at, mut count) = (0, 0);
    while let Some(body) = next(&mut reader)? {
        at += (HEAD + body.len()) as u64;
        count += 1;
    }
    Ok((at, count))
}

/// CRC-32 (ISO 3309, reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut value, mut bit) = (n as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
