//! Texts we owe citizens, on whatever channel: written with what caused them, claimed by the
//! channel's sender. What the carrier reports of them is in `outgoing_report.rs`.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    bulk,
    claim::IdRow,
    conn::Conn,
    error::Result,
    id::Id,
    incident::pg_listed,
    limits::{self, LONG_TEXT_CHARS_MAX, SHORT_TEXT_CHARS_MAX},
    party::Address,
    pool::Store,
    sql::{sql, sql_claim, sql_each},
    text::{Json, words},
};

words! {
    /// Where a text is.
    OutgoingState {
        /// To be sent.
        Queued = "待发",
        /// Leased by a sender.
        Sending = "发送中",
        /// The carrier has it.
        Submitted = "已提交",
        /// The citizen has it.
        Delivered = "已送达",
        /// It won't arrive.
        Failed = "失败",
        /// It may have left: a text sent at most once whose sender died, or a report that says so.
        Unknown = "未知",
        /// Its time was over.
        Expired = "过期",
        /// It is no longer wanted, the citizen wants no texts, or nobody has shown that the number is theirs.
        Cancelled = "取消",
    }
}

words! {
    /// Why a text is sent.
    OutgoingPurpose {
        /// We have your report; here are its numbers.
        Receipt = "receipt",
        /// One thing is missing.
        Question = "question",
        /// An answer to CX.
        Progress = "progress",
        /// An answer to TD.
        Stop = "stop",
        /// How was it?
        Survey = "survey",
        /// A link to the report page.
        Link = "link",
        /// An operator writes.
        Reply = "reply",
        /// Danger: to the shift leader.
        Page = "page",
        /// Of the self-test robot.
        Test = "test",
    }
}

impl OutgoingPurpose {
    /// Whether it goes out although the citizen wants no texts (TD).
    pub(crate) const fn ignores_stop(self) -> bool {
        matches!(self, Self::Progress | Self::Stop | Self::Link | Self::Page | Self::Test)
    }
}

/// A text to send.
#[derive(Debug, Clone)]
pub struct NewOutgoing {
    /// `sms`, `wechat`, `mail` …
    pub channel: String,
    /// The line of ours it should leave by; `None`: any.
    pub line: Option<String>,
    /// To whom.
    pub to: Address,
    /// Template's name.
    pub template: String,
    /// The template's parameters.
    pub params: Json,
    /// The text as it reads.
    pub text: String,
    /// Why.
    pub purpose: OutgoingPurpose,
    /// The same key again writes nothing.
    pub dedup_key: Option<String>,
    /// The conversation it answers.
    pub conversation: Option<Id>,
    /// The item it is about.
    pub item: Option<Id>,
    /// The citizen it goes to; their TD cancels it.
    pub party: Option<Id>,
    /// At most once: never sent again, whatever became of the first time.
    pub once: bool,
    /// Of the self-test robot.
    pub test: bool,
    /// Not before.
    pub next_at: i64,
    /// Not after.
    pub expires_at: i64,
}

/// A text to send, as it is kept.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Outgoing {
    /// Row id.
    pub id: Id,
    /// `sms`, `wechat`, `mail` …
    pub channel: String,
    /// The line of ours it should leave by.
    pub line: Option<String>,
    /// Keyed hash of the address.
    #[serde(skip)]
    pub to_hash: String,
    /// The address, encrypted.
    #[serde(skip)]
    pub to_sealed: Vec<u8>,
    /// The address as people may see it.
    pub to_mask: String,
    /// Template's name.
    pub template: String,
    /// The template's parameters.
    pub params: Json,
    /// The text as it reads.
    pub text: String,
    /// Why.
    pub purpose: OutgoingPurpose,
    /// The conversation it answers.
    pub conversation: Option<Id>,
    /// The item it is about.
    pub item: Option<Id>,
    /// The citizen.
    pub party: Option<Id>,
    /// At most once.
    pub once: bool,
    /// Of the self-test robot.
    pub test: bool,
    /// Where it is.
    pub state: OutgoingState,
    /// Claims so far.
    pub attempts: i64,
    /// Not before.
    pub next_at: i64,
    /// End of the lease.
    pub lease_until: Option<i64>,
    /// Not after.
    pub expires_at: i64,
    /// The line it left by.
    pub sent_line: Option<String>,
    /// When the carrier took it.
    pub submitted_at: Option<i64>,
    /// When the carrier reported last.
    pub reported_at: Option<i64>,
    /// The carrier's word for its fate.
    pub code: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: i64,
}

crate::lite::row!(Outgoing {
    id,
    channel,
    line,
    to_hash,
    to_sealed,
    to_mask,
    template,
    params,
    text,
    purpose,
    conversation,
    item,
    party,
    once,
    test,
    state,
    attempts,
    next_at,
    lease_until,
    expires_at,
    sent_line,
    submitted_at,
    reported_at,
    code,
    last_error,
    created_at
});

