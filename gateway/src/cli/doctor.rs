//! `hotline doctor`: what is wrong here, and what to do about each finding.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use hotline_db::{ChainCheck, Store};
use tokio::net::TcpStream;

use super::say;
use crate::app::transcription_config;
use crate::calendar::Calendar;
use crate::clock::{local_date, now_ms};
use crate::config::{Config, SmsKind};
use crate::privacy::Sealer;
use crate::voice::{Voice, sounds_dir};

/// Less free space than this is a finding: 常州's 148 h of calls a day take 8.5 GB as 16-bit stereo.
const DISK_FREE_MIN_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// 2026-01-01: an earlier clock is wrong.
const CLOCK_MIN_MS: i64 = 1_767_225_600_000;

/// A carrier is waited for so long.
const REACH: std::time::Duration = std::time::Duration::from_secs(3);

enum Finding {
    Good(String),
    Advice(String, String),
    Bad(String, String),
}

/// Prints the findings; `Err` if one stops the gateway from working.
pub async fn examine(config: &Config) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    ports(config, &mut findings);
    disk(config, &mut findings);
    calendar(config, &mut findings);
    database(config, &mut findings).await;
    voice(config, &mut findings);
    trunks(config, &mut findings);
    sms(config, &mut findings).await;
    clock(&mut findings);
    match transcription_config(config).ready() {
        Ok(()) => findings.push(Finding::Good("转写 / transcription".into())),
        Err(e) => findings.push(Finding::Advice(
            format!("转写 / transcription: {e}"),
            "通话不受影响,录音先存着 / calls go on, recordings wait".into(),
        )),
    }
    let mut bad = 0;
    for finding in findings {
        match finding {
            Finding::Good(what) => say(&format!("✓ {what}")),
            Finding::Advice(what, remedy) => say(&format!("! {what}\n    → {remedy}")),
            Finding::Bad(what, remedy) => {
                bad += 1;
                say(&format!("✗ {what}\n    → {remedy}"));
            }
        }
    }
    if bad > 0 {
        anyhow::bail!("{bad} 项需要处理 / findings to mend");
    }
    Ok(())
}

fn ports(config: &Config, out: &mut Vec<Finding>) {
    let remedy = |a: &SocketAddr| {
        format!(
            "端口被占用:停掉占用者(ss -lnp | grep {}),或改配置 / in use: stop its owner or change the address",
            a.port()
        )
    };
    for address in &config.sip.listen {
        match UdpSocket::bind(address).and_then(|_| TcpListener::bind(address)) {
            Ok(_) => out.push(Finding::Good(format!("SIP {address}"))),
            Err(e) => out.push(Finding::Bad(format!("SIP {address}: {e}"), remedy(address))),
        }
    }
    match TcpListener::bind(config.http.listen) {
        Ok(_) => out.push(Finding::Good(format!("HTTP {}", config.http.listen))),
        Err(e) => out.push(Finding::Bad(format!("HTTP {}: {e}", config.http.listen), remedy(&config.http.listen))),
    }
    if let Some(listen) = config.cluster.listen {
        match TcpListener::bind(listen) {
            Ok(_) => out.push(Finding::Good(format!("网关间连接 / links to other gateways {listen}"))),
            Err(e) => out.push(Finding::Bad(format!("cluster.listen {listen}: {e}"), remedy(&listen))),
        }
        if let Err(e) = config.cluster.secret() {
            let remedy = "各网关相同,至少 16 个字符 / the same on all gateways, 16 characters or more";
            out.push(Finding::Bad(format!("cluster.secret: {e}"), remedy.into()));
        }
    }
    let pairs = (config.media.port_max - config.media.port_min) / 2;
    if pairs < 200 {
        out.push(Finding::Advice(
            format!("RTP: {pairs} 对端口 / port pairs"),
            "每通话用两对;扩大 media.port_max / two per call: raise media.port_max".into(),
        ));
    }
}

/// Without the year's holidays callbacks would ring on them.
fn calendar(config: &Config, out: &mut Vec<Finding>) {
    let path = &config.site.calendar;
    let calendar = match Calendar::open(path) {
        Ok(calendar) => calendar,
        Err(e) => {
            let remedy = "改正文件或 site.calendar / mend the file or site.calendar";
            return out.push(Finding::Bad(format!("节假日 / calendar: {e}"), remedy.into()));
        }
    };
    let (year, month, _) = local_date(now_ms(), config.site.utc_offset_min);
    // The next year's holidays are announced in November.
    for year in year..=year + i64::from(month == 12) {
        let known = i32::try_from(year).is_ok_and(|year| calendar.knows(year));
        out.push(match known {
            true => Finding::Good(format!("{year} 年节假日 / holidays of {year}")),
            false => Finding::Advice(
                format!("没有 {year} 年的节假日 / the holidays of {year} aren't known"),
                "写入 site.calendar 指定的文件 / write them to a file that site.calendar names".into(),
            ),
        });
    }
}

