//! Written contacts: numbered, deduplicated and put into their conversation in one transaction.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    call::Direction,
    claim::IdRow,
    conn::Conn,
    contact::{self, NewContact},
    conversation::{self, Arriving, ConversationPlanner},
    error::{DbError, Result, guarded},
    fence::{Pass, Slip},
    handoff::{self, ItemNote},
    id::Id,
    item_list::{self, ContactRole},
    limits::{self, GROWN_DETAIL_CHARS_MAX, LONG_TEXT_CHARS_MAX, SHORT_TEXT_CHARS_MAX},
    message_group,
    message_media::{self, NewMedia},
    outgoing::{self, NewOutgoing, OutgoingPurpose},
    party::{self, Address, AddressKind},
    pool::Store,
    sql::{Sql, sql},
    text::words,
    web_link, wechat,
    work::{self, NewWork, WorkDesk, WorkKind, WorkTimes},
    writer::Fut,
};

words! {
    /// What became of a message.
    MessageState {
        /// Taken into a conversation or to an item.
        Taken = "已收",
        /// Its sender isn't heard.
        Refused = "拒收",
        /// Beyond the sender's or the channel's limit: kept, and nothing follows from it.
        Limited = "超限",
        /// From a machine: kept, never answered.
        Automatic = "自动",
        /// CX or TD: answered, and nothing else follows.
        Command = "指令",
    }
}

/// A message.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Message {
    /// Row id.
    pub id: Id,
    /// Its contact.
    pub contact: Id,
    /// Global arrival sequence.
    pub seq: i64,
    /// `sms`, `wechat`, `web`, `mail` …
    pub channel: String,
    /// The line of ours it came by.
    pub line: String,
    /// Unique within the channel.
    pub dedup_key: String,
    /// Our number or address it was sent to.
    pub addressed: String,
    /// The sender as people may see them.
    pub sender_mask: String,
    /// The citizen.
    pub party: Option<Id>,
    /// The conversation it is part of.
    pub conversation: Option<Id>,
    /// The item it was added to.
    pub item: Option<Id>,
    /// What became of it.
    pub state: MessageState,
    /// The text.
    #[serde(skip)]
    pub text: String,
    /// The text with numbers of persons masked.
    pub redacted_text: String,
    /// Longitude in degrees, CGCS2000.
    pub lon: Option<f64>,
    /// Latitude in degrees, CGCS2000.
    pub lat: Option<f64>,
    /// The datum the position came in.
    pub datum: Option<String>,
    /// The sender's name of the place.
    pub place_label: Option<String>,
    /// Danger.
    pub red: bool,
    /// Of the self-test robot.
    pub test: bool,
    /// Hash of the web link's token that led here.
    pub link: Option<String>,
    /// Arrival at the gateway.
    pub at: i64,
}

crate::lite::row!(Message {
    id,
    contact,
    seq,
    channel,
    line,
    dedup_key,
    addressed,
    sender_mask,
    party,
    conversation,
    item,
    state,
    text,
    redacted_text,
    lon,
    lat,
    datum,
    place_label,
    red,
    test,
    link,
    at
});

/// A position as it came, and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPlace {
    /// Longitude in degrees, CGCS2000.
    pub lon: f64,
    /// Latitude in degrees, CGCS2000.
    pub lat: f64,
    /// The datum it came in.
    pub datum: String,
    /// The sender's name of the place, at most 256 characters.
    pub label: Option<String>,
}

