//! The steps of a conversation's timer: it becomes an item, is answered, handed off and ended, each
//! in the transaction that decides it.

use std::sync::Arc;

use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    conversation::{Conversation, ConversationState, conversation_columns},
    error::{DbError, Result, guarded},
    handoff::{self, HandoffKind, ItemNote, NewHandoff},
    id::Id,
    incident,
    item::{self, Item, ItemHandoff, ItemWork, NewItem},
    item_list::{self, ContactRole},
    limits::GROWN_DETAIL_CHARS_MAX,
    message::{Message, select_message},
    outgoing::{self, NewOutgoing},
    party::{self, Party},
    pool::Store,
    sql::sql,
    work::{self, NewWork, WorkDesk, WorkKind, WorkTimes},
};

/// Messages of one conversation that are read; more than one ever holds.
pub(crate) const PARTS_READ_MAX: i64 = 200;

/// 一般: what nobody understood yet.
const URGENCY_UNKNOWN: i64 = 4;

/// What is known when a conversation's timer runs out.
#[derive(Debug)]
pub struct Settling<'a> {
    /// The conversation.
    pub conversation: &'a Conversation,
    /// Its messages in order of arrival.
    pub messages: &'a [Message],
    /// Whether files came with them.
    pub has_media: bool,
    /// The item it became before.
    pub item: Option<&'a Item>,
    /// Whether that item is on its way to the case core.
    pub is_handed: bool,
    /// The citizen.
    pub party: Option<&'a Party>,
}

/// What the item says now, with all messages read.
#[derive(Debug, Clone, PartialEq)]
pub struct Amendment {
    /// Title, at most 256 characters.
    pub title: String,
    /// What the citizen said.
    pub detail: String,
    /// 1 to 5; an item never becomes less urgent by this.
    pub urgency: i64,
    /// Class code, 5 digits.
    pub class_code: Option<String>,
    /// The place in words.
    pub location_text: Option<String>,
    /// Longitude in degrees, CGCS2000.
    pub lon: Option<f64>,
    /// Latitude in degrees, CGCS2000.
    pub lat: Option<f64>,
}

/// Makes the texts that need the item's numbers.
pub type Answers = Box<dyn FnOnce(&Item) -> Vec<NewOutgoing> + Send>;

/// What is done.
pub struct Settlement {
    /// The item to make.
    pub create: Option<NewItem>,
    /// What the item says now; left alone once a person took it in hand, and but for its text once it
    /// is handed off.
    pub amend: Option<Amendment>,
    /// How much time a person has for what this leads to: an item to check, or a conversation that came to
    /// none; `None` makes no work.
    pub work: Option<WorkTimes>,
    /// The hand-off of the item, unless it is on its way already.
    pub hand_off: Option<ItemHandoff>,
    /// What the case core is told when an item it has was added to.
    pub note: Option<ItemNote>,
    /// Texts about the item.
    pub answers: Option<Answers>,
    /// Texts that need no item.
    pub notices: Vec<NewOutgoing>,
    /// What was asked back by them.
    pub asked: Option<String>,
    /// The texts hold the receipt.
    pub receipt: bool,
    /// It is over.
    pub close: bool,
    /// When its timer runs out next.
    pub next_at: Option<i64>,
}

/// Decides; asked inside the transaction, perhaps more than once.
pub type Settler = Arc<dyn for<'a> Fn(&Settling<'a>) -> Settlement + Send + Sync>;

/// What a step led to.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The conversation as it is now.
    pub conversation: Conversation,
    /// Its item, and whether it was made now.
    pub item: Option<(Item, bool)>,
    /// Whether the hand-off was written now.
    pub handed_off: bool,
    /// Whether an item made before became more urgent now.
    pub raised: bool,
    /// Whether more was said of an item made before.
    pub grown: bool,
}

#[derive(FromRow)]
struct CountRow {
    n: i64,
}

crate::lite::row!(CountRow { n });

