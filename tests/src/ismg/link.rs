//! One connection of the ISMG.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::octets::{
    ACTIVE_TEST, ACTIVE_TEST_RESP, CONNECT, CONNECT_RESP, DELIVER, DELIVER_RESP, SUBMIT, SUBMIT_RESP, TERMINATE,
    TERMINATE_RESP, deliver, fixed, ismg_digest, pdu, source_digest, status, submit, text_at, u32_at,
};
use super::{Fault, LOOK_EVERY, Parcel, Shared, State, Submitted};

/// Messages one connection may have open.
const WINDOW: usize = 16;

struct Link {
    shared: Arc<Shared>,
    writer: OwnedWriteHalf,
    /// The layout written in.
    version: u8,
    number: usize,
    is_up: bool,
    sequence: u32,
    open: Vec<(u64, u32)>,
    garbage_sent: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    // Nothing to do about a socket that can't.
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let cut_before = shared.state().cut;
    let mut link = Link {
        shared: Arc::clone(&shared),
        writer,
        version: 0x20,
        number: 0,
        is_up: false,
        sequence: 0,
        open: Vec::new(),
        garbage_sent: false,
    };
    let mut buffer = Vec::new();
    let mut piece = vec![0; 8_192];
    loop {
        if shared.state().cut != cut_before {
            break;
        }
        let read = tokio::time::timeout(LOOK_EVERY, reader.read(&mut piece)).await;
        match read {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(len)) => buffer.extend_from_slice(&piece[..len]),
            Err(_) => {}
        }
        if !link.take(&mut buffer).await || !link.send_due().await {
            break;
        }
    }
    link.gone();
}

impl Link {
    fn gone(&mut self) {
        let mut state = self.shared.state();
        if self.is_up {
            state.links -= 1;
        }
        // What wasn't acknowledged leaves again at once on the next connection.
        for (msg_id, sequence) in self.open.drain(..) {
            for p in state.parcels.iter_mut().filter(|p| p.msg_id == msg_id && p.sent_sequence == sequence) {
                p.sent = None;
            }
        }
    }

