//! What carriers send, read leniently: the layout is chosen by the length, not by what was agreed,
//! since 3.0 answers to 2.0 connections and the reverse are common.

use super::limits::{HEADER_BYTES, PDU_BYTES_MAX};
use super::pdu::{Version, command};
use crate::privacy::Pii;

/// A PDU cut out of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `Command_Id`.
    pub command: u32,
    /// `Sequence_Id`: whatever the peer likes.
    pub sequence: u32,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// The stream can't be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PDU 长度 {0} 不可能 / a PDU of {0} octets makes no sense")]
pub struct BadLength(pub u32);

/// Cuts a stream into PDUs, half ones included.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    start: usize,
}

impl Framer {
    /// Takes what was read. The buffer holds at most one PDU and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole PDU, if it is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BadLength> {
        let rest = &self.buffer[self.start..];
        let Some((head, _)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            // A hostile length is refused before its body is waited for.
            return match rest.first_chunk::<4>() {
                Some(len) => checked(u32::from_be_bytes(*len)).map(|_| None),
                None => Ok(None),
            };
        };
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = checked(word(0))?;
        let Some(body) = rest.get(HEADER_BYTES..len) else { return Ok(None) };
        let frame = Frame { command: word(4), sequence: word(8), body: body.to_vec() };
        self.start += len;
        Ok(Some(frame))
    }
}

fn checked(len: u32) -> Result<usize, BadLength> {
    let octets = usize::try_from(len).unwrap_or(usize::MAX);
    if (HEADER_BYTES..=PDU_BYTES_MAX).contains(&octets) { Ok(octets) } else { Err(BadLength(len)) }
}

/// A PDU, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// `CMPP_CONNECT_RESP`.
    ConnectResp(ConnectResp),
    /// `CMPP_SUBMIT_RESP`.
    SubmitResp {
        /// The carrier's id of the message.
        msg_id: u64,
        /// 0 is yes.
        result: u32,
    },
    /// `CMPP_DELIVER`: a citizen's message or a status report.
    Deliver(Box<Deliver>),
    /// `CMPP_ACTIVE_TEST`.
    ActiveTest,
    /// `CMPP_ACTIVE_TEST_RESP`.
    ActiveTestResp,
    /// `CMPP_TERMINATE`.
    Terminate,
    /// `CMPP_TERMINATE_RESP`.
    TerminateResp,
}

/// The answer to our CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResp {
    /// 0 is yes.
    pub status: u32,
    /// The status as it stands on the wire: the digest is made of it.
    pub status_octets: Vec<u8>,
    /// `AuthenticatorISMG`.
    pub authenticator: [u8; 16],
    /// The highest version there.
    pub version: u8,
}

/// A message from a citizen, or a report about one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// The layout it came in; its answer has the same.
    pub version: Version,
    /// The carrier's id: not unique.
    pub msg_id: u64,
    /// Our number.
    pub dest: String,
    /// The citizen's number.
    pub source: Pii<String>,
    /// `Msg_Fmt`.
    pub fmt: u8,
    /// The content begins with a header (`TP_udhi`).
    pub has_header: bool,
    /// It is a report.
    pub report: bool,
    /// Octets.
    pub content: Vec<u8>,
}

/// Why a PDU isn't understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// No command we know.
    #[error("未知命令 {0:#x} / unknown command")]
    Command(u32),
    /// No layout of this command has this length.
    #[error("命令 {0:#x} 的长度 {1} 不符 / no such length for this command")]
    Length(u32, usize),
}

/// Reads a PDU; `agreed` decides where the length says nothing.
pub fn read(frame: &Frame, agreed: Version) -> Result<Pdu, Unread> {
    let body = frame.body.as_slice();
    let odd = Unread::Length(frame.command, body.len());
    let of = |is_right: bool, pdu: Pdu| if is_right { Ok(pdu) } else { Err(odd) };
    const RESP: u32 = command::RESPONSE;
    match frame.command {
        c if c == command::CONNECT | RESP => connect_resp(body).map(Pdu::ConnectResp).ok_or(odd),
        c if c == command::SUBMIT | RESP => submit_resp(body).ok_or(odd),
        command::DELIVER => deliver(body, agreed).map(|d| Pdu::Deliver(Box::new(d))).ok_or(odd),
        // Some carriers send a reserved octet more or less: nothing depends on it.
        command::ACTIVE_TEST => of(body.len() <= 1, Pdu::ActiveTest),
        c if c == command::ACTIVE_TEST | RESP => of(body.len() <= 1, Pdu::ActiveTestResp),
        command::TERMINATE => of(body.len() <= 1, Pdu::Terminate),
        c if c == command::TERMINATE | RESP => of(body.len() <= 1, Pdu::TerminateResp),
        other => Err(Unread::Command(other)),
    }
}

