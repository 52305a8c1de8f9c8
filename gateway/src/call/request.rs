//! What people ask of a call, whichever gateway drives it and whichever they sit at.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::control::{Control, ControlError, LeaderWish, Outcome, Wish};

/// Asked by somebody who is signed in; a leader's right to ask is judged where they are signed in, an operator's where
/// the call is driven.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Of one's own talk.
    Operator {
        /// What.
        wish: Wish,
        /// `Idempotency-Key`, made this person's own.
        key: Option<String>,
    },
    /// Of somebody's call.
    Leader(LeaderWish),
}

impl Request {
    /// Hands it to a call's driver and waits for what holds then.
    ///
    /// # Errors
    /// As [`ControlError`] says; [`ControlError::Gone`] of a driver that ended meanwhile.
    pub async fn ask(self, control: mpsc::Sender<Box<Control>>, user: String) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let command = match self {
            Self::Operator { wish, key } => Control::Operator { user, wish, key, reply },
            Self::Leader(wish) => Control::Leader { user, wish, reply },
        };
        control.send(Box::new(command)).await.map_err(|_| ControlError::Gone)?;
        outcome.await.map_err(|_| ControlError::Gone)?
    }
}