async fn count(c: &mut Conn, query: &'static str, id: Id) -> Result<i64> {
    Ok(c.one::<CountRow>(sql(query).bind(id)).await?.n)
}

/// A conversation whose timer ran out.
#[derive(Clone)]
pub(crate) struct SettleJob {
    pub(crate) id: Id,
    pub(crate) now: i64,
    pub(crate) offset_min: i32,
    pub(crate) settler: Settler,
}

async fn settle(c: &mut Conn, job: SettleJob) -> Result<Option<Settled>> {
    let SettleJob { id, now, offset_min, settler } = job;
    // Holds the row: a message on its way in waits, and finds what this left.
    let hold = sql(concat!(
        "UPDATE conversation SET act_at = act_at WHERE id = $1 AND act_at <= $2 RETURNING ",
        conversation_columns!()
    ));
    let held: Option<Conversation> = c.opt(hold.bind(id).bind(now)).await?;
    let Some(conversation) = held else { return Ok(None) };
    let mut messages: Vec<Message> =
        c.all(select_message!("WHERE conversation = $1 ORDER BY seq LIMIT $2").bind(id).bind(PARTS_READ_MAX)).await?;
    if let Some(item) = conversation.item {
        // With what the citizen added to its item by name: the item says all of it.
        let named = select_message!("WHERE item = $1 AND conversation IS NULL ORDER BY seq LIMIT $2");
        messages.extend(c.all::<Message>(named.bind(item).bind(PARTS_READ_MAX)).await?);
        messages.sort_by_key(|message| message.seq);
    }
    let media = "SELECT COUNT(*) AS n FROM message_media a JOIN message m ON m.id = a.message \
                 WHERE m.conversation = $1 AND a.state <> '失败'";
    let has_media = count(c, media, id).await? > 0;
    let known = match conversation.item {
        Some(item) => Some(item::load(c, item).await?),
        None => None,
    };
    let is_handed = match &known {
        Some(item) => count(c, "SELECT COUNT(*) AS n FROM handoff WHERE item = $1", item.id).await? > 0,
        None => false,
    };
    let party = match conversation.party {
        Some(party) => party::load(c, party).await?,
        None => None,
    };
    let step = guarded(|| {
        settler(&Settling {
            conversation: &conversation,
            messages: &messages,
            has_media,
            item: known.as_ref(),
            is_handed,
            party: party.as_ref(),
        })
    })?;
    let mut carried = Carried { conversation, messages, item: known.map(|item| (item, false)), is_handed };
    carry_out(c, &mut carried, step, now, offset_min).await.map(Some)
}

/// What a step works on.
pub(crate) struct Carried {
    pub(crate) conversation: Conversation,
    pub(crate) messages: Vec<Message>,
    /// The item, and whether this step made it.
    pub(crate) item: Option<(Item, bool)>,
    pub(crate) is_handed: bool,
}

