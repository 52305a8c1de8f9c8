//! What came of a call becomes rows: the attempt and its result, together or not at all.

use hotline_db::{CallbackKind, CallbackResult, CallbackTask, DbError, HandoffKind, NewAttempt, NewHandoff, NewSurvey};
use hotline_db::{LATER, OPERATOR_LEFT, PHONE_FAILED, Solved, Survey};
use tracing::{info, warn};

use super::verdict::{Answers, Decision, decide, read};
use crate::app::Services;
use crate::call::{Finished, SHUTDOWN, Spoilt};
use crate::clock::now_ms;
use crate::patience::patiently;

pub(super) async fn conclude(sv: &Services, task: &CallbackTask, finished: Finished) -> Result<(), DbError> {
    let at = now_ms();
    if task.kind == CallbackKind::CaseFinished {
        return conclude_survey(sv, task, &finished, at).await;
    }
    // Who was not reached was talked with by nobody, whatever the phones did.
    if finished.talked && finished.failed.is_none() {
        return finish(sv, task, CallbackResult::Reached, attempt_of(&finished, at, "talked", None, true)).await;
    }
    retry_or_give_up(sv, task, &finished, at, sv.rules.after_missed_attempt(task.attempt_no + 1, at)).await
}

/// The attempt and the result it led to.
pub(super) async fn finish(
    sv: &Services,
    task: &CallbackTask,
    result: CallbackResult,
    attempt: NewAttempt,
) -> Result<(), DbError> {
    let at = attempt.at;
    let write = || sv.store.callback_finish(task.id, result, Some(attempt.clone()), at);
    if !patiently("callback result", write).await? {
        info!(task = %task.id, "the task had its result already");
    }
    Ok(())
}

/// An attempt without a result: the task waits for its next time.
pub(super) async fn note(sv: &Services, task: &CallbackTask, attempt: NewAttempt) -> Result<(), DbError> {
    patiently("callback attempt", || sv.store.callback_attempt(task.id, attempt.clone())).await.map(drop)
}

/// No call came about and the reason is ours: no attempt is used up.
pub(super) async fn not_placed(sv: &Services, task: &CallbackTask) -> Result<(), DbError> {
    let at = now_ms();
    let next_at = Some(again(sv, task, at));
    note(sv, task, NewAttempt { call: None, at, outcome: "not_placed".into(), next_at, counts: false }).await
}

async fn conclude_survey(sv: &Services, task: &CallbackTask, finished: &Finished, at: i64) -> Result<(), DbError> {
    let answers = read(&finished.verdict);
    if answers.later || finished.reason == "call_later" {
        return note(sv, task, attempt_of(finished, at, LATER, Some(sv.rules.postponed(at)), false)).await;
    }
    let decision = decide(&answers);
    if decision == Decision::None {
        return retry_or_give_up(sv, task, finished, at, sv.rules.after_attempt(task.attempt_no + 1, at)).await;
    }
    let (handoff, word) = handoff_of(sv, task, &answers, decision, at);
    let attempt = attempt_of(finished, at, "answered", None, true);
    let survey = survey_of(task, finished, &answers, at);
    store_verdict(&sv.store, survey, handoff, attempt).await?;
    info!(task = %task.id, decision = word, "verdict stored");
    Ok(())
}

/// The verdict a citizen gave by a link instead of a call; `Conflict` when the task has its result already.
pub async fn by_link(
    sv: &Services,
    task: &CallbackTask,
    answers: &Answers,
    reason: Option<String>,
) -> Result<(), DbError> {
    let at = now_ms();
    let decision = decide(answers);
    if decision == Decision::None {
        return Err(DbError::Invalid { field: "satisfied", why: "no verdict".into() });
    }
    let (handoff, word) = handoff_of(sv, task, answers, decision, at);
    let attempt = NewAttempt { call: None, at, outcome: "answered_by_link".into(), next_at: None, counts: true };
    let survey = NewSurvey { task: Some(task.id), item: task.item, reason, ..answers_of(answers, at) };
    try_verdict(&sv.store, &survey, &handoff, &attempt).await?;
    info!(task = %task.id, decision = word, "verdict stored");
    Ok(())
}

