//! Who hears whom in a talk: the one place that says so.

use std::sync::Arc;

use hotline_media::engine::MixRow;
use hotline_media::{Clip, LegId};

use super::driver::Driver;
use super::guest::Part;

/// No prompt of the flow has this number: they count from 1.
const SILENCE_PLAY: u64 = 0;
const SILENCE_SAMPLES: usize = 8_000;

pub(super) fn silence() -> Arc<Clip> {
    Arc::new(Clip::from_samples(vec![0; SILENCE_SAMPLES]))
}

/// The legs of a talk at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    citizen: LegId,
    operator: LegId,
    /// The citizen takes part; false while they hear music.
    together: bool,
    /// Nobody hears the operator.
    muted: bool,
    guests: Vec<(LegId, Part)>,
}

impl Table {
    /// The citizen takes part and would hear nobody.
    fn leaves_citizen_alone(&self) -> bool {
        self.together && self.muted && !self.guests.iter().any(|(_, part)| part.speaks())
    }

    /// One row per leg. Nobody hears themselves; a whisper reaches the operator's row and no other; who is consulted
    /// hears and is heard while the citizen isn't there, and never hears the citizen.
    pub(crate) fn rows(&self) -> Vec<MixRow> {
        let citizen = self.together.then_some(self.citizen);
        let speakers: Vec<LegId> = self.guests.iter().filter(|(_, part)| part.speaks()).map(|(leg, _)| *leg).collect();
        let whisperers = self.guests.iter().filter(|(_, part)| *part == Part::Whisper).map(|(leg, _)| *leg);
        let consulted = self.guests.iter().filter(|(_, part)| *part == Part::Consult && !self.together);
        let consulted: Vec<LegId> = consulted.map(|(leg, _)| *leg).collect();
        let operator = (!self.muted).then_some(self.operator);
        let others = |leg: LegId| speakers.iter().copied().filter(move |speaker| *speaker != leg);
        let for_citizen: Vec<LegId> =
            if self.together { others(self.citizen).chain(operator).collect() } else { Vec::new() };
        let for_operator = citizen.into_iter().chain(speakers.iter().copied()).chain(whisperers);
        let mut rows = vec![
            MixRow { leg: self.citizen, hears: for_citizen },
            MixRow { leg: self.operator, hears: for_operator.chain(consulted.iter().copied()).collect() },
        ];
        for (leg, part) in &self.guests {
            let hears = match part {
                Part::Consult if self.together => Vec::new(),
                Part::Consult => operator.into_iter().collect(),
                Part::Join => citizen.into_iter().chain(operator).chain(others(*leg)).collect(),
                Part::Listen | Part::Whisper | Part::Barge => {
                    let all = citizen.into_iter().chain(operator).chain(others(*leg));
                    all.chain(consulted.iter().copied()).collect()
                }
            };
            rows.push(MixRow { leg: *leg, hears });
        }
        rows
    }
}

impl Driver {
    /// The talk's legs, if there is a talk.
    pub(crate) fn table(&self) -> Option<Table> {
        let operator = self.operator.as_ref().filter(|o| o.talking)?;
        let guests = self.guests.iter().filter(|g| g.talking);
        Some(Table {
            citizen: self.citizen.id(),
            operator: operator.leg.id(),
            together: !operator.holds.any() && self.transfer.is_none(),
            muted: self.desk.muted,
            guests: guests.map(|g| (g.leg.id(), g.part.heard_as(g.holding))).collect(),
        })
    }

