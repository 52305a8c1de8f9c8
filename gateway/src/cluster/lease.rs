//! Who leads the queues, as this gateway may believe it. Pure: times come in.
//!
//! The lease is a row on the database's clock. A leader believes in it for [`LEASE_MS`] less a margin from before it
//! asked, so it stands down before anybody else may take it. While the database is away it may go on as long as every
//! gateway it knows grants that over its link: who granted takes no lease as long.

use std::collections::BTreeMap;
use std::time::Duration;

use hotline_db::{LeaderLease, LeaseWish};
use tokio::time::Instant;

use super::limits::{KNOWN_MS, LEASE_MARGIN_MS, LEASE_MS, WATCHED_MS};

/// What this gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads with this term.
    Leader(i64),
    /// Another leads.
    Follower {
        /// The leader.
        node: String,
        /// Its term.
        term: i64,
    },
    /// Nobody does, as far as is known here.
    Nobody,
}

/// How long a lease is believed in that lasts so long.
fn trusted(left_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(left_ms.min(LEASE_MS)).unwrap_or(0).saturating_sub(LEASE_MARGIN_MS))
}

/// Whether a lease is over that was told of at `at`.
fn is_over(row: &LeaderLease, at: Instant, now: Instant) -> bool {
    row.left_ms <= i64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(i64::MAX)
}

/// The lease seen from one gateway.
#[derive(Debug)]
pub struct Lease {
    node: String,
    boot: String,
    /// Ours, and until when we may believe in it.
    held: Option<(i64, Instant)>,
    /// The leader's word over its link, and when it came.
    heard: Option<(String, i64, Instant)>,
    /// The highest term heard of.
    term_max: i64,
    /// The database answers since.
    database_since: Option<Instant>,
    /// As it was told last.
    row: Option<(LeaderLease, Instant)>,
    /// The others that lived when the database last told.
    others: Vec<String>,
    /// When what each of them granted last was asked for.
    grants: BTreeMap<String, Instant>,
}

impl Lease {
    /// Of this gateway and run.
    #[must_use]
    pub const fn new(node: String, boot: String) -> Self {
        Self {
            node,
            boot,
            held: None,
            heard: None,
            term_max: 0,
            database_since: None,
            row: None,
            others: Vec::new(),
            grants: BTreeMap::new(),
        }
    }

    /// What to ask the database for with the next beat.
    #[must_use]
    pub fn wish(&self, now: Instant) -> LeaseWish {
        if let Role::Leader(term) = self.role(now) {
            return LeaseWish::Renew(term);
        }
        if self.promised(now) {
            return LeaseWish::Watch;
        }
        let Some((row, at)) = &self.row else {
            // Never looked, or there is no leader yet: taking is one statement, so two can't.
            return if self.database_since.is_some() { LeaseWish::Take } else { LeaseWish::Watch };
        };
        let is_over = is_over(row, *at, now);
        let watched = self.database_since.is_some_and(|since| now - since >= Duration::from_millis(WATCHED_MS));
        if row.node == self.node || is_over && (watched || self.others.is_empty()) {
            LeaseWish::Take
        } else {
            LeaseWish::Watch
        }
    }

    /// The database answered what was asked at `asked`.
    pub fn answered(&mut self, asked: Instant, now: Instant, row: Option<LeaderLease>, others: Vec<(String, i64)>) {
        self.database_since.get_or_insert(now);
        self.others = others.into_iter().filter(|(_, age_ms)| *age_ms < KNOWN_MS).map(|(node, _)| node).collect();
        self.term_max = self.term_max.max(row.as_ref().map_or(0, |row| row.term));
        if let Some(row) = row.as_ref().filter(|row| row.boot == self.boot && row.left_ms > 0) {
            // A beat that renewed nothing tells of what is left.
            let until = asked + trusted(row.left_ms);
            let held = self.held.filter(|(term, _)| *term == row.term).map_or(until, |(_, old)| old.max(until));
            self.held = Some((row.term, held));
        }
        // A term that is over, or another's, doesn't come back when the database goes.
        self.held = self.held.filter(|(term, until)| *until > now && *term >= self.term_max);
        self.row = row.map(|row| (row, now));
    }

    /// Another gateway has the lease, by what the database said last.
    #[must_use]
    pub fn is_led_elsewhere(&self, now: Instant) -> bool {
        self.row.as_ref().is_some_and(|(row, at)| row.node != self.node && !is_over(row, *at, now))
    }

    /// The database didn't answer.
    pub const fn failed(&mut self) {
        self.database_since = None;
    }

