//! Passwords of browser phones, good for one shift: only what a digest is checked with is kept.

use sqlx::FromRow;

use crate::{error::Result, id::Id, pool::Store, sql::sql, text::Secret};

/// A password of one shift.
#[derive(Debug, Clone, FromRow)]
pub struct PhoneKey {
    /// Whose it is; one at a time.
    pub account: Id,
    /// SIP digest HA1 with MD5 (RFC 7616 §3.4.2), hex.
    pub ha1_md5: Secret,
    /// When it ends.
    pub expires_at: i64,
}

crate::lite::row!(PhoneKey { account, ha1_md5, expires_at });

impl Store {
    /// Gives an account its password of this shift; the one before ends. Those that ended before `now` go.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such account.
    pub async fn phone_key_put(&self, key: PhoneKey, now: i64) -> Result<()> {
        self.write(move |c| {
            Box::pin(async move {
                c.run(sql("DELETE FROM phone_key WHERE expires_at <= $1").bind(now)).await?;
                let query = sql("INSERT INTO phone_key (account, ha1_md5, expires_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (account) DO UPDATE \
                     SET ha1_md5 = excluded.ha1_md5, expires_at = excluded.expires_at")
                .bind(key.account)
                .bind(key.ha1_md5)
                .bind(key.expires_at);
                c.run(query).await.map(|_| ())
            })
        })
        .await
    }

    /// Ends an account's password of this shift.
    ///
    /// # Errors
    /// As any write.
    pub async fn phone_key_end(&self, account: Id) -> Result<()> {
        let query = sql("DELETE FROM phone_key WHERE account = $1").bind(account);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// The passwords that count at `now`.
    ///
    /// # Errors
    /// As any read.
    pub async fn phone_keys(&self, now: i64) -> Result<Vec<PhoneKey>> {
        let query = sql("SELECT account, ha1_md5, expires_at FROM phone_key WHERE expires_at > $1 ORDER BY account");
        self.reader().await?.all(query.bind(now)).await
    }
}
