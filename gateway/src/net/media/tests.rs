//! The driver with real sockets on the loopback: a citizen and an operator made of two UDP sockets.

use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hotline_media::{
    codec,
    dtmf::EventPayload,
    engine::{Command, RecordSpec, RecorderOp},
    latch::Trust,
    recorder::{WavFormat, sha256_file},
    rtp::{Header, Packet},
    tone::{amplitude_at, sine},
};
use tokio::sync::mpsc;

use super::{thread::Ways, *};

mod batch;
mod mix;

/// Each test has its own range, below the kernel's ephemeral ports.
fn start(ports: u16, threads: usize, legs_max: usize) -> (Media, mpsc::Receiver<MediaEvent>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (tx, rx) = mpsc::channel(64);
    let loopback = "127.0.0.1".parse().unwrap();
    let cfg = MediaConfig {
        bind: loopback,
        advertise: loopback,
        port_min: ports,
        port_max: ports + 19,
        legs_max,
        recordings_dir: dir.path().to_owned(),
        recording_format: WavFormat::Pcm16,
        rtp_silence_ms: 300,
        rtcp_xr: false,
        agc: false,
        threads,
    };
    (Media::start(cfg, tx).unwrap(), rx, dir)
}

struct Phone {
    socket: UdpSocket,
    header: Header,
    samples: Vec<i16>,
    heard: Vec<i16>,
}

impl Phone {
    fn new(hz: f64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let header = Header { marker: false, payload_type: 8, seq: 9, timestamp: 7, ssrc: hz as u32 };
        Self { socket, header, samples: sine(hz, 10_000), heard: Vec::new() }
    }

    fn params(&self) -> LegParams {
        LegParams {
            remote: self.socket.local_addr().unwrap(),
            remote_rtcp: None,
            codec: Codec::Pcma,
            payload_type: 8,
            dtmf_pt: Some(101),
            dtmf_clock_hz: 8000,
            others: hotline_media::OtherFormats::default(),
            inband_dtmf: false,
            trust: Trust::new(true, []),
            send: true,
            recv: true,
            xr: hotline_media::XrWish::default(),
            srtp: None,
            rtc: None,
        }
    }

    fn send(&mut self, to: SocketAddr) {
        let mut bytes = Vec::new();
        self.header.write(&mut bytes);
        let at = usize::from(self.header.seq - 9) * 160;
        codec::encode_into(Codec::Pcma, &self.samples[at..at + 160], &mut bytes);
        self.socket.send_to(&bytes, to).unwrap();
        self.header.seq += 1;
        self.header.timestamp += 160;
    }

    fn press(&mut self, to: SocketAddr, event: u8) {
        for _ in 0..3 {
            let mut bytes = Vec::new();
            Header { payload_type: 101, ..self.header }.write(&mut bytes);
            bytes.extend_from_slice(&EventPayload { event, end: true, volume: 10, duration: 800 }.bytes());
            self.socket.send_to(&bytes, to).unwrap();
            self.header.seq += 1;
        }
        self.header.timestamp += 160 * 3;
    }

    fn listen(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
            let packet = Packet::parse(&buffer[..len]).unwrap();
            if packet.header.payload_type == 8 {
                codec::decode_into(Codec::Pcma, packet.payload, &mut self.heard);
            }
        }
    }
}

/// Events up to and including the first that fits.
fn until(rx: &mut mpsc::Receiver<MediaEvent>, fits: impl Fn(&MediaEvent) -> bool) -> Vec<MediaEvent> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut events = Vec::new();
    while Instant::now() < deadline {
        match rx.try_recv() {
            Ok(event) => {
                events.push(event);
                if fits(&events[events.len() - 1]) {
                    return events;
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    panic!("event did not come; got {events:?}");
}

fn channel(path: &Path, index: usize) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8000));
    reader.samples::<i16>().map(Result::unwrap).skip(index).step_by(2).collect()
}

/// How long the one thread of this process that waited most has stood ready without a processor since: bounds of a
/// quiet machine are widened by as much.
pub(super) struct Waiting(std::collections::HashMap<std::ffi::OsString, u64>);

impl Waiting {
    pub(super) fn now() -> Self {
        let waited = |thread: &std::fs::DirEntry| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        Self(threads.filter_map(|thread| Some((thread.file_name(), waited(&thread)?))).collect())
    }

    pub(super) fn ms(&self) -> u64 {
        let since = |(thread, ns): (std::ffi::OsString, u64)| ns - self.0.get(&thread).copied().unwrap_or(0).min(ns);
        Self::now().0.into_iter().map(since).max().unwrap_or(0) / 1_000_000
    }
}

