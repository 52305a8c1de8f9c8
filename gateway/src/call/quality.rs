//! How a call's legs sound: rows at their end, and events while somebody can't be heard.

use std::collections::{BTreeMap, BTreeSet};

use hotline_db::LegQuality;
use hotline_media::engine::AudioFault;
use hotline_media::quality::DirectionQuality;
use hotline_media::{LegId, LegStats};
use serde_json::json;

use super::driver::Driver;
use crate::clock::now_ms;

/// From this score on a direction sounds good: "satisfied" of ITU-T G.107 Annex B …
const GOOD_MOS: f64 = 4.0;
/// … and from this one fair; below it "nearly all users dissatisfied".
const FAIR_MOS: f64 = 3.1;

/// A score in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// 良好
    Good,
    /// 一般
    Fair,
    /// 差
    Poor,
}

impl Grade {
    /// The word for a score of 1.0–4.5.
    #[must_use]
    pub fn of(mos: f64) -> Self {
        match mos {
            mos if mos >= GOOD_MOS => Self::Good,
            mos if mos >= FAIR_MOS => Self::Fair,
            _ => Self::Poor,
        }
    }

    /// As people read it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Good => "良好 good",
            Self::Fair => "一般 fair",
            Self::Poor => "差 poor",
        }
    }
}

/// Somebody who can't be heard just now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct AudioTrouble {
    /// `citizen`, `operator` or `third`.
    pub leg: String,
    /// `in`: we don't hear them; `out`: they don't hear us.
    pub direction: String,
    /// `no_packets`, `silence` or `not_received`.
    pub cause: String,
    /// Since when (epoch ms).
    pub since: i64,
}

/// How a guest's leg is called in rows.
const GUEST: &str = "guest";
/// How both legs of a consultation are called in rows.
const CONSULT: &str = "consult";

/// What a call knows of its legs' sound.
#[derive(Default)]
pub(crate) struct Sound {
    /// Legs that have ended.
    pub(crate) legs: Vec<LegQuality>,
    closed: BTreeSet<LegId>,
    /// Legs of people outside the house.
    pub(crate) third: BTreeSet<LegId>,
    /// Legs of people who were asked in or listen: the call's score isn't theirs.
    pub(crate) guests: BTreeSet<LegId>,
    /// Legs of consultations: the citizen takes no part in them.
    pub(crate) consults: BTreeSet<LegId>,
    /// What is wrong now; the moment it was told, if it was.
    faults: BTreeMap<(LegId, &'static str), (AudioFault, Option<i64>)>,
}

impl Sound {
    /// The call's score: its worst leg and direction.
    pub(crate) fn mos(&self) -> Option<f64> {
        self.legs
            .iter()
            .filter(|row| ![GUEST, CONSULT].contains(&row.leg.as_str()))
            .filter_map(LegQuality::mos)
            .reduce(f64::min)
    }

    pub(crate) fn has_closed(&self, leg: LegId) -> bool {
        self.closed.contains(&leg)
    }
}

const fn words(fault: AudioFault) -> (&'static str, &'static str, &'static str) {
    match fault {
        AudioFault::NoRtp => ("audio_dead", "in", "no_packets"),
        AudioFault::Muted => ("audio_one_way", "in", "silence"),
        AudioFault::NotHeard => ("audio_one_way", "out", "not_received"),
    }
}

impl Driver {
    /// The leg's word in rows and events.
    pub(crate) fn role(&self, leg: LegId) -> &'static str {
        match leg {
            leg if leg == self.citizen.id() => "citizen",
            leg if self.sound.third.contains(&leg) => "third",
            leg if self.sound.guests.contains(&leg) => GUEST,
            leg if self.sound.consults.contains(&leg) => CONSULT,
            _ => "operator",
        }
    }

    /// A leg goes on without this call: its figures are nobody call's, and what is wrong with it concerns nobody here.
    pub(crate) fn forget_sound(&mut self, leg: LegId) {
        self.sound.faults.retain(|(of, _), _| *of != leg);
        self.show_troubles();
    }

    /// A leg has ended: its figures wait for the call's end.
    pub(crate) fn leg_closed(&mut self, leg: LegId, stats: &LegStats) {
        self.sound.closed.insert(leg);
        self.phone_watch.forget(leg);
        self.sound.faults.retain(|(of, _), _| *of != leg);
        self.show_troubles();
        if stats.packets_in == 0 && stats.packets_out == 0 {
            return;
        }
        let row = figures(self.role(leg), stats, now_ms());
        self.sv.metrics.quality.leg(&row);
        self.sound.legs.push(row);
    }

