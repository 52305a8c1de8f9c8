//! What the gateway keeps of written messages, read from its SQLite database as another process would.

use hotline_tests::gateway::Gateway;
use hotline_tests::until;
use rusqlite::{Connection, OpenFlags};

/// A stored message.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) line: String,
    pub(crate) text: String,
}

fn open(gateway: &Gateway) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(gateway.data_dir().join("hotline.db"), flags).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

/// All of them in their order of arrival.
pub(crate) fn messages(gateway: &Gateway) -> Vec<Stored> {
    let connection = open(gateway);
    let mut query = connection.prepare("SELECT seq, line, text FROM message ORDER BY seq").unwrap();
    let rows = query.query_map([], |r| Ok(Stored { seq: r.get(0)?, line: r.get(1)?, text: r.get(2)? })).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The number a query gives.
pub(crate) fn count(gateway: &Gateway, query: &str) -> i64 {
    open(gateway).query_row(query, [], |r| r.get(0)).unwrap()
}

/// All of them once there are `n`.
pub(crate) async fn wait_messages(gateway: &Gateway, n: usize, timeout_ms: u64) -> Vec<Stored> {
    let what = format!("{n} messages");
    let found = until(&what, timeout_ms, || async { Some(messages(gateway)).filter(|m| m.len() >= n) }).await;
    match found {
        Ok(found) => found,
        Err(e) => panic!("{e}, there are {}", messages(gateway).len()),
    }
}
