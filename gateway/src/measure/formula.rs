//! The figures (domain document §5): sums over calls, and what is worked out from them, each with numerator,
//! denominator and the version of its definition. Cities define them differently: a changed formula gets a new
//! version, and old figures keep theirs.

use std::collections::BTreeSet;

use hotline_db::{
    CallbackKind, CallbackResult, Id, MeasuredHandoffs, MeasuredItems, MeasuredSurvey, MeasuredTask, Solved,
};
use serde::Serialize;

use super::facts::CallFacts;

/// Answered within so long is in time (GB/T 33358).
const IN_TIME_MS: i64 = 15_000;
/// Who gives up sooner didn't wait.
const SHORT_MS: i64 = 5_000;
/// A missed call is called back within so long.
const CALLED_BACK_MS: i64 = 15 * 60_000;

/// A figure: what it is made of, and by which definition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Figure {
    /// Above the line.
    pub numerator: i64,
    /// Below it.
    pub denominator: i64,
    /// The quotient; `null` where there is nothing to divide by.
    pub value: Option<f64>,
    /// Of the definition.
    pub version: u32,
}

/// `numerator` ÷ `denominator` by version 1 of a definition.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts and milliseconds, far below 2^52")]
pub fn figure(numerator: i64, denominator: i64) -> Figure {
    let value = (denominator != 0).then(|| numerator as f64 / denominator as f64);
    Figure { numerator, denominator, value, version: 1 }
}

/// Sums over calls. A call counts once, however often it is added.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    seen: BTreeSet<Id>,
    offered: i64,
    queued: i64,
    answered: i64,
    answered_queued: i64,
    in_time: i64,
    in_time_from_answer: i64,
    abandoned: i64,
    abandoned_short: i64,
    wait_ms: i64,
    longest_wait_ms: i64,
    talk_ms: i64,
    hold_ms: i64,
    wrap_ms: i64,
    cut_by_operator: i64,
}

/// The figures of calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CallFigures {
    /// 接通率(a):人工接听 ÷ 全部来电。
    pub answer_rate_all: Figure,
    /// 接通率(b):人工接听 ÷ 进入队列。
    pub answer_rate_queued: Figure,
    /// 15 s 应答及时率:进队起 15 s 内接听 ÷ 接听。
    pub in_time: Figure,
    /// 15 s 应答及时率(严):÷(接听 + 等候超过 5 s 放弃)。
    pub in_time_strict: Figure,
    /// 15 s 应答及时率,从 SIP 应答起算。
    pub in_time_from_answer: Figure,
    /// 放弃率:队列中放弃 ÷ 进入队列。
    pub abandoned: Figure,
    /// 其中不足 5 s 放弃的:另列,不剔除。
    pub abandoned_short: Figure,
    /// ASA:等候毫秒之和 ÷ 接听。
    pub asa_ms: Figure,
    /// 最长等候,毫秒。
    pub longest_wait_ms: i64,
    /// AHT:(通话(含保持)+ 话后)毫秒 ÷ 接听。
    pub aht_ms: Figure,
    /// 保持毫秒 ÷ 接听。
    pub hold_ms: Figure,
    /// 坐席先挂率:受理员无允许理由挂断 ÷ 接听。
    pub cut_by_operator: Figure,
}

impl Tally {
    /// Adds an inbound call; ours are counted by their tasks.
    pub fn add(&mut self, call: &CallFacts) {
        if !call.inbound || !self.seen.insert(call.call) {
            return;
        }
        self.offered += 1;
        self.queued += i64::from(call.queue_at.is_some());
        let wait = call.wait_ms();
        self.longest_wait_ms = self.longest_wait_ms.max(wait.unwrap_or(0));
        if let Some(talk_at) = call.talk_at {
            self.answered += 1;
            self.answered_queued += i64::from(call.queue_at.is_some());
            self.wait_ms += wait.unwrap_or(0);
            self.in_time += i64::from(wait.unwrap_or(0) <= IN_TIME_MS);
            let since_answer = talk_at - call.answer_at.unwrap_or(call.ring_at);
            self.in_time_from_answer += i64::from(since_answer <= IN_TIME_MS);
            self.talk_ms += call.talk_ms;
            self.hold_ms += call.hold_ms;
            self.cut_by_operator += i64::from(call.is_cut_by_operator());
        } else if call.is_abandoned() {
            self.abandoned += 1;
            self.abandoned_short += i64::from(wait.unwrap_or(0) <= SHORT_MS);
        }
    }

    /// Adds a stretch of 话后 in ms.
    pub const fn add_wrap(&mut self, ms: i64) {
        self.wrap_ms += ms;
    }

