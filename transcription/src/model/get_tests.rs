//! `get` against a server that misbehaves on purpose.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::*;
use crate::model::samples;

/// What the server does with one request for the file.
#[derive(Clone, Copy)]
enum Act {
    /// Serves honestly, ranges included.
    Whole,
    /// Promises all, sends at most this many bytes, hangs up.
    Cut(usize),
    /// Answers 200 with everything, whatever range was asked.
    IgnoreRange,
    /// Sends the right length, wrong bytes.
    Corrupt,
    /// Says it is shorter than the file, and is.
    Short,
    /// Answers a range that begins elsewhere.
    OtherRange,
    /// Answers this status.
    Status(u16),
}

struct Server {
    base: String,
    asked: Arc<AtomicU32>,
    ranges: Arc<Mutex<Vec<Option<u64>>>>,
}

/// Each request takes the next act; the last one repeats.
fn serve(body: Vec<u8>, sum_file: Option<String>, acts: Vec<Act>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/models/", listener.local_addr().unwrap());
    let (asked, ranges) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (asked_in, ranges_in) = (asked.clone(), ranges.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (path, range) = request(&stream);
            if path.ends_with(".sha256") {
                match &sum_file {
                    Some(text) => reply(&stream, "200 OK", "", text.len(), text.as_bytes()),
                    None => reply(&stream, "404 Not Found", "", 0, b""),
                }
                continue;
            }
            let n = asked_in.fetch_add(1, Ordering::SeqCst) as usize;
            ranges_in.lock().unwrap().push(range);
            act(&stream, &body, range.map(|r| r as usize), acts[n.min(acts.len() - 1)]);
        }
    });
    Server { base, asked, ranges }
}

fn request(stream: &TcpStream) -> (String, Option<u64>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or("").to_owned();
    let mut range = None;
    for line in lines.take_while(|l| !l.is_empty()) {
        if let Some(v) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = v.trim_end_matches('-').parse().ok();
        }
    }
    (path, range)
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, len: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\nconnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

