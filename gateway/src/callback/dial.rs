//! Places the calls that are due.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{CallbackKind, CallbackResult, CallbackTask, DbError, Id, NewAttempt};
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::conclude::{conclude, finish, not_placed};
use super::places::{Places, Promise};
use super::schedule::Owed;
use super::unreached::{text, wait_or_end};
use crate::app::Services;
use crate::call::{has_trunk, outbound};
use crate::clock::now_ms;
use crate::dialout::{self, Purpose, Refusal, Wish, judge};
use crate::patience::patiently;
use crate::privacy::{Pii, SealError};

/// A claimed task is ours for so long without renewal; after a crash it is free again.
pub(super) const LEASE_MS: i64 = 120_000;
/// A task at work renews its lease so often.
const RENEW_EVERY: Duration = Duration::from_secs(30);
/// A task that must wait for an operator is looked at again after so long.
const NO_OPERATOR_PAUSE_MS: i64 = 2_000;

/// Runs until cancelled.
pub async fn run(sv: Arc<Services>) {
    let slots = Arc::new(Semaphore::new(sv.config.callback.concurrent_max.max(1)));
    let places = Arc::new(Places::default());
    let pause = Duration::from_millis(sv.config.callback.poll_ms.max(50));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = sv.cancel.cancelled() => return,
        }
        let free = i64::try_from(slots.available_permits()).unwrap_or(0);
        if free == 0 || sv.calls.is_closed() {
            continue;
        }
        let due = match sv.store.callback_claim(now_ms(), LEASE_MS, free).await {
            Ok(due) => due,
            Err(e) => {
                warn!(error = %e, "callback tasks");
                continue;
            }
        };
        for task in due {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let (sv, places) = (Arc::clone(&sv), Arc::clone(&places));
            sv.calls.clone().spawn(async move {
                let id = task.id;
                tokio::select! {
                    served = serve(&sv, &places, task) => if let Err(e) = served {
                        // The lease runs out and the task comes back.
                        error!(task = %id, error = %e, "callback not written");
                    },
                    () = renew(&sv, id) => {}
                }
                drop(slot);
            });
        }
    }
}

/// Keeps the lease for as long as the call takes; never ends by itself.
pub(super) async fn renew(sv: &Services, task: Id) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        if let Err(e) = sv.store.callback_renew(task, now_ms() + LEASE_MS).await {
            warn!(task = %task, error = %e, "lease not renewed");
        }
    }
}

async fn serve(sv: &Arc<Services>, places: &Arc<Places>, task: CallbackTask) -> Result<(), DbError> {
    let now = now_ms();
    // The calls are over; only the answer by link is waited for.
    if task.attempt_no > 0
        && let Some(link) = sv.store.survey_link_of(task.id).await?
    {
        return wait_or_end(sv, &task, &link, now).await;
    }
    let allowed = sv.rules.next_for(Owed::of(&task), now);
    if allowed > now {
        return sv.store.callback_postpone(task.id, allowed).await.map(drop);
    }
    let number = match number_of(sv, &task).await? {
        None => {
            let attempt = NewAttempt { call: None, at: now, outcome: "no_number".into(), next_at: None, counts: true };
            if text(sv, &task, &attempt).await? {
                return Ok(());
            }
            return patiently("exempt", || exempt(sv, task.id, now)).await;
        }
        Some(Ok(number)) => number,
        Some(Err(e)) => {
            // A key of ours is wrong or missing: the citizen is still owed the call.
            error!(task = %task.id, error = %e, "the citizen's number can't be opened: restore secret.key");
            return not_placed(sv, &task).await;
        }
    };
    let purpose = Purpose::Task(Owed::of(&task));
    if judge(&sv.config, &sv.rules, purpose, number.reveal(), now).is_err_and(Refusal::is_final) {
        // Asked for all the same: the refusal leaves its row.
        let refused = permit(sv, &task, purpose, number.reveal()).await.err();
        error!(task = %task.id, to = %number, ?refused, "the number may not be dialled: 无法联系; see [dialout]");
        let attempt =
            NewAttempt { call: None, at: now, outcome: "number_not_allowed".into(), next_at: None, counts: false };
        return finish(sv, &task, CallbackResult::Unreachable, attempt).await;
    }
    let mut promise = None;
    if task.kind != CallbackKind::CaseFinished {
        promise = promised(sv, places, &task).await?;
        if promise.is_none() {
            // Calling a citizen back into an empty queue would be a second miss.
            return sv.store.callback_postpone(task.id, now + NO_OPERATOR_PAUSE_MS).await.map(drop);
        }
    }
    if let Err(why) = has_trunk(sv, purpose, number.reveal()) {
        warn!(task = %task.id, %why, "callback not placed");
        return not_placed(sv, &task).await;
    }
    let permit = match Box::pin(permit(sv, &task, purpose, number.reveal())).await {
        Ok(permit) => permit,
        Err(refusal) => return wait_for_leave(sv, &task, refusal).await,
    };
    info!(task = %task.id, kind = task.kind.as_str(), attempt = task.attempt_no + 1, to = %number, "calling back");
    // Boxed, all three: the task waits through the whole call.
    let placed = Box::pin(outbound(Arc::clone(sv), task.clone(), number, permit)).await;
    drop(promise);
    match placed {
        Ok(finished) => Box::pin(conclude(sv, &task, finished)).await,
        Err(why) => {
            warn!(task = %task.id, why, "callback not placed");
            not_placed(sv, &task).await
        }
    }
}

