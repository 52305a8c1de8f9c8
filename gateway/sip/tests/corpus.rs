//! The fuzz targets' seeds stand what the fuzz targets demand
#![allow(missing_docs, unreachable_pub, dead_code)] // a part of the targets' file each
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking
#![allow(clippy::print_stdout)] // a seed that breaks a demand is named

#[path = "../fuzz/src/sip.rs"]
mod sip;

fn every(target: &str, demand: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        println!("{}", path.display());
        demand(&data);
        // Cut off and repeated, a seed is a seed too.
        demand(&data[..data.len() / 2]);
        demand(&data.repeat(2));
        count += 1;
    }
    assert!(count >= 8, "{count} seeds");
}

#[test]
fn messages() {
    every("message", sip::message);
}

#[test]
fn streams() {
    every("stream", sip::stream);
}

#[test]
fn credentials_and_challenges() {
    every("digest", sip::digest);
}

#[test]
fn uris_and_addresses() {
    every("uri", sip::uri);
}

#[test]
fn datagrams() {
    every("datagram", sip::datagram);
}
