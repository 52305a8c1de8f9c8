//! Status reports: what a carrier says became of a text.

use hotline_db::{DbError, OutgoingState, Reported};
use tracing::{debug, warn};

use crate::app::Services;
use crate::clock::now_ms;

/// Writes a report down; `Ok` may be acknowledged. One that names no text of ours is kept too: it may be
/// faster than the text's own id.
pub async fn take(sv: &Services, line: &str, provider_id: &str, stat: &str) -> Result<(), DbError> {
    settle(sv, line, provider_id, state_of(stat), stat).await
}

/// The same with the state read; `None` while the text is still under way. `Err`: don't acknowledge it.
pub async fn settle(
    sv: &Services,
    line: &str,
    provider_id: &str,
    state: Option<OutgoingState>,
    stat: &str,
) -> Result<(), DbError> {
    let Some(state) = state else {
        sv.metrics.sms.reported(line, "under_way");
        return Ok(());
    };
    let reported = match sv.store.outgoing_report(line, provider_id, state, stat, now_ms()).await {
        // It would be as unusable the next time.
        Err(DbError::Invalid { field, why }) => {
            warn!(line, field, why, "状态报告不可用 / a report can't be used");
            sv.metrics.sms.warned(line, "report_unusable");
            return Ok(());
        }
        reported => reported?,
    };
    let word = match reported {
        Reported::Text(_) => "matched",
        Reported::Orphan => "orphan",
        Reported::Repeated => "repeated",
    };
    sv.metrics.sms.reported(line, word);
    debug!(line, id = provider_id, stat, word, "status report");
    Ok(())
}

/// The seven characters of CMPP and SMPP's receipts; `None` while the text is still under way.
fn state_of(stat: &str) -> Option<OutgoingState> {
    let stat = stat.to_ascii_uppercase();
    match stat.as_str() {
        "DELIVRD" => Some(OutgoingState::Delivered),
        "EXPIRED" => Some(OutgoingState::Expired),
        "ACCEPTD" | "ENROUTE" => None,
        "UNKNOWN" => Some(OutgoingState::Unknown),
        // UNDELIV, DELETED, REJECTD, and the network's own: MA:0005, MB:1042, CA:0051 …
        _ => Some(OutgoingState::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_an_end_unless_the_text_is_under_way() {
        assert_eq!(state_of("DELIVRD"), Some(OutgoingState::Delivered));
        assert_eq!(state_of("MA:0005"), Some(OutgoingState::Failed));
        assert_eq!(state_of("acceptd"), None);
    }
}
