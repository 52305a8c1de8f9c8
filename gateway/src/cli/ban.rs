//! `hotline ban`: which SIP sources are shut out, and letting one in again.

use std::net::IpAddr;

use anyhow::{Context, bail};
use hotline_db::{NewAudit, Store};

use super::say;
use crate::clock::now_ms;
use crate::config::Config;

/// Lists the bans that hold, the one that ends last first.
pub async fn list(config: &Config) -> anyhow::Result<()> {
    let store = open(config).await?;
    let now = now_ms();
    let bans = store.bans(now).await?;
    store.close().await;
    if bans.is_empty() {
        say("没有封禁 / nobody is banned");
    }
    for ban in bans {
        let left_s = (ban.until_at - now) / 1_000;
        say(&format!("{}  {}  第 {} 次 / times  剩 {left_s} 秒 / seconds left", ban.source, ban.reason, ban.times));
    }
    Ok(())
}

/// Lifts a ban; the running gateway follows within seconds.
pub async fn lift(config: &Config, source: &str) -> anyhow::Result<()> {
    let ip: IpAddr = source
        .parse()
        .with_context(|| format!("{source:?} 不是 IP 地址 / is no address: 见 / see `hotline ban list`"))?;
    let store = open(config).await?;
    let mut is_lifted = false;
    // A stranger's IPv6 ban stands under its /64.
    for key in hotline_sip::ban_sources(ip) {
        is_lifted |= store.ban_lift(&key.to_string(), now_ms()).await?;
    }
    if is_lifted {
        let audit = NewAudit {
            at: now_ms(),
            actor: "cli".into(),
            action: "sip_ban_lift".into(),
            object: format!("sip:{ip}"),
            ..NewAudit::default()
        };
        store.audit(audit).await?;
    }
    store.close().await;
    if !is_lifted {
        bail!("{ip} 未被封禁 / is not banned: 见 / see `hotline ban list`");
    }
    say(&format!("已解除,5 秒内生效 / lifted, in force within 5 s: {ip}"));
    Ok(())
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    Store::open(&config.storage.url()).await.context("数据库 / database")
}

#[cfg(test)]
mod tests {
    use hotline_db::SipBan;

    use super::*;

    #[tokio::test]
    async fn a_ban_is_listed_and_lifted_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = folder.path().into();
        let store = open(&config).await.unwrap();
        let now = now_ms();
        let ban = SipBan {
            node: "n".into(),
            source: "203.0.113.9".into(),
            reason: "passwords".into(),
            times: 1,
            from_at: now,
            until_at: now + 60_000,
        };
        store.ban_put(ban.clone()).await.unwrap();
        list(&config).await.unwrap();
        lift(&config, "203.0.113.9").await.unwrap();
        assert!(lift(&config, "203.0.113.9").await.unwrap_err().to_string().contains("hotline ban list"));
        assert!(lift(&config, "x").await.is_err());
        let wide = SipBan { source: "2001:db8::".into(), ..ban };
        store.ban_put(wide).await.unwrap();
        lift(&config, "2001:db8::7").await.unwrap();
        assert!(store.bans(now).await.unwrap().is_empty(), "any address of the network names it");
        assert_eq!(store.audits(1).await.unwrap()[0].action, "sip_ban_lift");
    }
}
