//! Intake items: what a citizen wants, numbered and handed off in one transaction.

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::{DbError, Result, guarded},
    handoff::{self, HandoffKind, NewHandoff},
    id::Id,
    incident,
    item_list::{self, ContactRole},
    limits::{self, LOCATION_CHARS_MAX, LONG_TEXT_CHARS_MAX, SHORT_TEXT_CHARS_MAX, TITLE_CHARS_MAX},
    number,
    pool::Store,
    sql::sql,
    text::words,
    work::{self, NewWork, WorkDesk, WorkKind, WorkTimes},
};

words! {
    /// State of an item.
    ItemState {
        /// Taken down.
        Registered = "登记",
        /// Being verified.
        Verifying = "核实中",
        /// Provisionally filed.
        PreFiled = "预立案",
        /// At the case core.
        HandedOff = "已移交",
        /// Refused by the case core.
        NotFiled = "不立案",
        /// Accepted later.
        Deferred = "缓受理",
        /// Suspended.
        Suspended = "挂账",
        /// Finished; the citizen is to be asked.
        AwaitingCallback = "待回访",
        /// Closed.
        Closed = "已结案",
        /// Void.
        Void = "作废",
        /// Reopened: the citizen was not content.
        Reopened = "重办",
    }
}

/// An intake item (诉求).
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Item {
    /// Row id.
    pub id: Id,
    /// 受理编号, 19 digits.
    pub acceptance_no: String,
    /// 查询码, 8 digits.
    pub query_code: String,
    /// Administrative region, 6 digits.
    pub region: String,
    /// Channel digit of the acceptance number.
    pub channel: i64,
    /// Kind of request (诉求类型): 咨询, 求助, 投诉 …
    pub kind: String,
    /// 1 特急 · 2 紧急 · 3 及时 · 4 一般 · 5 疑难.
    pub urgency: i64,
    /// Title.
    pub title: String,
    /// What the citizen said.
    pub detail: String,
    /// When it happened.
    pub occurred_at: Option<i64>,
    /// State.
    pub state: ItemState,
    /// Since when.
    pub state_at: i64,
    /// In the citizens' ledger (民生台账).
    pub ledger_flag: bool,
    /// `operator` or `call`.
    pub source: String,
    /// The contact that brought it first.
    pub first_contact: Option<Id>,
    /// The citizen.
    pub party: Option<Id>,
    /// Class code, 5 digits (GB/T 47678.5).
    pub class_code: Option<String>,
    /// The place in words.
    pub location_text: Option<String>,
    /// Longitude in degrees, CGCS2000.
    pub lon: Option<f64>,
    /// Latitude in degrees, CGCS2000.
    pub lat: Option<f64>,
    /// The item this one was merged into.
    pub merged_into: Option<Id>,
    /// Deadline.
    pub due_at: Option<i64>,
    /// Who took it down: a user.
    pub created_by: Option<Id>,
    /// When.
    pub created_at: i64,
}

crate::lite::row!(Item {
    id,
    acceptance_no,
    query_code,
    region,
    channel,
    kind,
    urgency,
    title,
    detail,
    occurred_at,
    state,
    state_at,
    ledger_flag,
    source,
    first_contact,
    party,
    class_code,
    location_text,
    lon,
    lat,
    merged_into,
    due_at,
    created_by,
    created_at
});

/// An item to take down.
#[derive(Debug, Clone, Default)]
pub struct NewItem {
    /// Administrative region, 6 digits (GB/T 2260).
    pub region: String,
    /// Channel digit, 1 for the telephone.
    pub channel: u8,
    /// Kind of request (诉求类型).
    pub kind: String,
    /// 1 to 5.
    pub urgency: i64,
    /// Title, at most 256 characters.
    pub title: String,
    /// What the citizen said.
    pub detail: String,
    /// When it happened.
    pub occurred_at: Option<i64>,
    /// Class code, 5 digits.
    pub class_code: Option<String>,
    /// The place in words, at most 256 characters.
    pub location_text: Option<String>,
    /// Longitude in degrees.
    pub lon: Option<f64>,
    /// Latitude in degrees.
    pub lat: Option<f64>,
    /// `operator` or `call`.
    pub source: String,
    /// The contact that brought it; it has at most one item.
    pub first_contact: Option<Id>,
    /// The citizen; `None` takes the contact's.
    pub party: Option<Id>,
    /// Who takes it down: a user.
    pub created_by: Option<Id>,
    /// The caller's key: the same key gives the same item.
    pub idempotency_key: Option<String>,
}

/// Makes the payload of the hand-off once the item has its numbers.
pub type PayloadBuilder = Box<dyn FnOnce(&Item) -> Value + Send>;

/// The hand-off that goes with a new item.
pub struct ItemHandoff {
    /// The case core's name in the configuration.
    pub target: String,
    /// Makes the payload.
    pub payload: PayloadBuilder,
}

impl std::fmt::Debug for ItemHandoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ItemHandoff").field("target", &self.target).finish_non_exhaustive()
    }
}

