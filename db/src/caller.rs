//! What is known of a caller before they are offered to anybody.

use crate::{claim::IdRow, conn::Conn, error::Result, id::Id, item::ItemState, pool::Store, sql::sql};

/// Contacts of one citizen looked back over; older ones say nothing of today.
const CONTACTS_MAX: i64 = 50;
/// People one citizen's matters name; further ones aren't read.
const RECUSED_MAX: i64 = 64;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct CallerQuestion {
    /// The citizen, where they are known.
    pub party: Option<Id>,
    /// The call at hand: what was written down of it names people too, but it doesn't count as served or short.
    pub call: Id,
    /// 回避 by matters that are over counts if they began since then (epoch ms).
    pub recused_since: i64,
    /// Who served them is asked since then (epoch ms).
    pub served_since: i64,
    /// Short calls are counted since then (epoch ms).
    pub short_since: i64,
    /// A call is short if it lasted less than this, from the first ring to its end.
    pub short_ms: i64,
}

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerHistory {
    /// 回避: whom their matters name that are open or not long over, in no order.
    pub recused: Vec<Id>,
    /// The operator who talked with them last.
    pub served_by: Option<Id>,
    /// Their short calls.
    pub short_calls: i64,
}

/// Whom the matters of a citizen, or of a call, name: those that are open, and those that began since then.
async fn recused(c: &mut Conn, party: Option<Id>, call: Option<Id>, since: i64) -> Result<Vec<Id>> {
    // A work is done once the case core has its item: the matter is open until that one is over.
    let query = sql("SELECT m.excluded AS id FROM (\
         SELECT w.excluded, w.item, w.done_at, w.created_at FROM contact k JOIN work w ON w.contact = k.id \
         WHERE k.party = $1 AND w.excluded IS NOT NULL \
         UNION SELECT w.excluded, w.item, w.done_at, w.created_at FROM contact k \
         JOIN item_contact x ON x.contact = k.id JOIN work w ON w.item = x.item \
         WHERE k.party = $1 AND w.excluded IS NOT NULL \
         UNION SELECT w.excluded, w.item, w.done_at, w.created_at FROM call a JOIN work w ON w.contact = a.contact \
         WHERE a.id = $7 AND w.excluded IS NOT NULL \
         UNION SELECT w.excluded, w.item, w.done_at, w.created_at FROM call a \
         JOIN item_contact x ON x.contact = a.contact JOIN work w ON w.item = x.item \
         WHERE a.id = $7 AND w.excluded IS NOT NULL \
         UNION SELECT w.excluded, w.item, w.done_at, w.created_at FROM item i JOIN work w ON w.item = i.id \
         WHERE i.party = $1 AND w.excluded IS NOT NULL \
         UNION SELECT t.excluded, t.item, t.finished_at, t.created_at FROM callback_task t \
         WHERE t.party = $1 AND t.excluded IS NOT NULL) AS m LEFT JOIN item o ON o.id = m.item \
         WHERE m.created_at >= $3 OR m.done_at IS NULL OR o.state NOT IN ($4, $5, $6) \
         GROUP BY m.excluded LIMIT $2")
    .bind(party)
    .bind(RECUSED_MAX)
    .bind(since)
    .bind(ItemState::Closed)
    .bind(ItemState::Void)
    .bind(ItemState::NotFiled)
    .bind(call);
    Ok(c.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
}

impl Store {
    /// 回避: whom the matters of a citizen, or of the call that led to a task, name, in no order, however long they
    /// are over.
    ///
    /// # Errors
    /// As any read.
    pub async fn citizen_recused(&self, party: Option<Id>, call: Option<Id>) -> Result<Vec<Id>> {
        recused(&mut self.reader().await?, party, call, i64::MIN).await
    }

    /// Whom a caller must not be given to, whom they know, and whether they are in trouble.
    ///
    /// # Errors
    /// As any read.
    pub async fn caller_history(&self, ask: CallerQuestion) -> Result<CallerHistory> {
        let mut c = self.reader().await?;
        let recused = recused(&mut c, ask.party, Some(ask.call), ask.recused_since).await?;
        let served = sql("SELECT a.operator AS id FROM \
             (SELECT id, seq, arrived_at FROM contact WHERE party = $1 ORDER BY seq DESC LIMIT $4) k \
             JOIN call a ON a.contact = k.id \
             WHERE k.arrived_at >= $3 AND a.id <> $2 AND a.operator IS NOT NULL AND a.operator_answer_at IS NOT NULL \
             ORDER BY k.seq DESC LIMIT 1")
        .bind(ask.party)
        .bind(ask.call)
        .bind(ask.served_since)
        .bind(CONTACTS_MAX);
        let served_by = c.opt::<IdRow>(served).await?.map(|row| row.id);
        let short = sql("SELECT COUNT(*) FROM \
             (SELECT id, direction, arrived_at FROM contact WHERE party = $1 ORDER BY seq DESC LIMIT $5) k \
             JOIN call a ON a.contact = k.id \
             WHERE k.direction = 'inbound' AND k.arrived_at >= $3 AND a.id <> $2 AND a.end_at - a.ring_at < $4")
        .bind(ask.party)
        .bind(ask.call)
        .bind(ask.short_since)
        .bind(ask.short_ms)
        .bind(CONTACTS_MAX);
        let short_calls = c.opt::<(i64,)>(short).await?.map_or(0, |row| row.0);
        Ok(CallerHistory { recused, served_by, short_calls })
    }
}
