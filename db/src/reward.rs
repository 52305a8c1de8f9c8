//! Rewards (有奖举报): who reported an incident first, frozen with the evidence. The rules live with
//! the caller; a decision is never changed, a later one takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::{
    audit,
    case_event::CaseStage,
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    incident::{self, Reporter},
    inspection::{self, Inspection},
    item::Item,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
    text::{Json, words},
};

words! {
    /// What was decided about an incident.
    RewardOutcome {
        /// Somebody is paid.
        Granted = "发放",
        /// Nobody is.
        None = "不发",
    }
}

words! {
    /// Where an appeal stands.
    AppealState {
        /// Waits for a second person.
        Open = "待复核",
        /// The decision stands.
        Upheld = "维持",
        /// Somebody is paid after all.
        Granted = "改判",
    }
}

/// A decision about an incident.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct RewardDecision {
    /// Row id.
    pub id: Id,
    /// The incident's surviving item when it was taken.
    pub item: Id,
    /// From 1; the highest counts.
    pub rev: i64,
    /// The rule that applied.
    pub rule: Option<String>,
    /// Version of the rules.
    pub rule_version: String,
    /// What was decided.
    pub outcome: RewardOutcome,
    /// All it rests on, as it was.
    pub evidence: Json,
    /// SHA-256 of the evidence's text, hex.
    pub evidence_hash: String,
    /// A user; `None`: the rules alone.
    pub decided_by: Option<Id>,
    /// Local month, `2026-03`.
    pub month: String,
    /// When.
    pub at: i64,
}

crate::lite::row!(RewardDecision {
    id,
    item,
    rev,
    rule,
    rule_version,
    outcome,
    evidence,
    evidence_hash,
    decided_by,
    month,
    at
});

/// What one reporter gets of a decision.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct RewardLine {
    /// Row id.
    pub id: Id,
    /// The decision.
    pub decision: Id,
    /// The contact that counts.
    pub contact: Id,
    /// Its arrival number.
    pub seq: i64,
    /// The citizen.
    pub party: Option<Id>,
    /// Place among the reporters, from 1.
    pub place: i64,
    /// Amount in fen.
    pub amount_fen: i64,
    /// Why nothing is paid.
    pub withheld: Option<String>,
    /// Local month it counts in.
    pub month: String,
}

crate::lite::row!(RewardLine { id, decision, contact, seq, party, place, amount_fen, withheld, month });

/// What a decision rests on.
#[derive(Debug, Clone)]
pub struct RewardEvidence {
    /// The surviving item.
    pub item: Item,
    /// Every item of the incident, the surviving one first.
    pub members: Vec<Id>,
    /// Reporters in order of arrival.
    pub reporters: Vec<Reporter>,
    /// The first inspector's finding.
    pub inspection: Option<Inspection>,
    /// Every stage the case core reported.
    pub stages: Vec<CaseStage>,
    /// Whether an earlier decision about this item paid somebody.
    pub was_granted: bool,
    /// Granted to each citizen in this month for other incidents: fen and times.
    pub granted_in_month: BTreeMap<Id, (i64, i64)>,
    /// Paid (in an approved batch) to each citizen for these contacts, whatever incident they were
    /// part of then, fen.
    pub paid: BTreeMap<Id, i64>,
    /// The same by contact: the unnamed are known by it alone.
    pub paid_contacts: BTreeMap<Id, i64>,
    /// Places these contacts were paid for.
    pub places_paid: Vec<i64>,
    /// What appeals granted: contact and fen.
    pub granted_on_appeal: Vec<(Id, i64)>,
    /// Keyed hashes of the reporters' numbers.
    pub phone_hashes: BTreeMap<Id, String>,
}

/// One line of a verdict.
#[derive(Debug, Clone)]
pub struct VerdictLine {
    /// Index into [`RewardEvidence::reporters`].
    pub reporter: usize,
    /// Place, from 1.
    pub place: i64,
    /// Fen.
    pub amount_fen: i64,
    /// Why nothing is paid.
    pub withheld: Option<String>,
}

/// What the rules say.
#[derive(Debug, Clone)]
pub struct RewardVerdict {
    /// The rule that applied.
    pub rule: Option<String>,
    /// Version of the rules.
    pub rule_version: String,
    /// What is kept as evidence.
    pub evidence: Value,
    /// Who gets what.
    pub lines: Vec<VerdictLine>,
}

