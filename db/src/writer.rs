//! SQLite's one writer: a thread that gathers the waiting jobs into one commit.
//!
//! A commit with `synchronous=FULL` waits for the disk; on a busy disk that is most of a
//! transaction's time. Whatever queued up during one commit goes into the next one together;
//! while jobs come in crowds, commits keep a distance ([`WRITE_PACE`]), and a lone job never waits. Each job but the first runs inside a savepoint, so a job
//! that fails takes nothing with it. Answers leave after the commit.

use std::{future::Future, pin::Pin, time::Instant};

use tokio::sync::{mpsc, oneshot};

use crate::{
    conn::Conn,
    error::{DbError, Result},
    limits::{WRITE_CROWD_LEN, WRITE_GROUP_LEN_MAX, WRITE_PACE},
    lite::Lite,
    sql::sql,
};

/// A boxed future bound to the connection it borrows.
pub(crate) type Fut<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// Tells the caller its result, once the fate of the commit is known.
type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

/// What a job did: whether its changes stay, and the answer to give.
struct Done {
    keep: bool,
    answer: Answer,
}

/// A job; instead of the connection it may get the reason why there is none.
type Work = Box<dyn for<'c> FnOnce(Result<&'c mut Conn>) -> Fut<'c, Done> + Send>;

enum Message {
    Job(Work),
    Close(oneshot::Sender<()>),
}

/// The writer's door.
#[derive(Clone)]
pub(crate) struct Writer {
    inbox: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the thread on its connection. Called inside a runtime: jobs are futures, though
    /// their statements never wait.
    pub(crate) fn start(conn: Lite) -> std::io::Result<Self> {
        let (inbox, messages) = mpsc::channel(crate::limits::WRITE_QUEUE_LEN_MAX);
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("db-writer".into())
            .spawn(move || runtime.block_on(serve(Conn::SqliteWriter(conn), messages)))?;
        Ok(Self { inbox })
    }

    /// Runs `work` in a transaction and waits for its commit. If the caller goes away meanwhile,
    /// the work is still done.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> Fut<'c, Result<T>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel::<Result<T>>();
        let job: Work = Box::new(move |conn| {
            Box::pin(async move {
                let result = match conn {
                    Ok(conn) => work(conn).await,
                    Err(error) => Err(error),
                };
                let keep = result.is_ok();
                let answer: Answer = Box::new(move |commit| {
                    let answer = match commit {
                        Err(why) if result.is_ok() => Err(DbError::Commit(why)),
                        _ => result,
                    };
                    // A caller that went away needs no answer.
                    let _ = tell.send(answer);
                });
                Done { keep, answer }
            })
        });
        let queued = self.inbox.send_timeout(Message::Job(job), crate::limits::ACQUIRE_TIMEOUT);
        queued.await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => DbError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => DbError::Closed,
        })?;
        told.await.unwrap_or(Err(DbError::Closed))
    }

    /// Finishes what is queued before this call and closes the connection.
    pub(crate) async fn close(&self) {
        let (tell, told) = oneshot::channel();
        if self.inbox.send(Message::Close(tell)).await.is_ok() {
            let _ = told.await;
        }
    }
}

async fn serve(mut conn: Conn, mut messages: mpsc::Receiver<Message>) {
    let mut closing = None;
    let mut pace = Pace::default();
    while closing.is_none() {
        match messages.recv().await {
            Some(Message::Job(work)) => {
                pace.wait();
                let jobs;
                (closing, jobs) = group(&mut conn, work, &mut messages).await;
                pace.note(jobs);
            }
            Some(Message::Close(tell)) => closing = Some(tell),
            None => break,
        }
    }
    messages.close();
    if let Conn::SqliteWriter(c) = conn
        && let Err(error) = c.close()
    {
        tracing::warn!(%error, "the writer connection did not close cleanly");
    }
    if let Some(tell) = closing {
        let _ = tell.send(());
    }
}

/// Spreads commits while many jobs come.
#[derive(Default)]
struct Pace {
    next_at: Option<Instant>,
    begun_at: Option<Instant>,
}

