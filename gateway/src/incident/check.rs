//! A new item compared with the others: what is certainly the same incident is merged at once, with
//! the decision written down, if the site wants that.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, Id, Item, ItemLink, ItemState, LinkDecision};
use tracing::{info, warn};

use super::find::{Candidate, candidates};
use crate::app::Services;
use crate::casecore::link_payload;
use crate::clock::now_ms;
use crate::config::Merging;

/// Items a crash or an error left uncompared are looked at so often.
const SWEEP: Duration = Duration::from_secs(5);
/// Items of one sweep.
const BATCH: i64 = 50;
/// Kinds of request that are reports of something out there.
const REPORTS: [&str; 3] = ["投诉", "举报", "求助"];

/// Who decides on a merge or split, with the note to the case core filled in.
#[must_use]
pub fn decision(sv: &Services, actor: Option<Id>, note: Option<String>) -> LinkDecision {
    LinkDecision {
        actor,
        score: None,
        reasons: serde_json::Value::Null,
        note,
        at: now_ms(),
        target: sv.config.casecore.kind.clone(),
        tell: Box::new(link_payload),
    }
}

/// Sweeps what [`check`] didn't get to.
pub fn spawn(sv: &Arc<Services>) {
    let sv = Arc::clone(sv);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP) => {}
                () = sv.cancel.cancelled() => return,
            }
            if let Err(e) = sweep(&sv).await {
                warn!(error = %e, "items not compared with the others");
            }
            // Another gateway may have announced something.
            if let Err(e) = sv.board.refresh(&sv.store).await {
                warn!(error = %e, "announcements not read");
            }
        }
    });
}

/// Whether anything follows from a comparison here; candidates shown on demand need none.
fn is_wanted(sv: &Services) -> bool {
    sv.config.incident.merge == Merging::Auto || sv.config.incident.announce_reporters > 0
}

/// Compares an item just made; what fails is left to the sweep.
pub async fn compare(sv: &Services, item: &Item) {
    if is_wanted(sv)
        && item.source != hotline_db::SOURCE_TEST
        && let Err(e) = check(sv, item).await
    {
        warn!(item = %item.id, error = %e, "not compared with the others yet");
    }
}

async fn sweep(sv: &Services) -> Result<(), DbError> {
    if !is_wanted(sv) {
        return sv.store.incidents_due_clear().await;
    }
    for id in sv.store.incidents_due(BATCH).await? {
        let compared = match sv.store.item_get(id).await {
            Ok(Some(item)) => check(sv, &item).await,
            Ok(None) => sv.store.incident_checked(id).await,
            Err(e) => Err(e),
        };
        if let Some(e) = of_the_item(compared)? {
            warn!(item = %id, error = %e, "not compared with the others: tried again behind those that wait");
            sv.store.incident_later(id, now_ms()).await?;
        }
    }
    Ok(())
}

/// Why this item can't be compared, which must not hold up the others; what is about the database is an error.
fn of_the_item(compared: Result<(), DbError>) -> Result<Option<DbError>, DbError> {
    match compared {
        Ok(()) => Ok(None),
        Err(e) if e.is_transient() || matches!(e, DbError::Closed) => Err(e),
        Err(e) => Ok(Some(e)),
    }
}

/// Compares a new item with the others and merges it where that is certain. The later incident goes
/// into the earlier one.
pub async fn check(sv: &Services, item: &Item) -> Result<(), DbError> {
    if sv.config.incident.merge == Merging::Auto
        && item.merged_into.is_none()
        && let Some(best) = certain(sv, item).await?
    {
        match merge(sv, item, &best).await {
            Ok(link) => {
                info!(item = %link.item, into = %link.target, score = best.score.total, "one incident: merged");
            }
            // Somebody was faster, or it was closed meanwhile.
            Err(DbError::Conflict(why)) => info!(item = %item.id, why, "not merged"),
            Err(e) => return Err(e),
        }
    }
    super::announce::radar(sv, item).await?;
    sv.store.incident_checked(item.id).await
}

async fn certain(sv: &Services, item: &Item) -> Result<Option<Candidate>, DbError> {
    if !REPORTS.contains(&item.kind.as_str()) {
        return Ok(None);
    }
    let settings = &sv.config.incident;
    let apart_ms = i64::from(settings.merge_window_min) * 60_000;
    for found in candidates(sv, item).await? {
        let row = &found.matched;
        let near = (row.at - item.created_at).abs() <= apart_ms;
        let open = !matches!(row.state, ItemState::Closed | ItemState::Void | ItemState::AwaitingCallback);
        let strong = found.score.is_certain && found.score.total >= settings.merge_score;
        if near
            && open
            && strong
            && REPORTS.contains(&row.kind.as_str())
            && !sv.store.incident_kept_apart(item.id, found.item).await?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn merge(sv: &Services, item: &Item, best: &Candidate) -> Result<ItemLink, DbError> {
    let first = |reporters: Vec<hotline_db::Reporter>| reporters.first().map_or(i64::MAX, |r| r.seq);
    let own = first(sv.store.incident_reporters(item.id).await?);
    let other = first(sv.store.incident_reporters(best.item).await?);
    let (later, earlier) = if own < other { (best.item, item.id) } else { (item.id, best.item) };
    let reasons = serde_json::to_value(&best.score.reasons).unwrap_or_default();
    let decision = LinkDecision { score: Some(best.score.total), reasons, ..decision(sv, None, None) };
    sv.store.incident_merge(later, earlier, decision).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_that_cant_be_compared_holds_up_no_other() {
        assert!(matches!(of_the_item(Ok(())), Ok(None)));
        assert!(matches!(of_the_item(Err(DbError::NotFound)), Ok(Some(DbError::NotFound))));
        let text = DbError::Conflict("merged twice".into());
        assert!(matches!(of_the_item(Err(text)), Ok(Some(_))));
        for away in [DbError::Busy, DbError::Closed, DbError::Commit(String::new())] {
            assert!(of_the_item(Err(away)).is_err(), "a database that is away is asked once");
        }
    }
}
