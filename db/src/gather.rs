//! PostgreSQL's gatherer of messages: what waits goes into one transaction.
//!
//! The order of arrival is one counter, held until the commit; with a transaction a message, each
//! would wait for the disk alone and in turn. SQLite's writer gathers by itself.

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use crate::{
    conn::Conn,
    error::{DbError, Result},
    limits::{MESSAGE_GROUP_LEN_MAX, WRITE_QUEUE_LEN_MAX},
    message::{self, MessageTaken, NewMessage},
};

type Waiting = (NewMessage, oneshot::Sender<Result<MessageTaken>>);

/// The gatherer's door.
#[derive(Clone)]
pub(crate) struct Gather {
    inbox: mpsc::Sender<Waiting>,
}

impl Gather {
    /// Starts the task; it ends with its last door.
    pub(crate) fn start(pool: PgPool) -> Self {
        let (inbox, mut waiting) = mpsc::channel::<Waiting>(WRITE_QUEUE_LEN_MAX);
        tokio::spawn(async move {
            let mut group = Vec::new();
            while waiting.recv_many(&mut group, MESSAGE_GROUP_LEN_MAX).await > 0 {
                take(&pool, std::mem::take(&mut group)).await;
            }
        });
        Self { inbox }
    }

    /// Takes a message with whatever else waits; if the caller goes away, it is still taken.
    pub(crate) async fn take(&self, new: NewMessage) -> Result<MessageTaken> {
        let (tell, told) = oneshot::channel();
        let queued = self.inbox.send_timeout((new, tell), crate::limits::ACQUIRE_TIMEOUT);
        queued.await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => DbError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => DbError::Closed,
        })?;
        told.await.unwrap_or(Err(DbError::Closed))
    }
}

async fn take(pool: &PgPool, mut group: Vec<Waiting>) {
    if group.len() > 1 {
        match commit(pool, group.iter().map(|(new, _)| new.clone()).collect()).await {
            Ok(taken) => {
                for ((_, tell), taken) in group.into_iter().zip(taken) {
                    // A caller that went away needs no answer.
                    let _ = tell.send(Ok(taken));
                }
                return;
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, messages = group.len(), "a group of messages was not committed");
                for (_, tell) in group {
                    let _ = tell.send(Err(DbError::Busy));
                }
                return;
            }
            // One of them is refused: it must take no other with it.
            Err(_) => {}
        }
    }
    for (new, tell) in group.drain(..) {
        let taken = commit(pool, vec![new]).await;
        let _ = tell.send(taken.and_then(|taken| taken.into_iter().next().ok_or(DbError::NotFound)));
    }
}

async fn commit(pool: &PgPool, new: Vec<NewMessage>) -> Result<Vec<MessageTaken>> {
    let mut conn = Conn::PgTx(pool.begin().await?);
    let taken = message::take_all(&mut conn, new).await?;
    if let Conn::PgTx(tx) = conn {
        tx.commit().await.map_err(|error| DbError::Commit(error.to_string()))?;
    }
    Ok(taken)
}
