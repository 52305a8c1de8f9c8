//! The items a group of steps makes: numbered in the steps' order, one statement for all.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    bulk,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    item::{self, Item, ItemState, NewItem, item_columns},
    limits, number,
    settle_group::Step,
    sql::sql,
};

#[derive(Serialize)]
struct ItemRow {
    id: Id,
    acceptance_no: String,
    query_code: String,
    region: String,
    channel: u8,
    kind: String,
    urgency: i64,
    title: String,
    detail: String,
    occurred_at: Option<i64>,
    source: String,
    first_contact: Option<Id>,
    party: Option<Id>,
    class_code: Option<String>,
    location_text: Option<String>,
    lon: Option<f64>,
    lat: Option<f64>,
    created_by: Option<Id>,
    created_at: i64,
    idempotency_key: Option<String>,
    #[serde(skip)]
    step: usize,
}

/// Makes the items of the steps that make one, numbered in the steps' order.
pub(crate) async fn create(c: &mut Conn, steps: &mut [Step]) -> Result<()> {
    let mut wanted = Vec::new();
    for (n, step) in steps.iter_mut().enumerate() {
        if let Some(new) = step.settlement.create.take() {
            item::check(&new)?;
            let day = number::yymmdd(step.now, step.offset_min);
            wanted.push((n, format!("item:{}:{day}:{}", new.region, new.channel), new));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut next = numbers(c, &wanted).await?;
    let mut rows = Vec::with_capacity(wanted.len());
    for (n, counter, new) in wanted {
        let seq = next.get_mut(&counter).ok_or(DbError::NotFound)?;
        rows.push(item_row(n, new, *seq, &steps[n])?);
        *seq += 1;
    }
    for _ in 0..limits::QUERY_CODE_DRAWS_MAX {
        for item in insert_items(c, &rows).await? {
            let at = rows.iter().position(|row| row.id == item.id).ok_or(DbError::NotFound)?;
            let step = rows.swap_remove(at).step;
            steps[step].on.item = Some((item, true));
        }
        if rows.is_empty() {
            return Ok(());
        }
        // Their code was another item's.
        rows.iter_mut().for_each(|row| row.query_code = number::query_code(rand::random()));
    }
    Err(DbError::Exhausted("the query codes"))
}

/// The next number of each counter. Their rows are taken in the order of their names, so that nobody who does the
/// same waits for this.
async fn numbers(c: &mut Conn, wanted: &[(usize, String, NewItem)]) -> Result<BTreeMap<String, i64>> {
    #[derive(Serialize)]
    struct Counter<'a> {
        name: &'a str,
        n: i64,
    }
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, counter, _) in wanted {
        *counts.entry(counter).or_default() += 1;
    }
    let rows: Vec<Counter<'_>> = counts.iter().map(|(name, n)| Counter { name, n: *n }).collect();
    let query = sql("INSERT INTO counter (name, value) \
         SELECT r.name, r.n FROM json_to_recordset(CAST($1 AS JSON)) AS r (name TEXT, n BIGINT) ORDER BY r.name \
         ON CONFLICT (name) DO UPDATE SET value = counter.value + EXCLUDED.value RETURNING name, value")
    .bind(bulk::rows(&rows)?);
    let last: Vec<(String, i64)> = c.all(query).await?;
    let first = |name: &str, last: i64| last - counts.get(name).copied().unwrap_or(0) + 1;
    Ok(last.into_iter().map(|(name, last)| (name.clone(), first(&name, last))).collect())
}

fn item_row(n: usize, new: NewItem, seq: i64, step: &Step) -> Result<ItemRow> {
    Ok(ItemRow {
        id: Id::new(),
        acceptance_no: number::acceptance_no(&new.region, step.now, step.offset_min, new.channel, seq)?,
        query_code: number::query_code(rand::random()),
        region: new.region,
        channel: new.channel,
        kind: new.kind,
        urgency: new.urgency,
        title: new.title,
        detail: new.detail,
        occurred_at: new.occurred_at,
        source: new.source,
        first_contact: new.first_contact,
        party: new.party,
        class_code: new.class_code,
        location_text: new.location_text,
        lon: new.lon,
        lat: new.lat,
        created_by: new.created_by,
        created_at: step.now,
        idempotency_key: new.idempotency_key,
        step: n,
    })
}

/// The items that were written; one whose query code is taken isn't.
async fn insert_items(c: &mut Conn, rows: &[ItemRow]) -> Result<Vec<Item>> {
    let query = sql(concat!(
        "INSERT INTO item (id, acceptance_no, query_code, region, channel, kind, urgency, title, detail, occurred_at, \
             state, state_at, ledger_flag, source, first_contact, party, class_code, location_text, lon, lat, \
             created_by, created_at, idempotency_key) \
         SELECT r.id, r.acceptance_no, r.query_code, r.region, r.channel, r.kind, r.urgency, r.title, r.detail, \
             r.occurred_at, $2, r.created_at, TRUE, r.source, r.first_contact, \
             COALESCE(r.party, (SELECT k.party FROM contact k WHERE k.id = r.first_contact)), r.class_code, \
             r.location_text, r.lon, r.lat, r.created_by, r.created_at, r.idempotency_key \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, acceptance_no TEXT, query_code TEXT, region TEXT, \
             channel BIGINT, kind TEXT, urgency BIGINT, title TEXT, detail TEXT, occurred_at BIGINT, source TEXT, \
             first_contact TEXT, party TEXT, class_code TEXT, location_text TEXT, lon DOUBLE PRECISION, \
             lat DOUBLE PRECISION, created_by TEXT, created_at BIGINT, idempotency_key TEXT) \
         ON CONFLICT (query_code) DO NOTHING RETURNING ",
        item_columns!()
    ))
    .bind(bulk::rows(rows)?)
    .bind(ItemState::Registered);
    c.all(query).await
}
