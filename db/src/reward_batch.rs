//! Payment of rewards: one batch per month, made once, approved by a second person.

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::{
    audit,
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    incident,
    limits::{self, BATCH_PAYMENTS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    reward,
    sql::sql,
    text::words,
};

words! {
    /// Where a batch stands.
    BatchState {
        /// Made; a person is to approve it.
        Made = "待审",
        /// Approved; it may be exported.
        Approved = "已批",
    }
}

/// A month's payments.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct RewardBatch {
    /// Row id.
    pub id: Id,
    /// Local month it pays, `2026-03`.
    pub month: String,
    /// Where it stands.
    pub state: BatchState,
    /// A user; `None`: the gateway on the day of payment.
    pub made_by: Option<Id>,
    /// When.
    pub made_at: i64,
    /// The user who approved it.
    pub approved_by: Option<Id>,
    /// When.
    pub approved_at: Option<i64>,
    /// How many payments.
    pub payments: i64,
    /// Their sum in fen.
    pub total_fen: i64,
    /// SHA-256 over every payment, hex.
    pub hash: String,
}

crate::lite::row!(RewardBatch {
    id,
    month,
    state,
    made_by,
    made_at,
    approved_by,
    approved_at,
    payments,
    total_fen,
    hash
});

/// One payment with what the cashier needs.
#[derive(Debug, Clone, FromRow)]
pub struct Payee {
    /// Row id.
    pub id: Id,
    /// 受理编号 of the incident's item.
    pub acceptance_no: String,
    /// 查询码 of the item the contact belongs to, where an unnamed reporter claims the payment.
    pub query_code: String,
    /// The citizen.
    pub party: Option<Id>,
    /// The number, encrypted.
    pub phone_sealed: Option<Vec<u8>>,
    /// The number as people may see it.
    pub phone_mask: Option<String>,
    /// Channel of the contact.
    pub channel: String,
    /// Its arrival number.
    pub seq: i64,
    /// Its arrival.
    pub arrived_at: i64,
    /// Place among the reporters.
    pub place: i64,
    /// Fen.
    pub amount_fen: i64,
}

crate::lite::row!(Payee {
    id,
    acceptance_no,
    query_code,
    party,
    phone_sealed,
    phone_mask,
    channel,
    seq,
    arrived_at,
    place,
    amount_fen
});

macro_rules! select_batch {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, month, state, made_by, made_at, approved_by, approved_at, payments, total_fen, hash \
             FROM reward_batch ",
            $tail
        ))
    };
}

#[derive(FromRow)]
struct Owed {
    line: Id,
    item: Id,
    party: Option<Id>,
    place: i64,
    amount_fen: i64,
}

crate::lite::row!(Owed { line, item, party, place, amount_fen });

/// What is owed up to a month: lines of the decision that counts, of items that stand for
/// themselves, unpaid, with nothing about them left open. A decision that didn't know of a payment
/// to the same contact owes nothing, and neither does one whose payment waits for approval.
async fn owed(c: &mut Conn, month: &str) -> Result<Vec<Owed>> {
    let query = sql("SELECT l.id AS line, d.item, l.party, l.place, l.amount_fen FROM reward_line l \
         JOIN reward_decision d ON d.id = l.decision JOIN item i ON i.id = d.item \
         WHERE l.month <= $1 AND l.withheld IS NULL AND l.amount_fen > 0 AND i.merged_into IS NULL \
         AND d.rev = (SELECT MAX(x.rev) FROM reward_decision x WHERE x.item = d.item) \
         AND NOT EXISTS (SELECT 1 FROM reward_payment p WHERE p.line = l.id) \
         AND NOT EXISTS (SELECT 1 FROM reward_line o JOIN reward_payment p ON p.line = o.id \
         JOIN reward_batch b ON b.id = p.batch WHERE o.contact = l.contact \
         AND (b.approved_at IS NULL OR b.approved_at >= d.at) \
         AND NOT EXISTS (SELECT 1 FROM reward_payment_stop s WHERE s.payment = p.id)) \
         AND NOT EXISTS (SELECT 1 FROM reward_appeal a WHERE a.item = d.item AND a.decided_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM reward_due u WHERE u.item = d.item) \
         ORDER BY l.seq, l.id LIMIT $2")
    .bind(month)
    .bind(BATCH_PAYMENTS_MAX);
    c.all(query).await
}

