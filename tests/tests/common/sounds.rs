//! What somebody hears in a call, and what its recording holds, by tones that name who speaks.
#![allow(dead_code, reason = "each test file uses a part")]

use hotline_tests::rtp::RtpStream;
use hotline_tests::tone::{self, RATE_HZ};
use hotline_tests::until;
use hotline_tests::wav::Wav;
use serde_json::Value;

use super::Desk;

/// Windows a course is read in.
const WINDOW_MS: usize = 100;
/// Shorter stretches are transitions and aren't named.
const STRETCH_MS_MIN: usize = 400;

/// What a stretch of audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    /// Nothing.
    Silence,
    /// The tone of so many hertz.
    Tone(u32),
    /// Anything else: music, a prompt, several tones at once.
    Other,
}

/// The stretches of a piece of audio in order, by the tones that may be in it.
pub(crate) fn course(samples: &[i16], tones_hz: &[u32]) -> Vec<Sound> {
    let name = |window: &[i16]| {
        if tone::level_dbov(window) < tone::SILENCE_DBOV {
            return Sound::Silence;
        }
        // A recording follows a sender's clock by samples left out or put in: that spreads a tone by a per cent
        // or two. Bins 10 Hz apart share no power in windows of 100 ms.
        let share = |hz: u32| {
            (-2..=2).map(|bin| tone::tone_share(window, RATE_HZ, f64::from(hz) + 10.0 * f64::from(bin))).sum::<f64>()
        };
        let is_tone = |hz: &&u32| share(**hz) >= tone::TONE_SHARE_MIN;
        tones_hz.iter().find(is_tone).map_or(Sound::Other, |hz| Sound::Tone(*hz))
    };
    let mut stretches: Vec<(Sound, usize)> = Vec::new();
    for sound in samples.chunks_exact(WINDOW_MS * 8).map(name) {
        match stretches.last_mut() {
            Some((last, windows)) if *last == sound => *windows += 1,
            _ => stretches.push((sound, 1)),
        }
    }
    let long = stretches.into_iter().filter(|(_, windows)| windows * WINDOW_MS >= STRETCH_MS_MIN);
    let mut sounds: Vec<Sound> = long.map(|(sound, _)| sound).collect();
    sounds.dedup();
    sounds
}

/// Waits until the stream hears music: sound that is none of the tones, long enough to show in a [`course`] whose
/// next voice takes the end of it.
pub(crate) async fn hears_music(stream: &RtpStream, tones_hz: &[u32]) {
    stream.clear_heard();
    let found = until("music", 10_000, || async {
        let heard = stream.heard().last_ms(2_000);
        let is_none = |hz: &u32| tone::tone_ms(&heard, RATE_HZ, f64::from(*hz)) == 0;
        (tone::sound_ms(&heard, RATE_HZ) > 800 && tones_hz.iter().all(is_none)).then_some(())
    });
    found.await.unwrap();
}

/// Waits until the stream has heard this tone for a second and a half, long enough to show in a [`course`].
pub(crate) async fn hears(stream: &RtpStream, hz: u32) {
    stream.clear_heard();
    stream.wait_for_tone(f64::from(hz), 1_500, 10_000).await.unwrap();
}

/// Level of one tone in a piece of audio, dB of full scale; −200 where it is not.
pub(crate) fn tone_dbov(samples: &[i16], hz: u32) -> f64 {
    let power = tone::goertzel_power(samples, RATE_HZ, f64::from(hz));
    (10.0 * (power / (32_768.0 * 32_768.0)).log10()).max(-200.0)
}

/// The finished recording of a talk: its row and its audio.
pub(crate) async fn recorded(desk: &Desk, call: &str) -> (Value, Wav) {
    let path = format!("/api/v1/calls/{call}");
    let recording = until("a finished talk recording", 20_000, || async {
        let detail = desk.api.get(&path).await.ok()?;
        detail["recordings"].as_array()?.iter().find(|r| r["kind"] == "talk" && r["sha256"].is_string()).cloned()
    });
    let recording = recording.await.unwrap();
    let bytes = desk.api.audio(recording["id"].as_str().unwrap(), "quality check").await.unwrap();
    (recording, Wav::from_bytes(&bytes).unwrap())
}