/// The usual amplitude of `hz`: the median of pieces of 50 ms, since a recording follows what a busy machine delays.
fn usual(samples: &[i16], hz: f64) -> f64 {
    let mut amplitudes: Vec<f64> = samples.chunks_exact(400).map(|piece| amplitude_at(piece, hz)).collect();
    amplitudes.sort_by(f64::total_cmp);
    amplitudes[amplitudes.len() / 2]
}

#[test]
fn a_recorded_call_over_real_sockets() {
    let (media, mut rx, dir) = start(20_000, 1, 4);
    let (citizen_leg, operator_leg) = (media.open_leg().unwrap(), media.open_leg().unwrap());
    let (mut citizen, mut operator) = (Phone::new(440.0), Phone::new(1000.0));
    media.configure(citizen_leg.id, citizen.params());
    media.configure(operator_leg.id, operator.params());
    media.bridge(citizen_leg.id, operator_leg.id);
    let path = PathBuf::from("2026/call.wav");
    media.record(citizen_leg.id, RecordingId("r1".into()), path.clone(), 60_000);
    let waiting = Waiting::now();
    let begun = Instant::now();
    for n in 1..=150u32 {
        citizen.send(citizen_leg.local);
        operator.send(operator_leg.local);
        if n == 100 {
            citizen.press(citizen_leg.local, 7);
            // What a kill -9 would leave now.
            let open = dir.path().join("2026/call.wav.part");
            let crash = tempfile::tempdir().unwrap();
            let elapsed_ms = begun.elapsed().as_millis() as u64;
            std::fs::copy(&open, crash.path().join("call.wav.part")).unwrap();
            let repaired = hotline_media::repair(crash.path(), WavFormat::Pcm16);
            let kept_ms = repaired[0].as_ref().unwrap().duration_ms;
            let waited = waiting.ms();
            assert!(kept_ms + 500 + waited >= elapsed_ms, "{kept_ms} of {elapsed_ms}, {waited} waited");
        }
        std::thread::sleep(
            (begun + Duration::from_millis(u64::from(n) * 20)).saturating_duration_since(Instant::now()),
        );
        citizen.listen();
        operator.listen();
    }
    media.stop_record(citizen_leg.id);
    let lasted_ms = begun.elapsed().as_millis() as u64;
    let events = until(&mut rx, |event| matches!(event, MediaEvent::RecordingDone { .. }));
    let first = |leg| events.contains(&MediaEvent::FirstPacket { leg });
    assert!(first(citizen_leg.id) && first(operator_leg.id));
    assert!(events.contains(&MediaEvent::Digit { leg: citizen_leg.id, digit: '7', duration_ms: 100 }));
    let Some(MediaEvent::RecordingDone { rec, path: done, duration_ms, sha256, bytes, gaps_ms, error, .. }) =
        events.last()
    else {
        panic!()
    };
    assert_eq!((rec.0.as_str(), done, error), ("r1", &dir.path().join(&path), &None));
    let waited = waiting.ms();
    assert!(duration_ms.abs_diff(lasted_ms) <= 60 + waited, "{duration_ms} of {lasted_ms}, {waited} waited");
    assert_eq!(*gaps_ms, 0);
    assert_eq!(sha256, &sha256_file(done).unwrap());
    assert_eq!(*bytes, std::fs::metadata(done).unwrap().len());
    let (left, right) = (channel(done, 0), channel(done, 1));
    let usual = |samples: &[i16], hz: f64| usual(&samples[3200..12_000], hz);
    assert!(usual(&left, 440.0) > 5000.0 && usual(&left, 1000.0) < 300.0);
    assert!(usual(&right, 1000.0) > 5000.0 && usual(&right, 440.0) < 300.0);
    assert!(usual(&citizen.heard, 1000.0) > 5000.0);
    assert!(usual(&operator.heard, 440.0) > 5000.0);

    media.close_leg(citizen_leg.id);
    media.close_leg(operator_leg.id);
    let events = until(&mut rx, |event| matches!(event, MediaEvent::LegClosed { leg, .. } if *leg == operator_leg.id));
    let MediaEvent::LegClosed { stats, .. } = &events[events.len() - 1] else { panic!() };
    assert_eq!((stats.packets_in, stats.lost, stats.dropped), (150, 0, 0));
    let stats = media.stats();
    assert_eq!((stats.legs, stats.recordings, stats.malformed, stats.dropped_foreign), (0, 0, 0, 0));
    assert!(media.shutdown(Duration::from_secs(20)));
}

