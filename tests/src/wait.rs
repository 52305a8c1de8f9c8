//! Waiting for a condition instead of sleeping for a guessed time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{Error, Result};

/// Time between two looks of [`until`].
const LOOK_EVERY_MS: u64 = 20;

/// Waits this long or longer are for things that come: a slow machine may stretch them. Shorter ones often
/// watch that something does not come, and stay as they are.
const STRETCHED_FROM_MS: u64 = 4_000;
/// Most a wait is stretched.
const PATIENCE_MAX: u32 = 10;

/// How many times longer than a quiet machine this one may take: `HOTLINE_TEST_PATIENCE` (1 to 10, default 1).
#[must_use]
pub fn patience() -> u32 {
    let times = std::env::var("HOTLINE_TEST_PATIENCE").ok().and_then(|t| t.parse().ok()).unwrap_or(1);
    u32::clamp(times, 1, PATIENCE_MAX)
}

/// A wait's limit on this machine.
pub(crate) fn patient(timeout_ms: u64) -> Duration {
    let times = if timeout_ms < STRETCHED_FROM_MS { 1 } else { patience() };
    Duration::from_millis(timeout_ms) * times
}

/// Looks every 20 ms until `look` returns something, for at most `timeout_ms`.
///
/// # Errors
/// [`Error::Timeout`] with `what` when nothing came in time.
pub async fn until<T, F, Fut>(what: &str, timeout_ms: u64, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + patient(timeout_ms);
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
    timeout(patient(timeout_ms), future).await.map_err(|_| Error::Timeout { what: what.into(), after_ms: timeout_ms })
}