/// A message to take.
#[derive(Clone)]
pub struct NewMessage {
    /// `sms`, `wechat`, `web`, `mail` …
    pub channel: String,
    /// The line of ours it came by.
    pub line: String,
    /// Unique within the channel.
    pub dedup_key: String,
    /// Our number or address.
    pub addressed: String,
    /// Who sent it.
    pub sender: Option<(AddressKind, Address)>,
    /// The provider's own time stamp.
    pub provider_time: Option<i64>,
    /// Arrival at the gateway.
    pub at: i64,
    /// What is to become of it, unless its sender is blocked or it is our own text come back.
    pub state: MessageState,
    /// The text.
    pub text: String,
    /// The text with numbers of persons masked.
    pub redacted_text: String,
    /// Where.
    pub place: Option<NewPlace>,
    /// What came with it.
    pub media: Vec<NewMedia>,
    /// Danger.
    pub red: bool,
    /// Of the self-test robot.
    pub test: bool,
    /// Hash of the web link's token that led here.
    pub link: Option<String>,
    /// How it enters the conversation; `None`: it stays by itself.
    pub planner: Option<ConversationPlanner>,
    /// The item it adds to.
    pub supplement: Option<Supplement>,
    /// What the case core is told when the item it adds to was handed off.
    pub note: Option<ItemNote>,
    /// The citizen wants no texts from now on.
    pub stops_texts: bool,
    /// Texts that answer it; the citizen and, unless set, the item are filled in.
    pub answers: Vec<NewOutgoing>,
}

/// An item a message adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supplement {
    /// The item.
    pub item: Id,
    /// The message names it; otherwise an open conversation comes first.
    pub named: bool,
    /// How much time a person has to read it; `None` makes no work.
    pub work: Option<WorkTimes>,
}

/// What [`Store::message_take`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageTaken {
    /// Stored.
    New {
        /// Its contact.
        contact: Id,
        /// Its place in the global order of arrival.
        seq: i64,
        /// Row id.
        message: Id,
        /// What became of it.
        state: MessageState,
        /// The citizen.
        party: Option<Id>,
        /// The conversation it is part of.
        conversation: Option<Id>,
        /// The item it was added to.
        item: Option<Id>,
        /// When that one's timer runs out.
        act_at: Option<i64>,
    },
    /// Its key was there already; nothing was stored.
    Known {
        /// The first one's row id.
        message: Id,
    },
}

/// How far back a text of ours may be to know it again when it comes back.
pub(crate) const ECHO_MS: i64 = 86_400_000;

macro_rules! select_message {
    ($tail:expr) => {
        sql(concat!(
            "SELECT id, contact, seq, channel, line, dedup_key, addressed, sender_mask, party, conversation, item, \
             state, text, redacted_text, lon, lat, datum, place_label, red, test, link, at FROM message ",
            $tail
        ))
    };
}
pub(crate) use select_message;

/// What the tables know before a message is stored.
#[derive(FromRow)]
struct Known {
    message: Option<Id>,
    party: Option<Id>,
    block: Option<Id>,
    echo: Option<Id>,
}

crate::lite::row!(Known { message, party, block, echo });

macro_rules! select_known {
    ($column:literal) => {
        sql(concat!(
            "SELECT (SELECT id FROM message WHERE channel = $1 AND dedup_key = $2) AS message, \
             (SELECT id FROM party WHERE ",
            $column,
            " = $3) AS party, \
             (SELECT id FROM block WHERE subject_hash = $3 AND lifted_at IS NULL \
                 AND (until_at IS NULL OR until_at > $4) LIMIT 1) AS block, \
             (SELECT id FROM outgoing WHERE to_hash = $3 AND created_at > $5 AND text = $6 LIMIT 1) AS echo"
        ))
    };
}

fn known(new: &NewMessage) -> Sql {
    let hash = new.sender.as_ref().map(|(_, address)| address.hash.clone());
    match new.sender.as_ref().map(|(kind, _)| *kind) {
        Some(AddressKind::Openid) => select_known!("openid_hash"),
        Some(AddressKind::Mail) => select_known!("mail_hash"),
        _ => select_known!("phone_hash"),
    }
    .bind(new.channel.as_str())
    .bind(new.dedup_key.as_str())
    .bind(hash)
    .bind(new.at)
    .bind(new.at.saturating_sub(ECHO_MS))
    .bind(new.text.as_str())
}

