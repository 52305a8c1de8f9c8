//! Bodies that trickle in: a place for uploads isn't held by who sends next to nothing.

use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout};

/// The sender brought too little in the time it was waited for.
#[derive(Debug, thiserror::Error)]
#[error("the upload is slower than {0} bytes in {1:?}")]
pub(super) struct TooSlow(usize, Duration);

/// What a body may take its time for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Bytes that must have come …
    pub(super) bytes: usize,
    /// … in each span of waiting. Time in which nobody reads doesn't count.
    pub(super) span: Duration,
}

struct Paced<S> {
    body: S,
    pace: Pace,
    waited: Duration,
    brought: usize,
}

/// The body as it comes, and an error once it is too slow.
pub(super) fn paced<S, E>(body: S, pace: Pace) -> impl Stream<Item = Result<Bytes, axum::BoxError>> + Send
where
    S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    E: Into<axum::BoxError>,
{
    let paced = Paced { body, pace, waited: Duration::ZERO, brought: 0 };
    futures::stream::unfold(Some(paced), |paced| async {
        let mut paced = paced?;
        let next = paced.next().await?;
        let rest = next.is_ok().then_some(paced);
        Some((next, rest))
    })
}

impl<S, E> Paced<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<axum::BoxError>,
{
    async fn next(&mut self) -> Option<Result<Bytes, axum::BoxError>> {
        loop {
            let began = Instant::now();
            let left = self.pace.span.saturating_sub(self.waited);
            let chunk = timeout(left, self.body.next()).await;
            self.waited += began.elapsed();
            if let Ok(chunk) = chunk {
                let chunk = chunk?.map_err(Into::into);
                self.brought += chunk.as_ref().map_or(0, Bytes::len);
                return Some(chunk);
            }
            if self.brought < self.pace.bytes {
                return Some(Err(TooSlow(self.pace.bytes, self.pace.span).into()));
            }
            (self.waited, self.brought) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A body of `chunks` of ten bytes, each after so long.
    fn body(chunks: usize, after: Duration) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin {
        Box::pin(futures::stream::unfold(0, move |n| async move {
            if n == chunks {
                return None;
            }
            tokio::time::sleep(after).await;
            Some((Ok(Bytes::from_static(&[0; 10])), n + 1))
        }))
    }

    async fn read(
        body: impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin + Send,
        pace: Pace,
        pause: Duration,
    ) -> Result<usize, String> {
        let mut paced = Box::pin(paced(body, pace));
        let mut read = 0;
        while let Some(chunk) = paced.next().await {
            read += chunk.map_err(|e| e.to_string())?.len();
            tokio::time::sleep(pause).await;
        }
        Ok(read)
    }

    #[tokio::test]
    async fn what_trickles_in_is_broken_off_and_what_is_only_short_is_not() {
        let strict = Pace { bytes: 1_000_000, span: 200 * MS };
        let trickle = read(body(100_000, MS), strict, Duration::ZERO).await;
        assert!(trickle.as_ref().is_err_and(|e| e.contains("slower")), "{trickle:?}");
        assert!(read(body(1, 3_600_000 * MS), strict, Duration::ZERO).await.is_err(), "one that sends nothing");
        let patient = Pace { span: 60_000 * MS, ..strict };
        assert_eq!(read(body(3, MS), patient, Duration::ZERO).await, Ok(30), "over before it counts");
        let modest = Pace { bytes: 1, span: 2_000 * MS };
        assert_eq!(read(body(40, 100 * MS), modest, Duration::ZERO).await, Ok(400), "slow, but always something");
    }

    #[tokio::test]
    async fn time_in_which_nobody_reads_does_not_count() {
        let strict = Pace { bytes: 1_000_000, span: 1_000 * MS };
        assert_eq!(read(body(10, Duration::ZERO), strict, 200 * MS).await, Ok(100));
    }
}
