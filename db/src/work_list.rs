//! Pages of the operators' work. Every view and filter has its index and its own statement: a condition
//! that may be off (`$3 IS NULL OR …`) would have a rare kind looked for in the whole queue.

use crate::{
    error::Result,
    id::Id,
    limits,
    pool::Store,
    sql::Sql,
    work::{Work, WorkKind, WorkPerson, load, select_work_from},
};

/// Which part of the queue to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkView {
    /// What is not done, in the order of the queue.
    #[default]
    Open,
    /// What this person holds or was passed.
    Mine,
    /// What is late, in the order of the queue.
    Overdue,
    /// What is done, newest first.
    Done,
}

/// Which work to list.
#[derive(Debug, Clone)]
pub struct WorkFilter {
    /// Who asks: what they must not see is left out.
    pub who: WorkPerson,
    /// Which part.
    pub view: WorkView,
    /// Only this kind.
    pub kind: Option<WorkKind>,
    /// Only this channel.
    pub channel: Option<String>,
    /// Only what comes behind this one: the last of the page before.
    pub after: Option<Id>,
    /// Page length, 1 to 200.
    pub limit: i64,
}

/// What everybody's list leaves out: `$1` the asker, `$2` whether they lead.
macro_rules! seen {
    () => {
        "(w.excluded IS NULL OR w.excluded <> $1) AND (w.desk = '受理' OR $2) "
    };
}

/// The rows of a list under its filters: `$3` kind, `$4` channel.
macro_rules! listed {
    ($filter:expr, $from:expr, $($tail:expr),+) => {
        match ($filter.kind.is_some(), $filter.channel.is_some()) {
            (false, false) => select_work_from!($from, "WHERE ", seen!(), $($tail),+),
            (true, false) => select_work_from!($from, "WHERE w.kind = $3 AND ", seen!(), $($tail),+),
            (false, true) => select_work_from!($from, "WHERE w.channel = $4 AND ", seen!(), $($tail),+),
            (true, true) => select_work_from!($from, "WHERE w.kind = $3 AND w.channel = $4 AND ", seen!(), $($tail),+),
        }
    };
}

macro_rules! in_order {
    () => {
        "ORDER BY w.lane, w.due_at, w.seq, w.id LIMIT $5"
    };
}

macro_rules! newest_first {
    () => {
        "ORDER BY w.done_at DESC, w.id DESC LIMIT $5"
    };
}

macro_rules! behind {
    () => {
        "AND (w.lane, w.due_at, w.seq, w.id) > ($6, $7, $8, $9) "
    };
}

/// Where a row stands in its list.
struct Place {
    id: Id,
    lane: i64,
    due_at: i64,
    seq: i64,
    done_at: Option<i64>,
}

impl Place {
    fn of(work: &Work) -> Self {
        Self { id: work.id, lane: work.lane, due_at: work.due_at, seq: work.seq, done_at: work.done_at }
    }
}

/// The statement of a page that begins behind `after`.
fn page(filter: &WorkFilter, after: Option<Place>) -> Sql {
    let query = match (filter.view, &after) {
        (WorkView::Open, None) => listed!(filter, "work w", "AND w.done_at IS NULL ", in_order!()),
        (WorkView::Open, Some(_)) => listed!(filter, "work w", "AND w.done_at IS NULL ", behind!(), in_order!()),
        (WorkView::Overdue, None) => {
            listed!(filter, "work w", "AND w.done_at IS NULL AND w.overdue_at IS NOT NULL ", in_order!())
        }
        (WorkView::Overdue, Some(_)) => {
            listed!(filter, "work w", "AND w.done_at IS NULL AND w.overdue_at IS NOT NULL ", behind!(), in_order!())
        }
        // What one person holds and was passed is short: one page, found by the person and sorted.
        (WorkView::Mine, _) => listed!(
            filter,
            "(SELECT id FROM work WHERE holder = $1 AND done_at IS NULL \
             UNION SELECT id FROM work WHERE assignee = $1 AND done_at IS NULL) AS mine CROSS JOIN work w",
            "AND w.id = mine.id ",
            in_order!()
        ),
        (WorkView::Done, None) => listed!(filter, "work w", "AND w.done_at IS NOT NULL ", newest_first!()),
        (WorkView::Done, Some(_)) => {
            listed!(filter, "work w", "AND w.done_at IS NOT NULL AND (w.done_at, w.id) < ($6, $7) ", newest_first!())
        }
    };
    let query = query
        .bind(filter.who.id)
        .bind(filter.who.leader)
        .bind(filter.kind)
        .bind(filter.channel.clone())
        .bind(limits::page(filter.limit));
    // How rare a kind is decides which index is the right one.
    let query = query.planned_anew();
    match (filter.view, after) {
        (WorkView::Open | WorkView::Overdue, Some(last)) => {
            query.bind(last.lane).bind(last.due_at).bind(last.seq).bind(last.id)
        }
        (WorkView::Done, Some(last)) => query.bind(last.done_at).bind(last.id),
        _ => query,
    }
}

