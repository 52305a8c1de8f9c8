//! Surveys (评价): the citizen's verdict and what follows from it, in one transaction.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    callback::{self, CallbackResult, NewAttempt},
    callback_claim,
    conn::Conn,
    error::{DbError, Result},
    handoff::{self, HandoffKind, NewHandoff},
    id::Id,
    incident,
    item::{self, ItemState},
    limits,
    pool::Store,
    sql::sql,
    text::words,
};

words! {
    /// Whether the matter is solved.
    Solved {
        /// Yes.
        Yes = "已解决",
        /// In part; counts half.
        Partly = "部分解决",
        /// No.
        No = "未解决",
    }
}

/// A survey.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Survey {
    /// Row id.
    pub id: Id,
    /// The callback task it belongs to.
    pub task: Option<Id>,
    /// The call it was made in.
    pub call: Option<Id>,
    /// The item.
    pub item: Option<Id>,
    /// Somebody of the handling unit contacted the citizen (响应).
    pub contacted: Option<bool>,
    /// Whether it is solved (解决).
    pub solved: Option<Solved>,
    /// 1 very content to 5 very discontent (满意); 1 and 2 count as content.
    pub satisfied: Option<i64>,
    /// The citizen agrees to the closing.
    pub may_close: Option<bool>,
    /// Reasons in words.
    pub reason: Option<String>,
    /// Reasons as spoken.
    pub reason_recording: Option<Id>,
    /// When.
    pub at: i64,
}

crate::lite::row!(Survey {
    id,
    task,
    call,
    item,
    contacted,
    solved,
    satisfied,
    may_close,
    reason,
    reason_recording,
    at
});

/// A survey to store.
#[derive(Debug, Clone, Default)]
pub struct NewSurvey {
    /// The callback task; `None` for a survey after a talk.
    pub task: Option<Id>,
    /// The call it was made in.
    pub call: Option<Id>,
    /// The item; `None` takes the task's.
    pub item: Option<Id>,
    /// Somebody contacted the citizen.
    pub contacted: Option<bool>,
    /// Whether it is solved.
    pub solved: Option<Solved>,
    /// 1 to 5.
    pub satisfied: Option<i64>,
    /// The citizen agrees to the closing.
    pub may_close: Option<bool>,
    /// Reasons in words.
    pub reason: Option<String>,
    /// Reasons as spoken.
    pub reason_recording: Option<Id>,
    /// Now.
    pub at: i64,
}

macro_rules! select_survey {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, task, call, item, contacted, solved, satisfied, may_close, reason, \
             reason_recording, at FROM survey ",
            $tail
        ))
    };
}

/// Ends the task of a survey and takes the item from it.
async fn settle_task(c: &mut Conn, new: &mut NewSurvey) -> Result<()> {
    let Some(id) = new.task else { return Ok(()) };
    if !callback_claim::finish(c, id, CallbackResult::Reached, new.at).await? {
        return Err(DbError::conflict("this callback has its result already"));
    }
    let task = callback::load(c, id).await?;
    if new.item.is_some() && task.item.is_some() && new.item != task.item {
        return Err(DbError::conflict("the callback is about another item"));
    }
    new.item = new.item.or(task.item);
    Ok(())
}

/// Closes or reopens the item and tells the case core.
async fn decide(c: &mut Conn, item: Option<Id>, decision: NewHandoff, at: i64) -> Result<()> {
    let item = item.ok_or(DbError::Invalid { field: "item", why: "a decision needs an item".into() })?;
    let state = match decision.kind {
        HandoffKind::Close => ItemState::Closed,
        HandoffKind::Reopen => ItemState::Reopened,
        HandoffKind::Create | HandoffKind::Remind => {
            return Err(DbError::Invalid { field: "decision", why: "close or reopen is expected".into() });
        }
    };
    // The case is the surviving item's; who was merged into it speaks for the same case.
    let root = incident::root(c, item).await?;
    let several = root.id != item || !incident::below(c, item).await?.is_empty();
    // Said once is enough, and one who isn't content outweighs those who are.
    if several && (root.state == state || root.state == ItemState::Reopened) {
        return Ok(());
    }
    handoff::insert(c, root.id, decision, at).await?;
    item::set_state(c, root.id, state, at).await
}

