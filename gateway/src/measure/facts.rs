//! What figures need of a call: its events, and of its row the arrival, the answer and the number.

use hotline_db::{CallEvent, Direction, Id, MeasuredCall};

/// The end of calls that were open when their gateway died.
const CRASH: &str = "crash";

/// What lasts at an event.
#[derive(Default)]
struct Open {
    talking: Option<i64>,
    holding: Option<i64>,
    last_n: i64,
    last_at: i64,
}

/// A call in figures. Times are epoch ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFacts {
    /// Call id.
    pub call: Id,
    /// The citizen called.
    pub inbound: bool,
    /// The hotline number.
    pub number: String,
    /// Arrival.
    pub ring_at: i64,
    /// 200 OK.
    pub answer_at: Option<i64>,
    /// The queue entered first.
    pub queue: Option<String>,
    /// … and when.
    pub queue_at: Option<i64>,
    /// How long they waited in queues until the first talk: what they did after they had left isn't in it.
    pub waited_ms: i64,
    /// They still wait, since so long.
    pub waiting_since: Option<i64>,
    /// Who answered first.
    pub operator: Option<String>,
    /// … and when.
    pub talk_at: Option<i64>,
    /// With operators, holds included.
    pub talk_ms: i64,
    /// On hold.
    pub hold_ms: i64,
    /// Left the waiting for something else: a callback, a message, or since we called an end to it.
    pub served_otherwise: bool,
    /// The end.
    pub end: Option<End>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: i64,
    /// `citizen`, `operator`, `network`, `system`.
    pub side: String,
    /// Why.
    pub reason: String,
}

impl CallFacts {
    /// Reads a call's events, which come in their order. One that tells the same twice counts once.
    #[must_use]
    pub fn of(call: &MeasuredCall, events: &[CallEvent]) -> Self {
        let mut facts = Self {
            call: call.id,
            inbound: call.direction == Direction::Inbound,
            number: call.did.clone(),
            ring_at: call.ring_at,
            answer_at: call.answer_at,
            queue: None,
            queue_at: None,
            waited_ms: 0,
            waiting_since: None,
            operator: None,
            talk_at: None,
            talk_ms: 0,
            hold_ms: 0,
            served_otherwise: false,
            end: None,
        };
        let mut open = Open::default();
        for event in events.iter().filter(|e| e.call == call.id) {
            if event.n <= open.last_n {
                continue;
            }
            open.last_n = event.n;
            facts.take(event, &mut open);
            open.last_at = event.at;
        }
        facts
    }

    fn take(&mut self, event: &CallEvent, open: &mut Open) {
        let (at, word) = (event.at, |key: &str| event.data[key].as_str().map(str::to_owned));
        match event.kind.as_str() {
            "queue_enter" => {
                self.queue_at.get_or_insert(at);
                self.queue = self.queue.take().or_else(|| word("queue"));
                if self.talk_at.is_none() {
                    self.waiting_since.get_or_insert(at);
                }
                // Whatever they chose before, they wait for a person now.
                self.served_otherwise = false;
            }
            // Who was put out by a leader, or told after the longest wait that we call back, gave nothing up.
            "left_queue" | "waited_too_long" | "force_end" => {
                self.wait_ends(at);
                self.served_otherwise = true;
            }
            "talk_start" => {
                self.wait_ends(at);
                self.talk_at.get_or_insert(at);
                self.operator = self.operator.take().or_else(|| word("operator"));
                open.talking.get_or_insert(at);
            }
            "talk_end" | "operator_lost" | "transfer_queue" => self.pause(at, open),
            "hold" if event.data["on"] == true => drop(open.holding.get_or_insert(at)),
            "hold" => self.hold_ms += open.holding.take().map_or(0, |since| (at - since).max(0)),
            "end" => {
                // A crash is noticed at the next start; nobody waited until then.
                let gone_at = if event.data["reason"] == CRASH { open.last_at.min(at) } else { at };
                self.wait_ends(gone_at);
                self.pause(gone_at, open);
                let of = |key| word(key).unwrap_or_default();
                self.end.get_or_insert(End { at, side: of("side"), reason: of("reason") });
            }
            _ => {}
        }
    }

    fn pause(&mut self, at: i64, open: &mut Open) {
        self.talk_ms += open.talking.take().map_or(0, |since| (at - since).max(0));
        self.hold_ms += open.holding.take().map_or(0, |since| (at - since).max(0));
    }