/// The work an item makes for a person, because nobody took it down by hand.
#[derive(Debug, Clone, Copy)]
pub struct ItemWork {
    /// Somebody may be in danger.
    pub red: bool,
    /// How much time there is.
    pub times: WorkTimes,
    /// The conversation that became the item.
    pub conversation: Option<Id>,
}

/// Where and when the contact of an item came in.
#[derive(FromRow)]
pub(crate) struct Arrival {
    pub(crate) channel: String,
    pub(crate) seq: i64,
    pub(crate) arrived_at: i64,
}

crate::lite::row!(Arrival { channel, seq, arrived_at });

impl ItemWork {
    /// The work of an item, at the place its first contact has in the order of arrival.
    pub(crate) fn of(self, item: &Item, arrival: Arrival) -> NewWork {
        NewWork {
            kind: WorkKind::Check,
            dedup_key: format!("item:{}", item.id),
            item: Some(item.id),
            contact: item.first_contact,
            conversation: self.conversation,
            channel: arrival.channel,
            red: self.red,
            urgency: item.urgency,
            seq: arrival.seq,
            arrived_at: arrival.arrived_at,
            times: self.times,
            desk: WorkDesk::Operators,
            excluded: None,
        }
    }
}

/// Makes the work of a new item.
async fn add_work(c: &mut Conn, item: &Item, new: ItemWork, now: i64) -> Result<()> {
    let arrival: Option<Arrival> = match item.first_contact {
        Some(contact) => c.opt(sql("SELECT channel, seq, arrived_at FROM contact WHERE id = $1").bind(contact)).await?,
        None => None,
    };
    let arrival = arrival.unwrap_or_else(|| Arrival { channel: item.source.clone(), seq: 0, arrived_at: now });
    work::add(c, new.of(item, arrival), now).await.map(|_| ())
}

macro_rules! item_columns {
    () => {
        "id, acceptance_no, query_code, region, channel, kind, urgency, title, detail, occurred_at, state, state_at, \
         ledger_flag, source, first_contact, party, class_code, location_text, lon, lat, merged_into, due_at, \
         created_by, created_at"
    };
}
pub(crate) use item_columns;

macro_rules! select_item {
    ($tail:expr) => {
        crate::sql::sql(concat!("SELECT ", crate::item::item_columns!(), " FROM item ", $tail))
    };
}
pub(crate) use select_item;

/// The item, or [`DbError::NotFound`].
pub(crate) async fn load(c: &mut Conn, id: Id) -> Result<Item> {
    c.one(select_item!("WHERE id = $1").bind(id)).await
}

/// Moves an item to a state, and with it what was merged into it.
pub(crate) async fn set_state(c: &mut Conn, id: Id, state: ItemState, at: i64) -> Result<()> {
    let below = incident::below(c, id).await?;
    for id in std::iter::once(id).chain(below) {
        let query = sql("UPDATE item SET state = $2, state_at = $3 WHERE id = $1").bind(id).bind(state).bind(at);
        c.run(query).await?;
    }
    Ok(())
}

pub(crate) fn check(new: &NewItem) -> Result<()> {
    number::check_region(&new.region)?;
    limits::text("title", &new.title, TITLE_CHARS_MAX)?;
    limits::text("detail", &new.detail, LONG_TEXT_CHARS_MAX)?;
    limits::text("kind", &new.kind, SHORT_TEXT_CHARS_MAX)?;
    limits::text("source", &new.source, SHORT_TEXT_CHARS_MAX)?;
    let place = new.location_text.as_deref().unwrap_or_default();
    limits::text("location_text", place, LOCATION_CHARS_MAX)?;
    let code = new.class_code.as_deref().unwrap_or_default();
    limits::text("class_code", code, SHORT_TEXT_CHARS_MAX)?;
    let key = new.idempotency_key.as_deref().unwrap_or_default();
    limits::text("idempotency_key", key, SHORT_TEXT_CHARS_MAX)?;
    if !(1..=5).contains(&new.urgency) {
        return Err(DbError::Invalid { field: "urgency", why: "1 to 5 is expected".into() });
    }
    let on_earth = |value: Option<f64>, max: f64| value.is_none_or(|v| v.abs() <= max);
    if !on_earth(new.lon, 180.0) || !on_earth(new.lat, 90.0) || new.lon.is_some() != new.lat.is_some() {
        return Err(DbError::Invalid {
            field: "lon",
            why: "longitude and latitude in degrees are expected together".into(),
        });
    }
    Ok(())
}

/// The item this request already led to: by its key, else by its contact.
async fn existing(c: &mut Conn, new: &NewItem) -> Result<Option<Item>> {
    let key = new.idempotency_key.as_deref();
    if key.is_none() && new.first_contact.is_none() {
        return Ok(None);
    }
    let held = [key.map(|key| format!("item_key:{key}")), new.first_contact.map(|id| format!("item_contact:{id}"))];
    for name in held.into_iter().flatten() {
        c.lock(name).await?;
    }
    let query = select_item!(
        "WHERE idempotency_key = $1 OR first_contact = $2 \
         ORDER BY CASE WHEN idempotency_key = $1 THEN 0 ELSE 1 END LIMIT 1"
    );
    c.opt(query.bind(key).bind(new.first_contact)).await
}

