//! Who is connected with whom: every bridge is a mix, and what can be passed on packet by packet is.
//!
//! A listener who hears one leg only, in a coding it speaks, gets that leg's packets at once, as
//! they are; so nobody who listens or whispers changes a packet of the others' talk. All other
//! listeners get a frame every 20 ms: `route` decides, `playout` holds what was received until
//! then, `tick` mixes and sends.

mod playout;
mod route;
mod table;
mod tick;

pub(super) use playout::Playout;
pub(super) use route::is_relayed;
pub(super) use table::Mixes;

use std::time::Instant;

use super::{Engine, Event, leg::Leg, output::Outbox};
use crate::{LegId, dtmf::Digit, mixer::Matrix};

/// Whom one leg of a mix hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixRow {
    /// The listener.
    pub leg: LegId,
    /// The others it hears; nobody hears themselves.
    pub hears: Vec<LegId>,
}

impl Leg {
    /// Tells the driver when the leg is connected with somebody, and when it no longer is.
    pub(in crate::engine) fn settle_urgency(&mut self, out: &mut Outbox) {
        let is_urgent = self.mix.is_some() || self.is_connecting();
        if std::mem::replace(&mut self.is_urgent, is_urgent) != is_urgent {
            out.listen(self.id, is_urgent);
        }
    }
}

impl Engine {
    pub(super) fn bridge(&mut self, now: Instant, a: LegId, b: LegId) {
        if a == b || !self.legs.contains_key(&a) || !self.legs.contains_key(&b) {
            return;
        }
        self.mix(now, vec![MixRow { leg: a, hears: vec![b] }, MixRow { leg: b, hears: vec![a] }]);
    }

    /// Connects the legs of `rows` anew. Legs that have closed meanwhile are left out; rows that are no
    /// mix change nothing.
    pub(super) fn mix(&mut self, now: Instant, mut rows: Vec<MixRow>) {
        rows.retain(|row| self.legs.contains_key(&row.leg));
        for row in &mut rows {
            row.hears.retain(|leg| self.legs.contains_key(leg));
        }
        let Some(first) = rows.first().map(|row| row.leg) else {
            return;
        };
        let matrix = match Matrix::new(rows.iter().map(|row| (row.leg, row.hears.as_slice()))) {
            Ok(matrix) => matrix,
            Err(reason) => return self.out.event(Event::MixRefused { leg: first, reason }),
        };
        // Who is being mixed already stays in the same rhythm.
        let due = rows.iter().filter_map(|row| self.legs.get(&row.leg)?.mix).find_map(|mix| self.mixes.due(mix));
        let mut left = Vec::new();
        for row in &rows {
            if let Some(leg) = self.legs.get_mut(&row.leg).filter(|leg| leg.mix.is_none()) {
                leg.talk_begins(now);
            }
            left.extend(self.leave(row.leg).filter(|mix| !left.contains(mix)));
        }
        for mix in left {
            self.route(now, mix);
        }
        let mix = self.mixes.insert(matrix, due);
        for row in &rows {
            if let Some(leg) = self.legs.get_mut(&row.leg) {
                leg.mix = Some(mix);
            }
        }
        self.route(now, mix);
    }

    pub(super) fn unbridge(&mut self, now: Instant, id: LegId) {
        let Some(mix) = self.leave(id) else {
            return;
        };
        self.set_mixed(now, id, false);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.end_playout();
            leg.fed_by = None;
            leg.talk_ends(now, &mut self.out);
            leg.settle_urgency(&mut self.out);
        }
        self.route(now, mix);
    }

    /// Takes a leg out of its mix, which has to be routed anew.
    fn leave(&mut self, id: LegId) -> Option<usize> {
        let leg = self.legs.get_mut(&id)?;
        let mix = leg.mix.take()?;
        leg.peer = None;
        if let Some(mix) = self.mixes.matrix_mut(mix) {
            mix.remove(id);
        }
        Some(mix)
    }

    /// Those whom a leg hears and who hear it.
    pub(super) fn partners(&self, id: LegId) -> impl Iterator<Item = &Leg> {
        let matrix = self.legs.get(&id).and_then(|leg| leg.mix).and_then(|mix| self.mixes.matrix(mix));
        let own = matrix.and_then(|matrix| matrix.number(id).map(|n| (matrix, n)));
        own.into_iter().flat_map(move |(matrix, n)| {
            let others = matrix.row(n).iter().filter(move |&other| matrix.row(other).has(n));
            others.filter_map(|other| self.legs.get(&matrix.member(other)?))
        })
    }

    /// Passes finished digits on to those who hear `from` and take events, but not its packets of them:
    /// made anew, since these would have to find a place among those of a mix, or count at another clock. Each comes
    /// with its number among the presses of `from`: what was passed on before the mix began is not made again.
    pub(super) fn pass_digits(
        &mut self,
        now: Instant,
        from: LegId,
        digits: impl IntoIterator<Item = (u32, Digit)> + Clone,
    ) {
        let Some(leg) = self.legs.get(&from) else {
            return;
        };
        let clock_hz = leg.event_clock_in;
        let Some(matrix) = leg.mix.and_then(|mix| self.mixes.matrix(mix)) else {
            return;
        };
        let Some(number) = matrix.number(from) else {
            return;
        };
        for n in (0..matrix.len()).filter(|&n| matrix.row(n).has(number)) {
            let Some(leg) = matrix.member(n).and_then(|id| self.legs.get_mut(&id)) else {
                continue;
            };
            let Some(params) = leg.params.as_ref().filter(|params| params.dtmf_pt.is_some()) else {
                continue;
            };
            if !leg.is_mixed && params.dtmf_clock_hz == clock_hz {
                continue;
            }
            let relayed = leg.relayed_event.filter(|event| event.from == from).map(|event| event.press);
            for (_, Digit { digit, duration_ms }) in digits.clone().into_iter().filter(|(n, _)| relayed != Some(*n)) {
                leg.digits.push(digit, duration_ms);
            }
            // Those of a mixed leg keep to the mix's rhythm.
            if !leg.is_mixed && leg.digits.is_busy() && leg.phase.is_none() {
                leg.phase = Some(self.wheel.add(now, leg.id));
            }
        }
    }
}
