//! The sender: takes due texts from their rows, gives each to a line, and writes down what became of it.
//!
//! A text leaves at least once: when nobody knows whether it left, it is sent again, up to
//! `sms.attempts_max` times. A text with `once` leaves at most once: unless a line says that nothing
//! left, its row stays leased and becomes 未知.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, Outgoing};
use rand::Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::limits::{AVOID_MS, LEASE_MS, LINES_TRIED_MAX, OUTGOING_EVERY_MS, SEND_WAIT_MS, SENDING_MAX, STOP_WAIT_MS};
use super::line::{Fault, Outcome, Text};
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::Sms;
use crate::patience::patiently;
use crate::privacy::Pii;

/// Runs until cancelled.
pub async fn run(sv: Arc<Services>) {
    let places = Arc::new(Semaphore::new(SENDING_MAX));
    let mut sending = JoinSet::new();
    loop {
        while sending.try_join_next().is_some() {}
        let free = places.available_permits();
        // Claimed only when somebody could take them: a lease shouldn't run while a text waits here.
        let can_send = free > 0 && sv.sms.iter().any(|l| l.state.links() > 0);
        let rows = if can_send { claim(&sv, free).await } else { Vec::new() };
        let is_idle = rows.is_empty();
        for row in rows {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let sv = Arc::clone(&sv);
            sending.spawn(async move {
                send(&sv, row).await;
                drop(place);
            });
        }
        if is_idle {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(OUTGOING_EVERY_MS)) => {}
                () = sv.cancel.cancelled() => break,
            }
        }
    }
    // The lines say what became of what they had; whatever isn't written down waits for its lease.
    let written = async { while sending.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_millis(STOP_WAIT_MS), written).await;
}

async fn claim(sv: &Services, free: usize) -> Vec<Outgoing> {
    let limit = i64::try_from(free).unwrap_or(1);
    sv.store.outgoing_claim("sms", now_ms(), LEASE_MS, limit).await.unwrap_or_else(|e| {
        warn!(error = %e, "outgoing texts");
        Vec::new()
    })
}

/// What a row's fate is after one outcome.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Submitted(Vec<String>),
    /// Another line may take it now.
    OtherLine(String),
    /// Later.
    Later(String),
    Failed(String),
    /// Its lease runs out, and then it counts as unknown.
    Leave,
}

fn next(outcome: Outcome, once: bool, attempts: i64, attempts_max: i64) -> Next {
    let last = attempts >= attempts_max;
    match outcome {
        Outcome::Accepted { provider_ids } => Next::Submitted(provider_ids),
        Outcome::Refused { code, fault: Fault::Text } => Next::Failed(code),
        Outcome::Refused { code, fault: Fault::Line | Fault::Passing } => Next::OtherLine(code),
        Outcome::Throttled => Next::OtherLine("流量控制 / flow control".into()),
        Outcome::NotSent { error } => Next::OtherLine(error),
        // Twice is worse than never.
        Outcome::Unknown { .. } if once => Next::Leave,
        Outcome::Unknown { error } if last => Next::Failed(format!("{error};不知是否送出 / it may have left")),
        Outcome::Unknown { error } => Next::Later(error),
    }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Throttled => "throttled",
        Outcome::Refused { .. } => "refused",
        Outcome::NotSent { .. } => "not_sent",
        Outcome::Unknown { .. } => "unknown",
    }
}

