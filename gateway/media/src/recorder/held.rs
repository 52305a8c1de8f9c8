//! A recording's window in the format of its file, and the way of any audio into it.

use std::ops::Range;

use super::{Block, WavFormat, Window, stretch::stretch_into, timeline::Moved};
use crate::{
    Codec,
    codec::{decode_into, encode_into, transcode_into},
};

/// Audio to place, 8000 samples a second.
#[derive(Clone, Copy, Debug)]
pub enum Audio<'a> {
    /// G.711, one byte a sample.
    G711 {
        /// Its law.
        codec: Codec,
        /// The codes.
        payload: &'a [u8],
    },
    /// 16-bit linear.
    Linear(&'a [i16]),
}

impl Audio<'_> {
    /// Samples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::G711 { payload, .. } => payload.len(),
            Self::Linear(samples) => samples.len(),
        }
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cut(self, range: Range<usize>) -> Self {
        match self {
            Self::G711 { codec, payload } => Self::G711 { codec, payload: &payload[range] },
            Self::Linear(samples) => Self::Linear(&samples[range]),
        }
    }
}

#[derive(Debug)]
enum Store {
    Pcm16(Window<i16>),
    Alaw(Window<u8>),
}

#[derive(Debug)]
pub(super) struct Held {
    store: Store,
    // Kept for their allocations.
    linear: Vec<i16>,
    stretched: Vec<i16>,
    coded: Vec<u8>,
}

/// Calls the same method of either window.
macro_rules! either {
    ($held:expr, $window:ident => $call:expr) => {
        match &mut $held.store {
            Store::Pcm16($window) => $call,
            Store::Alaw($window) => $call,
        }
    };
}

impl Held {
    pub(super) fn new(format: WavFormat) -> Self {
        let store = match format {
            WavFormat::Pcm16 => Store::Pcm16(Window::default()),
            WavFormat::Alaw => Store::Alaw(Window::default()),
        };
        Self { store, linear: Vec::new(), stretched: Vec::new(), coded: Vec::new() }
    }

    /// Writes audio from frame `at` on, made `slip` samples longer, without what then lies outside of
    /// `kept`.
    pub(super) fn write(&mut self, channel: usize, at: i64, audio: Audio<'_>, slip: i64, kept: Range<i64>) {
        let Self { store, linear, stretched, coded } = self;
        let audio = if slip == 0 {
            audio
        } else {
            stretched.clear();
            stretch_into(to_linear(audio, linear), slip, stretched);
            Audio::Linear(stretched)
        };
        let len = audio.len();
        let skip = usize::try_from(kept.start.saturating_sub(at)).unwrap_or(0).min(len);
        let keep = usize::try_from(kept.end.saturating_sub(at)).unwrap_or(0).clamp(skip, len);
        let (audio, at) = (audio.cut(skip..keep), at + skip as i64);
        match store {
            Store::Pcm16(window) => window.write(channel, at, to_linear(audio, linear)),
            Store::Alaw(window) => window.write(channel, at, to_alaw(audio, coded)),
        }
    }

    /// Moves what was written, without what then lies after `until` or in a pause.
    pub(super) fn move_back(&mut self, channel: usize, moved: Moved, until: i64, pause: Range<i64>) {
        let kept = moved.floor..until;
        either!(self, window => window.move_back(channel, moved.from..moved.to, moved.by, (kept, pause)));
    }

    pub(super) fn pending(&mut self, target: u64) -> u64 {
        either!(self, window => window.pending(target))
    }

    pub(super) fn hand_out(&mut self, target: u64, block: &mut Block) -> Option<u64> {
        either!(self, window => window.hand_out(target, block))
    }

    pub(super) fn take_rest(&mut self, target: u64) -> (u64, Vec<u8>) {
        either!(self, window => window.take_rest(target))
    }

    pub(super) fn take_lost(&mut self) -> u64 {
        either!(self, window => window.take_lost())
    }
}

fn to_linear<'a>(audio: Audio<'a>, space: &'a mut Vec<i16>) -> &'a [i16] {
    match audio {
        Audio::Linear(samples) => samples,
        Audio::G711 { codec, payload } => {
            space.clear();
            decode_into(codec, payload, space);
            space
        }
    }
}

/// Audio that came as A-law stays bit by bit what it was.
fn to_alaw<'a>(audio: Audio<'a>, space: &'a mut Vec<u8>) -> &'a [u8] {
    match audio {
        Audio::G711 { codec: Codec::Pcma, payload } => return payload,
        Audio::G711 { codec, payload } => {
            space.clear();
            transcode_into(codec, Codec::Pcma, payload, space);
        }
        Audio::Linear(samples) => {
            space.clear();
            encode_into(Codec::Pcma, samples, space);
        }
    }
    space
}