fn check(new: &NewMessage) -> Result<()> {
    for (field, value) in
        [("channel", &new.channel), ("line", &new.line), ("dedup_key", &new.dedup_key), ("addressed", &new.addressed)]
    {
        limits::text(field, value, SHORT_TEXT_CHARS_MAX)?;
    }
    limits::text("link", new.link.as_deref().unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
    limits::text("text", &new.text, LONG_TEXT_CHARS_MAX)?;
    limits::text("redacted_text", &new.redacted_text, LONG_TEXT_CHARS_MAX)?;
    let label = new.place.as_ref().and_then(|p| p.label.as_deref()).unwrap_or_default();
    limits::text("place_label", label, limits::LOCATION_CHARS_MAX)?;
    new.answers.iter().try_for_each(outgoing::check)
}

/// Takes messages in their order.
pub(crate) async fn take_all(c: &mut Conn, new: Vec<NewMessage>) -> Result<Vec<MessageTaken>> {
    if c.is_postgres() {
        return message_group::take(c, new).await;
    }
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    // The counter's row is held until the commit: whoever comes here next sees all of this.
    let first = contact::next_seqs(c, count).await?;
    let mut taken = Vec::with_capacity(new.len());
    for (seq, new) in (first..).zip(new) {
        taken.push(take(c, new, seq).await?);
    }
    Ok(taken)
}

/// Messages PostgreSQL's gatherer found waiting.
pub(crate) fn take_group(c: &mut Conn, new: Vec<NewMessage>) -> Fut<'_, Result<Vec<MessageTaken>>> {
    Box::pin(take_all(c, new))
}

/// What becomes of a message whose sender is blocked or that is our own text come back.
pub(crate) fn state_of(new: &NewMessage, is_blocked: bool, is_echo: bool) -> MessageState {
    match (is_blocked, is_echo, new.state) {
        (true, _, _) => MessageState::Refused,
        (_, true, MessageState::Taken | MessageState::Limited) if !new.text.is_empty() => MessageState::Automatic,
        (_, _, wanted) => wanted,
    }
}

/// Takes a message if it still may be; its slip comes back with what waits for the commit.
async fn take_one(c: &mut Conn, new: NewMessage, slip: Option<Slip>) -> Result<(MessageTaken, Option<Slip>)> {
    if slip.as_ref().is_some_and(|slip| !slip.is_valid()) {
        return Err(DbError::Busy);
    }
    match take_all(c, vec![new]).await {
        Ok(taken) => Ok((taken.into_iter().next().ok_or(DbError::NotFound)?, slip)),
        Err(error) => {
            if let Some(slip) = slip.filter(|_| error.is_lasting()) {
                slip.done();
            }
            Err(error)
        }
    }
}

/// Takes one message under a number from [`contact::next_seqs`].
pub(crate) async fn take(c: &mut Conn, new: NewMessage, seq: i64) -> Result<MessageTaken> {
    let known: Known = c.one(known(&new)).await?;
    if let Some(message) = known.message {
        return Ok(MessageTaken::Known { message });
    }
    let sender_mask = new.sender.as_ref().map_or_else(String::new, |(_, address)| address.mask.clone());
    let party = match (known.party, new.sender.clone()) {
        (None, Some((kind, address))) => Some(party::added(c, kind, address).await?),
        (party, _) => party,
    };
    let state = state_of(&new, known.block.is_some(), known.echo.is_some());
    let contact = NewContact {
        channel: new.channel.clone(),
        direction: Direction::Inbound,
        arrived_at: new.at,
        provider_time: new.provider_time,
        party,
        raw_ref: None,
    };
    let contact = contact::insert_as(c, seq, contact).await?.id;
    let (conversation, item, act_at) = place(c, &new, state, party, contact, seq).await?;
    let id = Id::new();
    insert(c, &new, Placed { id, contact, seq, sender_mask, party, conversation, item, state }).await?;
    message_media::insert(c, id, &new).await?;
    if let Some(link) = new.link.as_deref().filter(|_| state != MessageState::Refused) {
        web_link::used(c, link, Some(id), new.at).await?;
    }
    if let Some((AddressKind::Openid, address)) = &new.sender {
        // Its answers wait in the same commit: they need the window it opens.
        wechat::wrote(c, &address.hash, new.provider_time.unwrap_or(new.at)).await?;
    }
    if let Some(item) = item {
        item_list::link(c, item, contact, ContactRole::Supplement, new.at).await?;
        if let Some(times) = new.supplement.and_then(|s| s.work) {
            to_read(c, &new, item, (contact, seq), times).await?;
        }
    }
    // Our own text that came back, and who isn't heard, get none.
    if matches!(state, MessageState::Taken | MessageState::Command) {
        answer(c, new, party, item).await?;
    }
    Ok(MessageTaken::New { contact, seq, message: id, state, party, conversation, item, act_at })
}