async fn send(sv: &Services, row: Outgoing) {
    let text = match text_of(sv, &row) {
        Ok(text) => text,
        Err(e) => return write(sv, &row, "", Next::Failed(e)).await,
    };
    let mut tried: Vec<String> = Vec::new();
    let deadline = Instant::now() + Duration::from_millis(SEND_WAIT_MS);
    let mut why = "没有可用线路 / no line is up".to_owned();
    while tried.len() < LINES_TRIED_MAX {
        let now = now_ms();
        let Some(line) = sv.sms.choose(row.line.as_deref(), &tried, now, &mut rand::rng()) else { break };
        let outcome = line.send(text.clone(), deadline).await;
        sv.metrics.sms.sent(&line.name, word(&outcome));
        // A line that refuses our account or doesn't answer: others first.
        if matches!(outcome, Outcome::Refused { fault: Fault::Line, .. } | Outcome::Unknown { .. }) {
            line.state.avoid_until(now_ms() + AVOID_MS);
        }
        match next(outcome, row.once, row.attempts, sv.config.sms.attempts_max) {
            Next::OtherLine(reason) => {
                why = format!("{}: {reason}", line.name);
                tried.push(line.name.clone());
            }
            fate => return write(sv, &row, &line.name, fate).await,
        }
    }
    write(sv, &row, "", Next::Later(why)).await;
}

fn text_of(sv: &Services, row: &Outgoing) -> Result<Text, String> {
    let to = sv.sealer.open_sealed(&row.to_sealed).map_err(|e| e.to_string())?;
    Ok(Text {
        to: Pii::new(to),
        text: Pii::new(row.text.clone()),
        template: row.template.clone(),
        params: row.params.0.clone(),
        reference: rand::random(),
        expires_at: row.expires_at,
    })
}

async fn write(sv: &Services, row: &Outgoing, line: &str, fate: Next) {
    let written = match fate {
        Next::Submitted(ids) => {
            patiently("text submitted", || sv.store.outgoing_submitted(row.id, line, &ids, now_ms())).await
        }
        Next::OtherLine(why) | Next::Later(why) => {
            let pause = pause_ms(row.attempts, &sv.config.sms, &mut rand::rng());
            info!(text = %row.id, why, pause_ms = pause, "a text will be tried again");
            patiently("text put back", || sv.store.outgoing_retry(row, now_ms() + pause, &why)).await
        }
        Next::Failed(why) => {
            warn!(text = %row.id, why, "a text failed");
            patiently("text failed", || sv.store.outgoing_failed(row, &why)).await
        }
        Next::Leave => Ok(true),
    };
    told(row, written);
}

fn told(row: &Outgoing, written: Result<bool, DbError>) {
    if let Err(e) = written {
        // The lease runs out; without `once` it is sent again.
        warn!(text = %row.id, error = %e, "a text's row was not updated");
    }
}

/// Equal jitter around a doubled pause.
fn pause_ms(attempts: i64, sms: &Sms, rng: &mut impl Rng) -> i64 {
    let doubled = sms.retry_ms.saturating_mul(1 << attempts.clamp(1, 20).unsigned_abs().saturating_sub(1));
    let ceiling = doubled.min(sms.retry_max_ms).max(2);
    i64::try_from(rng.random_range(ceiling / 2..=ceiling)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_left_is_sent_again_only_where_twice_is_no_harm() {
        let unknown = || Outcome::Unknown { error: "cut".into() };
        assert_eq!(next(unknown(), true, 1, 5), Next::Leave);
        assert_eq!(next(unknown(), false, 1, 5), Next::Later("cut".into()));
        assert!(matches!(next(unknown(), false, 5, 5), Next::Failed(_)));
        let not_sent = Outcome::NotSent { error: "down".into() };
        assert_eq!(next(not_sent, true, 1, 5), Next::OtherLine("down".into()), "nothing left: another line may");
        let refused = |fault| Outcome::Refused { code: "13".into(), fault };
        assert_eq!(next(refused(Fault::Text), false, 1, 5), Next::Failed("13".into()));
        assert_eq!(next(refused(Fault::Line), true, 1, 5), Next::OtherLine("13".into()));
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let sms = Sms { retry_ms: 100, retry_max_ms: 1_000, ..Sms::default() };
        let mut rng = rand::rng();
        assert!((50..=100).contains(&pause_ms(1, &sms, &mut rng)));
        for attempts in 5..80 {
            assert!((500..=1_000).contains(&pause_ms(attempts, &sms, &mut rng)));
        }
    }
}
