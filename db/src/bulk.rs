//! Rows of many as the one argument PostgreSQL takes apart.

use std::collections::HashSet;

use serde::Serialize;

use crate::{
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    sql::sql,
};

/// Rows for `json_to_recordset`.
pub(crate) fn rows<T: Serialize>(rows: &[T]) -> Result<String> {
    serde_json::to_string(rows).map_err(|e| DbError::Invalid { field: "rows", why: e.to_string() })
}

/// Ids for [`crate::incident::pg_listed`]; the caller bounds them.
pub(crate) fn ids(ids: impl Iterator<Item = Id>) -> String {
    serde_json::Value::from_iter(ids.map(|id| id.to_string())).to_string()
}

/// Octets for `decode(…, 'hex')`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Holds those of these names that are free, as [`Conn::lock`] does, waiting for nobody (PostgreSQL).
pub(crate) async fn try_lock(c: &mut Conn, names: Vec<String>) -> Result<HashSet<String>> {
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    let query = sql("SELECT name FROM jsonb_array_elements_text(CAST($1 AS JSONB)) AS r (name) \
         WHERE pg_try_advisory_xact_lock(hashtextextended(name, 12345))")
    .bind(serde_json::Value::from(names).to_string());
    Ok(c.all::<(String,)>(query).await?.into_iter().map(|(name,)| name).collect())
}
