//! Decisions about calls to outside numbers: one append-only row each, counted against daily caps.

use crate::{
    conn::Conn,
    error::Result,
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

/// A decision to write down.
#[derive(Debug, Clone, Default)]
pub struct NewDialout {
    /// Now (epoch ms).
    pub at: i64,
    /// The local day the caps count in, as a number.
    pub day: i64,
    /// Keyed hash of the number.
    pub number_hash: String,
    /// The number, masked.
    pub number_mask: String,
    /// Why it was to be called.
    pub purpose: String,
    /// The task behind it.
    pub task: Option<Id>,
    /// The call it belongs to.
    pub call: Option<Id>,
    /// The operator who wanted it.
    pub operator: Option<Id>,
    /// Refused already, and why; `None`: allowed, unless a cap is reached.
    pub refusal: Option<String>,
}

/// Allowed calls in a local day.
#[derive(Debug, Clone, Copy)]
pub struct DialoutCaps {
    /// All together.
    pub total: i64,
    /// To one number.
    pub number: i64,
    /// For one operator.
    pub operator: i64,
}

/// The cap that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialoutCap {
    /// All calls of the day.
    Total,
    /// Those to this number.
    Number,
    /// Those of this operator.
    Operator,
}

impl DialoutCap {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "daily_total",
            Self::Number => "daily_number",
            Self::Operator => "daily_operator",
        }
    }
}

async fn add(c: &mut Conn, new: NewDialout, caps: DialoutCaps) -> Result<Option<DialoutCap>> {
    // Two decisions at once must not both take the last place.
    c.lock(format!("dialout:{}", new.day)).await?;
    let mut cap = None;
    if new.refusal.is_none() {
        let count = sql("SELECT COUNT(*) AS total, \
             CAST(COALESCE(SUM(CASE WHEN number_hash = $2 THEN 1 ELSE 0 END), 0) AS BIGINT) AS number, \
             CAST(COALESCE(SUM(CASE WHEN operator = $3 THEN 1 ELSE 0 END), 0) AS BIGINT) AS operator \
             FROM dialout WHERE day = $1 AND refusal IS NULL")
        .bind(new.day)
        .bind(new.number_hash.as_str())
        .bind(new.operator);
        let (total, number, operator): (i64, i64, i64) = c.one(count).await?;
        cap = match () {
            () if total >= caps.total => Some(DialoutCap::Total),
            () if number >= caps.number => Some(DialoutCap::Number),
            () if new.operator.is_some() && operator >= caps.operator => Some(DialoutCap::Operator),
            () => None,
        };
    }
    let refusal = new.refusal.or_else(|| cap.map(|c| c.as_str().to_owned()));
    let insert =
        sql("INSERT INTO dialout (id, at, day, number_hash, number_mask, purpose, task, call, operator, refusal) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(Id::new())
        .bind(new.at)
        .bind(new.day)
        .bind(new.number_hash)
        .bind(new.number_mask)
        .bind(new.purpose)
        .bind(new.task)
        .bind(new.call)
        .bind(new.operator)
        .bind(refusal);
    c.run(insert).await?;
    Ok(cap)
}

impl Store {
    /// Writes a decision down. Of one that was to be allowed: the cap that forbids it, if one is reached;
    /// the row says so then. The counts live in these rows, so a restart forgets nothing.
    ///
    /// # Errors
    /// As any write.
    pub async fn dialout_add(&self, new: NewDialout, caps: DialoutCaps) -> Result<Option<DialoutCap>> {
        for (field, value) in [("number_hash", &new.number_hash), ("number_mask", &new.number_mask)] {
            limits::text(field, value, SHORT_TEXT_CHARS_MAX)?;
        }
        limits::text("purpose", &new.purpose, SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| Box::pin(add(c, new, caps))).await
    }
}