async fn permit(
    sv: &Services,
    task: &CallbackTask,
    purpose: Purpose,
    number: &str,
) -> Result<dialout::Permit, Refusal> {
    dialout::permit(sv, Wish { purpose, number, task: Some(task), call: None, operator: None }).await
}

/// The citizen is still owed the call: tomorrow, when the day's calls are used up, else soon.
async fn wait_for_leave(sv: &Services, task: &CallbackTask, refusal: Refusal) -> Result<(), DbError> {
    let now = now_ms();
    let next_at = match refusal {
        Refusal::DailyTotal | Refusal::DailyNumber | Refusal::DailyOperator => {
            sv.rules.next_for(Owed::of(task), sv.rules.tomorrow(now))
        }
        Refusal::NoTask => return Ok(()),
        _ => sv.rules.next_for(Owed::of(task), now + NO_OPERATOR_PAUSE_MS),
    };
    sv.store.callback_postpone(task.id, next_at).await.map(drop)
}

async fn exempt(sv: &Services, task: Id, at: i64) -> Result<(), DbError> {
    sv.store.callback_finish(task, CallbackResult::Exempt, None, at).await.map(drop)
}

/// An operator for this task that no other callback counts on.
async fn promised(sv: &Services, places: &Arc<Places>, task: &CallbackTask) -> Result<Option<Promise>, DbError> {
    // The queue an outgoing call ends up in.
    let queue = sv.config.first_queue();
    let Some(mut view) = sv.acd.view().await.into_iter().find(|q| q.name == queue) else { return Ok(None) };
    // Nobody is called for an operator who is named by what they reported (回避).
    let recused = sv.store.citizen_recused(task.party, task.call).await?;
    view.operators.retain(|o| recused.iter().all(|id| id.to_string() != o.id));
    let calls = if places.is_empty() { Vec::new() } else { sv.store.calls_open(None).await? };
    Ok(places.promise(task.id, task.party, &view, &calls))
}

/// `None`: there is nobody to call.
pub(super) async fn number_of(
    sv: &Services,
    task: &CallbackTask,
) -> Result<Option<Result<Pii<String>, SealError>>, DbError> {
    let sealed = match (&task.phone_sealed, task.party) {
        (Some(sealed), _) => Some(sealed.clone()),
        (None, Some(party)) => sv.store.party_get(party).await?.and_then(|p| p.phone_sealed),
        (None, None) => None,
    };
    Ok(sealed.map(|sealed| sv.sealer.open_sealed(&sealed).map(Pii::new)))
}