impl Pace {
    /// Sleeps on the writer's own thread until the next commit may begin.
    fn wait(&mut self) {
        if let Some(left) = self.next_at.and_then(|at| at.checked_duration_since(Instant::now())) {
            std::thread::sleep(left);
        }
        self.begun_at = Some(Instant::now());
    }

    fn note(&mut self, jobs: usize) {
        self.next_at = self.begun_at.filter(|_| jobs >= WRITE_CROWD_LEN).map(|at| at + WRITE_PACE);
    }
}

/// One transaction: `first` and whatever waits behind it. Returns the sender of a close request
/// that was met on the way, and the number of jobs committed.
async fn group(
    conn: &mut Conn,
    first: Work,
    messages: &mut mpsc::Receiver<Message>,
) -> (Option<oneshot::Sender<()>>, usize) {
    if let Err(error) = conn.run(sql("BEGIN IMMEDIATE")).await {
        let done = first(Err(error)).await;
        (done.answer)(Ok(()));
        return (None, 0);
    }
    let done = first(Ok(&mut *conn)).await;
    if !done.keep {
        // Alone in the transaction so far: undo it whole.
        roll_back(conn).await;
        (done.answer)(Ok(()));
        return (None, 0);
    }
    let mut answers = vec![done.answer];
    let mut closing = None;
    let mut broken = None;
    while answers.len() < WRITE_GROUP_LEN_MAX && broken.is_none() {
        match messages.try_recv() {
            Ok(Message::Job(work)) => match in_savepoint(conn, work).await {
                (answer, Ok(())) => answers.push(answer),
                (answer, Err(error)) => {
                    answers.push(answer);
                    broken = Some(error);
                }
            },
            Ok(Message::Close(tell)) => {
                closing = Some(tell);
                break;
            }
            Err(_) => break,
        }
    }
    let outcome = match broken {
        None => conn.run(sql("COMMIT")).await.map(|_| ()),
        Some(error) => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::error!(%error, jobs = answers.len(), "a group of writes was not committed");
        roll_back(conn).await;
    }
    let jobs = answers.len();
    for answer in answers {
        answer(outcome.as_ref().copied().map_err(ToString::to_string));
    }
    (closing, jobs)
}

/// Runs a further job of a group. An error here means that the engine threw the whole
/// transaction away (disk full, I/O error), with the jobs before it.
async fn in_savepoint(conn: &mut Conn, work: Work) -> (Answer, Result<()>) {
    if let Err(error) = conn.run(sql("SAVEPOINT job")).await {
        let done = work(Err(DbError::Commit(error.to_string()))).await;
        return (done.answer, Err(error));
    }
    let done = work(Ok(&mut *conn)).await;
    if !done.keep
        && let Err(error) = conn.run(sql("ROLLBACK TO job")).await
    {
        return (done.answer, Err(error));
    }
    let released = conn.run(sql("RELEASE job")).await.map(|_| ());
    (done.answer, released)
}

