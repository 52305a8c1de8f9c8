//! Callback tasks (回访任务): every call we owe a citizen.

use serde::Serialize;
use sqlx::FromRow;

use crate::{claim::IdRow, conn::Conn, error::Result, id::Id, limits, pool::Store, sql::sql, text::words};

words! {
    /// Why we owe a call.
    CallbackKind {
        /// A case is finished: what does the citizen say?
        CaseFinished = "办结回访",
        /// A missed call.
        Missed = "漏接回拨",
        /// A place kept in the queue.
        Queued = "排队回拨",
        /// A message was left.
        Message = "留言回拨",
        /// Something is to be verified.
        Verify = "核实",
        /// A blind second call.
        SpotCheck = "抽检",
    }
}

words! {
    /// Where a task is.
    CallbackState {
        /// Waits for its time.
        Open = "待办",
        /// Somebody is at it.
        Claimed = "进行中",
        /// Finished; see the result.
        Done = "已完成",
    }
}

words! {
    /// How a task ended.
    CallbackResult {
        /// The citizen was reached.
        Reached = "已回访",
        /// All attempts failed; never counts as content.
        Unreachable = "无法联系",
        /// There is nobody to call.
        Exempt = "免回访",
        /// The citizen wants no calls.
        Refused = "拒访",
        /// Not needed any more.
        Cancelled = "已取消",
    }
}

/// A callback task.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct CallbackTask {
    /// Row id.
    pub id: Id,
    /// Why.
    pub kind: CallbackKind,
    /// The item, if it is about one.
    pub item: Option<Id>,
    /// The call that led to it.
    pub call: Option<Id>,
    /// The citizen.
    pub party: Option<Id>,
    /// A number other than the citizen's own, encrypted.
    #[serde(skip)]
    pub phone_sealed: Option<Vec<u8>>,
    /// When the citizen may be called (方便时段).
    pub preferred_window: Option<String>,
    /// The operator who must not make the call.
    pub excluded: Option<Id>,
    /// The operator who is to make it.
    pub assignee: Option<Id>,
    /// Where it is.
    pub state: CallbackState,
    /// Attempts that count.
    pub attempt_no: i64,
    /// When it was first due.
    pub due_at: i64,
    /// Not before.
    pub next_at: i64,
    /// End of the lease.
    pub lease_until: Option<i64>,
    /// How it ended.
    pub result: Option<CallbackResult>,
    /// When it was made.
    pub created_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
}

crate::lite::row!(CallbackTask {
    id,
    kind,
    item,
    call,
    party,
    phone_sealed,
    preferred_window,
    excluded,
    assignee,
    state,
    attempt_no,
    due_at,
    next_at,
    lease_until,
    result,
    created_at,
    finished_at
});

/// A task to make.
#[derive(Debug, Clone)]
pub struct NewCallback {
    /// Why.
    pub kind: CallbackKind,
    /// The item.
    pub item: Option<Id>,
    /// The call that led to it.
    pub call: Option<Id>,
    /// The citizen.
    pub party: Option<Id>,
    /// A number other than the citizen's own, encrypted.
    pub phone_sealed: Option<Vec<u8>>,
    /// Not before.
    pub due_at: i64,
    /// When the citizen may be called; `None` takes the citizen's own.
    pub preferred_window: Option<String>,
    /// The operator who must not make the call.
    pub excluded: Option<Id>,
}

impl NewCallback {
    /// A task of a kind, due at a time, about nobody yet.
    #[must_use]
    pub fn new(kind: CallbackKind, due_at: i64) -> Self {
        Self {
            kind,
            item: None,
            call: None,
            party: None,
            phone_sealed: None,
            due_at,
            preferred_window: None,
            excluded: None,
        }
    }
}

/// Outcome: the citizen wants to be called at another time.
pub const LATER: &str = "later";
/// Outcome: the citizen picked up, and the operator had left.
pub const OPERATOR_LEFT: &str = "operator_left";
/// Outcome: the operator's phone failed while the citizen was being called.
pub const PHONE_FAILED: &str = "phone_failed";

