//! What figures need of a call, read from its events and nothing else.

use hotline_db::{CallEvent, Direction, Id, MeasuredCall};

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
    /// Who answered first.
    pub operator: Option<String>,
    /// … and when.
    pub talk_at: Option<i64>,
    /// With operators, holds included.
    pub talk_ms: i64,
    /// On hold.
    pub hold_ms: i64,
    /// Chose something else than waiting: a callback, a message.
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
            operator: None,
            talk_at: None,
            talk_ms: 0,
            hold_ms: 0,
            served_otherwise: false,
            end: None,
        };
        let (mut talking, mut holding, mut last_n) = (None, None, 0);
        for event in events.iter().filter(|e| e.call == call.id) {
            if event.n <= last_n {
                continue;
            }
            last_n = event.n;
            facts.take(event, &mut talking, &mut holding);
        }
        facts
    }

    fn take(&mut self, event: &CallEvent, talking: &mut Option<i64>, holding: &mut Option<i64>) {
        let (at, word) = (event.at, |key: &str| event.data[key].as_str().map(str::to_owned));
        match event.kind.as_str() {
            "queue_enter" => {
                self.queue_at.get_or_insert(at);
                self.queue = self.queue.take().or_else(|| word("queue"));
                // Whatever they chose before, they wait for a person now.
                self.served_otherwise = false;
            }
            // Who was put out by a leader gave nothing up.
            "left_queue" | "force_end" => self.served_otherwise = true,
            "talk_start" => {
                self.talk_at.get_or_insert(at);
                self.operator = self.operator.take().or_else(|| word("operator"));
                talking.get_or_insert(at);
            }
            "talk_end" | "operator_lost" | "transfer_queue" => self.pause(at, talking, holding),
            "hold" if event.data["on"] == true => drop(holding.get_or_insert(at)),
            "hold" => self.hold_ms += holding.take().map_or(0, |since| (at - since).max(0)),
            "end" => {
                self.pause(at, talking, holding);
                let of = |key| word(key).unwrap_or_default();
                self.end.get_or_insert(End { at, side: of("side"), reason: of("reason") });
            }
            _ => {}
        }
    }

    fn pause(&mut self, at: i64, talking: &mut Option<i64>, holding: &mut Option<i64>) {
        self.talk_ms += talking.take().map_or(0, |since| (at - since).max(0));
        self.hold_ms += holding.take().map_or(0, |since| (at - since).max(0));
    }

    /// How long they waited for the first answer, or until they went; `None`: never waited, or still does.
    #[must_use]
    pub fn wait_ms(&self) -> Option<i64> {
        let until = self.talk_at.or(self.end.as_ref().map(|end| end.at))?;
        Some((until - self.queue_at?).max(0))
    }

    /// Gave up while waiting. Who talked to somebody, or is called back, did not.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.inbound
            && self.queue_at.is_some()
            && self.talk_at.is_none()
            && !self.served_otherwise
            && self.end.is_some()
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
