//! The fuzz target's seeds stand what the fuzz target demands; see `gateway/sip/fuzz`
#![allow(missing_docs, unreachable_pub, dead_code)] // a part of the targets' file each
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking
#![allow(clippy::print_stdout)] // a seed that breaks a demand is named

#[path = "../../sip/fuzz/src/sdp.rs"]
mod sdp;

#[test]
fn session_descriptions() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sip/fuzz/corpus/sdp");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        println!("{}", path.display());
        for end in [data.len(), data.len() / 2, data.len() / 3] {
            sdp::sdp(&data[..end]);
        }
        sdp::sdp(&data.repeat(2));
        count += 1;
    }
    assert!(count >= 8, "{count} seeds");
}
