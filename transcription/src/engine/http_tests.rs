//! The HTTP engine against a small server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;
use crate::config::EngineKind;
use crate::engine::Piece;
use crate::vad::Span;

/// Answers every request with `status` and `body`; yields what it received.
fn serve(status: &'static str, body: &'static str) -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/audio/transcriptions", listener.local_addr().unwrap());
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = tx.send(request(&mut stream));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(body.as_bytes());
        }
    });
    (url, rx)
}

fn request(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        let n = stream.read(&mut buffer).unwrap_or(0);
        all.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        let Some(head) = text.find("\r\n\r\n") else {
            continue;
        };
        let len: usize = text
            .split("content-length: ")
            .nth(1)
            .and_then(|t| t.split("\r\n").next())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        // Lossy text may be longer than the bytes; the head is ASCII.
        if n == 0 || all.len() >= head + 4 + len {
            return all;
        }
    }
}

fn engine(url: &str, format: &str) -> Http {
    let mut cfg = Config { engine: EngineKind::Http, ..Config::default() };
    cfg.http.url = url.into();
    cfg.http.response_format = format.into();
    Http::new(&cfg).unwrap()
}

fn window() -> Window {
    Window {
        samples: vec![0.1; 16_000 * 3],
        pieces: vec![Piece { at_ms: 0, span: Span { t0_ms: 10_000, t1_ms: 13_000 } }],
    }
}

#[test]
fn segments_with_times_are_placed_in_the_recording() {
    let (url, requests) = serve(
        "200 OK",
        r#"{"text":"x","language":"zh","segments":[{"id":0,"start":0.5,"end":1.25,"text":"<|zh|>井盖","avg_logprob":-0.1},{"start":2,"end":99,"text":"没了"}]}"#,
    );
    let got = engine(&url, "verbose_json").transcribe(&window(), Side::Citizen).unwrap();
    assert_eq!((got[0].t0_ms, got[0].t1_ms, got[0].text.as_str()), (10_500, 11_250, "井盖"));
    assert!((got[0].confidence.unwrap() - 0.905).abs() < 0.01);
    assert_eq!((got[1].t0_ms, got[1].t1_ms), (12_000, 13_000));
    let sent = requests.recv().unwrap();
    let text = String::from_utf8_lossy(&sent);
    for wanted in ["name=\"model\"", "name=\"language\"", "zh", "filename=\"audio.wav\"", "RIFF", "verbose_json"] {
        assert!(text.contains(wanted), "{wanted}");
    }
}

#[test]
fn a_plain_text_answer_covers_the_window() {
    let (url, _requests) = serve("200 OK", r#"{"text":"路灯坏了"}"#);
    let got = engine(&url, "json").transcribe(&window(), Side::Operator).unwrap();
    assert_eq!((got[0].t0_ms, got[0].t1_ms, got[0].text.as_str()), (10_000, 13_000, "路灯坏了"));
}

#[test]
fn a_server_in_trouble_is_unavailable_and_a_refused_recording_failed() {
    for (status, waits) in [
        ("503 Service Unavailable", true),
        ("401 Unauthorized", true),
        ("429 Too Many Requests", true),
        ("400 Bad Request", false),
        ("500 Internal Server Error", false),
    ] {
        let (url, _requests) = serve(status, "no");
        let err = engine(&url, "json").transcribe(&window(), Side::Citizen).unwrap_err();
        assert_eq!(matches!(err, EngineError::Unavailable(_)), waits, "{err}");
        assert!(err.to_string().contains(&status[..3]));
    }
    let err = engine("http://127.0.0.1:9/x", "json").transcribe(&window(), Side::Citizen).unwrap_err();
    assert!(matches!(err, EngineError::Unavailable(_)), "{err}");
}

#[test]
fn hostile_answers_are_errors_or_bounded_segments() {
    for body in ["", "null", "[]", "{}", "<html>", r#"{"text":5}"#, r#"{"segments":{}}"#] {
        let (url, _requests) = serve("200 OK", body);
        let got = engine(&url, "json").transcribe(&window(), Side::Citizen);
        assert!(got.is_err(), "{body}: {got:?}");
    }
    let (url, _requests) =
        serve("200 OK", r#"{"segments":[{"start":-5e300,"end":1e300,"text":"a"},{"start":3,"end":1,"text":"b"}]}"#);
    let got = engine(&url, "json").transcribe(&window(), Side::Citizen).unwrap();
    assert!(got.iter().all(|s| s.t0_ms <= s.t1_ms && s.t0_ms >= 10_000 && s.t1_ms <= 13_000), "{got:?}");
}

#[test]
fn a_missing_token_is_named() {
    let mut cfg = Config { engine: EngineKind::Http, ..Config::default() };
    cfg.http.url = "http://127.0.0.1:9/".into();
    cfg.http.token_env = "HOTLINE_TEST_NO_SUCH_TOKEN".into();
    let err = Http::new(&cfg).map(|_| ()).unwrap_err();
    assert!(err.to_string().contains("HOTLINE_TEST_NO_SUCH_TOKEN"));
}

#[test]
fn tags_are_stripped_and_broken_ones_kept() {
    assert_eq!(strip_tags("<|zh|><|NEUTRAL|>你好<|end|>"), "你好");
    assert_eq!(strip_tags("a<|b"), "a<|b");
    assert_eq!(strip_tags(""), "");
}
