//! Whose phones ring or talk in calls beside the talk the queue gave them: guests, colleagues who are asked, calls
//! made from a task. No call is offered to them meanwhile, whoever leads the queues.

use std::collections::BTreeSet;

/// Call and operator, as the calls' drivers last said. As many as drivers say; each call is forgotten at its end.
#[derive(Debug, Default)]
pub(super) struct Engaged(BTreeSet<(String, String)>);

impl Engaged {
    pub(super) fn add(&mut self, call: &str, operator: &str) {
        self.0.insert((call.to_owned(), operator.to_owned()));
    }

    pub(super) fn remove(&mut self, call: &str, operator: &str) {
        self.0.remove(&(call.to_owned(), operator.to_owned()));
    }

    /// The call is over.
    pub(super) fn end(&mut self, call: &str) {
        let of: Vec<_> = self.of(call).cloned().collect();
        for pair in of {
            self.0.remove(&pair);
        }
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().cloned()
    }

    fn of<'a>(&'a self, call: &'a str) -> impl Iterator<Item = &'a (String, String)> {
        // No user id is smaller than none.
        self.0.range((call.to_owned(), String::new())..).take_while(move |(of, _)| of == call)
    }
}

impl FromIterator<(String, String)> for Engaged {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}