async fn insert(c: &mut Conn, new: &NewItem, now: i64, utc_offset_min: i32) -> Result<Item> {
    let day = number::yymmdd(now, utc_offset_min);
    let seq = c.next(&format!("item:{}:{day}:{}", new.region, new.channel)).await?;
    let acceptance_no = number::acceptance_no(&new.region, now, utc_offset_min, new.channel, seq)?;
    let id = Id::new();
    for _ in 0..limits::QUERY_CODE_DRAWS_MAX {
        let query = sql(concat!(
            "INSERT INTO item (id, acceptance_no, query_code, region, channel, kind, \
             urgency, title, detail, occurred_at, state, state_at, ledger_flag, source, \
             first_contact, party, class_code, location_text, lon, lat, created_by, created_at, \
             idempotency_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
             $14, $15, COALESCE($16, (SELECT party FROM contact WHERE id = $15)), $17, $18, $19, \
             $20, $21, $12, $22) ON CONFLICT (query_code) DO NOTHING RETURNING ",
            item_columns!()
        ))
        .bind(id)
        .bind(acceptance_no.as_str())
        .bind(number::query_code(rand::random()))
        .bind(new.region.as_str())
        .bind(i64::from(new.channel))
        .bind(new.kind.as_str())
        .bind(new.urgency)
        .bind(new.title.as_str())
        .bind(new.detail.as_str())
        .bind(new.occurred_at)
        .bind(ItemState::Registered)
        .bind(now)
        .bind(true)
        .bind(new.source.as_str())
        .bind(new.first_contact)
        .bind(new.party)
        .bind(new.class_code.clone())
        .bind(new.location_text.clone())
        .bind(new.lon)
        .bind(new.lat)
        .bind(new.created_by)
        .bind(new.idempotency_key.clone());
        if let Some(item) = c.opt(query).await? {
            return Ok(item);
        }
    }
    Err(DbError::Exhausted("the query codes"))
}

/// Takes an item down in a transaction under way; see [`Store::item_create`].
pub(crate) async fn create(
    c: &mut Conn,
    new: NewItem,
    send: Option<ItemHandoff>,
    work: Option<ItemWork>,
    now: i64,
    utc_offset_min: i32,
) -> Result<(Item, bool)> {
    if let Some(item) = existing(c, &new).await? {
        return Ok((item, false));
    }
    let item = insert(c, &new, now, utc_offset_min).await?;
    if let Some(contact) = new.first_contact {
        item_list::link(c, item.id, contact, ContactRole::First, now).await?;
    }
    incident::index(c, &item).await?;
    if let Some(send) = send {
        let payload = guarded(|| (send.payload)(&item))?;
        let new = NewHandoff { target: send.target, kind: HandoffKind::Create, payload, idempotency_key: None };
        handoff::insert_first(c, item.id, new, now).await?;
    }
    if let Some(work) = work {
        add_work(c, &item, work, now).await?;
    }
    Ok((item, true))
}

impl Store {
    /// Takes an item down: numbers, row, link to its first contact and the hand-off to the case
    /// core, in one transaction. `false` beside an item that an earlier request with the same key
    /// or the same first contact had made; nothing changes then.
    ///
    /// `utc_offset_min` gives the local date of the number (480 in China).
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a bad field, [`DbError::NotFound`] for an unknown contact,
    /// [`DbError::Exhausted`] at the 100,000th item of a region, day and channel.
    pub async fn item_create(
        &self,
        new: NewItem,
        send: Option<ItemHandoff>,
        now: i64,
        utc_offset_min: i32,
    ) -> Result<(Item, bool)> {
        self.item_create_with_work(new, send, None, now, utc_offset_min).await
    }

    /// As [`Store::item_create`], together with the work a person has to do about it.
    ///
    /// # Errors
    /// As [`Store::item_create`].
    pub async fn item_create_with_work(
        &self,
        new: NewItem,
        send: Option<ItemHandoff>,
        work: Option<ItemWork>,
        now: i64,
        utc_offset_min: i32,
    ) -> Result<(Item, bool)> {
        check(&new)?;
        self.write(move |c| Box::pin(create(c, new, send, work, now, utc_offset_min))).await
    }

    /// An item by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn item_get(&self, id: Id) -> Result<Option<Item>> {
        self.reader().await?.opt(select_item!("WHERE id = $1").bind(id)).await
    }

    /// An item by its acceptance number.
    ///
    /// # Errors
    /// As any read.
    pub async fn item_by_acceptance_no(&self, acceptance_no: &str) -> Result<Option<Item>> {
        let query = select_item!("WHERE acceptance_no = $1").bind(acceptance_no);
        self.reader().await?.opt(query).await
    }

    /// An item by its query code; a code with a wrong check digit costs no query.
    ///
    /// # Errors
    /// As any read.
    pub async fn item_by_query_code(&self, query_code: &str) -> Result<Option<Item>> {
        if !number::is_query_code(query_code) {
            return Ok(None);
        }
        let query = select_item!("WHERE query_code = $1").bind(query_code);
        self.reader().await?.opt(query).await
    }
}