async fn roll_back(conn: &mut Conn) {
    // Fails when the engine already rolled back by itself, which is what we want.
    let _ = conn.run(sql("ROLLBACK")).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A writer on a fresh table, and a second connection to look at it.
    async fn stage(folder: &tempfile::TempDir) -> (Writer, Conn) {
        let path = folder.path().join("t.db");
        std::fs::File::create(&path).unwrap();
        let connect = || Lite::open(&path, Duration::ZERO).unwrap();
        let mut writer = connect();
        writer.run(sql("CREATE TABLE t (n INTEGER PRIMARY KEY)")).unwrap();
        (Writer::start(writer).unwrap(), Conn::SqliteWriter(connect()))
    }

    async fn add(writer: &Writer, n: i64) -> Result<()> {
        writer
            .write(move |c| {
                Box::pin(async move {
                    c.run(sql("INSERT INTO t VALUES ($1)").bind(n)).await?;
                    if n < 0 { Err(DbError::NotFound) } else { Ok(()) }
                })
            })
            .await
    }

    async fn rows(conn: &mut Conn) -> Vec<i64> {
        let all: Vec<(i64,)> = conn.all(sql("SELECT n FROM t ORDER BY n")).await.unwrap();
        all.into_iter().map(|(n,)| n).collect()
    }

    /// Holds the writer inside a job until the sender speaks, so that others queue up behind it.
    fn hold(writer: &Writer, n: i64) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
        let (go, wait) = oneshot::channel();
        let writer = writer.clone();
        let held = tokio::spawn(async move {
            writer
                .write(move |c| {
                    Box::pin(async move {
                        c.run(sql("INSERT INTO t VALUES ($1)").bind(n)).await?;
                        let _ = wait.await;
                        Ok(())
                    })
                })
                .await
        });
        (go, held)
    }

    async fn queued(writer: &Writer, len: usize) {
        while writer.inbox.max_capacity() - writer.inbox.capacity() < len {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_waits_shares_a_commit_and_a_failing_job_falls_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut look) = stage(&folder).await;
        let (go, held) = hold(&writer, 1);
        let (a, b, c) = (writer.clone(), writer.clone(), writer.clone());
        let behind = tokio::spawn(async move { tokio::join!(add(&a, 2), add(&b, -3), add(&c, 4)) });
        queued(&writer, 3).await;
        assert_eq!(rows(&mut look).await, [0; 0], "nothing is seen before the commit");
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
        // The first answer leaves after the commit of all of them.
        assert_eq!(rows(&mut look).await, [1, 2, 4]);
        let (two, three, four) = behind.await.unwrap();
        assert!(two.is_ok() && four.is_ok());
        assert!(matches!(three, Err(DbError::NotFound)));
    }

    #[tokio::test]
    async fn when_the_engine_drops_the_transaction_everyone_in_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut look) = stage(&folder).await;
        let (go, held) = hold(&writer, 1);
        let (a, b) = (writer.clone(), writer.clone());
        let doomed = tokio::spawn(async move {
            a.write(|c| {
                Box::pin(async move {
                    // As SQLite does by itself on a full disk.
                    c.run(sql("ROLLBACK")).await?;
                    Err::<(), _>(DbError::Busy)
                })
            })
            .await
        });
        queued(&writer, 1).await;
        let after = tokio::spawn(async move { add(&b, 2).await });
        queued(&writer, 2).await;
        go.send(()).unwrap();
        assert!(matches!(held.await.unwrap(), Err(DbError::Commit(_))));
        assert!(matches!(doomed.await.unwrap(), Err(DbError::Busy)));
        assert!(after.await.unwrap().is_ok(), "the next group starts afresh");
        assert_eq!(rows(&mut look).await, [2]);
    }

    #[tokio::test]
    async fn a_file_locked_by_another_process_is_busy_and_then_fine() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut other) = stage(&folder).await;
        other.run(sql("BEGIN IMMEDIATE")).await.unwrap();
        assert!(matches!(add(&writer, 1).await, Err(DbError::Busy)));
        other.run(sql("ROLLBACK")).await.unwrap();
        add(&writer, 1).await.unwrap();
    }

    #[tokio::test]
    async fn closing_finishes_what_was_queued_and_refuses_what_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut look) = stage(&folder).await;
        let (go, held) = hold(&writer, 1);
        let (a, b) = (writer.clone(), writer.clone());
        let before = tokio::spawn(async move { add(&a, 2).await });
        queued(&writer, 1).await;
        let closing = tokio::spawn(async move { b.close().await });
        queued(&writer, 2).await;
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
        before.await.unwrap().unwrap();
        closing.await.unwrap();
        assert!(matches!(add(&writer, 3).await, Err(DbError::Closed)));
        writer.close().await;
        assert_eq!(rows(&mut look).await, [1, 2]);
    }

    #[test]
    fn a_lone_job_waits_for_no_pace_and_a_crowd_does() {
        let mut pace = Pace::default();
        pace.wait();
        pace.note(WRITE_CROWD_LEN - 1);
        assert_eq!(pace.next_at, None);
        pace.note(WRITE_CROWD_LEN);
        assert_eq!(pace.next_at, pace.begun_at.map(|at| at + WRITE_PACE));
        pace.wait();
        pace.note(1);
        assert_eq!(pace.next_at, None);
    }
}
