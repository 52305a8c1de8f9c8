//! One-time links to the report page and to the survey.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    callback::{self, CallbackResult, NewAttempt},
    callback_claim,
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    limits,
    outgoing::{self, NewOutgoing, OutgoingState},
    pool::Store,
    sql::sql,
    text::words,
};

words! {
    /// Where a link leads.
    LinkPurpose {
        /// The report page.
        Report = "report",
        /// The questions about a finished case.
        Survey = "survey",
    }
}

/// A link.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct WebLink {
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// Where it leads.
    pub purpose: LinkPurpose,
    /// The citizen it was sent to.
    pub party: Option<Id>,
    /// The contact it was asked for in.
    pub contact: Option<Id>,
    /// The call it was asked for in.
    pub call: Option<Id>,
    /// The item a survey is about.
    pub item: Option<Id>,
    /// The callback task a survey answers.
    pub task: Option<Id>,
    /// The person who sent it; `None`: the citizen pressed a key.
    pub created_by: Option<Id>,
    /// When it was made.
    pub created_at: i64,
    /// From when on it leads nowhere.
    pub expires_at: i64,
    /// When its page was first asked for.
    pub opened_at: Option<i64>,
    /// When it was used up.
    pub used_at: Option<i64>,
    /// The message that was sent through it.
    pub message: Option<Id>,
}

crate::lite::row!(WebLink {
    token_hash,
    purpose,
    party,
    contact,
    call,
    item,
    task,
    created_by,
    created_at,
    expires_at,
    opened_at,
    used_at,
    message
});

/// A link to make.
#[derive(Debug, Clone)]
pub struct NewWebLink {
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// Where it leads.
    pub purpose: LinkPurpose,
    /// The citizen it is sent to.
    pub party: Option<Id>,
    /// The contact it was asked for in.
    pub contact: Option<Id>,
    /// The call it was asked for in.
    pub call: Option<Id>,
    /// The item a survey is about.
    pub item: Option<Id>,
    /// The callback task a survey answers.
    pub task: Option<Id>,
    /// The person who sends it.
    pub created_by: Option<Id>,
    /// Now.
    pub at: i64,
    /// From when on it leads nowhere.
    pub expires_at: i64,
}

macro_rules! select_link {
    ($tail:literal) => {
        sql(concat!(
            "SELECT token_hash, purpose, party, contact, call, item, task, created_by, created_at, expires_at, \
             opened_at, used_at, message FROM web_link ",
            $tail
        ))
    };
}

