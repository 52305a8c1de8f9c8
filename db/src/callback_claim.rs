//! Callback tasks at work: claimed, attempted, finished.

use crate::{
    callback::{self, CallbackKind, CallbackResult, CallbackState, CallbackTask, NewAttempt},
    case_event,
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    limits,
    pool::Store,
    sql::{sql, sql_claim},
};

async fn claim(c: &mut Conn, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<CallbackTask>> {
    // Never two calls to one citizen at a time: of a citizen's tasks only the one due first is
    // given out, and none while another is under way.
    let pick = sql_claim!(
        "SELECT t.id FROM callback_task t WHERE t.finished_at IS NULL AND t.next_at <= $1 \
         AND (t.lease_until IS NULL OR t.lease_until <= $1) \
         AND (t.party IS NULL OR NOT EXISTS (SELECT 1 FROM callback_task b \
             WHERE b.party = t.party AND b.id <> t.id AND b.finished_at IS NULL \
             AND (b.lease_until > $1 OR (b.next_at <= $1 AND (b.next_at < t.next_at \
                 OR (b.next_at = t.next_at AND b.id < t.id)))))) \
         ORDER BY t.next_at, t.id LIMIT $2"
    )
    .bind(now)
    .bind(limits::claim(limit));
    let ids: Vec<IdRow> = c.all(pick).await?;
    let mut tasks = Vec::with_capacity(ids.len());
    for IdRow { id } in ids {
        let take = sql("UPDATE callback_task SET state = $2, lease_until = $3 WHERE id = $1")
            .bind(id)
            .bind(CallbackState::Claimed)
            .bind(now + lease_ms);
        c.run(take).await?;
        tasks.push(callback::load(c, id).await?);
    }
    Ok(tasks)
}

/// Judges an attempt's text.
pub(crate) fn check(attempt: Option<&NewAttempt>) -> Result<()> {
    let outcome = attempt.map_or("", |a| a.outcome.as_str());
    limits::text("outcome", outcome, limits::SHORT_TEXT_CHARS_MAX)
}

/// Notes an attempt; `false` when its call was noted before.
pub(crate) async fn attempt(c: &mut Conn, task: Id, new: NewAttempt) -> Result<bool> {
    let insert = sql("INSERT INTO callback_attempt (id, task, call, at, outcome, counted) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (task, call) DO NOTHING")
    .bind(Id::new())
    .bind(task)
    .bind(new.call)
    .bind(new.at)
    .bind(new.outcome)
    .bind(new.counts);
    if c.run(insert).await? == 0 {
        return Ok(false);
    }
    let update = sql("UPDATE callback_task SET attempt_no = attempt_no + $2 WHERE id = $1")
        .bind(task)
        .bind(i64::from(new.counts));
    c.run(update).await?;
    if let Some(next_at) = new.next_at {
        let release = sql("UPDATE callback_task SET state = $2, next_at = $3, \
                           lease_until = NULL WHERE id = $1 AND finished_at IS NULL")
        .bind(task)
        .bind(CallbackState::Open)
        .bind(next_at);
        c.run(release).await?;
    }
    Ok(true)
}

/// Ends the open missed and queued calls of a citizen whom an operator has served meanwhile, also
/// one being dialled right now; how many there were.
pub(crate) async fn cancel_owed(c: &mut Conn, party: Id, at: i64) -> Result<u64> {
    let query = sql("UPDATE callback_task SET state = $2, result = $3, finished_at = $4, \
                     lease_until = NULL WHERE party = $1 AND finished_at IS NULL AND kind IN ($5, $6)")
    .bind(party)
    .bind(CallbackState::Done)
    .bind(CallbackResult::Cancelled)
    .bind(at)
    .bind(CallbackKind::Missed)
    .bind(CallbackKind::Queued);
    c.run(query).await
}

/// Ends a task; `false` when it had ended before.
pub(crate) async fn finish(c: &mut Conn, id: Id, result: CallbackResult, at: i64) -> Result<bool> {
    let query = sql("UPDATE callback_task SET state = $2, result = $3, finished_at = $4, \
                     lease_until = NULL WHERE id = $1 AND finished_at IS NULL")
    .bind(id)
    .bind(CallbackState::Done)
    .bind(result)
    .bind(at);
    let fresh = c.run(query).await? > 0;
    let task = callback::load(c, id).await?;
    if fresh
        && result != CallbackResult::Reached
        && task.kind == CallbackKind::CaseFinished
        && let Some(item) = task.item
    {
        case_event::unanswered(c, item, at).await?;
    }
    Ok(fresh)
}

impl Store {
    /// Leases up to `limit` tasks that are due, at most one per citizen, and none of a citizen
    /// another task of whom is under way.
    ///
    /// # Errors
    /// As any write.
    pub async fn callback_claim(&self, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<CallbackTask>> {
        self.write(move |c| Box::pin(claim(c, now, lease_ms, limit))).await
    }

    /// Leases one open task to somebody who calls by it, due or not; `None` where it is done or under way, or another
    /// task of its citizen is.
    ///
    /// # Errors
    /// As any write.
    pub async fn callback_take(&self, id: Id, now: i64, lease_ms: i64) -> Result<Option<CallbackTask>> {
        self.write(move |c| {
            Box::pin(async move {
                let take = sql("UPDATE callback_task SET state = $2, lease_until = $3 \
                     WHERE id = $1 AND finished_at IS NULL AND (lease_until IS NULL OR lease_until <= $4) \
                     AND NOT EXISTS (SELECT 1 FROM callback_task b WHERE b.party = callback_task.party \
                         AND b.id <> callback_task.id AND b.finished_at IS NULL AND b.lease_until > $4)")
                .bind(id)
                .bind(CallbackState::Claimed)
                .bind(now + lease_ms)
                .bind(now);
                if c.run(take).await? == 0 {
                    return Ok(None);
                }
                callback::load(c, id).await.map(Some)
            })
        })
        .await
    }

    /// Puts a claimed task back until `next_at` without any attempt: the hour or the staff was wrong.
    ///
    /// # Errors
    /// [`crate::DbError`].
    pub async fn callback_postpone(&self, id: Id, next_at: i64) -> Result<bool> {
        let query =
            sql("UPDATE callback_task SET state = $2, next_at = $3, lease_until = NULL WHERE id = $1 AND state = $4")
                .bind(id)
                .bind(CallbackState::Open)
                .bind(next_at)
                .bind(CallbackState::Claimed);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Prolongs the lease of a claimed task, while its call lasts; `false` when it has none.
    ///
    /// # Errors
    /// As any write.
    pub async fn callback_renew(&self, id: Id, lease_until: i64) -> Result<bool> {
        let query = sql("UPDATE callback_task SET lease_until = $2 WHERE id = $1 AND state = $3")
            .bind(id)
            .bind(lease_until)
            .bind(CallbackState::Claimed);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Notes an attempt and, with `next_at`, gives the task back until then. `false` when this
    /// call was noted before; then nothing changes.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when task or call does not exist.
    pub async fn callback_attempt(&self, task: Id, new: NewAttempt) -> Result<bool> {
        check(Some(&new))?;
        self.write(move |c| Box::pin(attempt(c, task, new))).await
    }

    /// Ends a task without a survey, together with the attempt that led to its result, if any, in
    /// one transaction; `false` when it had ended before, then the first result stays. The same
    /// request again changes nothing.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such task.
    pub async fn callback_finish(
        &self,
        id: Id,
        result: CallbackResult,
        attempt: Option<NewAttempt>,
        at: i64,
    ) -> Result<bool> {
        check(attempt.as_ref())?;
        self.write(move |c| {
            Box::pin(async move {
                if let Some(new) = attempt {
                    self::attempt(c, id, new).await?;
                }
                finish(c, id, result, at).await
            })
        })
        .await
    }

    /// Gives back the tasks whose lease ran out (their gateway died); how many there were. No
    /// attempt is counted: the failure was ours.
    ///
    /// # Errors
    /// As any write.
    pub async fn callback_release_stale(&self, now: i64) -> Result<u64> {
        let query = sql("UPDATE callback_task SET state = $1, lease_until = NULL \
                         WHERE finished_at IS NULL AND lease_until <= $2")
        .bind(CallbackState::Open)
        .bind(now);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }

    /// Names the operator who is to make the call.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when that operator is excluded, [`DbError::NotFound`] when there is
    /// no such open task.
    pub async fn callback_assign(&self, id: Id, operator: Option<Id>) -> Result<()> {
        self.write(move |c| {
            Box::pin(async move {
                let task = callback::load(c, id).await?;
                if operator.is_some() && task.excluded == operator {
                    return Err(DbError::conflict("this operator must not make this call"));
                }
                let query = sql("UPDATE callback_task SET assignee = $2 \
                                 WHERE id = $1 AND finished_at IS NULL")
                .bind(id)
                .bind(operator);
                match c.run(query).await? {
                    0 => Err(DbError::NotFound),
                    _ => Ok(()),
                }
            })
        })
        .await
    }
}