/// The rules; `None`: it is too early to decide.
pub type RewardJudge = Box<dyn FnOnce(&RewardEvidence) -> Option<RewardVerdict> + Send>;

/// An appeal against a decision.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct RewardAppeal {
    /// Row id.
    pub id: Id,
    /// The item.
    pub item: Id,
    /// The decision it is against.
    pub decision: Id,
    /// What the citizen says.
    pub reason: String,
    /// Who took it down: a user.
    pub made_by: Id,
    /// When.
    pub made_at: i64,
    /// Where it stands.
    pub state: AppealState,
    /// Whose contact is paid after all.
    pub contact: Option<Id>,
    /// How much, fen.
    pub amount_fen: Option<i64>,
    /// The answer.
    pub answer: Option<String>,
    /// Who decided: another user.
    pub decided_by: Option<Id>,
    /// When.
    pub decided_at: Option<i64>,
}

crate::lite::row!(RewardAppeal {
    id,
    item,
    decision,
    reason,
    made_by,
    made_at,
    state,
    contact,
    amount_fen,
    answer,
    decided_by,
    decided_at
});

/// A decision on an appeal.
#[derive(Debug, Clone)]
pub struct NewAppeal {
    /// The item.
    pub item: Id,
    /// What the citizen says.
    pub reason: String,
    /// Who takes it down.
    pub by: Id,
    /// Now.
    pub at: i64,
}

macro_rules! select_decision {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, item, rev, rule, rule_version, outcome, evidence, evidence_hash, decided_by, month, at \
             FROM reward_decision ",
            $tail
        ))
    };
}

macro_rules! select_appeal {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, item, decision, reason, made_by, made_at, state, contact, amount_fen, answer, decided_by, \
             decided_at FROM reward_appeal ",
            $tail
        ))
    };
}

pub(crate) async fn put_due(c: &mut Conn, item: Id, stage: &str, at: i64) -> Result<()> {
    let query = sql("INSERT INTO reward_due (item, stage, at) VALUES ($1, $2, $3) \
                     ON CONFLICT (item) DO UPDATE SET stage = excluded.stage")
    .bind(item)
    .bind(stage)
    .bind(at);
    c.run(query).await.map(|_| ())
}

/// A case moved to where a reward may be due.
pub(crate) async fn due(c: &mut Conn, item: Id, stage: CaseStage, at: i64) -> Result<()> {
    use CaseStage as S;
    if matches!(stage, S::InProgress | S::Handled | S::Suspended | S::Closed) {
        return put_due(c, item, stage.as_str(), at).await;
    }
    // What was granted may not be owed any more.
    if matches!(stage, S::Returned | S::NotFiled) && latest(c, item).await?.is_some() {
        return put_due(c, item, stage.as_str(), at).await;
    }
    Ok(())
}

/// Who belongs to the incidents of these items changed: what was decided is decided anew.
pub(crate) async fn again(c: &mut Conn, items: &[Id], at: i64) -> Result<()> {
    let mut decided = false;
    for item in items {
        let query = sql("SELECT id FROM reward_decision WHERE item = $1 LIMIT 1").bind(*item);
        decided |= c.opt::<IdRow>(query).await?.is_some();
        let query = sql("SELECT item AS id FROM reward_due WHERE item = $1").bind(*item);
        decided |= c.opt::<IdRow>(query).await?.is_some();
    }
    if decided {
        for item in items {
            let root = incident::root(c, *item).await?.id;
            put_due(c, root, "", at).await?;
        }
    }
    Ok(())
}

async fn latest(c: &mut Conn, item: Id) -> Result<Option<RewardDecision>> {
    c.opt(select_decision!("WHERE item = $1 ORDER BY rev DESC LIMIT 1").bind(item)).await
}

