//! Who hears whom in a talk: the one place that says so.

use hotline_media::LegId;
use hotline_media::engine::MixRow;

use super::driver::Driver;
use super::guest::Part;

/// The legs of a talk at one moment.
#[derive(Clone, Debug)]
struct Table {
    citizen: LegId,
    operator: LegId,
    /// The citizen takes part; false while they hear music.
    together: bool,
    guests: Vec<(LegId, Part)>,
}

impl Table {
    /// One row per leg. Nobody hears themselves; a whisper reaches the operator's row and no other.
    fn rows(&self) -> Vec<MixRow> {
        let citizen = self.together.then_some(self.citizen);
        let speakers: Vec<LegId> = self.guests.iter().filter(|(_, part)| part.speaks()).map(|(leg, _)| *leg).collect();
        let whisperers = self.guests.iter().filter(|(_, part)| *part == Part::Whisper).map(|(leg, _)| *leg);
        let others = |leg: LegId| speakers.iter().copied().filter(move |speaker| *speaker != leg);
        let for_citizen: Vec<LegId> =
            if self.together { others(self.citizen).chain([self.operator]).collect() } else { Vec::new() };
        let mut rows = vec![
            MixRow { leg: self.citizen, hears: for_citizen },
            MixRow {
                leg: self.operator,
                hears: citizen.into_iter().chain(speakers.iter().copied()).chain(whisperers).collect(),
            },
        ];
        for (leg, _) in &self.guests {
            rows.push(MixRow {
                leg: *leg,
                hears: citizen.into_iter().chain([self.operator]).chain(others(*leg)).collect(),
            });
        }
        rows
    }
}

impl Driver {
    /// Tells the media thread what now holds. Without guests it is the plain bridge, or none.
    pub(crate) fn connect(&self) {
        let citizen = self.citizen.id();
        let Some(operator) = self.operator.as_ref().filter(|o| o.talking) else {
            return self.sv.media.unbridge(citizen);
        };
        let together = !operator.holds.any() && self.transfer.is_none();
        let guests: Vec<(LegId, Part)> =
            self.guests.iter().filter(|g| g.talking).map(|g| (g.leg.id(), g.part.heard_as(g.holding))).collect();
        match (guests.is_empty(), together) {
            (true, true) => self.sv.media.bridge(citizen, operator.leg.id()),
            (true, false) => self.sv.media.unbridge(citizen),
            (false, _) => self.sv.media.mix(Table { citizen, operator: operator.leg.id(), together, guests }.rows()),
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
        let table = Table { citizen: CITIZEN, operator: OPERATOR, together, guests: guests.to_vec() };
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
    fn a_citizen_on_hold_neither_hears_nor_is_heard() {
        let guests = [(GUEST, Part::Join), (FOURTH, Part::Listen)];
        assert_eq!(hears(false, &guests, CITIZEN), [] as [u64; 0]);
        assert_eq!(hears(false, &guests, OPERATOR), [3]);
        assert_eq!(hears(false, &guests, GUEST), [2]);
        assert_eq!(hears(false, &guests, FOURTH), [2, 3]);
    }
}
