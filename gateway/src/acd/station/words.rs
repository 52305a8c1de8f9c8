//! What was said or asked here and isn't answered yet. It is kept, whoever leads: also a word this gateway's own
//! owner was to carry out is said again to the next leader, if its turn hadn't come.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use hotline_acd::Core;
use tokio::sync::oneshot;

use super::super::command::{Command, Reply};
use super::Order;

/// Words not answered; further ones wait at their senders.
const WORDS_MAX: usize = 4_096;

/// Whom the answer goes to, if anybody: the first one counts.
#[derive(Clone, Default)]
struct Asker(Option<Arc<Mutex<Option<oneshot::Sender<Reply>>>>>);

impl Asker {
    fn of(reply: Option<oneshot::Sender<Reply>>) -> Self {
        Self(reply.map(|reply| Arc::new(Mutex::new(Some(reply)))))
    }

    /// `None`: whoever asks hears that the queue doesn't answer.
    fn answer(&self, reply: Option<Reply>) {
        let Some(to) = &self.0 else { return };
        let to = to.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(to), Some(reply)) = (to, reply) {
            // Who asked may have gone.
            let _ = to.send(reply);
        }
    }

    /// Nobody waits for an answer any more, or it was given. Who only told something never waited.
    fn gave_up(&self) -> bool {
        let Some(to) = &self.0 else { return false };
        to.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

/// One of them.
pub(super) struct Word {
    pub(super) id: u64,
    pub(super) command: Command,
    asker: Asker,
}

/// What the owner here had its turn with; as many as words wait at most.
type Done = Arc<Mutex<Vec<u64>>>;

/// All of them, in the order in which they were said.
#[derive(Default)]
pub(super) struct Words {
    kept: VecDeque<Word>,
    last: u64,
    done: Done,
}

impl Words {
    pub(super) fn is_full(&self) -> bool {
        self.kept.len() >= WORDS_MAX
    }

    /// Keeps one; its number.
    pub(super) fn keep(&mut self, order: Order) -> u64 {
        self.last += 1;
        self.kept.push_back(Word { id: self.last, command: order.command, asker: Asker::of(order.reply) });
        self.last
    }

    /// Keeps one that goes to nobody for now. At a call's end what was told about it before says nothing more.
    pub(super) fn keep_for_later(&mut self, order: Order) {
        if let Command::Ended { call } = &order.command {
            self.kept.retain(|word| word.asker.0.is_some() || word.command.call() != Some(call));
        }
        self.keep(order);
    }

    /// Whoever asked and waits no longer must not be done a late favour; what was carried out isn't said again.
    pub(super) fn sweep(&mut self) {
        self.sweep_done();
        self.kept.retain(|word| !word.asker.gave_up());
    }

    /// What was carried out here isn't said again.
    pub(super) fn sweep_done(&mut self) {
        let done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        if !done.is_empty() {
            let done: BTreeSet<u64> = done.into_iter().collect();
            self.kept.retain(|word| !done.contains(&word.id));
        }
    }

    /// The leader's answer.
    pub(super) fn answered(&mut self, id: u64, reply: Option<Reply>) {
        let Some(at) = self.kept.iter().position(|word| word.id == id) else { return };
        if let Some(word) = self.kept.remove(at) {
            word.asker.answer(reply);
        }
    }

    /// What the owner here does with one, given as it is to be carried out. An owner that dies over it answers
    /// nothing, and it isn't said again; dropped before its turn, it stays.
    pub(super) fn job(&self, id: u64, command: Command) -> impl FnOnce(i64, &mut Core) + Send + use<> {
        let asker = self.kept.iter().rev().find(|word| word.id == id).map(|word| word.asker.clone());
        let (asker, done) = (asker.unwrap_or_default(), Arc::clone(&self.done));
        move |now, core| {
            let turn = Turn { id, asker, done };
            let reply = command.run(now, core);
            turn.asker.answer(Some(reply));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Word> {
        self.kept.iter()
    }

    /// Calls of which something was said that the rows may not show yet.
    pub(super) fn calls(&self) -> BTreeSet<String> {
        self.kept.iter().filter_map(|word| word.command.call().map(str::to_owned)).collect()
    }
}

struct Turn {
    id: u64,
    asker: Asker,
    done: Done,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.asker.answer(None);
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

#[cfg(test)]
mod tests {
    use hotline_acd::QueueSettings;

    use super::*;

    fn core() -> Core {
        Core::new(Vec::<QueueSettings>::new()).unwrap()
    }

    fn asked(words: &mut Words, command: Command) -> (u64, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (words.keep(Order { command, reply: Some(reply) }), answer)
    }

    fn ids(words: &mut Words) -> Vec<u64> {
        words.sweep();
        words.iter().map(|word| word.id).collect()
    }

    #[test]
    fn what_the_owner_had_no_turn_with_is_said_again_and_nothing_else() {
        let mut words = Words::default();
        let told = |call: &str| Order { command: Command::Leave { call: call.into() }, reply: None };
        let (done, lost) = (words.keep(told("a")), words.keep(told("b")));
        let (asks, mut answer) = asked(&mut words, Command::Callers);
        let jobs = [done, lost, asks].map(|id| words.job(id, Command::Callers));
        let mut core = core();
        for (n, job) in jobs.into_iter().enumerate() {
            // The owner stood down with the second in its mailbox.
            if n != 1 {
                job(0, &mut core);
            }
        }
        assert!(matches!(answer.try_recv(), Ok(Reply::Callers(_))));
        assert_eq!(ids(&mut words), [lost]);
        assert_eq!(words.calls().into_iter().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_word_the_owner_dies_over_is_not_said_again_and_who_asked_hears_it() {
        let mut words = Words::default();
        let (id, mut answer) = asked(&mut words, Command::Callers);
        let turn = {
            let job = words.job(id, Command::Callers);
            drop(job);
            assert!(answer.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty), "not its turn yet");
            Turn { id, asker: words.iter().next().unwrap().asker.clone(), done: Arc::clone(&words.done) }
        };
        assert!(
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                let _turn = turn;
                panic!("killed by a test");
            }))
            .is_err()
        );
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(ids(&mut words).is_empty());
    }

    #[test]
    fn whoever_asked_and_waits_no_longer_is_forgotten_and_so_is_what_was_told_of_a_call_that_ended() {
        let mut words = Words::default();
        let (_, answer) = asked(&mut words, Command::Callers);
        drop(answer);
        assert!(ids(&mut words).is_empty());
        for n in 0..WORDS_MAX * 3 {
            let call = format!("{}", n % 3);
            words.keep_for_later(Order { command: Command::Leave { call: call.clone() }, reply: None });
            words.keep_for_later(Order { command: Command::Ended { call }, reply: None });
        }
        assert_eq!(words.iter().count(), 3);
    }
}
