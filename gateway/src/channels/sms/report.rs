//! Status reports: what a carrier says became of a text.

use hotline_db::{DbError, OutgoingState, Reported};
use tracing::debug;

use crate::app::Services;
use crate::clock::now_ms;

/// Writes a report down; `Ok` may be acknowledged. One that names no text of ours is kept too: it may be
/// faster than the text's own id.
pub async fn take(sv: &Services, line: &str, provider_id: &str, stat: &str) -> Result<(), DbError> {
    let Some(state) = state_of(stat) else {
        sv.metrics.sms.reported(line, "under_way");
        return Ok(());
    };
    let reported = sv.store.outgoing_report(line, provider_id, state, stat, now_ms()).await?;
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
