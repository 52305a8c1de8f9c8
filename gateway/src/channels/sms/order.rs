//! A text on its way from the sender to a line's driver, and what becomes of those no driver takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::limits::TURN_AWAY_MS;
use super::line::{LineState, Outcome, Text};

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Whether a text may leave: its driver begins or whoever wanted it gives up, never both. So what waited too
/// long may go elsewhere without a second copy leaving here.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Arc<AtomicU8>);

impl Ticket {
    /// To be asked before its first octet is handed on; `false`: nobody wants it any more, so it mustn't leave.
    #[must_use]
    pub fn begin(&self) -> bool {
        match self.0.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(is) => is == BEGUN,
        }
    }

    fn give_up(&self) -> bool {
        match self.0.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(is) => is == GIVEN_UP,
        }
    }
}

/// Gives up when whoever waits is gone, whatever the reason.
#[derive(Debug, Default)]
pub(super) struct Wanted(Ticket);

impl Wanted {
    /// The driver's side.
    pub(super) fn ticket(&self) -> Ticket {
        self.0.clone()
    }

    /// `true`: nothing of it left, and nothing will.
    pub(super) fn give_up(&self) -> bool {
        self.0.give_up()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let _ = self.0.give_up();
    }
}

/// A text for a driver.
#[derive(Debug)]
pub struct Order {
    /// The text.
    pub text: Text,
    /// To be asked before it leaves.
    pub ticket: Ticket,
    /// Told what became of it. Dropped without a word: [`Outcome::Unknown`], or not sent if it wasn't begun.
    pub reply: oneshot::Sender<Outcome>,
}

impl Order {
    /// Hands it back before it was begun.
    pub fn turn_away(self, why: &str) {
        let _ = self.reply.send(Outcome::NotSent { error: why.to_owned() });
    }
}

/// Hands back what waits for a line without connections, or for one that stops: another line may take it.
pub(super) async fn turn_away(feed: &Mutex<mpsc::Receiver<Order>>, state: &LineState, cancel: CancellationToken) {
    loop {
        let is_over = tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(TURN_AWAY_MS)) => false,
            () = cancel.cancelled() => true,
        };
        if is_over || state.links() == 0 {
            let mut feed = feed.lock().await;
            if is_over {
                feed.close();
            }
            while let Ok(order) = feed.try_recv() {
                order.turn_away("链路中断 / no connection");
            }
        }
        if is_over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Pii;

    fn order() -> (Order, oneshot::Receiver<Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let text = Text {
            to: Pii::new("+8613812345678".into()),
            text: Pii::new("已受理".into()),
            template: String::new(),
            params: serde_json::Value::Null,
            reference: 1,
            expires_at: 0,
        };
        (Order { text, ticket: Ticket::default(), reply }, outcome)
    }

    #[tokio::test]
    async fn what_waits_for_a_line_whose_last_connection_fell_goes_elsewhere() {
        let (orders, feed) = mpsc::channel(4);
        let (feed, state, cancel) =
            (Arc::new(Mutex::new(feed)), Arc::new(LineState::default()), CancellationToken::new());
        state.link_up();
        let (first, mut outcome) = order();
        orders.send(first).await.unwrap();
        let task = {
            let (feed, state, cancel) = (Arc::clone(&feed), Arc::clone(&state), cancel.clone());
            tokio::spawn(async move { turn_away(&feed, &state, cancel).await })
        };
        tokio::time::sleep(Duration::from_millis(TURN_AWAY_MS + TURN_AWAY_MS / 2)).await;
        assert!(outcome.try_recv().is_err(), "the connection takes it when it has room");
        state.link_down("cut");
        assert!(matches!(outcome.await.unwrap(), Outcome::NotSent { .. }));
        state.link_up();
        let (second, outcome) = order();
        orders.send(second).await.unwrap();
        cancel.cancel();
        assert!(matches!(outcome.await.unwrap(), Outcome::NotSent { .. }), "the gateway stops");
        task.await.unwrap();
        assert!(orders.is_closed());
    }
}
