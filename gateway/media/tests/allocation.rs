//! A talk's packets cost no allocation: 10,000 of them, relayed both ways and recorded.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and an allocator is unsafe by its nature"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hotline_media::{
    Codec, LegId, LegParams, RecordingId, XrWish,
    engine::{Command, Engine, EngineConfig, Input, Output, RecordSpec},
    latch::Trust,
    recorder::{BlockPool, WavFormat},
    rtp::Header,
};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `ptr` and `layout` is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `ptr`, `layout` and `size` is passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Talk {
    engine: Engine,
    start: Instant,
    legs: [(LegId, SocketAddr); 2],
    sent: u64,
    stored: u64,
    packet: Vec<u8>,
}

impl Talk {
    fn new() -> Self {
        let start = Instant::now();
        let cfg = EngineConfig {
            legs_max: 8,
            rtp_silence_ms: 5000,
            rtcp_xr: false,
            agc: false,
            seed: 42,
            unix_ms: 1_700_000_000_000,
            pool: BlockPool::new(32),
            format: WavFormat::Pcm16,
        };
        let legs = [(LegId(1), "10.0.0.1:4000".parse().unwrap()), (LegId(2), "10.0.0.2:4000".parse().unwrap())];
        let mut talk =
            Self { engine: Engine::new(cfg, start), start, legs, sent: 0, stored: 0, packet: Vec::with_capacity(256) };
        for (leg, remote) in legs {
            assert!(talk.engine.open_leg(start, leg));
            talk.command(Command::Configure { leg, params: params(remote) });
        }
        talk.command(Command::Bridge { a: legs[0].0, b: legs[1].0 });
        let spec = RecordSpec { rec: RecordingId("rec".into()), path: "rec.wav".into(), max_ms: 3_600_000 };
        talk.command(Command::Record { leg: legs[0].0, spec });
        talk
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_input(self.start, Input::Command(command));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Packet { .. } => self.sent += 1,
                Output::Recorder(_) => self.stored += 1,
                Output::Event(_) | Output::Listen { .. } | Output::Dtls { .. } => {}
            }
        }
    }

    /// One packet of each leg. Returns the allocations of packets, and of what was due by then.
    fn turn(&mut self, n: u32) -> (u64, u64) {
        let now = self.start + Duration::from_millis(u64::from(n) * 20);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        self.engine.handle_timeout(now);
        self.drain();
        let due = ALLOCATIONS.load(Ordering::Relaxed);
        for (leg, from) in self.legs {
            self.packet.clear();
            let ssrc = leg.0 as u32;
            Header { marker: false, payload_type: 8, seq: n as u16, timestamp: n * 160, ssrc }.write(&mut self.packet);
            self.packet.extend_from_slice(&[0x91; 160]);
            self.engine.handle_input(now, Input::Rtp { leg, from, bytes: &self.packet });
            self.drain();
        }
        (ALLOCATIONS.load(Ordering::Relaxed) - due, due - before)
    }
}

fn params(remote: SocketAddr) -> LegParams {
    LegParams {
        remote,
        remote_rtcp: None,
        codec: Codec::Pcma,
        payload_type: 8,
        dtmf_pt: Some(101),
        dtmf_clock_hz: 8000,
        others: hotline_media::OtherFormats::default(),
        trust: Trust::new(true, []),
        send: true,
        recv: true,
        inband_dtmf: false,
        xr: XrWish::default(),
        srtp: None,
        rtc: None,
    }
}

#[test]
fn relaying_and_recording_ten_thousand_packets_allocates_nothing() {
    let mut talk = Talk::new();
    // Queues and buffers grow to their size in the first seconds.
    for n in 0..500 {
        talk.turn(n);
    }
    let (sent, stored) = (talk.sent, talk.stored);
    let (mut packets, mut due) = (0, 0);
    for n in 500..5_500 {
        let (more_packets, more_due) = talk.turn(n);
        packets += more_packets;
        due += more_due;
    }
    assert!(talk.sent >= sent + 10_000 && talk.stored > stored + 300, "{} {}", talk.sent, talk.stored);
    assert_eq!(packets, 0, "allocations on the way of packets");
    // Reports every five seconds and the judgement of quality, nothing that goes with packets.
    println!("{due} allocations in 100 s of timers");
    assert!(due <= 500, "{due} allocations of timers");
}
