//! Items in lists, and the contacts that belong to them.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    item::{Item, ItemState, select_item},
    limits,
    pool::Store,
    sql::sql,
    text::words,
};

words! {
    /// What a contact is to an item.
    ContactRole {
        /// It brought the item first.
        First = "首报",
        /// It reported the same matter.
        CoReport = "共报",
        /// It added something.
        Supplement = "补充",
        /// It urged.
        Urge = "催办",
    }
}

/// A contact of an item.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct ItemContact {
    /// The item.
    pub item: Id,
    /// The contact.
    pub contact: Id,
    /// What it is to the item.
    pub role: ContactRole,
    /// Order of arrival among the item's contacts, from 1.
    pub rank: i64,
    /// When it was linked.
    pub at: i64,
    /// Global arrival sequence of the contact.
    pub seq: i64,
    /// Channel of the contact.
    pub channel: String,
}

crate::lite::row!(ItemContact { item, contact, role, rank, at, seq, channel });

/// Which items to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct ItemFilter {
    /// Page length, 1 to 200.
    pub limit: i64,
    /// Only items older than this one: the last one of the page before.
    pub before: Option<Id>,
    /// Only this state.
    pub state: Option<ItemState>,
    /// Only this kind of request.
    pub kind: Option<String>,
    /// Only this citizen.
    pub party: Option<Id>,
    /// Only what this user took down.
    pub created_by: Option<Id>,
}

/// Links a contact to an item; `false` when it was linked before.
pub(crate) async fn link(c: &mut Conn, item: Id, contact: Id, role: ContactRole, at: i64) -> Result<bool> {
    let fresh = add(c, item, contact, role, at).await?;
    let query = sql("UPDATE contact SET item = $2 WHERE id = $1").bind(contact).bind(item);
    match c.run(query).await? {
        0 => Err(DbError::NotFound),
        _ => Ok(fresh),
    }
}

/// As [`link`], but a contact that led to an item of its own keeps it.
pub(crate) async fn join(c: &mut Conn, item: Id, contact: Id, role: ContactRole, at: i64) -> Result<bool> {
    let fresh = add(c, item, contact, role, at).await?;
    let query = sql("UPDATE contact SET item = $2 WHERE id = $1 AND item IS NULL").bind(contact).bind(item);
    c.run(query).await?;
    Ok(fresh)
}

async fn add(c: &mut Conn, item: Id, contact: Id, role: ContactRole, at: i64) -> Result<bool> {
    c.lock(format!("item:{item}")).await?;
    let query = sql("INSERT INTO item_contact (item, contact, role, rank, at) \
         SELECT $1, $2, $3, COALESCE(MAX(rank), 0) + 1, $4 FROM item_contact WHERE item = $1 \
         ON CONFLICT (item, contact) DO NOTHING")
    .bind(item)
    .bind(contact)
    .bind(role)
    .bind(at);
    Ok(c.run(query).await? > 0)
}

/// The contacts of an item in order of arrival. Rank and 首报 follow from the arrival numbers, in
/// whatever order the contacts were linked.
pub(crate) async fn contacts(c: &mut Conn, item: Id) -> Result<Vec<ItemContact>> {
    let query = sql("SELECT i.item, i.contact, i.role, i.rank, i.at, k.seq, k.channel \
         FROM item_contact i JOIN contact k ON k.id = i.contact \
         WHERE i.item = $1 ORDER BY k.seq")
    .bind(item);
    let mut rows: Vec<ItemContact> = c.all(query).await?;
    let mut first = ContactRole::First;
    for (rank, row) in (1..).zip(&mut rows) {
        row.rank = rank;
        if matches!(row.role, ContactRole::First | ContactRole::CoReport) {
            row.role = std::mem::replace(&mut first, ContactRole::CoReport);
        }
    }
    Ok(rows)
}

impl Store {
    /// Links a call to an item as a supplement, unless it is linked already.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when either does not exist.
    pub async fn call_set_item(&self, call: Id, item: Id, at: i64) -> Result<()> {
        self.write(move |c| {
            Box::pin(async move {
                let query = sql("SELECT contact AS id FROM call WHERE id = $1").bind(call);
                let contact: crate::claim::IdRow = c.one(query).await?;
                link(c, item, contact.id, ContactRole::Supplement, at).await.map(|_| ())
            })
        })
        .await
    }

    /// The item a call belongs to.
    ///
    /// # Errors
    /// As any read.
    pub async fn call_item(&self, call: Id) -> Result<Option<Id>> {
        let query = sql("SELECT k.item AS id FROM call l JOIN contact k ON k.id = l.contact \
                         WHERE l.id = $1 AND k.item IS NOT NULL");
        let found: Option<crate::claim::IdRow> = self.reader().await?.opt(query.bind(call)).await?;
        Ok(found.map(|row| row.id))
    }

    /// Links a contact to an item; `false` when it was linked before.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when either does not exist.
    pub async fn item_contact_add(&self, item: Id, contact: Id, role: ContactRole, at: i64) -> Result<bool> {
        self.write(move |c| Box::pin(link(c, item, contact, role, at))).await
    }

    /// The contacts of an item in order of arrival.
    ///
    /// # Errors
    /// As any read.
    pub async fn item_contacts(&self, item: Id) -> Result<Vec<ItemContact>> {
        contacts(&mut self.reader().await?, item).await
    }

    /// Items, newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn items(&self, filter: ItemFilter) -> Result<Vec<Item>> {
        let query = select_item!(
            "WHERE ($1 IS NULL OR id < $1) AND ($2 IS NULL OR state = $2) \
             AND ($3 IS NULL OR kind = $3) AND ($4 IS NULL OR party = $4) \
             AND ($5 IS NULL OR created_by = $5) ORDER BY id DESC LIMIT $6"
        )
        .bind(filter.before)
        .bind(filter.state)
        .bind(filter.kind)
        .bind(filter.party)
        .bind(filter.created_by)
        .bind(limits::page(filter.limit));
        self.reader().await?.all(query).await
    }

    /// The newest items of a citizen, newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn items_of_party(&self, party: Id, limit: i64) -> Result<Vec<Item>> {
        let query = select_item!("WHERE party = $1 ORDER BY id DESC LIMIT $2").bind(party).bind(limits::page(limit));
        self.reader().await?.all(query).await
    }

    /// The last item of a citizen.
    ///
    /// # Errors
    /// As any read.
    pub async fn item_last_of_party(&self, party: Id) -> Result<Option<Item>> {
        Ok(self.items_of_party(party, 1).await?.into_iter().next())
    }
}
