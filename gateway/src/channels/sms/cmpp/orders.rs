//! Texts on one connection: each is cut into parts, the parts are submitted as the window allows, and the
//! text's outcome is known when all its parts have theirs.

use std::collections::{BTreeMap, VecDeque};

use super::event::Outcome as PartOutcome;
use super::limits::{ORDERS_OPEN_MAX, PART_TRIES_BEGUN_MAX, PART_TRIES_MAX};
use super::pdu::{Submit, result_text};
use super::session::Session;
use crate::channels::sms::line::{Fault, Order, Outcome};
use crate::channels::sms::parts::{Plan, cut};
use crate::channels::sms::text::Coding;
use crate::config::{CmppLine, CmppNumbers};
use crate::privacy::Pii;

/// A text of which something is open.
struct Open {
    order: Order,
    ids: Vec<Option<u64>>,
    /// Parts whose outcome isn't known.
    open: usize,
    /// Parts handed to the session at least once.
    begun: usize,
    worst: Option<PartOutcome>,
}

/// A part on its way.
struct Part {
    order: u64,
    at: usize,
    message: Submit,
    /// How often flow control refused it.
    throttled: u32,
}

/// The texts of one connection.
pub(super) struct Orders {
    config: CmppLine,
    open: BTreeMap<u64, Open>,
    waiting: VecDeque<Part>,
    sent: BTreeMap<u64, Part>,
    next_order: u64,
    next_token: u64,
}

impl Orders {
    pub(super) fn new(config: &CmppLine) -> Self {
        Self {
            config: config.clone(),
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            next_order: 0,
            next_token: 0,
        }
    }

    /// Nothing waits for the session: a further text may be taken.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.len() < ORDERS_OPEN_MAX
    }

    /// Parts wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a text and cuts it.
    pub(super) fn take(&mut self, order: Order) {
        let plan = Plan { seven_bit: Coding::Ascii, wide: self.config.wide_reference };
        let cut = match cut(order.text.text.reveal(), order.text.reference, plan) {
            Ok(cut) => cut,
            Err(e) => return answer(order, Outcome::Refused { code: e.to_string(), fault: Fault::Text }),
        };
        let Some(to) = number_for(order.text.to.reveal(), self.config.numbers) else {
            let code = "号码不完整 / no complete number".to_owned();
            return answer(order, Outcome::Refused { code, fault: Fault::Text });
        };
        let has_header = cut.has_header();
        let total = u8::try_from(cut.parts.len()).unwrap_or(u8::MAX);
        let id = self.next_order;
        self.next_order += 1;
        let part = |(at, content): (usize, Vec<u8>)| {
            let number = u8::try_from(at + 1).unwrap_or(u8::MAX);
            let report = self.config.reports;
            let fmt = cut.coding.to_cmpp();
            let message = Submit { to: Pii::new(to.clone()), total, number, report, fmt, has_header, content };
            Part { order: id, at, message, throttled: 0 }
        };
        let open = Open { order, ids: vec![None; cut.parts.len()], open: cut.parts.len(), begun: 0, worst: None };
        self.waiting.extend(cut.parts.into_iter().enumerate().map(part));
        self.open.insert(id, open);
    }

    /// Hands parts to the session while it has room.
    pub(super) fn submit(&mut self, session: &mut Session, now: u64) {
        while !self.waiting.is_empty() && session.ready_at(now) == Some(now) {
            let Some(part) = self.waiting.pop_front() else { return };
            let Some(open) = self.open.get_mut(&part.order) else { continue };
            if open.begun == 0 && !open.order.ticket.begin() {
                // Whoever wanted it sent has given up; nothing of it left.
                self.drop_order(part.order);
                continue;
            }
            open.begun += 1;
            self.next_token += 1;
            session.submit(self.next_token, &part.message, now);
            self.sent.insert(self.next_token, part);
        }
    }

    fn drop_order(&mut self, order: u64) {
        self.open.remove(&order);
        self.waiting.retain(|part| part.order != order);
    }

    /// A part's outcome; `true` if the carrier wants less.
    pub(super) fn on_outcome(&mut self, token: u64, outcome: PartOutcome) -> bool {
        let Some(mut part) = self.sent.remove(&token) else { return false };
        let id = part.order;
        let Some(open) = self.open.get_mut(&id) else { return false };
        let is_throttled = outcome == PartOutcome::Throttled;
        // A text that has begun to leave is finished rather than begun again.
        let has_left = open.ids.iter().any(Option::is_some);
        if is_throttled && part.throttled < if has_left { PART_TRIES_BEGUN_MAX } else { PART_TRIES_MAX } {
            // The session waits before it takes the part again.
            part.throttled += 1;
            self.waiting.push_front(part);
            return true;
        }
        match outcome {
            PartOutcome::Accepted(msg_id) => open.ids[part.at] = Some(msg_id),
            worse => open.worst = Some(open.worst.map_or(worse, |w| worst(w, worse))),
        }
        open.open = open.open.saturating_sub(1);
        if open.open == 0
            && let Some(done) = self.open.remove(&id)
        {
            let outcome = outcome_of(&done);
            answer(done.order, outcome);
        }
        is_throttled
    }

    /// The connection is gone: what wasn't begun may go elsewhere, of the rest nobody knows.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        for (_, open) in std::mem::take(&mut self.open) {
            let error = "链路中断 / the link broke".to_owned();
            let outcome = if open.begun == 0 { Outcome::NotSent { error } } else { Outcome::Unknown { error } };
            answer(open.order, outcome);
        }
    }
}

