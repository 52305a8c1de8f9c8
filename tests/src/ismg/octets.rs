//! CMPP's octets, from the tables of the 2.0 and 3.0 documents.

use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};

pub(super) const CONNECT: u32 = 0x0000_0001;
pub(super) const CONNECT_RESP: u32 = 0x8000_0001;
pub(super) const TERMINATE: u32 = 0x0000_0002;
pub(super) const TERMINATE_RESP: u32 = 0x8000_0002;
pub(super) const SUBMIT: u32 = 0x0000_0004;
pub(super) const SUBMIT_RESP: u32 = 0x8000_0004;
pub(super) const DELIVER: u32 = 0x0000_0005;
pub(super) const DELIVER_RESP: u32 = 0x8000_0005;
pub(super) const ACTIVE_TEST: u32 = 0x0000_0008;
pub(super) const ACTIVE_TEST_RESP: u32 = 0x8000_0008;

/// Header and body.
pub(super) fn pdu(command: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let total = 12 + body.len() as u32;
    let mut out = Vec::with_capacity(total as usize);
    for word in [total, command, sequence] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(body);
    out
}

/// A text of a fixed length, zeros behind it.
pub(super) fn fixed(text: &str, len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = text.bytes().take(len).collect();
    out.resize(len, 0);
    out
}

pub(super) fn text_at(body: &[u8], at: usize, len: usize) -> String {
    let field = body.get(at..at + len).unwrap_or_default();
    let text: Vec<u8> = field.iter().copied().take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn u32_at(body: &[u8], at: usize) -> u32 {
    body.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// `AuthenticatorSource`: MD5(Source_Addr + 9 zeros + secret + timestamp).
pub(super) fn source_digest(user: &str, secret: &str, timestamp: u32) -> Vec<u8> {
    let text = [user.as_bytes(), &[0; 9], secret.as_bytes(), format!("{timestamp:010}").as_bytes()].concat();
    Md5::digest(text).to_vec()
}

/// `AuthenticatorISMG`: MD5(Status + AuthenticatorSource + secret).
pub(super) fn ismg_digest(status: &[u8], source: &[u8], secret: &str) -> Vec<u8> {
    Md5::digest([status, source, secret.as_bytes()].concat()).to_vec()
}

/// A result or status: one octet in 2.0, four in 3.0.
pub(super) fn status(value: u32, version: u8) -> Vec<u8> {
    if version >= 0x30 { value.to_be_bytes().to_vec() } else { vec![value as u8] }
}

/// `Msg_Id`: month, day, hour, minute, second, gateway, sequence.
pub(super) fn dated_id(n: u64) -> u64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // Any valid day will do.
    let (month, day) = (11, 1 + seconds / 86_400 % 28);
    (month << 60) | (day << 55) | (hour << 50) | (minute << 44) | (second << 38) | ((n >> 16) << 16) | (n & 0xFFFF)
}

/// Body of a DELIVER.
pub(super) fn deliver(p: &super::Parcel, version: u8) -> Vec<u8> {
    let long = version >= 0x30;
    let mut body = p.msg_id.to_be_bytes().to_vec();
    body.extend(fixed(&p.to, 21));
    body.extend(fixed("HOTLINE", 10));
    body.extend([0, u8::from(p.has_header), p.fmt]);
    body.extend(fixed(&p.from, if long { 32 } else { 21 }));
    if long {
        body.push(0);
    }
    body.push(p.report.into());
    let content = if p.report { report(p, long) } else { p.content.clone() };
    body.push(content.len() as u8);
    body.extend(content);
    body.extend(vec![0; if long { 20 } else { 8 }]);
    body
}

/// A report's content is kept as the id and the word; numbers are longer in 3.0.
fn report(p: &super::Parcel, long: bool) -> Vec<u8> {
    let mut content = p.content.clone();
    content.extend(fixed("2611220430", 10));
    content.extend(fixed("2611220431", 10));
    content.extend(fixed(&p.from, if long { 32 } else { 21 }));
    content.extend([0, 0, 0, 1]);
    content
}

/// Fields of a SUBMIT with one recipient.
pub(super) struct Submit {
    pub(super) part: (u8, u8),
    pub(super) report: bool,
    pub(super) service_id: String,
    pub(super) has_header: bool,
    pub(super) fmt: u8,
    pub(super) src_id: String,
    pub(super) to: String,
    pub(super) content: Vec<u8>,
}

/// Reads a SUBMIT exactly; `None` if its length isn't what its own fields say.
pub(super) fn submit(body: &[u8], version: u8) -> Option<Submit> {
    let long = version >= 0x30;
    let number = if long { 32 } else { 21 };
    // Msg_Id 8, Pk_total, Pk_number, Registered_Delivery, Msg_level, Service_Id 10, Fee_UserType, Fee_terminal_Id
    let mut at = 8 + 4 + 10 + 1 + number + usize::from(long);
    let (pid, udhi, fmt) = (*body.get(at)?, *body.get(at + 1)?, *body.get(at + 2)?);
    at += 3 + 6 + 2 + 6 + 17 + 17;
    let src_id = text_at(body, at, 21);
    at += 21;
    let count = *body.get(at)?;
    at += 1;
    let to = text_at(body, at, number);
    at += number + usize::from(long);
    let len = usize::from(*body.get(at)?);
    at += 1;
    let content = body.get(at..at + len)?.to_vec();
    let end = at + len + if long { 20 } else { 8 };
    (pid == 0 && count == 1 && udhi <= 1 && end == body.len()).then(|| Submit {
        part: (body[8], body[9]),
        report: body[10] == 1,
        service_id: text_at(body, 12, 10),
        has_header: udhi == 1,
        fmt,
        src_id,
        to,
        content,
    })
}