pub(crate) async fn carry_out(
    c: &mut Conn,
    on: &mut Carried,
    step: Settlement,
    now: i64,
    offset_min: i32,
) -> Result<Settled> {
    let (id, red) = (on.conversation.id, on.conversation.red);
    if let Some(new) = step.create {
        item::check(&new)?;
        let work = step.work.map(|times| ItemWork { red, times, conversation: Some(id) });
        on.item = Some(item::create(c, new, None, work, now, offset_min).await?);
    }
    let (mut handed_off, mut raised, mut grown) = (false, false, false);
    if let Some((item, is_new)) = &mut on.item {
        for message in &on.messages {
            if Some(message.contact) != item.first_contact && message.item.is_none() {
                item_list::link(c, item.id, message.contact, ContactRole::Supplement, now).await?;
            }
            if let Some(link) = message.link.as_deref().filter(|_| message.item.is_none()) {
                join_call(c, item.id, link, now).await?;
            }
        }
        let query = sql("UPDATE message SET item = $2 WHERE conversation = $1 AND item IS NULL");
        c.run(query.bind(id).bind(item.id)).await?;
        // What was made just now says it already.
        if let Some(amendment) = step.amend.filter(|new| !*is_new && changes(item, new, on.is_handed)) {
            if let Some(times) = step.work.filter(|_| amendment.urgency < item.urgency) {
                work::raise(c, item.id, red, amendment.urgency, times, now).await?;
            }
            let before = item.clone();
            amend(c, item.id, amendment, on.is_handed).await?;
            *item = item::load(c, item.id).await?;
            raised = item.urgency < before.urgency;
            grown = item.detail != before.detail;
            if let Some(make) = step.note.filter(|_| on.is_handed && grown) {
                let payload = guarded(|| make(item))?;
                handoff::note(c, item, payload, raised, now).await?;
            }
            incident::index(c, item).await?;
        }
        if let Some(send) = step.hand_off.filter(|_| !on.is_handed) {
            let payload = guarded(|| (send.payload)(item))?;
            let new = NewHandoff { target: send.target, kind: HandoffKind::Create, payload, idempotency_key: None };
            if *is_new {
                handoff::insert_first(c, item.id, new, now).await?;
            } else {
                handoff::insert(c, item.id, new, now).await?;
            }
            handed_off = true;
        }
        let answers = step.answers.map(|make| guarded(|| make(item))).transpose()?;
        for mut text in answers.unwrap_or_default() {
            (text.item, text.conversation) = (Some(item.id), Some(id));
            outgoing::insert(c, text, now).await?;
        }
    }
    for mut text in step.notices {
        text.conversation = Some(id);
        outgoing::insert(c, text, now).await?;
    }
    if let Some(times) = step.work.filter(|_| step.close && on.item.is_none()) {
        work::add(c, unfinished(&on.conversation, times), now).await?;
    }
    let state = if step.close { ConversationState::Closed } else { on.conversation.state };
    let query = sql(concat!(
        "UPDATE conversation SET state = $2, act_at = $3, item = $4, asked = COALESCE(asked, $5), \
         receipt_at = CASE WHEN $6 THEN COALESCE(receipt_at, $7) ELSE receipt_at END WHERE id = $1 RETURNING ",
        conversation_columns!()
    ))
    .bind(id)
    .bind(state)
    .bind(step.next_at)
    .bind(on.item.as_ref().map(|(item, _)| item.id))
    .bind(step.asked)
    .bind(step.receipt)
    .bind(now);
    let conversation = c.one(query).await?;
    Ok(Settled { conversation, item: on.item.clone(), handed_off, raised, grown })
}

/// The call a link was asked for in is part of what was reported by it. It said nothing of the matter itself,
/// so it makes nobody first who wasn't.
async fn join_call(c: &mut Conn, item: Id, link: &str, now: i64) -> Result<()> {
    let query = sql("SELECT contact AS id FROM web_link WHERE token_hash = $1 AND contact IS NOT NULL").bind(link);
    if let Some(IdRow { id: contact }) = c.opt(query).await? {
        item_list::join(c, item, contact, ContactRole::Supplement, now).await?;
    }
    Ok(())
}

/// Somebody wrote, and nobody could tell what: a person looks.
pub(crate) fn unfinished(row: &Conversation, times: WorkTimes) -> NewWork {
    NewWork {
        kind: WorkKind::Unfinished,
        dedup_key: work::unfinished_key(row.id),
        item: None,
        contact: Some(row.first_contact),
        conversation: Some(row.id),
        channel: row.channel.clone(),
        red: row.red,
        urgency: URGENCY_UNKNOWN,
        seq: row.first_seq,
        arrived_at: row.opened_at,
        // They were asked what they mean: nobody waits for a first word.
        times: WorkTimes { acknowledge_ms: None, ..times },
        desk: WorkDesk::Operators,
        excluded: None,
    }
}