macro_rules! outgoing_columns {
    () => {
        "id, channel, line, to_hash, to_sealed, to_mask, template, params, text, purpose, conversation, item, party, \
         once, test, state, attempts, next_at, lease_until, expires_at, sent_line, submitted_at, reported_at, code, \
         last_error, created_at"
    };
}

macro_rules! select_outgoing {
    ($tail:expr) => {
        sql(concat!("SELECT ", outgoing_columns!(), " FROM outgoing ", $tail))
    };
}

pub(crate) fn check(new: &NewOutgoing) -> Result<()> {
    let line = new.line.as_deref().unwrap_or_default();
    let key = new.dedup_key.as_deref().unwrap_or_default();
    for (field, value) in [("channel", new.channel.as_str()), ("line", line), ("dedup_key", key)] {
        limits::text(field, value, SHORT_TEXT_CHARS_MAX)?;
    }
    limits::text("template", &new.template, SHORT_TEXT_CHARS_MAX)?;
    limits::text("text", &new.text, LONG_TEXT_CHARS_MAX)
}

/// The state a new text has: $stops where the citizen's TD counts.
macro_rules! outgoing_state {
    ($channel:literal, $item:literal, $party:literal, $stops:literal) => {
        concat!(
            "CASE WHEN ",
            $stops,
            " AND EXISTS (SELECT 1 FROM party WHERE id = ",
            $party,
            " AND texts_stopped_at IS NOT NULL) OR ",
            $stops,
            " AND ",
            $channel,
            " = 'sms' AND EXISTS (SELECT 1 FROM item i JOIN message m ON m.contact = i.first_contact WHERE i.id = ",
            $item,
            " AND m.channel = 'web' AND m.link IS NULL AND m.party = ",
            $party,
            " AND NOT EXISTS (SELECT 1 FROM contact k JOIN call l ON l.contact = k.id WHERE k.party = m.party \
                 AND k.seq > m.seq AND k.direction = 'outbound' AND l.operator_answer_at IS NOT NULL) \
             AND NOT EXISTS (SELECT 1 FROM item_contact ic JOIN contact k ON k.id = ic.contact \
                 WHERE ic.item = i.id AND k.party = m.party AND k.channel <> 'web' AND k.direction = 'inbound')) \
         THEN '取消' ELSE '待发' END"
        )
    };
}
pub(crate) use outgoing_state;

/// Writes a text; `None` when its key is known. If the citizen wants no texts, or typed the number into the
/// page and nobody has talked to them there about it since, the row says so.
pub(crate) async fn insert(c: &mut Conn, new: NewOutgoing, now: i64) -> Result<Option<Id>> {
    check(&new)?;
    let params = limits::json("params", &new.params.0)?;
    let id = Id::new();
    let query = sql(concat!(
        "INSERT INTO outgoing (id, channel, line, to_hash, to_sealed, to_mask, template, params, text, \
         purpose, dedup_key, conversation, item, party, once, test, state, attempts, next_at, expires_at, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
         ",
        outgoing_state!("$2", "$13", "$14", "$17"),
        ", 0, $18, $19, $20) ON CONFLICT (dedup_key) DO NOTHING"
    ))
    .bind(id)
    .bind(new.channel)
    .bind(new.line)
    .bind(new.to.hash)
    .bind(new.to.sealed)
    .bind(new.to.mask)
    .bind(new.template)
    .bind(params)
    .bind(new.text)
    .bind(new.purpose)
    .bind(new.dedup_key)
    .bind(new.conversation)
    .bind(new.item)
    .bind(new.party)
    .bind(new.once)
    .bind(new.test)
    .bind(!new.purpose.ignores_stop())
    .bind(new.next_at)
    .bind(new.expires_at)
    .bind(now);
    Ok((c.run(query).await? > 0).then_some(id))
}

/// What can't be sent any more is told apart from what is to be sent.
async fn tidy(c: &mut Conn, channel: &str, now: i64) -> Result<()> {
    // Whether a dead sender got it out is not known, and twice is worse than never.
    let lost = sql("UPDATE outgoing SET state = '未知', lease_until = NULL WHERE channel = $1 \
         AND state IN ('待发', '发送中') AND state = '发送中' AND once AND lease_until <= $2");
    c.run(lost.bind(channel).bind(now)).await?;
    let late = sql("UPDATE outgoing SET state = '过期', lease_until = NULL WHERE channel = $1 \
         AND state IN ('待发', '发送中') AND expires_at <= $2 AND (lease_until IS NULL OR lease_until <= $2)");
    c.run(late.bind(channel).bind(now)).await.map(|_| ())
}

