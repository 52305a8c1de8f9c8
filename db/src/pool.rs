//! Opening a database and the two paths into it: reading and writing.

use std::{path::Path, str::FromStr, sync::Arc};

use sqlx::{
    Connection, PgPool, SqlitePool,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    conn::Conn,
    conversation_settle::{SettleJob, Settled},
    error::{DbError, Result},
    gather::Gather,
    handoff_group::{self, Delivery},
    ledger_group::{self, NewCase, Taken},
    limits,
    lite::Lite,
    message::{self, MessageTaken, NewMessage},
    settle_group,
    sql::sql,
    writer::{Fut, Writer},
};

/// The engine behind a [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file beside the gateway.
    Sqlite,
    /// A server, shared by several gateways.
    Postgres,
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
}

enum Engine {
    Sqlite { readers: SqlitePool, writer: Writer },
    Postgres(Box<Server>),
}

/// PostgreSQL: connections for everybody, and what gathers on its own.
struct Server {
    pool: PgPool,
    gathering: PgPool,
    messages: Gather<NewMessage, MessageTaken>,
    settling: Gather<SettleJob, Option<Settled>>,
    deliveries: Gather<Delivery, Option<bool>>,
    cases: Gather<NewCase, Option<Taken>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.kind()).finish()
    }
}

impl Store {
    /// Opens `sqlite:///absolute/path`, `sqlite://relative/path` (the file is made if absent) or
    /// `postgres://user:password@host/database`, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError::Open`] with a text that says what to do.
    pub async fn open(url: &str) -> Result<Self> {
        let engine = if url.starts_with("sqlite:") {
            open_sqlite(url).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url).await?
        } else {
            return Err(DbError::Open(
                "the database URL must begin with sqlite:// or postgres:// \
                 (for example sqlite:///var/lib/hotline/hotline.db)"
                    .into(),
            ));
        };
        Ok(Self { engine: Arc::new(engine) })
    }

    /// The engine in use.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match *self.engine {
            Engine::Sqlite { .. } => Kind::Sqlite,
            Engine::Postgres(_) => Kind::Postgres,
        }
    }

    /// Asks the database for a sign of life, on the reading and on the writing path.
    ///
    /// # Errors
    /// Any [`DbError`] when there is none.
    pub async fn ping(&self) -> Result<()> {
        let _: (i64,) = self.reader().await?.one(sql("SELECT CAST(1 AS BIGINT)")).await?;
        self.write(|c| {
            Box::pin(
                async move { c.run(sql("UPDATE counter SET value = value WHERE name = 'ping'")).await.map(|_| ()) },
            )
        })
        .await
    }

    /// Finishes the writes under way and closes every connection. Later calls of any clone get
    /// [`DbError::Closed`].
    pub async fn close(&self) {
        match &*self.engine {
            Engine::Sqlite { readers, writer } => {
                // The writer last: the last connection to close tidies the write-ahead log away.
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(server) => {
                server.gathering.close().await;
                server.pool.close().await;
            }
        }
    }

    /// What gathers messages, where the engine doesn't by itself.
    pub(crate) fn messages_gathered(&self) -> Option<&Gather<NewMessage, MessageTaken>> {
        match &*self.engine {
            Engine::Sqlite { .. } => None,
            Engine::Postgres(server) => Some(&server.messages),
        }
    }

    /// What gathers the steps of conversations, where the engine doesn't by itself.
    pub(crate) fn steps_gathered(&self) -> Option<&Gather<SettleJob, Option<Settled>>> {
        match &*self.engine {
            Engine::Sqlite { .. } => None,
            Engine::Postgres(server) => Some(&server.settling),
        }
    }

    /// What gathers hand-offs that arrived.
    pub(crate) fn deliveries_gathered(&self) -> Option<&Gather<Delivery, Option<bool>>> {
        match &*self.engine {
            Engine::Sqlite { .. } => None,
            Engine::Postgres(server) => Some(&server.deliveries),
        }
    }

    /// What gathers the ledger's new cases.
    pub(crate) fn cases_gathered(&self) -> Option<&Gather<NewCase, Option<Taken>>> {
        match &*self.engine {
            Engine::Sqlite { .. } => None,
            Engine::Postgres(server) => Some(&server.cases),
        }
    }

    /// A connection for reading.
    pub(crate) async fn reader(&self) -> Result<Conn> {
        Ok(match &*self.engine {
            Engine::Sqlite { readers, .. } => Conn::SqliteReader(readers.acquire().await?),
            Engine::Postgres(server) => Conn::PgReader(server.pool.acquire().await?),
        })
    }

    /// A transaction on PostgreSQL that is never committed.
    #[cfg(test)]
    pub(crate) async fn transaction(&self) -> Conn {
        match &*self.engine {
            Engine::Sqlite { .. } => panic!("the writer has its own"),
            Engine::Postgres(server) => Conn::PgTx(server.pool.begin().await.unwrap()),
        }
    }

    /// Runs `work` as one transaction; its result is on disk when this returns `Ok`.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> Fut<'c, Result<T>> + Send + 'static,
    {
        match &*self.engine {
            Engine::Sqlite { writer, .. } => writer.write(work).await,
            Engine::Postgres(server) => {
                let mut conn = Conn::PgTx(server.pool.begin().await?);
                let done = work(&mut conn).await;
                conn.end(done).await
            }
        }
    }
}

