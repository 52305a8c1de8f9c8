//! How many texts about danger a leader gets in an hour: pure, in memory, per gateway. A storm of reports must not
//! bury the one that counts, nor empty the account; beyond, one text says that there is more.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use hotline_db::Id;

const HOUR_MS: i64 = 3_600_000;
/// Leaders counted; the configuration names some. Further ones get every text.
const LEADERS_MAX: usize = 1_000;

/// What a leader gets about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// A text of its own.
    Own,
    /// That there is more; the same words and key all that hour (counted from the epoch).
    More {
        /// The hour.
        hour: i64,
        /// Texts of their own it has had.
        after: u32,
    },
}

#[derive(Debug, Default)]
struct Leader {
    hour: i64,
    items: HashSet<Id>,
}

/// The counts.
#[derive(Debug)]
pub struct Pager {
    per_hour: u32,
    leaders: Mutex<HashMap<String, Leader>>,
}

impl Pager {
    /// At most so many of a leader's in an hour; 0: no limit.
    #[must_use]
    pub fn new(per_hour: u32) -> Self {
        Self { per_hour, leaders: Mutex::default() }
    }

    /// What the leader gets; asked about an item again, the same.
    pub fn judge(&self, now: i64, leader_hash: &str, item: Id) -> Paging {
        let hour = now.div_euclid(HOUR_MS);
        let mut leaders = self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        if self.per_hour == 0 || (leaders.len() >= LEADERS_MAX && !leaders.contains_key(leader_hash)) {
            return Paging::Own;
        }
        let leader = leaders.entry(leader_hash.to_owned()).or_default();
        if leader.hour != hour {
            *leader = Leader { hour, items: HashSet::new() };
        }
        if leader.items.contains(&item) {
            return Paging::Own;
        }
        if leader.items.len() >= self.per_hour as usize {
            return Paging::More { hour, after: self.per_hour };
        }
        leader.items.insert(item);
        Paging::Own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_some_texts_and_one_that_there_is_more() {
        let pager = Pager::new(2);
        let items = [Id::new(), Id::new(), Id::new(), Id::new()];
        let of = |now, leader, item: usize| pager.judge(now, leader, items[item]);
        assert_eq!((of(0, "a", 0), of(1, "a", 1)), (Paging::Own, Paging::Own));
        let more = Paging::More { hour: 0, after: 2 };
        assert_eq!((of(2, "a", 2), of(3, "a", 3)), (more, more));
        assert_eq!(of(4, "a", 0), Paging::Own, "the same item again is no further one");
        assert_eq!(of(5, "b", 2), Paging::Own, "another leader");
        assert_eq!(of(HOUR_MS, "a", 3), Paging::Own, "the next hour");
        assert_eq!(Pager::new(0).judge(0, "a", items[0]), Paging::Own);
    }
}
