//! What the engine wants done, queued without an allocation per packet.

use std::{collections::VecDeque, net::SocketAddr, path::PathBuf};

use super::{AudioFault, DtlsOp};
use crate::{
    LegId, LegStats, RecordingId,
    latch::Stale,
    limits::{OUTPUT_EVENTS_MAX, OUTPUT_PACKETS_MAX},
    mixer::MatrixError,
    recorder::{Finish, RecordingKey, WavFormat, Write},
};

/// Which of a leg's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The even port.
    Rtp,
    /// The odd port.
    Rtcp,
    /// The even port, beside the stream: answers and handshakes, whose addresses are no peer's that settles.
    Aside,
}

/// One thing to do.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send a datagram.
    Packet {
        /// From this leg …
        leg: LegId,
        /// … and this of its sockets …
        port: Port,
        /// … to this address.
        to: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// Read what a leg's RTP port receives at once (`is_urgent`), or some 20 ms late in a batch: nothing
    /// is sent for it. Each leg begins without haste. Reading everything at once is right too, only dearer.
    Listen {
        /// The leg.
        leg: LegId,
        /// It is connected with another leg.
        is_urgent: bool,
    },
    /// Tell the leg's DTLS.
    Dtls {
        /// The leg.
        leg: LegId,
        /// What.
        op: DtlsOp,
    },
    /// Tell the call logic.
    Event(Event),
    /// Tell the writer.
    Recorder(RecorderOp),
}

/// What the writer has to do, in this order for each recording.
#[derive(Debug)]
pub enum RecorderOp {
    /// Create the file.
    Open {
        /// The recording.
        key: RecordingKey,
        /// Its leg.
        leg: LegId,
        /// Its final name.
        path: PathBuf,
        /// How its samples come.
        format: WavFormat,
    },
    /// Store audio.
    Write(Write),
    /// Finish the file.
    Finish(Box<Finish>),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was pressed and released.
    Digit {
        /// The leg it came from.
        leg: LegId,
        /// `0-9 * # A-D`.
        digit: char,
        /// How long it was held.
        duration_ms: u32,
    },
    /// A `Play` ended by itself.
    PlayDone {
        /// The leg.
        leg: LegId,
        /// The command's id.
        play_id: u64,
    },
    /// The first packet came; the leg is latched.
    FirstPacket {
        /// The leg.
        leg: LegId,
    },
    /// Nothing for `rtp_silence_ms` although the peer should send.
    Silent {
        /// The leg.
        leg: LegId,
    },
    /// RTP again after `Silent`.
    Resumed {
        /// The leg.
        leg: LegId,
    },
    /// A leg can't be heard, or can again.
    Audio {
        /// The leg.
        leg: LegId,
        /// What is wrong.
        fault: AudioFault,
        /// `None`: it begins. Else it is over, after so long.
        lasted_ms: Option<u64>,
    },
    /// A browser's leg has its keys: media may go.
    Secured {
        /// The leg.
        leg: LegId,
    },
    /// A browser's leg will have no keys.
    SecureFailed {
        /// The leg.
        leg: LegId,
        /// Why.
        why: &'static str,
    },
    /// Audio was lost because the writer could not keep up.
    RecordingGap {
        /// The leg.
        leg: LegId,
        /// How much.
        ms: u64,
    },
    /// A `Record` command could not be followed; no file was made.
    RecordingRefused {
        /// The leg.
        leg: LegId,
        /// The command's id.
        rec: RecordingId,
        /// The command's path.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A `Mix` command could not be followed; everything stays connected as it was.
    MixRefused {
        /// The leg of its first row.
        leg: LegId,
        /// Why.
        reason: MatrixError,
    },
    /// The leg is gone.
    LegClosed {
        /// The leg.
        leg: LegId,
        /// Its counters.
        stats: LegStats,
        /// What its port received last, for the port's next leg.
        stale: Option<Stale>,
    },
}

#[derive(Debug)]
struct Queued {
    leg: LegId,
    port: Port,
    to: SocketAddr,
    start: usize,
    end: usize,
}

/// The queues behind `poll_output`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    packets: VecDeque<Queued>,
    others: VecDeque<Output<'static>>,
    overflow: u64,
    unprotected: u64,
}

impl Outbox {
    /// Queues a packet that `write` appends. Returns false if the queue is full (nothing is written) or
    /// if `write` does: the packet could not be protected.
    pub(super) fn packet(
        &mut self,
        leg: LegId,
        port: Port,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        if self.packets.len() >= OUTPUT_PACKETS_MAX {
            self.overflow += 1;
            return false;
        }
        let start = self.bytes.len();
        if !write(&mut self.bytes) {
            self.bytes.truncate(start);
            self.unprotected += 1;
            return false;
        }
        self.packets.push_back(Queued { leg, port, to, start, end: self.bytes.len() });
        true
    }

    pub(super) fn event(&mut self, event: Event) {
        self.other(Output::Event(event));
    }

    pub(super) fn listen(&mut self, leg: LegId, is_urgent: bool) {
        self.other(Output::Listen { leg, is_urgent });
    }

    pub(super) fn dtls(&mut self, leg: LegId, op: DtlsOp) {
        self.other(Output::Dtls { leg, op });
    }

    pub(super) fn recorder(&mut self, op: RecorderOp) {
        self.other(Output::Recorder(op));
    }

    fn other(&mut self, output: Output<'static>) {
        if self.others.len() >= OUTPUT_EVENTS_MAX {
            self.overflow += 1;
            return;
        }
        self.others.push_back(output);
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    pub(super) fn unprotected(&self) -> u64 {
        self.unprotected
    }

    pub(super) fn poll(&mut self) -> Option<Output<'_>> {
        if let Some(Queued { leg, port, to, start, end }) = self.packets.pop_front() {
            return Some(Output::Packet { leg, port, to, bytes: &self.bytes[start..end] });
        }
        self.bytes.clear();
        self.others.pop_front()
    }
}