async fn open_sqlite(url: &str) -> Result<Engine> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| DbError::Open(format!("the database URL is not valid: {error}")))?;
    let path = options.get_filename().to_owned();
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(DbError::Open(
            "the database must be a file: its reader and writer would each see their own memory".into(),
        ));
    }
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(limits::SQLITE_BUSY_TIMEOUT);
    let mut writer =
        SqliteConnection::connect_with(&options).await.map_err(|error| DbError::Open(sqlite_remedy(&path, &error)))?;
    sqlx::migrate!("./migrations/sqlite").run(&mut writer).await.map_err(|error| migrate_remedy(&error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(limits::SQLITE_READERS_MAX)
        .acquire_timeout(limits::ACQUIRE_TIMEOUT)
        // A file doesn't hang up.
        .test_before_acquire(false)
        .connect_with(options.create_if_missing(false).pragma("query_only", "on"))
        .await
        .map_err(|error| DbError::Open(sqlite_remedy(&path, &error)))?;
    // The tables are up to date: from here on the writer has its own way in.
    writer.close().await.map_err(|error| DbError::Open(sqlite_remedy(&path, &error)))?;
    let writer =
        Lite::open(&path, limits::SQLITE_BUSY_TIMEOUT).map_err(|error| DbError::Open(sqlite_remedy(&path, &error)))?;
    let writer = Writer::start(writer).map_err(|error| DbError::Open(format!("no thread for the writer: {error}")))?;
    Ok(Engine::Sqlite { readers, writer })
}

async fn open_postgres(url: &str) -> Result<Engine> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| DbError::Open(format!("the database URL is not valid: {error}")))?
        .application_name("hotline");
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let pool =
        postgres_pool(limits::POSTGRES_CONNECTIONS_MAX).connect_with(options.clone()).await.map_err(|error| {
            DbError::Open(format!(
                "no connection to PostgreSQL at {place}: {error}; check that the server runs and \
             that user, password and database of the URL exist"
            ))
        })?;
    sqlx::migrate!("./migrations/postgres").run(&pool).await.map_err(|error| migrate_remedy(&error))?;
    let gathering = postgres_pool(limits::POSTGRES_GATHERERS).connect_lazy_with(options);
    let messages = Gather::start(gathering.clone(), limits::MESSAGE_GROUP_LEN_MAX, message::take_group);
    let settling = Gather::start(gathering.clone(), limits::SETTLE_GROUP_LEN_MAX, settle_group::settle_group);
    let deliveries = Gather::start(gathering.clone(), limits::HANDOFF_GROUP_LEN_MAX, handoff_group::delivered);
    let cases = Gather::start(gathering.clone(), limits::HANDOFF_GROUP_LEN_MAX, ledger_group::create);
    Ok(Engine::Postgres(Box::new(Server { pool, gathering, messages, settling, deliveries, cases })))
}

fn postgres_pool(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(limits::ACQUIRE_TIMEOUT)
        // A connection in use shows by itself that it is gone; asking first would double the short look-ups.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for >= limits::CONNECTION_TRUSTED {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|conn, _| {
            // Machine code pays for reports over millions of rows; these statements read some hundreds.
            let off = "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'";
            Box::pin(async move { sqlx::query(off).execute(conn).await.map(|_| ()) })
        })
}

fn sqlite_remedy(path: &Path, error: &dyn std::error::Error) -> String {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = path.display();
    if folder.is_dir() {
        format!(
            "the database {shown} can't be opened: {error}; check that it is a SQLite file and \
             that this user may write to it and to its folder"
        )
    } else {
        format!(
            "the database {shown} can't be opened: the folder {} does not exist; create it and \
             let this user write to it",
            folder.display()
        )
    }
}

fn migrate_remedy(error: &MigrateError) -> DbError {
    DbError::Open(match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => format!(
            "the database was written by another version of this program ({error}); start the \
             version that wrote it, or a newer one"
        ),
        _ => format!("the tables could not be brought up to date: {error}"),
    })
}
