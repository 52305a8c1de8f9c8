//! Waiting for a condition instead of sleeping for a guessed time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{Error, Result};

/// Time between two looks of [`until`].
const LOOK_EVERY_MS: u64 = 20;

/// Looks every 20 ms until `look` returns something, for at most `timeout_ms`.
///
/// # Errors
/// [`Error::Timeout`] with `what` when nothing came in time.
pub async fn until<T, F, Fut>(what: &str, timeout_ms: u64, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout { what: what.into(), after_ms: timeout_ms });
        }
        sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
    }
}

/// Awaits `future` for at most `timeout_ms`.
///
/// # Errors
/// [`Error::Timeout`] with `what` when it isn't ready in time.
pub async fn within<T>(what: &str, timeout_ms: u64, future: impl Future<Output = T>) -> Result<T> {
    timeout(Duration::from_millis(timeout_ms), future)
        .await
        .map_err(|_| Error::Timeout { what: what.into(), after_ms: timeout_ms })
}
