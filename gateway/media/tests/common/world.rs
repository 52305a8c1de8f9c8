//! A recorded call in simulated time: talkers with clocks, networks and habits of their own, each
//! ticking once a second, and where their ticks lie in the finished file.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use hotline_media::{
    Codec, LegId, LegParams, RecordingId, codec,
    engine::{Command, Engine, Input, Output, RecordSpec, RecorderOp},
    recorder::{Finish, WavFormat},
    rtp::Header,
};

use super::{Lcg, addr, engine_config, params};

const SECOND_US: u64 = 1_000_000;
/// A tick: 40 ms of 1 kHz.
const TICK_US: f64 = 40_000.0;

/// What a talker does with the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Talks,
    /// Sends nothing; its timestamps run on.
    Rests,
    /// Sends nothing, and counts nothing.
    Stops,
}

/// What happens to packets between talker and gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    pub loss_percent: u32,
    pub jitter_us: u32,
    /// Held back by 35 ms, so that others overtake it.
    pub reorder_percent: u32,
    pub duplicate_percent: u32,
}

pub struct Talker {
    pub leg: LegId,
    pub address: SocketAddr,
    pub codec: Codec,
    pub header: Header,
    /// Its clock is slow by this many millionths.
    pub ppm: i64,
    pub ptime_ms: u64,
    pub habit: Habit,
    pub network: Network,
    /// It never ticks, but hums at 1 kHz.
    pub hums: bool,
    /// When it ticks in each second.
    pub phase_us: u64,
    /// Seconds whose tick was not sent or was lost.
    pub missing: BTreeSet<u64>,
    sample: u64,
}

impl Talker {
    fn captured_us(&self, sample: u64) -> f64 {
        sample as f64 * 125.0 * (1.0 + self.ppm as f64 / 1e6)
    }

    fn len(&self) -> u64 {
        self.ptime_ms * 8
    }

    fn ready_us(&self) -> u64 {
        self.captured_us(self.sample + self.len()) as u64
    }

    /// The second whose tick begins in the next packet.
    fn tick_begins(&self) -> Option<u64> {
        let (from, to) = (self.captured_us(self.sample), self.captured_us(self.sample + self.len()));
        let second = ((from - self.phase_us as f64) / SECOND_US as f64).ceil().max(0.0);
        (second * SECOND_US as f64 + (self.phase_us as f64) < to).then_some(second as u64)
    }

    fn value(&self, at_us: f64) -> i16 {
        let into = (at_us - self.phase_us as f64).rem_euclid(SECOND_US as f64);
        if into >= TICK_US && !self.hums {
            return 0;
        }
        ((at_us / 1e6 * 1000.0 * std::f64::consts::TAU).sin() * 8000.0) as i16
    }

    /// The next packet, if one is sent.
    fn next(&mut self) -> Option<Vec<u8>> {
        let len = self.len();
        let bytes = (self.habit == Habit::Talks).then(|| {
            let samples: Vec<i16> = (0..len).map(|n| self.value(self.captured_us(self.sample + n))).collect();
            let mut bytes = Vec::with_capacity(12 + samples.len());
            self.header.write(&mut bytes);
            codec::encode_into(self.codec, &samples, &mut bytes);
            self.header.seq = self.header.seq.wrapping_add(1);
            self.header.marker = false;
            bytes
        });
        if self.habit != Habit::Stops {
            self.header.timestamp = self.header.timestamp.wrapping_add(len as u32);
        }
        self.sample += len;
        bytes
    }

    pub fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
        self.header.payload_type = codec.static_payload_type();
    }
}

type Arrival = Reverse<(u64, u64, LegId, SocketAddr, Vec<u8>)>;

pub struct World {
    pub engine: Engine,
    pub talkers: Vec<Talker>,
    start: Instant,
    now_us: u64,
    arrivals: BinaryHeap<Arrival>,
    order: u64,
    lcg: Lcg,
    format: WavFormat,
    file: Vec<u8>,
    pub finish: Option<Finish>,
}

