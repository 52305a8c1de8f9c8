//! `hotline trunk list`: how each carrier's trunk stands. Only the running gateway knows, so it is asked over
//! its REST interface, by somebody who may sign in there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;

use super::say;
use super::show::clock;
use crate::config::Config;
use crate::trunk::{RegistrationState, TargetView, TrunkView};

/// A gateway on this machine that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What answers more than this isn't the gateway.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Session {
    token: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Prints a line a trunk; `login` signs in at the gateway's HTTP listener for the moment.
pub async fn list(config: &Config, login: &str, password: &str) -> anyhow::Result<()> {
    let trunks = fetch(config.http.listen, login, password).await?;
    if trunks.is_empty() {
        say("没有中继:在配置中加 [[trunk]] / no trunk: add a [[trunk]]");
        return Ok(());
    }
    for line in table(&trunks, config.site.utc_offset_min) {
        say(&line);
    }
    Ok(())
}

async fn fetch(listen: SocketAddr, login: &str, password: &str) -> anyhow::Result<Vec<TrunkView>> {
    // Somebody else may have installed one; either serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(TIMEOUT).no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let base = format!("http://{}", reachable(listen));
    let session = format!("{base}/api/v1/session");
    let form = serde_json::json!({ "login": login, "password": password });
    let Session { token } = ask(client.post(&session).json(&form), &base).await?;
    let trunks = ask(client.get(format!("{base}/api/v1/trunks")).bearer_auth(&token), &base).await;
    // The sign-in mustn't outlive the command; where this fails it ends by itself.
    let _ = client.delete(&session).bearer_auth(&token).send().await;
    trunks
}

/// A listener on every address is reached on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask<T: for<'a> Deserialize<'a>>(request: RequestBuilder, base: &str) -> anyhow::Result<T> {
    let sent = request.send().await;
    let mut response = sent.with_context(|| {
        format!("{base} 没有网关应答:先启动网关,或用 --http 指明其地址 / no gateway answers: start it, or name its address with --http")
    })?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            bail!("{base} 不是网关 / isn't the gateway");
        }
        body.extend_from_slice(&chunk);
    }
    if status == StatusCode::UNAUTHORIZED {
        bail!("用户名或密码不对 / wrong login or password: --login, HOTLINE_PASSWORD");
    }
    if !status.is_success() {
        let why = serde_json::from_slice::<Refusal>(&body).map_or_else(|_| String::new(), |r| r.message);
        bail!("{base}: {status} {why}");
    }
    serde_json::from_slice(&body).with_context(|| format!("{base} 不是同版本的网关 / isn't a gateway of this version"))
}

const HEAD: [&str; 7] = [
    "名称 / name",
    "状态 / state",
    "自 / since",
    "来电 / in",
    "去电 / out",
    "地址 / addresses",
    "最近错误 / last error",
];

/// Columns two spaces apart; calls as `running/since start`.
fn table(trunks: &[TrunkView], utc_offset_min: i32) -> Vec<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(trunks.iter().map(|trunk| row(trunk, utc_offset_min)));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    let pad = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width - columns(cell)));
    let line = |row: &[String; HEAD.len()]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(pad).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(trunk: &TrunkView, utc_offset_min: i32) -> [String; HEAD.len()] {
    let up = if trunk.up { "可用 / up" } else { "不可用 / down" };
    let registration = trunk.registration.map_or("", |state| match state {
        RegistrationState::Registering => ", 注册中 / registering",
        RegistrationState::Registered => ", 已注册 / registered",
        RegistrationState::Refused => ", 注册被拒 / refused",
        RegistrationState::Ended => ", 已注销 / unregistered",
    });
    let address = |t: &TargetView| format!("{} {}", t.address, if t.usable { "通 / up" } else { "断 / down" });
    let addresses: Vec<String> = trunk.targets.iter().map(address).collect();
    let error = trunk.last_error.as_ref().map_or_else(
        || "-".to_owned(),
        |text| format!("{}  {text}", clock(trunk.last_error_at.unwrap_or_default(), utc_offset_min)),
    );
    let cells = [
        format!("{} ({})", trunk.name, trunk.transport),
        format!("{up}{registration}"),
        clock(trunk.since, utc_offset_min),
        format!("{}/{}", trunk.live_in, trunk.calls_in),
        format!("{}/{}", trunk.live_out, trunk.calls_out),
        if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") },
        error,
    ];
    // Reason phrases are the carrier's: they mustn't steer the terminal.
    cells.map(|cell| cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

/// Columns a text takes on a terminal: Chinese characters take two.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{1100}' { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn view(name: &str) -> TrunkView {
        TrunkView {
            name: name.into(),
            transport: "udp".into(),
            up: true,
            since: 1_795_190_400_000,
            registration: None,
            targets: Vec::new(),
            live_in: 1,
            live_out: 0,
            calls_in: 12,
            calls_out: 3,
            failures: BTreeMap::new(),
            last_error: None,
            last_error_at: None,
        }
    }

    #[test]
    fn columns_stand_under_each_other_and_a_carrier_cannot_steer_the_terminal() {
        let target = |address: &str, usable| TargetView { address: address.into(), usable };
        let down = TrunkView {
            up: false,
            registration: Some(RegistrationState::Refused),
            targets: vec![target("192.0.2.1:5060", false), target("192.0.2.2:5060", true)],
            last_error: Some("REGISTER: 403 \u{1b}[2J无应答".into()),
            last_error_at: Some(1_795_190_401_000),
            ..view("联通")
        };
        let lines = table(&[view("ims"), down], 480);
        let start = |line: &str, of: &str| columns(&line[..line.find(of).unwrap()]);
        let since = start(&lines[0], "自 / since");
        assert!(lines[1..].iter().all(|l| start(l, "2026-11-21 00:00:00") == since), "{lines:#?}");
        assert_eq!(start(&lines[1], "1/12"), start(&lines[2], "1/12"));
        assert!(lines[2].contains("不可用 / down, 注册被拒 / refused"));
        assert!(lines[2].contains("192.0.2.1:5060 断 / down, 192.0.2.2:5060 通 / up"));
        assert!(lines[2].ends_with("2026-11-21 00:00:01  REGISTER: 403 ?[2J无应答"), "{}", lines[2]);
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        for (listen, at) in
            [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:8080", "[::1]:8080"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), at);
        }
    }
}
