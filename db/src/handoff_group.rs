//! Hand-offs that arrived at once, noted together (PostgreSQL).

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    bulk,
    conn::Conn,
    error::Result,
    handoff::{HandoffKind, HandoffState},
    id::Id,
    incident::pg_listed,
    item::ItemState,
    sql::sql,
    writer::Fut,
};

/// A hand-off the case core has.
#[derive(Clone, Serialize)]
pub(crate) struct Delivery {
    pub(crate) id: Id,
    pub(crate) case_no: String,
    pub(crate) at: i64,
}

#[derive(FromRow)]
struct HeldRow {
    id: Id,
    item: Id,
    kind: HandoffKind,
    state: HandoffState,
    target: String,
}

crate::lite::row!(HeldRow { id, item, kind, state, target });

/// What follows from a creation.
#[derive(Serialize)]
struct Case<'a> {
    item: Id,
    target: &'a str,
    case_no: &'a str,
    at: i64,
}

/// Whether each was news; `None` for one whose rows somebody else holds, or whose item others were merged into: it is
/// noted by itself. Nobody is waited for, since who merges holds several items too.
pub(crate) fn delivered(c: &mut Conn, jobs: Vec<Delivery>) -> Fut<'_, Result<Vec<Option<bool>>>> {
    Box::pin(async move {
        let query = sql(concat!(
            "SELECT id, item, kind, state, target FROM handoff WHERE id ",
            pg_listed!(),
            " ORDER BY id FOR UPDATE SKIP LOCKED"
        ));
        let rows: Vec<HeldRow> = c.all(query.bind(bulk::ids(jobs.iter().map(|job| job.id)))).await?;
        let creations = rows.iter().filter(|row| row.kind == HandoffKind::Create).map(|row| row.item);
        let items = hold(c, creations.collect()).await?;
        let rows: HashMap<Id, HeldRow> = rows
            .into_iter()
            .filter(|row| row.kind != HandoffKind::Create || items.contains(&row.item))
            .map(|row| (row.id, row))
            .collect();
        let (mut fresh, mut fates) = (Vec::new(), Vec::with_capacity(jobs.len()));
        let mut seen = HashSet::new();
        for job in jobs {
            let row = rows.get(&job.id).filter(|_| seen.insert(job.id));
            fates.push(row.map(|row| row.state != HandoffState::Delivered));
            if fates.last() == Some(&Some(true)) {
                fresh.push(job);
            }
        }
        write(c, &fresh, &rows).await?;
        Ok(fates)
    })
}

/// Holds what is free of these items and stands alone.
async fn hold(c: &mut Conn, items: Vec<Id>) -> Result<HashSet<Id>> {
    if items.is_empty() {
        return Ok(HashSet::new());
    }
    let query = sql(concat!(
        "SELECT id, EXISTS (SELECT 1 FROM item b WHERE b.merged_into = item.id) FROM item WHERE id ",
        pg_listed!(),
        " ORDER BY id FOR UPDATE SKIP LOCKED"
    ));
    let held: Vec<(Id, bool)> = c.all(query.bind(bulk::ids(items.into_iter()))).await?;
    Ok(held.into_iter().filter(|(_, has_others)| !has_others).map(|(id, _)| id).collect())
}

async fn write(c: &mut Conn, fresh: &[Delivery], rows: &HashMap<Id, HeldRow>) -> Result<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    let query = sql("UPDATE handoff SET state = $2, case_no = r.case_no, delivered_at = r.at, lease_until = NULL, \
         last_error = NULL, unknown_outcome = FALSE \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, case_no TEXT, at BIGINT) WHERE handoff.id = r.id");
    c.run(query.bind(bulk::rows(fresh)?).bind(HandoffState::Delivered)).await?;
    let cases = fresh.iter().filter_map(|job| {
        let row = rows.get(&job.id).filter(|row| row.kind == HandoffKind::Create)?;
        Some(Case { item: row.item, target: &row.target, case_no: &job.case_no, at: job.at })
    });
    let cases = bulk::rows(&cases.collect::<Vec<_>>())?;
    // What follows for these items needs the number.
    let query = sql("UPDATE handoff SET case_no = r.case_no \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (item TEXT, target TEXT, case_no TEXT) \
         WHERE handoff.item = r.item AND handoff.target = r.target AND handoff.case_no IS NULL");
    c.run(query.bind(cases.as_str())).await?;
    let query = sql("UPDATE item SET state = $2, state_at = r.at \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (item TEXT, at BIGINT) \
         WHERE item.id = r.item AND item.state IN ($3, $4, $5)")
    .bind(cases)
    .bind(ItemState::HandedOff)
    .bind(ItemState::Registered)
    .bind(ItemState::Verifying)
    .bind(ItemState::PreFiled);
    c.run(query).await.map(|_| ())
}
