//! Conversations: the messages of one citizen on one channel that make one item. `act_at` is the
//! timer: a row, so that it outlives the process.

use std::sync::Arc;

use serde::Serialize;
use sqlx::FromRow;

use crate::{claim::IdRow, conn::Conn, error::Result, id::Id, limits, pool::Store, sql::sql, text::words};

words! {
    /// Where a conversation is.
    ConversationState {
        /// The next message may join it.
        Open = "进行",
        /// None joins it any more; its last step is due.
        Settling = "待结",
        /// Over.
        Closed = "结束",
    }
}

/// A conversation.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Conversation {
    /// Row id.
    pub id: Id,
    /// Channel of its messages.
    pub channel: String,
    /// The line of ours its first message came by.
    pub line: String,
    /// The citizen.
    pub party: Option<Id>,
    /// Where it is.
    pub state: ConversationState,
    /// Contact of its first message: the one whose place in the order of arrival counts.
    pub first_contact: Id,
    /// That place.
    pub first_seq: i64,
    /// Arrival of the first message.
    pub opened_at: i64,
    /// Arrival of the last one.
    pub last_at: i64,
    /// Messages.
    pub parts: i64,
    /// Arrival of the first message that says what it is about.
    pub told_at: Option<i64>,
    /// Danger.
    pub red: bool,
    /// Of the self-test robot.
    pub test: bool,
    /// What was asked back.
    pub asked: Option<String>,
    /// When the receipt was written.
    pub receipt_at: Option<i64>,
    /// The item it became.
    pub item: Option<Id>,
    /// When its timer runs out; `None`: nothing is left to do.
    pub act_at: Option<i64>,
}

crate::lite::row!(Conversation {
    id,
    channel,
    line,
    party,
    state,
    first_contact,
    first_seq,
    opened_at,
    last_at,
    parts,
    told_at,
    red,
    test,
    asked,
    receipt_at,
    item,
    act_at
});

/// What a new message makes of the citizen's open conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationPlan {
    /// It joins; otherwise a new one begins and the open one is at its end.
    pub joins: bool,
    /// It is the last one: the next begins a new conversation.
    pub closes: bool,
    /// Arrival of the first message that says what it is about.
    pub told_at: Option<i64>,
    /// Danger.
    pub red: bool,
    /// When the timer runs out.
    pub act_at: i64,
}

/// Decides about a message, given the citizen's open conversation; asked inside the transaction,
/// perhaps more than once.
pub type ConversationPlanner = Arc<dyn Fn(Option<&Conversation>) -> ConversationPlan + Send + Sync>;

macro_rules! conversation_columns {
    () => {
        "id, channel, line, party, state, first_contact, first_seq, opened_at, last_at, parts, told_at, red, test, \
         asked, receipt_at, item, act_at"
    };
}
pub(crate) use conversation_columns;

macro_rules! select_conversation {
    ($tail:expr) => {
        sql(concat!("SELECT ", conversation_columns!(), " FROM conversation ", $tail))
    };
}

/// A message on its way into a conversation.
#[derive(Clone, Copy)]
pub(crate) struct Arriving<'a> {
    pub(crate) channel: &'a str,
    pub(crate) line: &'a str,
    pub(crate) party: Option<Id>,
    pub(crate) contact: Id,
    pub(crate) seq: i64,
    pub(crate) at: i64,
    pub(crate) test: bool,
}

/// The citizen's conversation that goes on.
pub(crate) async fn open_of(c: &mut Conn, channel: &str, party: Option<Id>) -> Result<Option<Conversation>> {
    let Some(party) = party else { return Ok(None) };
    let query = select_conversation!("WHERE channel = $1 AND party = $2 AND state = '进行'");
    c.opt(query.bind(channel).bind(party)).await
}

/// Carries a plan out; the conversation's id, or `None` when the open one has ended meanwhile.
pub(crate) async fn enter(
    c: &mut Conn,
    open: Option<&Conversation>,
    plan: ConversationPlan,
    new: Arriving<'_>,
) -> Result<Option<Id>> {
    let state = if plan.closes { ConversationState::Settling } else { ConversationState::Open };
    if let Some(open) = open {
        if plan.joins {
            let query = sql("UPDATE conversation SET state = $2, last_at = $3, parts = parts + 1, told_at = $4, \
                 red = $5, act_at = $6 WHERE id = $1 AND state = '进行'")
            .bind(open.id)
            .bind(state)
            .bind(open.last_at.max(new.at))
            .bind(plan.told_at)
            .bind(plan.red)
            .bind(plan.act_at);
            return Ok((c.run(query).await? > 0).then_some(open.id));
        }
        let query = sql("UPDATE conversation SET state = $2, act_at = $3 WHERE id = $1 AND state = '进行'")
            .bind(open.id)
            .bind(ConversationState::Settling)
            .bind(new.at);
        c.run(query).await?;
    }
    let id = Id::new();
    let query = sql("INSERT INTO conversation (id, channel, line, party, state, first_contact, first_seq, opened_at, \
         last_at, parts, told_at, red, test, act_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1, $9, $10, $11, $12)")
    .bind(id)
    .bind(new.channel)
    .bind(new.line)
    .bind(new.party)
    .bind(state)
    .bind(new.contact)
    .bind(new.seq)
    .bind(new.at)
    .bind(plan.told_at)
    .bind(plan.red)
    .bind(new.test)
    .bind(plan.act_at);
    c.run(query).await?;
    Ok(Some(id))
}

impl Store {
    /// A conversation by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn conversation_get(&self, id: Id) -> Result<Option<Conversation>> {
        self.reader().await?.opt(select_conversation!("WHERE id = $1").bind(id)).await
    }

    /// The conversations whose timer ran out, the longest overdue first.
    ///
    /// # Errors
    /// As any read.
    pub async fn conversations_due(&self, now: i64, limit: i64) -> Result<Vec<Id>> {
        let query = sql("SELECT id FROM conversation WHERE act_at IS NOT NULL AND act_at <= $1 \
             ORDER BY act_at, id LIMIT $2")
        .bind(now)
        .bind(limits::page(limit));
        Ok(self.reader().await?.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
    }

    /// When the next timer runs out.
    ///
    /// # Errors
    /// As any read.
    pub async fn conversation_next_at(&self) -> Result<Option<i64>> {
        let query = sql("SELECT MIN(act_at) FROM conversation WHERE act_at IS NOT NULL");
        let (at,): (Option<i64>,) = self.reader().await?.one(query).await?;
        Ok(at)
    }
}
