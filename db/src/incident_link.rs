//! Merging items about one incident, taking them apart again, and splitting contacts off.
//!
//! Nothing moves in a merge: an item points to the one it was merged into, its contacts stay its
//! own. Who was first follows from the arrival numbers alone, so any sequence of merges and splits
//! gives the same order, and undoing one needs no more than the pointer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;

use crate::{
    callback::{self, CallbackKind, NewCallback},
    case_event::CaseStage,
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    handoff::{self, HandoffKind, NewHandoff},
    id::Id,
    incident,
    item::{self, Item, ItemHandoff, ItemState, NewItem},
    item_list::{self, ContactRole, ItemContact},
    limits::{self, INCIDENT_MEMBERS_MAX, SHORT_TEXT_CHARS_MAX, SPLIT_CONTACTS_MAX},
    pool::Store,
    reward,
    sql::sql,
    text::{Json, words},
    work_merge,
};

words! {
    /// What was done.
    LinkAction {
        /// The item was merged into the target.
        Merge = "并案",
        /// The item stands for itself again.
        Detach = "撤并",
        /// The item was made of contacts of the target.
        Split = "拆分",
    }
}

/// One merge or split, as it was decided.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct ItemLink {
    /// Row id.
    pub id: Id,
    /// What was done.
    pub action: LinkAction,
    /// To which item.
    pub item: Id,
    /// With which other.
    pub target: Id,
    /// Contacts that were moved; empty but for 拆分.
    pub contacts: Json,
    /// Who decided: a user; `None`: the gateway itself.
    pub actor: Option<Id>,
    /// The score of the comparison, 0 to 100.
    pub score: Option<i64>,
    /// Why, in the comparison's terms.
    pub reasons: Json,
    /// Why, in the user's words.
    pub note: Option<String>,
    /// The item's state before.
    pub prior_state: ItemState,
    /// When.
    pub at: i64,
}

crate::lite::row!(ItemLink { id, action, item, target, contacts, actor, score, reasons, note, prior_state, at });

/// Makes the note the case core gets about an item and the one it was merged into or split from.
pub type LinkNote = Box<dyn Fn(LinkAction, &Item, &Item) -> Value + Send + Sync>;

/// Who decides on a merge or split, and why.
pub struct LinkDecision {
    /// A user; `None`: the gateway itself.
    pub actor: Option<Id>,
    /// The score of the comparison, 0 to 100.
    pub score: Option<i64>,
    /// Why, in the comparison's terms.
    pub reasons: Value,
    /// Why, in the user's words.
    pub note: Option<String>,
    /// Now.
    pub at: i64,
    /// The case core in force, for items it doesn't know yet.
    pub target: String,
    /// The note to the case core.
    pub tell: LinkNote,
}

impl std::fmt::Debug for LinkDecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkDecision").field("actor", &self.actor).field("at", &self.at).finish_non_exhaustive()
    }
}

