//! Commands on their way to the library, which ends the connection over one it can't read and queues without a
//! bound: one bad message would come again for ever and block the line. Here a command that can't be read loses
//! what can't be read of it, at worst its whole body, and is answered with an error by the link.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use rusmpp::decode::DecodeWithLength;
use rusmpp::{Command, CommandId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::bytes::BytesMut;

use super::limits::{COMMAND_BYTES_ABSURD, COMMAND_BYTES_MAX, UNREAD_MAX};

const HEADER: usize = 16;
/// Read from the socket at once.
const CHUNK: usize = 4 * 1024;

/// Parameters that carry a text or a receipt (§5.3.2): `receipted_message_id`, `sar_msg_ref_num`, `sar_total_segments`,
/// `sar_segment_seqnum`, `network_error_code`, `message_payload`, `message_state`.
const USED: [u16; 7] = [0x001E, 0x020C, 0x020E, 0x020F, 0x0423, 0x0424, 0x0427];

/// Why a connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fatal {
    #[error("a command length of {0} octets is no SMPP")]
    Length(usize),
}

/// What the driver and the guard tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Commands passed on that the driver hasn't looked at.
    pub(super) unread: AtomicUsize,
    /// Commands that couldn't be read as they were.
    pub(super) mended: AtomicU64,
}

/// Cuts a stream into commands and mends them.
#[derive(Debug, Default)]
pub(super) struct Guard {
    held: BytesMut,
    /// Octets of an oversized command still to be thrown away.
    skip: usize,
    mended: u64,
}

impl Guard {
    /// Takes what arrived and appends to `pass` what the library may see; ids of the commands passed on.
    pub(super) fn inbound(&mut self, bytes: &[u8], pass: &mut BytesMut) -> Result<Vec<u32>, Fatal> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.held.extend_from_slice(&bytes[skipped..]);
        let mut ids = Vec::new();
        while let Some(len) = word(&self.held, 0).map(|n| n as usize) {
            if !(HEADER..=COMMAND_BYTES_ABSURD).contains(&len) {
                return Err(Fatal::Length(len));
            }
            if self.held.len() < HEADER {
                break;
            }
            if len > COMMAND_BYTES_MAX {
                let header = self.held.split_to(HEADER);
                let dropped = (len - HEADER).min(self.held.len());
                let _ = self.held.split_to(dropped);
                self.skip = len - HEADER - dropped;
                self.mended += 1;
                ids.push(emit(&header, &[], pass));
                continue;
            }
            if self.held.len() < len {
                break;
            }
            let command = self.held.split_to(len);
            let mended = mend(&command);
            self.mended += u64::from(mended.is_some());
            let body = mended.unwrap_or_else(|| command[HEADER..].to_vec());
            ids.push(emit(&command[..HEADER], &body, pass));
        }
        Ok(ids)
    }
}

/// Writes a command; its id.
fn emit(header: &[u8], body: &[u8], pass: &mut BytesMut) -> u32 {
    let len = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    pass.extend_from_slice(&len.to_be_bytes());
    pass.extend_from_slice(&header[4..HEADER]);
    pass.extend_from_slice(body);
    word(header, 4).unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)
}

/// `None` if the library can read it as it is, else the body it can read.
fn mend(command: &[u8]) -> Option<Vec<u8>> {
    let body = &command[HEADER..];
    match decoded_len(command, body) {
        Some(len) if len == command.len() => None,
        // Octets after the last field: the library would take them for the next command.
        Some(len) if (HEADER..command.len()).contains(&len) => Some(command[HEADER..len].to_vec()),
        _ => {
            let id = word(command, 4).unwrap_or_default();
            let trimmed = (id == u32::from(CommandId::DeliverSm)).then(|| without_odd_parameters(command)).flatten();
            Some(trimmed.unwrap_or_default())
        }
    }
}

/// How many octets, header included, the library reads of a command; `None` if it refuses.
fn decoded_len(header: &[u8], body: &[u8]) -> Option<usize> {
    let mut copy = BytesMut::with_capacity(HEADER + body.len());
    copy.extend_from_slice(&header[4..HEADER]);
    copy.extend_from_slice(body);
    let len = copy.len();
    let (_, read): (Command, usize) = DecodeWithLength::decode(&mut copy, len).ok()?;
    // Empty bodies are read as none, whatever the command.
    Some(4 + read).filter(|n| *n <= HEADER + body.len())
}

/// A `deliver_sm` without the fields nobody needs, and with only those of its optional parameters that are of use and
/// can be read.
fn without_odd_parameters(command: &[u8]) -> Option<Vec<u8>> {
    let (mut kept, mut rest) = mandatory(&command[HEADER..])?;
    while let [t1, t2, l1, l2, tail @ ..] = rest {
        let (tag, len) = (u16::from_be_bytes([*t1, *t2]), usize::from(u16::from_be_bytes([*l1, *l2])));
        let Some((_, next)) = tail.split_at_checked(len) else { break };
        if USED.contains(&tag) {
            let before = kept.len();
            kept.extend_from_slice(&rest[..4 + len]);
            if decoded_len(command, &kept) != Some(HEADER + kept.len()) {
                kept.truncate(before);
            }
        }
        rest = next;
    }
    (decoded_len(command, &kept) == Some(HEADER + kept.len())).then_some(kept)
}

