//! What the console is told as it happens: numbered, bounded, resumable, and only to whom it concerns.
//!
//! Events are hints: the rows say what holds. So they live in memory, and who missed some is told to read again.

pub mod limits;
mod stream;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use hotline_db::{Id, WorkPerson};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::clock::now_ms;

/// Of an event after which a reader begins anew.
const RESET: &str = "reset";

/// Whom an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Everybody who works with citizens.
    Staff,
    /// Shift leaders.
    Leaders,
    /// One person.
    Person(Id),
    /// One person, and shift leaders.
    PersonAndLeaders(Id),
}

/// Something that happened. `data` holds ids, numbers and masks, never a citizen's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Order in this process, from 1.
    #[serde(skip)]
    pub seq: u64,
    /// When, epoch ms.
    pub at: i64,
    /// `work`, `work_late`, `red` …
    pub kind: Cow<'static, str>,
    /// Whom it concerns.
    pub audience: Audience,
    /// Who must not know (回避).
    pub excluded: Option<Id>,
    /// Details.
    pub data: Value,
}

impl Event {
    /// Whether this person may know.
    #[must_use]
    pub fn concerns(&self, who: WorkPerson) -> bool {
        self.excluded != Some(who.id)
            && match self.audience {
                Audience::Staff => true,
                Audience::Leaders => who.leader,
                Audience::Person(id) => id == who.id,
                Audience::PersonAndLeaders(id) => id == who.id || who.leader,
            }
    }
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last number seen.
    pub seq: u64,
    /// Whether some were missed before it.
    pub missed: bool,
}

struct Kept {
    next: u64,
    events: VecDeque<Arc<Event>>,
    streams: HashMap<Id, usize>,
    /// On their way to other gateways; absent: there are none.
    outgoing: Option<Outgoing>,
}

/// Events other gateways' readers may have to be told of.
#[derive(Debug, Default, PartialEq)]
pub struct Outgoing {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// Some were left out before them.
    pub missed: bool,
}

/// The events of this process.
pub struct Events {
    /// Tells the numbers of this run from those of another.
    run: String,
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    has_outgoing: Notify,
}

impl Default for Events {
    fn default() -> Self {
        // Of gateways started together no two may have one name.
        Self::new(rand::random())
    }
}

