//! Good, damaged and foreign model files.

use super::*;
use crate::model::samples;

fn judge(bytes: &[u8]) -> Result<ModelInfo, CheckError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.bin");
    std::fs::write(&path, bytes).unwrap();
    check(&path)
}

#[test]
fn a_speech_model_is_recognised() {
    let info = judge(&samples::whisper(11 + 15 * 4 + 24 * 4)).unwrap();
    assert_eq!((info.kind, info.name.as_str(), info.format.as_str()), (ModelKind::Whisper, "tiny", "f16"));
    assert!(info.multilingual);
    assert_eq!(info.tensors, 167);
}

#[test]
fn a_model_without_weights_says_so() {
    let info = judge(&samples::whisper(0)).unwrap();
    assert!(info.to_string().contains("no weights"), "{info}");
}

#[test]
fn a_voice_activity_model_is_not_a_speech_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.bin");
    std::fs::write(&path, samples::vad()).unwrap();
    assert_eq!(check(&path).unwrap().name, "silero-16k 6.2.0");
    let err = expect(&path, ModelKind::Whisper).unwrap_err();
    assert!(matches!(err, CheckError::WrongKind { .. }), "{err}");
    assert!(err.to_string().contains("voice activity model"));
}

#[test]
fn gguf_html_and_empty_files_are_told_apart() {
    let mut gguf = b"GGUF".to_vec();
    gguf.resize(100, 0);
    assert!(matches!(judge(&gguf), Err(CheckError::Gguf(_))));
    let html = judge(&[b"<!DOCTYPE html>".as_slice(), &[b' '; 100]].concat()).unwrap_err();
    assert!(html.to_string().contains("\"<!DO\""), "{html}");
    assert!(matches!(judge(b""), Err(CheckError::NotAModel { .. })));
    assert!(matches!(check(Path::new("/nonexistent/m.bin")), Err(CheckError::Open { .. })));
}

#[test]
fn every_truncation_is_an_error_except_the_one_before_the_weights() {
    let whole = samples::whisper(167);
    let head = samples::whisper(0).len();
    for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        if cut != head {
            assert!(judge(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
    let vad = samples::vad();
    for cut in 0..vad.len() {
        assert!(judge(&vad[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..400 {
        let mut bytes = if round % 2 == 0 { samples::whisper(167) } else { samples::vad() };
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 17) as u8;
        }
        let _ = judge(&bytes);
    }
}

#[test]
fn the_real_test_files_are_judged_rightly() {
    let Some(models) = crate::testdata::dir("models") else {
        return;
    };
    let vad = expect(&models.join("for-tests-silero-v6.2.0-ggml.bin"), ModelKind::Vad).unwrap();
    assert_eq!(vad.tensors, 15);
    let tiny = expect(&models.join("for-tests-ggml-tiny.bin"), ModelKind::Whisper).unwrap();
    assert_eq!((tiny.name.as_str(), tiny.tensors), ("tiny", 0));
}
