//! One connection of either engine, and the four verbs every statement goes through.

use sqlx::{
    FromRow, Postgres, Sqlite, SqliteConnection,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{
    error::{DbError, Result},
    lite::{Lite, LiteRow},
    pg::{PgLink, within},
    sql::{Arg, Sql, sql},
};

/// A connection, perhaps inside a transaction.
pub(crate) enum Conn {
    /// SQLite's writer, owned by the writer's thread: its statements never wait.
    SqliteWriter(Lite),
    /// A reader of SQLite.
    SqliteReader(PoolConnection<Sqlite>),
    /// PostgreSQL outside a transaction, for reading.
    PgReader(PgLink),
    /// PostgreSQL inside a transaction, ended by [`Conn::end`]; dropped, it is closed.
    PgTx(PgLink),
}

#[cfg(test)]
tokio::task_local! {
    /// Statements a test counts.
    pub(crate) static STATEMENTS: std::cell::Cell<usize>;
}

enum Link<'a> {
    Lite(&'a mut Lite),
    Sqlite(&'a mut SqliteConnection),
    Pg(&'a mut PgLink),
}

/// A row type both engines can fill.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + LiteRow + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + LiteRow + Send + Unpin {}

fn sqlite_args(args: Vec<Arg>) -> Result<SqliteArguments, sqlx::Error> {
    use sqlx::Arguments;
    let mut out = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Text(v) => out.add(v),
            Arg::Int(v) => out.add(v),
            Arg::Real(v) => out.add(v),
            Arg::Bool(v) => out.add(v),
            Arg::Blob(v) => out.add(v),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

fn pg_args(args: Vec<Arg>) -> Result<PgArguments, sqlx::Error> {
    use sqlx::Arguments;
    let mut out = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Text(v) => out.add(v),
            Arg::Int(v) => out.add(v),
            Arg::Real(v) => out.add(v),
            Arg::Bool(v) => out.add(v),
            Arg::Blob(v) => out.add(v),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

impl Conn {
    fn link(&mut self) -> Link<'_> {
        #[cfg(test)]
        let _ = STATEMENTS.try_with(|count| count.set(count.get() + 1));
        match self {
            Self::SqliteWriter(c) => Link::Lite(c),
            Self::SqliteReader(c) => Link::Sqlite(c),
            Self::PgReader(c) | Self::PgTx(c) => Link::Pg(c),
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::PgReader(_) | Self::PgTx(_))
    }

    /// Every row of the answer.
    pub(crate) async fn all<T: Row>(&mut self, query: Sql) -> Result<Vec<T>> {
        Ok(match self.link() {
            Link::Lite(c) => c.all(query)?,
            Link::Sqlite(c) => {
                let args = sqlite_args(query.args)?;
                sqlx::query_as_with::<Sqlite, T, _>(query.sqlite, args).fetch_all(c).await?
            }
            Link::Pg(c) => {
                let args = pg_args(query.args)?;
                let query = sqlx::query_as_with::<Postgres, T, _>(query.postgres, args).persistent(!query.anew);
                let rows = within(query.fetch_all(c.enter()?)).await;
                c.leave(rows)?
            }
        })
    }

    /// The first row of the answer, if any.
    pub(crate) async fn opt<T: Row>(&mut self, query: Sql) -> Result<Option<T>> {
        Ok(match self.link() {
            Link::Lite(c) => c.opt(query)?,
            Link::Sqlite(c) => {
                let args = sqlite_args(query.args)?;
                sqlx::query_as_with::<Sqlite, T, _>(query.sqlite, args).fetch_optional(c).await?
            }
            Link::Pg(c) => {
                let args = pg_args(query.args)?;
                let query = sqlx::query_as_with::<Postgres, T, _>(query.postgres, args);
                let row = within(query.fetch_optional(c.enter()?)).await;
                c.leave(row)?
            }
        })
    }

    /// The first row, or [`DbError::NotFound`].
    pub(crate) async fn one<T: Row>(&mut self, query: Sql) -> Result<T> {
        self.opt(query).await?.ok_or(DbError::NotFound)
    }

    /// Runs a statement; the number of rows it touched.
    pub(crate) async fn run(&mut self, query: Sql) -> Result<u64> {
        Ok(match self.link() {
            Link::Lite(c) => c.run(query)?,
            Link::Sqlite(c) => {
                let args = sqlite_args(query.args)?;
                sqlx::query_with::<Sqlite, _>(query.sqlite, args).execute(c).await?.rows_affected()
            }
            Link::Pg(c) => {
                let args = pg_args(query.args)?;
                let done = within(sqlx::query_with::<Postgres, _>(query.postgres, args).execute(c.enter()?)).await;
                c.leave(done)?.rows_affected()
            }
        })
    }

    /// Holds `name` for the rest of the transaction, so that a look-up followed by an insert is
    /// one step. SQLite has a single writer: nothing to do there.
    pub(crate) async fn lock(&mut self, name: String) -> Result<()> {
        if !self.is_postgres() {
            return Ok(());
        }
        let query = sql("SELECT pg_advisory_xact_lock(hashtextextended($1, 12345))");
        self.run(query.bind(name)).await.map(|_| ())
    }

    /// Ends a transaction as its work went. Its locks are free when this returns, also after a failure: what is
    /// tried next, or waits for nobody, must not meet them.
    pub(crate) async fn end<T>(self, done: Result<T>) -> Result<T> {
        if let Self::PgTx(tx) = self {
            match &done {
                Ok(_) => tx.end(true).await.map_err(|error| DbError::Commit(error.to_string()))?,
                // Nobody is there to be asked.
                Err(error) if error.is_away() => {}
                Err(_) => tx.end(false).await.unwrap_or_else(|error| tracing::debug!(%error, "a roll back failed")),
            }
        }
        done
    }

    /// The next value of a counter, from 1. The counter's row stays locked until the commit, so
    /// values become visible in their order.
    pub(crate) async fn next(&mut self, counter: &str) -> Result<i64> {
        self.next_of(counter, 1).await
    }

    /// The first of the next `count` values.
    pub(crate) async fn next_of(&mut self, counter: &str, count: i64) -> Result<i64> {
        let (value,): (i64,) = self
            .one(
                sql("INSERT INTO counter (name, value) VALUES ($1, $2) \
                     ON CONFLICT (name) DO UPDATE SET value = counter.value + $2 RETURNING value")
                .bind(counter)
                .bind(count),
            )
            .await?;
        Ok(value - count + 1)
    }
}
