//! A simulated world around one engine: a clock, peers, a network and a disk in memory.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly"
)]

pub mod world;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hotline_media::{
    Clip, Codec, LegId, LegParams, RecordingId, XrWish,
    codec::Encoder,
    engine::{Command, DtlsOp, Engine, EngineConfig, Event, Input, Output, Port, RecordSpec, RecorderOp},
    latch::Trust,
    recorder::{BlockPool, Finish, RecordingKey, WavFormat},
    rtp::{Header, Packet},
};

/// A packet the engine sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub leg: LegId,
    pub port: Port,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
    pub at_ms: u64,
}

impl Sent {
    pub fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.bytes).unwrap()
    }
}

pub struct Sim {
    pub engine: Engine,
    pub start: Instant,
    pub now: Instant,
    pub sent: Vec<Sent>,
    pub events: Vec<(u64, Event)>,
    pub dtls: Vec<(LegId, DtlsOp)>,
    files: HashMap<RecordingKey, Vec<u8>>,
    /// Finished recordings: what the writer was told, and the stereo frames.
    pub finished: Vec<(Finish, Vec<[i16; 2]>)>,
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What both simulated worlds begin with.
pub fn engine_config(format: WavFormat) -> EngineConfig {
    EngineConfig {
        legs_max: 16,
        rtp_silence_ms: 5000,
        rtcp_xr: false,
        seed: 42,
        unix_ms: 1_700_000_000_000,
        agc: false,
        pool: BlockPool::new(128),
        format,
    }
}

impl Sim {
    pub fn new() -> Self {
        Self::with_agc(false)
    }

    pub fn with_agc(agc: bool) -> Self {
        let now = Instant::now();
        let cfg = EngineConfig { agc, ..engine_config(WavFormat::Pcm16) };
        Self {
            engine: Engine::new(cfg, now),
            start: now,
            now,
            sent: Vec::new(),
            events: Vec::new(),
            dtls: Vec::new(),
            files: HashMap::new(),
            finished: Vec::new(),
        }
    }

    pub fn ms(&self) -> u64 {
        (self.now - self.start).as_millis() as u64
    }

    /// Opens and configures a leg whose peer is at `remote`.
    pub fn leg(&mut self, id: u64, remote: &str, codec: Codec) -> LegId {
        let leg = LegId(id);
        assert!(self.engine.open_leg(self.now, leg));
        self.command(Command::Configure { leg, params: params(remote, codec) });
        leg
    }

    pub fn command(&mut self, command: Command) {
        self.engine.handle_input(self.now, Input::Command(command));
        self.drain();
    }

    pub fn record(&mut self, leg: LegId, max_ms: u64) {
        let spec = RecordSpec { rec: RecordingId("rec".into()), path: "rec.wav".into(), max_ms };
        self.command(Command::Record { leg, spec });
    }

    pub fn play(&mut self, leg: LegId, play_id: u64, samples: Vec<i16>, repeat: bool) {
        let clips = vec![Arc::new(Clip::from_samples(samples))];
        self.command(Command::Play { leg, play_id, clips, repeat });
    }

    pub fn rtp(&mut self, leg: LegId, from: SocketAddr, bytes: &[u8]) {
        self.engine.handle_input(self.now, Input::Rtp { leg, from, bytes });
        self.drain();
    }

    pub fn rtcp(&mut self, leg: LegId, from: SocketAddr, bytes: &[u8]) {
        self.engine.handle_input(self.now, Input::Rtcp { leg, from, bytes });
        self.drain();
    }

    /// Moves the clock to `ms` after the start, doing what becomes due in between.
    pub fn advance_to(&mut self, ms: u64) {
        let target = self.start + Duration::from_millis(ms);
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= target) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.max(target);
    }