/// The statement that makes a link.
fn insert(new: NewWebLink) -> crate::sql::Sql {
    sql("INSERT INTO web_link (token_hash, purpose, party, contact, call, item, task, created_by, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
    .bind(new.token_hash)
    .bind(new.purpose)
    .bind(new.party)
    .bind(new.contact)
    .bind(new.call)
    .bind(new.item)
    .bind(new.task)
    .bind(new.created_by)
    .bind(new.at)
    .bind(new.expires_at)
}

/// Uses a link up; `false` if it was before.
pub(crate) async fn used(c: &mut Conn, token_hash: &str, message: Option<Id>, at: i64) -> Result<bool> {
    let query = sql("UPDATE web_link SET used_at = $2, message = $3 WHERE token_hash = $1 AND used_at IS NULL")
        .bind(token_hash)
        .bind(at)
        .bind(message);
    Ok(c.run(query).await? > 0)
}

async fn ask(c: &mut Conn, task: Id, attempt: NewAttempt, new: NewWebLink, text: NewOutgoing) -> Result<bool> {
    let (at, expires_at) = (new.at, new.expires_at);
    let is_over = callback::load(c, task).await?.finished_at.is_some();
    let attempt = NewAttempt { next_at: Some(expires_at), ..attempt };
    if !callback_claim::attempt(c, task, attempt).await? || is_over {
        return Ok(false);
    }
    c.run(insert(new)).await?;
    let text = outgoing::insert(c, text, at).await?;
    let query = sql("SELECT id FROM outgoing WHERE id = $1 AND state <> $2").bind(text).bind(OutgoingState::Cancelled);
    if c.opt::<IdRow>(query).await?.is_some() {
        return Ok(true);
    }
    // Nobody waits for an answer to what isn't sent.
    callback_claim::finish(c, task, CallbackResult::Unreachable, at).await?;
    Ok(false)
}

impl Store {
    /// Makes a link.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when a row it names does not exist.
    pub async fn web_link_add(&self, new: NewWebLink) -> Result<()> {
        let query = insert(new);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Makes a link together with the text that carries it; the text's row.
    ///
    /// # Errors
    /// As [`Store::web_link_add`] and [`Store::outgoing_add`].
    pub async fn web_link_send(&self, new: NewWebLink, text: NewOutgoing) -> Result<Option<Id>> {
        let at = new.at;
        let query = insert(new);
        self.write(move |c| {
            Box::pin(async move {
                c.run(query).await?;
                outgoing::insert(c, text, at).await
            })
        })
        .await
    }

    /// A link by the hash of its token, also one that is used up or has lapsed.
    ///
    /// # Errors
    /// As any read.
    pub async fn web_link_get(&self, token_hash: &str) -> Result<Option<WebLink>> {
        self.reader().await?.opt(select_link!("WHERE token_hash = $1").bind(token_hash)).await
    }

    /// The links sent in a call, oldest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn web_links_of_call(&self, call: Id) -> Result<Vec<WebLink>> {
        let query = select_link!("WHERE call = $1 ORDER BY created_at, token_hash LIMIT $2");
        self.reader().await?.all(query.bind(call).bind(limits::PAGE_LEN_MAX)).await
    }

    /// Notes that its page was asked for; the first time counts.
    ///
    /// # Errors
    /// As any write.
    pub async fn web_link_opened(&self, token_hash: &str, at: i64) -> Result<()> {
        let query = sql("UPDATE web_link SET opened_at = $2 WHERE token_hash = $1 AND opened_at IS NULL")
            .bind(token_hash)
            .bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Uses a link up; `false` if it was before.
    ///
    /// # Errors
    /// As any write.
    pub async fn web_link_use(&self, token_hash: &str, message: Option<Id>, at: i64) -> Result<bool> {
        let hash = token_hash.to_owned();
        self.write(move |c| Box::pin(async move { used(c, &hash, message, at).await })).await
    }

    /// Notes the last attempt of a task together with the link it is to be answered by and the text that
    /// carries it; the task waits until the link lapses. `false` when nothing is sent: the attempt's call was noted
    /// before, the task has its result, or the citizen gets no texts; then the task ends as 无法联系.
    ///
    /// # Errors
    /// [`DbError::Invalid`] when the link names no task; as [`Store::web_link_send`].
    pub async fn survey_link_send(&self, attempt: NewAttempt, new: NewWebLink, text: NewOutgoing) -> Result<bool> {
        callback_claim::check(Some(&attempt))?;
        outgoing::check(&text)?;
        let task = new.task.ok_or(DbError::Invalid { field: "task", why: "a survey's link needs one".into() })?;
        self.write(move |c| Box::pin(ask(c, task, attempt, new, text))).await
    }

    /// The link a task is to be answered by.
    ///
    /// # Errors
    /// As any read.
    pub async fn survey_link_of(&self, task: Id) -> Result<Option<WebLink>> {
        let query = select_link!("WHERE task = $1 ORDER BY created_at DESC LIMIT 1").bind(task);
        self.reader().await?.opt(query).await
    }

    /// Forgets links that lapsed before `before`, some at a time; how many.
    ///
    /// # Errors
    /// As any write.
    pub async fn web_links_prune(&self, before: i64) -> Result<u64> {
        let query = sql("DELETE FROM web_link WHERE token_hash IN \
                         (SELECT token_hash FROM web_link WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)")
        .bind(before)
        .bind(limits::PRUNE_LEN_MAX);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }
}