#[test]
fn prompts_silence_strangers_and_a_slow_reader() {
    let (media, mut rx, _dir) = start(20_020, 1, 4);
    let leg = media.open_leg().unwrap();
    let mut phone = Phone::new(440.0);
    media.configure(leg.id, phone.params());
    media.play(leg.id, 5, vec![Arc::new(Clip::from_samples(sine(450.0, 200)))], false);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.send(leg.local);
    std::thread::sleep(Duration::from_millis(30));
    stranger.send_to(&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0xD5], leg.local).unwrap();
    stranger.send_to(b"nonsense", leg.local).unwrap();
    until(&mut rx, |event| *event == MediaEvent::PlayDone { leg: leg.id, play_id: 5 });
    until(&mut rx, |event| *event == MediaEvent::Silent { leg: leg.id });
    phone.send(leg.local);
    until(&mut rx, |event| *event == MediaEvent::Resumed { leg: leg.id });
    phone.listen();
    assert_eq!(phone.heard.len(), 1600);
    assert!(amplitude_at(&phone.heard, 450.0) > 5000.0);
    let stats = media.stats();
    assert_eq!((stats.dropped_foreign, stats.malformed), (1, 1));

    // Far more events than the channel holds while nobody reads: all come, in order.
    for _ in 0..300 {
        media.play(leg.id, 1, vec![], false);
        std::thread::sleep(Duration::from_micros(100));
    }
    for n in 0..200 {
        media.record(leg.id, RecordingId(n.to_string()), "not-a-wav".into(), 1000);
    }
    let last = |event: &MediaEvent| matches!(event, MediaEvent::RecordingDone { rec, .. } if rec.0 == "199");
    let refused: Vec<String> = until(&mut rx, last)
        .into_iter()
        .filter_map(|event| match event {
            MediaEvent::RecordingDone { rec, error: Some(_), .. } => Some(rec.0),
            _ => None,
        })
        .collect();
    assert_eq!(refused, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn strangers_are_counted_and_a_moved_peer_is_heard_after_the_socket_is_connected() {
    let (media, mut rx, _dir) = start(20_086, 1, 4);
    let leg = media.open_leg().unwrap();
    let (mut phone, mut moved) = (Phone::new(440.0), Phone::new(1000.0));
    let wait = |what: &str, fits: &mut dyn FnMut() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !fits() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut tell = |phone: &mut Phone| {
        media.configure(leg.id, phone.params());
        phone.send(leg.local);
        until(&mut rx, |event| matches!(event, MediaEvent::FirstPacket { .. } | MediaEvent::Resumed { .. }));
        media.play(leg.id, 1, vec![Arc::new(Clip::from_samples(sine(450.0, 200)))], true);
        let settled = (limits::SETTLED_PACKETS as usize + 10) * 160;
        wait("the prompt goes on", &mut || {
            phone.listen();
            phone.heard.len() > settled
        });
    };
    tell(&mut phone);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 1..=3 {
        stranger.send_to(&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0xD5], leg.local).unwrap();
        wait("a stranger is counted", &mut || media.stats().dropped_foreign == n);
    }
    // Silence was reported before, so the moved phone's first packet shows as one that came again.
    tell(&mut moved);
    assert_eq!((media.stats().packets_in, media.stats().send_errors), (2, 0));
}

#[test]
fn a_stuck_writer_refuses_new_recordings_and_takes_them_again_when_it_moves() {
    let dir = tempfile::tempdir().unwrap();
    let loopback = "127.0.0.1".parse().unwrap();
    let cfg = MediaConfig {
        bind: loopback,
        advertise: loopback,
        port_min: 20_060,
        port_max: 20_079,
        legs_max: 4,
        recordings_dir: dir.path().to_owned(),
        recording_format: WavFormat::Pcm16,
        rtp_silence_ms: 300,
        rtcp_xr: false,
        agc: false,
        threads: 1,
    };
    let shared = Arc::new(stats::Shared::new(1));
    let ports = Arc::new(ports::Ports::new(cfg.port_min, cfg.port_max).unwrap());
    let queue = 1_000;
    let (writer, ops) = writer::WriterHandle::for_test(queue);
    let (tx, mut rx) = mpsc::channel(64);
    let (mailbox, join) =
        thread::start(0, &cfg, &shared, &ports, Ways { writer, dtls: std::sync::mpsc::sync_channel(1).0, events: tx })
            .unwrap();
    let leg = LegId(1);
    let command = |command| assert!(mailbox.post(mailbox::Order::Command(command)));
    let record = |n: usize| {
        let rec = RecordingId(n.to_string());
        let spec = RecordSpec { rec, path: dir.path().join(format!("{n}.wav")), max_ms: 60_000 };
        command(Command::Record { leg, spec });
        command(Command::StopRecord { leg });
    };
    assert!(shared.admit_leg(4));
    assert!(mailbox.post(mailbox::Order::Open { leg, pair: ports.bind(loopback).unwrap() }));
    // Each recording has a beginning and an end; the queue takes some, the backlog the rest.
    let taken = (limits::WRITER_BACKLOG_MAX + queue).div_ceil(2);
    (0..taken + 3).for_each(record);
    let refused = |event: &MediaEvent| matches!(event, MediaEvent::RecordingDone { error: Some(_), .. });
    for n in taken..taken + 3 {
        let events = until(&mut rx, refused);
        let Some(MediaEvent::RecordingDone { rec, bytes: 0, .. }) = events.last() else { panic!("{events:?}") };
        assert_eq!(rec.0, n.to_string());
    }
    assert_eq!(shared.snapshot().recordings_refused, 3);

    // The writer moves again: everything accepted comes out in order, and recordings are taken again.
    let next =
        |ops: &std::sync::mpsc::Receiver<_>| ops.recv_timeout(Duration::from_secs(20)).map(|(_, op)| op).unwrap();
    for _ in 0..taken {
        assert!(matches!(next(&ops), RecorderOp::Open { .. }));
        assert!(matches!(next(&ops), RecorderOp::Finish(_)));
    }
    record(taken + 3);
    assert!(matches!(next(&ops), RecorderOp::Open { path, .. } if path.ends_with(format!("{}.wav", taken + 3))));
    assert_eq!(shared.snapshot().recordings_refused, 3);
    mailbox.stop();
    drop(ops);
    assert!(threads::join_all(&mut vec![join], Duration::from_secs(20)));
}