fn handoff_of(
    sv: &Services,
    task: &CallbackTask,
    answers: &Answers,
    decision: Decision,
    at: i64,
) -> (NewHandoff, &'static str) {
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
    (handoff, word)
}

/// The verdict with all that follows from it. One that a lost answer made look unwritten is found again.
async fn store_verdict(
    store: &hotline_db::Store,
    mut survey: NewSurvey,
    handoff: NewHandoff,
    attempt: NewAttempt,
) -> Result<(), DbError> {
    let tried = try_verdict(store, &survey, &handoff, &attempt).await;
    let outcome = match tried {
        Err(DbError::NotFound) if survey.reason_recording.is_some() => {
            warn!(task = ?survey.task, "the spoken reasons have no row: the verdict is stored without them");
            survey.reason_recording = None;
            try_verdict(store, &survey, &handoff, &attempt).await
        }
        outcome => outcome,
    };
    match (outcome, survey.task) {
        (Err(DbError::Conflict(why)), Some(task)) => match store.survey_of_task(task).await? {
            Some(known) if known.call == survey.call => Ok(()),
            _ => Err(DbError::Conflict(why)),
        },
        (outcome, _) => outcome.map(drop),
    }
}

async fn try_verdict(
    store: &hotline_db::Store,
    survey: &NewSurvey,
    handoff: &NewHandoff,
    attempt: &NewAttempt,
) -> Result<Survey, DbError> {
    patiently("verdict", || store.survey_store(survey.clone(), Some(handoff.clone()), Some(attempt.clone()))).await
}

fn survey_of(task: &CallbackTask, finished: &Finished, answers: &Answers, at: i64) -> NewSurvey {
    NewSurvey {
        task: Some(task.id),
        call: Some(finished.call),
        item: task.item,
        reason_recording: finished.reasons,
        ..answers_of(answers, at)
    }
}