/// What a citizen added is read by a person; danger moves all work about the item up.
async fn to_read(c: &mut Conn, new: &NewMessage, item: Id, from: (Id, i64), times: WorkTimes) -> Result<()> {
    let urgency = crate::item::load(c, item).await?.urgency;
    let urgency = if new.red { urgency.min(2) } else { urgency };
    if new.red {
        work::raise(c, item, true, urgency, times, new.at).await?;
    }
    let work = NewWork {
        kind: WorkKind::Supplement,
        dedup_key: format!("contact:{}", from.0),
        item: Some(item),
        contact: Some(from.0),
        conversation: None,
        channel: new.channel.clone(),
        red: new.red,
        urgency,
        seq: from.1,
        arrived_at: new.at,
        // The answer to a supplement leaves in this transaction.
        times: WorkTimes { acknowledge_ms: None, ..times },
        desk: WorkDesk::Operators,
        excluded: None,
    };
    work::add(c, work, new.at).await.map(|_| ())
}

/// Where the message goes: conversation, item, and when the conversation's timer runs out.
async fn place(
    c: &mut Conn,
    new: &NewMessage,
    state: MessageState,
    party: Option<Id>,
    contact: Id,
    seq: i64,
) -> Result<(Option<Id>, Option<Id>, Option<i64>)> {
    let Some(planner) = new.planner.as_ref().filter(|_| state == MessageState::Taken) else {
        let item = new.supplement.filter(|_| state == MessageState::Taken).map(|s| s.item);
        return Ok((None, item, None));
    };
    let named = new.supplement.filter(|s| s.named);
    if let Some(supplement) = named {
        return Ok((None, Some(supplement.item), None));
    }
    let open = conversation::open_of(c, &new.channel, party).await?;
    let plan = guarded(|| planner(open.as_ref()))?;
    if let Some(supplement) = new.supplement.filter(|_| !plan.joins) {
        return Ok((None, Some(supplement.item), None));
    }
    let arriving = Arriving { channel: &new.channel, line: &new.line, party, contact, seq, at: new.at, test: new.test };
    if let Some(id) = conversation::enter(c, open.as_ref(), plan, arriving).await? {
        return Ok((Some(id), None, Some(plan.act_at)));
    }
    // Its timer ended it between the look and the step in.
    let plan = guarded(|| planner(None))?;
    let id = conversation::enter(c, None, plan, arriving).await?;
    Ok((id, None, Some(plan.act_at)))
}

/// What is known of a message once it has its place.
struct Placed {
    id: Id,
    contact: Id,
    seq: i64,
    sender_mask: String,
    party: Option<Id>,
    conversation: Option<Id>,
    item: Option<Id>,
    state: MessageState,
}

async fn insert(c: &mut Conn, new: &NewMessage, placed: Placed) -> Result<()> {
    let place = new.place.as_ref();
    let query = sql("INSERT INTO message (id, contact, seq, channel, line, dedup_key, addressed, sender_mask, party, \
         conversation, item, state, text, redacted_text, lon, lat, datum, place_label, red, test, link, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)")
    .bind(placed.id)
    .bind(placed.contact)
    .bind(placed.seq)
    .bind(new.channel.as_str())
    .bind(new.line.as_str())
    .bind(new.dedup_key.as_str())
    .bind(new.addressed.as_str())
    .bind(placed.sender_mask)
    .bind(placed.party)
    .bind(placed.conversation)
    .bind(placed.item)
    .bind(placed.state)
    .bind(new.text.as_str())
    .bind(new.redacted_text.as_str())
    .bind(place.map(|p| p.lon))
    .bind(place.map(|p| p.lat))
    .bind(place.map(|p| p.datum.as_str()))
    .bind(place.and_then(|p| p.label.as_deref()))
    .bind(new.red)
    .bind(new.test)
    .bind(new.link.as_deref())
    .bind(new.at);
    c.run(query).await.map(|_| ())
}