    /// Moves the clock without a look at timers, as a stalled thread would, then looks once.
    pub fn stall_to(&mut self, ms: u64) {
        self.now = self.start + Duration::from_millis(ms);
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let at_ms = self.ms();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Packet { leg, port, to, bytes } => {
                    self.sent.push(Sent { leg, port, to, bytes: bytes.to_vec(), at_ms });
                }
                Output::Listen { .. } => {}
                Output::Dtls { leg, op } => self.dtls.push((leg, op)),
                Output::Event(event) => self.events.push((at_ms, event)),
                Output::Recorder(RecorderOp::Open { key, .. }) => {
                    self.files.insert(key, Vec::new());
                }
                Output::Recorder(RecorderOp::Write(write)) => {
                    let file = self.files.get_mut(&write.key).unwrap();
                    put(file, write.offset_frames, write.block.bytes());
                }
                Output::Recorder(RecorderOp::Finish(finish)) => {
                    let mut file = self.files.remove(&finish.key).unwrap();
                    put(&mut file, finish.tail_offset_frames, &finish.tail);
                    file.resize(finish.frames as usize * 4, 0);
                    let frames = file
                        .chunks_exact(4)
                        .map(|b| [i16::from_le_bytes([b[0], b[1]]), i16::from_le_bytes([b[2], b[3]])])
                        .collect();
                    self.finished.push((*finish, frames));
                }
            }
        }
    }

    /// Milliseconds of audio the disk holds now of the only open recording.
    pub fn stored_ms(&self) -> u64 {
        self.files.values().next().map_or(0, |file| file.len() as u64 / 32)
    }

    /// RTP packets sent on a leg, in order of sending.
    pub fn sent_on(&self, leg: LegId) -> Vec<Sent> {
        self.sent.iter().filter(|sent| sent.leg == leg && sent.port == Port::Rtp).cloned().collect()
    }

    pub fn digits(&self) -> String {
        self.events
            .iter()
            .filter_map(|(_, event)| if let Event::Digit { digit, .. } = event { Some(*digit) } else { None })
            .collect()
    }
}

fn put(file: &mut Vec<u8>, offset_frames: u64, bytes: &[u8]) {
    let at = offset_frames as usize * 4;
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

pub fn params(remote: &str, codec: Codec) -> LegParams {
    LegParams {
        remote: addr(remote),
        remote_rtcp: None,
        codec,
        payload_type: codec.static_payload_type(),
        dtmf_pt: Some(101),
        dtmf_clock_hz: codec.rtp_clock_hz(),
        others: hotline_media::OtherFormats::default(),
        inband_dtmf: false,
        trust: Trust::new(true, []),
        send: true,
        recv: true,
        xr: XrWish::default(),
        srtp: None,
        rtc: None,
    }
}

/// A phone: makes packets of a tone, 20 ms each.
pub struct Phone {
    pub address: SocketAddr,
    pub codec: Codec,
    pub header: Header,
    pub amplitude: f64,
    encoder: Encoder,
    hz: f64,
    sample: u64,
}

impl Phone {
    pub fn new(address: &str, codec: Codec, hz: f64) -> Self {
        let header = Header {
            marker: true,
            payload_type: codec.static_payload_type(),
            seq: 65_500,
            timestamp: u32::MAX - 9000,
            ssrc: hz as u32,
        };
        Self { address: addr(address), codec, header, amplitude: 8000.0, encoder: Encoder::new(codec), hz, sample: 0 }
    }

    /// The next 20 ms; silent if not `loud`.
    pub fn packet_of(&mut self, loud: bool) -> Vec<u8> {
        let amplitude = if loud { self.amplitude } else { 0.0 };
        let samples = std::array::from_fn(|n| {
            let at = (self.sample + n as u64) as f64;
            ((at * self.hz * std::f64::consts::TAU / 8000.0).sin() * amplitude) as i16
        });
        self.sample += 160;
        let mut bytes = Vec::new();
        self.header.write(&mut bytes);
        self.encoder.encode(&samples, &mut bytes);
        self.header.seq = self.header.seq.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(self.codec.rtp_clock_hz() / 50);
        self.header.marker = false;
        bytes
    }

    pub fn packet(&mut self) -> Vec<u8> {
        self.packet_of(true)
    }
}

pub fn channel(frames: &[[i16; 2]], index: usize) -> Vec<i16> {
    frames.iter().map(|frame| frame[index]).collect()
}

/// A seeded generator, so that a failing run can be repeated.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }
}

/// Samples where 20 ms windows turn from silent to loud.
pub fn onsets(samples: &[i16]) -> Vec<usize> {
    let mut onsets = Vec::new();
    let mut quiet = 8000;
    for (index, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() > 1500 {
            if quiet >= 2400 {
                onsets.push(index);
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    onsets
}
