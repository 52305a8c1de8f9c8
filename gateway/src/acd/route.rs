//! How what is asked and told reaches whoever carries it out: the owner's task here, or the gateway that leads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, warn};

use super::command::{Command, Reply};
use super::handle::{Acd, AcdError};
use super::jobs::{self, Untaken};
use super::owner::Job;
use super::station::{self, Order};

/// Whoever asks for something waits so long for a leader of queues that several gateways share.
pub(crate) const ASK_WITHIN: Duration = Duration::from_secs(8);
/// Whoever only looks.
const SEE_WITHIN: Duration = Duration::from_secs(2);

/// Who carries out what is asked.
#[derive(Clone)]
pub(super) enum Route {
    /// The owner here.
    Owner(jobs::Sender<Job>),
    /// The gateway that leads.
    Station(jobs::Sender<Order>, Arc<station::Figures>),
}

impl Acd {
    pub(super) async fn see(&self, look: Command) -> Result<Reply, AcdError> {
        if let Route::Station(..) = self.route {
            return self.ask_within(look, SEE_WITHIN).await;
        }
        // An owner may die over another's job.
        match self.ask(look.clone()).await {
            Err(AcdError::Unavailable) => self.ask(look).await,
            seen => seen,
        }
    }

    pub(super) async fn ask(&self, command: Command) -> Result<Reply, AcdError> {
        self.ask_within(command, ASK_WITHIN).await
    }

    pub(super) async fn ask_within(&self, command: Command, within: Duration) -> Result<Reply, AcdError> {
        let (reply, answer) = oneshot::channel();
        let answer = match &self.route {
            Route::Owner(jobs) => {
                let job: Job = Box::new(move |now, core| {
                    // Who asked may have gone.
                    let _ = reply.send(command.run(now, core));
                });
                jobs.send(job).await.map_err(|_| AcdError::Unavailable)?;
                answer.await
            }
            Route::Station(orders, _) => {
                let asked = async {
                    let order = Order { command, reply: Some(reply) };
                    orders.send(order).await.map_err(|_| AcdError::Unavailable)?;
                    Ok::<_, AcdError>(answer.await)
                };
                timeout(within, asked).await.map_err(|_| AcdError::Unavailable)??
            }
        };
        match answer.map_err(|_| AcdError::Unavailable)? {
            Reply::Refused(refused) => Err(refused.into()),
            reply => Ok(reply),
        }
    }

    pub(super) async fn tell(&self, command: Command) {
        let sent = match &self.route {
            Route::Owner(jobs) => jobs.send(job(command)).await,
            Route::Station(orders, _) => {
                // Thousands of words wait for a leader by then: no call's end may hang on that.
                let told = timeout(ASK_WITHIN, orders.send(Order { command, reply: None })).await;
                told.unwrap_or(Err(Untaken::Full))
            }
        };
        if let Err(e) = sent {
            warn!(error = %e, "排队消息未送达 / a message to the queues' owner is lost");
        }
    }

    /// For those who can't wait: in order all the same.
    pub(super) fn post(&self, command: Command) {
        let posted = match &self.route {
            Route::Owner(jobs) => jobs.post(job(command)),
            Route::Station(orders, _) => orders.post(Order { command, reply: None }),
        };
        if let Err(e) = posted {
            error!(error = %e, "排队消息未送达 / a message to the queues' owner is lost");
        }
    }

    /// Kills the owner.
    #[cfg(test)]
    pub(super) async fn kill(&self) {
        if let Route::Owner(jobs) = &self.route {
            jobs.send(Box::new(|_, _| panic!("killed by a test"))).await.unwrap();
        }
    }
}

fn job(command: Command) -> Job {
    Box::new(move |now, core| {
        command.run(now, core);
    })
}