async fn evidence(c: &mut Conn, item: Item, month: &str) -> Result<RewardEvidence> {
    let mut members = vec![item.id];
    members.extend(incident::below(c, item.id).await?);
    let reporters = incident::reporters(c, item.id).await?;
    let mut found = RewardEvidence {
        was_granted: {
            let query = sql("SELECT id FROM reward_decision WHERE item = $1 AND outcome = $2 LIMIT 1")
                .bind(item.id)
                .bind(RewardOutcome::Granted);
            c.opt::<IdRow>(query).await?.is_some()
        },
        inspection: inspection::first_of(c, &members).await?,
        item,
        reporters,
        members,
        stages: Vec::new(),
        granted_in_month: BTreeMap::new(),
        paid: BTreeMap::new(),
        paid_contacts: BTreeMap::new(),
        places_paid: Vec::new(),
        granted_on_appeal: Vec::new(),
        phone_hashes: BTreeMap::new(),
    };
    for member in &found.members {
        let query = sql("SELECT DISTINCT stage FROM handoff_update WHERE item = $1").bind(*member);
        found.stages.extend(c.all::<(CaseStage,)>(query).await?.into_iter().map(|(stage,)| stage));
        let query = sql("SELECT contact, amount_fen FROM reward_appeal WHERE item = $1 AND state = $2 \
                         AND contact IS NOT NULL AND amount_fen IS NOT NULL ORDER BY id")
        .bind(*member)
        .bind(AppealState::Granted);
        found.granted_on_appeal.extend(c.all::<(Id, i64)>(query).await?);
    }
    paid(c, &mut found).await?;
    granted_in_month(c, &mut found, month).await?;
    Ok(found)
}

/// What was paid goes with the contact: its item may have been merged and taken apart since.
async fn paid(c: &mut Conn, found: &mut RewardEvidence) -> Result<()> {
    for who in &found.reporters {
        let query = sql("SELECT p.party, p.place, p.amount_fen FROM reward_line l \
             JOIN reward_payment p ON p.line = l.id JOIN reward_batch b ON b.id = p.batch \
             WHERE l.contact = $1 AND b.approved_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM reward_payment_stop s WHERE s.payment = p.id)")
        .bind(who.contact);
        for (party, place, fen) in c.all::<(Option<Id>, i64, i64)>(query).await? {
            found.places_paid.push(place);
            *found.paid_contacts.entry(who.contact).or_default() += fen;
            if let Some(party) = party {
                *found.paid.entry(party).or_default() += fen;
            }
        }
    }
    Ok(())
}

/// What the month's caps count, but for this incident: what was paid, and what the decisions in
/// force grant.
async fn granted_in_month(c: &mut Conn, found: &mut RewardEvidence, month: &str) -> Result<()> {
    let mut parties: Vec<Id> = found.reporters.iter().filter_map(|r| r.party).collect();
    parties.sort();
    parties.dedup();
    for party in parties {
        let query = sql("SELECT l.contact, l.amount_fen, d.item FROM reward_line l \
             JOIN reward_decision d ON d.id = l.decision JOIN item i ON i.id = d.item \
             WHERE l.party = $1 AND l.month = $2 AND l.withheld IS NULL AND l.amount_fen > 0 \
             AND (EXISTS (SELECT 1 FROM reward_payment p JOIN reward_batch b ON b.id = p.batch WHERE p.line = l.id \
             AND b.approved_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM reward_payment_stop s WHERE s.payment = p.id)) \
             OR (i.merged_into IS NULL \
             AND d.rev = (SELECT MAX(x.rev) FROM reward_decision x WHERE x.item = d.item)))")
        .bind(party)
        .bind(month);
        let mut counted = BTreeSet::new();
        for (contact, fen, of) in c.all::<(Id, i64, Id)>(query).await? {
            if found.members.contains(&of) || found.reporters.iter().any(|r| r.contact == contact) {
                continue;
            }
            let sum = found.granted_in_month.entry(party).or_default();
            *sum = (sum.0 + fen, sum.1 + i64::from(counted.insert(contact)));
        }
        let query = sql("SELECT phone_hash FROM party WHERE id = $1").bind(party);
        if let Some((Some(hash),)) = c.opt::<(Option<String>,)>(query).await? {
            found.phone_hashes.insert(party, hash);
        }
    }
    Ok(())
}

/// The month a reward counts in: that of the first decision with lines about any item of the
/// incident. A later event must neither take it into another month's cap nor out of one.
async fn month_of(c: &mut Conn, root: &Item, now: String) -> Result<String> {
    let mut first: Option<(i64, String)> = None;
    for member in std::iter::once(root.id).chain(incident::below(c, root.id).await?) {
        let query = sql("SELECT d.at, d.month FROM reward_decision d WHERE d.item = $1 \
             AND EXISTS (SELECT 1 FROM reward_line l WHERE l.decision = d.id) ORDER BY d.rev LIMIT 1")
        .bind(member);
        let found = c.opt::<(i64, String)>(query).await?;
        first = [first, found].into_iter().flatten().min();
    }
    Ok(first.map_or(now, |(_, month)| month))
}

