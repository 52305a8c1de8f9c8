//! Work in hand: taken as a lease, renewed, given back, passed on, done; and late.

use serde_json::{Value, json};

use crate::{
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::{Sql, sql, sql_claim},
    work::{Work, WorkDesk, WorkPerson, WorkResult, load, note},
};

/// Where work is passed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkTarget {
    /// One person.
    Person(WorkPerson),
    /// The shift leader's desk.
    Leader,
}

/// What came to its time.
#[derive(Debug, Clone)]
pub struct LateWork {
    /// The work.
    pub work: Work,
    /// `late` (not done) or `unacknowledged`.
    pub what: &'static str,
}

/// What a person may take at `$1`: nobody holds it, it isn't hidden from them (`$2`, a leader: `$3`), and it
/// waits for no one else, unless it is late.
macro_rules! free {
    () => {
        "done_at IS NULL AND (lease_until IS NULL OR lease_until <= $1) AND (excluded IS NULL OR excluded <> $2) \
         AND (desk = '受理' OR $3) AND (assignee IS NULL OR assignee = $2 OR overdue_at IS NOT NULL)"
    };
}

fn of(query: Sql, who: WorkPerson, now: i64) -> Sql {
    query.bind(now).bind(who.id).bind(who.leader)
}

/// What this person may know of.
async fn seen(c: &mut Conn, id: Id, who: WorkPerson) -> Result<Work> {
    let work = load(c, id).await?;
    if work.is_for(who) { Ok(work) } else { Err(DbError::NotFound) }
}

/// Why somebody's step came too late.
fn refused(work: &Work, who: WorkPerson, now: i64) -> DbError {
    if work.done_at.is_some() {
        return DbError::conflict("已办结 / this work is done already");
    }
    if work.is_held(now) && work.holder != Some(who.id) {
        return DbError::conflict("他人正在处理 / somebody else holds this work now: take the next one");
    }
    if work.assignee.is_some_and(|assignee| assignee != who.id) {
        return DbError::conflict("已转交他人 / this work was passed to somebody else");
    }
    DbError::conflict("请先领取 / take this work first: the lease ended or it was never yours")
}

async fn give(c: &mut Conn, id: Id, who: WorkPerson, now: i64, lease_ms: i64) -> Result<Work> {
    let before = load(c, id).await?;
    let query = sql("UPDATE work SET holder = $2, lease_until = $3, taken_at = COALESCE(taken_at, $4), \
         acknowledged_at = COALESCE(acknowledged_at, $4) WHERE id = $1")
    .bind(id)
    .bind(who.id)
    .bind(now + lease_ms)
    .bind(now);
    c.run(query).await?;
    // A lease that ran out is seen by who comes next.
    let data = before.holder.map_or(Value::Null, |lapsed| json!({"lapsed": lapsed}));
    note(c, id, now, "taken", Some(who.id), &data).await?;
    load(c, id).await
}

async fn renew(c: &mut Conn, id: Id, user: Id, now: i64, lease_ms: i64) -> Result<bool> {
    // Somebody whose lease ran out has it still, as long as nobody else took it.
    let query = sql("UPDATE work SET lease_until = $3 WHERE id = $1 AND holder = $2 AND done_at IS NULL")
        .bind(id)
        .bind(user)
        .bind(now + lease_ms);
    Ok(c.run(query).await? > 0)
}

async fn next(c: &mut Conn, who: WorkPerson, now: i64, lease_ms: i64) -> Result<Option<Work>> {
    // Asked twice at once, one person still gets one.
    c.lock(format!("work_next:{}", who.id)).await?;
    let held = sql("SELECT id FROM work WHERE holder = $1 AND lease_until > $2 AND done_at IS NULL \
                    ORDER BY lane, due_at, seq, id LIMIT 1")
    .bind(who.id)
    .bind(now);
    if let Some(IdRow { id }) = c.opt(held).await?
        && renew(c, id, who.id, now, lease_ms).await?
    {
        return load(c, id).await.map(Some);
    }
    let pick = sql_claim!("SELECT id FROM work WHERE ", free!(), " ORDER BY lane, due_at, seq, id LIMIT 1");
    match c.opt(of(pick, who, now)).await? {
        Some(IdRow { id }) => give(c, id, who, now, lease_ms).await.map(Some),
        None => Ok(None),
    }
}

async fn take(c: &mut Conn, id: Id, who: WorkPerson, now: i64, lease_ms: i64) -> Result<Work> {
    let work = seen(c, id, who).await?;
    if work.is_held(now) && work.holder == Some(who.id) && renew(c, id, who.id, now, lease_ms).await? {
        return load(c, id).await;
    }
    let pick = sql_claim!("SELECT id FROM work WHERE ", free!(), " AND id = $4");
    let found: Option<IdRow> = c.opt(of(pick, who, now).bind(id)).await?;
    match found {
        Some(IdRow { id }) => give(c, id, who, now, lease_ms).await,
        None => Err(refused(&load(c, id).await?, who, now)),
    }
}