    /// Another says it leads. True: it does, as far as we know, and may go on: we take no lease for a while.
    pub fn led(&mut self, now: Instant, node: &str, term: i64) -> bool {
        if term < self.term_max || self.held.is_some_and(|(ours, _)| ours >= term) {
            return false;
        }
        self.term_max = term;
        self.held = None;
        self.heard = Some((node.to_owned(), term, now));
        true
    }

    /// Who leads gave the lease back: it can be taken at once. True: so it was, as far as we know.
    pub fn resigned(&mut self, node: &str, term: i64) -> bool {
        if !self.heard.as_ref().is_some_and(|(leader, of, _)| leader == node && *of == term) {
            return false;
        }
        self.heard = None;
        if let Some((row, _)) = self.row.as_mut().filter(|(row, _)| row.term == term) {
            row.left_ms = 0;
        }
        true
    }

    /// Another granted what we asked for at `asked`.
    pub fn granted(&mut self, now: Instant, node: &str, term: i64, asked: Instant) {
        let Some((ours, until)) = self.held.filter(|(ours, until)| *ours == term && *until > now) else { return };
        self.grants.insert(node.to_owned(), asked);
        if let Some(oldest) = self.others.iter().map(|n| self.grants.get(n)).min().flatten() {
            self.held = Some((ours, until.max(*oldest + trusted(LEASE_MS))));
        }
    }

    fn promised(&self, now: Instant) -> bool {
        let lasts = Duration::from_millis(LEASE_MS.unsigned_abs());
        self.heard.as_ref().is_some_and(|(_, _, at)| now < *at + lasts)
    }

    /// The link to the leader is gone: for us nobody leads until somebody says so. The promise holds on.
    pub fn lost(&mut self, node: &str) {
        self.grants.remove(node);
    }

    /// What holds now.
    #[must_use]
    pub fn role(&self, now: Instant) -> Role {
        if let Some((term, _)) = self.held.filter(|(_, until)| now < *until || self.may_go_on_alone()) {
            return Role::Leader(term);
        }
        match &self.heard {
            Some((node, term, _)) if *term == self.term_max && self.promised(now) => {
                Role::Follower { node: node.clone(), term: *term }
            }
            _ => Role::Nobody,
        }
    }

    /// Until when a leader may act without looking again.
    #[must_use]
    pub fn believed_until(&self, now: Instant) -> Instant {
        let alone = self.may_go_on_alone().then(|| now + trusted(LEASE_MS));
        self.held.map(|(_, until)| until).max(alone).unwrap_or(now)
    }

    /// The database is away and there was nobody else when it went: nobody could take the lease there either.
    fn may_go_on_alone(&self) -> bool {
        self.others.is_empty() && self.database_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, term: i64, left_ms: i64) -> Option<LeaderLease> {
        Some(LeaderLease { term, node: node.into(), boot: format!("{node}1"), left_ms })
    }

