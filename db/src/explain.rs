//! For tests: how much of the tables a statement reads.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};

use crate::{
    id::Id,
    lite::Lite,
    pool::Store,
    sql::{Arg, Sql},
};

/// A filled database to ask.
pub(crate) enum Asked {
    #[allow(dead_code, reason = "the folder goes with it")]
    Sqlite(Box<Lite>, tempfile::TempDir),
    Postgres {
        conn: PgConnection,
        admin: PgConnection,
        database: String,
        url: String,
    },
}

impl Asked {
    /// An empty database with its tables on SQLite and, where there is a server, on PostgreSQL.
    pub(crate) async fn both() -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Store::open(&format!("sqlite://{}", path.display())).await.unwrap().close().await;
        let lite = Lite::open(&path, std::time::Duration::from_secs(5)).unwrap();
        let mut all = vec![Self::Sqlite(Box::new(lite), folder)];
        if let Ok(server) = std::env::var("HOTLINE_TEST_PG_URL") {
            let mut admin = PgConnection::connect(&server).await.unwrap();
            let database = format!("hotline_explain_{}", Id::new().to_string().replace('-', ""));
            admin.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await.unwrap();
            let url = format!("{}/{database}", server.rsplit_once('/').unwrap().0);
            Store::open(&url).await.unwrap().close().await;
            let conn = PgConnection::connect(&url).await.unwrap();
            all.push(Self::Postgres { conn, admin, database, url });
        }
        all
    }

    /// Fills both and judges what their queries read.
    pub(crate) async fn judge(fill: impl AsyncFn(&mut Self), judge: impl AsyncFn(&mut Self)) {
        for mut db in Self::both().await {
            fill(&mut db).await;
            if db.url().is_none() {
                // SQLite is never told how the rows are spread.
                judge(&mut db).await;
            }
            db.run("ANALYZE".into()).await;
            judge(&mut db).await;
            db.close().await;
        }
    }

    /// Rows 1 to `rows` as `s (n)`, and a number as 12 hex digits.
    pub(crate) fn rows(&self, rows: u32) -> (String, &'static str) {
        match self {
            Self::Sqlite(..) => (
                format!(
                    "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s)"
                ),
                "printf('%012x', n)",
            ),
            Self::Postgres { .. } => (format!("generate_series(1, {rows}) AS s(n)"), "lpad(to_hex(n), 12, '0')"),
        }
    }

    /// Runs a statement.
    pub(crate) async fn run(&mut self, statement: String) {
        match self {
            Self::Sqlite(lite, _) => lite.batch(&statement),
            Self::Postgres { conn, .. } => {
                conn.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
            }
        }
    }

    /// The rows a statement answers with, and about how many it reads for them. On SQLite that is counted in
    /// steps of its machine, a hundred for a row that is read whole; on PostgreSQL with the plan in use after the
    /// first executions, made for any arguments unless it is planned anew.
    pub(crate) async fn reads(&mut self, query: Sql) -> (usize, usize) {
        match self {
            Self::Sqlite(lite, _) => {
                let (rows, steps) = lite.steps(query);
                (rows, steps / 100)
            }
            Self::Postgres { conn, .. } => {
                let kinds: Vec<&str> = query.args.iter().map(kind).collect();
                let values: Vec<String> = query.args.iter().map(literal).collect();
                let prepare = format!("PREPARE asked ({}) AS {}", kinds.join(", "), query.postgres);
                let mode = if query.anew { "custom" } else { "generic" };
                for statement in [format!("SET plan_cache_mode = force_{mode}_plan"), prepare] {
                    conn.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
                }
                let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({})", values.join(", "));
                let row = conn.fetch_one(sqlx::raw_sql(AssertSqlSafe(explain))).await.unwrap();
                conn.execute("DEALLOCATE asked").await.unwrap();
                let plan: Value = row.get(0);
                let top = &plan[0]["Plan"];
                (number(top, "Actual Rows"), read(top))
            }
        }
    }

    pub(crate) async fn close(self) {
        if let Self::Postgres { conn, mut admin, database, .. } = self {
            conn.close().await.unwrap();
            admin.execute(AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)"))).await.unwrap();
        }
    }

    /// Where it is, on PostgreSQL.
    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::Sqlite(..) => None,
            Self::Postgres { url, .. } => Some(url),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(..) => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        }
    }
}

fn kind(arg: &Arg) -> &'static str {
    match arg {
        Arg::Text(_) => "text",
        Arg::Int(_) => "bigint",
        Arg::Real(_) => "double precision",
        Arg::Bool(_) => "boolean",
        Arg::Blob(_) => "bytea",
    }
}

fn literal(arg: &Arg) -> String {
    match arg {
        Arg::Text(Some(v)) => format!("'{}'", v.replace('\'', "''")),
        Arg::Int(Some(v)) => v.to_string(),
        Arg::Real(Some(v)) => v.to_string(),
        Arg::Bool(Some(v)) => v.to_string(),
        _ => "NULL".into(),
    }
}

fn number(plan: &Value, field: &str) -> usize {
    plan[field].as_f64().map_or(0, |n| n as usize)
}

/// Rows of tables and indexes a plan looked at.
fn read(plan: &Value) -> usize {
    let below: usize = plan["Plans"].as_array().into_iter().flatten().map(read).sum();
    let looked_at = ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"];
    let is_table = plan.get("Relation Name").is_some() || plan.get("Index Name").is_some();
    let own: usize = looked_at.iter().map(|field| number(plan, field)).sum();
    below + if is_table { own * number(plan, "Actual Loops") } else { 0 }
}