    /// Tells the media thread what now holds. Without guests it is the plain bridge, or none.
    pub(crate) fn connect(&mut self) {
        let citizen = self.citizen.id();
        let table = self.table();
        let alone = table.as_ref().is_some_and(Table::leaves_citizen_alone);
        // Whoever hears a prompt hears nobody.
        if std::mem::replace(&mut self.desk.silence, alone) && !alone {
            self.sv.media.stop_play(citizen);
        }
        let Some(table) = table else { return self.sv.media.unbridge(citizen) };
        match (table.guests.is_empty(), table.together) {
            (true, true) if !table.muted => self.sv.media.bridge(citizen, table.operator),
            (true, false) => self.sv.media.unbridge(citizen),
            _ => {
                if alone {
                    // A line without a packet is cut by some carriers.
                    self.sv.media.play(citizen, SILENCE_PLAY, vec![silence()], true);
                }
                self.sv.media.mix(table.rows());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CITIZEN: LegId = LegId(1);
    const OPERATOR: LegId = LegId(2);
    const GUEST: LegId = LegId(3);
    const FOURTH: LegId = LegId(4);

    fn hears(together: bool, guests: &[(LegId, Part)], leg: LegId) -> Vec<u64> {
        heard_by(together, false, guests, leg)
    }

    fn heard_by(together: bool, muted: bool, guests: &[(LegId, Part)], leg: LegId) -> Vec<u64> {
        let table = Table { citizen: CITIZEN, operator: OPERATOR, together, muted, guests: guests.to_vec() };
        let row = table.rows().into_iter().find(|row| row.leg == leg).unwrap();
        let mut heard: Vec<u64> = row.hears.iter().map(|leg| leg.0).collect();
        heard.sort_unstable();
        heard
    }

    #[test]
    fn a_listener_hears_both_and_nobody_hears_a_listener() {
        let guests = [(GUEST, Part::Listen)];
        assert_eq!(hears(true, &guests, CITIZEN), [2]);
        assert_eq!(hears(true, &guests, OPERATOR), [1]);
        assert_eq!(hears(true, &guests, GUEST), [1, 2]);
    }

    #[test]
    fn a_whisper_reaches_the_operator_alone() {
        let guests = [(GUEST, Part::Whisper), (FOURTH, Part::Join)];
        assert_eq!(hears(true, &guests, CITIZEN), [2, 4]);
        assert_eq!(hears(true, &guests, OPERATOR), [1, 3, 4]);
        assert_eq!(hears(true, &guests, FOURTH), [1, 2]);
        assert_eq!(hears(true, &guests, GUEST), [1, 2, 4]);
    }

    #[test]
    fn who_joins_or_barges_in_hears_everybody_and_is_heard_by_all() {
        for part in [Part::Join, Part::Barge] {
            let guests = [(GUEST, part), (FOURTH, Part::Join)];
            assert_eq!(hears(true, &guests, CITIZEN), [2, 3, 4]);
            assert_eq!(hears(true, &guests, OPERATOR), [1, 3, 4]);
            assert_eq!(hears(true, &guests, GUEST), [1, 2, 4]);
        }
    }

    #[test]
    fn nobody_hears_a_muted_operator_who_hears_everybody() {
        let guests = [(GUEST, Part::Join), (FOURTH, Part::Whisper)];
        assert_eq!(heard_by(true, true, &guests, CITIZEN), [3]);
        assert_eq!(heard_by(true, true, &guests, OPERATOR), [1, 3, 4]);
        assert_eq!(heard_by(true, true, &guests, GUEST), [1]);
        assert_eq!(heard_by(true, true, &[], CITIZEN), [] as [u64; 0]);
    }

    #[test]
    fn a_muted_operator_leaves_the_citizen_alone_until_somebody_who_speaks_is_there() {
        let alone = |together: bool, muted: bool, guests: &[(LegId, Part)]| {
            let guests = guests.to_vec();
            let table = Table { citizen: CITIZEN, operator: OPERATOR, together, muted, guests };
            let hears_nobody = table.rows().iter().any(|row| row.leg == CITIZEN && row.hears.is_empty());
            assert_eq!(table.leaves_citizen_alone(), together && hears_nobody);
            table.leaves_citizen_alone()
        };
        assert!(alone(true, true, &[]));
        assert!(!alone(true, false, &[]), "the operator is heard");
        assert!(!alone(false, true, &[]), "music plays");
        for part in [Part::Listen, Part::Whisper, Part::Consult] {
            assert!(alone(true, true, &[(GUEST, part)]), "{part:?} is not heard");
        }
        for part in [Part::Join, Part::Barge] {
            assert!(!alone(true, true, &[(FOURTH, Part::Listen), (GUEST, part)]), "{part:?} is heard");
        }
    }

    #[test]
    fn who_is_consulted_talks_with_the_operator_alone_and_never_hears_the_citizen() {
        let guests = [(GUEST, Part::Consult), (FOURTH, Part::Listen)];
        assert_eq!(hears(false, &guests, OPERATOR), [3]);
        assert_eq!(hears(false, &guests, GUEST), [2]);
        assert_eq!(hears(false, &guests, CITIZEN), [] as [u64; 0]);
        assert_eq!(hears(false, &guests, FOURTH), [2, 3], "who listens hears the consultation too");
        assert_eq!(hears(true, &guests, CITIZEN), [2]);
        assert_eq!(hears(true, &guests, OPERATOR), [1]);
        assert_eq!(hears(true, &guests, GUEST), [] as [u64; 0]);
        assert_eq!(hears(true, &guests, FOURTH), [1, 2]);
    }

    #[test]
    fn a_citizen_on_hold_neither_hears_nor_is_heard() {
        let guests = [(GUEST, Part::Join), (FOURTH, Part::Listen)];
        assert_eq!(hears(false, &guests, CITIZEN), [] as [u64; 0]);
        assert_eq!(hears(false, &guests, OPERATOR), [3]);
        assert_eq!(hears(false, &guests, GUEST), [2]);
        assert_eq!(hears(false, &guests, FOURTH), [2, 3]);
    }
}
