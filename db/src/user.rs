//! People who sign in: operators, shift leaders, managers, reviewers.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::{DbError, Result},
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
    text::{Json, Secret},
};

/// A person with an account.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct User {
    /// Row id; also the operator's id in calls, queue and states.
    pub id: Id,
    /// Sign-in name (工号), unique.
    pub login: String,
    /// Shown name.
    pub name: String,
    /// Password hash in PHC string form.
    #[serde(skip)]
    pub password_hash: Secret,
    /// Roles, a JSON array of strings; see [`User::has_role`].
    pub roles: Json,
    /// User part of the operator's SIP address, unique.
    pub sip_user: Option<String>,
    /// SIP digest HA1 with MD5 (RFC 7616 §3.4.2), hex.
    #[serde(skip)]
    pub ha1_md5: Option<Secret>,
    /// SIP digest HA1 with SHA-256, hex.
    #[serde(skip)]
    pub ha1_sha256: Option<Secret>,
    /// Whether the account may be used.
    pub active: bool,
}

crate::lite::row!(User { id, login, name, password_hash, roles, sip_user, ha1_md5, ha1_sha256, active });

impl User {
    /// Whether the person has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.as_array().is_some_and(|roles| roles.iter().any(|r| r == role))
    }
}

/// An account to add.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// Sign-in name, unique.
    pub login: String,
    /// Shown name.
    pub name: String,
    /// Password hash in PHC string form.
    pub password_hash: Secret,
    /// Roles.
    pub roles: Vec<String>,
    /// User part of the SIP address, unique.
    pub sip_user: Option<String>,
    /// HA1 with MD5, hex.
    pub ha1_md5: Option<Secret>,
    /// HA1 with SHA-256, hex.
    pub ha1_sha256: Option<Secret>,
}

macro_rules! select_user {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, login, name, password_hash, roles, sip_user, ha1_md5, ha1_sha256, active \
             FROM account ",
            $tail
        ))
    };
}

impl Store {
    /// Adds an account.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when the login or the SIP user is taken.
    pub async fn user_add(&self, new: NewUser) -> Result<User> {
        limits::text("login", &new.login, SHORT_TEXT_CHARS_MAX)?;
        limits::text("name", &new.name, SHORT_TEXT_CHARS_MAX)?;
        if new.login.trim().is_empty() {
            return Err(DbError::Invalid { field: "login", why: "empty".into() });
        }
        let user = User {
            id: Id::new(),
            login: new.login,
            name: new.name,
            password_hash: new.password_hash,
            roles: Json(new.roles.into()),
            sip_user: new.sip_user,
            ha1_md5: new.ha1_md5,
            ha1_sha256: new.ha1_sha256,
            active: true,
        };
        let row = user.clone();
        self.write(move |c| {
            Box::pin(async move {
                let query = sql("INSERT INTO account (id, login, name, password_hash, roles, \
                     sip_user, ha1_md5, ha1_sha256, active) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
                .bind(row.id)
                .bind(row.login)
                .bind(row.name)
                .bind(row.password_hash)
                .bind(row.roles)
                .bind(row.sip_user)
                .bind(row.ha1_md5)
                .bind(row.ha1_sha256)
                .bind(row.active);
                c.run(query).await.map(|_| ())
            })
        })
        .await?;
        Ok(user)
    }

    /// The account with this login, active or not.
    ///
    /// # Errors
    /// As any read.
    pub async fn user_by_login(&self, login: &str) -> Result<Option<User>> {
        self.reader().await?.opt(select_user!("WHERE login = $1").bind(login)).await
    }

    /// The account with this id.
    ///
    /// # Errors
    /// As any read.
    pub async fn user_by_id(&self, id: Id) -> Result<Option<User>> {
        self.reader().await?.opt(select_user!("WHERE id = $1").bind(id)).await
    }

    /// The account with this SIP user.
    ///
    /// # Errors
    /// As any read.
    pub async fn user_by_sip_user(&self, sip_user: &str) -> Result<Option<User>> {
        self.reader().await?.opt(select_user!("WHERE sip_user = $1").bind(sip_user)).await
    }

    /// Every account, by login.
    ///
    /// # Errors
    /// As any read.
    pub async fn users(&self) -> Result<Vec<User>> {
        self.reader().await?.all(select_user!("ORDER BY login")).await
    }

    /// Replaces the password hash and the digest secrets, and ends every sign-in session of the
    /// account.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such account.
    pub async fn user_set_password(
        &self,
        id: Id,
        password_hash: Secret,
        ha1_md5: Option<Secret>,
        ha1_sha256: Option<Secret>,
    ) -> Result<()> {
        self.write(move |c| {
            Box::pin(async move {
                let query = sql("UPDATE account SET password_hash = $2, ha1_md5 = $3, \
                                 ha1_sha256 = $4 WHERE id = $1")
                .bind(id)
                .bind(password_hash)
                .bind(ha1_md5)
                .bind(ha1_sha256);
                if c.run(query).await? == 0 {
                    return Err(DbError::NotFound);
                }
                c.run(sql("DELETE FROM phone_key WHERE account = $1").bind(id)).await?;
                c.run(sql("DELETE FROM session WHERE account = $1").bind(id)).await.map(|_| ())
            })
        })
        .await
    }

    /// Allows or forbids the use of an account; forbidding ends its sign-in sessions.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such account.
    pub async fn user_set_active(&self, id: Id, active: bool) -> Result<()> {
        self.write(move |c| {
            Box::pin(async move {
                let query = sql("UPDATE account SET active = $2 WHERE id = $1").bind(id).bind(active);
                if c.run(query).await? == 0 {
                    return Err(DbError::NotFound);
                }
                if !active {
                    c.run(sql("DELETE FROM phone_key WHERE account = $1").bind(id)).await?;
                    c.run(sql("DELETE FROM session WHERE account = $1").bind(id)).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
