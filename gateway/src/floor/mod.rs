//! The floor (值班现场): queues, operators and calls as they are now. Changes become events, what lasts too long
//! becomes an alarm.

mod alarm;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tracing::warn;

pub use alarm::{Alarm, Alarms, Change, Floor, Seat};

use crate::abroad;
use crate::acd::{OperatorView, QueueView};
use crate::app::Services;
use crate::call::LiveCall;
use crate::clock::now_ms;
use crate::events::Audience;

/// Alarms are judged so often, and what no change told of is found by then.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What changes within this time of something just told is told together: under load so many looks, not one a change.
const GATHER: Duration = Duration::from_millis(10);

/// What is known of the floor between two looks.
#[derive(Default)]
pub struct Watch {
    alarms: Mutex<Alarms>,
}

impl Watch {
    /// The alarms that are on.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.lock().on().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the look at the floor.
pub fn spawn(sv: &Arc<Services>) {
    tokio::spawn(run(Arc::clone(sv)));
}

async fn run(sv: Arc<Services>) {
    let mut told = Told::default();
    let mut changes = sv.acd.changes();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let judges = tokio::select! {
            change = changes.recv() => match change {
                // Who lags has as much to read as who doesn't: the floor as it is.
                Ok(_) | Err(RecvError::Lagged(_)) => false,
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => true,
            () = sv.cancel.cancelled() => return,
        };
        // Whatever is in the mailbox now, the look shows.
        while matches!(changes.try_recv(), Ok(_) | Err(TryRecvError::Lagged(_))) {}
        let queues = sv.acd.view().await;
        tell_changes(&sv, &mut told, &queues);
        if judges {
            let floor = floor_of(&queues, &abroad::calls(&sv));
            let changes = sv.floor.lock().step(now_ms(), &floor, &sv.config.alarm);
            changes.iter().for_each(|change| tell_alarm(&sv, change));
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// What the events said last.
#[derive(Default)]
struct Told {
    operators: BTreeMap<String, (String, OperatorView)>,
    queues: BTreeMap<String, Value>,
}

/// An operator's state is their own and the leaders' business; the queues' figures are everybody's.
fn tell_changes(sv: &Services, told: &mut Told, queues: &[QueueView]) {
    let mut operators = BTreeMap::new();
    for queue in queues {
        for operator in &queue.operators {
            operators.insert(operator.id.clone(), (queue.name.clone(), operator.clone()));
        }
        let figures = figures_of(queue);
        if told.queues.get(&queue.name) != Some(&figures) {
            sv.events.publish_here("queue", Audience::Staff, None, figures.clone());
            told.queues.insert(queue.name.clone(), figures);
        }
    }
    for (id, seen) in &operators {
        if told.operators.get(id) != Some(seen) {
            tell_state(sv, id, state_of(&seen.0, &seen.1));
        }
    }
    for id in told.operators.keys().filter(|id| !operators.contains_key(*id)) {
        tell_state(sv, id, json!({ "operator": id, "state": "off" }));
    }
    told.operators = operators;
}

fn tell_state(sv: &Services, operator: &str, state: Value) {
    if let Ok(id) = operator.parse() {
        sv.events.publish_here("state", Audience::PersonAndLeaders(id), None, state);
    }
}

fn tell_alarm(sv: &Services, change: &Change) {
    let word = change.alarm.word();
    let gauge = sv.metrics.alarms_on.with_label_values(&[word]);
    if change.on {
        warn!(alarm = ?change.alarm, "值班告警 / alarm");
        sv.metrics.alarms.with_label_values(&[word]).inc();
        gauge.inc();
    } else {
        gauge.dec();
    }
    let mut data = json!(change.alarm);
    data["on"] = change.on.into();
    sv.events.publish_here("alarm", Audience::Leaders, None, data);
}

/// An operator as events and snapshots show them.
#[must_use]
pub fn state_of(queue: &str, operator: &OperatorView) -> Value {
    json!({
        "operator": operator.id, "name": operator.name, "queue": queue, "state": operator.state,
        "reason": operator.reason, "since": operator.since, "registered": operator.registered, "call": operator.call,
        "next": operator.next, "engaged": operator.engaged, "wrap_until": operator.wrap_until,
    })
}

/// A queue's figures.
#[must_use]
pub fn figures_of(queue: &QueueView) -> Value {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for operator in &queue.operators {
        *states.entry(operator.state.as_str()).or_default() += 1;
    }
    json!({ "queue": queue.name, "waiting": queue.waiting, "operators": states })
}

fn floor_of(queues: &[QueueView], live: &[LiveCall]) -> Floor {
    let seat = |o: &OperatorView| Seat { operator: o.id.clone(), state: o.state.clone(), since: o.since };
    let signed_in = |q: &QueueView| q.operators.iter().filter(|o| o.state != "off").map(seat).collect();
    Floor {
        queues: queues.iter().map(|q| (q.name.clone(), signed_in(q))).collect(),
        waiting: live.iter().filter(|c| c.stage == "queue").map(|c| (c.queue.clone(), c.stage_since)).collect(),
    }
}
