//! 交接班: what one person leaves open and another takes on, as a signed object.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::{
    audit::{hex, put},
    bulk,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    incident::pg_listed,
    limits::{self, HANDOVER_WORKS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::{sql, sql_each},
    text::words,
    work::{WorkDesk, note},
};

/// The counter that numbers handovers and locks the end of their chain.
const COUNTER: &str = "handover";

/// A keyed hash of the gateway's over a text.
pub type Sign = Box<dyn Fn(&str) -> String + Send + Sync>;

words! {
    /// How a handover ended.
    HandoverEnding {
        /// The other person took it on.
        Accepted = "已接",
        /// The other person didn't.
        Declined = "拒接",
        /// Who gave it took it back.
        Withdrawn = "撤回",
    }
}

/// A handover.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Handover {
    /// Place in the chain, from 1.
    pub n: i64,
    /// Row id.
    pub id: Id,
    /// Who gives.
    pub giver: Id,
    /// Who is to take.
    pub taker: Id,
    /// What the giver wants known.
    pub note: Option<String>,
    /// What is open, as JSON text: it is hashed as it stands.
    pub content: String,
    /// When it was given.
    pub given_at: i64,
    /// Hash of the handover before; empty for the first.
    pub prev_hash: String,
    /// Hash of what was given.
    pub hash: String,
    /// The gateway's keyed hash for the giver.
    pub given_signature: String,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// How.
    pub ending: Option<HandoverEnding>,
    /// The gateway's keyed hash for who ended it.
    pub ended_signature: Option<String>,
    /// The works that really changed hands, as JSON text, for one that was accepted: what had become somebody
    /// else's meanwhile, or names the taker, did not. `None` also for those accepted before this was kept.
    pub passed: Option<String>,
}

crate::lite::row!(Handover {
    n,
    id,
    giver,
    taker,
    note,
    content,
    given_at,
    prev_hash,
    hash,
    given_signature,
    ended_at,
    ending,
    ended_signature,
    passed
});

macro_rules! select_handover {
    ($tail:literal) => {
        sql(concat!(
            "SELECT n, id, giver, taker, note, content, given_at, prev_hash, hash, given_signature, ended_at, \
             ending, ended_signature, passed FROM handover ",
            $tail
        ))
    };
}

impl Handover {
    fn expected_hash(&self) -> String {
        let mut hash = Sha256::new();
        put(&mut hash, &self.prev_hash);
        put(&mut hash, &self.n.to_string());
        put(&mut hash, &self.giver.to_string());
        put(&mut hash, &self.taker.to_string());
        put(&mut hash, if self.note.is_some() { "1" } else { "0" });
        put(&mut hash, self.note.as_deref().unwrap_or_default());
        put(&mut hash, &self.content);
        put(&mut hash, &self.given_at.to_string());
        hex(hash)
    }

    /// The works it names.
    #[must_use]
    pub fn works(&self) -> Vec<Id> {
        let content: Value = serde_json::from_str(&self.content).unwrap_or_default();
        let works = content["works"].as_array().into_iter().flatten();
        works.filter_map(|w| w["id"].as_str()?.parse().ok()).collect()
    }

    fn given_text(&self) -> String {
        format!("handover given {} {}", self.hash, self.giver)
    }

    fn ended_text(&self, by: Id, ending: HandoverEnding, at: i64, passed: Option<&str>) -> String {
        let text = format!("handover ended {} {by} {ending} {at}", self.hash);
        match passed {
            Some(passed) => format!("{text} {passed}"),
            None => text,
        }
    }

    /// Whether nothing of it was changed since it was signed, judged with the gateway's key.
    #[must_use]
    pub fn is_genuine(&self, sign: impl Fn(&str) -> String) -> bool {
        let ended = match (self.ending, self.ended_at, &self.ended_signature) {
            (None, None, None) => self.passed.is_none(),
            (Some(ending), Some(at), Some(signature)) => {
                let by = if ending == HandoverEnding::Withdrawn { self.giver } else { self.taker };
                sign(&self.ended_text(by, ending, at, self.passed.as_deref())) == *signature
            }
            _ => false,
        };
        ended && self.hash == self.expected_hash() && sign(&self.given_text()) == self.given_signature
    }
}

/// Work somebody has in hand: what they took, also when its lease ran out and nobody else took it since, and
/// what was passed to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct OwnWork {
    /// The work.
    pub id: Id,
    /// Its item.
    pub item: Option<Id>,
    /// The item's acceptance number.
    pub acceptance_no: Option<String>,
    /// What is to be done.
    pub kind: String,
    /// 1 特急 … 5 疑难.
    pub urgency: i64,
    /// To be done by then.
    pub due_at: i64,
    /// Whose work it is.
    pub desk: WorkDesk,
    /// Who must not see it.
    #[serde(skip)]
    pub excluded: Option<Id>,
}

crate::lite::row!(OwnWork { id, item, acceptance_no, kind, urgency, due_at, desk, excluded });