    /// A leg can't be heard, or can again after `lasted_ms`.
    pub(crate) fn on_audio(&mut self, leg: LegId, fault: AudioFault, lasted_ms: Option<u64>) {
        let (_, direction, cause) = words(fault);
        match lasted_ms {
            None => {
                self.sound.faults.entry((leg, cause)).or_insert((fault, None));
                self.tell_faults();
            }
            Some(lasted_ms) => {
                let told = self.sound.faults.remove(&(leg, cause)).is_some_and(|(_, told)| told.is_some());
                if told {
                    let leg = self.role(leg);
                    let data = json!({ "leg": leg, "direction": direction, "cause": cause, "lasted_ms": lasted_ms });
                    self.story.event("audio_restored", data);
                    self.show_troubles();
                }
            }
        }
    }

    /// Tells what is wrong, once each, as far as somebody misses it: not before the answer, nor on hold.
    pub(crate) fn tell_faults(&mut self) {
        let citizen = self.answered.then(|| self.citizen.id());
        let operator = self.operator.as_ref().filter(|o| o.talking && !o.holds.any()).map(|o| o.leg.id());
        let mut told = Vec::new();
        for ((leg, cause), (fault, at)) in &mut self.sound.faults {
            if at.is_none() && [citizen, operator].contains(&Some(*leg)) {
                *at = Some(now_ms());
                told.push((*leg, *cause, *fault));
            }
        }
        for (leg, cause, fault) in &told {
            let leg = self.role(*leg);
            let (kind, direction, _) = words(*fault);
            self.story.event(kind, json!({ "leg": leg, "direction": direction, "cause": cause }));
            self.sv.metrics.quality.fault(leg, cause);
        }
        if !told.is_empty() {
            self.show_troubles();
        }
    }

    fn show_troubles(&self) {
        let trouble = |((leg, _), (fault, since)): (&(LegId, &'static str), &(AudioFault, Option<i64>))| {
            let (_, direction, cause) = words(*fault);
            let [leg, direction, cause] = [self.role(*leg), direction, cause].map(str::to_owned);
            Some(AudioTrouble { leg, direction, cause, since: (*since)? })
        };
        self.sv.live.troubles(&self.call.to_string(), self.sound.faults.iter().filter_map(trouble).collect());
    }
}

fn figures(leg: &str, stats: &LegStats, at: i64) -> LegQuality {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mos = |hundredths: Option<u16>| hundredths.map(|mos| f64::from(mos) / 100.0);
    let quality = &stats.quality;
    let DirectionQuality { mos_x100, mos_min_x100, jitter_ms, jitter_max_ms, .. } = quality.received;
    let sent = quality.sent;
    LegQuality {
        leg: leg.to_owned(),
        at,
        codec: quality.codec.map(|codec| codec.encoding_name().to_owned()),
        srtp: stats.srtp.map(|suite| suite.name().to_owned()),
        packets_in: count(stats.packets_in),
        packets_out: count(stats.packets_out),
        lost_in: count(stats.lost),
        lost_out: count(sent.lost),
        dropped: count(stats.dropped),
        srtp_refused: count(stats.srtp_refused),
        jitter_in_ms: jitter_ms.into(),
        jitter_in_max_ms: jitter_max_ms.into(),
        jitter_out_ms: sent.jitter_ms.into(),
        jitter_out_max_ms: sent.jitter_max_ms.into(),
        rtt_ms: quality.rtt_ms.map(Into::into),
        rtt_max_ms: quality.rtt_max_ms.map(Into::into),
        mos_in: mos(mos_x100),
        mos_in_min: mos(mos_min_x100),
        mos_out: mos(sent.mos_x100),
        mos_out_min: mos(sent.mos_min_x100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_words() {
        assert_eq!(
            [4.38, 4.0, 3.6, 3.1, 2.9].map(Grade::of),
            [Grade::Good, Grade::Good, Grade::Fair, Grade::Fair, Grade::Poor]
        );
    }

    #[test]
    fn only_legs_of_the_talk_count_into_the_call_s_score() {
        let leg = |role: &str, mos_x100: u16| {
            let mut stats = LegStats::default();
            stats.quality.received.mos_x100 = Some(mos_x100);
            figures(role, &stats, 7)
        };
        let legs = vec![leg("citizen", 430), leg("third", 420), leg(GUEST, 150), leg(CONSULT, 150)];
        assert_eq!(Sound { legs, ..Sound::default() }.mos(), Some(4.2));
    }

    #[test]
    fn a_leg_s_figures_become_its_row() {
        let mut stats = LegStats { packets_in: 500, lost: 3, ..LegStats::default() };
        stats.quality.received.mos_x100 = Some(421);
        stats.quality.rtt_ms = Some(40);
        let row = figures("operator", &stats, 7);
        assert_eq!((row.leg.as_str(), row.packets_in, row.lost_in, row.rtt_ms), ("operator", 500, 3, Some(40)));
        assert_eq!((row.mos_in, row.mos_out, row.mos()), (Some(4.21), None, Some(4.21)));
    }
}