/// One attempt of a task.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct CallbackAttempt {
    /// Row id.
    pub id: Id,
    /// The task.
    pub task: Id,
    /// The call we placed.
    pub call: Option<Id>,
    /// When.
    pub at: i64,
    /// A word of the dialler: `no_answer`, `busy`, `answered` …
    pub outcome: String,
    /// Whether it counts; a failure of ours doesn't.
    pub counted: bool,
}

crate::lite::row!(CallbackAttempt { id, task, call, at, outcome, counted });

/// An attempt to note.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// The call we placed; the same call is noted once.
    pub call: Option<Id>,
    /// When.
    pub at: i64,
    /// A word of the dialler.
    pub outcome: String,
    /// When to try again; `None` keeps the lease, a result follows.
    pub next_at: Option<i64>,
    /// Whether it counts.
    pub counts: bool,
}

/// Which tasks to list, those due first on top.
#[derive(Debug, Clone, Default)]
pub struct CallbackFilter {
    /// Page length, 1 to 200.
    pub limit: i64,
    /// Only this kind.
    pub kind: Option<CallbackKind>,
    /// Only this state.
    pub state: Option<CallbackState>,
    /// Only this item.
    pub item: Option<Id>,
    /// Only this citizen.
    pub party: Option<Id>,
    /// Only tasks that came from this call.
    pub call: Option<Id>,
}

macro_rules! select_task {
    ($tail:expr) => {
        sql(concat!(
            "SELECT id, kind, item, call, party, phone_sealed, preferred_window, excluded, \
             assignee, state, attempt_no, due_at, next_at, lease_until, result, created_at, \
             finished_at FROM callback_task ",
            $tail
        ))
    };
}

/// The task, or [`crate::DbError::NotFound`].
pub(crate) async fn load(c: &mut Conn, id: Id) -> Result<CallbackTask> {
    c.one(select_task!("WHERE id = $1").bind(id)).await
}

/// Whether the finished case of an item is still to be asked about.
pub(crate) async fn is_open_for_item(c: &mut Conn, item: Id) -> Result<bool> {
    let query = sql("SELECT id FROM callback_task WHERE item = $1 AND kind = $2 \
                     AND finished_at IS NULL LIMIT 1")
    .bind(item)
    .bind(CallbackKind::CaseFinished);
    Ok(c.opt::<IdRow>(query).await?.is_some())
}

/// The open task this one would double: one per kind and item, or per kind and citizen.
async fn twin(c: &mut Conn, new: &NewCallback) -> Result<Option<IdRow>> {
    let query = if let Some(item) = new.item {
        c.lock(format!("callback:{}:{item}", new.kind)).await?;
        sql("SELECT id FROM callback_task WHERE kind = $1 AND item = $2 AND finished_at IS NULL")
            .bind(new.kind)
            .bind(item)
    } else if let Some(party) = new.party {
        c.lock(format!("callback:{}:{party}", new.kind)).await?;
        sql("SELECT id FROM callback_task \
             WHERE kind = $1 AND party = $2 AND item IS NULL AND finished_at IS NULL")
        .bind(new.kind)
        .bind(party)
    } else {
        return Ok(None);
    };
    c.opt(query).await
}

/// Why the task needs no call at all, and the citizen's own window.
async fn outlook(c: &mut Conn, new: &NewCallback) -> Result<(Option<CallbackResult>, Option<String>)> {
    let Some(party) = new.party else {
        return Ok((new.phone_sealed.is_none().then_some(CallbackResult::Exempt), None));
    };
    let query = sql("SELECT do_not_call, preferred_window FROM party WHERE id = $1").bind(party);
    let (do_not_call, window): (bool, Option<String>) = c.one(query).await?;
    // A survey may be refused; a call we missed is given back all the same.
    let refused = do_not_call && matches!(new.kind, CallbackKind::CaseFinished | CallbackKind::SpotCheck);
    Ok((refused.then_some(CallbackResult::Refused), window))
}

