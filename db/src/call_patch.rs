//! New facts for a call that runs.

use crate::{
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    pool::Store,
    sql::sql,
};

/// Fields to set; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Call`")]
pub struct CallPatch {
    pub answer_at: Option<i64>,
    pub queue_at: Option<i64>,
    pub operator_answer_at: Option<i64>,
    pub queue: Option<String>,
    pub operator: Option<Id>,
    pub codec: Option<String>,
    pub stage: Option<String>,
    pub wait_ms: Option<i64>,
    pub wrap_ms: Option<i64>,
    pub mos: Option<f64>,
    pub sip_call_id: Option<String>,
}

impl CallPatch {
    /// This patch and then `later`, as one.
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            answer_at: later.answer_at.or(self.answer_at),
            queue_at: later.queue_at.or(self.queue_at),
            operator_answer_at: later.operator_answer_at.or(self.operator_answer_at),
            queue: later.queue.or(self.queue),
            operator: later.operator.or(self.operator),
            codec: later.codec.or(self.codec),
            stage: later.stage.or(self.stage),
            wait_ms: later.wait_ms.or(self.wait_ms),
            wrap_ms: later.wrap_ms.or(self.wrap_ms),
            mos: later.mos.or(self.mos),
            sip_call_id: later.sip_call_id.or(self.sip_call_id),
        }
    }
}

/// Writes what a patch names and leaves the rest.
pub(crate) async fn apply_patch(c: &mut Conn, call: Id, patch: CallPatch) -> Result<()> {
    let query = sql("UPDATE call SET answer_at = COALESCE($2, answer_at), \
         queue_at = COALESCE($3, queue_at), \
         operator_answer_at = COALESCE($4, operator_answer_at), \
         queue = COALESCE($5, queue), operator = COALESCE($6, operator), \
         codec = COALESCE($7, codec), stage = COALESCE($8, stage), \
         wait_ms = COALESCE($9, wait_ms), wrap_ms = COALESCE($10, wrap_ms), \
         mos = COALESCE($11, mos), sip_call_id = COALESCE($12, sip_call_id) WHERE id = $1")
    .bind(call)
    .bind(patch.answer_at)
    .bind(patch.queue_at)
    .bind(patch.operator_answer_at)
    .bind(patch.queue)
    .bind(patch.operator)
    .bind(patch.codec)
    .bind(patch.stage)
    .bind(patch.wait_ms)
    .bind(patch.wrap_ms)
    .bind(patch.mos)
    .bind(patch.sip_call_id);
    match c.run(query).await? {
        0 => Err(DbError::NotFound),
        _ => Ok(()),
    }
}

impl Store {
    /// Sets fields of a call.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such call.
    pub async fn call_patch(&self, call: Id, patch: CallPatch) -> Result<()> {
        self.write(move |c| Box::pin(apply_patch(c, call, patch))).await
    }
}
