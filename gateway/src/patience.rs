//! Rows that must not be missing are worth patience, however busy the database is.

use std::future::Future;
use std::time::Duration;

use hotline_db::DbError;
use tracing::warn;

/// Pauses before each try.
const PAUSES_MS: [u64; 5] = [0, 200, 1_000, 5_000, 20_000];

/// Tries `write` until it succeeds, fails for good or the pauses are used up. It must be safe to
/// repeat: a commit whose outcome is unknown is tried again too.
pub(crate) async fn patiently<T, F, W>(what: &str, write: F) -> Result<T, DbError>
where
    F: FnMut() -> W,
    W: Future<Output = Result<T, DbError>>,
{
    with_pauses(&PAUSES_MS, what, write).await
}

async fn with_pauses<T, F, W>(pauses_ms: &[u64], what: &str, mut write: F) -> Result<T, DbError>
where
    F: FnMut() -> W,
    W: Future<Output = Result<T, DbError>>,
{
    let mut last = DbError::Busy;
    for &pause_ms in pauses_ms {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        match write().await {
            Err(e) if e.is_transient() => {
                warn!(what, error = %e, "not written, tried again");
                last = e;
            }
            outcome => return outcome,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(answers: Vec<Result<u8, DbError>>) -> (Result<u8, DbError>, usize) {
        let all = answers.len();
        let mut answers = answers.into_iter();
        let outcome = with_pauses(&[0; PAUSES_MS.len()], "test", || std::future::ready(answers.next().unwrap())).await;
        (outcome, all - answers.len())
    }

    #[tokio::test]
    async fn a_busy_database_gets_five_tries_and_a_refusal_none() {
        let busy = || Err(DbError::Busy);
        let commit = || Err(DbError::Commit("disk".into()));
        assert!(matches!(told(vec![busy(), commit(), Ok(7)]).await, (Ok(7), 3)));
        assert!(matches!(told(vec![busy(), busy(), busy(), busy(), busy(), Ok(7)]).await, (Err(DbError::Busy), 5)));
        assert!(matches!(told(vec![Err(DbError::NotFound), Ok(7)]).await, (Err(DbError::NotFound), 1)));
    }
}
