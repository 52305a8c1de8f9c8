//! Signing in and out, judged by the shifts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DutyLeave, Id, Shift};
use tracing::{error, warn};

use super::auth::{Role, User};
use super::error::ApiError;
use super::seen::{is_away, soon};
use super::{Api, audit};
use crate::acd::{OperatorState, OperatorView};
use crate::clock::now_ms;
use crate::duty::{self, EARLY_MS, Grounds, URGENT};

/// A sign-in while the database is away is audited once it is back, if that is within half an hour.
const AUDIT_TRIES: u32 = 180;
const AUDIT_PAUSE: Duration = Duration::from_secs(10);

/// What counts when somebody signs in or out, read before anybody waits for it.
pub(super) struct Brief {
    who: Id,
    shifts: Vec<Shift>,
    urgent: usize,
    has_leave: bool,
    leaves: bool,
    /// The database couldn't say.
    unread: bool,
}

impl Brief {
    /// For a change of state; `None` when nobody signs in or out by it.
    pub(super) async fn of(api: &Api, user: &User, state: OperatorState) -> Result<Option<Self>, ApiError> {
        let (store, now, who) = (&api.sv.store, now_ms(), user.0.id);
        let me = who.to_string();
        let leaves = state == OperatorState::Off;
        let was_in = operators(api).await.iter().any(|o| o.id == me && o.state != OperatorState::Off.as_str());
        if was_in != leaves {
            return Ok(None);
        }
        let (what, leads) = match leaves {
            true => (DutyLeave::SignOut, false),
            false => (DutyLeave::SignIn, user.has(&[Role::Leader, Role::Manager])),
        };
        let read = async {
            let shifts = store.shifts(now, now + EARLY_MS).await?;
            let has_leave = leads || store.duty_allowed(who, what, now).await?.is_some();
            let urgent = match leaves {
                true => store.work_own(who).await?.iter().filter(|w| w.urgency <= URGENT).count(),
                false => 0,
            };
            Ok(Self { who, shifts, urgent, has_leave, leaves, unread: false })
        };
        match soon(read).await {
            // Callers wait for relief, and what is owed can't be seen to either way.
            Err(e) if !leaves && is_away(&e) => {
                let (shifts, urgent, has_leave) = (Vec::new(), 0, false);
                Ok(Some(Self { who, shifts, urgent, has_leave, leaves, unread: true }))
            }
            read => Ok(Some(read?)),
        }
    }

    /// Refuses what duty forbids. The caller holds `Services::duty` until the change is made, so that two people
    /// can't both leave because of each other.
    pub(super) async fn judge(&self, api: &Api, user: &User) -> Result<(), ApiError> {
        let refused = |r: duty::Refusal| ApiError::conflict(r.to_string());
        if self.leaves {
            let others = relief(&operators(api).await, &self.who.to_string());
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

async fn operators(api: &Api) -> Vec<OperatorView> {
    api.sv.acd.view().await.into_iter().flat_map(|q| q.operators).collect()
}

/// How many others stay: signed in, with a phone, not away, and not about to leave themselves.
fn relief(operators: &[OperatorView], me: &str) -> usize {
    let off = OperatorState::Off.as_str();
    let gone = [off, OperatorState::Away.as_str(), OperatorState::DeviceFault.as_str()];
    let stays = |o: &&OperatorView| {
        o.id != me && o.registered && !gone.contains(&o.state.as_str()) && o.next.as_deref() != Some(off)
    };
    operators.iter().filter(stays).map(|o| o.id.as_str()).collect::<BTreeSet<_>>().len()
}