impl LinkDecision {
    pub(crate) fn check(&self) -> Result<()> {
        limits::text("note", self.note.as_deref().unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
        limits::json("reasons", &self.reasons).map(|_| ())
    }

    async fn write(&self, c: &mut Conn, link: Link<'_>) -> Result<Id> {
        let id = Id::new();
        let query = sql("INSERT INTO item_link (id, action, item, target, contacts, actor, score, reasons, note, \
             prior_state, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
        .bind(id)
        .bind(link.action)
        .bind(link.item.id)
        .bind(link.target.id)
        .bind(json!(link.contacts).to_string())
        .bind(self.actor)
        .bind(self.score)
        .bind(self.reasons.to_string())
        .bind(self.note.clone())
        .bind(link.item.state)
        .bind(self.at);
        c.run(query).await.map(|_| id)
    }

    /// Tells the case core, behind what it was told before; an item it never hears of isn't mentioned.
    async fn tell(&self, c: &mut Conn, whose: Id, action: LinkAction, item: &Item, target: &Item) -> Result<()> {
        if !handoff::is_known(c, whose).await? {
            return Ok(());
        }
        let payload = catch_unwind(AssertUnwindSafe(|| (self.tell)(action, item, target)))
            .map_err(|_| DbError::conflict("the note to the case core could not be made"))?;
        let new = NewHandoff { target: self.target.clone(), kind: HandoffKind::Remind, payload, idempotency_key: None };
        handoff::insert(c, whose, new, self.at).await.map(|_| ())
    }
}

struct Link<'a> {
    action: LinkAction,
    item: &'a Item,
    target: &'a Item,
    contacts: &'a [Id],
}

/// Contacts to split off an item.
#[derive(Debug, Clone)]
pub struct NewSplit {
    /// The item they belong to.
    pub item: Id,
    /// Which; at least one stays behind.
    pub contacts: Vec<Id>,
    /// Title of the new item; `None` keeps the old one's.
    pub title: Option<String>,
}

async fn lock_items(c: &mut Conn, one: Id, other: Id) -> Result<()> {
    // In order, so that two merges can't wait for each other.
    for id in [one.min(other), one.max(other)] {
        c.lock(format!("item:{id}")).await?;
    }
    Ok(())
}

pub(crate) async fn merge(c: &mut Conn, item: Id, into: Id, decision: LinkDecision) -> Result<ItemLink> {
    // One at a time: two merges that cross each other would make a ring.
    c.lock("incident".into()).await?;
    let (item, into) = (incident::root(c, item).await?.id, incident::root(c, into).await?.id);
    if item == into {
        return Err(DbError::conflict("已是同一事件 / these are one incident already"));
    }
    lock_items(c, item, into).await?;
    let (item, into) = (item::load(c, item).await?, item::load(c, into).await?);
    for one in [&item, &into] {
        if matches!(one.state, ItemState::Closed | ItemState::Void) {
            return Err(DbError::conflict(format!(
                "{} 已办结或作废,不能并案 / {} is {}: closed and void items are not merged",
                one.acceptance_no, one.acceptance_no, one.state
            )));
        }
    }
    let members = incident::below(c, item.id).await?.len() + incident::below(c, into.id).await?.len();
    if i64::try_from(members).unwrap_or(i64::MAX) + 2 > INCIDENT_MEMBERS_MAX {
        return Err(DbError::conflict(format!("an incident has at most {INCIDENT_MEMBERS_MAX} items")));
    }
    let point = sql("UPDATE item SET merged_into = $2 WHERE id = $1").bind(item.id).bind(into.id);
    c.run(point).await?;
    item::set_state(c, item.id, into.state, decision.at).await?;
    handoff::withdraw(c, item.id).await?;
    work_merge::absorb(c, item.id, into.id, decision.actor, decision.at).await?;
    decision.tell(c, into.id, LinkAction::Merge, &item, &into).await?;
    decision.tell(c, item.id, LinkAction::Merge, &item, &into).await?;
    if into.state == ItemState::AwaitingCallback {
        ask_members(c, into.id, &NewCallback::new(CallbackKind::CaseFinished, decision.at), decision.at).await?;
    }
    let link = Link { action: LinkAction::Merge, item: &item, target: &into, contacts: &[] };
    let id = decision.write(c, link).await?;
    reward::again(c, &[item.id, into.id], decision.at).await?;
    load_link(c, id).await
}

async fn detach(c: &mut Conn, item: Id, decision: LinkDecision) -> Result<ItemLink> {
    c.lock("incident".into()).await?;
    let item = item::load(c, item).await?;
    let above = item.merged_into.ok_or_else(|| {
        DbError::conflict("该诉求未并入其他诉求 / this item isn't merged into another: name the contacts to split off")
    })?;
    let top = incident::root(c, above).await?;
    lock_items(c, item.id, top.id).await?;
    let above = item::load(c, above).await?;
    let clear = sql("UPDATE item SET merged_into = NULL WHERE id = $1").bind(item.id);
    c.run(clear).await?;
    handoff::restore(c, item.id, decision.at).await?;
    work_merge::restore(c, item.id, decision.actor, decision.at).await?;
    let state = own_state(c, &item, decision.at).await?;
    item::set_state(c, item.id, state, decision.at).await?;
    decision.tell(c, top.id, LinkAction::Detach, &item, &top).await?;
    if handoff::was_sent(c, item.id).await? {
        decision.tell(c, item.id, LinkAction::Detach, &item, &top).await?;
    }
    let link = Link { action: LinkAction::Detach, item: &item, target: &above, contacts: &[] };
    let id = decision.write(c, link).await?;
    reward::again(c, &[item.id, top.id], decision.at).await?;
    load_link(c, id).await
}

/// Where an item stands that stands for itself again: where it stood before, unless its own case
/// moved on meanwhile.
async fn own_state(c: &mut Conn, item: &Item, at: i64) -> Result<ItemState> {
    let merged = sql("SELECT prior_state, at FROM item_link WHERE item = $1 AND action = $2 ORDER BY id DESC LIMIT 1")
        .bind(item.id)
        .bind(LinkAction::Merge);
    let (prior, since): (ItemState, i64) = c.opt(merged).await?.unwrap_or((ItemState::Registered, 0));
    let news = sql("SELECT stage FROM handoff_update WHERE item = $1 AND at >= $2 ORDER BY at DESC, id DESC LIMIT 1")
        .bind(item.id)
        .bind(since);
    let Some((stage,)) = c.opt::<(CaseStage,)>(news).await? else { return Ok(prior) };
    Ok(match stage {
        CaseStage::Received | CaseStage::InProgress | CaseStage::Reopened => ItemState::HandedOff,
        CaseStage::Returned => ItemState::Verifying,
        CaseStage::Suspended => ItemState::Suspended,
        CaseStage::Deferred => ItemState::Deferred,
        CaseStage::NotFiled => ItemState::NotFiled,
        CaseStage::Handled | CaseStage::Closed => {
            let mut ask = NewCallback::new(CallbackKind::CaseFinished, at);
            (ask.item, ask.party) = (Some(item.id), item.party);
            callback::insert(c, ask, at).await?;
            ItemState::AwaitingCallback
        }
    })
}

/// Owes every citizen whose item was merged into `root` the callback of its case, one each.
pub(crate) async fn ask_members(c: &mut Conn, root: Id, callback: &NewCallback, at: i64) -> Result<()> {
    let mut asked: Vec<Id> = item::load(c, root).await?.party.into_iter().collect();
    for id in incident::below(c, root).await? {
        let Some(party) = item::load(c, id).await?.party else { continue };
        if asked.contains(&party) {
            continue;
        }
        asked.push(party);
        if !callback::is_open_for_item(c, id).await? {
            let new = NewCallback { item: Some(id), party: Some(party), ..callback.clone() };
            callback::insert(c, new, at).await?;
        }
    }
    Ok(())
}

async fn split(
    c: &mut Conn,
    new: NewSplit,
    decision: LinkDecision,
    send: Option<ItemHandoff>,
    utc_offset_min: i32,
) -> Result<(Item, ItemLink)> {
    c.lock("incident".into()).await?;
    c.lock(format!("item:{}", new.item)).await?;
    let old = item::load(c, new.item).await?;
    let all = item_list::contacts(c, old.id).await?;
    let (moved, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| new.contacts.contains(&row.contact));
    let (Some(first), Some(stays)) = (moved.first(), left.first()) else {
        return Err(DbError::Invalid {
            field: "contacts",
            why: "应为本诉求的部分联系 / some, not all, of this item's own contacts are expected".into(),
        });
    };
    if moved.len() != new.contacts.len() {
        return Err(DbError::Invalid { field: "contacts", why: "不属于本诉求 / not this item's".into() });
    }
    move_out(c, &old, &moved, &left, stays).await?;
    let item = NewItem {
        region: old.region.clone(),
        channel: u8::try_from(old.channel).unwrap_or(1),
        kind: old.kind.clone(),
        urgency: old.urgency,
        title: new.title.unwrap_or_else(|| old.title.clone()),
        detail: old.detail.clone(),
        occurred_at: old.occurred_at,
        class_code: old.class_code.clone(),
        location_text: old.location_text.clone(),
        lon: old.lon,
        lat: old.lat,
        source: "split".into(),
        first_contact: Some(first.contact),
        created_by: decision.actor,
        ..NewItem::default()
    };
    let (made, _) = item::create(c, item, send, None, decision.at, utc_offset_min).await?;
    for row in moved.iter().skip(1) {
        item_list::link(c, made.id, row.contact, row.role, decision.at).await?;
    }
    // A person took them apart: they are not to be merged again by the gateway itself.
    c.run(sql("DELETE FROM incident_due WHERE item = $1").bind(made.id)).await?;
    let contacts: Vec<Id> = moved.iter().map(|row| row.contact).collect();
    let link = Link { action: LinkAction::Split, item: &made, target: &old, contacts: &contacts };
    let id = decision.write(c, link).await?;
    let top = incident::root(c, old.id).await?;
    decision.tell(c, top.id, LinkAction::Split, &made, &top).await?;
    reward::again(c, &[made.id, top.id], decision.at).await?;
    Ok((made, load_link(c, id).await?))
}

/// Takes contacts out of an item; what stays has its own first one.
async fn move_out(
    c: &mut Conn,
    old: &Item,
    moved: &[ItemContact],
    left: &[ItemContact],
    stays: &ItemContact,
) -> Result<()> {
    for row in moved {
        let query = sql("DELETE FROM item_contact WHERE item = $1 AND contact = $2").bind(old.id).bind(row.contact);
        c.run(query).await?;
    }
    if !left.iter().any(|row| matches!(row.role, ContactRole::First | ContactRole::CoReport)) {
        let query = sql("UPDATE item_contact SET role = $3 WHERE item = $1 AND contact = $2")
            .bind(old.id)
            .bind(stays.contact)
            .bind(ContactRole::First);
        c.run(query).await?;
    }
    if old.first_contact.is_none_or(|first| moved.iter().any(|row| row.contact == first)) {
        let query = sql("UPDATE item SET first_contact = $2, \
             party = COALESCE((SELECT party FROM contact WHERE id = $2), party) WHERE id = $1")
        .bind(old.id)
        .bind(stays.contact);
        c.run(query).await?;
    }
    Ok(())
}

macro_rules! select_link {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, action, item, target, contacts, actor, score, reasons, note, prior_state, at FROM item_link ",
            $tail
        ))
    };
}