fn act(stream: &TcpStream, body: &[u8], range: Option<usize>, act: Act) {
    let total = body.len();
    let honest = |limit: usize| match range {
        Some(from) if from >= total => {
            reply(stream, "416 Range Not Satisfiable", &format!("content-range: bytes */{total}\r\n"), 0, b"");
        }
        Some(from) => {
            let header = format!("content-range: bytes {from}-{}/{total}\r\n", total - 1);
            let rest = &body[from..];
            reply(stream, "206 Partial Content", &header, rest.len(), &rest[..rest.len().min(limit)]);
        }
        None => reply(stream, "200 OK", "", total, &body[..total.min(limit)]),
    };
    match act {
        Act::Whole => honest(usize::MAX),
        Act::Cut(n) => honest(n),
        Act::IgnoreRange => reply(stream, "200 OK", "", total, body),
        Act::Corrupt => {
            let wrong: Vec<u8> = body.iter().map(|b| b ^ 1).collect();
            reply(stream, "200 OK", "", total, &wrong);
        }
        Act::Short => reply(stream, "200 OK", "", total - 10, &body[..total - 10]),
        Act::OtherRange => {
            let header = format!("content-range: bytes 1-{}/{total}\r\n", total - 1);
            reply(stream, "206 Partial Content", &header, total - 1, &body[1..]);
        }
        Act::Status(code) => reply(stream, &format!("{code} No"), "", 0, b""),
    }
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn quiet(_: u64, _: Option<u64>) {}

const NAME: &str = "site.bin";

async fn fetch(dir: &Path, server: &Server, sha: Option<&str>) -> Result<PathBuf, GetError> {
    get(NAME, dir, &server.base, sha, &quiet).await
}

#[tokio::test]
async fn a_good_file_is_installed_once_and_then_left_alone() {
    let body = samples::whisper(167);
    let server = serve(body.clone(), None, vec![Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    let seen = Mutex::new((0, None));
    let progress = |done: u64, total: Option<u64>| *seen.lock().unwrap() = (done, total);
    let path = get(NAME, dir.path(), &server.base, Some(&sum(&body).to_uppercase()), &progress).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(*seen.lock().unwrap(), (body.len() as u64, Some(body.len() as u64)));
    assert!(!dir.path().join("site.bin.part").exists());
    fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn broken_connections_are_resumed_where_they_broke() {
    let body = samples::whisper(167);
    let server = serve(body.clone(), None, vec![Act::Cut(500), Act::Cut(300), Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    let path = fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    assert_eq!(*server.ranges.lock().unwrap(), [None, Some(500), Some(800)]);
}

#[tokio::test]
async fn a_part_of_an_earlier_run_is_used() {
    let body = samples::whisper(167);
    let server = serve(body.clone(), None, vec![Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.bin.part"), &body[..700]).unwrap();
    fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
    assert_eq!(*server.ranges.lock().unwrap(), [Some(700)]);
}

#[tokio::test]
async fn a_complete_part_is_only_verified() {
    let body = samples::whisper(167);
    let server = serve(body.clone(), None, vec![Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.bin.part"), &body).unwrap();
    fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
}

#[tokio::test]
async fn a_server_that_ignores_ranges_starts_over() {
    let body = samples::whisper(167);
    for acts in [vec![Act::IgnoreRange], vec![Act::OtherRange, Act::Whole]] {
        let server = serve(body.clone(), None, acts);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("site.bin.part"), &body[..100]).unwrap();
        let path = fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), body);
    }
}

#[tokio::test]
async fn a_part_of_another_file_is_thrown_away_once() {
    let body = samples::whisper(167);
    let server = serve(body.clone(), None, vec![Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.bin.part"), vec![9; 100]).unwrap();
    fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
    assert_eq!(*server.ranges.lock().unwrap(), [Some(100), None]);
}

#[tokio::test]
async fn wrong_bytes_and_a_wrong_length_are_never_installed() {
    let body = samples::whisper(167);
    for act in [Act::Corrupt, Act::Short] {
        let server = serve(body.clone(), None, vec![act]);
        let dir = tempfile::tempdir().unwrap();
        let err = fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap_err();
        assert!(matches!(err, GetError::Checksum { .. }), "{err}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_missing_file_is_told_at_once() {
    let server = serve(Vec::new(), None, vec![Act::Status(404)]);
    let dir = tempfile::tempdir().unwrap();
    let err = fetch(dir.path(), &server, Some(&"0".repeat(64))).await.unwrap_err();
    assert!(matches!(err, GetError::Status { status: 404, .. }), "{err}");
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    let body = samples::vad();
    let server = serve(body.clone(), None, vec![Act::Status(503), Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap();
}

#[tokio::test]
async fn nobody_listening_names_the_address_and_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let err = get(NAME, dir.path(), "http://127.0.0.1:9", Some(&"0".repeat(64)), &quiet).await.unwrap_err();
    let text = err.to_string();
    assert!(text.contains("127.0.0.1:9") && text.contains("again"), "{text}");
}

#[tokio::test]
async fn without_a_known_checksum_the_published_one_is_needed() {
    let body = samples::vad();
    let dir = tempfile::tempdir().unwrap();
    let with = serve(body.clone(), Some(format!("{}  {NAME}\n", sum(&body))), vec![Act::Whole]);
    fetch(dir.path(), &with, None).await.unwrap();
    let without = serve(body, None, vec![Act::Whole]);
    let err = fetch(dir.path(), &without, None).await.unwrap_err();
    assert!(err.to_string().contains("--sha256"), "{err}");
    assert_eq!(without.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_file_with_the_right_sum_that_is_no_model_is_refused() {
    let body = vec![b'x'; 5_000];
    let server = serve(body.clone(), None, vec![Act::Whole]);
    let dir = tempfile::tempdir().unwrap();
    let err = fetch(dir.path(), &server, Some(&sum(&body))).await.unwrap_err();
    assert!(matches!(err, GetError::NotAModel(_)), "{err}");
}

#[tokio::test]
async fn two_downloads_of_one_model_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Part::open(dir.path().join("site.bin.part")).unwrap();
    let server = serve(samples::vad(), None, vec![Act::Whole]);
    let err = fetch(dir.path(), &server, Some(&"0".repeat(64))).await.unwrap_err();
    assert!(matches!(err, GetError::Busy(_)), "{err}");
}

#[test]
fn names_never_leave_the_folder() {
    for bad in ["../../etc/x.bin", "a/b.bin", ".hidden.bin", "a..bin.bin/..", "small2", ""] {
        assert!(matches!(resolve(bad, ""), Err(GetError::UnknownName { .. })), "{bad}");
    }
    let (file, base) = resolve("small", "").unwrap();
    assert_eq!((file.as_str(), base.as_str()), ("ggml-small.bin", catalog::SPEECH_BASE_URL));
    assert_eq!(resolve("small", "http://mirror/x/").unwrap().1, "http://mirror/x");
}

#[test]
fn a_checksum_is_64_hex_digits() {
    assert!(parse_sum("abc").is_err());
    assert!(parse_sum(&"g".repeat(64)).is_err());
    assert_eq!(parse_sum(&"AB".repeat(32)).unwrap(), "ab".repeat(32));
}
