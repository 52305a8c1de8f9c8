//! Many items at once, written behind the gateway's back: through the door a million would take minutes.

use std::path::Path;
use std::process::Command;

use hotline_tests::peer::Postgres;
use hotline_tests::{Error, Result};

/// Where the rows go. The gateway has made the tables and isn't running.
pub(crate) enum Target<'a> {
    Sqlite(&'a Path),
    Postgres(&'a Postgres, &'a str),
}

/// What differs between the engines: rows 1 to N, and a number as 12 hex digits or 8 digits.
struct Words {
    rows: String,
    hex: &'static str,
    digits8: &'static str,
    digits19: &'static str,
    yes: &'static str,
}

impl Target<'_> {
    fn words(&self, rows: u32) -> Words {
        match self {
            Self::Sqlite(_) => Words {
                rows: format!(
                    "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s)"
                ),
                hex: "printf('%012x', n)",
                digits8: "printf('%08d', n)",
                digits19: "printf('%019d', n)",
                yes: "1",
            },
            Self::Postgres(..) => Words {
                rows: format!("generate_series(1, {rows}) AS s(n)"),
                hex: "lpad(to_hex(n), 12, '0')",
                digits8: "lpad(n::text, 8, '0')",
                digits19: "lpad(n::text, 19, '0')",
                yes: "TRUE",
            },
        }
    }

    /// Runs statements; what they print.
    pub(crate) fn run(&self, statements: &str) -> Result<String> {
        match self {
            Self::Postgres(server, database) => server.sql(database, statements),
            Self::Sqlite(path) => {
                let output = Command::new("sqlite3")
                    .arg("-bail")
                    .arg(path)
                    .arg(statements)
                    .output()
                    .map_err(Error::io("sqlite3 (ops/install --bench)"))?;
                if output.status.success() {
                    return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
                }
                Err(Error::Process {
                    program: "sqlite3".into(),
                    detail: format!("ended with {}", output.status),
                    log: String::from_utf8_lossy(&output.stderr).into_owned(),
                })
            }
        }
    }

    /// `items` items of the last days with a contact and a piece of work each; the newest `open` are still to do.
    pub(crate) fn items(&self, items: u32, open: u32, now_ms: i64) -> Result<()> {
        let Words { rows, hex, digits8, digits19, yes } = self.words(items);
        let id = |table: u32| format!("'01900000-0000-7000-800{table}-' || {hex}");
        let (contact, item, work) = (id(1), id(2), id(3));
        let at = format!("{now_ms} - ({items} - n) * 500");
        let channel =
            "CASE n % 5 WHEN 0 THEN 'phone' WHEN 1 THEN 'wechat' WHEN 2 THEN 'web' WHEN 3 THEN 'mail' ELSE 'sms' END";
        let kind = "CASE n % 20 WHEN 0 THEN '查重' WHEN 1 THEN '听留言' WHEN 2 THEN '补充' ELSE '核对' END";
        let urgency = "CASE WHEN n % 50 = 0 THEN 2 WHEN n % 3 = 0 THEN 3 ELSE 4 END";
        let lane = "CASE WHEN n % 1000 = 0 THEN 0 WHEN n % 50 = 0 THEN 1 ELSE 2 END";
        let done = format!("CASE WHEN n > {items} - {open} THEN NULL ELSE {at} + 600000 END");
        let due = format!("{at} + CASE WHEN n % 50 = 0 THEN 600000 WHEN n % 3 = 0 THEN 3600000 ELSE 14400000 END");
        self.run(&format!(
            "BEGIN;
             INSERT INTO contact (id, channel, direction, seq, arrived_at)
                 SELECT {contact}, {channel}, 'inbound', n, {at} FROM {rows};
             INSERT INTO item (id, acceptance_no, query_code, region, channel, kind, urgency, title, detail, state,
                     state_at, ledger_flag, source, first_contact, class_code, location_text, created_at)
                 SELECT {item}, {digits19}, {digits8}, '320400', n % 5 + 1, '投诉', {urgency},
                     '人民路' || n || '号井盖缺失', '人民路' || n || '号门前井盖缺失,请尽快处理', '已移交', {at}, {yes},
                     'message', {contact}, '01001', '人民路' || n || '号', {at} FROM {rows};
             INSERT INTO work (id, kind, dedup_key, item, contact, channel, lane, urgency, due_at, seq, arrived_at,
                     ack_due_at, acknowledged_at, overdue_at, desk, result, done_by, done_at, created_at)
                 SELECT {work}, {kind}, 'item:' || {item}, {item}, {contact}, {channel}, {lane}, {urgency}, {due}, n,
                     {at}, {at} + 180000, {at} + 5000, CASE WHEN {due} < {now_ms} THEN {due} END, '受理',
                     CASE WHEN n > {items} - {open} THEN NULL ELSE '移交' END, NULL, {done}, {at} FROM {rows};
             INSERT INTO counter (name, value) VALUES ('arrival', {items})
                 ON CONFLICT (name) DO UPDATE SET value = {items};
             COMMIT;"
        ))?;
        self.tidy()
    }

    /// What the engine does by itself in time: autovacuum counts the rows of PostgreSQL, SQLite goes without.
    fn tidy(&self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(..) => self.run("VACUUM ANALYZE").map(|_| ()),
        }
    }

    /// Gives the items positions in a city of 30 km and the keys they are found by: their cells, and the street of
    /// the one item the gateway made itself.
    pub(crate) fn places(&self) -> Result<()> {
        let floor = match self {
            Self::Sqlite(_) => "CAST({} AS INTEGER)",
            Self::Postgres(..) => "CAST(FLOOR({}) AS BIGINT)",
        };
        let whole = |of: &str| floor.replace("{}", of);
        // As `db/src/incident_key.rs` counts: rows of 0.0015, columns of 0.002 degrees.
        let cell = format!("(({} + 262144) << 20) | ({} + 262144)", whole("lat / 0.0015"), whole("lon / 0.002"));
        let at = "(SELECT k.arrived_at FROM contact k WHERE k.id = item.first_contact)";
        let seq = "(SELECT k.seq FROM contact k WHERE k.id = item.first_contact)";
        self.run(&format!(
            "BEGIN;
             UPDATE item SET lon = 119.8 + CASE WHEN {seq} % 10 = 0 THEN {seq} * 7919 % 1009 / 1009.0 * 0.01
                     ELSE {seq} * 7919 % 100003 / 100003.0 * 0.3 END,
                 lat = 31.65 + CASE WHEN {seq} % 10 = 0 THEN {seq} * 10007 % 997 / 997.0 * 0.01
                     ELSE {seq} * 10007 % 99991 / 99991.0 * 0.27 END
                 WHERE source = 'message';
             INSERT INTO incident_key (key, at, item)
                 SELECT street.key, {at}, item.id FROM item, (SELECT DISTINCT key FROM incident_key) AS street
                 WHERE item.source = 'message';
             INSERT INTO incident_key (key, at, item) SELECT {cell}, {at}, id FROM item WHERE source = 'message';
             COMMIT;"
        ))?;
        self.tidy()
    }
}
