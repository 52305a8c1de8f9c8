//! Cutting a TCP stream into messages (RFC 3261 §18.3)

use crate::limits;
use crate::message::trim;

/// What a stream held next
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole message
    Message(Vec<u8>),
    /// A keep-alive that wants an answer (RFC 5626 §4.4.1)
    Ping,
}

/// The stream can't be followed any more
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    /// A message longer than `limits::MESSAGE_BYTES_MAX`
    #[error("message too large")]
    TooLarge,
    /// `Content-Length` is no number, or given twice with different values (RFC 4475 §3.3.9)
    #[error("bad Content-Length")]
    ContentLength,
}

impl FramingError {
    /// The status code that answers it, where the head can still be read
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::TooLarge => 513,
            Self::ContentLength => 400,
        }
    }
}

/// Collects the bytes of one connection
#[derive(Default)]
pub(crate) struct Framer {
    buf: Vec<u8>,
    /// Where the unread rest starts
    start: usize,
    /// Up to here no end of headers was found
    scanned: usize,
    /// Where the message that is being collected ends, once its headers are complete
    end: Option<usize>,
}

impl Framer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buf.drain(..self.start);
        self.scanned = self.scanned.saturating_sub(self.start);
        self.end = self.end.map(|end| end - self.start);
        self.start = 0;
        self.buf.extend_from_slice(bytes);
    }

    /// Whether nothing unfinished is held
    pub(crate) fn is_idle(&self) -> bool {
        self.start == self.buf.len()
    }

    /// What can't be followed: at most one message's worth of bytes
    pub(crate) fn broken(&self) -> &[u8] {
        let rest = &self.buf[self.start..];
        &rest[..rest.len().min(limits::MESSAGE_BYTES_MAX)]
    }

    /// The next frame; `Ok(None)` when more bytes are needed
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FramingError> {
        let end = match self.end {
            Some(end) => end,
            None => {
                if let Some(frame) = self.skip_line_breaks() {
                    return Ok(Some(frame));
                }
                let Some(end) = self.find_end()? else {
                    return Ok(None);
                };
                self.end = Some(end);
                end
            }
        };
        if self.buf.len() < end {
            return Ok(None);
        }
        let message = self.buf[self.start..end].to_vec();
        (self.start, self.scanned, self.end) = (end, end, None);
        Ok(Some(Frame::Message(message)))
    }

    /// Where the message ends, if its headers are complete
    fn find_end(&mut self) -> Result<Option<usize>, FramingError> {
        let Some(head) = header_end(&self.buf, self.start, self.scanned.max(self.start)) else {
            self.scanned = self.buf.len().saturating_sub(3).max(self.start);
            return if self.buf.len() - self.start > limits::MESSAGE_BYTES_MAX {
                Err(FramingError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let body = content_length(&self.buf[self.start..head])?;
        let total = (head - self.start).checked_add(body).filter(|total| *total <= limits::MESSAGE_BYTES_MAX);
        total.map(|total| Some(self.start + total)).ok_or(FramingError::TooLarge)
    }

    fn skip_line_breaks(&mut self) -> Option<Frame> {
        loop {
            let rest = &self.buf[self.start..];
            if rest.starts_with(b"\r\n\r\n") {
                self.start += 4;
                return Some(Frame::Ping);
            }
            // A lone CRLF may be the first half of a ping: keep it until more comes.
            let skip = match rest {
                [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] | [b'\r'] => 0,
                [b'\r' | b'\n', ..] => 1,
                _ => 0,
            };
            if skip == 0 {
                return None;
            }
            self.start += skip;
        }
    }
}

/// The position after the empty line that ends the headers
fn header_end(buf: &[u8], start: usize, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = buf[at..].iter().position(|b| *b == b'\n') {
        let lf = at + found;
        let rest = &buf[lf + 1..];
        if lf > start && rest.starts_with(b"\n") {
            return Some(lf + 2);
        }
        if lf > start && rest.starts_with(b"\r\n") {
            return Some(lf + 3);
        }
        at = lf + 1;
    }
    None
}

/// The length a header block announces; none counts as 0
fn content_length(headers: &[u8]) -> Result<usize, FramingError> {
    let mut length = None;
    let mut lines = headers.split(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let name = trim(&line[..colon]);
        let wanted = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l");
        if !wanted || line.first().is_some_and(u8::is_ascii_whitespace) {
            continue;
        }
        let mut value = trim(&line[colon + 1..]).to_vec();
        while let Some(fold) = lines.next_if(|l| matches!(l.first(), Some(b' ' | b'\t'))) {
            value.extend_from_slice(trim(fold));
        }
        let text = std::str::from_utf8(&value).ok().filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
        // A number of too many digits is a length like any other, only too large.
        let value = text.map(|v| v.parse().unwrap_or(usize::MAX)).ok_or(FramingError::ContentLength)?;
        if length.is_some_and(|known| known != value) {
            return Err(FramingError::ContentLength);
        }
        length = Some(value);
    }
    Ok(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nL: 3\r\n\r\nabc";
    const TWO: &[u8] = b"BYE sip:a SIP/2.0\r\nContent-Length:\r\n 2\r\n\r\nxy";

    #[test]
    fn any_fragmentation_gives_the_same_messages() {
        let stream = [ONE, b"\r\n\r\n", TWO, b"\r\n", ONE].concat();
        for size in 1..stream.len() {
            let mut framer = Framer::default();
            let mut frames = Vec::new();
            for chunk in stream.chunks(size) {
                framer.push(chunk);
                while let Some(frame) = framer.next().unwrap() {
                    frames.push(frame);
                }
            }
            let expected =
                [Frame::Message(ONE.to_vec()), Frame::Ping, Frame::Message(TWO.to_vec()), Frame::Message(ONE.to_vec())];
            assert_eq!(frames, expected, "chunks of {size}");
            assert!(framer.is_idle());
        }
    }

    #[test]
    fn random_pieces_give_the_same_messages() {
        let stream = [TWO, b"\r\n\r\n", ONE, ONE, b"\r\n", TWO].concat();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..2_000 {
            let (mut framer, mut frames, mut rest) = (Framer::default(), Vec::new(), &stream[..]);
            while !rest.is_empty() {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let size = usize::try_from(state % 40).unwrap().clamp(1, rest.len());
                framer.push(&rest[..size]);
                rest = &rest[size..];
                while let Some(frame) = framer.next().unwrap() {
                    frames.push(frame);
                }
            }
            let message = |m: &[u8]| Frame::Message(m.to_vec());
            assert_eq!(frames, [message(TWO), Frame::Ping, message(ONE), message(ONE), message(TWO)]);
        }
    }

    #[test]
    fn a_length_given_twice_counts_only_if_it_is_the_same() {
        let mut framer = Framer::default();
        framer.push(b"A b SIP/2.0\r\nContent-Length: 2\r\nl: 2\r\n\r\nab");
        assert!(matches!(framer.next(), Ok(Some(Frame::Message(_)))));
        framer.push(b"A b SIP/2.0\r\nContent-Length: 13\r\nl: 5\r\n\r\n");
        assert_eq!(framer.next(), Err(FramingError::ContentLength));
    }

    #[test]
    fn a_stream_that_cannot_be_followed_is_an_error() {
        let mut framer = Framer::default();
        framer.push(b"A b SIP/2.0\r\nContent-Length: 5x\r\n\r\n");
        assert_eq!(framer.next(), Err(FramingError::ContentLength));
        let mut framer = Framer::default();
        framer.push(b"A b SIP/2.0\r\nContent-Length: 99999999999999999999999\r\n\r\n");
        assert_eq!(framer.next(), Err(FramingError::TooLarge));
        let mut framer = Framer::default();
        framer.push(&vec![b'a'; limits::MESSAGE_BYTES_MAX + 1]);
        assert_eq!(framer.next(), Err(FramingError::TooLarge));
    }
}