async fn own(c: &mut Conn, who: Id) -> Result<Vec<OwnWork>> {
    // Two indexed halves; what one holds and was given is one row. What names them is theirs no longer.
    let query = sql("SELECT w.id, w.item, i.acceptance_no, w.kind, w.urgency, w.due_at, w.desk, w.excluded \
         FROM work w LEFT JOIN item i ON i.id = w.item WHERE w.id IN ( \
             SELECT id FROM work WHERE holder = $1 AND done_at IS NULL \
             UNION SELECT id FROM work WHERE assignee = $1 AND done_at IS NULL) \
         AND (w.excluded IS NULL OR w.excluded <> $1) ORDER BY w.lane, w.due_at, w.seq, w.id LIMIT $2")
    .bind(who)
    .bind(i64::try_from(HANDOVER_WORKS_MAX + 1).unwrap_or(i64::MAX));
    c.all(query).await
}

async fn give(c: &mut Conn, new: NewHandover, sign: Sign, now: i64) -> Result<Handover> {
    let n = c.next(COUNTER).await?;
    let works = own(c, new.giver).await?;
    if works.len() > HANDOVER_WORKS_MAX {
        return Err(DbError::conflict(
            "待办过多,请先办结或转交一部分 / too much is open: finish or pass on some of it first",
        ));
    }
    if works.iter().any(|w| w.excluded == Some(new.taker)) {
        return Err(DbError::conflict(
            "其中有接班人须回避的待办,请先转交值班长 / some of it names who is to take it: pass that to the leader",
        ));
    }
    if !new.taker_leads && works.iter().any(|w| w.desk == WorkDesk::Leader) {
        return Err(DbError::conflict(
            "其中有值班长的待办,只能交接给值班长 / some of it is the shift leader's: hand over to a leader, or pass it on first",
        ));
    }
    let last = sql("SELECT hash FROM handover ORDER BY n DESC LIMIT 1");
    let prev_hash = c.opt::<(String,)>(last).await?.map(|(hash,)| hash).unwrap_or_default();
    let content = limits::json("content", &json!({ "works": works, "figures": new.figures }))?;
    let mut row = Handover {
        n,
        id: new.id,
        giver: new.giver,
        taker: new.taker,
        note: new.note,
        content,
        given_at: now,
        prev_hash,
        hash: String::new(),
        given_signature: String::new(),
        ended_at: None,
        ending: None,
        ended_signature: None,
        passed: None,
    };
    row.hash = row.expected_hash();
    row.given_signature = sign(&row.given_text());
    let query = sql("INSERT INTO handover (n, id, giver, taker, note, content, given_at, prev_hash, hash, \
         given_signature) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
    .bind(row.n)
    .bind(row.id)
    .bind(row.giver)
    .bind(row.taker)
    .bind(row.note.clone())
    .bind(row.content.clone())
    .bind(row.given_at)
    .bind(row.prev_hash.clone())
    .bind(row.hash.clone())
    .bind(row.given_signature.clone());
    c.run(query).await?;
    Ok(row)
}

async fn end(c: &mut Conn, id: Id, by: Id, ending: HandoverEnding, sign: Sign, now: i64) -> Result<Handover> {
    c.lock(format!("handover:{id}")).await?;
    let row: Handover = c.opt(select_handover!("WHERE id = $1").bind(id)).await?.ok_or(DbError::NotFound)?;
    let whose = if ending == HandoverEnding::Withdrawn { row.giver } else { row.taker };
    if whose != by {
        return Err(DbError::NotFound);
    }
    match row.ending {
        Some(before) if before == ending => return Ok(row),
        Some(_) => return Err(DbError::conflict("该交接已结束 / this handover is over")),
        None => {}
    }
    let mut passed = Vec::new();
    if ending == HandoverEnding::Accepted {
        for work in row.works() {
            // What has become somebody else's since, or names the taker now, stays where it is.
            let query = sql("UPDATE work SET assignee = $2, holder = NULL, lease_until = NULL \
                 WHERE id = $1 AND done_at IS NULL AND (holder = $3 OR (assignee = $3 AND (lease_until IS NULL \
                 OR lease_until <= $4))) AND (excluded IS NULL OR excluded <> $2)")
            .bind(work)
            .bind(by)
            .bind(row.giver)
            .bind(now);
            if c.run(query).await? > 0 {
                passed.push(work);
                note(c, work, now, "handed_over", Some(row.giver), &json!({ "to": by, "handover": id })).await?;
            }
        }
    }
    let passed = (ending == HandoverEnding::Accepted).then(|| bulk::ids(passed.into_iter()));
    let query = sql("UPDATE handover SET ended_at = $2, ending = $3, ended_signature = $4, passed = $5 WHERE id = $1")
        .bind(id)
        .bind(now)
        .bind(ending)
        .bind(sign(&row.ended_text(by, ending, now, passed.as_deref())))
        .bind(passed);
    c.run(query).await?;
    c.one(select_handover!("WHERE id = $1").bind(id)).await
}

/// A handover to give.
#[derive(Debug, Clone)]
pub struct NewHandover {
    /// Row id, known beforehand for the audit.
    pub id: Id,
    /// Who gives.
    pub giver: Id,
    /// Who is to take.
    pub taker: Id,
    /// Whether they lead shifts.
    pub taker_leads: bool,
    /// What the giver wants known.
    pub note: Option<String>,
    /// Figures of the moment, beside the open work.
    pub figures: Value,
}

impl Store {
    /// Open work somebody has in hand, in the order it is to be done.
    ///
    /// # Errors
    /// As any read.
    pub async fn work_own(&self, who: Id) -> Result<Vec<OwnWork>> {
        own(&mut self.reader().await?, who).await
    }

    /// Gives what is open to another person. Until they take it, it stays the giver's.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when one of theirs is open, too much is, or the taker may not have some of it.
    pub async fn handover_give(&self, new: NewHandover, sign: Sign, now: i64) -> Result<Handover> {
        limits::text("note", new.note.as_deref().unwrap_or_default(), SHORT_TEXT_CHARS_MAX)?;
        if new.giver == new.taker {
            return Err(DbError::conflict("不能交接给自己 / hand over to somebody else"));
        }
        self.write(move |c| Box::pin(give(c, new, sign, now))).await
    }

    /// Ends a handover. Accepted: the work passes to the taker in the same commit. Again: nothing changes.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when it isn't theirs to end so; [`DbError::Conflict`] when it ended otherwise.
    pub async fn handover_end(&self, id: Id, by: Id, ending: HandoverEnding, sign: Sign, now: i64) -> Result<Handover> {
        self.write(move |c| Box::pin(end(c, id, by, ending, sign, now))).await
    }

    /// One handover.
    ///
    /// # Errors
    /// As any read.
    pub async fn handover_get(&self, id: Id) -> Result<Option<Handover>> {
        self.reader().await?.opt(select_handover!("WHERE id = $1").bind(id)).await
    }

    /// Handovers, newest first; with `of`, those this person gave or was to take.
    ///
    /// # Errors
    /// As any read.
    pub async fn handovers(&self, of: Option<Id>, before: Option<i64>, limit: i64) -> Result<Vec<Handover>> {
        let query = select_handover!(
            "WHERE ($1 IS NULL OR giver = $1 OR taker = $1) AND ($2 IS NULL OR n < $2) ORDER BY n DESC LIMIT $3"
        );
        self.reader().await?.all(query.bind(of).bind(before).bind(limits::page(limit))).await
    }

    /// Of works that handovers name, those this person must not know of (回避): they are named in them or in another
    /// work of the item, or somebody is and they don't supervise.
    ///
    /// # Errors
    /// As any read.
    pub async fn handover_hidden(&self, who: Id, supervises: bool, works: &[Id]) -> Result<Vec<Id>> {
        macro_rules! select {
            ($listed:expr) => {
                concat!(
                    "SELECT w.id FROM work w WHERE w.id ",
                    $listed,
                    " AND (w.excluded IS NOT NULL AND (w.excluded = $2 OR NOT $3) OR EXISTS (SELECT 1 FROM work x \
                     WHERE x.item = w.item AND x.excluded IS NOT NULL AND (x.excluded = $2 OR NOT $3)))"
                )
            };
        }
        if works.is_empty() {
            return Ok(Vec::new());
        }
        let query = sql_each(select!("IN (SELECT value FROM json_each($1))"), select!(pg_listed!()))
            .bind(bulk::ids(works.iter().copied()))
            .bind(who)
            .bind(supervises);
        let rows: Vec<crate::claim::IdRow> = self.reader().await?.all(query).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Whether every handover still follows from the one before. Rows cut off at the end are found through the
    /// counter.
    ///
    /// # Errors
    /// As any read.
    pub async fn handovers_verify(&self, sign: impl Fn(&str) -> String) -> Result<crate::audit::ChainCheck> {
        let counter = sql("SELECT value FROM counter WHERE name = $1").bind(COUNTER);
        let issued = self.reader().await?.opt::<(i64,)>(counter).await?.map_or(0, |(value,)| value);
        let mut check = crate::audit::ChainCheck::default();
        let mut prev = String::new();
        loop {
            let query =
                select_handover!("WHERE n > $1 ORDER BY n LIMIT $2").bind(check.count).bind(limits::PAGE_LEN_MAX);
            let rows: Vec<Handover> = self.reader().await?.all(query).await?;
            if rows.is_empty() {
                let first_broken = (check.count < issued).then_some(check.count + 1);
                return Ok(crate::audit::ChainCheck { first_broken, ..check });
            }
            for row in rows {
                if row.n != check.count + 1 || row.prev_hash != prev || !row.is_genuine(&sign) {
                    return Ok(crate::audit::ChainCheck { first_broken: Some(check.count + 1), ..check });
                }
                check.count = row.n;
                prev = row.hash;
            }
        }
    }
}
