//! Places the calls that are due and writes what came of them.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{
    CallbackKind, CallbackResult, CallbackTask, DbError, HandoffKind, Id, NewAttempt, NewHandoff, NewSurvey, Solved,
};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::verdict::{Answers, Decision, decide, read};
use crate::app::{Services, now_ms};
use crate::call::{Finished, SHUTDOWN, outbound};
use crate::privacy::Pii;

/// A claimed task is ours for so long without renewal; after a crash it is free again.
const LEASE_MS: i64 = 120_000;
/// A task at work renews its lease so often.
const RENEW_EVERY: Duration = Duration::from_secs(30);
/// A task that must wait for an operator is looked at again after so long.
const NO_OPERATOR_PAUSE_MS: i64 = 2_000;

/// Runs until cancelled.
pub async fn run(sv: Arc<Services>) {
    let slots = Arc::new(Semaphore::new(sv.config.callback.concurrent_max.max(1)));
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
            let sv = Arc::clone(&sv);
            sv.calls.clone().spawn(async move {
                let id = task.id;
                tokio::select! {
                    served = serve(&sv, task) => if let Err(e) = served {
                        // The lease runs out and the task comes back.
                        warn!(task = %id, error = %e, "callback not written");
                    },
                    () = renew(&sv, id) => {}
                }
                drop(slot);
            });
        }
    }
}

/// Keeps the lease for as long as the call takes; never ends by itself.
async fn renew(sv: &Services, task: Id) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        if let Err(e) = sv.store.callback_renew(task, now_ms() + LEASE_MS).await {
            warn!(task = %task, error = %e, "lease not renewed");
        }
    }
}

async fn serve(sv: &Arc<Services>, task: CallbackTask) -> Result<(), DbError> {
    let now = now_ms();
    if task.kind == CallbackKind::CaseFinished {
        let allowed = sv.rules.next_allowed(now);
        if allowed > now {
            return sv.store.callback_postpone(task.id, allowed).await.map(drop);
        }
    } else if !operator_idle(sv).await {
        // Calling a citizen back into an empty queue would be a second miss.
        return sv.store.callback_postpone(task.id, now + NO_OPERATOR_PAUSE_MS).await.map(drop);
    }
    let Some(number) = number_of(sv, &task).await? else {
        return sv.store.callback_finish(task.id, CallbackResult::Exempt, now).await.map(drop);
    };
    info!(task = %task.id, kind = task.kind.as_str(), attempt = task.attempt_no + 1, to = %number, "calling back");
    match outbound(Arc::clone(sv), task.clone(), number).await {
        Ok(finished) => conclude(sv, &task, finished).await,
        Err(why) => {
            // A failure of ours uses up no attempt.
            warn!(task = %task.id, why, "callback not placed");
            let attempt = NewAttempt {
                call: None,
                at: now_ms(),
                outcome: "not_placed".into(),
                next_at: Some(again(sv, &task, now_ms())),
                counts: false,
            };
            sv.store.callback_attempt(task.id, attempt).await.map(drop)
        }
    }
}

async fn operator_idle(sv: &Services) -> bool {
    let queues = sv.acd.view().await;
    queues.iter().any(|q| q.waiting == 0 && q.operators.iter().any(|o| o.registered && o.state == "ready"))
}

async fn number_of(sv: &Services, task: &CallbackTask) -> Result<Option<Pii<String>>, DbError> {
    let sealed = match (&task.phone_sealed, task.party) {
        (Some(sealed), _) => Some(sealed.clone()),
        (None, Some(party)) => sv.store.party_get(party).await?.and_then(|p| p.phone_sealed),
        (None, None) => None,
    };
    let Some(sealed) = sealed else { return Ok(None) };
    match sv.sealer.open_sealed(&sealed) {
        Ok(number) => Ok(Some(Pii::new(number))),
        Err(e) => {
            warn!(task = %task.id, error = %e, "the citizen's number can't be opened");
            Ok(None)
        }
    }
}