impl World {
    /// The citizen is leg and talker 1, at place 0; nobody else is there yet.
    pub fn new(format: WavFormat) -> Self {
        let start = Instant::now();
        let mut world = Self {
            engine: Engine::new(engine_config(format), start),
            talkers: Vec::new(),
            start,
            now_us: 0,
            arrivals: BinaryHeap::new(),
            order: 0,
            lcg: Lcg(11),
            format,
            file: Vec::new(),
            finish: None,
        };
        world.join(1, 0);
        let spec = RecordSpec { rec: RecordingId("r".into()), path: "r.wav".into(), max_ms: 24 * 3_600_000 };
        world.command(Command::Record { leg: LegId(1), spec });
        world
    }

    /// A call of two from the beginning: the citizen ticks at the second, the operator half a second later.
    pub fn call() -> Self {
        let mut world = Self::new(WavFormat::Pcm16);
        world.join(2, 500_000);
        world.bridge(1, 2);
        world
    }

    /// Opens a leg with a talker who ticks `phase_us` into each second.
    pub fn join(&mut self, leg: u64, phase_us: u64) {
        let address = format!("10.0.0.{leg}:4000");
        let id = LegId(leg);
        assert!(self.engine.open_leg(self.now(), id));
        self.command(Command::Configure { leg: id, params: params(&address, Codec::Pcma) });
        let header = Header { marker: true, payload_type: 8, seq: 65_000, timestamp: 4_294_900_000, ssrc: leg as u32 };
        // Its microphone has run since the beginning, its first packet comes with the next 20 ms.
        let sample = self.now_us.div_ceil(20_000) * 160;
        self.talkers.push(Talker {
            leg: id,
            address: addr(&address),
            codec: Codec::Pcma,
            header,
            ppm: 0,
            ptime_ms: 20,
            habit: Habit::Talks,
            network: Network::default(),
            hums: false,
            phase_us,
            missing: BTreeSet::new(),
            sample,
        });
    }

    pub fn bridge(&mut self, a: u64, b: u64) {
        self.command(Command::Bridge { a: LegId(a), b: LegId(b) });
    }

    pub fn configure(&mut self, leg: u64, params: LegParams) {
        self.command(Command::Configure { leg: LegId(leg), params });
    }