fn disk(config: &Config, out: &mut Vec<Finding>) {
    let dir = &config.storage.data_dir;
    let probe = dir.join(".doctor");
    if let Err(e) = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&probe, b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
    {
        out.push(Finding::Bad(
            format!("{}: {e}", dir.display()),
            "以能写入的用户运行,或改 storage.data_dir / run as a user who may write there".into(),
        ));
        return;
    }
    match free_bytes(dir) {
        Some(free) if free < DISK_FREE_MIN_BYTES => out.push(Finding::Advice(
            format!("{}: 仅剩 / only {} MB", dir.display(), free >> 20),
            "清理或扩容:录音每小时约 115 MB / make room: an hour of talk takes some 115 MB".into(),
        )),
        _ => out.push(Finding::Good(format!("数据目录 / data directory {}", dir.display()))),
    }
}

/// Free space by `df`: no system call of our own for one number.
fn free_bytes(dir: &Path) -> Option<u64> {
    let out = std::process::Command::new("df").arg("-Pk").arg(dir).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok().map(|kb| kb * 1024)
}

async fn database(config: &Config, out: &mut Vec<Finding>) {
    match Store::open(&config.storage.url()).await {
        Ok(store) => {
            match store.users().await {
                Ok(users) if users.is_empty() => {
                    out.push(Finding::Advice(
                        "没有用户 / no users".into(),
                        "hotline user add --login 1001 --role operator --sip-user 1001 …".into(),
                    ));
                }
                Ok(users) => out.push(Finding::Good(format!("数据库 / database, {} 用户 / users", users.len()))),
                Err(e) => out.push(Finding::Bad(format!("数据库 / database: {e}"), "查看日志 / see the log".into())),
            }
            match skills_at_hand(&store).await {
                Ok(known) => skills(config, &known, out),
                Err(e) => out.push(Finding::Bad(format!("技能 / skills: {e}"), "查看日志 / see the log".into())),
            }
            chains(config, &store, out).await;
            store.close().await;
        }
        Err(e) => out.push(Finding::Bad(
            format!("数据库 / database: {e}"),
            "检查 storage.database_url / check storage.database_url".into(),
        )),
    }
}

/// The skills of everybody who may sign in.
async fn skills_at_hand(store: &Store) -> Result<BTreeSet<String>, hotline_db::DbError> {
    let mut known = BTreeSet::new();
    for user in store.users().await?.into_iter().filter(|u| u.active) {
        known.extend(store.operator_skills(user.id).await?.into_iter().map(|row| row.skill));
    }
    Ok(known)
}

/// Who asks for what nobody can do waits for nothing, until a queue's widening gives it up.
fn skills(config: &Config, known: &BTreeSet<String>, out: &mut Vec<Finding>) {
    let flows = Voice::load(config).ok();
    for name in config.queue_names() {
        let queue = config.queue(&name);
        let must = queue.skills.iter().cloned();
        let dropped: BTreeSet<&String> = queue.widen.iter().flat_map(|w| &w.drop).collect();
        let of_numbers = config.hotlines.iter().filter(|h| h.queue == name);
        let by_key = of_numbers.flat_map(|h| {
            let flow = flows.as_ref().and_then(|voice| voice.flow(&h.flow));
            let asked: Vec<String> = flow.iter().flat_map(|f| f.skills()).map(str::to_owned).collect();
            h.skills.iter().cloned().chain(asked).collect::<Vec<_>>()
        });
        let asked: BTreeSet<(String, bool)> =
            must.map(|skill| (skill, true)).chain(by_key.map(|skill| (skill, false))).collect();
        for (skill, is_queues) in asked.iter().filter(|(skill, _)| !dropped.contains(skill)) {
            let given_up = !is_queues && queue.skill_wait_s > 0;
            if !given_up {
                out.push(Finding::Advice(
                    format!("队列 {name} 要求技能 {skill:?},且从不放宽 / queue {name} asks for {skill:?} for ever"),
                    format!(
                        "加 [[queue.{name}.widen]] drop = [{skill:?}],或 skill_wait_s > 0 / add a widening that drops it"
                    ),
                ));
            }
            if !known.contains(skill) {
                let wait = if given_up { format!("{} s", queue.skill_wait_s) } else { "…".into() };
                out.push(Finding::Advice(
                    format!("无人具备技能 {skill:?}(队列 {name})/ nobody has the skill {skill:?} of queue {name}"),
                    format!(
                        "PUT /api/v1/users/ID/skills;否则来电等 {wait} 后任何人可接 / or such callers wait {wait} for anybody"
                    ),
                ));
            }
        }
    }
}

