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
                if !take(&pool, std::mem::take(&mut group)).await {
                    // The same fate for all that wait: a later one must not get in ahead of these.
                    while let Ok((_, tell)) = waiting.try_recv() {
                        let _ = tell.send(Err(DbError::Busy));
                    }
                }
            }
        });
        Self { inbox }
    }

    /// Takes a message with whatever else waits; whose caller went away before its turn is left out.
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

/// Whether the database answers no more: then trying each alone would only let one overtake another.
fn is_away(error: &DbError) -> bool {
    // 57P: the server stops or starts (PostgreSQL, class 57).
    let is_stopping =
        |e: &sqlx::Error| e.as_database_error().is_none_or(|d| d.code().is_some_and(|c| c.starts_with("57P")));
    error.is_transient() || matches!(error, DbError::Sqlx(e) if is_stopping(e))
}

/// Stores a group; `false` if the database is away.
async fn take(pool: &PgPool, mut group: Vec<Waiting>) -> bool {
    // Who went away has done something else with its message.
    group.retain(|(_, tell)| !tell.is_closed());
    if group.len() > 1 {
        match commit(pool, group.iter().map(|(new, _)| new.clone()).collect()).await {
            Ok(taken) => {
                for ((_, tell), taken) in group.into_iter().zip(taken) {
                    // A caller that went away needs no answer.
                    let _ = tell.send(Ok(taken));
                }
                return true;
            }
            Err(error) if is_away(&error) => {
                tracing::warn!(%error, messages = group.len(), "a group of messages was not committed");
                refuse(group);
                return false;
            }
            // One of them is refused: it must take no other with it.
            Err(_) => {}
        }
    }
    let mut left = group.into_iter();
    while let Some((new, tell)) = left.next() {
        let taken = commit(pool, vec![new]).await;
        let away = taken.as_ref().err().is_some_and(is_away);
        let _ = tell.send(taken.and_then(|taken| taken.into_iter().next().ok_or(DbError::NotFound)));
        if away {
            refuse(left);
            return false;
        }
    }
    true
}

fn refuse(group: impl IntoIterator<Item = Waiting>) {
    for (_, tell) in group {
        let _ = tell.send(Err(DbError::Busy));
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
