//! What operators' phones are where they aren't simply those that register.

use sqlx::FromRow;

use crate::{error::Result, id::Id, limits, pool::Store, sql::sql};

/// An operator's phone.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeskPhone {
    /// Whose.
    pub account: Id,
    /// An outside number instead of a phone of ours, encrypted.
    pub number_sealed: Option<Vec<u8>>,
    /// The same for eyes.
    pub number_mask: Option<String>,
    /// It is told to answer by itself.
    pub auto_answer: bool,
    /// 居家坐席: it is asked for Opus before anything else.
    pub home: bool,
    /// It is rung once, and its leg stays up between citizens.
    pub nailed_up: bool,
    /// When that was set.
    pub updated_at: i64,
}

crate::lite::row!(DeskPhone { account, number_sealed, number_mask, auto_answer, home, nailed_up, updated_at });

impl Store {
    /// Sets an operator's phone.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such account, [`crate::DbError::Invalid`] for a mask that is too
    /// long.
    pub async fn desk_phone_put(&self, phone: DeskPhone) -> Result<()> {
        limits::text("number_mask", phone.number_mask.as_deref().unwrap_or_default(), limits::SHORT_TEXT_CHARS_MAX)?;
        let query = sql("INSERT INTO desk_phone \
             (account, number_sealed, number_mask, auto_answer, updated_at, home, nailed_up) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account) DO UPDATE \
             SET number_sealed = excluded.number_sealed, number_mask = excluded.number_mask, \
                 auto_answer = excluded.auto_answer, updated_at = excluded.updated_at, home = excluded.home, \
                 nailed_up = excluded.nailed_up")
        .bind(phone.account)
        .bind(phone.number_sealed)
        .bind(phone.number_mask)
        .bind(phone.auto_answer)
        .bind(phone.updated_at)
        .bind(phone.home)
        .bind(phone.nailed_up);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// One operator's, if anything was set.
    ///
    /// # Errors
    /// As any read.
    pub async fn desk_phone(&self, account: Id) -> Result<Option<DeskPhone>> {
        let query = sql("SELECT account, number_sealed, number_mask, auto_answer, home, nailed_up, updated_at \
                         FROM desk_phone WHERE account = $1");
        self.reader().await?.opt(query.bind(account)).await
    }

    /// All of accounts that may be used.
    ///
    /// # Errors
    /// As any read.
    pub async fn desk_phones(&self) -> Result<Vec<DeskPhone>> {
        let query = sql("SELECT p.account, p.number_sealed, p.number_mask, p.auto_answer, p.home, p.nailed_up, \
                         p.updated_at \
                         FROM desk_phone p JOIN account a ON a.id = p.account WHERE a.active ORDER BY p.account");
        self.reader().await?.all(query).await
    }
}