async fn release(c: &mut Conn, id: Id, who: WorkPerson, now: i64) -> Result<Work> {
    let query = sql("UPDATE work SET holder = NULL, lease_until = NULL \
                     WHERE id = $1 AND holder = $2 AND done_at IS NULL")
    .bind(id)
    .bind(who.id);
    if c.run(query).await? > 0 {
        note(c, id, now, "released", Some(who.id), &Value::Null).await?;
        return load(c, id).await;
    }
    // Asked again after a lost answer: it is free, or somebody else's by now.
    seen(c, id, who).await
}

async fn transfer(
    c: &mut Conn,
    id: Id,
    by: WorkPerson,
    to: WorkTarget,
    text: Option<String>,
    now: i64,
) -> Result<Work> {
    let work = load(c, id).await?;
    if work.excluded == Some(by.id) {
        return Err(DbError::NotFound);
    }
    let (desk, assignee) = match to {
        WorkTarget::Leader => (WorkDesk::Leader, None),
        // A leader's work passed to an operator is an operator's from now on.
        WorkTarget::Person(person) => {
            let desk = if person.leader { work.desk } else { WorkDesk::Operators };
            (desk, Some(person.id))
        }
    };
    if assignee.is_some() && assignee == work.excluded {
        return Err(DbError::conflict("该人员须回避 / this person is excluded from this work"));
    }
    // A leader may pass on what nobody holds.
    let query = sql("UPDATE work SET desk = $4, assignee = $5, note = COALESCE($6, note), holder = NULL, \
         lease_until = NULL WHERE id = $1 AND done_at IS NULL \
         AND (holder = $2 OR ($7 AND (lease_until IS NULL OR lease_until <= $3)))")
    .bind(id)
    .bind(by.id)
    .bind(now)
    .bind(desk)
    .bind(assignee)
    .bind(text)
    .bind(by.leader);
    if c.run(query).await? > 0 {
        let data = json!({"desk": desk, "to": assignee});
        note(c, id, now, "transferred", Some(by.id), &data).await?;
        return load(c, id).await;
    }
    // Asked again after a lost answer: it lies where they put it.
    let query = sql("SELECT actor AS id FROM work_event WHERE work = $1 AND actor IS NOT NULL ORDER BY n DESC LIMIT 1");
    let last: Option<IdRow> = c.opt(query.bind(id)).await?;
    let is_there = work.desk == desk && work.assignee == assignee && last.is_some_and(|last| last.id == by.id);
    if work.done_at.is_none() && is_there { Ok(work) } else { Err(refused(&work, by, now)) }
}

pub(crate) async fn done(
    c: &mut Conn,
    id: Id,
    by: WorkPerson,
    result: WorkResult,
    text: Option<String>,
    now: i64,
) -> Result<Work> {
    let query = sql("UPDATE work SET result = $3, note = COALESCE($4, note), done_by = $2, done_at = $5, \
         holder = NULL, lease_until = NULL WHERE id = $1 AND holder = $2 AND done_at IS NULL \
         AND (excluded IS NULL OR excluded <> $2)")
    .bind(id)
    .bind(by.id)
    .bind(result)
    .bind(text)
    .bind(now);
    if c.run(query).await? > 0 {
        note(c, id, now, "done", Some(by.id), &json!({"result": result})).await?;
        return load(c, id).await;
    }
    let work = seen(c, id, by).await?;
    let again = work.done_by == Some(by.id) && work.result == Some(result);
    if again { Ok(work) } else { Err(refused(&work, by, now)) }
}

async fn late(c: &mut Conn, now: i64, limit: i64) -> Result<Vec<LateWork>> {
    let mut found = Vec::new();
    let due = sql_claim!(
        "SELECT id FROM work WHERE done_at IS NULL AND overdue_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT $2"
    );
    let rows: Vec<IdRow> = c.all(due.bind(now).bind(limits::claim(limit))).await?;
    for IdRow { id } in rows {
        c.run(sql("UPDATE work SET overdue_at = $2 WHERE id = $1").bind(id).bind(now)).await?;
        note(c, id, now, "late", None, &Value::Null).await?;
        found.push(LateWork { work: load(c, id).await?, what: "late" });
    }
    let unheard = sql_claim!(
        "SELECT id FROM work WHERE done_at IS NULL AND acknowledged_at IS NULL AND ack_overdue_at IS NULL \
         AND ack_due_at IS NOT NULL AND ack_due_at <= $1 ORDER BY ack_due_at LIMIT $2"
    );
    let rows: Vec<IdRow> = c.all(unheard.bind(now).bind(limits::claim(limit))).await?;
    for IdRow { id } in rows {
        if heard(c, id).await? {
            continue;
        }
        c.run(sql("UPDATE work SET ack_overdue_at = $2 WHERE id = $1").bind(id).bind(now)).await?;
        note(c, id, now, "unacknowledged", None, &Value::Null).await?;
        found.push(LateWork { work: load(c, id).await?, what: "unacknowledged" });
    }
    Ok(found)
}