/// What follows from the message beside its row: an item's text grows, texts stop, answers go out.
async fn answer(c: &mut Conn, new: NewMessage, party: Option<Id>, item: Option<Id>) -> Result<()> {
    if let Some(item) = item {
        let grow = sql("UPDATE item SET detail = CASE WHEN LENGTH(detail) < $4 THEN detail || $2 ELSE detail END, \
             urgency = CASE WHEN $3 AND urgency > 2 THEN 2 ELSE urgency END WHERE id = $1")
        .bind(item)
        .bind(format!("\n{}", new.text))
        .bind(new.red)
        .bind(GROWN_DETAIL_CHARS_MAX);
        c.run(grow).await?;
        if let Some(make) = new.note {
            let item = crate::item::load(c, item).await?;
            let payload = guarded(|| make(&item))?;
            handoff::note(c, &item, payload, new.red, new.at).await?;
        }
    }
    for mut text in new.answers {
        let is_page = text.purpose == OutgoingPurpose::Page;
        if is_page && item.is_none() {
            // It went to a conversation, which pages for its own item.
            continue;
        }
        text.party = party.filter(|_| !is_page);
        text.item = text.item.or(item);
        outgoing::insert(c, text, new.at).await?;
    }
    if let Some(party) = party.filter(|_| new.stops_texts) {
        let stop = sql("UPDATE party SET texts_stopped_at = COALESCE(texts_stopped_at, $2) WHERE id = $1");
        c.run(stop.bind(party).bind(new.at)).await?;
        // The first condition is that of the index on what is still to be sent.
        let cancel = sql(
            "UPDATE outgoing SET state = '取消' WHERE state IN ('待发', '发送中') AND state = '待发' AND party = $1 \
             AND purpose NOT IN ('progress', 'stop', 'page', 'test')",
        );
        c.run(cancel.bind(party)).await?;
    }
    Ok(())
}

async fn drop_all(c: &mut Conn, ids: Vec<IdRow>) -> Result<u64> {
    let mut dropped = 0;
    for IdRow { id } in ids {
        c.run(sql("DELETE FROM voice_job WHERE message = $1").bind(id)).await?;
        c.run(sql("DELETE FROM message_media WHERE message = $1").bind(id)).await?;
        dropped += c.run(sql("DELETE FROM message WHERE id = $1").bind(id)).await?;
    }
    Ok(dropped)
}

fn refused_before(at: i64) -> Sql {
    // The word stands here for the index of such rows.
    sql("SELECT id FROM message WHERE state = '拒收' AND at < $1 ORDER BY at LIMIT $2")
        .bind(at)
        .bind(limits::PRUNE_LEN_MAX)
}

/// `$select` from the messages of an item `$1` under the name `m`, first `$2` in `$order`: two indexed halves, since
/// neither engine has an index for both at once. On PostgreSQL as an array, as in [`crate::incident::pg_listed`], and
/// ordered by a sum: in the index of `seq` it would look for them from the first message on.
macro_rules! of_messages_of_item {
    ($select:expr, $order:literal) => {
        crate::sql::sql_each(
            concat!(
                $select,
                " WHERE m.id IN (",
                crate::message::of_messages_of_item!(),
                ") ORDER BY ",
                $order,
                " LIMIT $2"
            ),
            concat!(
                $select,
                " WHERE m.id = ANY (ARRAY(",
                crate::message::of_messages_of_item!(),
                ")) ORDER BY ",
                $order,
                " LIMIT $2"
            ),
        )
    };
    () => {
        "SELECT id FROM message WHERE item = $1 \
         UNION SELECT x.id FROM conversation v CROSS JOIN message x WHERE v.item = $1 AND x.conversation = v.id"
    };
}
pub(crate) use of_messages_of_item;

