#![no_main]
#[allow(dead_code)]
#[path = "../src/sip.rs"]
mod sip;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sip::message(data));
