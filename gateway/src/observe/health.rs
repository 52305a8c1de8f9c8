//! `/healthz`: can the gateway take a call right now?

use serde::Serialize;

use crate::app::Services;
use crate::clock::now_ms;

/// A conversation whose step is due for so long waits for more than the others before it.
const CONVERSATION_LATE_MS: i64 = 60_000;

/// Health for load balancers and people.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`, `degraded` (calls are taken, something else is wrong) or `down`.
    pub status: String,
    /// What is wrong, one line each.
    pub problems: Vec<String>,
    /// Version.
    pub version: String,
}

/// Looks at each part once.
pub async fn check(sv: &Services) -> Health {
    let mut problems = Vec::new();
    let database = sv.store.ping().await;
    if let Err(e) = &database {
        problems.push(format!("database: {e}"));
    }
    if let Err(e) = sv.transcription.ready() {
        problems.push(format!("transcription: {e}"));
    }
    problems.extend(sv.sms.problems());
    problems.extend(sv.metrics.mail.problems());
    problems.extend(sv.robot.problems());
    problems.extend(sv.intake.unread.problem());
    if let Ok((waiting, overdue_ms)) = sv.store.conversations_waiting(now_ms()).await
        && overdue_ms > CONVERSATION_LATE_MS
    {
        let s = overdue_ms / 1000;
        problems.push(format!("intake: {waiting} conversations wait for their step, one of them for {s} s"));
    }
    if sv.intake.journal.is_active() {
        problems.push("intake: messages wait in the journal for the database".into());
    }
    problems.extend(sv.intake.journal.problem());
    let service = sv.acd.service().map(|service| *service.borrow()).unwrap_or_default();
    problems.extend(service.problem().map(str::to_owned));
    let takes_calls = database.is_ok() && !service.is_elsewhere();
    let status = match (takes_calls, problems.is_empty()) {
        (true, true) => "ok",
        (true, false) => "degraded",
        (false, _) => "down",
    };
    Health { status: status.into(), problems, version: env!("CARGO_PKG_VERSION").into() }
}
