//! What is looked up in the queues: for lists, for callers, for whoever judges.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hotline_acd::OperatorRef;
use tokio::time::timeout;

use super::command::{Command, Reply};
use super::handle::{Acd, Figures};
use super::route::{ASK_WITHIN, Route};
use super::views::{CallerView, QueueView};

/// After a start the leader is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Acd {
    /// Figures of queues that several gateways share; `None`: this gateway's are its own.
    #[must_use]
    pub fn figures(&self) -> Option<Figures> {
        let Route::Station(_, figures) = &self.route else { return None };
        let of = |n: &AtomicI64| n.load(Ordering::Relaxed);
        Some(Figures { term: of(&figures.term), leads: of(&figures.leads) == 1, lost: of(&figures.lost) })
    }

    /// Place in the queue and the time still to wait in seconds, 0 where nothing was measured yet.
    pub async fn position(&self, call: &str) -> Option<(usize, u64)> {
        let Ok(Reply::Place(place)) = self.see(Command::Position { call: call.to_owned() }).await else { return None };
        let (place, estimate) = place?;
        Some((place, estimate.and_then(|ms| u64::try_from(ms / 1000).ok()).unwrap_or(0)))
    }

    /// All queues for lists; as they were seen last while nobody answers, which must not look like an empty floor.
    pub async fn view(&self) -> Vec<QueueView> {
        let lock = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.see(Command::Queues).await {
            Ok(Reply::Queues(queues)) => {
                lock().clone_from(&queues);
                queues
            }
            _ => lock().clone(),
        }
    }

    /// As [`Self::view`], once it is known who leads, or nobody was found for a while.
    pub async fn led_view(&self) -> Vec<QueueView> {
        let is_led = async {
            while self.figures().is_some_and(|figures| figures.term == 0) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // Without a leader what was seen last will do.
        let _ = timeout(ASK_WITHIN, is_led).await;
        self.view().await
    }

    /// All waiting callers in the order in which they are served; none while the owner doesn't answer.
    pub async fn callers(&self) -> Vec<CallerView> {
        match self.see(Command::Callers).await {
            Ok(Reply::Callers(callers)) => callers,
            _ => Vec::new(),
        }
    }

    /// The person of a phone, as far as they signed in since the start: for when the rows can't be asked.
    pub async fn by_phone(&self, sip_user: &str) -> Option<OperatorRef> {
        match self.see(Command::ByPhone { sip_user: sip_user.to_owned() }).await {
            Ok(Reply::Person(person)) => person,
            _ => None,
        }
    }

    /// The calls an operator's phone rings or talks in, as a guest too.
    pub async fn calls_of(&self, operator: &str) -> Vec<String> {
        match self.see(Command::CallsOf { operator: operator.to_owned() }).await {
            Ok(Reply::Calls(calls)) => calls,
            _ => Vec::new(),
        }
    }

    /// What a signed-in operator was last said to be able to do.
    pub async fn skills_of(&self, operator: &str) -> Option<Vec<(String, u8)>> {
        match self.see(Command::SkillsOf { operator: operator.to_owned() }).await {
            Ok(Reply::Skills(skills)) => skills,
            _ => None,
        }
    }
}