async fn load_link(c: &mut Conn, id: Id) -> Result<ItemLink> {
    c.one(select_link!("WHERE id = $1").bind(id)).await
}

impl Store {
    /// Merges the incident of `item` into that of `into`: it points there, has its state, and its
    /// citizen is asked like the other's. Its hand-off is withdrawn if nobody has it yet; else the
    /// case core gets a note about it. Its check in the operators' queue ends for the other's, which
    /// moves up to its place. Reversible by [`Store::incident_detach`].
    ///
    /// # Errors
    /// [`DbError::Conflict`] when they are one incident already, or one is closed or void.
    pub async fn incident_merge(&self, item: Id, into: Id, decision: LinkDecision) -> Result<ItemLink> {
        decision.check()?;
        self.write(move |c| Box::pin(merge(c, item, into, decision))).await
    }

    /// Takes an item, with what was merged into it, out of the one it was merged into.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when it isn't merged.
    pub async fn incident_detach(&self, item: Id, decision: LinkDecision) -> Result<ItemLink> {
        decision.check()?;
        self.write(move |c| Box::pin(detach(c, item, decision))).await
    }

    /// Makes an item of some of an item's contacts. Undone by merging it into the old one.
    ///
    /// # Errors
    /// [`DbError::Invalid`] unless the contacts are some, but not all, of the item's own.
    pub async fn incident_split(
        &self,
        new: NewSplit,
        decision: LinkDecision,
        send: Option<ItemHandoff>,
        utc_offset_min: i32,
    ) -> Result<(Item, ItemLink)> {
        decision.check()?;
        if new.contacts.len() > SPLIT_CONTACTS_MAX {
            return Err(DbError::Invalid { field: "contacts", why: format!("more than {SPLIT_CONTACTS_MAX}") });
        }
        self.write(move |c| Box::pin(split(c, new, decision, send, utc_offset_min))).await
    }

    /// The merges and splits an item took part in, oldest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn item_links(&self, item: Id) -> Result<Vec<ItemLink>> {
        let query = select_link!("WHERE item = $1 OR target = $1 ORDER BY id LIMIT 200").bind(item);
        self.reader().await?.all(query).await
    }

    /// Whether a person has ever taken these two apart: then the gateway leaves them so.
    ///
    /// # Errors
    /// As any read.
    pub async fn incident_kept_apart(&self, one: Id, other: Id) -> Result<bool> {
        let query = sql("SELECT id FROM item_link WHERE action IN ($3, $4) \
             AND ((item = $1 AND target = $2) OR (item = $2 AND target = $1)) LIMIT 1")
        .bind(one)
        .bind(other)
        .bind(LinkAction::Detach)
        .bind(LinkAction::Split);
        Ok(self.reader().await?.opt::<IdRow>(query).await?.is_some())
    }
}
