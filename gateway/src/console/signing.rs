//! Signing in and out, judged by the shifts.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DutyLeave, Id, Shift};
use tracing::{error, warn};

use super::auth::{Role, User};
use super::error::ApiError;
use super::seen::{is_away, soon};
use super::{Api, audit};
use crate::acd::{OperatorState, OperatorView, QueueView};
use crate::clock::now_ms;
use crate::duty::{self, EARLY_MS, Grounds, URGENT};

/// A sign-in while the database is away is audited once it is back, if that is within half an hour.
const AUDIT_TRIES: u32 = 180;
const AUDIT_PAUSE: Duration = Duration::from_secs(10);

/// What counts when somebody signs in or out or leaves a queue, read before anybody waits for it.
pub(super) struct Brief {
    who: Id,
    shifts: Vec<Shift>,
    urgent: usize,
    has_leave: bool,
    /// Queues they serve and won't any more; none when they sign in.
    given_up: Vec<String>,
    /// The database couldn't say.
    unread: bool,
}

impl Brief {
    /// For a change of state by which somebody will serve these queues; `None` when nobody signs in or out or leaves
    /// a queue by it.
    pub(super) async fn of(
        api: &Api,
        user: &User,
        state: OperatorState,
        queues: &[String],
    ) -> Result<Option<Self>, ApiError> {
        let (store, now, who) = (&api.sv.store, now_ms(), user.0.id);
        let leaves = state == OperatorState::Off;
        let served = served(&api.sv.acd.view().await, &who.to_string());
        let signs_in = served.is_empty();
        let given_up: Vec<String> = served.into_iter().filter(|queue| leaves || !queues.contains(queue)).collect();
        if given_up.is_empty() && (!signs_in || leaves) {
            return Ok(None);
        }
        let (what, leads) = match signs_in {
            true => (DutyLeave::SignIn, user.has(&[Role::Leader, Role::Manager])),
            false => (DutyLeave::SignOut, false),
        };
        let read = async {
            let shifts = store.shifts(now, now + EARLY_MS).await?;
            let has_leave = leads || store.duty_allowed(who, what, now).await?.is_some();
            // Work goes along from queue to queue.
            let urgent = match leaves {
                true => store.work_own(who).await?.iter().filter(|w| w.urgency <= URGENT).count(),
                false => 0,
            };
            Ok((shifts, urgent, has_leave))
        };
        let (shifts, urgent, has_leave, unread) = match soon(read).await {
            // Callers wait for relief, and what is owed can't be seen to either way.
            Err(e) if signs_in && is_away(&e) => (Vec::new(), 0, false, true),
            read => {
                let (shifts, urgent, has_leave) = read?;
                (shifts, urgent, has_leave, false)
            }
        };
        Ok(Some(Self { who, shifts, urgent, has_leave, given_up, unread }))
    }

    /// Refuses what duty forbids. The caller holds `Services::duty` until the change is made, so that two people
    /// can't both leave because of each other.
    pub(super) async fn judge(&self, api: &Api, user: &User) -> Result<(), ApiError> {
        let refused = |r: duty::Refusal| ApiError::conflict(r.to_string());
        if !self.given_up.is_empty() {
            let others = relief(&api.sv.acd.view().await, &self.given_up, &self.who.to_string());
            return duty::sign_out(&self.shifts, self.urgent, others, self.has_leave, now_ms()).map_err(refused);
        }
        if self.unread {
            warn!(operator = %self.who, "班次未核对即签到 / signed in while the database is away, unseen by any shift");
            let (sv, who) = (Arc::clone(&api.sv), user.0.clone());
            api.sv.calls.spawn(async move {
                let object = format!("user:{}", who.id);
                for _ in 0..AUDIT_TRIES {
                    if audit(&sv, &who, "sign_in_unjudged", &object, None).await.is_ok() {
                        return;
                    }
                    tokio::time::sleep(AUDIT_PAUSE).await;
                }
                error!(operator = %who.id, "a sign-in nobody judged is in no audit");
            });
            return Ok(());
        }
        if duty::sign_in(&self.shifts, self.who, self.has_leave, now_ms()).map_err(refused)? == Grounds::Leave {
            audit(&api.sv, &user.0, "sign_in_by_leave", &format!("user:{}", self.who), None).await?;
        }
        Ok(())
    }
}

/// The queues somebody who is signed in serves.
pub(super) fn served(queues: &[QueueView], who: &str) -> Vec<String> {
    let off = OperatorState::Off.as_str();
    let serves = |q: &&QueueView| q.operators.iter().any(|o| o.id == who && o.state != off);
    queues.iter().filter(serves).map(|q| q.name.clone()).collect()
}

/// How many others stay in the emptiest of these queues: signed in, with a phone, not away, and not about to leave
/// themselves.
fn relief(queues: &[QueueView], given_up: &[String], me: &str) -> usize {
    let off = OperatorState::Off.as_str();
    let gone = [off, OperatorState::Away.as_str(), OperatorState::DeviceFault.as_str()];
    let stays = |o: &&OperatorView| {
        o.id != me && o.registered && !gone.contains(&o.state.as_str()) && o.next.as_deref() != Some(off)
    };
    let others = |name: &String| {
        let queue = queues.iter().find(|q| q.name == *name);
        queue.map_or(0, |q| q.operators.iter().filter(stays).count())
    };
    given_up.iter().map(others).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, operators: &[(&str, &str)]) -> QueueView {
        let operator = |(id, state): &(&str, &str)| OperatorView {
            id: (*id).into(),
            name: String::new(),
            state: (*state).into(),
            reason: String::new(),
            since: 0,
            registered: true,
            call: None,
            next: None,
            engaged: false,
            wrap_until: None,
            skills: Vec::new(),
        };
        let operators = operators.iter().map(operator).collect();
        QueueView { name: name.into(), open: true, waiting: 0, operators }
    }

    #[test]
    fn relief_sits_in_the_very_queue_that_is_left() {
        let queues = [queue("main", &[("zhang", "ready"), ("li", "off")]), queue("watch", &[("wang", "ready")])];
        let left = |queue: &str| relief(&queues, &[queue.to_owned()], "zhang");
        assert_eq!((left("main"), left("watch"), left("nowhere")), (0, 1, 0));
        assert_eq!(relief(&queues, &["watch".into(), "main".into()], "zhang"), 0, "the emptiest counts");
        assert_eq!(served(&queues, "zhang"), ["main"]);
        assert!(served(&queues, "li").is_empty());
    }
}