    pub fn command(&mut self, command: Command) {
        let now = self.now();
        self.engine.handle_input(now, Input::Command(command));
        self.drain();
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us)
    }

    /// Lets everybody talk until `ms` after the beginning.
    pub fn run_to(&mut self, ms: u64) {
        let end = ms * 1000;
        loop {
            let packet = self.arrivals.peek().map(|Reverse(arrival)| arrival.0);
            let ready = self.talkers.iter().map(Talker::ready_us).min();
            let Some(next) = packet.into_iter().chain(ready).min().filter(|at| *at <= end) else { break };
            self.advance(next);
            if packet == Some(next) {
                if let Some(Reverse((_, _, leg, from, bytes))) = self.arrivals.pop() {
                    let now = self.now();
                    self.engine.handle_input(now, Input::Rtp { leg, from, bytes: &bytes });
                    self.drain();
                }
            } else {
                self.talk(next);
            }
        }
        self.advance(end);
    }

    /// A packet of a talker's arrives now.
    pub fn deliver(&mut self, talker: usize, bytes: &[u8]) {
        let (leg, from, now) = (self.talkers[talker].leg, self.talkers[talker].address, self.now());
        self.engine.handle_input(now, Input::Rtp { leg, from, bytes });
        self.drain();
    }

    fn talk(&mut self, at_us: u64) {
        for talker in self.talkers.iter_mut().filter(|talker| talker.ready_us() <= at_us) {
            let (tick, network) = (talker.tick_begins(), talker.network);
            let packet = talker.next().filter(|_| self.lcg.below(100) >= network.loss_percent);
            let Some(bytes) = packet else {
                talker.missing.extend(tick);
                continue;
            };
            let mut delay_us = u64::from(self.lcg.below(network.jitter_us + 1));
            if self.lcg.below(100) < network.reorder_percent {
                delay_us += 35_000;
            }
            let copies = 1 + u64::from(self.lcg.below(100) < network.duplicate_percent);
            for copy in 0..copies {
                self.order += 1;
                let arrival = (at_us + delay_us + copy * 9_000, self.order, talker.leg, talker.address, bytes.clone());
                self.arrivals.push(Reverse(arrival));
            }
        }
    }

    fn advance(&mut self, to_us: u64) {
        let target = self.start + Duration::from_micros(to_us);
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= target) {
            let due_us = due.saturating_duration_since(self.start).as_micros() as u64;
            self.now_us = self.now_us.max(due_us);
            let now = self.now().max(due);
            self.engine.handle_timeout(now);
            self.drain();
        }
        self.now_us = self.now_us.max(to_us);
    }

    fn drain(&mut self) {
        let frame_len = self.format.frame_len();
        while let Some(output) = self.engine.poll_output() {
            let Output::Recorder(op) = output else { continue };
            let (offset, bytes) = match &op {
                RecorderOp::Open { .. } => continue,
                RecorderOp::Write(write) => (write.offset_frames, write.block.bytes()),
                RecorderOp::Finish(finish) => (finish.tail_offset_frames, finish.tail.as_slice()),
            };
            let at = offset as usize * frame_len;
            if self.file.len() < at + bytes.len() {
                self.file.resize(at + bytes.len(), self.format.silence());
            }
            self.file[at..at + bytes.len()].copy_from_slice(bytes);
            if let RecorderOp::Finish(finish) = op {
                self.file.resize(finish.frames as usize * frame_len, self.format.silence());
                self.finish = Some(*finish);
            }
        }
    }

    /// Ends the recording at `ms`; its length is checked.
    pub fn end(&mut self, ms: u64) {
        self.run_to(ms);
        self.command(Command::StopRecord { leg: LegId(1) });
        let frames = self.finish.as_ref().unwrap().frames;
        assert!(frames.abs_diff(ms * 8) <= 160, "{frames} frames for {ms} ms");
    }

    /// The finished file's bytes without its header.
    pub fn bytes(&self) -> &[u8] {
        &self.file
    }

    /// A sample of channel 0 (left) or 1.
    pub fn sample(&self, channel: usize, frame: usize) -> i16 {
        match self.format {
            WavFormat::Pcm16 => {
                let at = frame * 4 + channel * 2;
                i16::from_le_bytes([self.file[at], self.file[at + 1]])
            }
            WavFormat::Alaw => codec::alaw_to_linear(self.file[frame * 2 + channel]),
        }
    }

    /// Loudest sample of a channel between two times in ms.
    pub fn peak(&self, channel: usize, from_ms: u64, to_ms: u64) -> u16 {
        let frames = from_ms as usize * 8..to_ms as usize * 8;
        frames.map(|frame| self.sample(channel, frame).unsigned_abs()).max().unwrap_or(0)
    }

    /// How far each heard tick of a talker lies from its place, in samples, by second.
    pub fn errors(&self, channel: usize, talker: usize, seconds: std::ops::Range<u64>) -> Vec<(u64, i64)> {
        let talker = &self.talkers[talker];
        let heard = seconds.filter(|second| !talker.missing.contains(second));
        heard
            .map(|second| {
                let place = (second * 8000 + talker.phase_us / 125) as i64;
                let span = (place - 1600).max(0)..place + 1600;
                let onset = span.clone().find(|at| self.sample(channel, *at as usize).unsigned_abs() > 1500);
                let onset = onset.unwrap_or_else(|| panic!("channel {channel} has no tick of second {second}"));
                (second, onset - place)
            })
            .collect()
    }

    /// Every tick heard lies within 20 ms of its place; at least `least` were heard.
    pub fn assert_ticks(&self, channel: usize, talker: usize, seconds: std::ops::Range<u64>, least: usize) {
        let errors = self.errors(channel, talker, seconds);
        assert!(errors.len() >= least, "only {} ticks heard", errors.len());
        let wrong: Vec<_> = errors.iter().filter(|(_, error)| error.abs() > 160).collect();
        assert!(wrong.is_empty(), "channel {channel}, (second, samples off): {wrong:?}");
    }
}
