//! Is there any sound in a leg's packets? Asked only until the first sound, so that a talk costs nothing.

use crate::{Codec, codec::decode_table};

/// Peak to peak below this is no sound: ±32 of 32768, −60 dBFS. Digital silence, a stuck code word and the lowest
/// steps of either law lie below; a live microphone's own noise lies above.
const SOUND_PEAK_TO_PEAK: i16 = 64;
/// Comfort noise louder than this many −dBov (RFC 3389 §3.1) is the noise of a live room.
const NOISE_DBOV_MAX: u8 = 60;

/// Listens for a leg's first sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ear {
    sound: bool,
    low: i16,
    high: i16,
    has_samples: bool,
    silent_samples: u32,
}

impl Ear {
    /// Sound has been heard; nothing more needs to be shown to this ear.
    #[must_use]
    pub const fn has_sound(&self) -> bool {
        self.sound
    }

    /// How much audio without sound came so far, ms at 8 kHz; 0 once there was sound.
    #[must_use]
    pub const fn silent_ms(&self) -> u32 {
        if self.sound { 0 } else { self.silent_samples / 8 }
    }

    /// A packet's samples at 8 kHz.
    pub fn hear(&mut self, samples: impl IntoIterator<Item = i16>) {
        if self.sound {
            return;
        }
        let mut count = 0;
        for sample in samples {
            count += 1;
            if !self.has_samples {
                (self.low, self.high, self.has_samples) = (sample, sample, true);
            }
            self.low = self.low.min(sample);
            self.high = self.high.max(sample);
            if self.high.saturating_sub(self.low) > SOUND_PEAK_TO_PEAK {
                *self = Self { sound: true, ..Self::default() };
                return;
            }
        }
        self.silent_samples = self.silent_samples.saturating_add(count);
    }

    /// A G.711 payload; other codecs have to be decoded first.
    pub fn hear_g711(&mut self, codec: Codec, payload: &[u8]) {
        // A leg without a sound is listened to for as long as it lasts.
        if let Some(table) = decode_table(codec) {
            self.hear(payload.iter().map(|&code| table[usize::from(code)]));
        }
    }

    /// A comfort noise payload: its first byte is the level in −dBov.
    pub fn hear_noise(&mut self, payload: &[u8]) {
        if payload.first().is_some_and(|level| level & 0x7F < NOISE_DBOV_MAX) {
            self.sound = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn heard(codec: Codec, samples: &[i16]) -> Ear {
        let mut bytes = Vec::new();
        codec::encode_into(codec, samples, &mut bytes);
        let mut ear = Ear::default();
        for packet in bytes.chunks(160) {
            ear.hear_g711(codec, packet);
        }
        ear
    }

    #[test]
    fn digital_silence_a_stuck_code_word_and_the_lowest_steps_are_no_sound() {
        for codec in [Codec::Pcma, Codec::Pcmu] {
            let silence = heard(codec, &[0; 1600]);
            assert!(!silence.has_sound());
            assert_eq!(silence.silent_ms(), 200);
            assert!(!heard(codec, &[12_000; 1600]).has_sound(), "a constant is no sound");
            let flicker: Vec<i16> = (0..1600).map(|n| if n % 2 == 0 { 8 } else { -8 }).collect();
            assert!(!heard(codec, &flicker).has_sound());
        }
    }

    #[test]
    fn a_quiet_room_is_sound_from_its_first_packet_on() {
        for codec in [Codec::Pcma, Codec::Pcmu] {
            let room: Vec<i16> = (0..1600).map(|n| ((n * 7919) % 200) as i16 - 100).collect();
            let ear = heard(codec, &room);
            assert!(ear.has_sound());
            assert_eq!(ear.silent_ms(), 0);
        }
    }

    #[test]
    fn comfort_noise_tells_a_live_room_from_a_dead_one() {
        let mut ear = Ear::default();
        ear.hear_noise(&[]);
        ear.hear_noise(&[78]);
        assert!(!ear.has_sound());
        ear.hear_noise(&[45]);
        assert!(ear.has_sound());
    }
}
