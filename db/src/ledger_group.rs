//! Cases the embedded ledger is given at once, taken together (PostgreSQL): its events are numbered by one counter,
//! held until the commit, so that each by itself would wait for the disk in turn.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::{
    bulk, case_event::CaseStage, conn::Conn, error::Result, incident::pg_listed, ledger::case_no, sql::sql, writer::Fut,
};

/// A case's number, and whether it is new.
pub(crate) type Taken = (String, bool);

/// A case to take.
#[derive(Clone)]
pub(crate) struct NewCase {
    pub(crate) key: String,
    pub(crate) payload: String,
    pub(crate) at: i64,
}

#[derive(Serialize)]
struct CaseRow<'a> {
    case_no: String,
    key: &'a str,
    payload: &'a str,
    seq: i64,
    event: String,
    at: i64,
}

/// Each case's number, and whether it is new; `None` for one whose key somebody else is about: it is taken by itself.
pub(crate) fn create(c: &mut Conn, jobs: Vec<NewCase>) -> Fut<'_, Result<Vec<Option<Taken>>>> {
    Box::pin(async move {
        let name = |job: &NewCase| format!("ledger:{}", job.key);
        let free = bulk::try_lock(c, jobs.iter().map(name).collect()).await?;
        let keys: Vec<&str> = jobs.iter().map(|job| job.key.as_str()).collect();
        let query =
            sql(concat!("SELECT idempotency_key, case_no FROM ledger_case WHERE idempotency_key ", pg_listed!()));
        let known: Vec<(String, String)> = c.all(query.bind(bulk::rows(&keys)?)).await?;
        let known: HashMap<String, String> = known.into_iter().collect();
        let mut seen = HashSet::new();
        let mut fresh: Vec<&NewCase> = jobs.iter().filter(|job| free.contains(&name(job))).collect();
        fresh.retain(|job| !known.contains_key(&job.key) && seen.insert(job.key.as_str()));
        let mut made: HashMap<&str, String> = insert(c, &fresh).await?;
        Ok(jobs
            .iter()
            .map(|job| match known.get(&job.key) {
                Some(case_no) => Some((case_no.clone(), false)),
                None => made.remove(job.key.as_str()).map(|case_no| (case_no, true)),
            })
            .collect())
    })
}

async fn insert<'a>(c: &mut Conn, fresh: &[&'a NewCase]) -> Result<HashMap<&'a str, String>> {
    let count = i64::try_from(fresh.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Ok(HashMap::new());
    }
    let first_case = c.next_of("ledger_case", count).await?;
    let first_event = c.next_of("ledger_event", count).await?;
    let rows: Vec<CaseRow<'_>> = (0..)
        .zip(fresh)
        .map(|(n, job)| CaseRow {
            case_no: case_no(first_case + n),
            key: &job.key,
            payload: &job.payload,
            seq: first_event + n,
            event: format!("ledger-{}", first_event + n),
            at: job.at,
        })
        .collect();
    let query = sql("WITH r AS MATERIALIZED (SELECT * FROM json_to_recordset(CAST($1 AS JSON)) AS r (case_no TEXT, \
             key TEXT, payload TEXT, seq BIGINT, event TEXT, at BIGINT)), \
         k AS (INSERT INTO ledger_case (case_no, idempotency_key, payload, stage, created_at, updated_at) \
             SELECT case_no, key, payload, $2, at, at FROM r) \
         INSERT INTO ledger_event (seq, event_id, idempotency_key, case_no, command, stage, at) \
         SELECT seq, event, key, case_no, 'create', $2, at FROM r")
    .bind(bulk::rows(&rows)?)
    .bind(CaseStage::Received);
    c.run(query).await?;
    Ok(rows.into_iter().zip(fresh).map(|(row, job)| (job.key.as_str(), row.case_no)).collect())
}
