//! Steps of conversations that wait at once, taken together: PostgreSQL answers each statement over a socket, so a
//! group takes about as many of them as one step alone.
//!
//! What is in a step's way is held without waiting: who has one conversation and waits for another, or for its item,
//! could wait for whoever waits for the first. A step whose rows somebody else holds is left for the next look.

use std::collections::{HashMap, HashSet};

use crate::{
    bulk,
    claim::IdRow,
    conn::Conn,
    conversation::{Conversation, conversation_columns},
    conversation_settle::{Carried, PARTS_READ_MAX, SettleJob, Settled, Settlement, Settling, carry_out, changes},
    error::{Result, guarded},
    id::Id,
    incident::pg_listed,
    item::{Item, select_item},
    message::{Message, select_message},
    party::{Party, select_party},
    settle_rows,
    sql::sql,
    writer::Fut,
};

/// The steps PostgreSQL's gatherer found waiting.
pub(crate) fn settle_group(c: &mut Conn, jobs: Vec<SettleJob>) -> Fut<'_, Result<Vec<Option<Settled>>>> {
    Box::pin(async move {
        let mut settled: Vec<Option<Settled>> = jobs.iter().map(|_| None).collect();
        let held = hold(c, jobs).await?;
        if held.is_empty() {
            return Ok(settled);
        }
        let mut facts = look(c, &held).await?;
        let steps = held.into_iter().map(|one| one.decide(&mut facts)).collect::<Result<Vec<_>>>()?;
        let (together, alone): (Vec<_>, Vec<_>) =
            reserve(c, steps).await?.into_iter().partition(Step::stands_by_itself);
        settle_rows::store(c, together, &mut settled).await?;
        for mut step in alone {
            let done = carry_out(c, &mut step.on, step.settlement, step.now, step.offset_min).await?;
            settled[step.at] = Some(done);
        }
        Ok(settled)
    })
}

/// A conversation held, with the item it became.
struct Held {
    /// Its place in the group.
    at: usize,
    job: SettleJob,
    conversation: Conversation,
    item: Option<Item>,
}

/// Holds what is free of these conversations and their items.
async fn hold(c: &mut Conn, jobs: Vec<SettleJob>) -> Result<Vec<Held>> {
    let conversations = sql(concat!(
        "SELECT ",
        conversation_columns!(),
        " FROM conversation WHERE id ",
        pg_listed!(),
        " ORDER BY id FOR UPDATE SKIP LOCKED"
    ))
    .bind(bulk::ids(jobs.iter().map(|job| job.id)));
    let rows: Vec<Conversation> = c.all(conversations).await?;
    let mut items = hold_items(c, rows.iter().filter_map(|row| row.item)).await?;
    let mut rows: HashMap<Id, Conversation> = rows.into_iter().map(|row| (row.id, row)).collect();
    let mut held = Vec::with_capacity(rows.len());
    for (at, job) in jobs.into_iter().enumerate() {
        let due = |row: &Conversation| row.act_at.is_some_and(|at| at <= job.now);
        let Some(conversation) = rows.remove(&job.id).filter(due) else { continue };
        let item = match conversation.item {
            // One of two conversations of an item, or somebody is at the item.
            Some(item) => match items.remove(&item) {
                Some(item) => Some(item),
                None => continue,
            },
            None => None,
        };
        held.push(Held { at, job, conversation, item });
    }
    Ok(held)
}

/// Holds what is free of these items: whole rows, against what is being added to them too (a supplement holds its
/// item before the item's work), and their names, against hand-offs.
async fn hold_items(c: &mut Conn, wanted: impl Iterator<Item = Id>) -> Result<HashMap<Id, Item>> {
    let wanted: Vec<Id> = wanted.collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let query = select_item!(concat!("WHERE id ", pg_listed!(), " ORDER BY id FOR UPDATE SKIP LOCKED"));
    let items: Vec<Item> = c.all(query.bind(bulk::ids(wanted.into_iter()))).await?;
    let name = |item: &Item| format!("item:{}", item.id);
    let free = bulk::try_lock(c, items.iter().map(name).collect()).await?;
    Ok(items.into_iter().filter(|item| free.contains(&name(item))).map(|item| (item.id, item)).collect())
}

