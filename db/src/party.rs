//! Citizens, known by a keyed hash of their number, openid or mail address; the address itself is sealed.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::Result,
    id::Id,
    pool::Store,
    sql::{Sql, sql},
    text::words,
};

/// A citizen.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Party {
    /// Row id.
    pub id: Id,
    /// Keyed hash of the number, for look-up.
    #[serde(skip)]
    pub phone_hash: Option<String>,
    /// The number, encrypted.
    #[serde(skip)]
    pub phone_sealed: Option<Vec<u8>>,
    /// The number as people may see it, for example `138****1234`.
    pub phone_mask: Option<String>,
    /// Keyed hash of the openid.
    #[serde(skip)]
    pub openid_hash: Option<String>,
    /// The openid, encrypted.
    #[serde(skip)]
    pub openid_sealed: Option<Vec<u8>>,
    /// The openid as people may see it.
    pub openid_mask: Option<String>,
    /// Keyed hash of the mail address.
    #[serde(skip)]
    pub mail_hash: Option<String>,
    /// The mail address, encrypted.
    #[serde(skip)]
    pub mail_sealed: Option<Vec<u8>>,
    /// The mail address as people may see it.
    pub mail_mask: Option<String>,
    /// Since when the citizen wants no texts (TD).
    pub texts_stopped_at: Option<i64>,
    /// The citizen wants to stay unnamed.
    pub anonymous: bool,
    /// Only the handling unit's confidential desk may know the citizen.
    pub confidential: bool,
    /// Never to be called.
    pub do_not_call: bool,
    /// When the citizen may be called (方便时段).
    pub preferred_window: Option<String>,
    /// Language tag, for example `en`.
    pub language: Option<String>,
}

crate::lite::row!(Party {
    id,
    phone_hash,
    phone_sealed,
    phone_mask,
    openid_hash,
    openid_sealed,
    openid_mask,
    mail_hash,
    mail_sealed,
    mail_mask,
    texts_stopped_at,
    anonymous,
    confidential,
    do_not_call,
    preferred_window,
    language
});

/// A citizen's number, openid or mail address as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Keyed hash, for look-up.
    pub hash: String,
    /// The address, encrypted.
    pub sealed: Vec<u8>,
    /// The address as people may see it.
    pub mask: String,
}

words! {
    /// By what a citizen is known.
    AddressKind {
        /// A telephone number.
        Phone = "phone",
        /// An openid of WeChat.
        Openid = "openid",
        /// A mail address.
        Mail = "mail",
    }
}

macro_rules! select_party {
    ($tail:expr) => {
        crate::sql::sql(concat!(
            "SELECT id, phone_hash, phone_sealed, phone_mask, openid_hash, openid_sealed, openid_mask, \
             mail_hash, mail_sealed, mail_mask, texts_stopped_at, anonymous, confidential, do_not_call, preferred_window, language FROM party ",
            $tail
        ))
    };
}
pub(crate) use select_party;

/// The citizen known by this address, added; `None` when there is one already.
pub(crate) async fn add(c: &mut Conn, kind: AddressKind, address: Address) -> Result<Option<Id>> {
    let insert = match kind {
        AddressKind::Phone => sql("INSERT INTO party (id, phone_hash, phone_sealed, phone_mask, \
             anonymous, confidential, do_not_call) \
             VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT (phone_hash) DO NOTHING"),
        AddressKind::Openid => sql("INSERT INTO party (id, openid_hash, openid_sealed, openid_mask, \
             anonymous, confidential, do_not_call) \
             VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT (openid_hash) DO NOTHING"),
        AddressKind::Mail => sql("INSERT INTO party (id, mail_hash, mail_sealed, mail_mask, \
             anonymous, confidential, do_not_call) \
             VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT (mail_hash) DO NOTHING"),
    };
    let id = Id::new();
    let insert = insert.bind(id).bind(address.hash).bind(address.sealed).bind(address.mask).bind(false);
    Ok((c.run(insert).await? > 0).then_some(id))
}

fn known(kind: AddressKind, hash: &str) -> Sql {
    match kind {
        AddressKind::Phone => sql("SELECT id FROM party WHERE phone_hash = $1"),
        AddressKind::Openid => sql("SELECT id FROM party WHERE openid_hash = $1"),
        AddressKind::Mail => sql("SELECT id FROM party WHERE mail_hash = $1"),
    }
    .bind(hash)
}

/// The id of the citizen known by this address.
pub(crate) async fn find(c: &mut Conn, kind: AddressKind, hash: &str) -> Result<Option<Id>> {
    Ok(c.opt::<IdRow>(known(kind, hash)).await?.map(|row| row.id))
}

/// The id of a citizen who wasn't known a moment ago, made known.
pub(crate) async fn added(c: &mut Conn, kind: AddressKind, address: Address) -> Result<Id> {
    let hash = address.hash.clone();
    if let Some(id) = add(c, kind, address).await? {
        return Ok(id);
    }
    // Another gateway made the row meanwhile.
    let IdRow { id } = c.one(known(kind, &hash)).await?;
    Ok(id)
}

/// The citizen with this id.
pub(crate) async fn load(c: &mut Conn, id: Id) -> Result<Option<Party>> {
    c.opt(select_party!("WHERE id = $1").bind(id)).await
}

impl Store {
    /// The citizen with this number, made known if new.
    ///
    /// # Errors
    /// As any write.
    pub async fn party_for_phone(&self, phone_hash: &str, phone_sealed: &[u8], mask: &str) -> Result<Party> {
        let known = select_party!("WHERE phone_hash = $1").bind(phone_hash);
        if let Some(party) = self.reader().await?.opt(known).await? {
            return Ok(party);
        }
        let phone = Address { hash: phone_hash.into(), sealed: phone_sealed.to_vec(), mask: mask.into() };
        let select = select_party!("WHERE phone_hash = $1").bind(phone_hash);
        self.write(|c| {
            Box::pin(async move {
                add(c, AddressKind::Phone, phone).await?;
                c.one(select).await
            })
        })
        .await
    }

    /// Whether any number or address is kept sealed: then the key that opens it must not be made anew.
    ///
    /// # Errors
    /// As any read.
    pub async fn parties_sealed(&self) -> Result<bool> {
        let mut c = self.reader().await?;
        for query in [
            "SELECT id FROM party WHERE phone_sealed IS NOT NULL OR openid_sealed IS NOT NULL \
             OR mail_sealed IS NOT NULL LIMIT 1",
            "SELECT id FROM callback_task WHERE phone_sealed IS NOT NULL LIMIT 1",
            "SELECT id FROM outgoing LIMIT 1",
        ] {
            if c.opt::<IdRow>(sql(query)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The citizen known by the keyed hash of a number, openid or mail address.
    ///
    /// # Errors
    /// As any read.
    pub async fn party_known(&self, kind: AddressKind, hash: &str) -> Result<Option<Party>> {
        let query = match kind {
            AddressKind::Phone => select_party!("WHERE phone_hash = $1"),
            AddressKind::Openid => select_party!("WHERE openid_hash = $1"),
            AddressKind::Mail => select_party!("WHERE mail_hash = $1"),
        };
        self.reader().await?.opt(query.bind(hash)).await
    }

    /// A citizen by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn party_get(&self, id: Id) -> Result<Option<Party>> {
        self.reader().await?.opt(select_party!("WHERE id = $1").bind(id)).await
    }
}
