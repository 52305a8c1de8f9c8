//! The queue's decisions as rows.

use hotline_db::{DbError, Id, QueueEntry, QueueRow, Store};
use tokio::sync::mpsc;
use tracing::warn;

/// Row changes waiting for the database; beyond it the oldest state of a row is simply overwritten later.
const ROWS_QUEUE_MAX: usize = 16_384;
/// Changes gathered into one commit.
const ROWS_GATHERED_MAX: usize = 256;

pub(super) enum Row {
    Enter { call: String, queue: String, lane: &'static str, at: i64 },
    Update { call: String, state: &'static str },
    Leave { call: String },
    State { operator: String, state: &'static str, reason: String, at: i64 },
}

/// Rows follow the decisions in order, off the owner's path: a slow database never holds up a call.
pub(super) fn write_rows(store: Store, node: String) -> mpsc::Sender<Row> {
    let (tx, mut rx) = mpsc::channel::<Row>(ROWS_QUEUE_MAX);
    tokio::spawn(async move {
        let mut gathered = Vec::with_capacity(ROWS_GATHERED_MAX);
        while rx.recv_many(&mut gathered, ROWS_GATHERED_MAX).await > 0 {
            let mut of_calls = Vec::new();
            for row in gathered.drain(..) {
                if let Row::State { operator, state, reason, at } = row {
                    // An operator's state keeps its place among the calls it came from.
                    write_calls(&store, &mut of_calls).await;
                    report(write_state(&store, &operator, state, &reason, at).await);
                } else {
                    match of_call(&node, row) {
                        Ok(row) => of_calls.extend(row),
                        Err(e) => report(Err(e)),
                    }
                }
            }
            write_calls(&store, &mut of_calls).await;
        }
    });
    tx
}

fn of_call(node: &str, row: Row) -> Result<Option<QueueRow>, DbError> {
    Ok(match row {
        Row::Enter { call, queue, lane, at } => Some(QueueRow::Enter(QueueEntry {
            call: parse(&call)?,
            queue,
            lane: lane.into(),
            state: "waiting".into(),
            entered_at: at,
            node: node.to_owned(),
            operator: None,
        })),
        Row::Update { call, state } => Some(QueueRow::Update { call: parse(&call)?, state: state.into() }),
        Row::Leave { call } => Some(QueueRow::Leave(parse(&call)?)),
        Row::State { .. } => None,
    })
}

async fn write_calls(store: &Store, rows: &mut Vec<QueueRow>) {
    let rows = std::mem::take(rows);
    if rows.is_empty() {
        return;
    }
    match store.queue_rows(rows.clone()).await {
        // One call nobody knows must not take the others along.
        Err(DbError::NotFound) => {
            for row in rows {
                report(store.queue_rows(vec![row]).await);
            }
        }
        outcome => report(outcome),
    }
}

async fn write_state(store: &Store, operator: &str, state: &'static str, reason: &str, at: i64) -> Result<(), DbError> {
    let state = state.parse().map_err(|_| DbError::NotFound)?;
    let reason = Some(reason).filter(|r| !r.is_empty());
    store.operator_state_set(parse(operator)?, state, reason, at).await.map(drop)
}

fn report(outcome: Result<(), DbError>) {
    if let Err(e) = outcome {
        warn!(error = %e, "queue row");
    }
}

fn parse(id: &str) -> Result<Id, DbError> {
    id.parse().map_err(|_| DbError::NotFound)
}