    async fn write(&mut self, octets: &[u8]) -> bool {
        if self.shared.does(Fault::HalfPackets) {
            for piece in octets.chunks(5) {
                if self.writer.write_all(piece).await.is_err() {
                    return false;
                }
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return true;
        }
        self.writer.write_all(octets).await.is_ok()
    }

    /// Every whole PDU of the buffer; `false` ends the connection.
    async fn take(&mut self, buffer: &mut Vec<u8>) -> bool {
        while buffer.len() >= 12 {
            let total = u32_at(buffer, 0) as usize;
            if !(12..=4_096).contains(&total) {
                return false;
            }
            if buffer.len() < total {
                return true;
            }
            let frame: Vec<u8> = buffer.drain(..total).collect();
            let (command, sequence) = (u32_at(&frame, 4), u32_at(&frame, 8));
            if !self.on_pdu(command, sequence, &frame[12..]).await {
                return false;
            }
        }
        true
    }

    async fn on_pdu(&mut self, command: u32, sequence: u32, body: &[u8]) -> bool {
        match command {
            CONNECT => self.on_connect(sequence, body).await,
            SUBMIT if self.is_up => self.on_submit(sequence, body).await,
            DELIVER_RESP if self.is_up => self.on_deliver_resp(sequence, body),
            ACTIVE_TEST => {
                self.shared.state().tests += 1;
                self.shared.does(Fault::DeafToTests) || self.write(&pdu(ACTIVE_TEST_RESP, sequence, &[0])).await
            }
            ACTIVE_TEST_RESP => true,
            TERMINATE => {
                self.write(&pdu(TERMINATE_RESP, sequence, &[])).await;
                false
            }
            // Anything else is a fault of the client's.
            _ => false,
        }
    }

    async fn on_connect(&mut self, sequence: u32, body: &[u8]) -> bool {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let asked = body.get(22).copied().unwrap_or(0);
        let is_known = body.len() == 27 && text_at(body, 0, 6) == config.user;
        let theirs = body.get(6..22).unwrap_or_default().to_vec();
        let is_right = theirs == source_digest(&config.user, &config.secret, u32_at(body, 23));
        let refusal = match (is_known, is_right, asked > config.version) {
            (false, _, _) => 2,
            (_, false, _) => 3,
            (_, _, true) => 4,
            _ => 0,
        };
        let other = if asked >= 0x30 { 0x20 } else { 0x30 };
        self.version = if shared.does(Fault::OtherLayout) { other } else { asked };
        let word = status(refusal, self.version);
        let mut digest = ismg_digest(&word, &theirs, &config.secret);
        if shared.does(Fault::WrongDigest) {
            digest = vec![0xAB; 16];
        }
        let answer = [word, digest, vec![config.version]].concat();
        let written = self.write(&pdu(CONNECT_RESP, sequence, &answer)).await;
        let mut state = shared.state();
        if refusal == 0 && written {
            self.is_up = true;
            state.links += 1;
            state.links_seen += 1;
            self.number = state.links_seen;
            if state.links_seen == 1 {
                state.faults = config.faults.iter().flat_map(|f| each_of(*f)).collect();
            }
        } else {
            state.refused += 1;
        }
        written && refusal == 0
    }

    async fn on_submit(&mut self, sequence: u32, body: &[u8]) -> bool {
        // What the client asked for decides how it writes, whatever we answered in.
        let asked = if self.shared.does(Fault::OtherLayout) && self.version >= 0x30 { 0x20 } else { self.version };
        let read = submit(body, asked).or_else(|| submit(body, 0x30)).or_else(|| submit(body, 0x20));
        let Some(s) = read else {
            let answer = [vec![0; 8], status(4, self.version)].concat();
            return self.write(&pdu(SUBMIT_RESP, sequence, &answer)).await;
        };
        let shared = Arc::clone(&self.shared);
        let (msg_id, result, is_cut) = {
            let mut state = shared.state();
            let msg_id = self.id(&mut state);
            let is_cut = state.faults.iter().any(|f| matches!(f, Fault::CutMidWindow(_)));
            let result = if state.spend(|f| matches!(f, Fault::Throttle(_))) {
                Some(8)
            } else if is_cut || state.spend(|f| matches!(f, Fault::NoResponse(_))) {
                None
            } else {
                Some(0)
            };
            let row = Submitted {
                to: s.to.clone(),
                src_id: s.src_id,
                service_id: s.service_id,
                fmt: s.fmt,
                part: s.part,
                has_header: s.has_header,
                content: s.content,
                msg_id,
                report: s.report,
                result,
                link: self.number,
            };
            state.submits.push(row);
            let cut_now = is_cut && {
                state.spend(|f| matches!(f, Fault::CutMidWindow(_)));
                !state.faults.iter().any(|f| matches!(f, Fault::CutMidWindow(_)))
            };
            (msg_id, result, cut_now)
        };
        if is_cut {
            return false;
        }
        let wants_report = s.report && result.is_none_or(|r| r == 0);
        if wants_report && shared.does(Fault::ReportFirst) {
            let parcel = self.report(msg_id, &s.to);
            if !self.send_now(parcel).await {
                return false;
            }
        } else if wants_report {
            let parcel = self.report(msg_id, &s.to);
            shared.state().push(parcel);
        }
        if shared.does(Fault::OrphanReports) {
            let parcel = self.report(!msg_id, &s.to);
            shared.state().push(parcel);
        }
        match result {
            Some(result) => {
                let id = if result == 0 { msg_id } else { 0 };
                let answer = [id.to_be_bytes().to_vec(), status(result, self.version)].concat();
                self.write(&pdu(SUBMIT_RESP, sequence, &answer)).await
            }
            None => true,
        }
    }

    fn id(&self, state: &mut State) -> u64 {
        state.next_id += 1;
        super::octets::dated_id(state.next_id)
    }

    fn report(&self, msg_id: u64, to: &str) -> Parcel {
        Parcel {
            msg_id: !msg_id ^ 0xFFFF,
            from: to.into(),
            to: String::new(),
            fmt: 0,
            has_header: false,
            report: true,
            content: [msg_id.to_be_bytes().to_vec(), fixed(&self.shared.config.stat, 7)].concat(),
            sent: None,
            first_sent: None,
            sent_sequence: 0,
            sent_count: 0,
            again: false,
            results: Vec::new(),
        }
    }

    async fn send_now(&mut self, mut parcel: Parcel) -> bool {
        let octets = self.octets_of(&mut parcel);
        self.shared.state().push(parcel);
        self.write(&octets).await
    }

    /// Writes a parcel down as sent.
    fn octets_of(&mut self, p: &mut Parcel) -> Vec<u8> {
        self.sequence = if self.shared.does(Fault::RepeatedSequence) { 7 } else { self.sequence + 1 };
        p.sent = Some(Instant::now());
        p.first_sent = p.first_sent.or(p.sent);
        p.sent_sequence = self.sequence;
        p.sent_count += 1;
        p.again = false;
        self.open.push((p.msg_id, self.sequence));
        pdu(DELIVER, self.sequence, &deliver(p, self.version))
    }

    /// Sends what is new or has waited too long; `false` ends the connection.
    async fn send_due(&mut self) -> bool {
        if !self.is_up {
            return true;
        }
        let shared = Arc::clone(&self.shared);
        let repeat = Duration::from_millis(shared.config.repeat_ms);
        let due: Vec<Vec<u8>> = {
            let mut state = shared.state();
            // A row that another connection has sent lately isn't ours to send.
            let room = WINDOW.saturating_sub(self.open.len());
            let is_open = |p: &Parcel| !p.results.contains(&0) && p.sent.is_none_or(|at| at.elapsed() >= repeat);
            let wants = |p: &Parcel| p.again || is_open(p);
            let mut rows: Vec<&mut Parcel> = state.parcels.iter_mut().filter(|p| wants(p)).take(room.max(1)).collect();
            if room == 0 {
                // The window is full: only what this connection has open may be repeated.
                rows.retain(|p| self.open.contains(&(p.msg_id, p.sent_sequence)));
            }
            rows.into_iter()
                .map(|p| {
                    self.open.retain(|o| *o != (p.msg_id, p.sent_sequence));
                    self.octets_of(p)
                })
                .collect()
        };
        for octets in due {
            if shared.does(Fault::WrongLengths) && !self.write_wrong().await {
                return false;
            }
            let times = if shared.does(Fault::Doubled) { 2 } else { 1 };
            for _ in 0..times {
                if !self.write(&octets).await {
                    return false;
                }
            }
        }
        true
    }

    /// A DELIVER with a body that is too short; after the first one, on this server's first connection, a
    /// header that promises 2 GB: the client can only give up.
    async fn write_wrong(&mut self) -> bool {
        if !self.write(&pdu(DELIVER, 99, &[1; 30])).await {
            return false;
        }
        if self.number == 1 && !self.garbage_sent {
            self.garbage_sent = true;
            return self.write(&0x7FFF_FFFFu32.to_be_bytes()).await;
        }
        true
    }

    fn on_deliver_resp(&mut self, sequence: u32, body: &[u8]) -> bool {
        let msg_id = body.first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
        let result = match body.len() {
            9 => u32::from(body[8]),
            12 => u32_at(body, 8),
            // A client that answers in no known layout is wrong.
            _ => return false,
        };
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let mut open = state.parcels.iter_mut().filter(|p| p.msg_id == msg_id && p.sent_sequence == sequence);
        if let Some(p) = open.next() {
            self.open.retain(|o| *o != (msg_id, sequence));
            p.again = shared.does(Fault::Doubled) && p.sent_count == 1;
            let is_new = result == 0 && !p.report && !p.results.contains(&0);
            let delay = p.first_sent.filter(|_| is_new).map(|at| at.elapsed());
            p.results.push(result);
            if result != 0 {
                p.sent = Some(Instant::now());
            }
            state.delays.extend(delay);
        }
        true
    }
}

/// A fault with a count as that many faults.
fn each_of(fault: Fault) -> Vec<Fault> {
    match fault {
        Fault::NoResponse(n) => vec![Fault::NoResponse(1); n],
        Fault::Throttle(n) => vec![Fault::Throttle(1); n],
        Fault::CutMidWindow(n) => vec![Fault::CutMidWindow(1); n],
        _ => Vec::new(),
    }
}
