//! A connection of PostgreSQL's pool, and what happens to one nobody knows the state of.
//!
//! sqlx sets nothing by which a socket would notice that the other host is gone, and asks a connection given
//! back how it is, without a limit: one whose host died would never come back, and take its place along.

use std::future::Future;

use sqlx::{Executor, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{runtime::Handle, time::error::Elapsed};

use crate::{
    error::{DbError, Result},
    limits,
};

/// A connection that goes back to the pool only if nothing of it is under way; else it is closed, and the server
/// rolls back what was open.
pub(crate) struct PgLink {
    conn: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
    in_statement: bool,
}

impl PgLink {
    /// One for reading.
    pub(crate) async fn reader(pool: &PgPool) -> Result<Self> {
        Ok(Self { conn: Some(pool.acquire().await?), in_transaction: false, in_statement: false })
    }

    /// One inside a transaction.
    pub(crate) async fn begin(pool: &PgPool) -> Result<Self> {
        let mut link = Self::reader(pool).await?;
        link.in_transaction = true;
        link.command("BEGIN").await?;
        Ok(link)
    }

    /// Commits, or rolls back.
    pub(crate) async fn end(mut self, commits: bool) -> Result<()> {
        self.command(if commits { "COMMIT" } else { "ROLLBACK" }).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// The connection for one statement; [`Self::leave`] takes its answer.
    pub(crate) fn enter(&mut self) -> Result<&mut PgConnection> {
        self.in_statement = true;
        self.conn.as_deref_mut().ok_or(DbError::Closed)
    }

    /// A statement's answer.
    pub(crate) fn leave<T>(&mut self, answer: Answer<T>) -> Result<T> {
        let answer = answer.unwrap_or_else(|_| {
            tracing::warn!(after = ?patience(), "PostgreSQL doesn't answer: its connection is closed");
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
        });
        let is_cut = matches!(&answer, Err(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)));
        self.in_statement = is_cut;
        Ok(answer?)
    }

    async fn command(&mut self, words: &'static str) -> Result<()> {
        let answer = within(self.enter()?.execute(words)).await;
        self.leave(answer).map(|_| ())
    }
}

impl Drop for PgLink {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if self.in_transaction || self.in_statement {
            drop(conn.detach());
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(limits::RELEASE_WAIT, conn.return_to_pool()));
        }
    }
}

/// What came of a statement, or nothing in time.
pub(crate) type Answer<T> = Result<Result<T, sqlx::Error>, Elapsed>;

/// Waits for a statement's answer for as long as there is hope.
pub(crate) async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Answer<T> {
    tokio::time::timeout(patience(), statement).await
}

#[cfg(test)]
tokio::task_local! {
    /// A shorter wait for a test that sits it out.
    static PATIENCE: std::time::Duration;
}

fn patience() -> std::time::Duration {
    #[cfg(test)]
    if let Ok(shorter) = PATIENCE.try_with(|wait| *wait) {
        return shorter;
    }
    limits::STATEMENT_WAIT
}

/// What the server does by itself: it drops a client that went silent, whatever that one holds, and gives up on a
/// statement or a lock that takes too long.
pub(crate) const SESSION: &str = concat!(
    "SELECT set_config(name, value, false) FROM (VALUES ",
    // A gateway that lost its power in the middle of a transaction held everybody's next number for hours.
    "('idle_in_transaction_session_timeout', '5s'), ('tcp_user_timeout', '10s'), ",
    "('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '2'), ",
    "('lock_timeout', '10s'), ('statement_timeout', '30s'), ",
    // Machine code pays for reports over millions of rows; these statements read some hundreds.
    "('jit', 'off')) AS wanted (name, value) ",
    "WHERE name IN (SELECT name FROM pg_settings)",
);

#[cfg(test)]
mod tests {
    use std::{str::FromStr, time::Duration};

    use sqlx::postgres::PgConnectOptions;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::watch,
    };

    use super::PATIENCE;
    use crate::{explain::Asked, limits, pool::Store};

    /// A way to PostgreSQL whose open connections freeze at a sign; new ones pass.
    async fn freezing(to: String) -> (u16, watch::Sender<u32>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (freeze, frozen) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&to).await.unwrap();
                let (a, b) = (near.into_split(), far.into_split());
                for (mut from, mut into) in [(a.0, b.1), (b.0, a.1)] {
                    let mut frozen = frozen.clone();
                    frozen.borrow_and_update();
                    tokio::spawn(async move {
                        let mut octets = [0; 8_192];
                        loop {
                            tokio::select! {
                                biased;
                                _ = frozen.changed() => std::future::pending::<()>().await,
                                read = from.read(&mut octets) => match read {
                                    Ok(n) if n > 0 => into.write_all(&octets[..n]).await.unwrap(),
                                    _ => return,
                                }
                            }
                        }
                    });
                }
            }
        });
        (port, freeze)
    }

    #[tokio::test]
    async fn connections_whose_host_went_away_without_a_word_are_given_up() {
        for asked in Asked::both().await {
            if let Some(url) = asked.url() {
                given_up(url).await;
            }
            asked.close().await;
        }
    }

    async fn given_up(url: &str) {
        let options = PgConnectOptions::from_str(url).unwrap();
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let (port, freeze) = freezing(place.clone()).await;
        let store = Store::open(&url.replace(&place, &format!("127.0.0.1:{port}"))).await.unwrap();
        let mut held = store.reader().await.unwrap();
        store.setting_set("probe", "0").await.unwrap();
        freeze.send(1).unwrap();
        let lost = held.run(crate::sql::sql("SELECT 1"));
        let lost = PATIENCE.scope(Duration::from_millis(100), lost).await;
        assert!(lost.unwrap_err().is_away());
        drop(held);
        // The places of those that never came back are free again.
        let mut all = Vec::new();
        for _ in 0..limits::POSTGRES_CONNECTIONS_MAX {
            all.push(store.reader().await.unwrap());
        }
        drop(all);
        store.setting_set("probe", "2").await.unwrap();
        store.close().await;
    }

    #[tokio::test]
    async fn who_went_silent_in_a_transaction_keeps_nobody_from_the_next_number() {
        for asked in Asked::both().await {
            if let Some(url) = asked.url() {
                let (gone, other) = (Store::open(url).await.unwrap(), Store::open(url).await.unwrap());
                let mut held = gone.transaction().await;
                held.next("arrival").await.unwrap();
                // Longer than the server waits for one that says nothing.
                let next = other.write(|c| Box::pin(async move { c.next("arrival").await }));
                assert_eq!(next.await.unwrap(), 1, "what was begun is undone");
                drop(held);
                gone.close().await;
                other.close().await;
            }
            asked.close().await;
        }
    }
}