async fn conclude(sv: &Services, task: &CallbackTask, finished: Finished) -> Result<(), DbError> {
    let at = now_ms();
    if task.kind == CallbackKind::CaseFinished {
        return conclude_survey(sv, task, &finished, at).await;
    }
    if finished.talked {
        let attempt = attempt_of(&finished, at, "talked", None, true);
        sv.store.callback_attempt(task.id, attempt).await?;
        return sv.store.callback_finish(task.id, CallbackResult::Reached, at).await.map(drop);
    }
    retry_or_give_up(sv, task, &finished, at, sv.rules.after_missed_attempt(task.attempt_no + 1, at)).await
}

async fn conclude_survey(sv: &Services, task: &CallbackTask, finished: &Finished, at: i64) -> Result<(), DbError> {
    let answers = read(&finished.verdict);
    if answers.later || finished.reason == "call_later" {
        let attempt = attempt_of(finished, at, "later", Some(sv.rules.postponed(at)), false);
        return sv.store.callback_attempt(task.id, attempt).await.map(drop);
    }
    let decision = decide(&answers);
    if decision == Decision::None {
        return retry_or_give_up(sv, task, finished, at, sv.rules.after_attempt(task.attempt_no + 1, at)).await;
    }
    sv.store.callback_attempt(task.id, attempt_of(finished, at, "answered", None, true)).await?;
    let survey = survey_of(task, finished, &answers, at);
    let payload = serde_json::json!({ "satisfied": answers.satisfied, "solved": answers.solved, "at": at });
    let (kind, word) =
        if decision == Decision::Close { (HandoffKind::Close, "close") } else { (HandoffKind::Reopen, "reopen") };
    let handoff = NewHandoff {
        target: sv.config.casecore.kind.clone(),
        kind,
        payload,
        // The task decides once, however often the transaction is tried.
        idempotency_key: Some(format!("{word}-{}", task.id)),
    };
    sv.store.survey_store(survey, Some(handoff)).await?;
    info!(task = %task.id, decision = word, "verdict stored");
    Ok(())
}

fn survey_of(task: &CallbackTask, finished: &Finished, answers: &Answers, at: i64) -> NewSurvey {
    NewSurvey {
        task: Some(task.id),
        call: Some(finished.call),
        item: task.item,
        contacted: answers.contacted,
        solved: answers.solved.as_deref().map(|s| match s {
            "yes" => Solved::Yes,
            "partly" => Solved::Partly,
            _ => Solved::No,
        }),
        satisfied: answers.satisfied,
        may_close: answers.may_close,
        reason: None,
        reason_recording: finished.reasons,
        at,
    }
}

async fn retry_or_give_up(
    sv: &Services,
    task: &CallbackTask,
    finished: &Finished,
    at: i64,
    next: Option<i64>,
) -> Result<(), DbError> {
    let outcome = outcome_word(finished);
    // 5xx or our own stop: not the citizen's doing; it uses up no attempt.
    let ours = matches!(finished.failed, Some(500..=599)) || finished.reason == SHUTDOWN;
    if ours {
        let attempt = attempt_of(finished, at, &outcome, Some(again(sv, task, at)), false);
        return sv.store.callback_attempt(task.id, attempt).await.map(drop);
    }
    sv.store.callback_attempt(task.id, attempt_of(finished, at, &outcome, next, true)).await?;
    if next.is_none() {
        info!(task = %task.id, "attempts used up: 无法联系");
        sv.store.callback_finish(task.id, CallbackResult::Unreachable, at).await?;
    }
    Ok(())
}

/// When a task is tried again after a failure of ours.
fn again(sv: &Services, task: &CallbackTask, at: i64) -> i64 {
    if task.kind == CallbackKind::CaseFinished { sv.rules.postponed(at) } else { sv.rules.missed_again(at) }
}

fn outcome_word(finished: &Finished) -> String {
    match finished.failed {
        Some(486 | 600) => "busy".into(),
        Some(408 | 480 | 487) => "no_answer".into(),
        Some(code) => format!("failed_{code}"),
        None if finished.answered => "no_verdict".into(),
        None => "no_answer".into(),
    }
}

fn attempt_of(finished: &Finished, at: i64, outcome: &str, next_at: Option<i64>, counts: bool) -> NewAttempt {
    NewAttempt { call: Some(finished.call), at, outcome: outcome.into(), next_at, counts }
}
