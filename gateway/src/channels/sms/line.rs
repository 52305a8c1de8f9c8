//! A line: one account at one carrier, whichever way it speaks. What sends texts sees only this; each
//! kind's driver takes [`Order`]s and says what became of them.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::limits::ORDERS_MAX;
use super::order::Wanted;
pub use super::order::{Order, Ticket};
use crate::config::{Sms, SmsKind};
use crate::privacy::Pii;

/// A text for one citizen.
#[derive(Clone, Debug)]
pub struct Text {
    /// To whom: E.164 with `+`, or digits as they came.
    pub to: Pii<String>,
    /// What it reads; in no log.
    pub text: Pii<String>,
    /// The template it was made from, and its parameters: some carriers want these instead.
    pub template: String,
    /// See `template`.
    pub params: Value,
    /// Differs between texts that are under way: the reference of a long one's parts.
    pub reference: u16,
    /// The carrier may try until then (epoch ms).
    pub expires_at: i64,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The carrier has all of it.
    Accepted {
        /// The carrier's id of each part, in their order; none where it gives none.
        provider_ids: Vec<String>,
    },
    /// The carrier wants less: the same again later, or another line now.
    Throttled,
    /// The carrier refused it.
    Refused {
        /// In the carrier's words.
        code: String,
        /// What was wrong.
        fault: Fault,
    },
    /// Nothing of it left: it may be sent again anywhere.
    NotSent {
        /// Why.
        error: String,
    },
    /// Some of it may have left.
    Unknown {
        /// Why.
        error: String,
    },
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This text or this number: no line would take it.
    Text,
    /// Our account or its settings: another line may take it.
    Line,
    /// The carrier has trouble: later, or another line.
    Passing,
}

/// How a line is, shared between its driver and everybody else.
#[derive(Debug, Default)]
pub struct LineState {
    links: AtomicUsize,
    paused_until: AtomicI64,
    failed_until: AtomicI64,
    last_error: Mutex<Option<String>>,
    deaf: Mutex<Option<String>>,
}

impl LineState {
    /// One more connection works.
    pub fn link_up(&self) {
        self.links.fetch_add(1, Ordering::AcqRel);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A connection that worked is gone.
    pub fn link_down(&self, why: &str) {
        let _ = self.links.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        self.failed(why);
    }

    /// Something went wrong; links stay as they are.
    pub fn failed(&self, why: &str) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// Texts may leave, but none from citizens arrives: the connection for those is down.
    pub fn deaf(&self, why: &str) {
        *self.deaf.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// The connection for citizens' texts works.
    pub fn hears(&self) {
        *self.deaf.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Nothing goes here until `at` (epoch ms): the carrier wants less.
    pub fn pause_until(&self, at: i64) {
        self.paused_until.fetch_max(at, Ordering::AcqRel);
    }

    /// Other lines come first until `at` (epoch ms).
    pub fn avoid_until(&self, at: i64) {
        self.failed_until.fetch_max(at, Ordering::AcqRel);
    }

    /// Connections that work.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.load(Ordering::Acquire)
    }

    /// What went wrong last, unless it works again.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What keeps citizens' texts or ours from passing.
    fn problem(&self) -> Option<String> {
        let deaf = || self.deaf.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.links() == 0 {
            return Some(self.last_error().unwrap_or_else(|| "未连接 / not connected".into()));
        }
        deaf().map(|why| format!("收不到短信 / receives nothing: {why}"))
    }

    fn is_usable(&self, now: i64) -> bool {
        self.links() > 0 && self.paused_until.load(Ordering::Acquire) <= now
    }

    fn is_avoided(&self, now: i64) -> bool {
        self.failed_until.load(Ordering::Acquire) > now
    }
}

/// One line as those who send texts see it.
#[derive(Debug)]
pub struct Line {
    /// Name in the configuration.
    pub name: String,
    /// How it speaks.
    pub kind: SmsKind,
    /// How it is.
    pub state: Arc<LineState>,
    priority: u32,
    weight: u32,
    orders: mpsc::Sender<Order>,
    feed: Mutex<Option<mpsc::Receiver<Order>>>,
}

impl Line {
    /// The driver's end, for the one driver that asks first.
    pub fn take_feed(&self) -> Option<mpsc::Receiver<Order>> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands a text to the driver and waits until `deadline` for its outcome: for the queue in front of the
    /// driver and the carrier's answer.
    pub async fn send(&self, text: Text, deadline: Instant) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let queued = tokio::time::timeout_at(deadline, self.orders.reserve()).await;
        let Ok(Ok(place)) = queued else {
            return Outcome::NotSent { error: format!("{}: 线路繁忙 / the line is busy", self.name) };
        };
        let wanted = Wanted::default();
        place.send(Order { text, ticket: wanted.ticket(), reply });
        match tokio::time::timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ if wanted.give_up() => {
                Outcome::NotSent { error: format!("{}: 未轮到发送 / its turn never came", self.name) }
            }
            _ => Outcome::Unknown { error: format!("{}: 无应答 / no answer", self.name) },
        }
    }
}

