//! Which messages belong together, and when a conversation's timer has something to do: pure.
//!
//! The item is made at the first message that says something, after a short quiet, so that its
//! numbers can go out within three minutes; what comes later is added to it until the
//! conversation ends, and only then is it handed off. Danger waits for nothing.

use hotline_db::{Conversation, ConversationPlan, ConversationState};

use super::envelope::Channel;
use crate::config::Intake;

/// The rules, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Longest pause between two messages.
    pub gap_ms: i64,
    /// From the first to the last.
    pub span_ms: i64,
    /// Messages at most.
    pub parts_max: i64,
    /// The item waits for so long a pause …
    pub quiet_ms: i64,
    /// … but no longer than this after the first text that says something.
    pub latest_ms: i64,
}

impl Rules {
    /// The site's.
    #[must_use]
    pub fn of(settings: &Intake) -> Self {
        let ms = |s: u64| i64::try_from(s).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
        Self {
            gap_ms: ms(settings.gap_s),
            span_ms: ms(settings.span_s),
            parts_max: settings.parts_max,
            quiet_ms: ms(settings.receipt_quiet_s),
            latest_ms: ms(settings.receipt_latest_s),
        }
    }

    /// Those of a channel: a page's form, a mail and a voice message are whole.
    #[must_use]
    pub fn for_channel(self, channel: Channel) -> Self {
        if matches!(channel, Channel::Web | Channel::Mail | Channel::Voicemail) {
            Self { parts_max: 1, quiet_ms: 0, latest_ms: 0, ..self }
        } else {
            self
        }
    }
}

/// What counts of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Arrival.
    pub at: i64,
    /// It says what it is about.
    pub tells: bool,
    /// It reports danger.
    pub red: bool,
}

/// What counts of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    opened_at: i64,
    last_at: i64,
    parts: i64,
    told_at: Option<i64>,
    red: bool,
    was_asked: bool,
    has_item: bool,
    is_over: bool,
}

impl View {
    /// Of a row.
    #[must_use]
    pub fn of(row: &Conversation) -> Self {
        Self {
            opened_at: row.opened_at,
            last_at: row.last_at,
            parts: row.parts,
            told_at: row.told_at,
            red: row.red,
            was_asked: row.asked.is_some(),
            has_item: row.item.is_some(),
            is_over: row.state != ConversationState::Open,
        }
    }

    /// With a first message.
    fn begun(part: Part) -> Self {
        Self {
            opened_at: part.at,
            last_at: part.at,
            parts: 1,
            told_at: part.tells.then_some(part.at),
            red: part.red,
            was_asked: false,
            has_item: false,
            is_over: false,
        }
    }

    fn with(self, part: Part) -> Self {
        Self {
            last_at: self.last_at.max(part.at),
            parts: self.parts + 1,
            told_at: self.told_at.or(part.tells.then_some(part.at)),
            red: self.red || part.red,
            ..self
        }
    }

    fn takes(&self, part: Part, rules: &Rules) -> bool {
        !self.is_over
            && self.parts < rules.parts_max
            && part.at.saturating_sub(self.last_at) <= rules.gap_ms
            && part.at.saturating_sub(self.opened_at) <= rules.span_ms
    }

    /// From when on no message joins it.
    fn ends_at(&self, rules: &Rules) -> i64 {
        if self.is_over || self.parts >= rules.parts_max {
            return self.last_at;
        }
        let quiet = self.last_at.saturating_add(rules.gap_ms);
        // One more millisecond: a message exactly at the limit joins.
        quiet.min(self.opened_at.saturating_add(rules.span_ms)).saturating_add(1)
    }

    /// When it becomes an item.
    fn item_at(&self, rules: &Rules) -> i64 {
        let end = self.ends_at(rules);
        match self.told_at {
            _ if self.red => self.last_at,
            Some(told) => {
                let quiet = self.last_at.saturating_add(rules.quiet_ms);
                quiet.min(told.saturating_add(rules.latest_ms)).min(end)
            }
            None => end,
        }
    }