#[test]
fn a_lost_digit_is_named_in_the_log_and_not_shown() {
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let file = Arc::clone(&log);
    let writer = move || LogWriter(Arc::clone(&file));
    let subscriber = tracing_subscriber::fmt().with_writer(writer).without_time().finish();
    let (tx, _rx) = mpsc::channel(1);
    let mut sink = event::EventSink::new(tx, Arc::new(stats::Shared::new(1)));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..=limits::EVENTS_BACKLOG_MAX + 1 {
            sink.push(MediaEvent::Digit { leg: LegId(41), digit: '7', duration_ms: 987_654 });
        }
    });
    let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert!(text.contains("leg-41") && text.contains("Digit"), "{text}");
    assert!(!text.contains("987654") && !text.contains("digit"), "{text}");
}

struct LogWriter(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn limits_and_shutdown() {
    let (media, mut rx, dir) = start(20_040, 2, 3);
    let a = media.open_leg().unwrap();
    let b = media.open_leg_beside(a.id).unwrap();
    assert_eq!(a.id.0 % 2, b.id.0 % 2, "beside means on the same thread");
    let c = media.open_leg().unwrap();
    assert_eq!(a.id.0 % 2, c.id.0 % 2, "one thread is enough");
    let mut c = c;
    while a.id.0 % 2 == c.id.0 % 2 {
        media.close_leg(c.id);
        until(&mut rx, |event| matches!(event, MediaEvent::LegClosed { .. }));
        // The thread may say at any time that it is idle: then once more.
        media.pretend_load(0, 600);
        c = media.open_leg().unwrap();
    }
    assert!(matches!(media.open_leg(), Err(MediaError::TooManyLegs(3))));
    media.bridge(a.id, c.id);
    assert_eq!(media.stats().commands_refused, 1, "a bridge over two threads is refused");
    media.close_leg(c.id);
    until(&mut rx, |event| matches!(event, MediaEvent::LegClosed { .. }));
    assert!(media.open_leg().is_ok());
    media.record(a.id, RecordingId("kept".into()), "kept.wav".into(), 60_000);
    std::fs::write(dir.path().join("taken.wav"), "x").unwrap();
    media.record(b.id, RecordingId("taken".into()), "taken.wav".into(), 60_000);
    let waiting = Waiting::now();
    std::thread::sleep(Duration::from_millis(500));
    let waited = waiting.ms();
    assert!(media.shutdown(Duration::from_secs(20)), "threads end");
    let mut closed = 0;
    let mut done = Vec::new();
    while let Ok(event) = rx.try_recv() {
        match event {
            MediaEvent::LegClosed { .. } => closed += 1,
            MediaEvent::RecordingDone { rec, error, duration_ms, .. } => done.push((rec.0, error, duration_ms)),
            _ => {}
        }
    }
    done.sort();
    assert_eq!((closed, done.len()), (3, 2));
    assert!(done[0].1.is_none() && done[0].2 + waited >= 490, "{done:?}, {waited} waited");
    assert!(done[1].1.is_some(), "an existing file is not overwritten");
    assert!(dir.path().join("kept.wav").exists());
    assert!(matches!(media.open_leg(), Err(MediaError::Unavailable)));
}