/// 18 octets in 2.0, 21 in 3.0, where the status has four (§8.4.1.2).
fn connect_resp(body: &[u8]) -> Option<ConnectResp> {
    let status_len = match body.len() {
        18 => 1,
        21 => 4,
        _ => return None,
    };
    let (status, rest) = body.split_at_checked(status_len)?;
    let (authenticator, version) = rest.split_first_chunk::<16>()?;
    Some(ConnectResp {
        status: number(status),
        status_octets: status.to_vec(),
        authenticator: *authenticator,
        version: *version.first()?,
    })
}

/// 9 octets in 2.0, 12 in 3.0 (§8.4.3.2).
fn submit_resp(body: &[u8]) -> Option<Pdu> {
    let (msg_id, result) = body.split_first_chunk::<8>()?;
    matches!(result.len(), 1 | 4)
        .then(|| Pdu::SubmitResp { msg_id: u64::from_be_bytes(*msg_id), result: number(result) })
}

fn number(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |n, o| (n << 8) | u32::from(*o))
}

/// Octets of DELIVER without its content, and where the content's length stands (2.0 §7.4.5, 3.0 §8.4.5).
const fn layout(version: Version) -> (usize, usize) {
    match version {
        Version::V2 => (73, 64),
        Version::V3 => (97, 76),
    }
}

/// Both layouts hold their content's length: the one in which it is right counts.
fn deliver(body: &[u8], agreed: Version) -> Option<Deliver> {
    let fits = |version: Version| {
        let (fixed, at) = layout(version);
        body.get(at).is_some_and(|len| fixed + usize::from(*len) == body.len())
    };
    let other = if agreed == Version::V2 { Version::V3 } else { Version::V2 };
    // A short message's own octet can look like the other layout's length; its number's padding gives it away.
    let padded = |version: &Version| *version == Version::V2 || is_padded(body.get(45..77).unwrap_or_default());
    let version = [agreed, other].into_iter().filter(padded).chain([agreed, other]).find(|v| fits(*v))?;
    let number_len = if version == Version::V3 { 32 } else { 21 };
    let mut r = Reader(body);
    let msg_id = u64::from_be_bytes(*r.take(8)?.first_chunk::<8>()?);
    let dest = text(r.take(21)?);
    r.take(10 + 1)?;
    let has_header = r.octet()? & 1 == 1;
    let fmt = r.octet()?;
    let source = Pii::new(text(r.take(number_len)?));
    if version == Version::V3 {
        r.octet()?;
    }
    let report = r.octet()? == 1;
    let len = r.octet()?;
    let content = r.take(usize::from(len))?.to_vec();
    Some(Deliver { version, msg_id, dest, source, fmt, has_header, report, content })
}

/// Nothing but zeros after the first one
fn is_padded(octets: &[u8]) -> bool {
    octets.iter().skip_while(|o| **o != 0).all(|o| *o == 0)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
}

/// An octet string ends at its first zero; what is no ASCII is left out.
fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|o| *o == 0).unwrap_or(octets.len());
    octets[..end].iter().filter(|o| o.is_ascii_graphic()).map(|o| char::from(*o)).collect()
}

/// A status report: the content of a DELIVER whose `Registered_Delivery` is 1 (§8.4.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The id SUBMIT_RESP gave.
    pub msg_id: u64,
    /// `DELIVRD`, `UNDELIV`, `MA:0005` …
    pub stat: String,
    /// Local YYMMDDHHMM as it stands there.
    pub done: String,
}

/// Reads a report: 60 octets in 2.0, 71 in 3.0; longer and shorter ones as far as their state goes.
#[must_use]
pub fn report(content: &[u8]) -> Option<Report> {
    let mut r = Reader(content);
    let msg_id = u64::from_be_bytes(*r.take(8)?.first_chunk::<8>()?);
    let stat = text(r.take(7)?);
    let done = r.take(20).map(|times| text(&times[10..])).unwrap_or_default();
    (!stat.is_empty()).then_some(Report { msg_id, stat, done })
}

/// Whether an id begins with a date as §8.4.3.2 wants it (month, day, hour, minute, second in the upper 26
/// bits): such ids tell one message from the next. Zeros and plain counters don't.
#[must_use]
pub const fn is_dated(msg_id: u64) -> bool {
    let (month, day) = (msg_id >> 60, (msg_id >> 55) & 31);
    let (hour, minute, second) = ((msg_id >> 50) & 31, (msg_id >> 44) & 63, (msg_id >> 38) & 63);
    month >= 1 && month <= 12 && day >= 1 && hour < 24 && minute < 60 && second < 60
}

#[cfg(test)]
pub(super) mod tests;