fn answers_of(answers: &Answers, at: i64) -> NewSurvey {
    NewSurvey {
        contacted: answers.contacted,
        solved: answers.solved.as_deref().map(|s| match s {
            "yes" => Solved::Yes,
            "partly" => Solved::Partly,
            _ => Solved::No,
        }),
        satisfied: answers.satisfied,
        may_close: answers.may_close,
        at,
        ..NewSurvey::default()
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
    if ours(finished) {
        return note(sv, task, attempt_of(finished, at, &outcome, Some(again(sv, task, at)), false)).await;
    }
    let attempt = attempt_of(finished, at, &outcome, next, true);
    if next.is_some() {
        return note(sv, task, attempt).await;
    }
    if super::unreached::text(sv, task, &attempt).await? {
        return Ok(());
    }
    info!(task = %task.id, "attempts used up: 无法联系");
    finish(sv, task, CallbackResult::Unreachable, attempt).await
}

/// Not the citizen's doing, so no attempt is used up: 5xx, our own stop, or a trunk that let the
/// INVITE run out of time (408) without the phone ever ringing, an operator who took the call back before it rang, or
/// whose phone failed, or who left as the citizen picked up.
fn ours(finished: &Finished) -> bool {
    matches!(finished.failed, Some(500..=599))
        || (finished.failed == Some(408) && !finished.rang)
        || match finished.spoilt {
            Some(Spoilt::TakenBack) => !finished.rang,
            Some(Spoilt::PhoneFailed | Spoilt::OperatorLeft) => true,
            None => false,
        }
        || finished.reason == SHUTDOWN
}

/// When a task is tried again after a failure of ours.
fn again(sv: &Services, task: &CallbackTask, at: i64) -> i64 {
    if task.kind == CallbackKind::CaseFinished { sv.rules.postponed(at) } else { sv.rules.missed_again(at) }
}

fn outcome_word(finished: &Finished) -> String {
    match finished.spoilt {
        Some(Spoilt::TakenBack) => return "taken_back".into(),
        Some(Spoilt::PhoneFailed) => return PHONE_FAILED.into(),
        Some(Spoilt::OperatorLeft) => return OPERATOR_LEFT.into(),
        None => {}
    }
    match finished.failed {
        Some(486 | 600) => "busy".into(),
        Some(408) if !finished.rang => "no_response".into(),
        Some(408 | 480 | 487) => "no_answer".into(),
        Some(code) => format!("failed_{code}"),
        None if finished.answered => "no_verdict".into(),
        None => "no_answer".into(),
    }
}

fn attempt_of(finished: &Finished, at: i64, outcome: &str, next_at: Option<i64>, counts: bool) -> NewAttempt {
    NewAttempt { call: Some(finished.call), at, outcome: outcome.into(), next_at, counts }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hotline_db::{Id, Store};

    use super::*;

    fn failed(code: u16, rang: bool) -> Finished {
        Finished {
            call: Id::new(),
            answered: false,
            rang,
            talked: false,
            failed: Some(code),
            spoilt: None,
            verdict: BTreeMap::new(),
            reason: code.to_string(),
            reasons: None,
        }
    }

    #[test]
    fn a_silent_trunk_is_our_failure_and_an_unanswered_phone_is_not() {
        assert!(ours(&failed(408, false)) && outcome_word(&failed(408, false)) == "no_response");
        assert!(!ours(&failed(408, true)) && outcome_word(&failed(408, true)) == "no_answer");
        assert!(ours(&failed(503, false)));
        for code in [480, 486, 487, 603] {
            assert!(!ours(&failed(code, false)), "{code}: busy or switched off counts");
        }
        let nobody_there = Finished {
            answered: true,
            failed: None,
            spoilt: Some(Spoilt::OperatorLeft),
            reason: "hung up".into(),
            ..failed(200, true)
        };
        assert_eq!((ours(&nobody_there), outcome_word(&nobody_there).as_str()), (true, "operator_left"));
        assert!(ours(&Finished { reason: SHUTDOWN.into(), ..failed(487, true) }));
        for rang in [true, false] {
            let spoilt = |spoilt| Finished { spoilt: Some(spoilt), ..failed(487, rang) };
            let judged = |by| (ours(&spoilt(by)), outcome_word(&spoilt(by)));
            assert_eq!(judged(Spoilt::TakenBack), (!rang, "taken_back".into()));
            assert_eq!(judged(Spoilt::PhoneFailed), (true, "phone_failed".into()), "a failure of ours blames nobody");
        }
    }

    #[tokio::test]
    async fn a_verdict_written_twice_is_one_and_one_without_its_tape_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("t.db").display())).await.unwrap();
        let party = store.party_for_phone("h", &[1], "138****0001").await.unwrap();
        let new = hotline_db::NewItem {
            region: "320412".into(),
            channel: 1,
            kind: "投诉".into(),
            urgency: 3,
            title: "井盖".into(),
            detail: "井盖".into(),
            source: "operator".into(),
            party: Some(party.id),
            ..hotline_db::NewItem::default()
        };
        let (item, _) = store.item_create(new, None, 1, 480).await.unwrap();
        let asked = hotline_db::NewCallback {
            item: Some(item.id),
            party: Some(party.id),
            ..hotline_db::NewCallback::new(CallbackKind::CaseFinished, 1)
        };
        let (task, _) = store.callback_add(asked, 1).await.unwrap();
        let answers = Answers { satisfied: Some(1), ..Answers::default() };
        let tapeless = Finished { reasons: Some(Id::new()), ..failed(0, true) };
        let survey = NewSurvey { call: None, ..survey_of(&task, &tapeless, &answers, 2) };
        let handoff = NewHandoff {
            target: "ledger".into(),
            kind: HandoffKind::Close,
            payload: serde_json::json!({}),
            idempotency_key: Some("close".into()),
        };
        let attempt = NewAttempt { call: None, ..attempt_of(&tapeless, 2, "answered", None, true) };
        for _ in 0..2 {
            store_verdict(&store, survey.clone(), handoff.clone(), attempt.clone()).await.unwrap();
        }
        assert_eq!(store.surveys_of_item(item.id).await.unwrap().len(), 1);
        assert_eq!(store.callback_attempts(task.id).await.unwrap().len(), 1);
        let other = NewSurvey { call: Some(Id::new()), ..survey };
        let refused = store_verdict(&store, other, handoff, attempt).await;
        assert!(matches!(refused, Err(DbError::Conflict(_))), "{refused:?}");
    }
}