/// What the steps are decided by.
struct Facts {
    messages: HashMap<Id, Vec<Message>>,
    /// What citizens added to their items by name.
    named: HashMap<Id, Vec<Message>>,
    with_media: HashSet<Id>,
    handed: HashSet<Id>,
    parties: HashMap<Id, Party>,
}

async fn look(c: &mut Conn, held: &[Held]) -> Result<Facts> {
    let conversations = bulk::ids(held.iter().map(|one| one.conversation.id));
    let query = select_message!(concat!("WHERE conversation ", pg_listed!(), " ORDER BY conversation, seq"));
    let messages = by(c.all(query.bind(conversations.as_str())).await?, |message: &Message| message.conversation);
    let query = sql(concat!(
        "SELECT DISTINCT m.conversation AS id FROM message m JOIN message_media a ON a.message = m.id \
         WHERE a.state <> '失败' AND m.conversation ",
        pg_listed!()
    ));
    let with_media = ids(c.all(query.bind(conversations)).await?);
    let mut facts =
        Facts { messages, named: HashMap::new(), with_media, handed: HashSet::new(), parties: HashMap::new() };
    let items: Vec<Id> = held.iter().filter_map(|one| one.conversation.item).collect();
    if !items.is_empty() {
        let items = bulk::ids(items.into_iter());
        let query =
            select_message!(concat!("WHERE conversation IS NULL AND item ", pg_listed!(), " ORDER BY item, seq"));
        facts.named = by(c.all(query.bind(items.as_str())).await?, |message: &Message| message.item);
        let query = sql(concat!("SELECT DISTINCT item AS id FROM handoff WHERE item ", pg_listed!()));
        facts.handed = ids(c.all(query.bind(items)).await?);
    }
    let query = select_party!(concat!("WHERE id ", pg_listed!()));
    let parties = bulk::ids(held.iter().filter_map(|one| one.conversation.party));
    let parties: Vec<Party> = c.all(query.bind(parties)).await?;
    facts.parties = parties.into_iter().map(|party| (party.id, party)).collect();
    Ok(facts)
}

fn ids(rows: Vec<IdRow>) -> HashSet<Id> {
    rows.into_iter().map(|row| row.id).collect()
}

/// The first [`PARTS_READ_MAX`] messages of each.
fn by(rows: Vec<Message>, key: impl Fn(&Message) -> Option<Id>) -> HashMap<Id, Vec<Message>> {
    let mut found: HashMap<Id, Vec<Message>> = HashMap::new();
    for row in rows {
        let Some(key) = key(&row) else { continue };
        let of = found.entry(key).or_default();
        if i64::try_from(of.len()).is_ok_and(|len| len < PARTS_READ_MAX) {
            of.push(row);
        }
    }
    found
}

impl Held {
    fn decide(self, facts: &mut Facts) -> Result<Step> {
        let Self { at, job, conversation, item } = self;
        let mut messages = facts.messages.remove(&conversation.id).unwrap_or_default();
        if let Some(item) = &item {
            messages.extend(facts.named.remove(&item.id).unwrap_or_default());
            messages.sort_by_key(|message| message.seq);
        }
        let is_handed = item.as_ref().is_some_and(|item| facts.handed.contains(&item.id));
        let settlement = guarded(|| {
            (job.settler)(&Settling {
                conversation: &conversation,
                messages: &messages,
                has_media: facts.with_media.contains(&conversation.id),
                item: item.as_ref(),
                is_handed,
                party: conversation.party.and_then(|party| facts.parties.get(&party)),
            })
        })?;
        let on = Carried { conversation, messages, item: item.map(|item| (item, false)), is_handed };
        Ok(Step { at, now: job.now, offset_min: job.offset_min, on, settlement, is_known: false })
    }
}

/// A step decided on.
pub(crate) struct Step {
    /// Its place in the group.
    pub(crate) at: usize,
    pub(crate) now: i64,
    pub(crate) offset_min: i32,
    pub(crate) on: Carried,
    pub(crate) settlement: Settlement,
    /// The item to make is there already.
    is_known: bool,
}