async fn store(
    c: &mut Conn,
    mut new: NewSurvey,
    decision: Option<NewHandoff>,
    attempt: Option<NewAttempt>,
) -> Result<Survey> {
    settle_task(c, &mut new).await?;
    if let Some(attempt) = attempt {
        let task = new.task.ok_or(DbError::Invalid { field: "task", why: "an attempt needs a task".into() })?;
        callback_claim::attempt(c, task, attempt).await?;
    }
    let id = Id::new();
    let query = sql("INSERT INTO survey (id, task, call, item, contacted, solved, satisfied, \
         may_close, reason, reason_recording, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
    .bind(id)
    .bind(new.task)
    .bind(new.call)
    .bind(new.item)
    .bind(new.contacted)
    .bind(new.solved)
    .bind(new.satisfied)
    .bind(new.may_close)
    .bind(new.reason)
    .bind(new.reason_recording)
    .bind(new.at);
    c.run(query).await?;
    if let Some(decision) = decision {
        decide(c, new.item, decision, new.at).await?;
    }
    c.one(select_survey!("WHERE id = $1").bind(id)).await
}

impl Store {
    /// Stores a survey, the attempt it was given in, the result of its task, the item's state and
    /// the message to the case core (`close` or `reopen`) in one transaction: all of it or nothing.
    ///
    /// # Errors
    /// [`DbError::Conflict`] for a second survey of a task, or of a call without a task;
    /// [`DbError::Invalid`] for a score outside 1–5, a decision without an item or an attempt
    /// without a task.
    pub async fn survey_store(
        &self,
        new: NewSurvey,
        decision: Option<NewHandoff>,
        attempt: Option<NewAttempt>,
    ) -> Result<Survey> {
        callback_claim::check(attempt.as_ref())?;
        let reason = new.reason.as_deref().unwrap_or_default();
        limits::text("reason", reason, limits::LONG_TEXT_CHARS_MAX)?;
        if new.satisfied.is_some_and(|score| !(1..=5).contains(&score)) {
            return Err(DbError::Invalid { field: "satisfied", why: "1 to 5 is expected".into() });
        }
        self.write(move |c| Box::pin(store(c, new, decision, attempt))).await
    }

    /// The surveys of an item in order of time.
    ///
    /// # Errors
    /// As any read.
    pub async fn surveys_of_item(&self, item: Id) -> Result<Vec<Survey>> {
        let query = select_survey!("WHERE item = $1 ORDER BY at, id").bind(item);
        self.reader().await?.all(query).await
    }

    /// The survey of a task.
    ///
    /// # Errors
    /// As any read.
    pub async fn survey_of_task(&self, task: Id) -> Result<Option<Survey>> {
        self.reader().await?.opt(select_survey!("WHERE task = $1").bind(task)).await
    }

    /// The survey made at the end of a call.
    ///
    /// # Errors
    /// As any read.
    pub async fn survey_of_call(&self, call: Id) -> Result<Option<Survey>> {
        let query = select_survey!("WHERE call = $1 ORDER BY at DESC, id DESC LIMIT 1").bind(call);
        self.reader().await?.opt(query).await
    }

    /// Adds what became known after the survey: the reasons as spoken.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when survey or recording does not exist.
    pub async fn survey_set_reason(&self, survey: Id, recording: Id) -> Result<()> {
        let query = sql("UPDATE survey SET reason_recording = $2 WHERE id = $1").bind(survey).bind(recording);
        self.write(|c| {
            Box::pin(async move {
                match c.run(query).await? {
                    0 => Err(DbError::NotFound),
                    _ => Ok(()),
                }
            })
        })
        .await
    }
}