    fn lease(node: &str) -> Lease {
        Lease::new(node.into(), format!("{node}1"))
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    const B: fn() -> Vec<(String, i64)> = || vec![("b".into(), 100)];

    #[test]
    fn a_leader_that_cannot_renew_stands_down_before_anybody_may_follow() {
        let (mut a, t) = (lease("a"), Instant::now());
        assert_eq!(a.wish(t), LeaseWish::Watch, "it never looked");
        a.answered(t, t, None, B());
        assert_eq!(a.wish(t), LeaseWish::Take);
        a.answered(t, t + ms(400), row("a", 1, LEASE_MS), B());
        assert_eq!((a.role(t + ms(2_499)), a.wish(t + ms(2_499))), (Role::Leader(1), LeaseWish::Renew(1)));
        a.failed();
        assert_eq!(a.role(t + ms(2_500)), Role::Nobody, "counted from before it asked");
        // Meanwhile another has it.
        a.answered(t + ms(3_500), t + ms(3_500), row("b", 2, 2_000), B());
        assert_eq!(a.wish(t + ms(3_500)), LeaseWish::Watch);
        assert!(a.led(t + ms(3_600), "b", 2));
        assert_eq!(a.role(t + ms(3_600)), Role::Follower { node: "b".into(), term: 2 });
        assert!(!a.led(t + ms(3_700), "c", 1), "an old term");
    }

    #[test]
    fn a_lease_that_was_not_renewed_is_believed_in_no_longer_than_it_lasts() {
        let (mut a, t) = (lease("a"), Instant::now());
        a.answered(t, t, row("a", 1, 100), B());
        assert_eq!(a.role(t), Role::Nobody, "the margin is longer");
        a.answered(t, t, row("a", 1, 1_000), B());
        assert_eq!((a.role(t + ms(499)), a.role(t + ms(500))), (Role::Leader(1), Role::Nobody));
    }

    #[test]
    fn a_term_that_ran_out_does_not_come_back_when_the_database_goes() {
        let (mut a, t) = (lease("a"), Instant::now());
        a.answered(t, t, row("a", 1, LEASE_MS), Vec::new());
        a.answered(t + ms(5_000), t + ms(5_000), row("a", 1, -2_000), Vec::new());
        a.failed();
        assert_eq!(a.role(t + ms(5_001)), Role::Nobody);
    }

    #[test]
    fn what_a_leader_gave_back_is_taken_without_waiting_for_its_end() {
        let (mut b, t) = (lease("b"), Instant::now());
        b.answered(t, t, row("a", 4, LEASE_MS), vec![("a".into(), 0)]);
        let later = t + ms(WATCHED_MS);
        b.answered(later, later, row("a", 4, LEASE_MS), vec![("a".into(), 0)]);
        assert!(b.led(later, "a", 4) && !b.resigned("a", 3) && !b.resigned("c", 4));
        assert_eq!(b.wish(later), LeaseWish::Watch);
        assert!(b.resigned("a", 4));
        assert_eq!((b.role(later), b.wish(later)), (Role::Nobody, LeaseWish::Take));
    }

    #[test]
    fn who_leads_elsewhere_is_known_while_the_database_tells() {
        let (mut a, t) = (lease("a"), Instant::now());
        a.answered(t, t, row("b", 1, 1_000), B());
        assert!(a.is_led_elsewhere(t + ms(999)) && !a.is_led_elsewhere(t + ms(1_000)));
        a.answered(t, t, row("a", 2, 1_000), B());
        assert!(!a.is_led_elsewhere(t));
    }

    #[test]
    fn while_the_database_is_away_a_leader_goes_on_as_long_as_all_others_grant_it() {
        let (mut a, mut b, t) = (lease("a"), lease("b"), Instant::now());
        a.answered(t, t, row("a", 1, LEASE_MS), vec![("b".into(), 0), ("c".into(), 0)]);
        a.failed();
        for n in 1..20 {
            let at = t + ms(n * 500);
            assert!(b.led(at, "a", 1));
            a.granted(at, "b", 1, at);
            if n < 12 {
                a.granted(at, "c", 1, at);
            }
            let leads = n < 11 + 5;
            assert_eq!(a.role(at + ms(1)), if leads { Role::Leader(1) } else { Role::Nobody }, "{n}");
        }
        // Who granted takes nothing for as long as the grant may be believed in.
        let last = t + ms(19 * 500);
        b.answered(last, last, row("a", 1, -9_000), Vec::new());
        assert_eq!(b.wish(last + ms(2_999)), LeaseWish::Watch);
        assert_eq!(b.wish(last + ms(3_000)), LeaseWish::Take);
    }

    #[test]
    fn an_abandoned_lease_is_taken_once_the_database_was_watched_for_long_enough() {
        let (mut b, t) = (lease("b"), Instant::now());
        let others = || vec![("a".to_owned(), 500)];
        b.answered(t, t, row("a", 7, 900), others());
        assert_eq!(b.wish(t + ms(1_000)), LeaseWish::Watch, "its holder may have been cut off with us");
        b.answered(t + ms(2_000), t + ms(2_000), row("a", 7, -1_100), others());
        assert_eq!(b.wish(t + ms(2_000)), LeaseWish::Take);
        b.failed();
        b.answered(t + ms(2_500), t + ms(2_500), row("a", 7, -1_600), others());
        assert_eq!(b.wish(t + ms(2_500)), LeaseWish::Watch, "the database was away");
        b.answered(t + ms(3_000), t + ms(3_000), row("a", 7, -1_600), vec![("a".into(), 60_000)]);
        assert_eq!(b.wish(t + ms(3_000)), LeaseWish::Take, "nobody else lives");
    }

    #[test]
    fn an_earlier_run_of_this_gateway_leads_no_longer_and_who_is_alone_goes_on_without_the_database() {
        let (mut a, t) = (lease("a"), Instant::now());
        let mut before = row("a", 3, 2_900).unwrap();
        before.boot = "a0".into();
        a.answered(t, t, Some(before), Vec::new());
        assert_eq!(a.wish(t), LeaseWish::Take);
        a.answered(t, t, row("a", 4, LEASE_MS), Vec::new());
        a.failed();
        assert_eq!(a.role(t + ms(60_000)), Role::Leader(4));
        // Another one, with a later term, was there all the time.
        assert!(a.led(t + ms(60_000), "b", 5));
        assert_eq!(a.role(t + ms(60_000)), Role::Follower { node: "b".into(), term: 5 });
    }
}
