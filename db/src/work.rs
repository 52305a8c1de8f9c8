//! The operators' work: what a person has to do about contacts, in one order for all channels.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    recusal,
    sql::sql,
    text::{Json, words},
};

words! {
    /// What is to be done.
    WorkKind {
        /// Check and complete an item nobody took down by hand.
        Check = "核对",
        /// Read what a citizen added.
        Supplement = "补充",
        /// Listen to a voice message.
        Voice = "听留言",
        /// A conversation that came to no item.
        Unfinished = "未完",
        /// Decide whether two items are one incident.
        Duplicate = "查重",
    }
}

words! {
    /// Whose work it is.
    WorkDesk {
        /// Any operator's.
        Operators = "受理",
        /// The shift leader's.
        Leader = "值班长",
    }
}

words! {
    /// How a piece of work ended.
    WorkResult {
        /// The case core has it, or will have.
        HandedOff = "移交",
        /// There is nothing to be done.
        Void = "作废",
        /// It belongs to another item.
        Merged = "合并",
        /// The citizen has the answer.
        Answered = "答复",
    }
}

/// A piece of work with what a list shows of its item.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Work {
    /// Row id.
    pub id: Id,
    /// What is to be done.
    pub kind: WorkKind,
    /// The item.
    pub item: Option<Id>,
    /// The contact that caused it.
    pub contact: Option<Id>,
    /// The conversation it belongs to.
    pub conversation: Option<Id>,
    /// Channel of the contact.
    pub channel: String,
    /// 0 red, 1 urgent (紧急), 2 the rest.
    pub lane: i64,
    /// 1 特急 … 5 疑难.
    pub urgency: i64,
    /// To be done by then; also its place within the lane.
    pub due_at: i64,
    /// Global arrival sequence of the contact: its place among those due at once.
    pub seq: i64,
    /// Arrival of the contact.
    pub arrived_at: i64,
    /// The citizen is to hear of us by then; `None` where nobody waits.
    pub ack_due_at: Option<i64>,
    /// They did, or a person took the work.
    pub acknowledged_at: Option<i64>,
    /// Noted as not acknowledged in time.
    pub ack_overdue_at: Option<i64>,
    /// Noted as not done in time: from then on it is everybody's.
    pub overdue_at: Option<i64>,
    /// Whose work it is.
    pub desk: WorkDesk,
    /// The one person it was passed to.
    pub assignee: Option<Id>,
    /// Who must not see it (回避).
    #[serde(skip)]
    pub excluded: Option<Id>,
    /// Who took it last.
    pub holder: Option<Id>,
    /// It is theirs until then.
    pub lease_until: Option<i64>,
    /// When a person took it first.
    pub taken_at: Option<i64>,
    /// How it ended.
    pub result: Option<WorkResult>,
    /// What the person noted at the end or when passing it on.
    pub note: Option<String>,
    /// Who ended it.
    pub done_by: Option<Id>,
    /// When.
    pub done_at: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// The item's acceptance number.
    pub acceptance_no: Option<String>,
    /// The item's title.
    pub title: Option<String>,
    /// The item's place in words.
    pub location_text: Option<String>,
}

crate::lite::row!(Work {
    id,
    kind,
    item,
    contact,
    conversation,
    channel,
    lane,
    urgency,
    due_at,
    seq,
    arrived_at,
    ack_due_at,
    acknowledged_at,
    ack_overdue_at,
    overdue_at,
    desk,
    assignee,
    excluded,
    holder,
    lease_until,
    taken_at,
    result,
    note,
    done_by,
    done_at,
    created_at,
    acceptance_no,
    title,
    location_text
});

impl Work {
    /// Whether somebody holds it at `now`.
    #[must_use]
    pub fn is_held(&self, now: i64) -> bool {
        self.done_at.is_none() && self.lease_until.is_some_and(|until| until > now)
    }

    /// Whether this person may know of it.
    #[must_use]
    pub fn is_for(&self, who: WorkPerson) -> bool {
        self.excluded != Some(who.id) && (self.desk == WorkDesk::Operators || who.leader)
    }
}

/// Work to be made.
#[derive(Debug, Clone)]
pub struct NewWork {
    /// What is to be done.
    pub kind: WorkKind,
    /// One cause makes one piece of work.
    pub dedup_key: String,
    /// The item.
    pub item: Option<Id>,
    /// The contact that caused it.
    pub contact: Option<Id>,
    /// The conversation it belongs to.
    pub conversation: Option<Id>,
    /// Channel of the contact.
    pub channel: String,
    /// Somebody may be in danger.
    pub red: bool,
    /// 1 to 5.
    pub urgency: i64,
    /// Global arrival sequence of the contact; 0 without one.
    pub seq: i64,
    /// Arrival of the contact.
    pub arrived_at: i64,
    /// How much time there is.
    pub times: WorkTimes,
    /// Whose work it is.
    pub desk: WorkDesk,
    /// Who must not see it.
    pub excluded: Option<Id>,
}

