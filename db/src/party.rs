//! Citizens, known by a keyed hash of their number; the number itself is sealed.

use serde::Serialize;
use sqlx::FromRow;

use crate::{claim::IdRow, conn::Conn, error::Result, id::Id, pool::Store, sql::sql};

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
    anonymous,
    confidential,
    do_not_call,
    preferred_window,
    language
});

/// A citizen's number as it is kept.
#[derive(Debug, Clone)]
pub struct PartyPhone {
    /// Keyed hash of the number, for look-up.
    pub hash: String,
    /// The number, encrypted.
    pub sealed: Vec<u8>,
    /// The number as people may see it.
    pub mask: String,
}

macro_rules! select_party {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, phone_hash, phone_sealed, phone_mask, anonymous, confidential, \
             do_not_call, preferred_window, language FROM party ",
            $tail
        ))
    };
}

async fn add(c: &mut Conn, phone: PartyPhone) -> Result<Option<Id>> {
    let id = Id::new();
    let insert = sql("INSERT INTO party (id, phone_hash, phone_sealed, phone_mask, \
                      anonymous, confidential, do_not_call) \
                      VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT (phone_hash) DO NOTHING")
    .bind(id)
    .bind(phone.hash)
    .bind(phone.sealed)
    .bind(phone.mask)
    .bind(false);
    Ok((c.run(insert).await? > 0).then_some(id))
}

/// The citizen's id, made known if new.
pub(crate) async fn ensure(c: &mut Conn, phone: PartyPhone) -> Result<Id> {
    let known = sql("SELECT id FROM party WHERE phone_hash = $1").bind(phone.hash.as_str());
    if let Some(IdRow { id }) = c.opt(known).await? {
        return Ok(id);
    }
    let hash = phone.hash.clone();
    if let Some(id) = add(c, phone).await? {
        return Ok(id);
    }
    // Another gateway made the row meanwhile.
    let IdRow { id } = c.one(sql("SELECT id FROM party WHERE phone_hash = $1").bind(hash)).await?;
    Ok(id)
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
        let phone = PartyPhone { hash: phone_hash.into(), sealed: phone_sealed.to_vec(), mask: mask.into() };
        let select = select_party!("WHERE phone_hash = $1").bind(phone_hash);
        self.write(|c| {
            Box::pin(async move {
                add(c, phone).await?;
                c.one(select).await
            })
        })
        .await
    }

    /// Whether any number is kept sealed: then the key that opens it must not be made anew.
    ///
    /// # Errors
    /// As any read.
    pub async fn parties_sealed(&self) -> Result<bool> {
        let party = sql("SELECT id FROM party WHERE phone_sealed IS NOT NULL LIMIT 1");
        let task = sql("SELECT id FROM callback_task WHERE phone_sealed IS NOT NULL LIMIT 1");
        let mut c = self.reader().await?;
        Ok(c.opt::<IdRow>(party).await?.is_some() || c.opt::<IdRow>(task).await?.is_some())
    }

    /// A citizen by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn party_get(&self, id: Id) -> Result<Option<Party>> {
        self.reader().await?.opt(select_party!("WHERE id = $1").bind(id)).await
    }
}