async fn claim(c: &mut Conn, channel: String, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<Outgoing>> {
    tidy(c, &channel, now).await?;
    let pick = sql_claim!(
        "SELECT id FROM outgoing WHERE channel = $1 AND state IN ('待发', '发送中') AND next_at <= $2 \
         AND (lease_until IS NULL OR lease_until <= $2) ORDER BY next_at, id LIMIT $3"
    )
    .bind(channel)
    .bind(now)
    .bind(limits::claim(limit));
    let ids: Vec<IdRow> = c.all(pick).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    macro_rules! take {
        ($ids:expr) => {
            concat!(
                "UPDATE outgoing SET state = '发送中', attempts = attempts + 1, lease_until = $2 WHERE id ",
                $ids,
                " RETURNING ",
                outgoing_columns!()
            )
        };
    }
    let take = sql_each(take!("IN (SELECT value FROM json_each($1))"), take!(pg_listed!()));
    let take = take.bind(bulk::ids(ids.into_iter().map(|row| row.id))).bind(now.saturating_add(lease_ms));
    let mut rows: Vec<Outgoing> = c.all(take).await?;
    rows.sort_by_key(|row| (row.next_at, row.id));
    Ok(rows)
}

impl Store {
    /// Writes a text to send; `None` when one with its key is there already.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a field that is too long, [`crate::DbError::NotFound`] for an
    /// unknown item, conversation or citizen.
    pub async fn outgoing_add(&self, new: NewOutgoing, now: i64) -> Result<Option<Id>> {
        check(&new)?;
        self.write(move |c| Box::pin(insert(c, new, now))).await
    }

    /// Leases up to `limit` texts of a channel that are due, oldest first. What ran out of time
    /// becomes 过期. A text without `once` whose lease ran out is given out again; one with it
    /// becomes 未知 and never is.
    ///
    /// # Errors
    /// As any write.
    pub async fn outgoing_claim(&self, channel: &str, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<Outgoing>> {
        // Looking costs no write: senders look often and mostly find nothing.
        let any = sql("SELECT id FROM outgoing WHERE channel = $1 AND state IN ('待发', '发送中') \
             AND next_at <= $2 AND (lease_until IS NULL OR lease_until <= $2) LIMIT 1")
        .bind(channel)
        .bind(now);
        if self.reader().await?.opt::<IdRow>(any).await?.is_none() {
            return Ok(Vec::new());
        }
        let channel = channel.to_owned();
        self.write(move |c| Box::pin(claim(c, channel, now, lease_ms, limit))).await
    }

    /// Gives a claimed text back for another attempt at `next_at`: it certainly hasn't left. Who wants no texts
    /// by now gets none. `false` when it isn't leased any more, or to somebody else by now.
    ///
    /// # Errors
    /// As any write.
    pub async fn outgoing_retry(&self, row: &Outgoing, next_at: i64, error: &str) -> Result<bool> {
        let query = sql("UPDATE outgoing SET next_at = $2, lease_until = NULL, last_error = $3, \
             state = CASE WHEN $5 AND EXISTS (SELECT 1 FROM party p WHERE p.id = outgoing.party \
                 AND p.texts_stopped_at IS NOT NULL) THEN '取消' ELSE '待发' END \
             WHERE id = $1 AND state = '发送中' AND attempts = $4")
        .bind(row.id)
        .bind(next_at)
        .bind(limits::error_text(error))
        .bind(row.attempts)
        .bind(!row.purpose.ignores_stop());
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Gives a claimed text up; `false` when its fate was known before, or is somebody else's by now.
    ///
    /// # Errors
    /// As any write.
    pub async fn outgoing_failed(&self, row: &Outgoing, error: &str) -> Result<bool> {
        let query = sql("UPDATE outgoing SET state = '失败', lease_until = NULL, last_error = $2 \
             WHERE id = $1 AND attempts = $3 AND state IN ('待发', '发送中', '已提交', '未知')")
        .bind(row.id)
        .bind(limits::error_text(error))
        .bind(row.attempts);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// A text by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn outgoing_get(&self, id: Id) -> Result<Option<Outgoing>> {
        self.reader().await?.opt(select_outgoing!("WHERE id = $1").bind(id)).await
    }

    /// The texts about an item, oldest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn outgoing_of_item(&self, item: Id) -> Result<Vec<Outgoing>> {
        let query = select_outgoing!("WHERE item = $1 ORDER BY id LIMIT $2");
        self.reader().await?.all(query.bind(item).bind(limits::PAGE_LEN_MAX)).await
    }

    /// The newest texts to an address (its keyed hash), newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn outgoing_to(&self, to_hash: &str, limit: i64) -> Result<Vec<Outgoing>> {
        let query = select_outgoing!("WHERE to_hash = $1 ORDER BY created_at DESC, id DESC LIMIT $2");
        self.reader().await?.all(query.bind(to_hash).bind(limits::page(limit))).await
    }
}
