//! `hotline show`: an item's whole story, oldest first.

use anyhow::Context;
use hotline_db::{CallFilter, CallbackFilter, Item, LegQuality, Store};

use super::say;
use crate::call::Grade;
use crate::clock::local_date;
use crate::config::Config;

/// Prints the story of an acceptance number or query code.
pub async fn show(config: &Config, number: &str) -> anyhow::Result<()> {
    let store = Store::open(&config.storage.url()).await.context("数据库 / database")?;
    let item = match number.len() {
        8 => store.item_by_query_code(number).await?,
        _ => store.item_by_acceptance_no(number).await?,
    }
    .with_context(|| format!("没有 {number} / no item {number}: 核对号码 / check the number"))?;
    head(&item);
    let mut lines = story(&store, &item).await?;
    lines.sort_by_key(|(at, _)| *at);
    for (at, line) in lines {
        say(&format!("  {}  {line}", clock(at, config.site.utc_offset_min)));
    }
    store.close().await;
    Ok(())
}

fn head(item: &Item) {
    say(&format!("受理编号 {}   查询码 {}   {}", item.acceptance_no, item.query_code, item.state));
    say(&format!("{} · 紧急度 {} · {}", item.kind, item.urgency, item.title));
    if let Some(place) = &item.location_text {
        say(&format!("地点 {place}"));
    }
    if let Some(class) = &item.class_code {
        say(&format!("类别 {class}"));
    }
    say("");
}

async fn story(store: &Store, item: &Item) -> anyhow::Result<Vec<(i64, String)>> {
    let mut out = vec![(item.created_at, format!("登记 / registered (来源 {})", item.source))];
    let filter = CallFilter { limit: 50, item: Some(item.id), ..CallFilter::default() };
    for call in store.calls(filter).await? {
        for event in store.call_events(call.id).await? {
            out.push((event.at, format!("通话 {} {} {}", &call.id.to_string()[..8], event.kind, *event.data)));
        }
        for leg in store.call_quality(call.id).await? {
            out.push((leg.at, quality(&leg)));
        }
        for r in store.recordings_of_call(call.id).await? {
            out.push((
                r.started_at,
                format!(
                    "录音 {} {} {} ms sha256 {}",
                    r.kind,
                    r.state,
                    r.duration_ms.unwrap_or(0),
                    r.sha256.as_deref().unwrap_or("-")
                ),
            ));
            if let Some(t) = store.transcript_of(r.id).await? {
                out.push((t.at, format!("转写 {} {}: {}", t.engine, t.model, t.redacted_text)));
            }
        }
    }
    for h in store.handoffs_of_item(item.id).await? {
        out.push((h.created_at, format!("移交 {} → {} ({}), {} 次", h.kind, h.target, h.state, h.attempts)));
        if let (Some(at), Some(case)) = (h.delivered_at, &h.case_no) {
            out.push((at, format!("案件核心已收 / case core took it: {case}")));
        }
    }
    for e in store.case_events_of_item(item.id).await? {
        out.push((e.at, format!("案件 {} {}", e.stage, e.note.unwrap_or_default())));
    }
    let filter = CallbackFilter { limit: 50, item: Some(item.id), ..CallbackFilter::default() };
    for task in store.callbacks(filter).await? {
        out.push((task.created_at, format!("{} {}", task.kind, task.state)));
        for (n, a) in store.callback_attempts(task.id).await?.into_iter().enumerate() {
            let counted = if a.counted { "" } else { "(不计次)" };
            out.push((a.at, format!("{} 第 {} 次{counted}: {}", task.kind, n + 1, a.outcome)));
        }
    }
    for s in store.surveys_of_item(item.id).await? {
        out.push((
            s.at,
            format!(
                "评价 解决 {} 满意 {}",
                s.solved.map_or("-", |v| v.as_str()),
                s.satisfied.map_or("-".into(), |v| v.to_string())
            ),
        ));
    }
    Ok(out)
}

/// A leg's figures on one line; 收 is what we heard of it, 发 what it heard of us.
fn quality(leg: &LegQuality) -> String {
    let role = match leg.leg.as_str() {
        "citizen" => "市民 citizen",
        "operator" => "受理员 operator",
        other => other,
    };
    let score = |mos: Option<f64>| mos.map_or("-".to_owned(), |mos| format!("{mos:.2}"));
    let grade = leg.mos().map_or("未测 not measured", |mos| Grade::of(mos).words());
    let rtt = leg.rtt_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    format!(
        "音质 {role} {grade}: MOS 收 {} 最低 {} 发 {} 最低 {}, 丢包 {}/{} 抖动 {}/{} ms 往返 {rtt}",
        score(leg.mos_in),
        score(leg.mos_in_min),
        score(leg.mos_out),
        score(leg.mos_out_min),
        leg.lost_in,
        leg.lost_out,
        leg.jitter_in_max_ms,
        leg.jitter_out_max_ms,
    )
}

/// A moment in local time, to the second.
pub(super) fn clock(at: i64, utc_offset_min: i32) -> String {
    let (y, m, d) = local_date(at, utc_offset_min);
    let of_day = (at + i64::from(utc_offset_min) * 60_000).rem_euclid(86_400_000) / 1000;
    format!("{y:04}-{m:02}-{d:02} {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}
