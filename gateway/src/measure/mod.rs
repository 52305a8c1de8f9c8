//! Figures (domain document §5) from the append-only event log: `facts` reads a call's events, `formula` sums and
//! divides, both pure; here they are asked for a span of time, by number, queue, operator, shift or interval.

mod facts;
mod formula;

use std::collections::BTreeMap;

use hotline_db::{DbError, Id, MeasuredWrap, Shift, Store};

pub use facts::{CallFacts, End};
pub use formula::{CallFigures, CareFigures, Figure, Tally, care, figure};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What figures are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// One group.
    All,
    /// Hotline number.
    Number,
    /// Queue entered first.
    Queue,
    /// Who answered first.
    Operator,
    /// Shift of arrival; of two at a time the one that began later.
    Shift,
    /// Local hour of arrival.
    Hour,
    /// Local day of arrival.
    Day,
}

impl By {
    /// The group a call belongs to; `None`: to none, as a call nobody answered to no operator. Hours and days are
    /// named by their beginning (epoch ms).
    fn key(self, call: &CallFacts, shifts: &[Shift], utc_offset_min: i32) -> Option<String> {
        match self {
            Self::All => Some(String::new()),
            Self::Number => Some(call.number.clone()),
            Self::Queue => call.queue.clone(),
            Self::Operator => call.operator.clone(),
            Self::Shift => shift_at(shifts, call.ring_at),
            Self::Hour => Some(begin(call.ring_at, HOUR_MS, utc_offset_min).to_string()),
            Self::Day => Some(begin(call.ring_at, DAY_MS, utc_offset_min).to_string()),
        }
    }
}

/// The shift's id.
fn shift_at(shifts: &[Shift], at: i64) -> Option<String> {
    let those = shifts.iter().filter(|shift| (shift.starts_at..shift.ends_at).contains(&at));
    Some(those.max_by_key(|shift| shift.starts_at)?.id.to_string())
}

/// All shifts of a span, however many.
async fn shifts_of(store: &Store, (from, to): (i64, i64)) -> Result<Vec<Shift>, DbError> {
    let mut all: BTreeMap<Id, Shift> = BTreeMap::new();
    let mut from = from;
    loop {
        let known = all.len();
        let page = store.shifts(from, to).await?;
        // A page ends with those that begin last: the next one is of what is still to come then.
        from = page.last().map_or(to, |last| last.starts_at);
        all.extend(page.into_iter().map(|shift| (shift.id, shift)));
        if all.len() == known {
            return Ok(all.into_values().collect());
        }
    }
}

fn begin(at: i64, span: i64, utc_offset_min: i32) -> i64 {
    let offset = i64::from(utc_offset_min) * 60_000;
    (at + offset).div_euclid(span) * span - offset
}

/// The figures of inbound calls that arrived in `[from, to)`, by group. 话后 belongs to operators and to the whole.
///
/// # Errors
/// As any read.
pub async fn calls(
    store: &Store,
    (from, to): (i64, i64),
    by: By,
    utc_offset_min: i32,
) -> Result<BTreeMap<String, CallFigures>, DbError> {
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    let shifts = if by == By::Shift { shifts_of(store, (from, to)).await? } else { Vec::new() };
    let mut after = None;
    loop {
        let page = store.measured_calls(from, to, after).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some((last.ring_at, last.id));
        for (call, events) in &page {
            let facts = CallFacts::of(call, events);
            if let Some(key) = by.key(&facts, &shifts, utc_offset_min) {
                groups.entry(key).or_default().add(&facts);
            }
        }
    }
    add_wraps(&mut groups, &store.measured_wraps(from, to).await?, to, (by, &shifts, utc_offset_min));
    Ok(groups.into_iter().map(|(key, tally)| (key, tally.figures())).collect())
}

/// Adds 话后, also where no call arrived: hours and days add up to the whole.
fn add_wraps(
    groups: &mut BTreeMap<String, Tally>,
    wraps: &[MeasuredWrap],
    to: i64,
    (by, shifts, utc_offset_min): (By, &[Shift], i32),
) {
    for wrap in wraps {
        let key = match by {
            By::All => String::new(),
            By::Operator => wrap.operator.to_string(),
            By::Hour => begin(wrap.from_at, HOUR_MS, utc_offset_min).to_string(),
            By::Day => begin(wrap.from_at, DAY_MS, utc_offset_min).to_string(),
            By::Shift => match shift_at(shifts, wrap.from_at) {
                Some(shift) => shift,
                None => continue,
            },
            // Whose call it followed, no event says.
            By::Number | By::Queue => return,
        };
        let ms = wrap.to_at.unwrap_or(to).min(to) - wrap.from_at;
        groups.entry(key).or_default().add_wrap(ms.max(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_belongs_to_the_shift_it_arrived_in_and_at_the_handover_to_the_later_one() {
        let shift =
            |starts_at, ends_at| Shift {
                id: Id::new(), name: "早班".into(), starts_at, ends_at, members: Vec::new()
            };
        let shifts = [shift(100, 200), shift(190, 300)];
        let at = |at| shift_at(&shifts, at);
        assert_eq!((at(99), at(300)), (None, None));
        assert_eq!((at(100), at(189)), (Some(shifts[0].id.to_string()), Some(shifts[0].id.to_string())));
        assert_eq!((at(190), at(199)), (Some(shifts[1].id.to_string()), Some(shifts[1].id.to_string())));
    }

    #[test]
    fn hours_without_a_call_keep_their_wrap_up() {
        let wrap = |from_at, to_at| MeasuredWrap { operator: Id::new(), from_at, to_at };
        let wraps = [wrap(HOUR_MS - 1, Some(HOUR_MS + 1_000)), wrap(HOUR_MS + 5, Some(HOUR_MS + 2_005)), wrap(0, None)];
        let wrap_ms = |by| {
            let mut groups = BTreeMap::new();
            add_wraps(&mut groups, &wraps, 2 * HOUR_MS, (by, &[], 480));
            groups.into_values().map(|tally: Tally| tally.figures().aht_ms.numerator).collect::<Vec<_>>()
        };
        let all = 1_001 + 2_000 + 2 * HOUR_MS;
        assert_eq!(wrap_ms(By::All), [all]);
        assert_eq!(wrap_ms(By::Hour), [all - 2_000, 2_000]);
        assert_eq!(wrap_ms(By::Operator).len(), 3);
        assert!(wrap_ms(By::Queue).is_empty());
    }

    #[test]
    fn an_hour_and_a_day_begin_by_the_local_clock() {
        // 2026-11-20 00:00 in UTC+8.
        const MIDNIGHT: i64 = 1_795_104_000_000;
        assert_eq!(begin(MIDNIGHT, DAY_MS, 480), MIDNIGHT);
        assert_eq!(begin(MIDNIGHT - 1, DAY_MS, 480), MIDNIGHT - DAY_MS);
        assert_eq!(begin(MIDNIGHT + 90 * 60_000, HOUR_MS, 480), MIDNIGHT + HOUR_MS);
    }
}
