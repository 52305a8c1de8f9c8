//! One queue as a deterministic machine: inputs with a time, effects out.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::{Assignment, Candidate, Lane, Waiting, assign, position};

/// An operator whose phone couldn't be rung for want of room here is offered the next call after so long.
const NO_ROOM_PAUSE_MS: i64 = 2_000;

/// Operator states (domain document §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorState {
    /// 签退.
    Off,
    /// 示闲.
    Ready,
    /// 振铃.
    Ringing,
    /// 通话.
    Talking,
    /// 话后.
    WrapUp,
    /// 小休.
    Break,
    /// 离席.
    Away,
}

impl OperatorState {
    /// Word for rows and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ready => "ready",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
            Self::WrapUp => "wrap_up",
            Self::Break => "break",
            Self::Away => "away",
        }
    }

    /// From a row's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Off, Self::Ready, Self::Ringing, Self::Talking, Self::WrapUp, Self::Break, Self::Away]
            .into_iter()
            .find(|s| s.as_str() == word)
    }

    const fn busy(self) -> bool {
        matches!(self, Self::Ringing | Self::Talking)
    }
}

/// Who an operator is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OperatorRef {
    /// User id.
    pub id: String,
    /// 工号 or name for people.
    pub name: String,
    /// SIP user of the phone.
    pub sip_user: String,
}

/// Why an offered call wasn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    /// The phone rang until the limit.
    NoAnswer,
    /// The operator refused on the phone.
    Refused,
    /// The phone couldn't be reached.
    Device,
    /// No session or port here to ring the phone with: the operator stays ready, and is asked again soon.
    NoRoom,
    /// The caller left while it rang: nobody's fault.
    CallerLeft,
}

pub(super) struct Operator {
    pub(super) who: OperatorRef,
    pub(super) state: OperatorState,
    pub(super) reason: String,
    pub(super) since: i64,
    pub(super) idle_since: i64,
    pub(super) registered: bool,
    pub(super) call: Option<String>,
    wrap_until: Option<i64>,
    /// Gets no call before then: there was no room here to ring the phone.
    pause_until: Option<i64>,
    /// State asked for during a call; taken when the call is over.
    next: Option<(OperatorState, String)>,
}

/// What the owner has to carry out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ring this operator for this call.
    Offer { call: String, operator: OperatorRef },
    /// An operator's state changed: write the interval.
    State { operator: String, state: OperatorState, reason: String },
    /// A caller's row changed.
    Row { call: String, state: &'static str },
}

/// The machine.
pub(super) struct Core {
    wrap_ms: i64,
    pub(super) waiting: Vec<Waiting>,
    pub(super) operators: BTreeMap<String, Operator>,
    effects: Vec<Effect>,
    order_next: u64,
    answered: u64,
    waited_ms_mean: f64,
    entered: BTreeMap<String, i64>,
}

impl Core {
    pub(super) fn new(wrap_ms: i64) -> Self {
        Self {
            wrap_ms,
            waiting: Vec::new(),
            operators: BTreeMap::new(),
            effects: Vec::new(),
            order_next: 0,
            answered: 0,
            waited_ms_mean: 0.0,
            entered: BTreeMap::new(),
        }
    }

    /// A caller joins. A call that is already waiting keeps its place.
    pub(super) fn enter(&mut self, now: i64, call: &str, lane: Lane, excluded: BTreeSet<String>) {
        if self.waiting.iter().any(|w| w.call == call) {
            return;
        }
        self.order_next += 1;
        self.waiting.push(Waiting { call: call.into(), lane, order: self.order_next, excluded, offered: false });
        self.entered.insert(call.into(), now);
        self.match_up(now);
    }

    /// A caller is gone, for whatever reason; an operator ringing for them is free again.
    pub(super) fn leave(&mut self, now: i64, call: &str) {
        self.waiting.retain(|w| w.call != call);
        self.entered.remove(call);
        let ringing =
            self.operators.values().find(|o| o.state == OperatorState::Ringing && o.call.as_deref() == Some(call));
        if let Some(operator) = ringing.map(|o| o.who.id.clone()) {
            self.back_to_work(now, &operator);
        }
        self.match_up(now);
    }

    /// A caller changes lane (key 7).
    pub(super) fn set_lane(&mut self, now: i64, call: &str, lane: Lane) {
        if let Some(w) = self.waiting.iter_mut().find(|w| w.call == call) {
            w.lane = lane;
        }
        self.match_up(now);
    }

