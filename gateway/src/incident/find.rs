//! The candidates of an item, scored, best first.

use std::collections::BTreeMap;

use hotline_db::{DbError, Id, IncidentCandidate, Item, Probe};
use serde::Serialize;

use super::score::{Compared, Facts, Score};
use crate::app::Services;

/// Candidates below this aren't shown.
const SCORE_MIN: i64 = 35;
/// Candidates shown.
const SHOWN_MAX: usize = 20;
/// What is stamped a little later may have arrived earlier on another channel.
const AHEAD_MS: i64 = 6 * 3_600_000;

/// An incident an item may belong to.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The incident's surviving item.
    pub item: Id,
    /// Its 受理编号.
    pub acceptance_no: String,
    /// The item the comparison was made with: itself, or one merged into it.
    pub matched: IncidentCandidate,
    /// The comparison.
    pub score: Score,
}

fn facts_of<'a>(item: &'a Item, words: &'a str, at: i64) -> Facts<'a> {
    Facts {
        class: item.class_code.as_deref(),
        position: item.lon.zip(item.lat),
        place: item.location_text.as_deref().unwrap_or_default(),
        words,
        at,
    }
}

/// What may be about the same incident as `item`, best first.
pub async fn candidates(sv: &Services, item: &Item) -> Result<Vec<Candidate>, DbError> {
    let settings = &sv.config.incident;
    let radius_m = f64::from(settings.radius_m);
    let at = match item.first_contact {
        Some(contact) => sv.store.contact_get(contact).await?.map_or(item.created_at, |c| c.arrived_at),
        None => item.created_at,
    };
    let probe = Probe {
        position: item.lon.zip(item.lat),
        radius_m,
        location_text: item.location_text.clone(),
        from_at: at - i64::from(settings.window_h) * 3_600_000,
        to_at: at + AHEAD_MS,
        except: Some(item.id),
    };
    let words = format!("{} {}", item.title, item.detail);
    let own = Compared::new(facts_of(item, &words, at), radius_m);
    let mut scored: Vec<(IncidentCandidate, Score)> = Vec::new();
    for row in sv.store.incident_candidates(probe).await? {
        let words = format!("{} {}", row.title, row.detail);
        let other = Facts {
            class: row.class_code.as_deref(),
            position: row.lon.zip(row.lat),
            place: row.location_text.as_deref().unwrap_or_default(),
            words: &words,
            at: row.at,
        };
        if let Some(result) = own.score(&other, SCORE_MIN) {
            scored.push((row, result));
        }
    }
    scored.sort_by_key(|(row, s)| (std::cmp::Reverse(s.total), row.seq.unwrap_or(i64::MAX), row.id));
    incidents(sv, item, scored).await
}

/// One candidate per incident, under its surviving item; the item's own incident is none.
async fn incidents(
    sv: &Services,
    item: &Item,
    scored: Vec<(IncidentCandidate, Score)>,
) -> Result<Vec<Candidate>, DbError> {
    let own = if item.merged_into.is_some() { sv.store.incident_root(item.id).await?.id } else { item.id };
    let mut found: Vec<Candidate> = Vec::new();
    let merged: Vec<Id> = scored.iter().filter(|(row, _)| row.merged_into.is_some()).map(|(row, _)| row.id).collect();
    let roots = sv.store.incident_roots(&merged).await?;
    let roots: BTreeMap<Id, (Id, String)> = roots.into_iter().map(|(row, root, no)| (row, (root, no))).collect();
    for (row, score) in scored {
        let (root, acceptance_no) = roots.get(&row.id).cloned().unwrap_or_else(|| (row.id, row.acceptance_no.clone()));
        if root == own || found.iter().any(|c| c.item == root) {
            continue;
        }
        found.push(Candidate { item: root, acceptance_no, matched: row, score });
        if found.len() == SHOWN_MAX {
            break;
        }
    }
    Ok(found)
}
