//! The fuzz targets' seeds stand what the fuzz targets demand; see `gateway/media/fuzz` and `gateway/sip/fuzz`
#![allow(missing_docs, unreachable_pub, dead_code)] // a part of the targets' file each
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking
#![allow(clippy::print_stdout)] // a seed that breaks a demand is named

mod common;
#[path = "../fuzz/src/media.rs"]
mod media;
#[path = "../../sip/fuzz/src/sdp.rs"]
mod sdp;

/// Every seed whole, cut, repeated, and with each of its first bytes another.
fn replay(folder: &str, seeds_min: usize, target: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        println!("{}", path.display());
        for end in [data.len(), data.len() / 2, data.len() / 3] {
            target(&data[..end]);
        }
        target(&data.repeat(2));
        for at in 0..data.len().min(12) {
            let mut changed = data.clone();
            changed[at] ^= 0x55;
            target(&changed);
        }
        count += 1;
    }
    assert!(count >= seeds_min, "{count} seeds");
}

#[test]
fn session_descriptions() {
    replay("../sip/fuzz/corpus/sdp", 8, sdp::sdp);
}

#[test]
fn datagrams_into_a_recorded_call() {
    replay("fuzz/corpus/engine", 12, media::engine);
}

#[test]
fn reports() {
    replay("fuzz/corpus/rtcp", 8, media::rtcp);
}

#[test]
fn checks_of_browsers() {
    replay("fuzz/corpus/stun", 4, media::stun);
}

#[test]
fn files_a_crash_left() {
    replay("fuzz/corpus/wav", 8, media::wav);
}

#[test]
fn key_events() {
    replay("fuzz/corpus/dtmf", 6, media::dtmf);
}

#[test]
fn jittered_streams() {
    replay("fuzz/corpus/jitter", 6, media::jitter);
}
