//! `/healthz`: can the gateway take a call right now?

use serde::Serialize;

use crate::app::Services;

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
    problems.extend(sv.intake.journal.problem());
    let status = match (database.is_ok(), problems.is_empty()) {
        (true, true) => "ok",
        (true, false) => "degraded",
        (false, _) => "down",
    };
    Health { status: status.into(), problems, version: env!("CARGO_PKG_VERSION").into() }
}