    /// When a citizen who sent a greeting or a photo and no more is asked what it is about.
    fn ask_at(&self, rules: &Rules) -> Option<i64> {
        let waits = !self.has_item && !self.was_asked && self.told_at.is_none() && !self.red;
        let quiet = self.last_at.saturating_add(rules.quiet_ms);
        waits.then(|| quiet.min(self.opened_at.saturating_add(rules.latest_ms)).min(self.ends_at(rules)))
    }

    /// When the timer runs out next.
    #[must_use]
    pub fn act_at(&self, rules: &Rules) -> i64 {
        if self.has_item {
            return self.ends_at(rules);
        }
        self.ask_at(rules).unwrap_or_else(|| self.item_at(rules))
    }
}

/// What a message makes of the citizen's open conversation.
#[must_use]
pub fn plan(open: Option<View>, part: Part, rules: &Rules) -> ConversationPlan {
    let joined = open.filter(|view| view.takes(part, rules));
    let view = joined.map_or_else(|| View::begun(part), |view| view.with(part));
    // News of danger in an item that has its numbers: it goes out now.
    let alarm = part.red && joined.is_some_and(|before| !before.red);
    ConversationPlan {
        joins: joined.is_some(),
        closes: view.parts >= rules.parts_max,
        told_at: view.told_at,
        red: view.red,
        act_at: if alarm { part.at } else { view.act_at(rules) },
    }
}

/// What the timer has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The citizen is asked what it is about.
    pub ask: bool,
    /// It becomes an item, if it holds anything.
    pub item: bool,
    /// Its item is handed off.
    pub hand_off: bool,
    /// It is over.
    pub close: bool,
    /// When the timer runs out next.
    pub next_at: Option<i64>,
}

