//! While another gateway leads: what is said here goes there, its rows and news come here.

use hotline_acd::{CallerRow, OperatorRow};

use super::super::command::Command;
use super::super::wire::{Rows, State, What, Wire, in_parts};
use super::{Office, Order, Station};

/// The leader's rows as they come in.
#[derive(Default)]
pub(super) struct Copy {
    operators: Vec<OperatorRow>,
    callers: Vec<CallerRow>,
}

impl Station {
    /// Tells a new leader what holds here, then again what the last one didn't answer.
    pub(super) fn follow(&mut self, node: &str, term: i64) {
        self.office = Office::Following { node: node.to_owned(), term, joined: false };
        for state in self.state() {
            self.tell(node, term, What::State(state));
        }
        self.words.sweep();
        for word in self.words.iter() {
            let what = What::Ask { id: word.id, command: word.command.clone() };
            self.tell(node, term, what);
        }
    }

    fn tell(&self, node: &str, term: i64, what: What) {
        // A link that takes nothing ends: with the next one all of it comes again.
        let _ = self.setup.peers.send(node, Wire::frame(term, what));
    }

    pub(super) fn ask(&mut self, node: &str, term: i64, order: Order) {
        let command = order.command.clone();
        let id = self.words.keep(order);
        self.tell(node, term, What::Ask { id, command });
    }

    /// Something this gateway found out itself. It comes after what is sent already, as any order.
    pub(super) fn report(&mut self, command: Command) {
        let order = Order { command, reply: None };
        match &self.office {
            Office::Following { node, term, .. } => {
                let (node, term) = (node.clone(), *term);
                self.ask(&node, term, order);
            }
            // Sent to whoever leads next.
            _ => self.words.keep_for_later(order),
        }
    }

    pub(super) fn state(&self) -> Vec<State> {
        let (operators, callers, live, talks, engaged) = {
            let kept = self.setup.shared.mirror.lock();
            let operators = kept.operators.values().map(Into::into).collect();
            let ours = kept.callers.values().filter(|row| row.entry.node == self.me);
            let live = kept.live_here().into_iter().collect();
            (operators, ours.map(Into::into).collect(), live, kept.talks_here(), kept.engaged.pairs().collect())
        };
        let mut states: Vec<State> =
            in_parts(operators, callers).into_iter().map(|rows| State { rows, ..State::default() }).collect();
        if let Some(first) = states.first_mut() {
            (first.live, first.talks, first.engaged) = (live, talks, engaged);
            first.phones = self.phones.of(&self.me);
        }
        states
    }

    pub(super) fn heard_as_follower(&mut self, what: What) {
        let shared = &self.setup.shared;
        match what {
            What::Answer { id, reply } => self.words.answered(id, reply),
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
            What::Resign | What::Lead { .. } | What::Grant { .. } | What::State(_) | What::Ask { .. } => {}
        }
    }

    /// All rows of the leader, as they are from now on.
    fn copy(&mut self, rows: Rows) {
        self.snapshot.operators.extend(rows.operators.into_iter().map(OperatorRow::from));
        self.snapshot.callers.extend(rows.callers.into_iter().map(CallerRow::from));
        if rows.more {
            return;
        }
        if let Office::Following { joined, .. } = &mut self.office {
            *joined = true;
        }
        let Copy { operators, callers } = std::mem::take(&mut self.snapshot);
        self.setup.shared.replace(operators, callers);
        // Their drivers have said more about these than the leader knew.
        self.setup.shared.align(&self.me, &self.words.calls());
    }
}
