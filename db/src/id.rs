//! Row ids: UUIDv7, sortable by time of creation.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a row: a UUIDv7 (RFC 9562 §5.7), stored as its 36-character lower-case text, so that
/// text order is creation order within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Uuid);

/// The text is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057 is expected")]
pub struct ParseIdError;

impl Id {
    /// A fresh id; later calls in this process give greater ids.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a default value that differs each time misleads")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When the id was made, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn created_at(&self) -> i64 {
        let bytes = self.0.as_bytes();
        bytes[..6].iter().fold(0_i64, |ms, byte| (ms << 8) | i64::from(*byte))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError)
    }
}

crate::text::text_column!(Id);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_creation_also_as_text() {
        let ids: Vec<Id> = (0..1_000).map(|_| Id::new()).collect();
        assert!(ids.windows(2).all(|w| w[0] < w[1] && w[0].to_string() < w[1].to_string()));
    }

    #[test]
    fn an_id_survives_text_and_tells_its_time() {
        let id = Id::new();
        assert_eq!(id.to_string().parse::<Id>(), Ok(id));
        assert!(id.created_at() > 1_700_000_000_000);
    }

    #[test]
    fn hostile_text_is_refused() {
        for text in ["", "1", "01890a5d-ac96-774b-bcce-b302099a805g", "' OR 1=1 --", "\0"] {
            assert_eq!(text.parse::<Id>(), Err(ParseIdError));
        }
    }
}