/// A row of the audit or a handover that was changed or taken out shows here alone.
async fn chains(config: &Config, store: &Store, out: &mut Vec<Finding>) {
    let mut found = vec![("审计 / audit", store.audit_verify().await)];
    // Without the key there is nothing signed yet.
    if let Ok(sealer) = Sealer::open(&config.storage.data_dir.join("secret.key"), false) {
        found.push(("交接班 / handovers", store.handovers_verify(|text| sealer.hash(text)).await));
    }
    for (what, check) in found {
        out.push(match check {
            Ok(ChainCheck { count, first_broken: None }) => Finding::Good(format!("{what}: {count} 条 / rows")),
            Ok(ChainCheck { first_broken: Some(n), .. }) => Finding::Advice(
                format!("{what}: 第 {n} 条被改动或缺失 / row {n} was changed or is missing"),
                "与备份比对,查明何人何时改动数据库 / compare with a backup: who wrote to the database?".into(),
            ),
            Err(e) => Finding::Bad(format!("{what}: {e}"), "查看日志 / see the log".into()),
        });
    }
}

fn voice(config: &Config, out: &mut Vec<Finding>) {
    let loaded = match Voice::load(config) {
        Ok(voice) => voice,
        Err(e) => return out.push(Finding::Bad(format!("语音 / voice: {e}"), "hotline ivr check".into())),
    };
    let missing: Vec<String> = loaded
        .flows()
        .flat_map(|(_, f)| f.prompts().into_iter().map(str::to_owned))
        .filter(|id| !loaded.has(id))
        .collect();
    if missing.is_empty() {
        let dir = sounds_dir(config).map(|d| d.display().to_string()).unwrap_or_default();
        out.push(Finding::Good(format!("提示音与流程 / prompts and flows ({dir})")));
    } else {
        out.push(Finding::Bad(
            format!("缺少提示音 / missing prompts: {}", missing.join(" ")),
            "sounds/render.sh 或录音室文件 / render them or add studio files".into(),
        ));
    }
}

fn trunks(config: &Config, out: &mut Vec<Finding>) {
    if config.trunks.is_empty() {
        out.push(Finding::Advice(
            "没有中继 / no trunk".into(),
            "在配置中加 [[trunk]],否则没有来电 / add a [[trunk]] or nobody can call".into(),
        ));
    } else if config.trunks.iter().all(|t| t.outbound.is_none()) {
        out.push(Finding::Advice(
            "没有外呼中继 / no trunk with outbound".into(),
            "回访无法拨出:设置 trunk.outbound / callbacks can't be placed: set trunk.outbound".into(),
        ));
    }
    if config.hotlines.is_empty() {
        out.push(Finding::Bad(
            "没有热线号码 / no hotline number".into(),
            "在配置中加 [[hotline]] / add a [[hotline]]".into(),
        ));
    }
}

/// Each line's carrier is reached for a moment, without signing in: an account may allow a single connection.
async fn sms(config: &Config, out: &mut Vec<Finding>) {
    for line in &config.sms.lines {
        let what = format!("短信线路 / SMS line {}", line.name);
        let (address, secret) = match line.kind {
            SmsKind::Cmpp => (line.cmpp.address.clone(), line.cmpp.password_file.as_ref()),
            SmsKind::Smpp => (line.smpp.address.clone(), line.smpp.password_file.as_ref()),
            SmsKind::Http => (host_of(&line.http.url), line.http.secret_file.as_ref()),
        };
        if let Some(Err(e)) = secret.map(std::fs::metadata) {
            out.push(Finding::Bad(
                format!("{what}: password_file: {e}"),
                "检查路径和权限 / check path and rights".into(),
            ));
            continue;
        }
        match tokio::time::timeout(REACH, TcpStream::connect(&address)).await {
            Ok(Ok(_)) => out.push(Finding::Good(format!("{what} ({address})"))),
            failed => {
                let why = failed.map_or_else(
                    |_| "超时 / no answer".into(),
                    |r| r.map_or_else(|e| e.to_string(), |_| String::new()),
                );
                out.push(Finding::Advice(
                    format!("{what}: {address}: {why}"),
                    "核对地址、防火墙和运营商登记的来源 IP / check address, firewall and the source the carrier knows"
                        .into(),
                ));
            }
        }
    }
}

/// `host:port` of a web address; the address itself where it has none.
fn host_of(url: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok();
    let place = parsed.as_ref().and_then(|u| Some(format!("{}:{}", u.host_str()?, u.port_or_known_default()?)));
    place.unwrap_or_else(|| url.to_owned())
}

fn clock(out: &mut Vec<Finding>) {
    if now_ms() < CLOCK_MIN_MS {
        out.push(Finding::Bad(
            "系统时间不对 / the clock is wrong".into(),
            "启用时间同步(chrony)/ enable time synchronisation".into(),
        ));
    } else {
        out.push(Finding::Good("时钟 / clock".into()));
    }
}
