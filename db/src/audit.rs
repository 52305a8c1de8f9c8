//! The audit log: append-only, each row holding the hash of the one before.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::Result,
    limits::{self, SHORT_TEXT_CHARS_MAX, VERIFY_STEP_LEN},
    pool::Store,
    sql::sql,
    text::Json,
};

/// The counter that numbers the log and locks its end.
const COUNTER: &str = "audit";

/// One row of the log.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Audit {
    /// Place in the log, from 1, without gaps.
    pub n: i64,
    /// When.
    pub at: i64,
    /// Who: a login, or the name of a part of the program.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub object: String,
    /// Why.
    pub reason: Option<String>,
    /// Details.
    pub data: Json,
    /// Hash of the row before, hex; empty for the first.
    pub prev_hash: String,
    /// Hash of this row, hex.
    pub hash: String,
}

crate::lite::row!(Audit { n, at, actor, action, object, reason, data, prev_hash, hash });

/// A row to append.
#[derive(Debug, Clone, Default)]
pub struct NewAudit {
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub object: String,
    /// Why.
    pub reason: Option<String>,
    /// Details.
    pub data: Value,
}

/// What the check of a hash chain found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChainCheck {
    /// Sound rows from the beginning.
    pub count: i64,
    /// The first place where a row is missing, moved or changed.
    pub first_broken: Option<i64>,
}

/// Adds a field to a hash, its length first: no two lists of fields look alike.
pub(crate) fn put(hash: &mut Sha256, field: &str) {
    hash.update((field.len() as u64).to_be_bytes());
    hash.update(field.as_bytes());
}

/// The hash as lower-case hex.
pub(crate) fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A row as it is hashed: `data` is the stored text, which JSON read back need not reproduce.
#[derive(FromRow)]
struct Link {
    n: i64,
    at: i64,
    actor: String,
    action: String,
    object: String,
    reason: Option<String>,
    data: String,
    prev_hash: String,
    hash: String,
}

crate::lite::row!(Link { n, at, actor, action, object, reason, data, prev_hash, hash });

impl Link {
    fn expected_hash(&self) -> String {
        let mut hash = Sha256::new();
        put(&mut hash, &self.prev_hash);
        put(&mut hash, &self.n.to_string());
        put(&mut hash, &self.at.to_string());
        put(&mut hash, &self.actor);
        put(&mut hash, &self.action);
        put(&mut hash, &self.object);
        put(&mut hash, if self.reason.is_some() { "1" } else { "0" });
        put(&mut hash, self.reason.as_deref().unwrap_or_default());
        put(&mut hash, &self.data);
        hex(hash)
    }
}

macro_rules! select_audit {
    ($tail:literal) => {
        sql(concat!("SELECT n, at, actor, action, object, reason, data, prev_hash, hash FROM audit ", $tail))
    };
}

/// Appends `link` to the end of the chain.
async fn append(c: &mut Conn, mut link: Link) -> Result<Audit> {
    link.n = c.next(COUNTER).await?;
    let last = sql("SELECT hash FROM audit ORDER BY n DESC LIMIT 1");
    link.prev_hash = c.opt::<(String,)>(last).await?.map(|(hash,)| hash).unwrap_or_default();
    link.hash = link.expected_hash();
    let query = sql("INSERT INTO audit (n, at, actor, action, object, reason, data, prev_hash, \
         hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(link.n)
    .bind(link.at)
    .bind(link.actor)
    .bind(link.action)
    .bind(link.object)
    .bind(link.reason)
    .bind(link.data)
    .bind(link.prev_hash)
    .bind(link.hash);
    c.run(query).await?;
    c.one(select_audit!("WHERE n = $1").bind(link.n)).await
}

impl Store {
    /// Appends a row.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a field that is too long.
    pub async fn audit(&self, new: NewAudit) -> Result<Audit> {
        for (field, text) in [("actor", &new.actor), ("action", &new.action), ("object", &new.object)] {
            limits::text(field, text, SHORT_TEXT_CHARS_MAX)?;
        }
        limits::text("reason", new.reason.as_deref().unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
        let data = limits::json("data", &new.data)?;
        let link = Link {
            n: 0,
            at: new.at,
            actor: new.actor,
            action: new.action,
            object: new.object,
            reason: new.reason,
            data,
            prev_hash: String::new(),
            hash: String::new(),
        };
        self.write(move |c| Box::pin(append(c, link))).await
    }

    /// Recomputes the chain. Rows cut off at the end are found through the counter.
    ///
    /// # Errors
    /// As any read; a broken chain is not an error but the answer.
    pub async fn audit_verify(&self) -> Result<ChainCheck> {
        let mut c = self.reader().await?;
        let counter = sql("SELECT value FROM counter WHERE name = $1").bind(COUNTER);
        let issued = c.opt::<(i64,)>(counter).await?.map_or(0, |(value,)| value);
        let mut check = ChainCheck::default();
        let mut prev = String::new();
        loop {
            let query = select_audit!("WHERE n > $1 ORDER BY n LIMIT $2").bind(check.count).bind(VERIFY_STEP_LEN);
            let rows: Vec<Link> = c.all(query).await?;
            if rows.is_empty() {
                if check.count < issued {
                    check.first_broken = Some(check.count + 1);
                }
                return Ok(check);
            }
            for row in rows {
                let n = check.count + 1;
                if row.n != n || row.prev_hash != prev || row.hash != row.expected_hash() {
                    check.first_broken = Some(n);
                    return Ok(check);
                }
                check.count = n;
                prev = row.hash;
            }
        }
    }

    /// The newest rows, newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn audits(&self, limit: i64) -> Result<Vec<Audit>> {
        let query = select_audit!("ORDER BY n DESC LIMIT $1").bind(limits::page(limit));
        self.reader().await?.all(query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_flow_into_each_other() {
        let hash = |fields: &[&str]| {
            let mut hash = Sha256::new();
            fields.iter().for_each(|f| put(&mut hash, f));
            hex(hash)
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["", "a"]), hash(&["a", ""]));
    }
}