fn of_item(item: Id) -> Sql {
    of_messages_of_item!(
        "SELECT id, contact, seq, channel, line, dedup_key, addressed, sender_mask, party, conversation, item, state, \
         text, redacted_text, lon, lat, datum, place_label, red, test, link, at FROM message m",
        "m.seq + 0"
    )
    .bind(item)
    .bind(limits::PAGE_LEN_MAX)
}

impl Store {
    /// Takes a message: its citizen is made known if new, it gets its place in the order of arrival
    /// and in its conversation, and its answers are written, in one transaction. The same key again
    /// stores nothing.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a field that is too long, [`crate::DbError::NotFound`] for an
    /// unknown item.
    pub async fn message_take(&self, new: NewMessage) -> Result<MessageTaken> {
        check(&new)?;
        self.take_message(new, None).await
    }

    /// As [`Store::message_take`], unless the pass is void by the time its turn has come. Once asked for
    /// the first time, it is queued behind those asked for before.
    ///
    /// # Errors
    /// As [`Store::message_take`]; [`DbError::Busy`] when one that came before wasn't stored.
    pub async fn message_take_in_order(&self, new: NewMessage, pass: &Pass) -> Result<MessageTaken> {
        check(&new)?;
        self.take_message(new, Some(pass.slip())).await
    }

    async fn take_message(&self, new: NewMessage, slip: Option<Slip>) -> Result<MessageTaken> {
        if let Some(gather) = self.messages_gathered() {
            return gather.take(new, slip).await;
        }
        let (taken, slip) = self.write(move |c| Box::pin(take_one(c, new, slip))).await?;
        if let Some(slip) = slip {
            slip.done();
        }
        Ok(taken)
    }

    /// Takes messages in their order, all in one transaction or none.
    ///
    /// # Errors
    /// As [`Store::message_take`].
    pub async fn messages_take(&self, new: Vec<NewMessage>) -> Result<Vec<MessageTaken>> {
        new.iter().try_for_each(check)?;
        self.write(move |c| Box::pin(take_all(c, new))).await
    }

    /// Drops messages of senders who weren't heard, older than `before`, at most 1,000 a call; how many.
    /// Their contacts stay: the order of arrival has no holes.
    ///
    /// # Errors
    /// As any write.
    pub async fn messages_refused_prune(&self, before: i64) -> Result<u64> {
        // Looked for by a reader: the writer mustn't wait for a walk through all messages.
        let ids: Vec<IdRow> = self.reader().await?.all(refused_before(before)).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        self.write(move |c| Box::pin(async move { drop_all(c, ids).await })).await
    }