impl Store {
    /// A page of the queue.
    ///
    /// # Errors
    /// As any read; [`crate::DbError::NotFound`] when there is no row to begin behind.
    pub async fn works(&self, filter: WorkFilter) -> Result<Vec<Work>> {
        let mut reader = self.reader().await?;
        let after = match filter.after {
            Some(id) => Some(Place::of(&load(&mut reader, id).await?)),
            None => None,
        };
        reader.all(page(&filter, after)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Asked;

    const ROWS: u32 = 6_000;
    const ME: &str = "01900000-0000-7000-8009-000000000001";

    /// The newer half is to be done: one in 100 is a 查重, another one a mail, both are late; a few are mine.
    async fn fill(db: &mut Asked) {
        let (rows, hex) = db.rows(ROWS);
        db.run(format!(
            "INSERT INTO work (id, kind, dedup_key, channel, lane, urgency, due_at, seq, arrived_at, overdue_at, desk, \
             excluded, assignee, holder, done_at, created_at) \
             SELECT '01900000-0000-7000-8003-' || {hex}, CASE n % 100 WHEN 0 THEN '查重' ELSE '核对' END, 'w' || n, \
             CASE n % 100 WHEN 50 THEN 'mail' ELSE 'sms' END, CASE n % 50 WHEN 1 THEN 1 ELSE 2 END, 4, n * 10, n, n, \
             CASE n % 50 WHEN 0 THEN n END, CASE n % 500 WHEN 0 THEN '值班长' ELSE '受理' END, \
             CASE n % 700 WHEN 0 THEN '{ME}' END, CASE n % 900 WHEN 1 THEN '{ME}' END, \
             CASE n % 1000 WHEN 2 THEN '{ME}' END, CASE WHEN n <= {} THEN n * 20 END, n FROM {rows}",
            ROWS / 2
        ))
        .await;
    }

    async fn every_page_reads_little(db: &mut Asked) {
        let who = WorkPerson { id: ME.parse().unwrap(), leader: false };
        let last = |n: u32| Place {
            id: format!("01900000-0000-7000-8003-{n:012x}").parse().unwrap(),
            lane: 2,
            due_at: i64::from(n) * 10,
            seq: n.into(),
            done_at: Some(i64::from(n) * 20),
        };
        for view in [WorkView::Open, WorkView::Overdue, WorkView::Mine, WorkView::Done] {
            for (kind, channel) in [(None, None), (Some(WorkKind::Duplicate), None), (None, Some("mail"))] {
                for after in [None, Some(if view == WorkView::Done { ROWS / 3 } else { ROWS / 3 * 2 })] {
                    let filter =
                        WorkFilter { who, view, kind, channel: channel.map(str::to_owned), after: None, limit: 20 };
                    let (rows, read) = db.reads(page(&filter, after.map(last))).await;
                    let what = format!("{}: {view:?} {kind:?} {channel:?} {after:?}", db.name());
                    // Few of mine are of a kind.
                    assert!(rows > 0 || view == WorkView::Mine, "{what}");
                    // A row, its item, and those left out on the way.
                    assert!(read <= 60, "{what}: {read} read for {rows}");
                }
            }
            let (kind, channel) = (Some(WorkKind::Duplicate), Some("mail".to_owned()));
            let filter = WorkFilter { who, view, kind, channel, after: None, limit: 20 };
            let (_, read) = db.reads(page(&filter, None)).await;
            assert!(read <= 200, "{}: {view:?}, a kind of a channel: {read} read", db.name());
        }
    }

    #[tokio::test]
    async fn a_page_reads_about_the_rows_it_shows() {
        Asked::judge(fill, every_page_reads_little).await;
    }
}
