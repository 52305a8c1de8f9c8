//! Ids picked by a claim.

use sqlx::FromRow;

use crate::id::Id;

/// One id, alone in its row.
#[derive(FromRow)]
pub(crate) struct IdRow {
    pub(crate) id: Id,
}

crate::lite::row!(IdRow { id });
