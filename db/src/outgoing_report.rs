//! What became of a text: the carrier's ids of its parts and what it reports of them, in whatever order.

use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    outgoing::{Outgoing, OutgoingState},
    pool::Store,
    sql::sql,
};

/// What a report was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// This text; its state is settled or waits for its other parts.
    Text(Id),
    /// No text of ours yet: kept, and matched if the carrier's id comes later.
    Orphan,
    /// A part whose fate was known: nothing changed.
    Repeated,
}

#[derive(FromRow)]
struct PartRow {
    id: Id,
    outgoing: Option<Id>,
    state: OutgoingState,
}

crate::lite::row!(PartRow { id, outgoing, state });

#[derive(FromRow)]
struct FateRow {
    state: OutgoingState,
    code: Option<String>,
    at: i64,
}

crate::lite::row!(FateRow { state, code, at });

/// A report that came so long before its text's id belongs to an earlier use of that id.
const ORPHAN_MS_MAX: i64 = 3_600_000;
/// Parts of one text at most; more ids are ignored.
const PARTS_MAX: usize = 255;

/// A text is where its worst part is: it arrived when all parts did.
fn fate(parts: &[FateRow]) -> Option<&FateRow> {
    use OutgoingState::{Cancelled, Delivered, Expired, Failed, Queued, Sending, Submitted, Unknown};
    let badness = |state: OutgoingState| match state {
        Delivered => 0,
        Queued | Sending | Submitted => 1,
        Unknown => 2,
        Cancelled | Expired => 3,
        Failed => 4,
    };
    parts.iter().max_by_key(|p| (badness(p.state), p.at)).filter(|p| badness(p.state) != 1)
}

async fn settle(c: &mut Conn, id: Id) -> Result<()> {
    let parts = sql("SELECT state, code, at FROM outgoing_part WHERE outgoing = $1 ORDER BY n, id").bind(id);
    let parts: Vec<FateRow> = c.all(parts).await?;
    if let Some(worst) = fate(&parts) {
        let query = sql("UPDATE outgoing SET state = $2, code = $3, reported_at = $4 \
             WHERE id = $1 AND state IN ('发送中', '已提交', '未知', '已送达')")
        .bind(id)
        .bind(worst.state)
        .bind(worst.code.clone())
        .bind(worst.at);
        c.run(query).await?;
    }
    Ok(())
}

async fn submitted(c: &mut Conn, id: Id, line: String, provider_ids: Vec<String>, at: i64) -> Result<bool> {
    let query = sql("UPDATE outgoing SET state = '已提交', sent_line = $2, submitted_at = $3, lease_until = NULL, \
         last_error = NULL WHERE id = $1 AND state IN ('待发', '发送中', '未知')")
    .bind(id)
    .bind(line.as_str())
    .bind(at);
    if c.run(query).await? == 0 {
        return Ok(false);
    }
    for (n, provider_id) in (1_i64..).zip(provider_ids) {
        c.lock(format!("outgoing_part:{line}:{provider_id}")).await?;
        // Its report may have been faster.
        let adopt = sql("UPDATE outgoing_part SET outgoing = $3, n = $4 WHERE id = (SELECT id FROM outgoing_part \
             WHERE line = $1 AND provider_id = $2 AND outgoing IS NULL AND at > $5 ORDER BY at DESC LIMIT 1)")
        .bind(line.as_str())
        .bind(provider_id.as_str())
        .bind(id)
        .bind(n)
        .bind(at.saturating_sub(ORPHAN_MS_MAX));
        if c.run(adopt).await? > 0 {
            continue;
        }
        let insert = sql("INSERT INTO outgoing_part (id, line, provider_id, outgoing, n, state, at) \
             VALUES ($1, $2, $3, $4, $5, '已提交', $6)")
        .bind(Id::new())
        .bind(line.as_str())
        .bind(provider_id)
        .bind(id)
        .bind(n)
        .bind(at);
        c.run(insert).await?;
    }
    settle(c, id).await?;
    Ok(true)
}

struct Report {
    line: String,
    provider_id: String,
    state: OutgoingState,
    code: String,
    at: i64,
}

