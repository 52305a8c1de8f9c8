//! What passed on the wire of ended calls: one sealed row a call, kept for some days.

use crate::{error::Result, id::Id, limits, pool::Store, sql::sql};

/// A call's trace.
#[derive(Debug, Clone)]
pub struct NewSipTrace {
    /// The call.
    pub call: Id,
    /// Now (epoch ms): its age counts from here.
    pub at: i64,
    /// How many messages it holds.
    pub messages: i64,
    /// The messages, sealed by the caller: they carry telephone numbers.
    pub body: Vec<u8>,
}

impl Store {
    /// Stores traces in one transaction; a call that has one keeps it.
    ///
    /// # Errors
    /// As any write.
    pub async fn sip_traces_put(&self, traces: Vec<NewSipTrace>) -> Result<()> {
        self.write(|c| {
            Box::pin(async move {
                for trace in traces {
                    let insert = sql("INSERT INTO sip_trace (call, at, messages, body) VALUES ($1, $2, $3, $4) \
                                      ON CONFLICT (call) DO NOTHING")
                    .bind(trace.call)
                    .bind(trace.at)
                    .bind(trace.messages)
                    .bind(trace.body);
                    c.run(insert).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The sealed trace of a call.
    ///
    /// # Errors
    /// As any read.
    pub async fn sip_trace_get(&self, call: Id) -> Result<Option<Vec<u8>>> {
        let query = sql("SELECT body FROM sip_trace WHERE call = $1").bind(call);
        Ok(self.reader().await?.opt::<(Vec<u8>,)>(query).await?.map(|(body,)| body))
    }

    /// Deletes at most `limit` traces stored before `before` (epoch ms), oldest first; how many there were.
    ///
    /// # Errors
    /// As any write.
    pub async fn sip_traces_prune(&self, before: i64, limit: i64) -> Result<u64> {
        let delete = sql("DELETE FROM sip_trace WHERE call IN \
                          (SELECT call FROM sip_trace WHERE at < $1 ORDER BY at LIMIT $2)")
        .bind(before)
        .bind(limit.clamp(1, limits::PRUNE_LEN_MAX));
        self.write(|c| Box::pin(async move { c.run(delete).await })).await
    }
}
