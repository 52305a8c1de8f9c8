//! What a store operation can answer instead of its result.

/// The result of a store operation.
pub type Result<T, E = DbError> = std::result::Result<T, E>;

/// Why a store operation did nothing. Whatever the variant, nothing of it was committed, except
/// [`DbError::Commit`], whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The row, or a row it refers to, does not exist.
    #[error("not found")]
    NotFound,
    /// The state of the data contradicts the request (duplicate login, second survey …).
    #[error("conflict: {0}")]
    Conflict(String),
    /// The database did not get to it in time; try again.
    #[error("the database is busy, try again")]
    Busy,
    /// Two writers waited for each other, and this one was sent away; try again.
    #[error("two writers waited for each other, try again")]
    Deadlock,
    /// The lease ended and somebody else took the job over.
    #[error("the lease of this job is lost")]
    LeaseLost,
    /// A value breaks a limit or a format.
    #[error("{field}: {why}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A number range is used up.
    #[error("{0} is used up")]
    Exhausted(&'static str),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The database can't be opened; the text names the remedy.
    #[error("{0}")]
    Open(String),
    /// The commit itself failed: whether the rows are there is unknown until they are read.
    #[error("commit failed: {0}")]
    Commit(String),
    /// Anything else the engine reported.
    #[error("database: {0}")]
    Sqlx(sqlx::Error),
    /// Anything else SQLite's writer reported.
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
}

impl DbError {
    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy | Self::Deadlock | Self::Commit(_) => true,
            Self::Sqlx(error) => {
                matches!(
                    error,
                    sqlx::Error::Io(_)
                        | sqlx::Error::WorkerCrashed
                        | sqlx::Error::PoolTimedOut
                        | sqlx::Error::PoolClosed
                )
            }
            _ => false,
        }
    }

    /// Whether the request itself is at fault: it would be refused again.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NotFound | Self::Conflict(_) | Self::Invalid { .. } | Self::Exhausted(_) => true,
            Self::Sqlx(sqlx::Error::Database(database)) => has_class(database.code().as_deref(), &["22", "23"]),
            Self::Sqlx(sqlx::Error::Encode(_)) => true,
            Self::Sqlite(error) => error.sqlite_error_code().is_none_or(|code| {
                matches!(
                    code,
                    rusqlite::ErrorCode::ConstraintViolation
                        | rusqlite::ErrorCode::TypeMismatch
                        | rusqlite::ErrorCode::TooBig
                )
            }),
            _ => false,
        }
    }

    /// Whether the database, its disk or the way there is at fault, whatever is asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Closed => true,
            // Connection, resources, operator, system.
            Self::Sqlx(sqlx::Error::Database(database)) => {
                has_class(database.code().as_deref(), &["08", "53", "57", "58"])
            }
            Self::Sqlx(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
            ),
            Self::Sqlite(error) => error.sqlite_error_code().is_some_and(|code| {
                matches!(
                    code,
                    rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::SystemIoFailure
                        | rusqlite::ErrorCode::CannotOpen
                        | rusqlite::ErrorCode::ReadOnly
                        | rusqlite::ErrorCode::OutOfMemory
                        | rusqlite::ErrorCode::DatabaseCorrupt
                        | rusqlite::ErrorCode::NotADatabase
                )
            }),
            _ => self.is_transient(),
        }
    }

    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::Conflict(text.into())
    }
}

/// Runs a caller's decision inside a transaction: a bug there must not take the writer down.
pub(crate) fn guarded<T>(decide: impl FnOnce() -> T) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decide))
        .map_err(|_| DbError::conflict("a decision inside the transaction broke off"))
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Database(database) => match database.kind() {
                sqlx::error::ErrorKind::UniqueViolation => Self::Conflict(database.message().to_owned()),
                sqlx::error::ErrorKind::ForeignKeyViolation => Self::NotFound,
                // Deadlock, serialization failure (PostgreSQL, appendix A).
                _ if matches!(database.code().as_deref(), Some("40P01" | "40001")) => Self::Deadlock,
                _ if is_busy(database.code().as_deref()) => Self::Busy,
                _ => Self::Sqlx(error),
            },
            _ => Self::Sqlx(error),
        }
    }
}

/// Of PostgreSQL's error codes (appendix A of its manual).
fn has_class(code: Option<&str>, classes: &[&str]) -> bool {
    code.is_some_and(|code| code.len() == 5 && classes.iter().any(|class| code.starts_with(class)))
}

/// SQLITE_BUSY and SQLITE_LOCKED with their extended codes; lock timeout, too many connections, shutdown and start of PostgreSQL (appendix A of its manual).
fn is_busy(code: Option<&str>) -> bool {
    matches!(
        code,
        Some("5" | "6" | "261" | "262" | "517" | "518" | "773" | "55P03" | "53300" | "57P01" | "57P02" | "57P03")
    )
}
