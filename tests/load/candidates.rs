//! Candidates for the same incident among many items, over HTTP as the console asks for them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::peer::Postgres;
use hotline_tests::{Error, Result};
use serde_json::json;

use crate::fill::Target;
use crate::options::{Options, QUICK_ITEMS};
use crate::table::{head, note, row};
use crate::times::Times;

/// Requests of each kind.
const REQUESTS: u32 = 400;
const COLUMNS: [&str; 6] = ["", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms"];
/// Longest wait for the gateway's stop before the rows are written behind its back.
const STOP_MS: u64 = 30_000;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let items = options.quick_or(options.items, QUICK_ITEMS);
    let command = format!("ops/bench/run candidates --items {items}");
    let title = format!("candidates for the same incident among {items} items of 72 hours and before, over HTTP");
    head(&title, &command, &COLUMNS);
    let (mut gateway, user) = begin(GatewayConfig::default()).await?;
    let file = gateway.data_dir().join("hotline.db");
    measure("SQLite", &mut gateway, &user, &Target::Sqlite(&file), items).await?;
    let server = Postgres::start().await?;
    let database_url = server.create_database("candidates")?;
    let (mut gateway, user) = begin(GatewayConfig { database_url, ..GatewayConfig::default() }).await?;
    measure("PostgreSQL", &mut gateway, &user, &Target::Postgres(&server, "candidates"), items).await
}

/// A gateway with one item at 人民路: its row tells the key of that street, under which all others are put too.
async fn begin(config: GatewayConfig) -> Result<(Gateway, NewUser)> {
    let config = config.with("callback.enabled", false).with("log.level", "warn").with("casecore.poll_ms", 60_000);
    let mut gateway = Gateway::prepare(config)?;
    let user = NewUser::operator("2001");
    gateway.add_user(&user)?;
    gateway.boot().await?;
    let form = json!({"kind": "投诉", "title": "井盖缺失", "location": "人民路1号"});
    gateway.sign_in(&user).await?.post("/api/v1/items", &form).await?;
    gateway.sigterm(STOP_MS).await?;
    Ok((gateway, user))
}

async fn measure(engine: &str, gateway: &mut Gateway, user: &NewUser, target: &Target<'_>, items: u32) -> Result<()> {
    let started = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    target.items(items, 0, i64::try_from(now.as_millis()).unwrap_or(i64::MAX))?;
    target.places()?;
    note(&format!("{engine} filled in {:.0} s", started.elapsed().as_secs_f64()));
    gateway.boot().await?;
    let api = gateway.sign_in(user).await?;
    // Every tenth item lies in a crowded place; all are in one street.
    for (name, offset) in [("anywhere in the city", 1), ("in a crowded place", 0)] {
        let (mut times, mut found) = (Times::default(), 0);
        for request in 0..REQUESTS {
            let n = items - (items / 2 / REQUESTS) * request / 10 * 10 - offset;
            let path = format!("/api/v1/items/01900000-0000-7000-8002-{n:012x}/candidates");
            let asked = Instant::now();
            let answer = api.get(&path).await?;
            times.add(asked.elapsed());
            found += answer.as_array().map_or(0, Vec::len);
        }
        if found == 0 {
            return Err(Error::Missing { program: format!("candidates {name}"), remedy: "--items".into() });
        }
        let [p50, p95, p99, max] = times.cells();
        row(&[format!("{engine}  {name}"), times.len().to_string(), p50, p95, p99, max]);
    }
    Ok(())
}