impl Events {
    /// `run` names the run in ids.
    #[must_use]
    pub fn new(run: u64) -> Self {
        let kept = Kept { next: 1, events: VecDeque::new(), streams: HashMap::new(), outgoing: None };
        let run = format!("{run:x}");
        Self { run, kept: Mutex::new(kept), newest: watch::Sender::new(0), has_outgoing: Notify::new() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whom it concerns, at whichever gateway they are; never waits. Call it after the commit of what it tells of.
    pub fn publish(&self, kind: &'static str, audience: Audience, excluded: Option<Id>, data: Value) {
        let event = self.keep(Event { seq: 0, at: now_ms(), kind: kind.into(), audience, excluded, data });
        let mut kept = self.kept();
        if let Some(outgoing) = kept.outgoing.as_mut() {
            if outgoing.events.len() >= limits::KEPT_MAX {
                *outgoing = Outgoing { events: Vec::new(), missed: true };
            }
            outgoing.events.push(event);
            drop(kept);
            self.has_outgoing.notify_one();
        }
    }

    /// The same of what every gateway finds out by itself: the readers here are told.
    pub fn publish_here(&self, kind: &'static str, audience: Audience, excluded: Option<Id>, data: Value) {
        self.keep(Event { seq: 0, at: now_ms(), kind: kind.into(), audience, excluded, data });
    }

    /// Another gateway tells.
    pub fn hear(&self, event: Event) {
        self.keep(event);
    }

    fn keep(&self, mut event: Event) -> Arc<Event> {
        let mut kept = self.kept();
        event.seq = kept.next;
        kept.next += 1;
        if kept.events.len() >= limits::KEPT_MAX {
            kept.events.pop_front();
        }
        let (seq, event) = (event.seq, Arc::new(event));
        kept.events.push_back(Arc::clone(&event));
        drop(kept);
        self.newest.send_replace(seq);
        event
    }

    /// Something of another gateway's may be missing: every reader gets `reset` and a snapshot.
    pub fn begin_anew(&self) {
        self.publish_here(RESET, Audience::Staff, None, json!({}));
    }

    /// From now on events are kept for other gateways until [`Self::take_outgoing`].
    pub fn tell_others(&self) {
        self.kept().outgoing.get_or_insert_default();
    }

    /// Until there is something for other gateways.
    pub async fn outgoing(&self) {
        self.has_outgoing.notified().await;
    }

    /// What happened here since this was asked last.
    #[must_use]
    pub fn take_outgoing(&self) -> Outgoing {
        self.kept().outgoing.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The id of an event as a client sees and returns it.
    #[must_use]
    pub fn id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.run)
    }

    /// Where a reader goes on who has seen `last_id`; without one, at the newest.
    #[must_use]
    pub fn resume(&self, last_id: Option<&str>) -> Cursor {
        let kept = self.kept();
        let newest = kept.next - 1;
        let Some(last_id) = last_id else { return Cursor { seq: newest, missed: false } };
        let seen = last_id.split_once('-').filter(|(run, _)| *run == self.run).and_then(|(_, n)| n.parse().ok());
        let oldest = kept.events.front().map_or(kept.next, |e| e.seq);
        match seen {
            // The next one is still here, or hasn't happened.
            Some(seq) if seq <= newest && seq + 1 >= oldest => Cursor { seq, missed: false },
            _ => Cursor { seq: newest, missed: true },
        }
    }

    /// What came after `cursor` and concerns `who`, oldest first, and where that leaves the cursor.
    #[must_use]
    pub fn after(&self, cursor: u64, who: WorkPerson) -> (Vec<Arc<Event>>, Cursor) {
        let kept = self.kept();
        let newest = kept.next - 1;
        let oldest = kept.events.front().map_or(kept.next, |e| e.seq);
        if cursor + 1 < oldest {
            return (Vec::new(), Cursor { seq: newest, missed: true });
        }
        let skip = usize::try_from(cursor + 1 - oldest).unwrap_or(usize::MAX);
        let news = kept.events.iter().skip(skip).filter(|e| e.concerns(who)).cloned().collect();
        (news, Cursor { seq: newest, missed: false })
    }

    /// One more stream of this person, until the ticket is dropped; `None` at a limit.
    #[must_use]
    pub fn admit(self: &Arc<Self>, who: WorkPerson) -> Option<Ticket> {
        let mut kept = self.kept();
        let all: usize = kept.streams.values().sum();
        let own = kept.streams.entry(who.id).or_default();
        if all >= limits::STREAMS_MAX || *own >= limits::STREAMS_PER_USER_MAX {
            return None;
        }
        *own += 1;
        Some(Ticket { events: Arc::clone(self), who })
    }
}

/// A stream's place.
pub struct Ticket {
    events: Arc<Events>,
    who: WorkPerson,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut kept = self.events.kept();
        if let Some(own) = kept.streams.get_mut(&self.who.id) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                kept.streams.remove(&self.who.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(leader: bool) -> WorkPerson {
        WorkPerson { id: Id::new(), leader }
    }

    #[test]
    fn each_is_told_what_concerns_them_and_nothing_else() {
        let events = Events::new(1);
        let (x, y, boss) = (person(false), person(false), person(true));
        events.publish("a", Audience::Staff, None, json!({}));
        events.publish("b", Audience::Leaders, None, json!({}));
        events.publish("c", Audience::Person(x.id), None, json!({}));
        events.publish("d", Audience::Staff, Some(x.id), json!({}));
        let kinds = |who| events.after(0, who).0.iter().map(|e| e.kind.clone()).collect::<String>();
        assert_eq!((kinds(x), kinds(y), kinds(boss)), ("ac".into(), "ad".into(), "abd".into()));
        assert_eq!(events.after(0, x).1, Cursor { seq: 4, missed: false });
        assert!(events.after(4, x).0.is_empty());
    }

    #[test]
    fn who_comes_back_goes_on_or_is_told_to_read_again() {
        let events = Events::new(1);
        let who = person(false);
        assert_eq!(events.resume(None), Cursor { seq: 0, missed: false });
        for _ in 0..10 {
            events.publish("a", Audience::Staff, None, json!({}));
        }
        assert_eq!(events.resume(Some(&events.id(7))), Cursor { seq: 7, missed: false });
        assert_eq!(events.after(7, who).0.len(), 3);
        assert_eq!(events.resume(Some(&events.id(10))), Cursor { seq: 10, missed: false });
        for odd in ["", "7", "2-7", "1-x", "1-11", "1-18446744073709551615", "1-99999999999999999999"] {
            assert_eq!(events.resume(Some(odd)), Cursor { seq: 10, missed: true }, "{odd}");
        }
        for _ in 0..limits::KEPT_MAX {
            events.publish("b", Audience::Staff, None, json!({}));
        }
        assert!(!events.resume(Some(&events.id(10))).missed, "the eleventh is the oldest kept");
        assert!(events.resume(Some(&events.id(9))).missed);
        assert_eq!(events.after(9, who), (Vec::new(), Cursor { seq: 10 + limits::KEPT_MAX as u64, missed: true }));
        assert_eq!(events.after(10, who).0.len(), limits::KEPT_MAX);
    }

    #[test]
    fn what_another_gateway_tells_goes_to_the_readers_here_and_no_further() {
        let (events, who) = (Events::new(1), person(true));
        events.publish("a", Audience::Leaders, None, json!({}));
        events.tell_others();
        let other = Events::new(2);
        other.tell_others();
        events.publish("b", Audience::Leaders, None, json!({"n": 1}));
        events.publish_here("c", Audience::Leaders, None, json!({}));
        let outgoing = events.take_outgoing();
        assert_eq!(outgoing.events.iter().map(|e| e.kind.clone()).collect::<String>(), "b");
        assert!(events.take_outgoing().events.is_empty(), "told once");
        let sent = serde_json::to_vec(&outgoing.events).unwrap();
        for event in serde_json::from_slice::<Vec<Event>>(&sent).unwrap() {
            other.hear(event);
        }
        let heard = other.after(0, who).0;
        assert_eq!((heard.len(), heard[0].seq, &heard[0].data), (1, 1, &json!({"n": 1})));
        assert_eq!(heard[0].at, outgoing.events[0].at, "when it happened");
        assert_eq!(other.take_outgoing(), Outgoing::default());
        for _ in 0..=limits::KEPT_MAX {
            events.publish("d", Audience::Leaders, None, json!({}));
        }
        let outgoing = events.take_outgoing();
        assert_eq!((outgoing.events.len(), outgoing.missed), (1, true), "who takes nothing misses some, and is told");
    }

    #[test]
    fn streams_are_counted_by_person() {
        let events = Arc::new(Events::new(1));
        let who = person(false);
        let mut tickets: Vec<_> = (0..limits::STREAMS_PER_USER_MAX).map(|_| events.admit(who).unwrap()).collect();
        assert!(events.admit(who).is_none());
        assert!(events.admit(person(false)).is_some());
        tickets.pop();
        assert!(events.admit(who).is_some());
        drop(tickets);
        assert!(events.kept().streams.is_empty());
    }
}