/// Whether a text of ours left about it; then nobody waits.
async fn heard(c: &mut Conn, id: Id) -> Result<bool> {
    let query = sql(
        "UPDATE work SET acknowledged_at = (SELECT MIN(submitted_at) FROM outgoing o          WHERE o.item = work.item AND o.purpose IN ('receipt', 'question', 'reply'))          WHERE id = $1 AND EXISTS (SELECT 1 FROM outgoing o WHERE o.item = work.item          AND o.purpose IN ('receipt', 'question', 'reply') AND o.submitted_at IS NOT NULL)",
    );
    Ok(c.run(query.bind(id)).await? > 0)
}

pub(crate) fn checked(text: Option<&str>) -> Result<Option<String>> {
    limits::text("note", text.unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
    Ok(text.map(str::to_owned))
}

impl Store {
    /// The first work in the queue this person may do, theirs for `lease_ms`; what they hold already comes
    /// back instead, so that a request repeated after a lost answer takes nothing more.
    ///
    /// # Errors
    /// As any write.
    pub async fn work_next(&self, who: WorkPerson, now: i64, lease_ms: i64) -> Result<Option<Work>> {
        self.write(move |c| Box::pin(next(c, who, now, lease_ms))).await
    }

    /// This work, whatever its place; again by who holds it, it is renewed.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when it is done, held or passed to somebody else; [`DbError::NotFound`].
    pub async fn work_take(&self, id: Id, who: WorkPerson, now: i64, lease_ms: i64) -> Result<Work> {
        self.write(move |c| Box::pin(take(c, id, who, now, lease_ms))).await
    }

    /// Prolongs a lease, also one that ran out while nobody else took the work.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when it isn't theirs any more; [`DbError::NotFound`].
    pub async fn work_renew(&self, id: Id, who: WorkPerson, now: i64, lease_ms: i64) -> Result<Work> {
        self.write(move |c| {
            Box::pin(async move {
                let renewed = renew(c, id, who.id, now, lease_ms).await?;
                let work = seen(c, id, who).await?;
                if renewed { Ok(work) } else { Err(refused(&work, who, now)) }
            })
        })
        .await
    }

    /// Gives it back to its old place. Not theirs: nothing changes.
    ///
    /// # Errors
    /// [`DbError::NotFound`].
    pub async fn work_release(&self, id: Id, who: WorkPerson, now: i64) -> Result<Work> {
        self.write(move |c| Box::pin(release(c, id, who, now))).await
    }

    /// Passes it on, at its old place. Who holds it may, and a leader when nobody does.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when it isn't theirs or the receiver is excluded; [`DbError::NotFound`].
    pub async fn work_transfer(
        &self,
        id: Id,
        by: WorkPerson,
        to: WorkTarget,
        note: Option<&str>,
        now: i64,
    ) -> Result<Work> {
        let text = checked(note)?;
        self.write(move |c| Box::pin(transfer(c, id, by, to, text, now))).await
    }

    /// Ends it. The same result by the same person again changes nothing.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when it isn't theirs; [`DbError::NotFound`].
    pub async fn work_done(
        &self,
        id: Id,
        by: WorkPerson,
        result: WorkResult,
        note: Option<&str>,
        now: i64,
    ) -> Result<Work> {
        let text = checked(note)?;
        self.write(move |c| Box::pin(done(c, id, by, result, text, now))).await
    }

    /// Notes what came to its time, each once over all gateways.
    ///
    /// # Errors
    /// As any write.
    pub async fn work_late(&self, now: i64, limit: i64) -> Result<Vec<LateWork>> {
        // Mostly there is nothing: no transaction then.
        let due = sql("SELECT id FROM work WHERE done_at IS NULL AND overdue_at IS NULL AND due_at <= $1 LIMIT 1");
        let unheard = sql("SELECT id FROM work WHERE done_at IS NULL AND acknowledged_at IS NULL \
             AND ack_overdue_at IS NULL AND ack_due_at IS NOT NULL AND ack_due_at <= $1 LIMIT 1");
        let mut reader = self.reader().await?;
        let first: Option<IdRow> = reader.opt(due.bind(now)).await?;
        let second: Option<IdRow> = reader.opt(unheard.bind(now)).await?;
        drop(reader);
        if first.is_none() && second.is_none() {
            return Ok(Vec::new());
        }
        self.write(move |c| Box::pin(late(c, now, limit))).await
    }

    /// The citizen of this item was told something: nobody waits for our first word any more.
    ///
    /// # Errors
    /// As any write.
    pub async fn work_acknowledged(&self, item: Id, at: i64) -> Result<u64> {
        let query = sql("UPDATE work SET acknowledged_at = $2 WHERE item = $1 AND acknowledged_at IS NULL \
                         AND done_at IS NULL")
        .bind(item)
        .bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }
}