    /// The operator's phone answered: the caller has left the queue.
    pub(super) fn connected(&mut self, now: i64, call: &str, operator: &str) {
        self.waiting.retain(|w| w.call != call);
        if let Some(entered) = self.entered.remove(call) {
            self.answered += 1;
            #[allow(clippy::cast_precision_loss, reason = "an estimate in minutes")]
            let (waited, n) = ((now - entered).max(0) as f64, self.answered.min(20) as f64);
            self.waited_ms_mean += (waited - self.waited_ms_mean) / n;
        }
        self.set_state(now, operator, OperatorState::Talking, "");
        self.effects.push(Effect::Row { call: call.into(), state: "answered" });
    }

    /// The offered operator didn't take the call: the caller keeps their place and isn't offered to them again.
    pub(super) fn declined(&mut self, now: i64, call: &str, operator: &str, why: Decline) {
        let mine = self.operators.get(operator).is_some_and(|o| o.call.as_deref() == Some(call));
        if why == Decline::CallerLeft {
            if mine {
                self.back_to_work(now, operator);
            }
            self.match_up(now);
            return;
        }
        if why == Decline::NoRoom {
            self.no_room(now, call, mine.then_some(operator));
            return;
        }
        if let Some(w) = self.waiting.iter_mut().find(|w| w.call == call) {
            w.offered = false;
            w.excluded.insert(operator.into());
            self.effects.push(Effect::Row { call: call.into(), state: "waiting" });
        }
        if mine {
            let wish = self.operators.get_mut(operator).and_then(|o| {
                o.call = None;
                o.next.take()
            });
            let reason = match why {
                Decline::NoAnswer => "no_answer",
                Decline::Refused => "declined",
                Decline::Device | Decline::NoRoom | Decline::CallerLeft => "device",
            };
            let (state, reason) = wish.unwrap_or((OperatorState::Away, reason.into()));
            self.set_state(now, operator, state, &reason);
        }
        self.match_up(now);
    }

    /// The caller keeps their place and the operator theirs; neither hears of the other before the pause is over.
    fn no_room(&mut self, now: i64, call: &str, operator: Option<&str>) {
        if let Some(w) = self.waiting.iter_mut().find(|w| w.call == call) {
            w.offered = false;
            self.effects.push(Effect::Row { call: call.into(), state: "waiting" });
        }
        if let Some(operator) = operator {
            if let Some(o) = self.operators.get_mut(operator) {
                o.pause_until = Some(now + NO_ROOM_PAUSE_MS);
            }
            self.back_to_work(now, operator);
        }
        self.match_up(now);
    }

    /// A talk is over: 话后, then ready.
    pub(super) fn released(&mut self, now: i64, operator: &str) {
        if let Some(o) = self.operators.get_mut(operator) {
            o.call = None;
            if let Some((state, reason)) = o.next.take() {
                self.set_state(now, operator, state, &reason);
            } else if self.wrap_ms == 0 {
                self.back_to_work(now, operator);
            } else {
                o.wrap_until = Some(now + self.wrap_ms);
                self.set_state(now, operator, OperatorState::WrapUp, "");
            }
        }
        self.match_up(now);
    }

    /// The operator asks for a state. During a call it takes effect afterwards. Returns what holds now.
    pub(super) fn want(
        &mut self,
        now: i64,
        who: &OperatorRef,
        registered: bool,
        state: OperatorState,
        reason: &str,
    ) -> OperatorState {
        let operator = self.operators.entry(who.id.clone()).or_insert_with(|| Operator {
            who: who.clone(),
            state: OperatorState::Off,
            reason: String::new(),
            since: now,
            idle_since: now,
            registered,
            call: None,
            wrap_until: None,
            pause_until: None,
            next: None,
        });
        operator.registered = registered;
        operator.who = who.clone();
        if operator.state.busy() {
            operator.next = Some((state, reason.into()));
            return operator.state;
        }
        operator.next = None;
        self.set_state(now, &who.id, state, reason);
        if state == OperatorState::Ready {
            self.second_chance(&who.id);
        }
        self.match_up(now);
        state
    }

    /// Who comes back to work may have the callers they declined, but only those nobody else here could take.
    fn second_chance(&mut self, operator: &str) {
        let others: Vec<&String> = self
            .operators
            .values()
            .filter(|o| o.state != OperatorState::Off && o.who.id != operator)
            .map(|o| &o.who.id)
            .collect();
        for w in &mut self.waiting {
            if others.iter().all(|o| w.excluded.contains(*o)) {
                w.excluded.remove(operator);
            }
        }
    }

