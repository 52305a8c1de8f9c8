//! `hotline outbox`: what the case core hasn't got, and another try for what was set aside.

use anyhow::{Context, bail};
use hotline_db::{Handoff, HandoffState, Id, NewAudit, Store};

use super::say;
use crate::clock::{local_date, now_ms};
use crate::config::Config;

/// Lists rows that wait or were set aside, oldest first.
pub async fn list(config: &Config) -> anyhow::Result<()> {
    let store = open(config).await?;
    let backlog = store.handoff_backlog().await?;
    let rows = store.handoffs_undelivered(hotline_db::limits::PAGE_LEN_MAX).await?;
    store.close().await;
    say(&format!("待发 / waiting {}   滞留 / set aside {}", backlog.pending, backlog.poisoned));
    for row in &rows {
        say(&line(row, config));
    }
    let shown = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let hidden = (backlog.pending + backlog.poisoned).saturating_sub(shown);
    if hidden > 0 {
        say(&format!("… 另有 / and {hidden} more"));
    }
    Ok(())
}

/// Sends a row that was set aside again; the running gateway takes it up by itself.
pub async fn retry(config: &Config, id: &str) -> anyhow::Result<()> {
    let id: Id = id.parse().with_context(|| format!("{id:?} 不是编号 / is no id: 见 / see `hotline outbox list`"))?;
    let store = open(config).await?;
    let queued = store.handoff_requeue(id, now_ms()).await?;
    if queued {
        let audit = NewAudit {
            at: now_ms(),
            actor: "cli".into(),
            action: "outbox_retry".into(),
            object: format!("handoff:{id}"),
            ..NewAudit::default()
        };
        store.audit(audit).await?;
    }
    store.close().await;
    if !queued {
        bail!("{id} 不在滞留中 / is not set aside: 见 / see `hotline outbox list`");
    }
    say(&format!("已重新排队 / queued again: {id}"));
    Ok(())
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    Store::open(&config.storage.url()).await.context("数据库 / database")
}

fn line(row: &Handoff, config: &Config) -> String {
    let (y, m, d) = local_date(row.created_at, config.site.utc_offset_min);
    // A row of another case core isn't sent until that one is configured again.
    let elsewhere = if row.target == config.casecore.kind { "" } else { " (非当前核心 / not the configured one)" };
    let mut line = format!(
        "{}  {}  {y:04}-{m:02}-{d:02}  {} → {}{elsewhere}  {} 次 / tries",
        row.id, row.state, row.kind, row.target, row.attempts
    );
    if let Some(error) = &row.last_error {
        line.push_str(&format!("  {error}"));
    }
    if row.state == HandoffState::Poisoned {
        line.push_str("  ← hotline outbox retry");
    }
    line
}

#[cfg(test)]
mod tests {
    use hotline_db::{ItemHandoff, NewItem};

    use super::*;

    #[tokio::test]
    async fn a_row_set_aside_is_shown_and_sent_again_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = folder.path().into();
        let store = open(&config).await.unwrap();
        let new = NewItem {
            region: "320412".into(),
            channel: 1,
            kind: "投诉".into(),
            urgency: 3,
            title: "井盖".into(),
            detail: "井盖".into(),
            source: "operator".into(),
            ..NewItem::default()
        };
        let outbox = ItemHandoff { target: "ledger".into(), payload: Box::new(|_| serde_json::json!({})) };
        store.item_create(new, Some(outbox), 1, 480).await.unwrap();
        let row = store.handoff_claim("ledger", 1, 1_000, 1).await.unwrap().remove(0);
        store.handoff_poison(row.id, "422 no such class").await.unwrap();
        let row = store.handoffs_undelivered(10).await.unwrap().remove(0);
        let text = line(&row, &config);
        assert!(text.contains("422 no such class") && text.contains("outbox retry"), "{text}");
        config.casecore.kind = "http".into();
        assert!(line(&row, &config).contains("not the configured one"));

        list(&config).await.unwrap();
        retry(&config, &row.id.to_string()).await.unwrap();
        assert!(retry(&config, &row.id.to_string()).await.is_err(), "it waits already");
        assert!(retry(&config, "x").await.is_err());
        assert_eq!(store.handoff_backlog().await.unwrap().pending, 1);
        assert_eq!(store.audits(1).await.unwrap()[0].action, "outbox_retry");
    }
}
