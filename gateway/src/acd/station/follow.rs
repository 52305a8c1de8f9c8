//! While another gateway leads: what is said here goes there, its rows and news come here.

use std::collections::BTreeSet;

use hotline_acd::{CallerRow, OperatorRow};

use super::super::command::{Command, Reply};
use super::super::wire::{Rows, State, What, Wire, in_parts};
use super::{Office, Order, Sent, Station};

/// The leader's rows as they come in.
#[derive(Default)]
pub(super) struct Copy {
    operators: Vec<OperatorRow>,
    callers: Vec<CallerRow>,
}

impl Station {
    /// Tells a new leader what holds here, then again what the last one didn't answer.
    pub(super) fn follow(&mut self, node: &str, term: i64) {
        self.office = Office::Following { node: node.to_owned(), term };
        for state in self.state() {
            self.tell(node, term, What::State(state));
        }
        // Whoever asked and waits no longer must not be done a late favour.
        self.sent.retain(|sent| sent.order.reply.as_ref().is_none_or(|reply| !reply.is_closed()));
        for sent in &self.sent {
            let what = What::Ask { id: sent.id, command: sent.order.command.clone() };
            self.tell(node, term, what);
        }
    }

    fn tell(&self, node: &str, term: i64, what: What) {
        // A link that takes nothing ends: with the next one all of it comes again.
        let _ = self.setup.peers.send(node, Wire::frame(term, what));
    }

    pub(super) fn ask(&mut self, node: &str, term: i64, order: Order) {
        let id = self.id_next;
        self.id_next += 1;
        self.tell(node, term, What::Ask { id, command: order.command.clone() });
        self.sent.push_back(Sent { id, order });
    }

    /// Something this gateway found out itself. It comes after what is sent already, as any order.
    pub(super) fn report(&mut self, command: Command) {
        let order = Order { command, reply: None };
        match &self.office {
            Office::Following { node, term } => {
                let (node, term) = (node.clone(), *term);
                self.ask(&node, term, order);
            }
            // Sent to whoever leads next.
            _ => {
                let id = self.id_next;
                self.id_next += 1;
                self.sent.push_back(Sent { id, order });
            }
        }
    }

    pub(super) fn state(&self) -> Vec<State> {
        let (operators, callers, live, talks) = {
            let kept = self.setup.shared.mirror.lock();
            let operators = kept.operators.values().map(Into::into).collect();
            let ours = kept.callers.values().filter(|row| row.entry.node == self.me);
            (operators, ours.map(Into::into).collect(), kept.live_here(), kept.talks_here())
        };
        let mut states: Vec<State> =
            in_parts(operators, callers).into_iter().map(|rows| State { rows, ..State::default() }).collect();
        if let Some(first) = states.first_mut() {
            (first.live, first.talks, first.phones) = (live, talks, self.phones.of(&self.me));
        }
        states
    }

    pub(super) fn heard_as_follower(&mut self, what: What) {
        let shared = &self.setup.shared;
        match what {
            What::Answer { id, reply } => self.answered(id, reply),
            What::News { call, news } => {
                if !shared.mirror.tell(&call, news) {
                    self.report(Command::Ended { call });
                }
            }
            What::Operator { row, state } => shared.keep_operator(row.into(), state),
            What::Caller(row) => {
                shared.keep_caller(row.into());
            }
            What::Gone { call } => {
                shared.drop_caller(&call);
            }
            What::Snapshot(rows) => self.copy(rows),
            // The leader's business.
            What::Lead { .. } | What::Grant { .. } | What::State(_) | What::Ask { .. } => {}
        }
    }

    fn answered(&mut self, id: u64, reply: Option<Reply>) {
        let Some(at) = self.sent.iter().position(|sent| sent.id == id) else { return };
        let Some(sent) = self.sent.remove(at) else { return };
        // Dropped without a word, whoever asks hears that the queue doesn't answer.
        if let (Some(to), Some(reply)) = (sent.order.reply, reply) {
            let _ = to.send(reply);
        }
    }

    /// All rows of the leader, as they are from now on.
    fn copy(&mut self, rows: Rows) {
        self.snapshot.operators.extend(rows.operators.into_iter().map(OperatorRow::from));
        self.snapshot.callers.extend(rows.callers.into_iter().map(CallerRow::from));
        if rows.more {
            return;
        }
        let Copy { operators, callers } = std::mem::take(&mut self.snapshot);
        self.setup.shared.replace(operators, callers);
        // Their drivers have said more about these than the leader knew.
        let busy: BTreeSet<String> =
            self.sent.iter().filter_map(|sent| sent.order.command.call().map(str::to_owned)).collect();
        self.setup.shared.align(&self.me, &busy);
    }
}
