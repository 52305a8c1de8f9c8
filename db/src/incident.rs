//! The same incident reported more than once: where items are found again, and who reported first.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::Result,
    id::Id,
    incident_key,
    item::{Item, ItemState, load, select_item},
    item_list::ContactRole,
    limits::{self, INCIDENT_CANDIDATES_MAX, INCIDENT_MEMBERS_MAX, INCIDENT_ROWS_PER_KEY_MAX},
    pool::Store,
    sql::{sql, sql_each},
};

/// Ids of one statement.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
const LISTED_MAX: usize = INCIDENT_MEMBERS_MAX as usize;

/// Where and when the same incident is looked for.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Longitude and latitude in degrees, CGCS2000.
    pub position: Option<(f64, f64)>,
    /// Metres around it.
    pub radius_m: f64,
    /// The place in words.
    pub location_text: Option<String>,
    /// Not before.
    pub from_at: i64,
    /// Not after.
    pub to_at: i64,
    /// The item itself.
    pub except: Option<Id>,
}

/// An item that may be about the same incident.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct IncidentCandidate {
    /// The item.
    pub id: Id,
    /// 受理编号.
    pub acceptance_no: String,
    /// Kind of request.
    pub kind: String,
    /// 1 to 5.
    pub urgency: i64,
    /// Title.
    pub title: String,
    /// The beginning of what the citizen said.
    pub detail: String,
    /// Class code.
    pub class_code: Option<String>,
    /// The place in words.
    pub location_text: Option<String>,
    /// Longitude in degrees.
    pub lon: Option<f64>,
    /// Latitude in degrees.
    pub lat: Option<f64>,
    /// State.
    pub state: ItemState,
    /// The item it was merged into.
    pub merged_into: Option<Id>,
    /// Channel digit of the acceptance number.
    pub channel: i64,
    /// Arrival of the contact that brought it.
    pub at: i64,
    /// Arrival number of that contact.
    pub seq: Option<i64>,
}

crate::lite::row!(IncidentCandidate {
    id,
    acceptance_no,
    kind,
    urgency,
    title,
    detail,
    class_code,
    location_text,
    lon,
    lat,
    state,
    merged_into,
    channel,
    at,
    seq
});

/// Who reported an incident, in order of arrival over all channels and merged items.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Reporter {
    /// The item the contact belongs to.
    pub item: Id,
    /// The contact.
    pub contact: Id,
    /// What it is to its own item.
    pub role: ContactRole,
    /// Global arrival sequence.
    pub seq: i64,
    /// Arrival at the gateway.
    pub arrived_at: i64,
    /// The provider's own time stamp.
    pub provider_time: Option<i64>,
    /// Channel.
    pub channel: String,
    /// The citizen, if known.
    pub party: Option<Id>,
    /// The number as people may see it.
    pub phone_mask: Option<String>,
    /// The citizen wants to stay unnamed.
    pub anonymous: Option<bool>,
}

crate::lite::row!(Reporter {
    item,
    contact,
    role,
    seq,
    arrived_at,
    provider_time,
    channel,
    party,
    phone_mask,
    anonymous
});

/// Under what an item is found.
pub(crate) fn keys(item: &Item) -> Vec<i64> {
    if item.source == SOURCE_TEST {
        // A self-test is no incident, nor part of one.
        return Vec::new();
    }
    let cell = item.lon.zip(item.lat).map(|(lon, lat)| incident_key::cell_at(lon, lat));
    let names = incident_key::names(item.location_text.as_deref().unwrap_or_default());
    cell.into_iter().chain(names).collect()
}

/// Makes an item findable, by what is known of it now, and due to be compared.
pub(crate) async fn index(c: &mut Conn, item: &Item) -> Result<()> {
    let keys = keys(item);
    if keys.is_empty() {
        return Ok(());
    }
    macro_rules! insert {
        ($keys:literal) => {
            concat!(
                "INSERT INTO incident_key (key, at, item) SELECT k.value, COALESCE((SELECT arrived_at FROM contact \
                 WHERE id = $2), $3), $4 FROM ",
                $keys,
                " WHERE TRUE ON CONFLICT DO NOTHING"
            )
        };
    }
    let query = sql_each(
        insert!("json_each($1) AS k"),
        insert!("(SELECT CAST(j AS BIGINT) AS value FROM jsonb_array_elements_text(CAST($1 AS JSONB)) AS j) AS k"),
    )
    .bind(serde_json::json!(keys).to_string())
    .bind(item.first_contact)
    .bind(item.created_at)
    .bind(item.id);
    c.run(query).await?;
    let query = sql("INSERT INTO incident_due (item, at) VALUES ($1, $2) ON CONFLICT (item) DO NOTHING");
    c.run(query.bind(item.id).bind(item.created_at)).await.map(|_| ())
}

