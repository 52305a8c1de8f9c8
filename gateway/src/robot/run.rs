//! The robot's rounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_db::{AddressKind, Json, NewOutgoing, OutgoingPurpose};
use rand::Rng;
use tracing::{error, info, warn};

use super::probe;
use super::state::{News, Run};
use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::draft;

/// An alarm's text is worth nothing after so long.
const ALARM_MS: i64 = 3_600_000;
/// The first round begins so long after the start: listeners and links come up first.
const FIRST_MS: u64 = 3_000;

/// The ways there are, in the order they are tried.
const WAYS: [&str; 5] = ["call", "web", "wechat", "sms", "mail"];

/// Tests until cancelled, if the site wants it.
pub(crate) fn spawn(sv: &Arc<Services>) {
    if sv.config.robot.every_s > 0 {
        tokio::spawn(run(Arc::clone(sv)));
    }
}

async fn run(sv: Arc<Services>) {
    let every_ms = sv.config.robot.every_s * 1_000;
    let mut pause_ms = FIRST_MS.min(every_ms);
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            () = sv.cancel.cancelled() => return,
        }
        tokio::select! {
            () = round(&sv) => {}
            () = sv.cancel.cancelled() => return,
        }
        // Several gateways don't test at the same moment.
        pause_ms = rand::rng().random_range(every_ms - every_ms / 10..=every_ms);
    }
}

async fn round(sv: &Arc<Services>) {
    for way in WAYS {
        let (at, began) = (now_ms(), Instant::now());
        let patience = Duration::from_secs(sv.config.robot.timeout_s);
        let outcome = match tokio::time::timeout(patience, probe::try_way(sv, way)).await {
            Ok(None) => continue,
            Ok(Some(outcome)) => outcome,
            Err(_) => {
                Err(format!("未在 {} 秒内收到 / nothing arrived within {} s", patience.as_secs(), patience.as_secs()))
            }
        };
        let ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let ok = outcome.is_ok();
        let why = outcome.err();
        sv.metrics.robot.ran(way, ok, ms);
        match sv.robot.note(way, Run { at, ok, ms, error: why.clone() }) {
            News::Broke => {
                let why = why.unwrap_or_default();
                error!(channel = way, why, "自检未通过 / the self-test of a channel fails");
                tell(sv, way, &format!("自检告警:{way} 渠道不通,请检查网关。")).await;
            }
            News::Mended => {
                info!(channel = way, "自检恢复 / the self-test of a channel passes again");
                tell(sv, way, &format!("自检恢复:{way} 渠道已正常。")).await;
            }
            News::None => {}
        }
    }
}

/// A text to who is to know.
async fn tell(sv: &Services, way: &str, text: &str) {
    let number = &sv.config.robot.alarm_number;
    if number.is_empty() {
        return;
    }
    let to = match draft::address(sv, AddressKind::Phone, number) {
        Ok(Some(to)) => to,
        _ => {
            warn!("robot.alarm_number is no number");
            return;
        }
    };
    let now = now_ms();
    let new = NewOutgoing {
        channel: "sms".into(),
        line: None,
        to,
        template: "robot".into(),
        params: Json(serde_json::json!({"channel": way})),
        text: text.into(),
        purpose: OutgoingPurpose::Page,
        dedup_key: None,
        conversation: None,
        item: None,
        party: None,
        once: false,
        test: false,
        next_at: now,
        expires_at: now + ALARM_MS,
    };
    if let Err(e) = sv.store.outgoing_add(new, now).await {
        warn!(error = %e, "the self-test's alarm isn't written");
    }
}
