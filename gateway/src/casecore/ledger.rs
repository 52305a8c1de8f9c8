//! The embedded ledger: a small case system for sites that have none, and for every test.

use hotline_db::{DbError, Handoff, HandoffKind, LedgerCommand, Store};

use super::contract::{CaseCore, DeliverError, Receipt, StatusEvent};
use crate::clock::now_ms;

/// Events fetched at once.
const BATCH: i64 = 200;

/// The ledger's tables behind the contract.
pub struct Ledger {
    store: Store,
}

impl Ledger {
    /// On the gateway's own database.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }
}

fn failed(e: DbError) -> DeliverError {
    match e {
        DbError::NotFound => DeliverError::Permanent("no such case".into()),
        DbError::Conflict(why) => DeliverError::Permanent(why),
        e => DeliverError::Transient(e.to_string()),
    }
}

impl CaseCore for Ledger {
    fn target(&self) -> &'static str {
        "ledger"
    }

    async fn deliver(&self, row: &Handoff) -> Result<Receipt, DeliverError> {
        let at = now_ms();
        if row.kind == HandoffKind::Create {
            let (case_no, _) =
                self.store.ledger_create(&row.idempotency_key, &row.payload, at).await.map_err(failed)?;
            return Ok(Receipt { case_no });
        }
        let case_no = row.case_no.clone().ok_or_else(|| DeliverError::Permanent("the item has no case yet".into()))?;
        let command = match row.kind {
            HandoffKind::Close => LedgerCommand::Close,
            HandoffKind::Reopen => LedgerCommand::Reopen,
            _ => LedgerCommand::Remind,
        };
        self.store.ledger_command(&row.idempotency_key, &case_no, command, None, at).await.map_err(failed)?;
        Ok(Receipt { case_no })
    }

    async fn find(&self, key: &str) -> Result<Option<Receipt>, DeliverError> {
        Ok(self.store.ledger_find(key).await.map_err(failed)?.map(|case| Receipt { case_no: case.case_no }))
    }

    async fn events_after(&self, cursor: &str) -> Result<(Vec<StatusEvent>, String), DeliverError> {
        let after = cursor.parse().unwrap_or(0);
        let rows = self.store.ledger_events_after(after, BATCH).await.map_err(failed)?;
        let next = rows.last().map_or(after, |e| e.seq);
        let events = rows
            .into_iter()
            .map(|e| StatusEvent {
                event_id: e.event_id,
                case_no: e.case_no,
                stage: e.stage,
                at: e.at,
                note: e.note.unwrap_or_default(),
            })
            .collect();
        Ok((events, next.to_string()))
    }
}