    fn wait_ends(&mut self, at: i64) {
        self.waited_ms += self.waiting_since.take().map_or(0, |since| (at - since).max(0));
    }

    /// How long they waited for the first answer, or until they went or chose something else; `None`: never waited,
    /// or still does.
    #[must_use]
    pub fn wait_ms(&self) -> Option<i64> {
        (self.queue_at.is_some() && self.waiting_since.is_none()).then_some(self.waited_ms)
    }

    /// Gave up while waiting. Who talked to somebody, chose something else or was put out by us (the longest wait, a
    /// leader, a stop, a crash) did not; they are in the other figures.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.inbound
            && self.queue_at.is_some()
            && self.talk_at.is_none()
            && !self.served_otherwise
            && self.end.as_ref().is_some_and(|end| end.side != "system")
    }

    /// The operator cut the citizen off without a reason the rules allow (坐席先挂).
    #[must_use]
    pub fn is_cut_by_operator(&self) -> bool {
        let Some(end) = self.end.as_ref().filter(|end| end.side == "operator") else { return false };
        let (how, line) = end.reason.split_once("; line: ").unwrap_or((end.reason.as_str(), ""));
        match how {
            // 结束 leads to the survey; without one it is a hang-up.
            "operator_end" | "operator_bye" => line == "system no survey",
            "operator_hang_up" => !["harassment", "silence", "citizen_request"].iter().any(|r| line.ends_with(r)),
            "leader_force_end" => false,
            _ => true,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A call that arrives at `ring_at` with events of (ms after it, kind, data).
    pub(crate) fn told(ring_at: i64, events: &[(i64, &str, Value)]) -> CallFacts {
        let call = MeasuredCall {
            id: Id::new(),
            direction: Direction::Inbound,
            did: "12319".into(),
            ring_at,
            answer_at: Some(ring_at),
        };
        let events: Vec<CallEvent> = (1..)
            .zip(events)
            .map(|(n, (after, kind, data))| CallEvent {
                id: Id::new(),
                call: call.id,
                n,
                at: ring_at + after,
                kind: (*kind).into(),
                data: data.clone().into(),
            })
            .collect();
        CallFacts::of(&call, &events)
    }

    pub(crate) fn end(side: &str, reason: &str) -> Value {
        json!({ "side": side, "reason": reason, "stage_abandoned": null })
    }

    #[test]
    fn a_talk_a_hold_and_a_second_operator_are_one_answered_call() {
        let facts = told(
            0,
            &[
                (1_000, "queue_enter", json!({"queue": "main"})),
                (9_000, "talk_start", json!({"operator": "x"})),
                (20_000, "hold", json!({"on": true})),
                (25_000, "hold", json!({"on": false})),
                (30_000, "operator_lost", json!({"operator": "x"})),
                (30_000, "queue_enter", json!({"queue": "main"})),
                (40_000, "talk_start", json!({"operator": "y"})),
                (60_000, "talk_end", json!({"by": "citizen"})),
                (60_000, "end", end("citizen", "line_ended; line: citizen bye")),
            ],
        );
        assert_eq!((facts.wait_ms(), facts.operator.as_deref()), (Some(8_000), Some("x")));
        assert_eq!((facts.talk_ms, facts.hold_ms), (41_000, 5_000));
        assert!(!facts.is_abandoned() && !facts.is_cut_by_operator());
    }

    #[test]
    fn successful_calls_are_never_shown_as_abandoned() {
        let talked = told(
            0,
            &[
                (0, "queue_enter", json!({"queue": "main"})),
                (5_000, "talk_start", json!({"operator": "x"})),
                (9_000, "operator_lost", json!({"operator": "x"})),
                (9_000, "queue_enter", json!({"queue": "main"})),
                // They give up waiting for the second one: they were served.
                (30_000, "end", json!({"side": "citizen", "reason": "bye", "stage_abandoned": "queue"})),
            ],
        );
        assert!(!talked.is_abandoned());
        let called_back = told(
            0,
            &[
                (0, "queue_enter", json!({"queue": "main"})),
                (20_000, "left_queue", json!({"reason": "callback"})),
                (22_000, "end", end("system", "callback")),
            ],
        );
        assert!(!called_back.is_abandoned(), "a queued callback isn't abandoned");
        let gave_up = told(0, &[(0, "queue_enter", json!({"queue": "main"})), (4_000, "end", end("citizen", "bye"))]);
        assert!(gave_up.is_abandoned());
        let waits = told(0, &[(0, "queue_enter", json!({"queue": "main"}))]);
        assert!(!waits.is_abandoned(), "who still waits has given nothing up");
    }

    #[test]
    fn the_wait_ends_with_the_waiting_and_not_with_the_call() {
        let entered = || (0, "queue_enter", json!({"queue": "main"}));
        let message = told(
            0,
            &[
                entered(),
                (20_000, "left_queue", json!({"reason": "message_left"})),
                (320_000, "end", end("citizen", "bye")),
            ],
        );
        assert_eq!(message.wait_ms(), Some(20_000), "five minutes of message are no waiting");
        let back = told(
            0,
            &[
                entered(),
                (20_000, "left_queue", json!({"reason": "callback"})),
                (50_000, "queue_enter", json!({"queue": "main"})),
                (60_000, "talk_start", json!({"operator": "x"})),
                (90_000, "end", end("citizen", "bye")),
            ],
        );
        assert_eq!((back.wait_ms(), back.is_abandoned()), (Some(30_000), false));
        let waits = told(0, &[entered()]);
        assert_eq!(waits.wait_ms(), None);
        let crash = told(0, &[entered(), (9_000, "lane", json!({})), (3_600_000, "end", end("system", "crash"))]);
        assert_eq!(crash.wait_ms(), Some(9_000), "nobody waits for a restart");
        let cut = told(
            0,
            &[
                (0, "talk_start", json!({"operator": "x"})),
                (9_000, "hold", json!({"on": true})),
                (3_600_000, "end", end("system", "crash")),
            ],
        );
        assert_eq!((cut.talk_ms, cut.hold_ms), (9_000, 0), "as far as it is known");
    }

    #[test]
    fn whom_we_put_out_of_the_queue_gave_nothing_up() {
        let entered = (0, "queue_enter", json!({"queue": "main"}));
        let too_long = told(
            0,
            &[
                entered.clone(),
                (600_000, "waited_too_long", json!({"queue": "main"})),
                // They hang up in the middle of our last words.
                (604_000, "end", end("citizen", "bye")),
            ],
        );
        assert_eq!((too_long.is_abandoned(), too_long.wait_ms()), (false, Some(600_000)));
        for reason in ["crash", "drained"] {
            assert!(!told(0, &[entered.clone(), (9_000, "end", end("system", reason))]).is_abandoned(), "{reason}");
        }
        assert!(told(0, &[entered, (9_000, "end", end("network", "no media"))]).is_abandoned());
    }

    #[test]
    fn an_operator_cuts_nobody_off_who_goes_on_to_the_survey_or_for_a_reason() {
        let cut = |reason: &str| told(0, &[(0, "end", end("operator", reason))]).is_cut_by_operator();
        assert!(!cut("operator_end; line: citizen bye"));
        assert!(!cut("operator_bye; line: system done"));
        assert!(!cut("operator_hang_up; line: operator silence"));
        assert!(!cut("leader_force_end; line: operator leader_force_end"));
        assert!(cut("operator_end; line: system no survey"));
        assert!(cut("operator_hang_up; line: operator bored"));
        assert!(!told(0, &[(0, "end", end("citizen", "operator_hang_up"))]).is_cut_by_operator());
    }

    #[test]
    fn an_event_read_twice_and_one_of_another_call_count_nothing() {
        let call = MeasuredCall {
            id: Id::new(),
            direction: Direction::Inbound,
            did: "12319".into(),
            ring_at: 0,
            answer_at: None,
        };
        let event = |call: Id, n: i64, at: i64, kind: &str| CallEvent {
            id: Id::new(),
            call,
            n,
            at,
            kind: kind.into(),
            data: json!({}).into(),
        };
        let once = [event(call.id, 1, 0, "talk_start"), event(call.id, 2, 10_000, "talk_end")];
        let twice: Vec<CallEvent> = once.iter().chain(&once).cloned().chain([event(Id::new(), 3, 0, "end")]).collect();
        assert_eq!(CallFacts::of(&call, &once), CallFacts::of(&call, &twice));
    }
}
