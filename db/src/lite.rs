//! SQLite's write connection, used on the writer's own thread.
//!
//! sqlx gives each SQLite connection a thread and sends every statement there and back: two
//! context switches a statement, more than the statement itself costs. The writer has a thread
//! anyway, so it owns a connection of the same library directly.

use std::{path::Path, time::Duration};

use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, types::Value};

use crate::{
    error::{DbError, Result},
    limits,
    sql::{Arg, Sql},
};

/// A row that can be read here; [`row!`] writes it for a struct beside its `FromRow`.
pub(crate) trait LiteRow: Sized {
    fn from_lite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self>;
}

/// `row!(Name { field, … })`: reads each field from the column of its name.
macro_rules! row {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl crate::lite::LiteRow for $name {
            fn from_lite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
                Ok(Self { $($field: row.get(stringify!($field))?),+ })
            }
        }
    };
}
pub(crate) use row;

macro_rules! tuple_row {
    ($($kind:ident $at:tt),+) => {
        impl<$($kind: rusqlite::types::FromSql),+> LiteRow for ($($kind,)+) {
            fn from_lite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
                Ok(($(row.get::<_, $kind>($at)?,)+))
            }
        }
    };
}
tuple_row!(A 0);
tuple_row!(A 0, B 1);
tuple_row!(A 0, B 1, C 2);
tuple_row!(A 0, B 1, C 2, D 3);
tuple_row!(A 0, B 1, C 2, D 3, E 4);
tuple_row!(A 0, B 1, C 2, D 3, E 4, F 5);

/// The connection.
pub(crate) struct Lite(Connection);

impl Lite {
    /// Opens an existing database file for the writer: WAL, every commit on disk before it returns.
    pub(crate) fn open(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(busy_timeout)?;
        conn.pragma_update(None, "journal_mode", "wal")?;
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        // A savepoint's undo pages must not go through a file.
        conn.pragma_update(None, "temp_store", "memory")?;
        conn.pragma_update(None, "wal_autocheckpoint", limits::WAL_PAGES_MAX)?;
        conn.pragma_update(None, "cache_size", -limits::WRITE_CACHE_KIB)?;
        conn.set_prepared_statement_cache_capacity(limits::STATEMENTS_KEPT_MAX);
        Ok(Self(conn))
    }

    /// Closes it; the last connection to close tidies the write-ahead log away.
    pub(crate) fn close(self) -> rusqlite::Result<()> {
        self.0.close().map_err(|(_, error)| error)
    }

    /// Runs a statement; the number of rows it touched.
    pub(crate) fn run(&mut self, query: Sql) -> Result<u64> {
        let mut statement = self.prepare(query)?;
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        drop(rows);
        drop(statement);
        Ok(self.0.changes())
    }

    /// Every row of the answer.
    pub(crate) fn all<T: LiteRow>(&mut self, query: Sql) -> Result<Vec<T>> {
        let mut statement = self.prepare(query)?;
        let mut rows = statement.raw_query();
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(T::from_lite(row)?);
        }
        Ok(out)
    }

    /// The first row of the answer, if any. The statement runs to its end: an `INSERT … RETURNING`
    /// left in its middle would keep the transaction from committing.
    pub(crate) fn opt<T: LiteRow>(&mut self, query: Sql) -> Result<Option<T>> {
        let mut statement = self.prepare(query)?;
        let mut rows = statement.raw_query();
        let first = match rows.next()? {
            Some(row) => Some(T::from_lite(row)?),
            None => return Ok(None),
        };
        while rows.next()?.is_some() {}
        Ok(first)
    }

    /// Runs statements without arguments.
    #[cfg(test)]
    pub(crate) fn batch(&mut self, statements: &str) {
        self.0.execute_batch(statements).unwrap();
    }

    /// The rows of an answer, and the steps SQLite's machine took for them.
    #[cfg(test)]
    pub(crate) fn steps(&mut self, query: Sql) -> (usize, usize) {
        let mut statement = self.prepare(query).unwrap();
        statement.reset_status(rusqlite::StatementStatus::VmStep);
        let mut rows = statement.raw_query();
        let mut count = 0;
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        drop(rows);
        (count, usize::try_from(statement.get_status(rusqlite::StatementStatus::VmStep)).unwrap_or(usize::MAX))
    }

    /// The statement with its arguments; SQLite numbers `$n` by first appearance, so the name counts.
    fn prepare(&mut self, query: Sql) -> Result<CachedStatement<'_>> {
        let mut statement = self.0.prepare_cached(query.sqlite)?;
        for index in 1..=statement.parameter_count() {
            let name = statement.parameter_name(index).and_then(|name| name.strip_prefix('$'));
            let n = name.and_then(|n| n.parse::<usize>().ok()).unwrap_or(index);
            if let Some(arg) = n.checked_sub(1).and_then(|n| query.args.get(n)) {
                bind(&mut statement, index, arg)?;
            }
        }
        Ok(statement)
    }
}

fn bind(statement: &mut CachedStatement<'_>, index: usize, arg: &Arg) -> rusqlite::Result<()> {
    match arg {
        Arg::Text(v) => statement.raw_bind_parameter(index, v.as_deref()),
        Arg::Int(v) => statement.raw_bind_parameter(index, v),
        Arg::Real(v) => statement.raw_bind_parameter(index, v),
        Arg::Bool(v) => statement.raw_bind_parameter(index, v),
        Arg::Blob(Some(v)) => statement.raw_bind_parameter(index, v.as_slice()),
        Arg::Blob(None) => statement.raw_bind_parameter(index, Value::Null),
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        let Some(failure) = error.sqlite_error() else { return Self::Sqlite(error) };
        match (failure.code, failure.extended_code) {
            (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Self::Conflict(error.to_string()),
            (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::NotFound,
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}