    /// What the sums come to.
    #[must_use]
    pub fn figures(&self) -> CallFigures {
        CallFigures {
            answer_rate_all: figure(self.answered, self.offered),
            answer_rate_queued: figure(self.answered_queued, self.queued),
            in_time: figure(self.in_time, self.answered),
            in_time_strict: figure(self.in_time, self.answered + self.abandoned - self.abandoned_short),
            in_time_from_answer: figure(self.in_time_from_answer, self.answered),
            abandoned: figure(self.abandoned, self.queued),
            abandoned_short: figure(self.abandoned_short, self.queued),
            asa_ms: figure(self.wait_ms, self.answered),
            longest_wait_ms: self.longest_wait_ms,
            aht_ms: figure(self.talk_ms + self.wrap_ms, self.answered),
            hold_ms: figure(self.hold_ms, self.answered),
            cut_by_operator: figure(self.cut_by_operator, self.answered),
        }
    }
}

/// The figures of calls owed to citizens, and of their verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CareFigures {
    /// 漏接回拨率:已回拨 ÷ 漏接(市民自行再来电已办的不计)。
    pub called_back: Figure,
    /// 漏接回拨及时率:15 分钟内 ÷ 漏接。
    pub called_back_in_time: Figure,
    /// 回访率:办结回访已完成 ÷ 应回访。
    pub followed_up: Figure,
    /// 响应率:及时联系 ÷ 已答。
    pub contacted: Figure,
    /// 解决率:(已解决 + ½ 部分解决)÷ 已答;分子分母均为两倍。
    pub solved: Figure,
    /// 满意率:办结回访 1–2 分 ÷ 已答;无法联系不计。
    pub satisfied: Figure,
    /// 通话满意率:通话后评价 1–2 分 ÷ 已评;与办理结果无关。
    pub talk_satisfied: Figure,
    /// 无法联系:另列。
    pub unreachable: i64,
    /// 派遣准确率:1 − 退回 ÷ 移交;退回不分原因。
    pub dispatched_right: Figure,
    /// 首次解决率:直接答复且该市民 7 天内未就同类同地再次联系 ÷ 诉求(市民不明、作废、无效、骚扰不计;满 7 天前为暂计)。
    pub first_contact: Figure,
}

