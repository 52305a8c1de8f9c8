//! Parts of incoming long messages: durable before they are acknowledged, joined when all are there.

use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::Result,
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

/// A part as it arrives.
#[derive(Debug, Clone)]
pub struct NewSmsPart {
    /// The same for all parts of a message: a keyed hash of line, sender, recipient, reference and total.
    pub group_key: String,
    /// From 1.
    pub number: i64,
    /// Parts in all.
    pub total: i64,
    /// The same for a repetition of this very part.
    pub hash: String,
    /// Our line.
    pub line: String,
    /// The sender's number, sealed by the caller.
    pub sender: Vec<u8>,
    /// Our number.
    pub recipient: String,
    /// The caller's number for the coding.
    pub coding: i64,
    /// Octets without the header.
    pub content: Vec<u8>,
    /// Now (epoch ms).
    pub at: i64,
}

/// A part that is kept.
#[derive(Debug, Clone, FromRow)]
pub struct SmsPart {
    /// Its message: the same for all its parts, and for good.
    pub grp: Id,
    /// From 1.
    pub number: i64,
    /// Parts in all.
    pub total: i64,
    /// Our line.
    pub line: String,
    /// The sender's number, sealed.
    pub sender: Vec<u8>,
    /// Our number.
    pub recipient: String,
    /// The caller's number for the coding.
    pub coding: i64,
    /// Octets without the header.
    pub content: Vec<u8>,
    /// When the message's first part came.
    pub first_at: i64,
    /// When the message was taken.
    pub taken_at: Option<i64>,
}

crate::lite::row!(SmsPart { grp, number, total, line, sender, recipient, coding, content, first_at, taken_at });

macro_rules! select_parts {
    ($tail:literal) => {
        sql(concat!(
            "SELECT grp, number, total, line, sender, recipient, coding, content, first_at, taken_at \
             FROM sms_part ",
            $tail
        ))
    };
}

#[derive(FromRow)]
struct Group {
    grp: Id,
    first_at: i64,
}

crate::lite::row!(Group { grp, first_at });

async fn add(c: &mut Conn, new: NewSmsPart, join_ms: i64, repeat_ms: i64) -> Result<Vec<SmsPart>> {
    limits::text("recipient", &new.recipient, SHORT_TEXT_CHARS_MAX)?;
    c.lock(format!("sms_part:{}", new.group_key)).await?;
    let repeated = sql("SELECT grp, first_at FROM sms_part WHERE group_key = $1 AND number = $2 AND hash = $3 \
         AND first_at > $4 ORDER BY first_at DESC LIMIT 1")
    .bind(new.group_key.as_str())
    .bind(new.number)
    .bind(new.hash.as_str())
    .bind(new.at - repeat_ms);
    let group = match c.opt::<Group>(repeated).await? {
        Some(Group { grp, .. }) => grp,
        None => insert(c, new, join_ms).await?,
    };
    c.all(select_parts!("WHERE grp = $1 ORDER BY number").bind(group)).await
}

/// Adds it to the newest message of its key that waits for it, else to a new one.
async fn insert(c: &mut Conn, new: NewSmsPart, join_ms: i64) -> Result<Id> {
    let waiting = sql("SELECT p.grp, p.first_at FROM sms_part p WHERE p.group_key = $1 AND p.taken_at IS NULL \
         AND p.first_at > $2 AND NOT EXISTS (SELECT 1 FROM sms_part o WHERE o.grp = p.grp AND o.number = $3) \
         ORDER BY p.first_at DESC LIMIT 1")
    .bind(new.group_key.as_str())
    .bind(new.at - join_ms)
    .bind(new.number);
    let id = Id::new();
    let group = c.opt::<Group>(waiting).await?.unwrap_or(Group { grp: id, first_at: new.at });
    let query = sql("INSERT INTO sms_part (id, grp, group_key, number, total, hash, line, sender, recipient, coding, \
         content, first_at, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")
    .bind(id)
    .bind(group.grp)
    .bind(new.group_key)
    .bind(new.number)
    .bind(new.total)
    .bind(new.hash)
    .bind(new.line)
    .bind(new.sender)
    .bind(new.recipient)
    .bind(new.coding)
    .bind(new.content)
    .bind(group.first_at)
    .bind(new.at);
    c.run(query).await?;
    Ok(group.grp)
}

impl Store {
    /// Keeps a part; all parts of its message that are there by now, in order. A part that was kept
    /// within `repeat_ms` isn't kept again. A message whose first part is older than `join_ms` gets no
    /// further ones: they begin a new message.
    ///
    /// # Errors
    /// As any write.
    pub async fn sms_part_add(&self, new: NewSmsPart, join_ms: i64, repeat_ms: i64) -> Result<Vec<SmsPart>> {
        self.write(move |c| Box::pin(add(c, new, join_ms, repeat_ms))).await
    }

    /// Notes that the message was taken by the door.
    ///
    /// # Errors
    /// As any write.
    pub async fn sms_parts_taken(&self, group: Id, at: i64) -> Result<()> {
        let query = sql("UPDATE sms_part SET taken_at = $2 WHERE grp = $1 AND taken_at IS NULL").bind(group).bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Parts of up to `limit` messages that weren't taken and began before `before`, message by message in
    /// order of their beginning.
    ///
    /// # Errors
    /// As any read.
    pub async fn sms_parts_waiting(&self, before: i64, limit: i64) -> Result<Vec<SmsPart>> {
        let query = select_parts!(
            "WHERE grp IN (SELECT grp FROM sms_part WHERE taken_at IS NULL AND first_at <= $1 \
             GROUP BY grp ORDER BY MIN(first_at), grp LIMIT $2) ORDER BY first_at, grp, number"
        )
        .bind(before)
        .bind(limits::claim(limit));
        self.reader().await?.all(query).await
    }

    /// Deletes at most `limit` parts whose message was taken before `before`; how many there were.
    ///
    /// # Errors
    /// As any write.
    pub async fn sms_parts_prune(&self, before: i64, limit: i64) -> Result<u64> {
        let delete = sql("DELETE FROM sms_part WHERE id IN (SELECT id FROM sms_part \
             WHERE taken_at IS NOT NULL AND taken_at < $1 ORDER BY taken_at LIMIT $2)")
        .bind(before)
        .bind(limit.clamp(1, limits::PRUNE_LEN_MAX));
        self.write(|c| Box::pin(async move { c.run(delete).await })).await
    }
}