    /// A message by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn message_get(&self, id: Id) -> Result<Option<Message>> {
        self.reader().await?.opt(select_message!("WHERE id = $1").bind(id)).await
    }

    /// The message of a contact.
    ///
    /// # Errors
    /// As any read.
    pub async fn message_of_contact(&self, contact: Id) -> Result<Option<Message>> {
        self.reader().await?.opt(select_message!("WHERE contact = $1").bind(contact)).await
    }

    /// The message with this key of a channel.
    ///
    /// # Errors
    /// As any read.
    pub async fn message_by_key(&self, channel: &str, dedup_key: &str) -> Result<Option<Message>> {
        let query = select_message!("WHERE channel = $1 AND dedup_key = $2").bind(channel).bind(dedup_key);
        self.reader().await?.opt(query).await
    }

    /// The messages of a conversation in order of arrival.
    ///
    /// # Errors
    /// As any read.
    pub async fn messages_of_conversation(&self, conversation: Id) -> Result<Vec<Message>> {
        let query = select_message!("WHERE conversation = $1 ORDER BY seq LIMIT $2");
        self.reader().await?.all(query.bind(conversation).bind(limits::PAGE_LEN_MAX)).await
    }

    /// The messages that make up an item, supplements included, in order of arrival.
    ///
    /// # Errors
    /// As any read.
    pub async fn messages_of_item(&self, item: Id) -> Result<Vec<Message>> {
        self.reader().await?.all(of_item(item)).await
    }

    /// Messages, newest first; with `before`, those with a lower sequence.
    ///
    /// # Errors
    /// As any read.
    pub async fn messages(&self, before: Option<i64>, limit: i64) -> Result<Vec<Message>> {
        let query = select_message!("WHERE ($1 IS NULL OR seq < $1) ORDER BY seq DESC LIMIT $2");
        self.reader().await?.all(query.bind(before).bind(limits::page(limit))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Asked;

    const ROWS: u32 = 6_000;

    /// Each message is of a conversation, every second one's led to an item; of 100 one adds to the same item by
    /// itself and one is refused, the older half only.
    async fn fill(db: &mut Asked) {
        let (rows, hex) = db.rows(ROWS);
        let base = "01900000-0000-7000-80";
        db.run(format!(
            "INSERT INTO item (id, acceptance_no, query_code, region, channel, kind, urgency, title, detail, state, \
             state_at, ledger_flag, source, created_at) SELECT '{base}01-' || {hex}, 'a' || n, 'q' || n, '', 1, '', 4, \
             '', '', '待核对', n, FALSE, '', n FROM {rows}; \
             INSERT INTO contact (id, channel, direction, seq, arrived_at) \
             SELECT '{base}02-' || {hex}, 'sms', 'inbound', n, n FROM {rows}; \
             INSERT INTO conversation (id, channel, line, state, first_contact, first_seq, opened_at, last_at, parts, \
             red, test, item) SELECT '{base}03-' || {hex}, 'sms', 'a', '完成', '{base}02-' || {hex}, n, n, n, 1, \
             FALSE, FALSE, CASE n % 2 WHEN 0 THEN '{base}01-' || {hex} END FROM {rows}; \
             INSERT INTO message (id, contact, seq, channel, line, dedup_key, addressed, sender_mask, conversation, \
             item, state, text, redacted_text, red, test, at) \
             SELECT '{base}04-' || {hex}, '{base}02-' || {hex}, n, 'sms', 'a', 'k' || n, '', '', \
             CASE WHEN n % 100 <> 1 THEN '{base}03-' || {hex} END, \
             CASE n % 100 WHEN 1 THEN '{base}01-000000000002' END, \
             CASE WHEN n % 100 = 3 AND n < {} THEN '拒收' ELSE '已收' END, '', '', FALSE, FALSE, n FROM {rows}; \
             INSERT INTO message_media (id, message, n, channel, line, kind, state, attempts, next_at) \
             SELECT '{base}05-' || {hex}, '{base}04-' || {hex}, 1, 'sms', 'a', '图片', '已存', 0, 0 FROM {rows}",
            ROWS / 2
        ))
        .await;
    }

    async fn each_reads_little(db: &mut Asked) {
        let item = "01900000-0000-7000-8001-000000000002".parse().unwrap();
        let (rows, read) = db.reads(of_item(item)).await;
        assert!(rows == 61 && read <= 500, "{}: {read} read for {rows} messages of an item", db.name());
        let (rows, read) = db.reads(message_media::of_item(item)).await;
        assert!(rows == 61 && read <= 700, "{}: {read} read for {rows} files of an item", db.name());
        let (rows, read) = db.reads(refused_before(i64::from(ROWS))).await;
        assert!(rows == 30 && read <= 90, "{}: {read} read for {rows} refused", db.name());
        let (rows, read) = db.reads(refused_before(3)).await;
        assert!(rows == 0 && read <= 30, "{}: {read} read for none", db.name());
    }

    #[tokio::test]
    async fn an_items_messages_and_old_refused_ones_are_found_without_a_walk() {
        Asked::judge(fill, each_reads_little).await;
    }
}