fn answer(order: Order, outcome: Outcome) {
    // Nobody waits any more: its lease runs out.
    let _ = order.reply.send(outcome);
}

fn worst(a: PartOutcome, b: PartOutcome) -> PartOutcome {
    let rank = |o: &PartOutcome| match o {
        PartOutcome::Accepted(_) => 0,
        PartOutcome::Throttled => 1,
        PartOutcome::Refused(_) => 2,
        PartOutcome::Unanswered => 3,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// A text is accepted if all its parts are. One of which some parts left is unknown rather than not sent.
fn outcome_of(open: &Open) -> Outcome {
    let some_left = open.ids.iter().any(Option::is_some);
    match open.worst {
        None => Outcome::Accepted { provider_ids: open.ids.iter().flatten().map(u64::to_string).collect() },
        Some(PartOutcome::Refused(result)) => {
            let code = format!("{result} {}", result_text(result));
            Outcome::Refused { code, fault: if some_left { Fault::Text } else { fault_of(result) } }
        }
        Some(PartOutcome::Throttled) if !some_left => Outcome::Throttled,
        Some(_) => Outcome::Unknown { error: "部分无应答 / not all of it was answered".into() },
    }
}

/// §8.4.3.2: which refusals another line or a later try could change.
const fn fault_of(result: u32) -> Fault {
    match result {
        1 | 2 | 4 | 6 | 13 => Fault::Text,
        5 | 7 | 9..=12 => Fault::Line,
        _ => Fault::Passing,
    }
}

/// The digits of a number as the carrier wants them.
fn number_for(number: &str, form: CmppNumbers) -> Option<String> {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 3 || digits.len() > 20 {
        return None;
    }
    let national = number.strip_prefix("+86").filter(|_| form == CmppNumbers::National);
    Some(national.map_or(digits, str::to_owned))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::channels::sms::line::{Text, Ticket};

    fn order(text: &str) -> (Order, oneshot::Receiver<Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let text = Text {
            to: Pii::new("+8613812345678".into()),
            text: Pii::new(text.into()),
            template: String::new(),
            params: serde_json::Value::Null,
            reference: 7,
            expires_at: 0,
        };
        (Order { text, ticket: Ticket::default(), reply }, outcome)
    }

    /// Orders whose parts were all handed over: their tokens are 1, 2, …
    fn with_three_parts() -> (Orders, oneshot::Receiver<Outcome>) {
        let mut orders = Orders::new(&CmppLine::default());
        let (order, outcome) = order(&"井".repeat(150));
        orders.take(order);
        hand_over(&mut orders);
        (orders, outcome)
    }

    fn hand_over(orders: &mut Orders) {
        while let Some(part) = orders.waiting.pop_front() {
            orders.open.get_mut(&part.order).unwrap().begun += 1;
            orders.next_token += 1;
            orders.sent.insert(orders.next_token, part);
        }
    }

    #[test]
    fn a_text_is_accepted_when_all_its_parts_are_in_their_order() {
        let (mut orders, mut outcome) = with_three_parts();
        for (token, id) in [(3, 30), (1, 10)] {
            orders.on_outcome(token, PartOutcome::Accepted(id));
        }
        assert!(outcome.try_recv().is_err());
        orders.on_outcome(2, PartOutcome::Accepted(20));
        orders.on_outcome(2, PartOutcome::Accepted(21));
        let ids = ["10", "20", "30"].map(String::from).to_vec();
        assert_eq!(outcome.try_recv().unwrap(), Outcome::Accepted { provider_ids: ids });
    }

    #[test]
    fn a_throttled_part_alone_goes_again() {
        let (mut orders, mut outcome) = with_three_parts();
        orders.on_outcome(1, PartOutcome::Accepted(1));
        assert!(orders.on_outcome(2, PartOutcome::Throttled));
        assert_eq!(orders.waiting.len(), 1);
        hand_over(&mut orders);
        orders.on_outcome(3, PartOutcome::Accepted(3));
        orders.on_outcome(4, PartOutcome::Accepted(2));
        let ids = ["1", "2", "3"].map(String::from).to_vec();
        assert_eq!(outcome.try_recv().unwrap(), Outcome::Accepted { provider_ids: ids });
        // A carrier that never relents: the text may go elsewhere, since nothing left.
        let (order, mut outcome) = order("hi");
        orders.take(order);
        for _ in 0..=PART_TRIES_MAX {
            hand_over(&mut orders);
            let token = orders.next_token;
            orders.on_outcome(token, PartOutcome::Throttled);
        }
        assert_eq!(outcome.try_recv().unwrap(), Outcome::Throttled);
    }

    #[test]
    fn each_part_has_its_own_tries() {
        let mut orders = Orders::new(&CmppLine::default());
        let (order, mut outcome) = order(&"井".repeat(600));
        orders.take(order);
        let parts = orders.waiting.len() as u64;
        assert!(parts > u64::from(PART_TRIES_MAX) + 1);
        hand_over(&mut orders);
        orders.on_outcome(1, PartOutcome::Accepted(1));
        // All others are throttled in one breath, and again.
        for round in 0..2 {
            let first = if round == 0 { 2 } else { parts + 1 };
            for token in first..first + parts - 1 {
                assert!(orders.on_outcome(token, PartOutcome::Throttled));
            }
            assert!(outcome.try_recv().is_err(), "round {round}");
            hand_over(&mut orders);
        }
        for token in 2 * parts..3 * parts - 1 {
            orders.on_outcome(token, PartOutcome::Accepted(token));
        }
        let Ok(Outcome::Accepted { provider_ids }) = outcome.try_recv() else { panic!("not accepted") };
        assert_eq!(provider_ids.len() as u64, parts);
    }

    #[test]
    fn what_partly_left_is_unknown_and_never_begun_is_not_sent() {
        let (mut orders, mut outcome) = with_three_parts();
        orders.on_outcome(1, PartOutcome::Accepted(1));
        let (second, mut not_begun) = order("hi");
        orders.take(second);
        orders.abandon();
        assert!(matches!(outcome.try_recv().unwrap(), Outcome::Unknown { .. }));
        assert!(matches!(not_begun.try_recv().unwrap(), Outcome::NotSent { .. }));
        let (mut orders, mut outcome) = with_three_parts();
        for token in 1..=3 {
            orders.on_outcome(token, PartOutcome::Refused(13));
        }
        assert!(matches!(outcome.try_recv().unwrap(), Outcome::Refused { fault: Fault::Text, .. }));
    }

    #[test]
    fn numbers_are_written_as_the_carrier_wants_them() {
        assert_eq!(number_for("+8613812345678", CmppNumbers::National).as_deref(), Some("13812345678"));
        assert_eq!(number_for("+8613812345678", CmppNumbers::International).as_deref(), Some("8613812345678"));
        assert_eq!(number_for("+85212345678", CmppNumbers::National).as_deref(), Some("85212345678"));
        assert_eq!(number_for("", CmppNumbers::National), None);
    }
}
