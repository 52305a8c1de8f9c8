//! `hotline user add`: people and their phones.

use anyhow::{Context, bail};
use hotline_db::{NewUser, Secret, Store};
use hotline_sip::digest::{ha1_md5, ha1_sha256};

use crate::config::Config;
use crate::console::Role;
use crate::privacy::hash_password;

/// A new person.
pub struct NewPerson {
    /// 工号, to sign in with.
    pub login: String,
    /// Name for lists.
    pub name: String,
    /// Roles.
    pub roles: Vec<String>,
    /// Password of the console.
    pub password: String,
    /// SIP user of the phone, if the person has one.
    pub sip_user: Option<String>,
    /// The phone's password; absent: the console's.
    pub sip_password: Option<String>,
}

const PASSWORD_MIN_CHARS: usize = 8;

/// Adds the person to the database. A running gateway knows a new phone within seconds.
pub async fn add(config: &Config, person: NewPerson) -> anyhow::Result<()> {
    if person.password.chars().count() < PASSWORD_MIN_CHARS {
        bail!("密码至少 {PASSWORD_MIN_CHARS} 位 / the password needs at least {PASSWORD_MIN_CHARS} characters");
    }
    for role in &person.roles {
        if !Role::ALL.iter().any(|r| r.as_str() == role) {
            let names: Vec<&str> = Role::ALL.iter().map(|r| r.as_str()).collect();
            bail!("未知角色 / unknown role {role:?}; 可选 / choose from {}", names.join(", "));
        }
    }
    std::fs::create_dir_all(&config.storage.data_dir)?;
    let store = Store::open(&config.storage.url()).await.context("数据库 / database")?;
    let phone_password = person.sip_password.as_deref().unwrap_or(&person.password);
    let ha1 = person.sip_user.as_deref().map(|user| {
        let realm = &config.sip.realm;
        (Secret::from(ha1_md5(user, realm, phone_password)), Secret::from(ha1_sha256(user, realm, phone_password)))
    });
    let (md5, sha256) = ha1.unzip();
    let user = store
        .user_add(NewUser {
            login: person.login,
            name: person.name,
            password_hash: hash_password(&person.password).context("no randomness")?.into(),
            roles: person.roles,
            sip_user: person.sip_user,
            ha1_md5: md5,
            ha1_sha256: sha256,
        })
        .await?;
    store.close().await;
    super::say(&format!("已添加 / added {} ({})", user.login, user.id));
    Ok(())
}