async fn report(c: &mut Conn, r: Report) -> Result<Reported> {
    c.lock(format!("outgoing_part:{}:{}", r.line, r.provider_id)).await?;
    // Carriers use an id again: the part that still waits, then the newest, is meant.
    let find = sql("SELECT id, outgoing, state FROM outgoing_part WHERE line = $1 AND provider_id = $2 \
         ORDER BY CASE WHEN state IN ('已提交', '未知') THEN 0 ELSE 1 END, at DESC LIMIT 1")
    .bind(r.line.as_str())
    .bind(r.provider_id.as_str());
    match c.opt::<PartRow>(find).await? {
        Some(part) if matches!(part.state, OutgoingState::Submitted | OutgoingState::Unknown) => {
            let query = sql("UPDATE outgoing_part SET state = $2, code = $3, at = $4 WHERE id = $1")
                .bind(part.id)
                .bind(r.state)
                .bind(r.code)
                .bind(r.at);
            c.run(query).await?;
            match part.outgoing {
                Some(id) => settle(c, id).await.map(|()| Reported::Text(id)),
                None => Ok(Reported::Orphan),
            }
        }
        Some(part) if part.state == r.state => Ok(Reported::Repeated),
        _ => {
            let insert = sql("INSERT INTO outgoing_part (id, line, provider_id, state, code, at) \
                 VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(Id::new())
            .bind(r.line)
            .bind(r.provider_id)
            .bind(r.state)
            .bind(r.code)
            .bind(r.at);
            c.run(insert).await?;
            Ok(Reported::Orphan)
        }
    }
}

impl Store {
    /// Notes that the carrier took a text, under the ids of its parts in their order; none where
    /// the carrier gives none. Reports that came first are applied. `false` when the text wasn't
    /// being sent.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for an id that is too long.
    pub async fn outgoing_submitted(&self, id: Id, line: &str, provider_ids: &[String], at: i64) -> Result<bool> {
        limits::text("line", line, SHORT_TEXT_CHARS_MAX)?;
        let ids: Vec<String> = provider_ids.iter().take(PARTS_MAX).cloned().collect();
        ids.iter().try_for_each(|p| limits::text("provider_id", p, SHORT_TEXT_CHARS_MAX))?;
        let line = line.to_owned();
        self.write(move |c| Box::pin(submitted(c, id, line, ids, at))).await
    }

    /// Takes back that a text was submitted, for another attempt at `next_at`: the one it was given to said clearly
    /// that it didn't take it. Who wants no texts by now gets none. `false` when it doesn't stand as submitted by
    /// this attempt.
    ///
    /// # Errors
    /// As any write.
    pub async fn outgoing_unsubmitted(&self, row: &Outgoing, next_at: i64, error: &str) -> Result<bool> {
        let back = sql("UPDATE outgoing SET next_at = $2, lease_until = NULL, last_error = $3, sent_line = NULL, \
             submitted_at = NULL, state = CASE WHEN $5 AND EXISTS (SELECT 1 FROM party p WHERE p.id = outgoing.party \
                 AND p.texts_stopped_at IS NOT NULL) THEN '取消' ELSE '待发' END \
             WHERE id = $1 AND state = '已提交' AND attempts = $4")
        .bind(row.id)
        .bind(next_at)
        .bind(limits::error_text(error))
        .bind(row.attempts)
        .bind(!row.purpose.ignores_stop());
        let parts = sql("DELETE FROM outgoing_part WHERE outgoing = $1").bind(row.id);
        self.write(|c| {
            Box::pin(async move {
                let is_back = c.run(back).await? > 0;
                if is_back {
                    c.run(parts).await?;
                }
                Ok(is_back)
            })
        })
        .await
    }

    /// Applies a carrier's report of a part: a text has arrived when all its parts have, and failed
    /// when one did. A report nobody waits for is kept for a text that may come to be known.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a field that is too long or a state that is no report's.
    pub async fn outgoing_report(
        &self,
        line: &str,
        provider_id: &str,
        state: OutgoingState,
        code: &str,
        at: i64,
    ) -> Result<Reported> {
        use OutgoingState::{Cancelled, Delivered, Expired, Failed, Unknown};
        if !matches!(state, Delivered | Failed | Unknown | Expired | Cancelled) {
            return Err(DbError::Invalid { field: "state", why: "not what a carrier reports".into() });
        }
        for (field, value) in [("line", line), ("provider_id", provider_id), ("code", code)] {
            limits::text(field, value, SHORT_TEXT_CHARS_MAX)?;
        }
        let r = Report { line: line.into(), provider_id: provider_id.into(), state, code: code.into(), at };
        self.write(move |c| Box::pin(report(c, r))).await
    }

    /// Drops reports nobody came for, older than `before`, at most 1,000 a call; how many.
    ///
    /// # Errors
    /// As any write.
    pub async fn outgoing_orphans_prune(&self, before: i64) -> Result<u64> {
        let query = sql("DELETE FROM outgoing_part WHERE id IN (SELECT id FROM outgoing_part \
             WHERE outgoing IS NULL AND at < $1 LIMIT $2)")
        .bind(before)
        .bind(limits::PRUNE_LEN_MAX);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }

    /// The text one of whose parts has this id of the carrier, newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn outgoing_by_provider(&self, line: &str, provider_id: &str) -> Result<Option<Id>> {
        let query = sql("SELECT outgoing AS id FROM outgoing_part WHERE line = $1 AND provider_id = $2 \
             AND outgoing IS NOT NULL ORDER BY at DESC LIMIT 1")
        .bind(line)
        .bind(provider_id);
        Ok(self.reader().await?.opt::<IdRow>(query).await?.map(|row| row.id))
    }
}
