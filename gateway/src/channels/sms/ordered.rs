//! Work that goes on side by side and began in a fixed order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Futures that are all polled, the oldest first: what they queue up for, they queue up for in the order
/// in which they came. Their results come as they are ready.
pub struct Ordered<T> {
    work: VecDeque<Work<T>>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { work: VecDeque::new() }
    }
}

impl<T> Ordered<T> {
    /// Adds one behind the others.
    pub fn push(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.work.push_back(Box::pin(work));
    }

    /// The next result; never ready while there is no work.
    pub async fn next(&mut self) -> T {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Whether nothing goes on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        for at in 0..self.work.len() {
            let Some(work) = self.work.get_mut(at) else { break };
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                let _ = self.work.remove(at);
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn everything_begins_in_its_order_and_ends_when_it_is_ready() {
        let begun = Arc::new(Mutex::new(Vec::new()));
        let mut ordered = Ordered::default();
        for n in 0..20u64 {
            let begun = Arc::clone(&begun);
            ordered.push(async move {
                begun.lock().unwrap().push(n);
                if n == 0 {
                    tokio::task::yield_now().await;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                n
            });
        }
        let mut ended = Vec::new();
        while !ordered.is_empty() {
            ended.push(ordered.next().await);
        }
        assert_eq!(*begun.lock().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(ended.last(), Some(&0), "the slow one holds nobody up");
    }
}