/// Whether anything of an item would be another with this ([`amend`]).
pub(crate) fn changes(item: &Item, new: &Amendment, is_handed: bool) -> bool {
    let grows = || i64::try_from(item.detail.chars().count()).is_ok_and(|chars| chars < GROWN_DETAIL_CHARS_MAX);
    let place = || match is_handed {
        true => item.location_text.is_none() && new.location_text.is_some(),
        false => item.location_text != new.location_text,
    };
    item.created_by.is_none()
        && (new.urgency < item.urgency
            || !is_handed && (new.title != item.title || new.class_code != item.class_code)
            || place()
            || new.lon.is_some() && new.lon != item.lon
            || new.lat.is_some() && new.lat != item.lat
            || new.detail != item.detail && grows())
}

async fn amend(c: &mut Conn, id: Id, a: Amendment, is_handed: bool) -> Result<()> {
    // What the case core has been told stays as it was told, but for the text. One that is full has more in it
    // than fits into another.
    let query = sql("UPDATE item SET detail = CASE WHEN LENGTH(detail) < $10 THEN $2 ELSE detail END, \
         urgency = CASE WHEN urgency > $3 THEN $3 ELSE urgency END, \
         title = CASE WHEN $8 THEN title ELSE $4 END, \
         class_code = CASE WHEN $8 THEN class_code ELSE $5 END, \
         location_text = CASE WHEN $8 THEN COALESCE(location_text, $6) ELSE $6 END, \
         lon = COALESCE($7, lon), lat = COALESCE($9, lat) \
         WHERE id = $1 AND created_by IS NULL")
    .bind(id)
    .bind(a.detail)
    .bind(a.urgency)
    .bind(a.title)
    .bind(a.class_code)
    .bind(a.location_text)
    .bind(a.lon)
    .bind(is_handed)
    .bind(a.lat)
    .bind(GROWN_DETAIL_CHARS_MAX);
    c.run(query).await.map(|_| ())
}

impl Store {
    /// Takes the next step of a conversation whose timer ran out; `None` when a message or another
    /// gateway was faster. Item, numbers, hand-off, texts and the conversation's row are one transaction.
    ///
    /// # Errors
    /// As [`Store::item_create`].
    pub async fn conversation_settle(
        &self,
        id: Id,
        now: i64,
        utc_offset_min: i32,
        settler: Settler,
    ) -> Result<Option<Settled>> {
        let job = SettleJob { id, now, offset_min: utc_offset_min, settler };
        match self.steps_gathered() {
            Some(gather) => gather.take(job, None).await,
            None => self.write(move |c| Box::pin(settle(c, job))).await,
        }
    }

    /// Tries a conversation whose step failed again at `at`.
    ///
    /// # Errors
    /// As any write.
    pub async fn conversation_postpone(&self, id: Id, at: i64) -> Result<()> {
        let query = sql("UPDATE conversation SET act_at = $2 WHERE id = $1 AND act_at < $2").bind(id).bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// The conversation a message is part of.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such message.
    pub async fn conversation_of_message(&self, message: Id) -> Result<Option<Id>> {
        let query = sql("SELECT conversation AS id FROM message WHERE id = $1 AND conversation IS NOT NULL");
        let found: Option<IdRow> = self.reader().await?.opt(query.bind(message)).await?;
        Ok::<_, DbError>(found.map(|row| row.id))
    }

    /// Conversations that wait for their timer, and how long the longest overdue waits for it (ms).
    ///
    /// # Errors
    /// As any read.
    pub async fn conversations_waiting(&self, now: i64) -> Result<(i64, i64)> {
        let query = sql("SELECT COUNT(*), COALESCE(MIN(act_at), $1) FROM conversation WHERE act_at IS NOT NULL");
        let (n, oldest): (i64, i64) = self.reader().await?.one(query.bind(now)).await?;
        Ok((n, now.saturating_sub(oldest).max(0)))
    }
}