/// How much time there is, from arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkTimes {
    /// Until the citizen hears of us, ms; `None` where nobody waits.
    pub acknowledge_ms: Option<i64>,
    /// Until it is done, ms, by urgency from 1 to 5.
    pub handle_ms: [i64; 5],
}

impl WorkTimes {
    /// When work of this urgency is due.
    #[must_use]
    pub fn due_at(&self, urgency: i64, arrived_at: i64) -> i64 {
        let index = usize::try_from(urgency - 1).unwrap_or(0).min(4);
        arrived_at.saturating_add(self.handle_ms[index])
    }
}

/// The lane of the queue: red, urgent (紧急 and above), the rest.
#[must_use]
pub fn work_lane(red: bool, urgency: i64) -> i64 {
    match (red, urgency) {
        (true, _) => 0,
        (false, ..=2) => 1,
        (false, _) => 2,
    }
}

/// Who asks for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkPerson {
    /// The account.
    pub id: Id,
    /// Whether they are shift leader.
    pub leader: bool,
}

/// What somebody did with a piece of work.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct WorkEvent {
    /// The work.
    pub work: Id,
    /// Place in its list, from 1.
    pub n: i64,
    /// When.
    pub at: i64,
    /// `taken`, `released`, `transferred`, `done`, `late`, `unacknowledged`, `raised`, `merged`,
    /// `restored`.
    pub kind: String,
    /// Who; `None` is the clock.
    pub actor: Option<Id>,
    /// Details.
    pub data: Json,
}

crate::lite::row!(WorkEvent { work, n, at, kind, actor, data });

/// Work with what a list shows of its item; `w` and `i` stand for them.
macro_rules! select_work_from {
    ($from:expr, $($tail:expr),+) => {
        crate::sql::sql(concat!(
            "SELECT w.id, w.kind, w.item, w.contact, w.conversation, w.channel, w.lane, w.urgency, w.due_at, \
             w.seq, w.arrived_at, w.ack_due_at, w.acknowledged_at, w.ack_overdue_at, w.overdue_at, w.desk, \
             w.assignee, w.excluded, w.holder, w.lease_until, w.taken_at, w.result, w.note, w.done_by, \
             w.done_at, w.created_at, i.acceptance_no, i.title, i.location_text FROM ",
            $from,
            " LEFT JOIN item i ON i.id = w.item ",
            $($tail),+
        ))
    };
}
pub(crate) use select_work_from;

macro_rules! select_work {
    ($($tail:expr),+) => { select_work_from!("work w", $($tail),+) };
}

/// The work, or [`DbError::NotFound`].
pub(crate) async fn load(c: &mut Conn, id: Id) -> Result<Work> {
    c.one(select_work!("WHERE w.id = $1").bind(id)).await
}

/// The key of the work a conversation without an item makes.
pub(crate) fn unfinished_key(conversation: Id) -> String {
    format!("conversation:{conversation}")
}

pub(crate) fn check(new: &NewWork) -> Result<()> {
    limits::text("dedup_key", &new.dedup_key, SHORT_TEXT_CHARS_MAX)?;
    limits::text("channel", &new.channel, SHORT_TEXT_CHARS_MAX)?;
    if !(1..=5).contains(&new.urgency) {
        return Err(DbError::Invalid { field: "urgency", why: "1 to 5 is expected".into() });
    }
    Ok(())
}