async fn decide(c: &mut Conn, item: Id, judge: RewardJudge, month: String, at: i64) -> Result<Option<RewardDecision>> {
    c.lock("reward".into()).await?;
    c.lock("incident".into()).await?;
    let clear = |item: Id| sql("DELETE FROM reward_due WHERE item = $1").bind(item);
    let root = incident::root(c, item).await?;
    c.run(clear(item)).await?;
    if root.id != item {
        put_due(c, root.id, "", at).await?;
        return Ok(None);
    }
    let month = month_of(c, &root, month).await?;
    let found = evidence(c, root, &month).await?;
    let verdict = catch_unwind(AssertUnwindSafe(|| judge(&found)))
        .map_err(|_| DbError::conflict("the reward rules broke on this item"))?;
    let Some(verdict) = verdict else { return Ok(None) };
    let text = limits::json("evidence", &verdict.evidence)?;
    let hash = audit::hex(Sha256::new_with_prefix(text.as_bytes()));
    let last = latest(c, item).await?;
    if let Some(last) = last.as_ref().filter(|d| d.evidence_hash == hash) {
        // A line whose payment was stopped can't be paid any more: it is granted by a new one.
        let stopped = sql("SELECT s.payment AS id FROM reward_line l JOIN reward_payment p ON p.line = l.id \
             JOIN reward_payment_stop s ON s.payment = p.id WHERE l.decision = $1 LIMIT 1");
        if c.opt::<IdRow>(stopped.bind(last.id)).await?.is_none() {
            return Ok(None);
        }
    }
    let granted = verdict.lines.iter().any(|l| l.withheld.is_none() && l.amount_fen > 0);
    let outcome = if granted { RewardOutcome::Granted } else { RewardOutcome::None };
    let id = Id::new();
    let query = sql("INSERT INTO reward_decision (id, item, rev, rule, rule_version, outcome, evidence, \
         evidence_hash, decided_by, month, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
    .bind(id)
    .bind(item)
    .bind(last.map_or(1, |d| d.rev + 1))
    .bind(verdict.rule)
    .bind(verdict.rule_version)
    .bind(outcome)
    .bind(text)
    .bind(hash)
    .bind(None::<Id>)
    .bind(month.as_str())
    .bind(at);
    c.run(query).await?;
    for line in verdict.lines {
        let Some(who) = found.reporters.get(line.reporter) else { continue };
        let query = sql("INSERT INTO reward_line (id, decision, contact, seq, party, place, amount_fen, withheld, \
             month) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(Id::new())
        .bind(id)
        .bind(who.contact)
        .bind(who.seq)
        .bind(who.party)
        .bind(line.place)
        .bind(line.amount_fen)
        .bind(line.withheld)
        .bind(month.as_str());
        c.run(query).await?;
    }
    Ok(Some(c.one(select_decision!("WHERE id = $1").bind(id)).await?))
}

async fn appeal(c: &mut Conn, new: NewAppeal) -> Result<RewardAppeal> {
    let item = incident::root(c, new.item).await?.id;
    c.lock(format!("appeal:{item}")).await?;
    let decision = latest(c, item)
        .await?
        .ok_or_else(|| DbError::conflict("尚无奖励决定 / there is no decision yet to appeal against"))?;
    let open = sql("SELECT id FROM reward_appeal WHERE item = $1 AND decided_at IS NULL").bind(item);
    if c.opt::<IdRow>(open).await?.is_some() {
        return Err(DbError::conflict("已有待复核的申诉 / an appeal is open already"));
    }
    let id = Id::new();
    let query = sql("INSERT INTO reward_appeal (id, item, decision, reason, made_by, made_at, state) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)")
    .bind(id)
    .bind(item)
    .bind(decision.id)
    .bind(new.reason)
    .bind(new.by)
    .bind(new.at)
    .bind(AppealState::Open);
    c.run(query).await?;
    c.one(select_appeal!("WHERE id = $1").bind(id)).await
}

async fn appeal_decide(
    c: &mut Conn,
    id: Id,
    by: Id,
    grant: Option<(Id, i64)>,
    answer: String,
    at: i64,
) -> Result<RewardAppeal> {
    let row: RewardAppeal = c.one(select_appeal!("WHERE id = $1").bind(id)).await?;
    c.lock(format!("appeal:{}", row.item)).await?;
    if row.made_by == by {
        return Err(DbError::conflict("须由另一人复核 / a second person decides on an appeal"));
    }
    let root = incident::root(c, row.item).await?.id;
    let reporters = incident::reporters(c, root).await?;
    if grant.is_some_and(|(contact, _)| !reporters.iter().any(|r| r.contact == contact)) {
        return Err(DbError::Invalid {
            field: "contact", why: "不是该事件的报告 / no report of this incident".into()
        });
    }
    let query = sql("UPDATE reward_appeal SET state = $2, contact = $3, amount_fen = $4, answer = $5, \
                     decided_by = $6, decided_at = $7 WHERE id = $1 AND decided_at IS NULL")
    .bind(id)
    .bind(if grant.is_some() { AppealState::Granted } else { AppealState::Upheld })
    .bind(grant.map(|g| g.0))
    .bind(grant.map(|g| g.1))
    .bind(answer)
    .bind(by)
    .bind(at);
    if c.run(query).await? == 0 {
        return Err(DbError::conflict("已有结论 / this appeal is decided already"));
    }
    if grant.is_some() {
        again(c, &[row.item], at).await?;
    }
    c.one(select_appeal!("WHERE id = $1").bind(id)).await
}

impl Store {
    /// Items whose reward is to be decided, the one longest due first.
    ///
    /// # Errors
    /// As any read.
    pub async fn rewards_due(&self, limit: i64) -> Result<Vec<Id>> {
        let query = sql("SELECT item AS id FROM reward_due ORDER BY at LIMIT $1").bind(limits::page(limit));
        Ok(self.reader().await?.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
    }

    /// Puts an item whose decision failed behind the others.
    ///
    /// # Errors
    /// As any write.
    pub async fn reward_put_off(&self, item: Id, until: i64) -> Result<()> {
        let query = sql("UPDATE reward_due SET at = $2 WHERE item = $1").bind(item).bind(until);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Forgets what is due: this site pays no rewards.
    ///
    /// # Errors
    /// As any write.
    pub async fn rewards_due_clear(&self) -> Result<u64> {
        self.write(|c| Box::pin(async move { c.run(sql("DELETE FROM reward_due")).await })).await
    }

    /// Decides on the incident of an item by the rules, with what they rest on, in one transaction.
    /// `None` when it is too early, the item was merged (its incident is due then), or the evidence
    /// is the same as before.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when the rules panic.
    pub async fn reward_decide(
        &self,
        item: Id,
        judge: RewardJudge,
        month: &str,
        at: i64,
    ) -> Result<Option<RewardDecision>> {
        let month = month.to_owned();
        self.write(move |c| Box::pin(decide(c, item, judge, month, at))).await
    }

    /// The decisions about an item with their lines, the one that counts last.
    ///
    /// # Errors
    /// As any read.
    pub async fn rewards_of_item(&self, item: Id) -> Result<Vec<(RewardDecision, Vec<RewardLine>)>> {
        let mut c = self.reader().await?;
        let decisions: Vec<RewardDecision> = c.all(select_decision!("WHERE item = $1 ORDER BY rev").bind(item)).await?;
        let mut all = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let query = sql("SELECT id, decision, contact, seq, party, place, amount_fen, withheld, month \
                             FROM reward_line WHERE decision = $1 ORDER BY place, seq")
            .bind(decision.id);
            all.push((decision, c.all(query).await?));
        }
        Ok(all)
    }

    /// Takes down an appeal against the decision that counts.
    ///
    /// # Errors
    /// [`DbError::Conflict`] without a decision, or while another appeal is open.
    pub async fn reward_appeal(&self, new: NewAppeal) -> Result<RewardAppeal> {
        limits::text("reason", &new.reason, SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| Box::pin(appeal(c, new))).await
    }

    /// Decides on an appeal; `grant`: this contact is paid so much (fen) after all. The rules decide
    /// anew with it.
    ///
    /// # Errors
    /// [`DbError::Conflict`] for who took it down, or when it is decided.
    pub async fn reward_appeal_decide(
        &self,
        id: Id,
        by: Id,
        grant: Option<(Id, i64)>,
        answer: &str,
        at: i64,
    ) -> Result<RewardAppeal> {
        limits::text("answer", answer, SHORT_TEXT_CHARS_MAX)?;
        let answer = answer.to_owned();
        self.write(move |c| Box::pin(appeal_decide(c, id, by, grant, answer, at))).await
    }

    /// The appeals about an item, oldest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn reward_appeals(&self, item: Id) -> Result<Vec<RewardAppeal>> {
        self.reader().await?.all(select_appeal!("WHERE item = $1 ORDER BY id").bind(item)).await
    }
}
