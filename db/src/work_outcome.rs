//! What the end of a piece of work does to its item: void, or merged, in the same commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::{
    conn::Conn,
    error::{DbError, Result},
    handoff::{self, HandoffKind, NewHandoff},
    id::Id,
    incident,
    incident_link::{self, LinkDecision},
    item::{self, Item, ItemState},
    pool::Store,
    reward,
    work::{Work, WorkPerson, WorkResult, load},
    work_claim::{checked, done},
};

/// Makes the note the case core gets about an item it has and that is void now.
pub type VoidNote = Box<dyn Fn(&Item) -> Value + Send + Sync>;

/// How a case core that has the case hears of it.
pub struct WorkVoid {
    /// The case core in force.
    pub target: String,
    /// The note to it.
    pub tell: VoidNote,
}

async fn void_item(c: &mut Conn, id: Id, how: WorkVoid, now: i64) -> Result<()> {
    c.lock(format!("item:{id}")).await?;
    let item = item::load(c, id).await?;
    match item.state {
        ItemState::Void => return Ok(()),
        ItemState::Closed | ItemState::AwaitingCallback => {
            return Err(DbError::conflict(format!(
                "{} 已办结,不能作废 / {} is finished: it can't be made void",
                item.acceptance_no, item.acceptance_no
            )));
        }
        _ => {}
    }
    if item.merged_into.is_some() || !incident::below(c, id).await?.is_empty() {
        return Err(DbError::conflict(
            "已与其他诉求并案,请先撤并 / it is one incident with other items: take it out of that first",
        ));
    }
    item::set_state(c, id, ItemState::Void, now).await?;
    handoff::withdraw(c, id).await?;
    if handoff::is_known(c, id).await? {
        let payload = catch_unwind(AssertUnwindSafe(|| (how.tell)(&item)))
            .map_err(|_| DbError::conflict("the note to the case core could not be made"))?;
        let new = NewHandoff { target: how.target, kind: HandoffKind::Remind, payload, idempotency_key: None };
        handoff::insert(c, id, new, now).await?;
    }
    reward::again(c, &[id], now).await
}

/// Already merged counts: into that incident, or into any where none is named.
async fn merge_item(c: &mut Conn, id: Id, into: Option<Id>, decision: LinkDecision) -> Result<()> {
    let item = item::load(c, id).await?;
    let Some(into) = into else {
        return match item.merged_into {
            Some(_) => Ok(()),
            None => Err(DbError::conflict("填写并入的受理编号 / into: name the item it goes into")),
        };
    };
    if item.merged_into.is_some() && incident::root(c, id).await?.id == incident::root(c, into).await?.id {
        return Ok(());
    }
    incident_link::merge(c, id, into, decision).await.map(|_| ())
}

fn item_of(work: &Work) -> Result<Id> {
    work.item.ok_or_else(|| DbError::conflict("该待办没有诉求 / this work has no item to merge"))
}

impl Store {
    /// Ends work as 作废: its item, if it has one, is void, and a case core that has it is told. Again
    /// by the same person: nothing changes.
    ///
    /// # Errors
    /// As [`Store::work_done`]; [`DbError::Conflict`] also when the item is finished or merged.
    pub async fn work_void(&self, id: Id, by: WorkPerson, how: WorkVoid, note: Option<&str>, now: i64) -> Result<Work> {
        let text = checked(note)?;
        self.write(move |c| {
            Box::pin(async move {
                // As a merge does: one at a time.
                c.lock("incident".into()).await?;
                let was_done = load(c, id).await?.done_at.is_some();
                let work = done(c, id, by, WorkResult::Void, text, now).await?;
                if let (false, Some(item)) = (was_done, work.item) {
                    void_item(c, item, how, now).await?;
                }
                load(c, id).await
            })
        })
        .await
    }

    /// Ends work as 合并: its item is merged `into` another; `None` when that was done before. Again by
    /// the same person: nothing changes.
    ///
    /// # Errors
    /// As [`Store::work_done`] and [`Store::incident_merge`].
    pub async fn work_merge(
        &self,
        id: Id,
        by: WorkPerson,
        into: Option<Id>,
        decision: LinkDecision,
        note: Option<&str>,
    ) -> Result<Work> {
        let (text, now) = (checked(note)?, decision.at);
        decision.check()?;
        self.write(move |c| {
            Box::pin(async move {
                c.lock("incident".into()).await?;
                let was_done = load(c, id).await?.done_at.is_some();
                let work = done(c, id, by, WorkResult::Merged, text, now).await?;
                if !was_done {
                    merge_item(c, item_of(&work)?, into, decision).await?;
                }
                load(c, id).await
            })
        })
        .await
    }
}