/// What is due at `now`; nothing, where a message came meanwhile and moved the timer.
#[must_use]
pub fn due(view: &View, now: i64, rules: &Rules) -> Due {
    let close = view.is_over || now >= view.ends_at(rules);
    let item = !view.has_item && (close || now >= view.item_at(rules));
    let ask = view.ask_at(rules).is_some_and(|at| now >= at);
    let after = View { has_item: view.has_item || item, was_asked: view.was_asked || ask, ..*view };
    Due { ask, item, hand_off: close || view.red, close, next_at: (!close).then(|| after.act_at(rules)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { gap_ms: 300_000, span_ms: 1_800_000, parts_max: 20, quiet_ms: 20_000, latest_ms: 60_000 };

    fn part(at: i64) -> Part {
        Part { at, tells: true, red: false }
    }

    /// Applies a plan as the tables do.
    fn entered(open: Option<View>, part: Part) -> (View, ConversationPlan) {
        let plan = plan(open, part, &RULES);
        let view = match open.filter(|_| plan.joins) {
            Some(view) => view.with(part),
            None => View::begun(part),
        };
        (View { told_at: plan.told_at, red: plan.red, is_over: plan.closes, ..view }, plan)
    }

    /// xorshift: any fixed sequence will do.
    struct Dice(u64);
    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }
    }

    #[test]
    fn messages_at_the_limit_join_and_a_millisecond_later_do_not() {
        let (first, _) = entered(None, part(0));
        assert!(plan(Some(first), part(300_000), &RULES).joins);
        assert!(!plan(Some(first), part(300_001), &RULES).joins);
        let mut view = first;
        for n in 1..=6 {
            view = entered(Some(view), part(n * 290_000)).0;
        }
        assert!(plan(Some(view), part(1_800_000), &RULES).joins);
        assert!(!plan(Some(view), part(1_800_001), &RULES).joins);
    }

    #[test]
    fn a_photo_before_the_text_waits_for_it() {
        let photo = Part { at: 0, tells: false, red: false };
        let (view, first) = entered(None, photo);
        assert_eq!(first.act_at, 20_000, "what is it about?");
        let asked = due(&view, 20_000, &RULES);
        assert_eq!(asked, Due { ask: true, item: false, hand_off: false, close: false, next_at: Some(300_001) });
        let view = View { was_asked: true, ..view };
        let (view, second) = entered(Some(view), part(30_000));
        assert!(second.joins && second.act_at == 50_000);
        let now = due(&view, 50_000, &RULES);
        assert!(now.item && !now.close && !now.hand_off && now.next_at == Some(330_001), "{now:?}");
        // Alone, it is an item all the same in the end.
        assert!(due(&entered(None, photo).0, 300_001, &RULES).item);
    }

    #[test]
    fn who_keeps_writing_has_the_numbers_within_a_minute() {
        let (mut view, _) = entered(None, part(0));
        let mut last = 0;
        for n in 1..=5 {
            let (next, p) = entered(Some(view), part(n * 15_000));
            (view, last) = (next, p.act_at);
        }
        assert_eq!(last, 60_000);
    }

    #[test]
    fn danger_waits_for_nothing() {
        let red = Part { at: 7, tells: true, red: true };
        let (view, p) = entered(None, red);
        assert_eq!(p.act_at, 7);
        let now = due(&view, 7, &RULES);
        assert!(now.item && now.hand_off && !now.close);
        // In the middle of one that has its numbers: handed off now.
        let calm = View { has_item: true, ..entered(None, part(0)).0 };
        assert_eq!(plan(Some(calm), Part { at: 100_000, tells: true, red: true }, &RULES).act_at, 100_000);
    }

    #[test]
    fn random_arrivals_are_grouped_as_the_rules_say() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for _ in 0..2_000 {
            let mut at = 0;
            let mut open: Option<View> = None;
            let mut groups: Vec<Vec<i64>> = Vec::new();
            for _ in 0..dice.roll(60) + 1 {
                at += match dice.roll(4) {
                    0 => 0,
                    1 => i64::try_from(dice.roll(5_000)).unwrap(),
                    2 => i64::try_from(dice.roll(280_000)).unwrap(),
                    _ => i64::try_from(dice.roll(400_000)).unwrap(),
                };
                let (view, p) = entered(open, Part { at, tells: dice.roll(3) > 0, red: dice.roll(40) == 0 });
                if p.joins {
                    groups.last_mut().unwrap().push(at);
                } else {
                    // The one before takes no more, whatever its timer says.
                    groups.push(vec![at]);
                }
                assert!(p.act_at >= view.opened_at && p.act_at <= at + 300_001, "a timer that means something");
                open = Some(view);
            }
            // The same, said otherwise: walk along and cut where a rule is broken.
            let all: Vec<i64> = groups.concat();
            let mut expected: Vec<Vec<i64>> = Vec::new();
            for at in all {
                match expected.last_mut() {
                    Some(g) if g.len() < 20 && at - g[g.len() - 1] <= 300_000 && at - g[0] <= 1_800_000 => g.push(at),
                    _ => expected.push(vec![at]),
                }
            }
            assert_eq!(groups, expected);
        }
    }

    #[test]
    fn every_conversation_ends_and_is_numbered_in_time() {
        let mut dice = Dice(88_172_645_463_325_252);
        for _ in 0..2_000 {
            let (mut at, mut open) = (0, None);
            for _ in 0..dice.roll(25) + 1 {
                at += i64::try_from(dice.roll(200_000)).unwrap();
                open = Some(entered(open, Part { at, tells: dice.roll(2) == 0, red: dice.roll(30) == 0 }).0);
            }
            let mut view = open.unwrap();
            let mut now = view.act_at(&RULES);
            for step in 0.. {
                assert!(step < 4, "a question, an item, an end");
                let d = due(&view, now, &RULES);
                view.was_asked |= d.ask;
                if d.item {
                    view.has_item = true;
                    if let Some(told) = view.told_at.filter(|_| !view.red) {
                        assert!(now <= told + 60_000 || now <= view.ends_at(&RULES));
                    }
                }
                match d.next_at {
                    Some(next) => {
                        assert!(next > now, "the timer moves on");
                        now = next;
                    }
                    None => break,
                }
            }
            assert!(view.has_item, "whatever came became something to look at");
        }
    }
}
