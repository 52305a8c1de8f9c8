//! `hotline trace`: what passed on the wire of a call.

use anyhow::{Context, bail};
use hotline_db::{CallFilter, Id, NewAudit, Store};

use super::say;
use crate::clock::now_ms;
use crate::config::Config;
use crate::privacy::Sealer;
use crate::trace::{TracedLeg, View, keep, mermaid, show, text};

/// How the trace is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A ladder in text.
    Ladder,
    /// A Mermaid sequence diagram.
    Mermaid,
    /// Every message whole.
    Messages,
}

/// Prints the trace of a call: its id, the beginning of one, or `last`. With `raw_reason` numbers are shown,
/// audited first.
pub async fn print(config: &Config, call: &str, form: Form, raw_reason: Option<&str>) -> anyhow::Result<()> {
    let store = Store::open(&config.storage.url()).await.context("数据库 / database")?;
    let printed = read(config, &store, call, raw_reason).await.map(|(call, legs)| {
        let view = if raw_reason.is_some() { View::Raw } else { View::Masked };
        render(call, &legs, form, view)
    });
    store.close().await;
    say(printed?.trim_end());
    Ok(())
}

async fn read(
    config: &Config,
    store: &Store,
    call: &str,
    raw_reason: Option<&str>,
) -> anyhow::Result<(Id, Vec<TracedLeg>)> {
    let call = find(store, call).await?;
    if let Some(reason) = raw_reason {
        let audit = NewAudit {
            at: now_ms(),
            actor: "cli".into(),
            action: "read_trace".into(),
            object: format!("call:{call}"),
            reason: Some(reason.to_owned()),
            ..NewAudit::default()
        };
        store.audit(audit).await?;
    }
    let key = config.storage.data_dir.join("secret.key");
    let sealer = Sealer::open(&key, false)?;
    let legs = keep::read(None, store, &sealer, call).await?;
    if legs.is_empty() {
        bail!(
            "通话 {call} 没有保存的轨迹 / no trace is stored: 通话结束约四秒后才写入;进行中的通话见 \
             / it is written some four seconds after the call; a running call's: \
             GET /api/v1/calls/{call}/trace?format=text; 另见 / see also trace.keep_days"
        );
    }
    Ok((call, legs))
}

async fn find(store: &Store, call: &str) -> anyhow::Result<Id> {
    if let Ok(id) = call.parse() {
        return Ok(id);
    }
    let newest = store.calls(CallFilter { limit: hotline_db::limits::PAGE_LEN_MAX, ..CallFilter::default() }).await?;
    let mut found = newest.iter().filter(|c| call == "last" || c.id.to_string().starts_with(call));
    let Some(first) = found.next() else {
        bail!(
            "没有通话 {call:?} / no such call: 用完整编号、开头几位或 last / give its id, the beginning of one, or `last`"
        );
    };
    if call != "last" && found.next().is_some() {
        bail!("{call:?} 不唯一 / fits several calls: 多写几位 / give more of the id");
    }
    Ok(first.id)
}

fn render(call: Id, legs: &[TracedLeg], form: Form, view: View) -> String {
    match form {
        Form::Ladder => format!("通话 / call {call}\n{}", text(legs, view)),
        Form::Mermaid => mermaid(legs, view),
        Form::Messages => {
            let mut all: Vec<_> = legs.iter().flat_map(|l| l.messages.iter().map(move |m| (l, m))).collect();
            all.sort_by_key(|(_, m)| m.at_us);
            let head = |l: &TracedLeg, m: &crate::trace::Traced| {
                let arrow = if m.way == crate::trace::Way::In { "<-" } else { "->" };
                format!("--- {} us  {} {arrow} {} {} ---\n", m.at_us, m.local, m.remote, l.label)
            };
            all.into_iter().map(|(l, m)| head(l, m) + &show(&m.bytes, view) + "\n").collect()
        }
    }
}