fn hash_of(month: &str, lines: impl Iterator<Item = (Id, i64)>) -> String {
    let mut hash = Sha256::new();
    audit::put(&mut hash, month);
    for (line, fen) in lines {
        audit::put(&mut hash, &line.to_string());
        audit::put(&mut hash, &fen.to_string());
    }
    audit::hex(hash)
}

async fn make(c: &mut Conn, month: String, by: Option<Id>, at: i64) -> Result<(RewardBatch, bool)> {
    c.lock("reward".into()).await?;
    c.lock("incident".into()).await?;
    let known = select_batch!("WHERE month = $1").bind(month.as_str());
    if let Some(batch) = c.opt(known).await? {
        return Ok((batch, false));
    }
    let lines = owed(c, &month).await?;
    let hash = hash_of(&month, lines.iter().map(|l| (l.line, l.amount_fen)));
    let id = Id::new();
    let query = sql("INSERT INTO reward_batch (id, month, state, made_by, made_at, payments, total_fen, hash) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
    .bind(id)
    .bind(month)
    .bind(BatchState::Made)
    .bind(by)
    .bind(at)
    .bind(i64::try_from(lines.len()).unwrap_or(i64::MAX))
    .bind(lines.iter().map(|l| l.amount_fen).sum::<i64>())
    .bind(hash);
    c.run(query).await?;
    for line in lines {
        let query = sql("INSERT INTO reward_payment (id, batch, line, item, party, place, amount_fen) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(Id::new())
        .bind(id)
        .bind(line.line)
        .bind(line.item)
        .bind(line.party)
        .bind(line.place)
        .bind(line.amount_fen);
        c.run(query).await?;
    }
    Ok((c.one(select_batch!("WHERE id = $1").bind(id)).await?, true))
}

/// Stops what isn't owed any more since the batch was made; how many.
async fn stop(c: &mut Conn, batch: Id, at: i64) -> Result<usize> {
    let query = sql("SELECT p.id, p.item FROM reward_payment p JOIN reward_line l ON l.id = p.line \
         WHERE p.batch = $1 AND NOT EXISTS (SELECT 1 FROM reward_line n JOIN reward_decision d ON d.id = n.decision \
         JOIN item i ON i.id = d.item WHERE n.contact = l.contact AND n.withheld IS NULL \
         AND n.amount_fen = p.amount_fen AND i.merged_into IS NULL \
         AND d.rev = (SELECT MAX(x.rev) FROM reward_decision x WHERE x.item = d.item) \
         AND NOT EXISTS (SELECT 1 FROM reward_appeal a WHERE a.item = d.item AND a.decided_at IS NULL))")
    .bind(batch);
    let stale = c.all::<(Id, Id)>(query).await?;
    for (payment, item) in &stale {
        let query = sql("INSERT INTO reward_payment_stop (payment, at) VALUES ($1, $2)").bind(*payment).bind(at);
        c.run(query).await?;
        let root = incident::root(c, *item).await?.id;
        reward::put_due(c, root, "", at).await?;
    }
    Ok(stale.len())
}

async fn approve(c: &mut Conn, id: Id, by: Id, at: i64) -> Result<RewardBatch> {
    c.lock("reward".into()).await?;
    c.lock("incident".into()).await?;
    let batch: RewardBatch = c.one(select_batch!("WHERE id = $1").bind(id)).await?;
    if batch.made_by == Some(by) {
        return Err(DbError::conflict("须由另一人审批 / a second person approves a batch"));
    }
    if batch.state != BatchState::Made {
        return Err(DbError::conflict("已审批 / it is approved already"));
    }
    let due = sql("SELECT p.id FROM reward_payment p JOIN item i ON i.id = p.item \
         JOIN reward_due u ON u.item = i.id OR u.item = i.merged_into WHERE p.batch = $1 LIMIT 1");
    if c.opt::<IdRow>(due.bind(id)).await?.is_some() {
        return Err(DbError::conflict(
            "批次中有奖励正在重新决定,请稍后再审 / a reward of this batch is being decided anew: approve it a little later",
        ));
    }
    let mut kept = (batch.payments, batch.total_fen, batch.hash);
    if stop(c, id, at).await? > 0 {
        let query = sql("SELECT p.line, p.amount_fen FROM reward_payment p JOIN reward_line l ON l.id = p.line \
             WHERE p.batch = $1 AND NOT EXISTS (SELECT 1 FROM reward_payment_stop s WHERE s.payment = p.id) \
             ORDER BY l.seq, l.id")
        .bind(id);
        let left = c.all::<(Id, i64)>(query).await?;
        kept = (
            i64::try_from(left.len()).unwrap_or(i64::MAX),
            left.iter().map(|(_, fen)| fen).sum(),
            hash_of(&batch.month, left.iter().copied()),
        );
    }
    let query = sql("UPDATE reward_batch SET state = $2, approved_by = $3, approved_at = $4, payments = $5, \
                     total_fen = $6, hash = $7 WHERE id = $1")
    .bind(id)
    .bind(BatchState::Approved)
    .bind(by)
    .bind(at)
    .bind(kept.0)
    .bind(kept.1)
    .bind(kept.2);
    c.run(query).await?;
    c.one(select_batch!("WHERE id = $1").bind(id)).await
}

impl Store {
    /// Makes the batch of a month, `2026-03`, from what is owed up to it; `false` beside the one that
    /// was made before.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for another form of month.
    pub async fn reward_batch_make(&self, month: &str, by: Option<Id>, at: i64) -> Result<(RewardBatch, bool)> {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let good = month
            .split_once('-')
            .is_some_and(|(y, m)| y.len() == 4 && m.len() == 2 && digits(y) && digits(m) && ("01"..="12").contains(&m));
        if !good {
            return Err(DbError::Invalid { field: "month", why: "写作 2026-03 / write 2026-03".into() });
        }
        let month = month.to_owned();
        self.write(move |c| Box::pin(make(c, month, by, at))).await
    }

    /// Approves a batch. A payment that the decisions in force don't bear out any more is stopped:
    /// it leaves the batch's number, sum and hash, and is decided anew.
    ///
    /// # Errors
    /// [`DbError::Conflict`] for who made it, when it is approved, or while an item of it waits for
    /// its decision.
    pub async fn reward_batch_approve(&self, id: Id, by: Id, at: i64) -> Result<RewardBatch> {
        self.write(move |c| Box::pin(approve(c, id, by, at))).await
    }

    /// A batch by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn reward_batch_get(&self, id: Id) -> Result<Option<RewardBatch>> {
        self.reader().await?.opt(select_batch!("WHERE id = $1").bind(id)).await
    }

    /// The batch of a month.
    ///
    /// # Errors
    /// As any read.
    pub async fn reward_batch_of(&self, month: &str) -> Result<Option<RewardBatch>> {
        limits::text("month", month, SHORT_TEXT_CHARS_MAX)?;
        self.reader().await?.opt(select_batch!("WHERE month = $1").bind(month)).await
    }

    /// Batches, the newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn reward_batches(&self, limit: i64) -> Result<Vec<RewardBatch>> {
        self.reader().await?.all(select_batch!("ORDER BY month DESC LIMIT $1").bind(limits::page(limit))).await
    }

    /// The payments of a batch in order of arrival.
    ///
    /// # Errors
    /// As any read.
    pub async fn reward_payees(&self, batch: Id) -> Result<Vec<Payee>> {
        let query = sql("SELECT p.id, i.acceptance_no, own.query_code, p.party, y.phone_sealed, y.phone_mask, \
             k.channel, l.seq, k.arrived_at, p.place, p.amount_fen FROM reward_payment p \
             JOIN reward_line l ON l.id = p.line JOIN contact k ON k.id = l.contact \
             JOIN item i ON i.id = p.item JOIN item own ON own.id = COALESCE(k.item, p.item) \
             LEFT JOIN party y ON y.id = p.party WHERE p.batch = $1 \
             AND NOT EXISTS (SELECT 1 FROM reward_payment_stop s WHERE s.payment = p.id) ORDER BY l.seq, p.id LIMIT $2")
        .bind(batch)
        .bind(BATCH_PAYMENTS_MAX);
        self.reader().await?.all(query).await
    }
}
