//! `hotline wechat menu`: the account's menu entries, created on the platform.

use anyhow::{Context, bail};

use super::say;
use crate::channels::wechat::{Wechat, menu};
use crate::config::Config;

/// Shows the menu, and with `create` puts it onto the platform in place of the old one.
pub async fn put_menu(config: &Config, create: bool) -> anyhow::Result<()> {
    let buttons = menu::buttons();
    if !create {
        say(&serde_json::to_string_pretty(&buttons)?);
        say("加 --create 发布到公众号,替换原有菜单 / add --create to publish it in place of the old menu");
        return Ok(());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wechat = Wechat::open(&config.wechat)?;
    let Some(client) = wechat.official_client() else {
        bail!("未配置公众号 / no Official Account is configured: wechat.app_id");
    };
    client.post("/cgi-bin/menu/create", &buttons).await.context("公众号菜单 / the account's menu")?;
    say("菜单已发布,用户重新进入公众号后可见 / published; followers see it when they open the account again");
    Ok(())
}
