//! 20 ms of every mix that is due.

use crate::recorder::Origin;
use std::time::Instant;

use super::super::{
    Engine,
    send::{send_frame, serve},
};
use crate::{
    limits::FRAME_SAMPLES,
    mixer::{SILENT, mix},
};

impl Engine {
    pub(in crate::engine) fn serve_mixes(&mut self, now: Instant) {
        if self.mixes.next_at().is_none_or(|due| due > now) {
            return;
        }
        for number in 0..self.mixes.end() {
            while let Some(at) = self.mixes.take_due(now, number) {
                self.serve_mix(number, at);
            }
        }
        self.mixes.find_due();
    }

    /// `at` is the scheduled time, so that timestamps and recordings know nothing of a late thread.
    fn serve_mix(&mut self, number: usize, at: Instant) {
        let Some((matrix, frames)) = self.mixes.parts(number) else {
            return;
        };
        // A talk of two keeps its levels, even if it has to be transcoded.
        let with_gain = self.cfg.agc && matrix.len() > 2;
        for (n, frame) in frames.iter_mut().enumerate().take(matrix.len()) {
            let leg = matrix.member(n).and_then(|id| self.legs.get_mut(&id));
            match leg.and_then(|leg| leg.playout.as_mut()) {
                Some(playout) => playout.next_frame(at, with_gain, frame),
                None => *frame = SILENT,
            }
        }
        for n in 0..matrix.len() {
            let Some(leg) = matrix.member(n).and_then(|id| self.legs.get_mut(&id)).filter(|leg| leg.is_mixed) else {
                continue;
            };
            if leg.is_occupied() {
                serve(leg, at, &mut self.totals, &mut self.out);
            } else if !leg.out.is_ahead(at, FRAME_SAMPLES as u32) {
                let mut frame = SILENT;
                mix(frames, matrix.row(n), &mut frame);
                send_frame(leg, at, (&frame, Origin::Mix), &mut self.totals, &mut self.out);
            }
        }
    }
}