    /// An operator leaves this queue, for another or for good.
    pub(super) fn sign_out(&mut self, now: i64, operator: &str) {
        let Some(o) = self.operators.get_mut(operator) else { return };
        if o.state.busy() {
            o.next = Some((OperatorState::Off, String::new()));
        } else {
            self.operators.remove(operator);
        }
        self.match_up(now);
    }

    /// A phone came or went.
    pub(super) fn registered(&mut self, now: i64, sip_user: &str, registered: bool) {
        for o in self.operators.values_mut().filter(|o| o.who.sip_user == sip_user) {
            o.registered = registered;
        }
        self.match_up(now);
    }

    /// Ends 话后 that has lasted long enough.
    pub(super) fn handle_timeout(&mut self, now: i64) {
        let due: Vec<String> = self
            .operators
            .values()
            .filter(|o| o.wrap_until.is_some_and(|t| t <= now))
            .map(|o| o.who.id.clone())
            .collect();
        for operator in due {
            self.back_to_work(now, &operator);
        }
        for o in self.operators.values_mut() {
            o.pause_until = o.pause_until.filter(|t| *t > now);
        }
        self.match_up(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<i64> {
        self.operators.values().flat_map(|o| [o.wrap_until, o.pause_until]).flatten().min()
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Place and estimate (from the waits of the last twenty answered callers).
    pub(super) fn position(&self, call: &str) -> Option<(usize, u64)> {
        let place = position(&self.waiting, call)?;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate in seconds"
        )]
        let estimate_s = (self.waited_ms_mean / 1000.0 * place as f64) as u64;
        Some((place, estimate_s))
    }

    fn back_to_work(&mut self, now: i64, operator: &str) {
        let Some(o) = self.operators.get_mut(operator) else { return };
        let was_ringing = o.state == OperatorState::Ringing;
        o.call = None;
        o.wrap_until = None;
        let (state, reason) = o.next.take().unwrap_or((OperatorState::Ready, String::new()));
        let idle_since = if was_ringing { o.idle_since } else { now };
        self.set_state(now, operator, state, &reason);
        if let Some(o) = self.operators.get_mut(operator) {
            o.idle_since = idle_since;
        }
    }

    fn set_state(&mut self, now: i64, operator: &str, state: OperatorState, reason: &str) {
        let Some(o) = self.operators.get_mut(operator) else { return };
        if state == OperatorState::Ready && o.state != OperatorState::Ready {
            o.idle_since = now;
        }
        if state != OperatorState::WrapUp {
            o.wrap_until = None;
        }
        if o.state == state && o.reason == reason {
            return;
        }
        o.state = state;
        o.since = now;
        o.reason = reason.into();
        self.effects.push(Effect::State { operator: operator.into(), state, reason: reason.into() });
    }

    fn match_up(&mut self, now: i64) {
        let candidates: Vec<Candidate> = self
            .operators
            .values()
            .map(|o| Candidate {
                operator: o.who.id.clone(),
                free: o.state == OperatorState::Ready && o.registered && o.call.is_none() && o.pause_until.is_none(),
                idle_since: o.idle_since,
            })
            .collect();
        for Assignment { call, operator } in assign(&self.waiting, &candidates) {
            if let Some(w) = self.waiting.iter_mut().find(|w| w.call == call) {
                w.offered = true;
            }
            let idle_since = self.operators.get(&operator).map_or(now, |o| o.idle_since);
            self.set_state(now, &operator, OperatorState::Ringing, "");
            if let Some(o) = self.operators.get_mut(&operator) {
                o.call = Some(call.clone());
                o.idle_since = idle_since;
                self.effects.push(Effect::Row { call: call.clone(), state: "ringing" });
                self.effects.push(Effect::Offer { call, operator: o.who.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(id: &str) -> OperatorRef {
        OperatorRef { id: id.into(), name: id.into(), sip_user: id.into() }
    }
    fn offers(core: &mut Core) -> Vec<(String, String)> {
        core.take_effects()
            .into_iter()
            .filter_map(|e| match e {
                Effect::Offer { call, operator } => Some((call, operator.id)),
                _ => None,
            })
            .collect()
    }
    fn pair(a: &str, b: &str) -> (String, String) {
        (a.into(), b.into())
    }

    #[test]
    fn an_operator_without_a_registered_phone_gets_no_call() {
        let mut core = Core::new(0);
        core.want(0, &who("x"), false, OperatorState::Ready, "");
        core.enter(1, "a", Lane::Normal, BTreeSet::new());
        assert!(offers(&mut core).is_empty());
        core.registered(2, "x", true);
        assert_eq!(offers(&mut core), [pair("a", "x")]);
    }

    #[test]
    fn without_room_for_another_call_operators_stay_ready_and_are_asked_again_soon() {
        let mut core = Core::new(0);
        core.want(0, &who("x"), true, OperatorState::Ready, "");
        core.enter(1, "a", Lane::Normal, BTreeSet::new());
        assert_eq!(offers(&mut core), [pair("a", "x")]);
        core.declined(10, "a", "x", Decline::NoRoom);
        assert_eq!(core.operators["x"].state, OperatorState::Ready);
        assert!(offers(&mut core).is_empty(), "not at once: that would spin");
        let again = core.poll_timeout().unwrap();
        assert_eq!(again, 10 + NO_ROOM_PAUSE_MS);
        core.handle_timeout(again);
        assert_eq!(offers(&mut core), [pair("a", "x")], "the same operator: nobody refused anything");
        core.declined(again, "a", "x", Decline::NoAnswer);
        assert_eq!(core.operators["x"].state, OperatorState::Away);
        assert_eq!(core.poll_timeout(), None);
    }

    #[test]
    fn who_does_not_answer_goes_away_and_the_caller_keeps_the_first_place() {
        let mut core = Core::new(0);
        core.want(0, &who("x"), true, OperatorState::Ready, "");
        core.enter(1, "a", Lane::Normal, BTreeSet::new());
        core.enter(2, "b", Lane::Normal, BTreeSet::new());
        assert_eq!(offers(&mut core), [pair("a", "x")]);
        core.declined(15_000, "a", "x", Decline::NoAnswer);
        assert!(offers(&mut core).is_empty());
        assert_eq!(core.operators["x"].state, OperatorState::Away);
        core.want(16_000, &who("y"), true, OperatorState::Ready, "");
        assert_eq!(offers(&mut core), [pair("a", "y")]);
        core.want(17_000, &who("x"), true, OperatorState::Ready, "");
        assert_eq!(offers(&mut core), [pair("b", "x")]);
    }

    #[test]
    fn a_caller_only_one_operator_could_take_gets_them_back_when_they_are_ready_again() {
        let mut core = Core::new(0);
        core.want(0, &who("x"), true, OperatorState::Ready, "");
        core.enter(1, "a", Lane::Normal, BTreeSet::new());
        core.declined(2, "a", "x", Decline::NoAnswer);
        core.take_effects();
        core.want(3, &who("x"), true, OperatorState::Ready, "");
        assert_eq!(offers(&mut core), [pair("a", "x")]);
    }

    #[test]
    fn a_caller_who_leaves_while_it_rings_frees_the_operator_with_their_idle_time() {
        let mut core = Core::new(0);
        core.want(0, &who("x"), true, OperatorState::Ready, "");
        core.want(5, &who("y"), true, OperatorState::Ready, "");
        core.enter(10, "a", Lane::Normal, BTreeSet::new());
        core.leave(20, "a");
        core.enter(30, "b", Lane::Normal, BTreeSet::new());
        assert_eq!(offers(&mut core), [pair("a", "x"), pair("b", "x")]);
    }

    #[test]
    fn wrap_up_ends_by_itself_and_a_state_asked_for_during_the_call_comes_after_it() {
        let mut core = Core::new(30_000);
        core.want(0, &who("x"), true, OperatorState::Ready, "");
        core.enter(1, "a", Lane::Normal, BTreeSet::new());
        core.connected(2, "a", "x");
        core.released(10, "x");
        assert_eq!(core.operators["x"].state, OperatorState::WrapUp);
        assert_eq!(core.poll_timeout(), Some(30_010));
        core.handle_timeout(30_010);
        assert_eq!(core.operators["x"].state, OperatorState::Ready);
        core.enter(40_000, "b", Lane::Normal, BTreeSet::new());
        core.connected(40_001, "b", "x");
        assert_eq!(core.want(40_002, &who("x"), true, OperatorState::Break, "lunch"), OperatorState::Talking);
        core.released(40_003, "x");
        assert_eq!(core.operators["x"].state, OperatorState::Break);
    }

    #[test]
    fn one_caller_entered_twice_waits_once() {
        let mut core = Core::new(0);
        core.enter(1, "a", Lane::Normal, BTreeSet::new());
        core.enter(2, "a", Lane::Normal, BTreeSet::new());
        assert_eq!(core.waiting.len(), 1);
        assert_eq!(core.position("a"), Some((1, 0)));
    }
}
