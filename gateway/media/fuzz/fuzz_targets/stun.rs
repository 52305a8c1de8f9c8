#![no_main]
#[allow(dead_code)]
#[path = "../../tests/common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../src/media.rs"]
mod media;

libfuzzer_sys::fuzz_target!(|data: &[u8]| media::stun(data));
