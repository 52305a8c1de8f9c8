//! What inspectors found: numbered in the same order of arrival as the citizens' contacts, so that
//! "citizen before inspector" has one exact answer.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::Result,
    id::Id,
    incident,
    limits::{self, LOCATION_CHARS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    reward,
    sql::sql,
};

/// An inspector's finding.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Inspection {
    /// Row id.
    pub id: Id,
    /// Its id in the inspectors' system.
    pub external_id: String,
    /// Global arrival sequence, shared with the contacts.
    pub seq: i64,
    /// Who found it: a name or number of the inspectors' system.
    pub inspector: String,
    /// Arrival at the gateway.
    pub arrived_at: i64,
    /// When it was found, by the inspectors' clock: shown, never decisive.
    pub found_at: Option<i64>,
    /// Class code.
    pub class_code: Option<String>,
    /// The place in words.
    pub location_text: Option<String>,
    /// Longitude in degrees.
    pub lon: Option<f64>,
    /// Latitude in degrees.
    pub lat: Option<f64>,
    /// The item about the same incident.
    pub item: Option<Id>,
    /// Who said so: a user; `None`: the sender or the gateway.
    pub linked_by: Option<Id>,
    /// When.
    pub linked_at: Option<i64>,
}

crate::lite::row!(Inspection {
    id,
    external_id,
    seq,
    inspector,
    arrived_at,
    found_at,
    class_code,
    location_text,
    lon,
    lat,
    item,
    linked_by,
    linked_at
});

/// A finding to number.
#[derive(Debug, Clone, Default)]
pub struct NewInspection {
    /// Its id in the inspectors' system: the same again is the same finding.
    pub external_id: String,
    /// Who found it.
    pub inspector: String,
    /// Arrival at the gateway.
    pub arrived_at: i64,
    /// When it was found, by the inspectors' clock.
    pub found_at: Option<i64>,
    /// Class code.
    pub class_code: Option<String>,
    /// The place in words.
    pub location_text: Option<String>,
    /// Longitude and latitude in degrees.
    pub position: Option<(f64, f64)>,
    /// The item about the same incident, where the sender names it.
    pub item: Option<Id>,
}

macro_rules! select_inspection {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, external_id, seq, inspector, arrived_at, found_at, class_code, location_text, lon, lat, \
             item, linked_by, linked_at FROM inspection ",
            $tail
        ))
    };
}

/// The first finding about an incident whose items are `members`.
pub(crate) async fn first_of(c: &mut Conn, members: &[Id]) -> Result<Option<Inspection>> {
    let mut first: Option<Inspection> = None;
    for item in members {
        let query = select_inspection!("WHERE item = $1 ORDER BY seq LIMIT 1").bind(*item);
        let found: Option<Inspection> = c.opt(query).await?;
        first = match (first, found) {
            (Some(a), Some(b)) => Some(if a.seq <= b.seq { a } else { b }),
            (a, b) => a.or(b),
        };
    }
    Ok(first)
}

async fn add(c: &mut Conn, new: NewInspection) -> Result<(Inspection, bool)> {
    c.lock(format!("inspection:{}", new.external_id)).await?;
    let known = select_inspection!("WHERE external_id = $1").bind(new.external_id.as_str());
    if let Some(row) = c.opt(known).await? {
        return Ok((row, false));
    }
    let seq = crate::contact::next_seq(c).await?;
    let id = Id::new();
    let query = sql("INSERT INTO inspection (id, external_id, seq, inspector, arrived_at, found_at, class_code, \
         location_text, lon, lat, item, linked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)")
    .bind(id)
    .bind(new.external_id)
    .bind(seq)
    .bind(new.inspector)
    .bind(new.arrived_at)
    .bind(new.found_at)
    .bind(new.class_code)
    .bind(new.location_text)
    .bind(new.position.map(|p| p.0))
    .bind(new.position.map(|p| p.1))
    .bind(new.item)
    .bind(new.item.map(|_| new.arrived_at));
    c.run(query).await?;
    if let Some(item) = new.item {
        reward::again(c, &[item], new.arrived_at).await?;
    }
    Ok((c.one(select_inspection!("WHERE id = $1").bind(id)).await?, true))
}

impl Store {
    /// Numbers and stores a finding; `false` beside the row its id had already.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] for an unknown item, [`crate::DbError::Invalid`] for a text that is too long.
    pub async fn inspection_add(&self, new: NewInspection) -> Result<(Inspection, bool)> {
        limits::text("external_id", &new.external_id, SHORT_TEXT_CHARS_MAX)?;
        limits::text("inspector", &new.inspector, SHORT_TEXT_CHARS_MAX)?;
        limits::text("class_code", new.class_code.as_deref().unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
        limits::text("location_text", new.location_text.as_deref().unwrap_or_default(), LOCATION_CHARS_MAX)?;
        self.write(move |c| Box::pin(add(c, new))).await
    }

    /// Says which item a finding is about; `None` takes it back.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when either does not exist.
    pub async fn inspection_link(&self, id: Id, item: Option<Id>, by: Option<Id>, at: i64) -> Result<()> {
        self.write(move |c| {
            Box::pin(async move {
                let before: Inspection = c.one(select_inspection!("WHERE id = $1").bind(id)).await?;
                let query = sql("UPDATE inspection SET item = $2, linked_by = $3, linked_at = $4 WHERE id = $1")
                    .bind(id)
                    .bind(item)
                    .bind(by)
                    .bind(at);
                c.run(query).await?;
                let items: Vec<Id> = before.item.into_iter().chain(item).collect();
                reward::again(c, &items, at).await
            })
        })
        .await
    }

    /// The first inspector's finding about the incident of an item.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such item.
    pub async fn inspection_first(&self, item: Id) -> Result<Option<Inspection>> {
        let mut c = self.reader().await?;
        let root = incident::root(&mut c, item).await?;
        let mut members = incident::below(&mut c, root.id).await?;
        members.push(root.id);
        first_of(&mut c, &members).await
    }

    /// A finding by its id in the inspectors' system.
    ///
    /// # Errors
    /// As any read.
    pub async fn inspection_get(&self, external_id: &str) -> Result<Option<Inspection>> {
        let query = select_inspection!("WHERE external_id = $1").bind(external_id);
        self.reader().await?.opt(query).await
    }
}