impl Step {
    /// Whether nothing is read or written for it but its rows: an item that is new, or stays as it is, or none.
    fn stands_by_itself(&self) -> bool {
        let messages = &self.on.messages;
        match (&self.settlement.create, &self.on.item) {
            (Some(_), None) => !self.is_known && messages.iter().all(|m| m.item.is_none() && m.link.is_none()),
            (None, Some((item, _))) => {
                let grows = |new| changes(item, new, self.on.is_handed);
                messages.iter().all(|m| m.item.is_some()) && !self.settlement.amend.as_ref().is_some_and(grows)
            }
            (None, None) => true,
            (Some(_), Some(_)) => false,
        }
    }

    /// The names of the item to make: by its key, and by its contact, it is made once.
    fn names(&self) -> Vec<String> {
        let Some(new) = &self.settlement.create else { return Vec::new() };
        let key = new.idempotency_key.as_ref().map(|key| format!("item_key:{key}"));
        key.into_iter().chain(new.first_contact.map(|contact| format!("item_contact:{contact}"))).collect()
    }
}

/// Holds the names of the items to make, and looks which of these are there. A step whose name somebody else holds
/// is left out.
async fn reserve(c: &mut Conn, mut steps: Vec<Step>) -> Result<Vec<Step>> {
    let wanted: Vec<String> = steps.iter().flat_map(Step::names).collect();
    if wanted.is_empty() {
        return Ok(steps);
    }
    let free = bulk::try_lock(c, wanted).await?;
    steps.retain(|step| step.names().iter().all(|name| free.contains(name)));
    let made = |step: &Step| {
        let new = step.settlement.create.as_ref();
        let key = new.and_then(|new| new.idempotency_key.clone());
        [key, new.and_then(|new| new.first_contact).map(|id| id.to_string())]
    };
    let asked: Vec<String> = steps.iter().flat_map(made).flatten().collect();
    let query = sql(concat!(
        "SELECT idempotency_key, first_contact FROM item WHERE idempotency_key ",
        pg_listed!(),
        " OR first_contact ",
        pg_listed!()
    ));
    let known: Vec<(Option<String>, Option<String>)> = c.all(query.bind(bulk::rows(&asked)?)).await?;
    let known: HashSet<String> = known.into_iter().flat_map(|(key, contact)| [key, contact]).flatten().collect();
    for step in &mut steps {
        step.is_known = made(step).into_iter().flatten().any(|name| known.contains(&name));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use super::*;
    use crate::{
        conn::STATEMENTS,
        conversation::ConversationPlan,
        explain::Asked,
        handoff_group::{self, Delivery},
        item::{ItemHandoff, NewItem},
        ledger_group::{self, NewCase},
        message::{MessageState, NewMessage},
        outgoing::{NewOutgoing, OutgoingPurpose},
        party::{Address, AddressKind},
        pool::Store,
        text::Json,
        work::WorkTimes,
    };

    fn address(n: i64) -> Address {
        Address { hash: format!("hash-{n}"), sealed: vec![0, 255], mask: "138****0001".into() }
    }

    fn message(n: i64) -> NewMessage {
        let plan = ConversationPlan { joins: false, closes: false, told_at: None, red: false, act_at: 1 };
        NewMessage {
            channel: "sms".into(),
            line: "a".into(),
            dedup_key: format!("key-{n}"),
            addressed: "106912319".into(),
            sender: Some((AddressKind::Phone, address(n))),
            provider_time: None,
            at: n,
            state: MessageState::Taken,
            text: "人民路88号井盖\"没了\"".into(),
            redacted_text: "井盖没了".into(),
            place: None,
            media: Vec::new(),
            red: false,
            test: false,
            link: None,
            planner: Some(Arc::new(move |_| plan)),
            supplement: None,
            note: None,
            stops_texts: false,
            answers: Vec::new(),
        }
    }

    fn receipt(item: &Item) -> NewOutgoing {
        NewOutgoing {
            channel: "sms".into(),
            line: None,
            to: address(1),
            template: "receipt".into(),
            params: Json::default(),
            text: item.query_code.clone(),
            purpose: OutgoingPurpose::Receipt,
            dedup_key: Some(format!("receipt:{}", item.id)),
            conversation: None,
            item: None,
            party: None,
            once: false,
            test: false,
            next_at: 1,
            expires_at: 2,
        }
    }

    /// An item with its receipt and work first; ended and handed off then.
    fn settlement(s: &Settling<'_>) -> Settlement {
        let is_new = s.item.is_none();
        let new = NewItem {
            region: "320412".into(),
            channel: 2,
            kind: "投诉".into(),
            urgency: 4,
            title: "井盖".into(),
            detail: s.messages[0].text.clone(),
            location_text: Some("人民路88号".into()),
            source: "message".into(),
            first_contact: Some(s.conversation.first_contact),
            idempotency_key: Some(format!("conversation-{}", s.conversation.id)),
            ..NewItem::default()
        };
        let payload = |item: &Item| serde_json::json!(item.acceptance_no);
        Settlement {
            create: is_new.then_some(new),
            amend: None,
            work: Some(WorkTimes { acknowledge_ms: None, handle_ms: [1; 5] }),
            hand_off: (!is_new).then(|| ItemHandoff { target: "ledger".into(), payload: Box::new(payload) }),
            note: None,
            answers: is_new.then(|| -> crate::Answers { Box::new(|item| vec![receipt(item)]) }),
            notices: Vec::new(),
            asked: None,
            receipt: is_new,
            close: !is_new,
            next_at: is_new.then_some(2),
        }
    }

    async fn step(c: &mut Conn, due: &[Id]) -> usize {
        let job = |id: &Id| SettleJob { id: *id, now: 9, offset_min: 480, settler: Arc::new(settlement) };
        let before = STATEMENTS.with(Cell::get);
        let settled = settle_group(c, due.iter().map(job).collect()).await.unwrap();
        assert!(settled.iter().flatten().all(|settled| settled.item.is_some()));
        assert_eq!(settled.iter().flatten().count(), due.len());
        STATEMENTS.with(Cell::get) - before
    }

    /// Messages to receipts, to the end of their conversations, to the case core.
    async fn walk(store: &Store, len: i64) -> [usize; 4] {
        STATEMENTS
            .scope(Cell::new(0), async {
                let taken = store.messages_take((0..len).map(message).collect()).await.unwrap();
                assert_eq!(i64::try_from(taken.len()), Ok(len));
                let due = store.conversations_due(9, 200).await.unwrap();
                let mut conn = store.transaction().await;
                let counts = (step(&mut conn, &due).await, step(&mut conn, &due).await);
                conn.end(Ok(())).await.unwrap();
                let rows = store.handoff_claim("ledger", 9, 1_000, 100).await.unwrap();
                assert_eq!(i64::try_from(rows.len()), Ok(len));
                let mut conn = store.transaction().await;
                let before = STATEMENTS.with(Cell::get);
                let new = |n: usize| NewCase { key: rows[n].idempotency_key.clone(), payload: "{}".into(), at: 9 };
                let cases = ledger_group::create(&mut conn, (0..rows.len()).map(new).collect()).await.unwrap();
                let taken = STATEMENTS.with(Cell::get);
                let case_no = |n: usize| cases[n].clone().unwrap().0;
                let job = |n: usize| Delivery { id: rows[n].id, case_no: case_no(n), at: 9 };
                let noted = handoff_group::delivered(&mut conn, (0..rows.len()).map(job).collect()).await.unwrap();
                assert!(noted.iter().all(|fresh| *fresh == Some(true)));
                let noted = STATEMENTS.with(Cell::get) - taken;
                conn.end(Ok(())).await.unwrap();
                [counts.0, counts.1, taken - before, noted]
            })
            .await
    }

    #[tokio::test]
    async fn many_steps_take_as_many_statements_as_one() {
        for len in [1, 60] {
            for db in Asked::both().await {
                if let Some(url) = db.url() {
                    let store = Store::open(url).await.unwrap();
                    assert_eq!(walk(&store, len).await, [13, 10, 5, 5], "{len}: item, end, case, note");
                    store.close().await;
                }
                db.close().await;
            }
        }
    }
}
