//! What any case core must do for us.

use std::future::Future;

use hotline_db::{CaseStage, Handoff};

use super::{HttpCore, Ledger};

/// The case core took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number for the case.
    pub case_no: String,
}

/// Why a hand-off wasn't delivered, in the terms the outbox acts on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// Surely not taken; trying again is safe and sensible.
    #[error("not taken now: {0}")]
    Transient(String),
    /// It may have been taken: ask before sending again.
    #[error("outcome unknown: {0}")]
    UnknownOutcome(String),
    /// There is no such case, or no such key.
    #[error("not there")]
    NotFound,
    /// Refused for good: a person must look.
    #[error("refused: {0}")]
    Permanent(String),
}

/// A case's news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEvent {
    /// Unique at the case core.
    pub event_id: String,
    /// Case.
    pub case_no: String,
    /// New stage.
    pub stage: CaseStage,
    /// When (epoch ms).
    pub at: i64,
    /// Remark.
    pub note: String,
}

/// A case system the gateway can hand items to.
pub trait CaseCore: Send + Sync {
    /// Name in the outbox rows.
    fn target(&self) -> &'static str;
    /// Carries out one outbox row; repeating it with the same key changes nothing.
    fn deliver(&self, row: &Handoff) -> impl Future<Output = Result<Receipt, DeliverError>> + Send;
    /// Whether a row with this idempotency key was taken before.
    fn find(&self, idempotency_key: &str) -> impl Future<Output = Result<Option<Receipt>, DeliverError>> + Send;
    /// News after `cursor`, and the new cursor.
    fn events_after(
        &self,
        cursor: &str,
    ) -> impl Future<Output = Result<(Vec<StatusEvent>, String), DeliverError>> + Send;
}

/// The configured binding.
pub enum Core {
    /// The embedded ledger.
    Ledger(Ledger),
    /// JSON over HTTP.
    Http(HttpCore),
}

impl CaseCore for Core {
    fn target(&self) -> &'static str {
        match self {
            Self::Ledger(c) => c.target(),
            Self::Http(c) => c.target(),
        }
    }
    async fn deliver(&self, row: &Handoff) -> Result<Receipt, DeliverError> {
        match self {
            Self::Ledger(c) => c.deliver(row).await,
            Self::Http(c) => c.deliver(row).await,
        }
    }
    async fn find(&self, key: &str) -> Result<Option<Receipt>, DeliverError> {
        match self {
            Self::Ledger(c) => c.find(key).await,
            Self::Http(c) => c.find(key).await,
        }
    }
    async fn events_after(&self, cursor: &str) -> Result<(Vec<StatusEvent>, String), DeliverError> {
        match self {
            Self::Ledger(c) => c.events_after(cursor).await,
            Self::Http(c) => c.events_after(cursor).await,
        }
    }
}
