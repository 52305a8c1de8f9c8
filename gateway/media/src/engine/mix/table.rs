//! The mixes of an engine and their schedule: each is due every 20 ms by absolute time, on one of
//! the wheel's four phases.

use std::time::{Duration, Instant};

use crate::{
    LegId,
    limits::{FRAME_MS, MIX_CATCH_UP_MS_MAX, MIX_MEMBERS_MAX, TICK_MS, TICK_PHASES},
    mixer::{Frame, Matrix, SILENT},
};

const FRAME_TIME: Duration = Duration::from_millis(FRAME_MS);

#[derive(Debug)]
struct Mix {
    matrix: Matrix<LegId>,
    /// When its next frames are sent; `None`: all of it is passed on packet by packet.
    due: Option<Instant>,
}

/// Mixes by their number. There are never more than legs.
#[derive(Debug)]
pub(in crate::engine) struct Mixes {
    started: Instant,
    mixes: Vec<Option<Mix>>,
    free: Vec<usize>,
    /// The earliest `due`.
    due: Option<Instant>,
    /// What the members of the mix being served have said; kept for its allocation.
    pub(super) frames: Box<[Frame; MIX_MEMBERS_MAX]>,
}

impl Mixes {
    pub(in crate::engine) fn new(now: Instant) -> Self {
        let frames = Box::new([SILENT; MIX_MEMBERS_MAX]);
        Self { started: now, mixes: Vec::new(), free: Vec::new(), due: None, frames }
    }

    pub(super) fn insert(&mut self, matrix: Matrix<LegId>, due: Option<Instant>) -> usize {
        let number = self.free.pop().unwrap_or(self.mixes.len());
        if number == self.mixes.len() {
            self.mixes.push(None);
        }
        self.mixes[number] = Some(Mix { matrix, due });
        number
    }

    pub(super) fn remove(&mut self, number: usize) {
        if self.mixes.get_mut(number).and_then(Option::take).is_some() {
            self.free.push(number);
            self.find_due();
        }
    }

    fn get(&self, number: usize) -> Option<&Mix> {
        self.mixes.get(number)?.as_ref()
    }

    pub(super) fn matrix(&self, number: usize) -> Option<&Matrix<LegId>> {
        self.get(number).map(|mix| &mix.matrix)
    }

    pub(super) fn matrix_mut(&mut self, number: usize) -> Option<&mut Matrix<LegId>> {
        self.mixes.get_mut(number)?.as_mut().map(|mix| &mut mix.matrix)
    }

    /// A mix and the frames to serve it with.
    pub(super) fn parts(&mut self, number: usize) -> Option<(&Matrix<LegId>, &mut [Frame; MIX_MEMBERS_MAX])> {
        let mix = self.mixes.get(number)?.as_ref()?;
        Some((&mix.matrix, &mut self.frames))
    }

    pub(super) fn due(&self, number: usize) -> Option<Instant> {
        self.get(number)?.due
    }

    /// Starts or stops the schedule of a mix; one that runs goes on as it is.
    pub(super) fn pace(&mut self, now: Instant, number: usize, is_paced: bool) {
        let next = self.next_on_phase(now, number % TICK_PHASES);
        if let Some(mix) = self.mixes.get_mut(number).and_then(Option::as_mut) {
            mix.due = is_paced.then(|| mix.due.unwrap_or(next));
            self.find_due();
        }
    }

    /// The first instant after `now` on a phase.
    fn next_on_phase(&self, now: Instant, phase: usize) -> Instant {
        let first = self.started + Duration::from_millis(phase as u64 * TICK_MS);
        let since = u64::try_from(now.saturating_duration_since(first).as_millis()).unwrap_or(u64::MAX);
        first + Duration::from_millis((since / FRAME_MS + 1) * FRAME_MS)
    }

    /// When the next mix is due.
    pub(in crate::engine) fn next_at(&self) -> Option<Instant> {
        self.due
    }

    /// Numbers of mixes are below this.
    pub(super) fn end(&self) -> usize {
        self.mixes.len()
    }

    /// The scheduled time of a mix that is due by `now`; ask until `None`, then [`Mixes::find_due`].
    pub(super) fn take_due(&mut self, now: Instant, number: usize) -> Option<Instant> {
        let mix = self.mixes.get_mut(number)?.as_mut()?;
        let mut at = mix.due.filter(|due| *due <= now)?;
        let behind_ms = u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        if behind_ms > MIX_CATCH_UP_MS_MAX {
            at += Duration::from_millis(behind_ms / FRAME_MS * FRAME_MS);
        }
        mix.due = Some(at + FRAME_TIME);
        Some(at)
    }

    pub(super) fn find_due(&mut self) {
        self.due = self.mixes.iter().flatten().filter_map(|mix| mix.due).min();
    }
}