/// Makes a piece of work; `None` when its cause made one before.
pub(crate) async fn add(c: &mut Conn, mut new: NewWork, now: i64) -> Result<Option<Id>> {
    check(&new)?;
    recusal::apply(c, &mut new).await?;
    let id = Id::new();
    let query = sql("INSERT INTO work (id, kind, dedup_key, item, contact, conversation, channel, lane, urgency, \
         due_at, seq, arrived_at, ack_due_at, desk, excluded, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
         $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (dedup_key) DO NOTHING")
    .bind(id)
    .bind(new.kind)
    .bind(new.dedup_key)
    .bind(new.item)
    .bind(new.contact)
    .bind(new.conversation)
    .bind(new.channel)
    .bind(work_lane(new.red, new.urgency))
    .bind(new.urgency)
    .bind(new.times.due_at(new.urgency, new.arrived_at))
    .bind(new.seq)
    .bind(new.arrived_at)
    .bind(new.times.acknowledge_ms.map(|ms| new.arrived_at.saturating_add(ms)))
    .bind(new.desk)
    .bind(new.excluded)
    .bind(now);
    Ok((c.run(query).await? > 0).then_some(id))
}

/// Notes what was done. The row of the work is written first: it keeps the list's order.
pub(crate) async fn note(
    c: &mut Conn,
    work: Id,
    at: i64,
    kind: &'static str,
    actor: Option<Id>,
    data: &serde_json::Value,
) -> Result<()> {
    let query = sql("INSERT INTO work_event (work, n, at, kind, actor, data) \
         SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3, $4, $5 FROM work_event WHERE work = $1")
    .bind(work)
    .bind(at)
    .bind(kind)
    .bind(actor)
    .bind(limits::json("data", data)?);
    c.run(query).await.map(|_| ())
}

/// Moves an item's open work up when the item turns out to be more urgent; never down.
pub(crate) async fn raise(
    c: &mut Conn,
    item: Id,
    red: bool,
    urgency: i64,
    times: WorkTimes,
    now: i64,
) -> Result<Vec<Id>> {
    let lane = work_lane(red, urgency);
    let query = sql("SELECT id, arrived_at FROM work WHERE item = $1 AND done_at IS NULL \
                     AND (lane > $2 OR urgency > $3) ORDER BY id")
    .bind(item)
    .bind(lane)
    .bind(urgency);
    let rows: Vec<(Id, i64)> = c.all(query).await?;
    let mut raised = Vec::with_capacity(rows.len());
    for (id, arrived_at) in rows {
        let due_at = times.due_at(urgency, arrived_at);
        let query = sql("UPDATE work SET lane = CASE WHEN lane < $2 THEN lane ELSE $2 END, \
             urgency = CASE WHEN urgency < $3 THEN urgency ELSE $3 END, \
             due_at = CASE WHEN due_at < $4 THEN due_at ELSE $4 END WHERE id = $1")
        .bind(id)
        .bind(lane)
        .bind(urgency)
        .bind(due_at);
        c.run(query).await?;
        note(c, id, now, "raised", None, &serde_json::json!({"lane": lane, "urgency": urgency})).await?;
        raised.push(id);
    }
    Ok(raised)
}

impl Store {
    /// Makes a piece of work; `None` when its cause made one before.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a bad field, [`DbError::NotFound`] for an unknown item or contact.
    pub async fn work_add(&self, new: NewWork, now: i64) -> Result<Option<Id>> {
        self.write(move |c| Box::pin(add(c, new, now))).await
    }

    /// The open work of a conversation that came to no item (未完).
    ///
    /// # Errors
    /// As any read.
    pub async fn work_of_conversation(&self, conversation: Id) -> Result<Option<Work>> {
        let query = select_work!("WHERE w.dedup_key = $1 AND w.done_at IS NULL");
        self.reader().await?.opt(query.bind(unfinished_key(conversation))).await
    }

    /// Moves an item's open work up when it turns out to be more urgent; never down. The rows moved.
    ///
    /// # Errors
    /// As any write.
    pub async fn work_raise(&self, item: Id, red: bool, urgency: i64, times: WorkTimes, now: i64) -> Result<Vec<Id>> {
        self.write(move |c| Box::pin(raise(c, item, red, urgency, times, now))).await
    }

    /// A piece of work.
    ///
    /// # Errors
    /// As any read.
    pub async fn work_get(&self, id: Id) -> Result<Option<Work>> {
        self.reader().await?.opt(select_work!("WHERE w.id = $1").bind(id)).await
    }

    /// What was done with it, in order.
    ///
    /// # Errors
    /// As any read.
    pub async fn work_events(&self, id: Id) -> Result<Vec<WorkEvent>> {
        let query = sql("SELECT work, n, at, kind, actor, data FROM work_event WHERE work = $1 ORDER BY n LIMIT 1000");
        self.reader().await?.all(query.bind(id)).await
    }

    /// An item's work, oldest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn work_of_item(&self, item: Id) -> Result<Vec<Work>> {
        self.reader().await?.all(select_work!("WHERE w.item = $1 ORDER BY w.id LIMIT 200").bind(item)).await
    }

    /// Of these items, at most [`limits::INCIDENT_MEMBERS_MAX`], the ones this person must not know of (回避).
    ///
    /// # Errors
    /// As any read.
    pub async fn work_hidden(&self, user: Id, items: &[Id]) -> Result<Vec<Id>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let query = crate::sql::sql_each(
            "SELECT DISTINCT item AS id FROM work WHERE excluded = $2 AND item IN (SELECT value FROM json_each($1))",
            concat!(
                "SELECT DISTINCT item AS id FROM work WHERE excluded = $2 AND item ",
                crate::incident::pg_listed!()
            ),
        )
        .bind(crate::incident::list(items.iter().copied()))
        .bind(user);
        let rows: Vec<crate::claim::IdRow> = self.reader().await?.all(query).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}
