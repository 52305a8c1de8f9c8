//! Settings that change while the program runs.

use crate::{
    error::Result,
    limits::{self, LONG_TEXT_CHARS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

impl Store {
    /// The value of a setting.
    ///
    /// # Errors
    /// As any read.
    pub async fn setting_get(&self, key: &str) -> Result<Option<String>> {
        let query = sql("SELECT value FROM setting WHERE key = $1").bind(key);
        Ok(self.reader().await?.opt::<(String,)>(query).await?.map(|(value,)| value))
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// As any write.
    pub async fn setting_set(&self, key: &str, value: &str) -> Result<()> {
        limits::text("key", key, SHORT_TEXT_CHARS_MAX)?;
        limits::text("value", value, LONG_TEXT_CHARS_MAX)?;
        let query = sql("INSERT INTO setting (key, value) VALUES ($1, $2) \
                         ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(key)
        .bind(value);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }
}
