//! Sign-in sessions: only a hash of the token is kept.

use crate::{error::Result, id::Id, pool::Store, sql::sql, user::User};

impl Store {
    /// Remembers a session until `expires_at`.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such account.
    pub async fn session_put(&self, token_hash: &str, user_id: Id, expires_at: i64) -> Result<()> {
        let query = sql("INSERT INTO session (token_hash, account, expires_at) \
                         VALUES ($1, $2, $3) ON CONFLICT (token_hash) DO UPDATE \
                         SET account = excluded.account, expires_at = excluded.expires_at")
        .bind(token_hash)
        .bind(user_id)
        .bind(expires_at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// The active account behind a token, if the session is alive at `now`.
    ///
    /// # Errors
    /// As any read.
    pub async fn session_user(&self, token_hash: &str, now: i64) -> Result<Option<User>> {
        let query = sql("SELECT u.id, u.login, u.name, u.password_hash, u.roles, u.sip_user, \
                         u.ha1_md5, u.ha1_sha256, u.active \
                         FROM session s JOIN account u ON u.id = s.account \
                         WHERE s.token_hash = $1 AND s.expires_at > $2 AND u.active")
        .bind(token_hash)
        .bind(now);
        self.reader().await?.opt(query).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// As any write.
    pub async fn session_delete(&self, token_hash: &str) -> Result<()> {
        let query = sql("DELETE FROM session WHERE token_hash = $1").bind(token_hash);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Forgets the sessions that ended before `now`; how many there were.
    ///
    /// # Errors
    /// As any write.
    pub async fn session_sweep(&self, now: i64) -> Result<u64> {
        let query = sql("DELETE FROM session WHERE expires_at <= $1").bind(now);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }
}
