//! How far a mailbox has been read: the UIDs of one UIDVALIDITY rise and are never used twice
//! (RFC 3501 §2.3.1.1). No sockets, no clock.

use serde::{Deserialize, Serialize};

use super::limits::{BREAKS_MAX, FIRST_LOOK_BACK_MS, LISTED_MAX, UNREADABLE_MAX};

/// A place in a mailbox, kept after each mail.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(super) struct Cursor {
    /// What the UIDs belong to; 0: never looked.
    validity: u32,
    /// The last one dealt with.
    uid: u32,
    /// Mail that came in before this is left alone (epoch ms).
    since: i64,
}

impl Cursor {
    /// Before the first look.
    #[must_use]
    pub(super) fn first(now: i64) -> Self {
        Self { validity: 0, uid: 0, since: now - FIRST_LOOK_BACK_MS }
    }

    /// The mailbox was opened. Another UIDVALIDITY gives every mail a new UID: all are looked at again, and
    /// those already taken are known by their key.
    pub(super) fn selected(&mut self, validity: u32) {
        if self.validity != validity {
            (self.validity, self.uid) = (validity, 0);
        }
    }

    /// What to search for: `UID SEARCH` with this. `SINCE` counts days in the server's own zone: a day of margin.
    #[must_use]
    pub(super) fn search(&self) -> String {
        let (year, month, day) = crate::clock::local_date(self.since - 24 * 3_600_000, 0);
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let name = months.get((month as usize).saturating_sub(1)).unwrap_or(&"Jan");
        format!("UID SEARCH UID {}:* SINCE {day}-{name}-{year}", self.uid.saturating_add(1))
    }

    /// What of the answer is new, in order, a round's worth. `n:*` always names the last mail too.
    #[must_use]
    pub(super) fn wanted(&self, mut found: Vec<u32>) -> Vec<u32> {
        found.retain(|uid| *uid > self.uid);
        found.sort_unstable();
        found.dedup();
        found.truncate(LISTED_MAX);
        found
    }

    /// Whether a mail that came in at `at` counts.
    #[must_use]
    pub(super) fn counts(&self, at: Option<i64>) -> bool {
        at.is_none_or(|at| at >= self.since)
    }

    /// A mail is dealt with.
    pub(super) fn passed(&mut self, uid: u32) {
        self.uid = self.uid.max(uid);
    }
}

/// Which mail the connection broke at, and how often in a row.
#[derive(Debug, Default)]
pub(super) struct Breaks {
    uid: u32,
    times: u32,
}

impl Breaks {
    /// The connection broke while this mail was fetched; true: leave it aside. A network that fails is no
    /// mail's fault: what could not be read counts sooner.
    #[must_use]
    pub(super) fn at(&mut self, uid: u32, unreadable: bool) -> bool {
        self.times = if self.uid == uid { self.times + 1 } else { 1 };
        self.uid = uid;
        self.times >= if unreadable { UNREADABLE_MAX } else { BREAKS_MAX }
    }
}

/// `17-Nov-2026 10:00:00 +0800` (RFC 3501's date-time) as epoch ms.
#[must_use]
pub(super) fn internal_date(text: &str) -> Option<i64> {
    let date = mail_parser::DateTime::parse_rfc822(&text.trim().replacen('-', " ", 2))?;
    date.is_valid().then(|| date.to_timestamp() * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_mail_is_wanted_in_order() {
        let mut cursor = Cursor::first(1_795_140_000_000);
        cursor.selected(7);
        assert_eq!(cursor.search(), "UID SEARCH UID 1:* SINCE 18-Nov-2026");
        assert_eq!(cursor.wanted(vec![5, 3, 3, 4]), [3, 4, 5]);
        cursor.passed(5);
        assert_eq!(cursor.search().split(' ').nth(3), Some("6:*"));
        assert!(cursor.wanted(vec![5]).is_empty(), "the last mail is named again");
        assert_eq!(cursor.wanted((1..2_000).collect()).len(), LISTED_MAX);
        cursor.selected(7);
        assert_eq!(cursor.wanted(vec![5, 6]), [6]);
        cursor.selected(8);
        assert_eq!(cursor.wanted(vec![5, 6]), [5, 6], "a new UIDVALIDITY begins anew");
    }

    #[test]
    fn the_first_look_leaves_old_mail_alone() {
        let cursor = Cursor::first(1_795_140_000_000);
        assert!(cursor.counts(Some(1_795_140_000_000 - 3_600_000)) && cursor.counts(None));
        assert!(!cursor.counts(Some(1_795_140_000_000 - 48 * 3_600_000)));
        assert_eq!(internal_date("20-Nov-2026 10:00:00 +0800"), Some(1_795_140_000_000));
        assert_eq!(internal_date(" 2-Nov-2026 10:00:00 +0000"), Some(1_793_613_600_000));
        assert_eq!(internal_date("yesterday"), None);
    }

    #[test]
    fn a_mail_that_breaks_the_connection_again_and_again_is_left_aside() {
        let mut breaks = Breaks::default();
        assert!(!breaks.at(4, true) && !breaks.at(4, true) && !breaks.at(5, true) && !breaks.at(5, true));
        assert!(breaks.at(5, true));
        assert!((1..BREAKS_MAX).all(|_| !breaks.at(6, false)) && breaks.at(6, false));
    }

    #[test]
    fn a_first_mail_left_aside_stays_aside() {
        let mut stored = Cursor::first(1);
        stored.selected(7);
        let row = serde_json::to_string(&stored).unwrap();
        // The connection broke at 1 each time; what was stored when the mailbox was opened goes past it.
        let mut stored = serde_json::from_str::<Cursor>(&row).unwrap();
        stored.passed(1);
        stored.selected(7);
        assert_eq!(stored.wanted(vec![1, 2]), [2]);
    }

    #[test]
    fn a_cursor_survives_its_row() {
        let mut cursor = Cursor::first(1);
        cursor.selected(9);
        cursor.passed(3);
        let row = serde_json::to_string(&cursor).unwrap();
        assert_eq!(serde_json::from_str::<Cursor>(&row).unwrap(), cursor);
    }
}