/// All lines of the configuration.
#[derive(Debug, Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// One for each in the configuration, not yet connected.
    #[must_use]
    pub fn new(sms: &Sms) -> Self {
        let line = |l: &crate::config::SmsLine| {
            let (orders, feed) = mpsc::channel(ORDERS_MAX);
            Line {
                name: l.name.clone(),
                kind: l.kind,
                state: Arc::default(),
                priority: l.priority,
                weight: l.weight.max(1),
                orders,
                feed: Mutex::new(Some(feed)),
            }
        };
        Self(sms.lines.iter().map(line).collect())
    }

    /// Every line, in the configuration's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.0.iter()
    }

    /// The line of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Line> {
        self.0.iter().find(|l| l.name == name)
    }

    /// The line for a text: `wanted` if it is usable (the citizen wrote there), else of the usable ones that
    /// weren't tried the lowest priority, by weight. Lines that failed lately come last.
    #[must_use]
    pub fn choose(&self, wanted: Option<&str>, tried: &[String], now: i64, rng: &mut impl Rng) -> Option<&Line> {
        let usable: Vec<&Line> = self.0.iter().filter(|l| l.state.is_usable(now) && !tried.contains(&l.name)).collect();
        let wanted = usable.iter().find(|l| wanted == Some(l.name.as_str()) && !l.state.is_avoided(now));
        if let Some(line) = wanted {
            return Some(line);
        }
        let rank = |l: &&Line| (l.state.is_avoided(now), l.priority);
        let best = usable.iter().map(rank).min()?;
        let group: Vec<&Line> = usable.into_iter().filter(|l| rank(l) == best).collect();
        let total: u32 = group.iter().map(|l| l.weight).sum();
        let mut at = rng.random_range(0..total.max(1));
        group.iter().find(|l| at.checked_sub(l.weight).map(|rest| at = rest).is_none()).or(group.last()).copied()
    }

    /// What `/healthz` says: lines by which nothing leaves, or nothing arrives.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let down = self.0.iter().filter_map(|l| Some((l, l.state.problem()?)));
        down.map(|(l, why)| format!("sms line {}: {why}", l.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::config::SmsLine;

    fn lines(of: &[(&str, u32, u32)]) -> Lines {
        let line = |&(name, priority, weight): &(&str, u32, u32)| SmsLine {
            name: name.into(),
            kind: SmsKind::Cmpp,
            priority,
            weight,
            cmpp: crate::config::CmppLine::default(),
            smpp: crate::config::SmppLine::default(),
            http: crate::config::HttpLine::default(),
        };
        Lines::new(&Sms { lines: of.iter().map(line).collect(), ..Sms::default() })
    }

    fn counts(
        lines: &Lines,
        wanted: Option<&str>,
        tried: &[String],
        now: i64,
    ) -> std::collections::BTreeMap<String, u32> {
        let mut rng = StdRng::seed_from_u64(5);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..1_000 {
            if let Some(line) = lines.choose(wanted, tried, now, &mut rng) {
                *counts.entry(line.name.clone()).or_default() += 1;
            }
        }
        counts
    }

    #[test]
    fn priority_then_weight_choose_among_lines_that_work() {
        let lines = lines(&[("a", 10, 3), ("b", 10, 1), ("c", 20, 1)]);
        assert!(counts(&lines, None, &[], 0).is_empty(), "nothing is connected");
        assert_eq!(lines.problems().len(), 3);
        lines.iter().for_each(|l| l.state.link_up());
        let all = counts(&lines, None, &[], 0);
        assert!((700..800).contains(&all["a"]) && all["a"] + all["b"] == 1_000, "{all:?}");
        assert_eq!(counts(&lines, Some("c"), &[], 0)["c"], 1_000, "the citizen wrote there");
        lines.get("a").unwrap().state.link_down("cut");
        lines.get("b").unwrap().state.pause_until(100);
        assert_eq!(counts(&lines, Some("a"), &[], 99)["c"], 1_000);
        assert_eq!(counts(&lines, None, &[], 100)["b"], 1_000);
        assert_eq!(counts(&lines, None, &["b".into()], 100)["c"], 1_000);
        assert!(counts(&lines, None, &["b".into(), "c".into()], 100).is_empty());
        assert_eq!(lines.problems(), ["sms line a: cut"]);
    }

    #[test]
    fn a_line_that_failed_lately_comes_last_but_is_better_than_none() {
        let lines = lines(&[("a", 10, 1), ("b", 20, 1)]);
        lines.iter().for_each(|l| l.state.link_up());
        lines.get("a").unwrap().state.avoid_until(100);
        assert_eq!(counts(&lines, Some("a"), &[], 50)["b"], 1_000);
        assert_eq!(counts(&lines, None, &["b".into()], 50)["a"], 1_000);
        assert_eq!(counts(&lines, None, &[], 100)["a"], 1_000);
    }

    fn text() -> Text {
        Text {
            to: Pii::new("+8613812345678".into()),
            text: Pii::new("已受理".into()),
            template: String::new(),
            params: Value::Null,
            reference: 1,
            expires_at: 0,
        }
    }

    #[tokio::test]
    async fn an_order_that_was_begun_and_dropped_has_an_unknown_outcome() {
        let lines = lines(&[("a", 10, 1)]);
        let line = lines.get("a").unwrap();
        let mut feed = line.take_feed().unwrap();
        assert!(line.take_feed().is_none());
        let driver = tokio::spawn(async move {
            let order = feed.recv().await.unwrap();
            assert!(order.ticket.begin());
            drop(order);
            drop(feed.recv().await);
        });
        let soon = || Instant::now() + std::time::Duration::from_secs(5);
        let outcome = line.send(text(), soon()).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        let outcome = line.send(text(), soon()).await;
        assert!(matches!(outcome, Outcome::NotSent { .. }), "it wasn't begun: {outcome:?}");
        driver.await.unwrap();
        let outcome = line.send(text(), soon()).await;
        assert!(matches!(outcome, Outcome::NotSent { .. }), "nobody took it: {outcome:?}");
    }

    #[tokio::test]
    async fn what_waited_too_long_did_not_leave_and_never_will() {
        let lines = lines(&[("a", 10, 1)]);
        let line = lines.get("a").unwrap();
        let mut feed = line.take_feed().unwrap();
        let soon = || Instant::now() + std::time::Duration::from_millis(100);
        let outcome = line.send(text(), soon()).await;
        assert!(matches!(outcome, Outcome::NotSent { .. }), "{outcome:?}");
        assert!(!feed.recv().await.unwrap().ticket.begin(), "whoever wanted it sends it elsewhere");
        let driver = tokio::spawn(async move {
            let order = feed.recv().await.unwrap();
            assert!(order.ticket.begin() && order.ticket.begin());
            order.reply.is_closed()
        });
        let outcome = line.send(text(), soon()).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        driver.await.unwrap();
    }

    #[test]
    fn a_line_that_hears_nobody_is_a_problem_though_texts_leave() {
        let lines = lines(&[("a", 10, 1)]);
        let state = &lines.get("a").unwrap().state;
        state.link_up();
        assert!(lines.problems().is_empty());
        state.deaf("bind refused");
        assert!(lines.problems()[0].contains("bind refused"), "{:?}", lines.problems());
        assert_eq!(counts(&lines, None, &[], 0)["a"], 1_000, "texts still leave");
        state.hears();
        assert!(lines.problems().is_empty());
    }
}
