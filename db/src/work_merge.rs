//! What a merge does to the absorbed item's place in the operators' work, and its undoing.
//!
//! Two checks of one incident are one: the absorbed item's check ends, and that of the surviving
//! item moves up to the earlier place of both. What a citizen added or said is still to be read.

use serde_json::json;
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::Result,
    id::Id,
    sql::sql,
    work::{WorkDesk, WorkKind, WorkResult, note},
};

/// Event of a check that ended because its item was merged.
const MERGED: &str = "merged";
/// Event of a check that goes on because its item stands for itself again.
const RESTORED: &str = "restored";

#[derive(FromRow)]
struct Check {
    id: Id,
    lane: i64,
    urgency: i64,
    due_at: i64,
    desk: WorkDesk,
    excluded: Option<Id>,
}

crate::lite::row!(Check { id, lane, urgency, due_at, desk, excluded });

impl Check {
    /// Whether whoever checks the other may know of this one.
    fn goes_into(&self, other: &Self) -> bool {
        self.desk == other.desk && (self.excluded.is_none() || self.excluded == other.excluded)
    }
}

/// Open checks, and decisions on being one incident, of an item.
async fn checks(c: &mut Conn, item: Id) -> Result<Vec<Check>> {
    let query = sql("SELECT id, lane, urgency, due_at, desk, excluded FROM work \
         WHERE item = $1 AND done_at IS NULL AND kind IN ($2, $3) ORDER BY lane, due_at, seq, id LIMIT 200")
    .bind(item)
    .bind(WorkKind::Check)
    .bind(WorkKind::Duplicate);
    c.all(query).await
}

/// Ends the checks of an item merged into `into`. A person who merges has seen both; after a merge
/// by the gateway itself (`actor` is `None`) a check ends only if somebody will still look at the
/// surviving item, and may know of this one.
pub(crate) async fn absorb(c: &mut Conn, item: Id, into: Id, actor: Option<Id>, now: i64) -> Result<()> {
    let above = checks(c, into).await?;
    for check in checks(c, item).await? {
        let next = above.iter().find(|other| check.goes_into(other));
        if actor.is_none() && next.is_none() {
            continue;
        }
        let query = sql("UPDATE work SET result = $2, done_by = $3, done_at = $4, holder = NULL, lease_until = NULL \
             WHERE id = $1 AND done_at IS NULL")
        .bind(check.id)
        .bind(WorkResult::Merged)
        .bind(actor)
        .bind(now);
        if c.run(query).await? == 0 {
            continue;
        }
        note(c, check.id, now, MERGED, actor, &json!({ "into": into })).await?;
        if let Some(next) = next {
            raise(c, next, &check, now).await?;
        }
    }
    Ok(())
}

/// Moves a check up to the place of one that ended for it; never down.
async fn raise(c: &mut Conn, next: &Check, ended: &Check, now: i64) -> Result<()> {
    let query = sql("UPDATE work SET lane = CASE WHEN lane < $2 THEN lane ELSE $2 END, \
         urgency = CASE WHEN urgency < $3 THEN urgency ELSE $3 END, \
         due_at = CASE WHEN due_at < $4 THEN due_at ELSE $4 END \
         WHERE id = $1 AND done_at IS NULL AND (lane > $2 OR urgency > $3 OR due_at > $4)")
    .bind(next.id)
    .bind(ended.lane)
    .bind(ended.urgency)
    .bind(ended.due_at);
    if c.run(query).await? > 0 {
        let data = json!({ "lane": ended.lane, "urgency": ended.urgency, "merged": ended.id });
        note(c, next.id, now, "raised", None, &data).await?;
    }
    Ok(())
}

/// Opens what [`absorb`] ended, at its old place. What a person ended stays done.
pub(crate) async fn restore(c: &mut Conn, item: Id, actor: Option<Id>, now: i64) -> Result<()> {
    let query = sql("SELECT w.id FROM work w JOIN work_event e ON e.work = w.id \
         AND e.n = (SELECT MAX(l.n) FROM work_event l WHERE l.work = w.id) \
         WHERE w.item = $1 AND w.done_at IS NOT NULL AND e.kind = $2 ORDER BY w.id LIMIT 200")
    .bind(item)
    .bind(MERGED);
    for (id,) in c.all::<(Id,)>(query).await? {
        let open = sql("UPDATE work SET result = NULL, done_by = NULL, done_at = NULL WHERE id = $1").bind(id);
        c.run(open).await?;
        note(c, id, now, RESTORED, actor, &serde_json::Value::Null).await?;
    }
    Ok(())
}