/// The mandatory part of a `deliver_sm` (§4.6.1), its service type and times emptied, and what follows it.
fn mandatory(body: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = |at: usize| body.get(at..)?.iter().position(|b| *b == 0).map(|n| at + n + 1);
    let from = end(0)?; // service_type; source_addr_ton, _npi, source_addr
    let to = end(from + 2)?; // dest_addr_ton, _npi, destination_addr
    let class = end(to + 2)?; // esm_class, protocol_id, priority_flag
    let times = class + 3; // schedule_delivery_time, validity_period
    let rest = end(end(times)?)?; // registered_delivery to sm_default_msg_id, sm_length
    let text = rest + 5;
    let after = text + usize::from(*body.get(text - 1)?);
    let kept = [&[0], body.get(from..times)?, &[0, 0], body.get(rest..after)?].concat();
    Some((kept, &body[after..]))
}

/// A socket behind a [`Guard`].
pub(super) struct Guarded<S> {
    inner: S,
    guard: Guard,
    pass: BytesMut,
    shared: Arc<Shared>,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared::default());
        (Self { inner, guard: Guard::default(), pass: BytesMut::new(), shared: Arc::clone(&shared) }, shared)
    }

    fn took(&mut self, bytes: &[u8]) -> io::Result<()> {
        let ids = self.guard.inbound(bytes, &mut self.pass).map_err(io::Error::other)?;
        self.shared.mended.store(self.guard.mended, Ordering::Relaxed);
        let counted = ids.into_iter().filter(|id| is_counted((*id).into())).count();
        if self.shared.unread.fetch_add(counted, Ordering::Relaxed) + counted > UNREAD_MAX {
            return Err(io::Error::other("the peer sends faster than it waits for answers"));
        }
        Ok(())
    }
}

/// Whether the driver sees such a command as an event; the others are the library's own business.
pub(super) fn is_counted(id: CommandId) -> bool {
    !matches!(
        id,
        CommandId::EnquireLink
            | CommandId::EnquireLinkResp
            | CommandId::BindTransceiverResp
            | CommandId::BindTransmitterResp
            | CommandId::BindReceiverResp
            | CommandId::UnbindResp
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.pass.is_empty() {
            let mut chunk = [0u8; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.took(read.filled())?;
        }
        let len = self.pass.len().min(buf.remaining());
        buf.put_slice(&self.pass.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn command(id: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER + body.len()).unwrap();
        [&len.to_be_bytes()[..], &id.to_be_bytes(), &[0; 4], &7u32.to_be_bytes(), body].concat()
    }

    /// A `deliver_sm` from 13812345678 to 12319 saying `ok`.
    fn deliver(parameters: &[u8]) -> Vec<u8> {
        let body = [&b"\0\x01\x0113812345678\0\0\x0112319\0\0\0\0\0\0\0\0\0\0\x02ok"[..], parameters].concat();
        command(5, &body)
    }

    fn passed(stream: &[u8], chunk: usize) -> (Vec<u8>, u64) {
        let (mut guard, mut pass) = (Guard::default(), BytesMut::new());
        for part in stream.chunks(chunk) {
            guard.inbound(part, &mut pass).unwrap();
        }
        (pass.to_vec(), guard.mended)
    }

    #[test]
    fn good_commands_pass_as_they_are_in_any_pieces() {
        let stream =
            [deliver(&[]), command(0x15, &[]), deliver(&[0x02, 0x04, 0, 2, 0, 1]), command(0x8000_0004, b"id\0")];
        for chunk in [1, 3, 7, 1000] {
            assert_eq!(passed(&stream.concat(), chunk), (stream.concat(), 0));
        }
    }

    #[test]
    fn a_parameter_that_cannot_be_read_costs_itself_and_not_the_message() {
        let payload = [0x04, 0x24, 0, 3, b'a', b'b', b'c'];
        // message_state with two octets, an id without its end
        for odd in [&[0x04, 0x27, 0, 2, 1, 2][..], &[0x00, 0x1E, 0, 2, b'a', b'b']] {
            let (pass, mended) = passed(&deliver(&[&payload[..], odd].concat()), 1000);
            assert_eq!((pass, mended), (deliver(&payload), 1), "{odd:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_at_all_comes_without_its_body() {
        let (pass, mended) = passed(&command(5, b"\0\x01\x01no end of a number in sight at all"), 5);
        assert_eq!((pass, mended), (command(5, &[]), 1));
        let trailing = passed(&command(0x15, b"xx"), 5);
        assert_eq!(trailing, (command(0x15, &[]), 1));
        let big = [command(5, &vec![0; COMMAND_BYTES_MAX]), command(0x15, &[])].concat();
        for chunk in [100, 1_000_000] {
            assert_eq!(passed(&big, chunk), ([command(5, &[]), command(0x15, &[])].concat(), 1));
        }
    }

    #[test]
    fn what_is_no_smpp_ends_the_connection() {
        for head in [[0u8; 16], *b"GET / HTTP/1.1\r\n"] {
            assert!(matches!(Guard::default().inbound(&head, &mut BytesMut::new()), Err(Fatal::Length(_))));
        }
    }

    #[test]
    fn whatever_passes_can_be_read() {
        let mut rng = StdRng::seed_from_u64(11);
        for _ in 0..20_000 {
            let mut bytes = deliver(&[0x00, 0x1E, 0, 4, b'i', b'd', b'1', 0, 0x04, 0x27, 0, 1, 2]);
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(4..bytes.len());
                bytes[at] = rng.random();
            }
            let mut pass = BytesMut::new();
            Guard::default().inbound(&bytes, &mut pass).unwrap();
            let len = pass.len();
            assert_eq!(decoded_len(&pass[..HEADER], &pass[HEADER..]), Some(len), "{bytes:02x?}");
        }
    }
}
