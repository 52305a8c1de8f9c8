//! A statement written once for both engines: text with `$n`, arguments by type.
//!
//! sqlx's own `Any` driver refuses several column types, and generic functions over `Database`
//! drown in bounds; a list of five argument kinds is all this store needs. NULLs keep their type,
//! which PostgreSQL needs to plan `$1 IS NULL`.

/// One argument of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
    Real(Option<f64>),
    Bool(Option<bool>),
    Blob(Option<Vec<u8>>),
}

/// A statement with its arguments.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
    pub(crate) args: Vec<Arg>,
    /// Planned for these very arguments on PostgreSQL, each time.
    pub(crate) anew: bool,
}

/// A statement that is the same on both engines.
pub(crate) fn sql(text: &'static str) -> Sql {
    Sql { sqlite: text, postgres: text, args: Vec::new(), anew: false }
}

/// A statement that differs.
pub(crate) fn sql_each(sqlite: &'static str, postgres: &'static str) -> Sql {
    Sql { sqlite, postgres, args: Vec::new(), anew: false }
}

/// A SELECT that takes rows for itself: PostgreSQL locks them and passes over those another
/// claimer holds; SQLite has a single writer and needs nothing.
macro_rules! sql_claim {
    ($($part:expr),+) => {
        crate::sql::sql_each(concat!($($part),+), concat!($($part),+, " FOR UPDATE SKIP LOCKED"))
    };
}
pub(crate) use sql_claim;

impl Sql {
    /// Has PostgreSQL plan it for these arguments each time: a plan kept for any of them goes by averages, and reads
    /// most of a table for a value that is rare. Costs some tenths of a millisecond.
    pub(crate) fn planned_anew(mut self) -> Self {
        self.anew = true;
        self
    }

    /// Adds the next `$n`.
    pub(crate) fn bind(mut self, value: impl Into<Arg>) -> Self {
        self.args.push(value.into());
        self
    }
}

macro_rules! arg {
    ($($from:ty => $kind:ident),+ $(,)?) => {$(
        impl From<$from> for Arg {
            fn from(value: $from) -> Self {
                Self::$kind(Some(value.into()))
            }
        }

        impl From<Option<$from>> for Arg {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map(Into::into))
            }
        }
    )+};
}

arg! {
    &str => Text,
    String => Text,
    i64 => Int,
    f64 => Real,
    bool => Bool,
    Vec<u8> => Blob,
}