/// Makes a task, or finds the open one it would double.
pub(crate) async fn insert(c: &mut Conn, new: NewCallback, now: i64) -> Result<(CallbackTask, bool)> {
    let (id, created) = make(c, new, now).await?;
    Ok((load(c, id).await?, created))
}

/// As [`insert`], without reading the task. A task with nobody to call is kept as finished, for
/// the figures.
pub(crate) async fn make(c: &mut Conn, new: NewCallback, now: i64) -> Result<(Id, bool)> {
    if let Some(IdRow { id }) = twin(c, &new).await? {
        return Ok((id, false));
    }
    let (result, window) = outlook(c, &new).await?;
    let state = if result.is_some() { CallbackState::Done } else { CallbackState::Open };
    let id = Id::new();
    let query = sql("INSERT INTO callback_task (id, kind, item, call, party, phone_sealed, \
         preferred_window, excluded, state, attempt_no, due_at, next_at, result, created_at, \
         finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $10, $11, $12, $13)")
    .bind(id)
    .bind(new.kind)
    .bind(new.item)
    .bind(new.call)
    .bind(new.party)
    .bind(new.phone_sealed)
    .bind(new.preferred_window.or(window))
    .bind(new.excluded)
    .bind(state)
    .bind(new.due_at)
    .bind(result)
    .bind(now)
    .bind(result.map(|_| now));
    c.run(query).await?;
    Ok((id, true))
}

impl Store {
    /// Makes a task. `false` beside the open task it would double: there is one per kind and item
    /// or, without an item, per kind and citizen. With nobody to call, or a citizen who wants no
    /// surveys, the task is finished at once with that result.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when item, call or party does not exist.
    pub async fn callback_add(&self, new: NewCallback, now: i64) -> Result<(CallbackTask, bool)> {
        self.write(move |c| Box::pin(insert(c, new, now))).await
    }

    /// A task by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn callback_get(&self, id: Id) -> Result<Option<CallbackTask>> {
        self.reader().await?.opt(select_task!("WHERE id = $1").bind(id)).await
    }

    /// Tasks, those due first on top.
    ///
    /// # Errors
    /// As any read.
    pub async fn callbacks(&self, filter: CallbackFilter) -> Result<Vec<CallbackTask>> {
        let query = select_task!(
            "WHERE ($1 IS NULL OR kind = $1) AND ($2 IS NULL OR state = $2) \
             AND ($3 IS NULL OR item = $3) AND ($4 IS NULL OR party = $4) \
             AND ($5 IS NULL OR call = $5) ORDER BY next_at, id LIMIT $6"
        )
        .bind(filter.kind)
        .bind(filter.state)
        .bind(filter.item)
        .bind(filter.party)
        .bind(filter.call)
        .bind(limits::page(filter.limit));
        self.reader().await?.all(query).await
    }

    /// Whether the citizen has noticed a call of this task's: an attempt that counts, or one that doesn't after which
    /// they are left alone all the same.
    ///
    /// # Errors
    /// As any read.
    pub async fn callback_was_noticed(&self, task: Id) -> Result<bool> {
        let query = sql("SELECT id FROM callback_attempt WHERE task = $1 AND (counted = $2 \
                         OR outcome IN ($3, $4, $5)) LIMIT 1")
        .bind(task)
        .bind(true)
        .bind(LATER)
        .bind(OPERATOR_LEFT)
        .bind(PHONE_FAILED);
        Ok(self.reader().await?.opt::<IdRow>(query).await?.is_some())
    }

    /// The attempts of a task in order of time.
    ///
    /// # Errors
    /// As any read.
    pub async fn callback_attempts(&self, task: Id) -> Result<Vec<CallbackAttempt>> {
        let query = sql("SELECT id, task, call, at, outcome, counted FROM callback_attempt \
                         WHERE task = $1 ORDER BY at, id")
        .bind(task);
        self.reader().await?.all(query).await
    }
}
