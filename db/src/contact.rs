//! Contacts: whatever reaches the hotline, numbered in order of arrival over all channels.

use serde::Serialize;
use sqlx::FromRow;

use crate::{call::Direction, conn::Conn, error::Result, id::Id, pool::Store, sql::sql};

/// The counter behind the global arrival sequence.
const ARRIVAL: &str = "arrival";

/// One call, SMS, WeChat message, web or e-mail message.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Contact {
    /// Row id.
    pub id: Id,
    /// `phone`, `sms`, `wechat`, `web`, `mail` …
    pub channel: String,
    /// Who began it.
    pub direction: Direction,
    /// Global arrival sequence: rises in commit order, may have gaps.
    pub seq: i64,
    /// Arrival at the gateway.
    pub arrived_at: i64,
    /// The provider's own time stamp.
    pub provider_time: Option<i64>,
    /// The citizen.
    pub party: Option<Id>,
    /// The item it belongs to.
    pub item: Option<Id>,
    /// Where the raw message is kept.
    pub raw_ref: Option<String>,
}

crate::lite::row!(Contact { id, channel, direction, seq, arrived_at, provider_time, party, item, raw_ref });

/// A contact to number.
#[derive(Debug, Clone)]
pub struct NewContact {
    /// `phone`, `sms`, `wechat`, `web`, `mail` …
    pub channel: String,
    /// Who began it.
    pub direction: Direction,
    /// Arrival at the gateway.
    pub arrived_at: i64,
    /// The provider's own time stamp.
    pub provider_time: Option<i64>,
    /// The citizen.
    pub party: Option<Id>,
    /// Where the raw message is kept.
    pub raw_ref: Option<String>,
}

/// The next place in the order of arrival. Its counter stays locked until the commit, so that no
/// contact of any gateway comes between this and the rows that follow.
pub(crate) async fn next_seq(c: &mut Conn) -> Result<i64> {
    next_seqs(c, 1).await
}

/// The first of the next `count` places, in the same way.
pub(crate) async fn next_seqs(c: &mut Conn, count: i64) -> Result<i64> {
    c.next_of(ARRIVAL, count).await
}

/// Inserts a contact under the next sequence number.
pub(crate) async fn insert(c: &mut Conn, new: NewContact) -> Result<Contact> {
    let seq = next_seq(c).await?;
    insert_as(c, seq, new).await
}

/// Inserts a contact under a number from [`next_seq`].
pub(crate) async fn insert_as(c: &mut Conn, seq: i64, new: NewContact) -> Result<Contact> {
    let contact = Contact {
        id: Id::new(),
        seq,
        channel: new.channel,
        direction: new.direction,
        arrived_at: new.arrived_at,
        provider_time: new.provider_time,
        party: new.party,
        item: None,
        raw_ref: new.raw_ref,
    };
    let query = sql("INSERT INTO contact (id, channel, direction, seq, arrived_at, \
                     provider_time, party, raw_ref) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
    .bind(contact.id)
    .bind(contact.channel.as_str())
    .bind(contact.direction)
    .bind(contact.seq)
    .bind(contact.arrived_at)
    .bind(contact.provider_time)
    .bind(contact.party)
    .bind(contact.raw_ref.clone());
    c.run(query).await?;
    Ok(contact)
}

impl Store {
    /// Numbers and stores a contact that isn't a call (a call: [`Store::call_begin`]).
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when the party does not exist.
    pub async fn contact_add(&self, new: NewContact) -> Result<Contact> {
        self.write(|c| Box::pin(insert(c, new))).await
    }

    /// A contact by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn contact_get(&self, id: Id) -> Result<Option<Contact>> {
        let query = sql("SELECT id, channel, direction, seq, arrived_at, provider_time, party, \
                         item, raw_ref FROM contact WHERE id = $1")
        .bind(id);
        self.reader().await?.opt(query).await
    }
}
