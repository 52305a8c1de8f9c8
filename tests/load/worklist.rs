//! The queue's pages and steps among many items, over HTTP as the console asks for them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::peer::Postgres;
use hotline_tests::{Error, Result};
use serde_json::{Value, json};

use crate::fill::Target;
use crate::options::{Options, QUICK_ITEMS};
use crate::table::{head, note, row};
use crate::times::Times;

/// Requests of each kind.
const REQUESTS: u32 = 400;
/// Operators who take and finish work at the same time.
const OPERATORS: usize = 20;
/// Pieces of work each of them finishes.
const STEPS: u32 = 20;
/// A pause in which the timers have noted what is late.
const SETTLE: Duration = Duration::from_secs(3);

const COLUMNS: [&str; 6] = ["", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms"];

pub(crate) async fn run(options: &Options) -> Result<()> {
    let items = options.quick_or(options.items, QUICK_ITEMS);
    let open = options.open.min(items);
    let command = format!("ops/bench/run worklist --items {items} --open {open}");
    let title = format!("work queue: {open} open pieces of work among {items} items, over HTTP");
    head(&title, &command, &COLUMNS);
    on_sqlite(items, open).await?;
    on_postgres(items, open).await
}

/// The database exists and the users are in it before it is filled.
fn prepare(config: GatewayConfig) -> Result<(Gateway, Vec<NewUser>)> {
    let config = config.with("callback.enabled", false).with("log.level", "warn");
    let gateway = Gateway::prepare(config)?;
    let users: Vec<NewUser> = (0..OPERATORS).map(|n| NewUser::operator(&format!("20{n:02}"))).collect();
    for user in &users {
        gateway.add_user(user)?;
    }
    Ok((gateway, users))
}

async fn on_sqlite(items: u32, open: u32) -> Result<()> {
    let (mut gateway, users) = prepare(GatewayConfig::default())?;
    let started = Instant::now();
    Target::Sqlite(&gateway.data_dir().join("hotline.db")).items(items, open, now_ms())?;
    note(&format!("SQLite filled in {:.0} s", started.elapsed().as_secs_f64()));
    gateway.boot().await?;
    measure("SQLite", &gateway, &users).await
}

async fn on_postgres(items: u32, open: u32) -> Result<()> {
    let server = Postgres::start().await?;
    let database_url = server.create_database("worklist")?;
    let (mut gateway, users) = prepare(GatewayConfig { database_url, ..GatewayConfig::default() })?;
    let started = Instant::now();
    Target::Postgres(&server, "worklist").items(items, open, now_ms())?;
    note(&format!("PostgreSQL filled in {:.0} s", started.elapsed().as_secs_f64()));
    gateway.boot().await?;
    measure("PostgreSQL", &gateway, &users).await
}

async fn measure(engine: &str, gateway: &Gateway, users: &[NewUser]) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    let mut apis = Vec::new();
    for user in users {
        apis.push(gateway.sign_in(user).await?);
    }
    let api = &apis[0];
    let first = api.get("/api/v1/work?limit=50").await?;
    let middle = deep(api, first).await?;
    for (name, path) in [
        ("first page of 50", "/api/v1/work?limit=50".to_owned()),
        ("a page far behind", format!("/api/v1/work?limit=50&after={middle}")),
        ("one kind (5 %)", "/api/v1/work?limit=50&kind=%E5%90%AC%E7%95%99%E8%A8%80".to_owned()),
        ("one channel", "/api/v1/work?limit=50&channel=mail".to_owned()),
        ("late", "/api/v1/work?limit=50&view=overdue".to_owned()),
        ("mine", "/api/v1/work?limit=50&view=mine".to_owned()),
        ("done", "/api/v1/work?limit=50&view=done".to_owned()),
        ("one piece", format!("/api/v1/work/{middle}")),
    ] {
        let mut times = Times::default();
        for _ in 0..REQUESTS {
            let asked = Instant::now();
            api.get(&path).await?;
            times.add(asked.elapsed());
        }
        print(&format!("{engine}  {name}"), times);
    }
    steps(engine, &apis).await
}

/// A piece of work some pages behind the first.
async fn deep(api: &Api, first: Value) -> Result<String> {
    let last = |page: &Value| page.as_array().and_then(|rows| rows.last())?["id"].as_str().map(str::to_owned);
    let mut at = last(&first).ok_or_else(|| Error::Missing { program: "open work".into(), remedy: "--open".into() })?;
    for _ in 0..40 {
        match last(&api.get(&format!("/api/v1/work?limit=200&after={at}")).await?) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(at)
}

/// Every operator takes the next piece and finishes it, all at once.
async fn steps(engine: &str, apis: &[Api]) -> Result<()> {
    let mut shifts = tokio::task::JoinSet::new();
    for api in apis {
        let api = api.clone();
        shifts.spawn(async move {
            let (mut next, mut done) = (Times::default(), Times::default());
            for _ in 0..STEPS {
                let asked = Instant::now();
                let work = api.post("/api/v1/work/next", &Value::Null).await?;
                next.add(asked.elapsed());
                let path = format!("/api/v1/work/{}/done", work["id"].as_str().unwrap_or_default());
                let asked = Instant::now();
                api.post(&path, &json!({"result": "移交"})).await?;
                done.add(asked.elapsed());
            }
            Ok::<_, Error>((next, done))
        });
    }
    let (mut next, mut done) = (Times::default(), Times::default());
    while let Some(shift) = shifts.join_next().await {
        let (n, d) = shift.map_err(|e| Error::Sip(e.to_string()))??;
        next.extend(n);
        done.extend(d);
    }
    print(&format!("{engine}  next, {OPERATORS} at once"), next);
    print(&format!("{engine}  done, {OPERATORS} at once"), done);
    Ok(())
}

fn print(name: &str, mut times: Times) {
    let [p50, p95, p99, max] = times.cells();
    row(&[name.into(), times.len().to_string(), p50, p95, p99, max]);
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