/// Works out [`CareFigures`].
#[must_use]
pub fn care(
    tasks: &[MeasuredTask],
    surveys: &[MeasuredSurvey],
    handoffs: MeasuredHandoffs,
    items: MeasuredItems,
) -> CareFigures {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let missed: Vec<&MeasuredTask> = tasks
        .iter()
        .filter(|t| t.kind == CallbackKind::Missed && t.result != Some(CallbackResult::Cancelled))
        .collect();
    let tried =
        |within: i64| count(missed.iter().filter(|t| t.tried_at.is_some_and(|at| at - t.created_at <= within)).count());
    let due: Vec<&MeasuredTask> = tasks
        .iter()
        .filter(|t| t.kind == CallbackKind::CaseFinished && t.result != Some(CallbackResult::Cancelled))
        .collect();
    // A verdict on the talk just had says nothing about a case, and there are many more of them.
    let (of_cases, of_talks): (Vec<_>, Vec<_>) = surveys.iter().partition(|s| s.task.is_some());
    let answers = |surveys: &[&MeasuredSurvey], given: &dyn Fn(&MeasuredSurvey) -> Option<i64>| {
        let given: Vec<i64> = surveys.iter().filter_map(|s| given(s)).collect();
        (given.iter().sum::<i64>(), count(given.len()))
    };
    let contacted = answers(&of_cases, &|s| s.contacted.map(i64::from));
    let solved = answers(&of_cases, &|s| {
        s.solved.map(|solved| match solved {
            Solved::Yes => 2,
            Solved::Partly => 1,
            Solved::No => 0,
        })
    });
    let is_content = |s: &MeasuredSurvey| s.satisfied.map(|score| i64::from((1..=2).contains(&score)));
    let (satisfied, talk_satisfied) = (answers(&of_cases, &is_content), answers(&of_talks, &is_content));
    CareFigures {
        called_back: figure(tried(i64::MAX), count(missed.len())),
        called_back_in_time: figure(tried(CALLED_BACK_MS), count(missed.len())),
        followed_up: figure(count(due.iter().filter(|t| t.finished_at.is_some()).count()), count(due.len())),
        contacted: figure(contacted.0, contacted.1),
        solved: figure(solved.0, 2 * solved.1),
        satisfied: figure(satisfied.0, satisfied.1),
        talk_satisfied: figure(talk_satisfied.0, talk_satisfied.1),
        unreachable: count(due.iter().filter(|t| t.result == Some(CallbackResult::Unreachable)).count()),
        dispatched_right: figure(handoffs.handed - handoffs.returned, handoffs.handed),
        first_contact: figure(items.answered - items.again, items.items),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::facts::tests::{end, told};
    use super::*;

    fn percent(figure: Figure) -> String {
        format!("{:.2}", figure.value.unwrap() * 100.0)
    }

    /// Waits so long, then talks for so long.
    fn answered(wait_ms: i64, talk_ms: i64) -> CallFacts {
        let until = wait_ms + talk_ms;
        told(
            1_000_000,
            &[
                (0, "queue_enter", json!({"queue": "main"})),
                (wait_ms, "talk_start", json!({"operator": "x"})),
                (until, "talk_end", json!({"by": "citizen"})),
                (until, "end", end("citizen", "line_ended; line: citizen bye")),
            ],
        )
    }
    fn abandoned(wait_ms: i64) -> CallFacts {
        told(0, &[(0, "queue_enter", json!({"queue": "main"})), (wait_ms, "end", end("citizen", "bye"))])
    }

    #[test]
    fn the_worked_figures_of_the_field_come_out() {
        // A county's year: found, filed, due, handled, on time, closed, closed on time.
        let (found, filed, due, handled, on_time, closed, closed_on_time) = (6317, 6038, 6038, 5890, 5810, 5860, 5835);
        assert_eq!(percent(figure(filed, found)), "95.58");
        assert_eq!(percent(figure(handled, due)), "97.55");
        assert_eq!(percent(figure(on_time, due)), "96.22");
        assert_eq!(percent(figure(closed, due)), "97.05");
        assert_eq!(percent(figure(closed_on_time, due)), "96.64");
        assert_eq!(percent(figure(26_775, 27_844)), "96.16");
        assert_eq!(percent(figure(12_081, 12_414)), "97.32");
        assert_eq!(figure(0, 0).value, None);
    }

    #[test]
    fn answered_in_time_and_given_up_are_counted_by_their_definitions() {
        let mut tally = Tally::default();
        for call in [answered(10_000, 60_000), answered(15_000, 100_000), answered(40_000, 80_000)] {
            tally.add(&call);
        }
        for call in [abandoned(3_000), abandoned(30_000)] {
            tally.add(&call);
        }
        // Never came to the queue.
        tally.add(&told(0, &[(500, "end", end("citizen", "cancelled"))]));
        tally.add_wrap(30_000);
        let f = tally.figures();
        let parts = |f: Figure| (f.numerator, f.denominator);
        assert_eq!(parts(f.answer_rate_all), (3, 6));
        assert_eq!(parts(f.answer_rate_queued), (3, 5));
        assert_eq!(parts(f.in_time), (2, 3));
        assert_eq!(parts(f.in_time_strict), (2, 4), "who gave up within 5 s isn't in it");
        assert_eq!((parts(f.abandoned), parts(f.abandoned_short)), ((2, 5), (1, 5)));
        assert_eq!((parts(f.asa_ms), f.longest_wait_ms), ((65_000, 3), 40_000));
        assert_eq!(parts(f.aht_ms), (270_000, 3));
        assert_eq!(f.cut_by_operator.value, Some(0.0));
    }

    #[test]
    fn one_call_is_never_counted_twice() {
        let call = answered(5_000, 60_000);
        let (mut once, mut again) = (Tally::default(), Tally::default());
        once.add(&call);
        for _ in 0..3 {
            again.add(&call);
        }
        assert_eq!(once.figures(), again.figures());
        assert_eq!(again.figures().answer_rate_all, figure(1, 1));
    }

    #[test]
    fn who_can_t_be_reached_never_counts_as_content() {
        let task =
            |kind, result, tried_at, finished_at| MeasuredTask { kind, result, created_at: 0, tried_at, finished_at };
        let tasks = [
            task(CallbackKind::Missed, Some(CallbackResult::Reached), Some(60_000), Some(60_000)),
            task(CallbackKind::Missed, None, Some(3_600_000), None),
            task(CallbackKind::Missed, None, None, None),
            task(CallbackKind::Missed, Some(CallbackResult::Cancelled), None, Some(9)),
            task(CallbackKind::CaseFinished, Some(CallbackResult::Unreachable), Some(1), Some(2)),
            task(CallbackKind::CaseFinished, None, None, None),
        ];
        let survey =
            |contacted, solved, satisfied| MeasuredSurvey { task: Some(Id::new()), contacted, solved, satisfied };
        let talk = |score| MeasuredSurvey { task: None, contacted: None, solved: None, satisfied: Some(score) };
        let surveys = [
            survey(Some(true), Some(Solved::Yes), Some(1)),
            survey(Some(false), Some(Solved::Partly), Some(3)),
            survey(None, None, None),
            talk(1),
            talk(2),
            talk(5),
        ];
        let items = MeasuredItems { items: 50, answered: 20, again: 3 };
        let f = care(&tasks, &surveys, MeasuredHandoffs { handed: 1_000, returned: 1 }, items);
        let parts = |f: Figure| (f.numerator, f.denominator);
        assert_eq!((parts(f.called_back), parts(f.called_back_in_time)), ((2, 3), (1, 3)));
        assert_eq!((parts(f.followed_up), f.unreachable), ((1, 2), 1));
        assert_eq!(parts(f.contacted), (1, 2));
        assert_eq!((parts(f.solved), f.solved.value), ((3, 4), Some(0.75)));
        assert_eq!((parts(f.satisfied), parts(f.talk_satisfied)), ((1, 2), (2, 3)));
        assert_eq!(parts(f.first_contact), (17, 50));
        assert_eq!((parts(f.dispatched_right), f.dispatched_right.value), ((999, 1_000), Some(0.999)));
    }
}