/// `source` of an item a self-test led to.
pub const SOURCE_TEST: &str = "test";

/// The item all of an incident were merged into.
pub(crate) async fn root(c: &mut Conn, id: Id) -> Result<Item> {
    let mut item = load(c, id).await?;
    for _ in 0..INCIDENT_MEMBERS_MAX {
        match item.merged_into {
            Some(above) => item = load(c, above).await?,
            None => break,
        }
    }
    Ok(item)
}

/// What was merged into an item, directly or through others; not the item itself.
pub(crate) async fn below(c: &mut Conn, id: Id) -> Result<Vec<Id>> {
    let query = sql("WITH RECURSIVE below (id) AS (SELECT id FROM item WHERE merged_into = $1 \
         UNION SELECT i.id FROM item i JOIN below b ON i.merged_into = b.id) SELECT id FROM below LIMIT $2")
    .bind(id)
    .bind(INCIDENT_MEMBERS_MAX);
    Ok(c.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
}

/// The reporters of an incident whose surviving item is `root`, in order of arrival.
pub(crate) async fn reporters(c: &mut Conn, root: Id) -> Result<Vec<Reporter>> {
    let query = sql("WITH RECURSIVE member (id) AS (SELECT id FROM item WHERE id = $1 \
         UNION SELECT i.id FROM item i JOIN member m ON i.merged_into = m.id) \
         SELECT ic.item, ic.contact, ic.role, k.seq, k.arrived_at, k.provider_time, k.channel, k.party, \
         p.phone_mask, p.anonymous FROM member m JOIN item_contact ic ON ic.item = m.id \
         JOIN contact k ON k.id = ic.contact LEFT JOIN party p ON p.id = k.party \
         WHERE ic.role IN ($2, $3) AND k.direction = 'inbound' ORDER BY k.seq")
    .bind(root)
    .bind(ContactRole::First)
    .bind(ContactRole::CoReport);
    c.all(query).await
}

impl Store {
    /// Items that may be about the incident of a probe: those under the same cells and names within
    /// the time, newest first under each; unjudged, at most [`limits::INCIDENT_CANDIDATES_MAX`].
    ///
    /// # Errors
    /// As any read.
    pub async fn incident_candidates(&self, probe: Probe) -> Result<Vec<IncidentCandidate>> {
        let mut keys = incident_key::names(probe.location_text.as_deref().unwrap_or_default());
        if let Some((lon, lat)) = probe.position {
            keys.extend(incident_key::cells_around(lon, lat, probe.radius_m));
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut c = self.reader().await?;
        let mut found: HashMap<Id, usize> = HashMap::new();
        for IdRow { id } in c.all(by_keys(&keys, &probe)).await? {
            *found.entry(id).or_default() += 1;
        }
        if let Some(own) = probe.except {
            found.remove(&own);
        }
        let mut ids: Vec<(Id, usize)> = found.into_iter().collect();
        // The newest of those found most often.
        ids.sort_by_key(|(id, times)| std::cmp::Reverse((*times, *id)));
        ids.truncate(INCIDENT_CANDIDATES_MAX);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        c.all(by_ids(ids.iter().map(|(id, _)| *id))).await
    }

    /// For each of these items that was merged: itself, and the item its incident goes by with its
    /// 受理编号. For at most [`limits::INCIDENT_MEMBERS_MAX`] items.
    ///
    /// # Errors
    /// As any read.
    pub async fn incident_roots(&self, items: &[Id]) -> Result<Vec<(Id, Id, String)>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.reader().await?.all(roots(items)).await
    }

    /// The item an incident goes by: where this one was merged into, or itself.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such item.
    pub async fn incident_root(&self, item: Id) -> Result<Item> {
        root(&mut self.reader().await?, item).await
    }

    /// The items of an incident, its surviving one first.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such item.
    pub async fn incident_members(&self, item: Id) -> Result<Vec<Item>> {
        let mut c = self.reader().await?;
        let top = root(&mut c, item).await?;
        let mut members = Vec::new();
        for id in below(&mut c, top.id).await? {
            members.extend(c.opt(select_item!("WHERE id = $1").bind(id)).await?);
        }
        members.insert(0, top);
        Ok(members)
    }

    /// Who reported the incident of an item, in order of arrival: 首报 and 共报 of all merged items,
    /// citizens' contacts only. The first is the first reporter.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such item.
    pub async fn incident_reporters(&self, item: Id) -> Result<Vec<Reporter>> {
        let mut c = self.reader().await?;
        let top = root(&mut c, item).await?;
        reporters(&mut c, top.id).await
    }

    /// Items not yet compared with the others, oldest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn incidents_due(&self, limit: i64) -> Result<Vec<Id>> {
        let query = sql("SELECT item AS id FROM incident_due ORDER BY at LIMIT $1").bind(limits::page(limit));
        Ok(self.reader().await?.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
    }

    /// Forgets what is to be compared: nothing would follow from it.
    ///
    /// # Errors
    /// As any write.
    pub async fn incidents_due_clear(&self) -> Result<()> {
        let any = sql("SELECT item AS id FROM incident_due LIMIT 1");
        if self.reader().await?.opt::<IdRow>(any).await?.is_none() {
            return Ok(());
        }
        self.write(|c| Box::pin(async move { c.run(sql("DELETE FROM incident_due")).await.map(|_| ()) })).await
    }

    /// Puts an item that couldn't be compared behind those that wait.
    ///
    /// # Errors
    /// As any write.
    pub async fn incident_later(&self, item: Id, at: i64) -> Result<()> {
        let query = sql("UPDATE incident_due SET at = $2 WHERE item = $1").bind(item).bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Notes that an item was compared.
    ///
    /// # Errors
    /// As any write.
    pub async fn incident_checked(&self, item: Id) -> Result<()> {
        let query = sql("DELETE FROM incident_due WHERE item = $1").bind(item);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }
}

/// Ids as the one argument both engines take apart, at most [`LISTED_MAX`].
pub(crate) fn list(items: impl Iterator<Item = Id>) -> String {
    serde_json::json!(items.take(LISTED_MAX).map(|id| id.to_string()).collect::<Vec<_>>()).to_string()
}

/// An id in the list `$1` on PostgreSQL. As an array made beforehand: what it is joined with is then looked up
/// by its index, while joining with the list itself may read the whole table.
macro_rules! pg_listed {
    () => {
        "= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST($1 AS JSONB))))"
    };
}
pub(crate) use pg_listed;

/// The newest items under each key, in one statement: SQLite has no lateral join, so the oldest
/// arrival wanted is looked up per key. Those of that very millisecond come along.
fn by_keys(keys: &[i64], probe: &Probe) -> crate::sql::Sql {
    sql_each(
        "SELECT i.item AS id FROM json_each($1) AS k CROSS JOIN incident_key i ON i.key = k.value AND i.at <= $3 \
         AND i.at >= COALESCE((SELECT o.at FROM incident_key o WHERE o.key = k.value AND o.at >= $2 AND o.at <= $3 \
         ORDER BY o.at DESC LIMIT 1 OFFSET $4 - 1), $2) LIMIT $5",
        "SELECT i.item AS id FROM jsonb_array_elements_text(CAST($1 AS JSONB)) AS k (value) CROSS JOIN LATERAL \
         (SELECT o.item FROM incident_key o WHERE o.key = CAST(k.value AS BIGINT) AND o.at >= $2 AND o.at <= $3 \
         ORDER BY o.at DESC LIMIT $4) AS i LIMIT $5",
    )
    .bind(serde_json::json!(keys).to_string())
    .bind(probe.from_at)
    .bind(probe.to_at)
    .bind(INCIDENT_ROWS_PER_KEY_MAX)
    .bind(INCIDENT_ROWS_PER_KEY_MAX * i64::try_from(keys.len()).unwrap_or(1) * 2)
}

fn by_ids(ids: impl Iterator<Item = Id>) -> crate::sql::Sql {
    macro_rules! select {
        ($ids:expr) => {
            concat!(
                "SELECT i.id, i.acceptance_no, i.kind, i.urgency, i.title, substr(i.detail, 1, 400) AS detail, \
                 i.class_code, i.location_text, i.lon, i.lat, i.state, i.merged_into, i.channel, \
                 COALESCE(k.arrived_at, i.created_at) AS at, k.seq FROM item i \
                 LEFT JOIN contact k ON k.id = i.first_contact WHERE i.id ",
                $ids
            )
        };
    }
    sql_each(select!("IN (SELECT value FROM json_each($1))"), select!(pg_listed!())).bind(list(ids))
}

fn roots(items: &[Id]) -> crate::sql::Sql {
    macro_rules! select {
        ($ids:expr) => {
            concat!(
                "WITH RECURSIVE up (start, id, above, steps) AS (SELECT id, id, merged_into, 0 FROM item WHERE id ",
                $ids,
                " UNION ALL SELECT u.start, i.id, i.merged_into, u.steps + 1 FROM up u JOIN item i ON i.id = u.above \
                 WHERE u.steps < $2) \
                 SELECT u.start, u.id, i.acceptance_no FROM up u JOIN item i ON i.id = u.id WHERE u.above IS NULL"
            )
        };
    }
    sql_each(select!("IN (SELECT value FROM json_each($1))"), select!(pg_listed!()))
        .bind(list(items.iter().copied()))
        .bind(INCIDENT_MEMBERS_MAX)
}
