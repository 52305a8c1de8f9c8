//! Small files in the real layouts.

fn word(out: &mut Vec<u8>, n: u32) {
    out.extend(n.to_le_bytes());
}

fn tensor(out: &mut Vec<u8>, name: &str, elements: u32) {
    for n in [1, name.len() as u32, 1, elements] {
        word(out, n);
    }
    out.extend(name.as_bytes());
    out.resize(out.len() + elements as usize * 2, 7);
}

/// A speech model of tiny's shape; `tensors` weights of two numbers each.
pub(crate) fn whisper(tensors: u32) -> Vec<u8> {
    let mut out = b"lmgg".to_vec();
    for n in [51_865, 1_500, 384, 6, 4, 448, 384, 6, 4, 80, 1, 80, 3] {
        word(&mut out, n);
    }
    out.resize(out.len() + 80 * 3 * 4, 0);
    word(&mut out, 3);
    for text in ["a", "", "井盖"] {
        word(&mut out, text.len() as u32);
        out.extend(text.as_bytes());
    }
    for i in 0..tensors {
        tensor(&mut out, &format!("t{i}"), 2);
    }
    out
}

/// A voice activity model with one layer.
pub(crate) fn vad() -> Vec<u8> {
    let mut out = b"lmgg".to_vec();
    word(&mut out, 10);
    out.extend(b"silero-16k");
    for n in [6, 2, 0, 512, 64, 1, 129, 128, 3, 128, 128, 128, 1] {
        word(&mut out, n);
    }
    for i in 0..9 {
        tensor(&mut out, &format!("t{i}"), 4);
    }
    out
}
