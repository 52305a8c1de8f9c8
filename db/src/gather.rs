//! PostgreSQL's gatherers: what waits goes into one transaction, on a connection of their own, so that
//! nobody waits for one of the pool's behind everything else.
//!
//! The order of arrival is one counter, held until the commit, and so is the counter of a day's items: with
//! a transaction each, messages and items would wait for the disk alone and in turn. SQLite's writer gathers
//! by itself.

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use crate::{
    conn::Conn,
    error::{DbError, Result},
    fence::Slip,
    limits::WRITE_QUEUE_LEN_MAX,
    pg::PgLink,
    writer::Fut,
};

/// A job, the leave it has where it needs one, and who waits for its fate.
struct Waiting<J, T> {
    job: J,
    slip: Option<Slip>,
    tell: oneshot::Sender<Result<T>>,
}

impl<J, T> Waiting<J, T> {
    /// Whether it may be done: an earlier one of its door may have gone elsewhere by now.
    fn is_valid(&self) -> bool {
        self.slip.as_ref().map_or_else(|| !self.tell.is_closed(), Slip::is_valid)
    }

    /// Its fate; what is to be tried again elsewhere takes those behind it along.
    fn answer(self, fate: Result<T>) {
        if let Some(slip) = self.slip.filter(|_| fate.as_ref().err().is_none_or(DbError::is_lasting)) {
            slip.done();
        }
        // A caller that went away needs no answer.
        let _ = self.tell.send(fate);
    }
}

/// Does all jobs of a group in one transaction; an answer for each, in their order.
pub(crate) type Work<J, T> = for<'c> fn(&'c mut Conn, Vec<J>) -> Fut<'c, Result<Vec<T>>>;

/// A gatherer's door.
pub(crate) struct Gather<J, T> {
    inbox: mpsc::Sender<Waiting<J, T>>,
}

impl<J: Clone + Send + 'static, T: Send + 'static> Gather<J, T> {
    /// Starts the task; it ends with its last door.
    pub(crate) fn start(pool: PgPool, group_len_max: usize, work: Work<J, T>) -> Self {
        let (inbox, mut waiting) = mpsc::channel::<Waiting<J, T>>(WRITE_QUEUE_LEN_MAX);
        tokio::spawn(async move {
            let mut group = Vec::new();
            while waiting.recv_many(&mut group, group_len_max).await > 0 {
                if !take(&pool, work, std::mem::take(&mut group)).await {
                    // The same fate for all that wait: a later one must not get in ahead of these.
                    refuse(std::iter::from_fn(|| waiting.try_recv().ok()));
                }
            }
        });
        Self { inbox }
    }

    /// Does a job with whatever else waits; one whose leave has ended, or whose caller went away, before its turn
    /// is left out.
    pub(crate) async fn take(&self, job: J, slip: Option<Slip>) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let queued = self.inbox.send_timeout(Waiting { job, slip, tell }, crate::limits::ACQUIRE_TIMEOUT);
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
    error.is_transient() && !matches!(error, DbError::Deadlock) || matches!(error, DbError::Sqlx(e) if is_stopping(e))
}

/// Does a group; `false` if the database is away.
async fn take<J: Clone, T>(pool: &PgPool, work: Work<J, T>, mut group: Vec<Waiting<J, T>>) -> bool {
    if group.len() > 1 {
        match commit(pool, work, &mut group).await {
            Ok(taken) => {
                for (waiting, taken) in group.into_iter().zip(taken) {
                    waiting.answer(Ok(taken));
                }
                return true;
            }
            Err(error) if is_away(&error) => {
                tracing::warn!(%error, jobs = group.len(), "a group of writes was not committed");
                refuse(group);
                return false;
            }
            // One of them is refused: it must take no other with it.
            Err(_) => {}
        }
    }
    let mut left = group.into_iter();
    while let Some(waiting) = left.next() {
        let mut alone = vec![waiting];
        let taken = commit(pool, work, &mut alone).await;
        let away = taken.as_ref().err().is_some_and(is_away);
        if let Some(waiting) = alone.pop() {
            waiting.answer(taken.and_then(|taken| taken.into_iter().next().ok_or(DbError::NotFound)));
        }
        if away {
            refuse(left);
            return false;
        }
    }
    true
}

fn refuse<J, T>(group: impl IntoIterator<Item = Waiting<J, T>>) {
    for waiting in group {
        waiting.answer(Err(DbError::Busy));
    }
}

/// Does the jobs that still may be done; the others are told and leave the group.
async fn commit<J: Clone, T>(pool: &PgPool, work: Work<J, T>, group: &mut Vec<Waiting<J, T>>) -> Result<Vec<T>> {
    let mut conn = Conn::PgTx(PgLink::begin(pool).await?);
    // Looked at only now: the connection may have been long in coming.
    refuse(group.extract_if(.., |waiting| !waiting.is_valid()));
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let done = work(&mut conn, group.iter().map(|waiting| waiting.job.clone()).collect()).await;
    conn.end(done).await
}
