//! Sign-in with argon2, sessions as hashed tokens in rows, roles.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Api;
use super::error::ApiError;
use super::seen::{is_away, soon};
use crate::clock::now_ms;
use crate::privacy::{hash_password, random_token, sha256_hex, verify_password};

const COOKIE: &str = "hotline_session";
/// Wrong passwords from one address for one login within the period.
const FAILURES_MAX: u32 = 10;
const FAILURE_PERIOD: Duration = Duration::from_secs(300);
/// Addresses and logins remembered; the oldest go first.
const FAILURES_KEPT_MAX: usize = 4_096;
/// Passwords hashed at once, some 19 MB and a core each.
const HASHING_MAX: usize = 2;
/// Longer passwords are refused before hashing.
const PASSWORD_MAX_BYTES: usize = 256;

/// Roles, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// 受理员.
    Operator,
    /// 值班长.
    Leader,
    /// 质检员.
    Qa,
    /// 平台主管.
    Manager,
    /// Runs the machine.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Operator, Self::Leader, Self::Qa, Self::Manager, Self::Admin];
    /// Word in rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Leader => "leader",
            Self::Qa => "qa",
            Self::Manager => "manager",
            Self::Admin => "admin",
        }
    }
}

/// Failed sign-ins, bounded, and how many passwords are hashed at once.
pub struct SignIns {
    hashing: Semaphore,
    failures: Mutex<HashMap<(IpAddr, String), (u32, Instant)>>,
}

impl Default for SignIns {
    fn default() -> Self {
        Self { hashing: Semaphore::new(HASHING_MAX), failures: Mutex::default() }
    }
}

impl SignIns {
    fn blocked(&self, ip: IpAddr, login: &str) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&(ip, login.to_owned())).is_some_and(|(n, at)| *n >= FAILURES_MAX && at.elapsed() < FAILURE_PERIOD)
    }
    fn failed(&self, ip: IpAddr, login: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, at)| at.elapsed() < FAILURE_PERIOD);
        if failures.len() >= FAILURES_KEPT_MAX
            && let Some(oldest) = failures.iter().min_by_key(|(_, (_, at))| *at).map(|(k, _)| k.clone())
        {
            failures.remove(&oldest);
        }
        let entry = failures.entry((ip, login.to_owned())).or_insert((0, Instant::now()));
        entry.0 += 1;
        entry.1 = Instant::now();
    }
    fn succeeded(&self, ip: IpAddr, login: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&(ip, login.to_owned()));
    }
}

/// Who asks: extracting it demands a valid session.
#[derive(Clone, Debug)]
pub struct User(pub hotline_db::User);

impl User {
    /// Whether the person has any of these roles.
    #[must_use]
    pub fn has(&self, roles: &[Role]) -> bool {
        roles.iter().any(|r| self.0.has_role(r.as_str()))
    }
    /// Demands somebody who works with citizens; who runs the machine alone has no business in their reports.
    pub fn staff(&self) -> Result<(), ApiError> {
        self.need(&[Role::Operator, Role::Leader, Role::Qa, Role::Manager])
    }
    /// Demands one of these roles.
    pub fn need(&self, roles: &[Role]) -> Result<(), ApiError> {
        if self.has(roles) {
            return Ok(());
        }
        let names: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
        Err(ApiError::forbidden(format!("需要角色 / needs the role {}", names.join(" | "))))
    }
}

impl FromRequestParts<Api> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let token = token_of(&parts.headers).ok_or_else(ApiError::sign_in)?;
        let hash = sha256_hex(token.as_bytes());
        let known = api.seen.user(&hash, Instant::now());
        let asked = api.sv.store.session_user(&hash, now_ms());
        let found = if known.is_some() { soon(asked).await } else { asked.await };
        match (found, known) {
            (Ok(Some(user)), _) if user.active => {
                api.seen.keep(&hash, &user, Instant::now());
                Ok(Self(user))
            }
            (Ok(_), _) => {
                api.seen.forget(&hash);
                Err(ApiError::sign_in())
            }
            (Err(e), Some(user)) if is_away(&e) => Ok(Self(user)),
            (Err(e), _) => Err(e.into()),
        }
    }
}

fn token_of(headers: &HeaderMap) -> Option<String> {
    let bearer =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    if let Some(token) = bearer {
        return Some(token.to_owned());
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    cookies.flat_map(|c| c.split(';')).find_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned))
}

/// Sign-in form.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct SignIn {
    login: String,
    password: String,
}

/// Who is signed in.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Session {
    /// For `Authorization: Bearer`; empty when only asked who one is.
    token: String,
    user: String,
    name: String,
    roles: serde_json::Value,
}

/// 登录
#[utoipa::path(post, path = "/api/v1/session", request_body = SignIn, responses((status = 200, body = Session), (status = 401), (status = 429)))]
pub(crate) async fn sign_in(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Json<SignIn>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(form) = body?;
    if form.password.len() > PASSWORD_MAX_BYTES || form.login.len() > PASSWORD_MAX_BYTES {
        return Err(ApiError::bad("用户名或密码过长 / login or password too long"));
    }
    if api.sign_ins.blocked(peer.ip(), &form.login) {
        return Err(ApiError::too_many());
    }
    let user = api.sv.store.user_by_login(&form.login).await?.filter(|u| u.active);
    let hash = user.as_ref().map(|u| u.password_hash.expose().to_owned());
    // Argon2 costs memory and a core on purpose: calls come first.
    let Ok(_slot) = api.sign_ins.hashing.acquire().await else { return Err(ApiError::sign_in()) };
    let password = form.password;
    // Unknown users cost the same time as wrong passwords; hashing stays off the reactor.
    let right = tokio::task::spawn_blocking(move || match hash {
        Some(hash) => verify_password(&password, &hash),
        None => hash_password(&password).is_none(),
    })
    .await
    .unwrap_or(false);
    let Some(user) = user.filter(|_| right) else {
        api.sign_ins.failed(peer.ip(), &form.login);
        super::audit_as(&api.sv, &format!("ip:{}", peer.ip()), "sign_in_failed", "session", None).await?;
        return Err(ApiError::sign_in());
    };
    api.sign_ins.succeeded(peer.ip(), &form.login);
    let token = random_token();
    let hours = api.sv.config.http.session_hours;
    let expires = now_ms() + i64::try_from(hours).unwrap_or(12) * 3_600_000;
    api.sv.store.session_put(&sha256_hex(token.as_bytes()), user.id, expires).await?;
    super::audit(&api.sv, &user, "sign_in", &format!("user:{}", user.id), None).await?;
    let secure = if api.sv.config.http.secure_cookie { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}", hours * 3600);
    let body = Session { token, user: user.id.to_string(), name: user.name.clone(), roles: user.roles.0.clone() };
    let mut response = Json(body).into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(response)
}

/// 退出
#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204)))]
pub(crate) async fn sign_out(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(token) = token_of(&headers) {
        let hash = sha256_hex(token.as_bytes());
        api.seen.forget(&hash);
        api.sv.store.session_delete(&hash).await?;
        // A request of the same moment may have been confirmed before the row was gone.
        api.seen.forget(&hash);
    }
    let gone = HeaderValue::from_static("hotline_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    Ok((axum::http::StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// 当前用户
#[utoipa::path(get, path = "/api/v1/session", responses((status = 200, body = Session), (status = 401)))]
pub(crate) async fn who(User(user): User) -> Json<Session> {
    Json(Session { token: String::new(), user: user.id.to_string(), name: user.name, roles: user.roles.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_block_after_the_limit_and_success_clears_them() {
        let s = SignIns::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..FAILURES_MAX {
            assert!(!s.blocked(ip, "a"));
            s.failed(ip, "a");
        }
        assert!(s.blocked(ip, "a") && !s.blocked(ip, "b"));
        s.succeeded(ip, "a");
        assert!(!s.blocked(ip, "a"));
        for i in 0..FAILURES_KEPT_MAX + 10 {
            s.failed(ip, &i.to_string());
        }
        assert!(s.failures.lock().unwrap().len() <= FAILURES_KEPT_MAX);
    }

    #[test]
    fn a_token_comes_from_the_header_or_the_cookie() {
        let mut h = HeaderMap::new();
        assert_eq!(token_of(&h), None);
        h.insert(header::COOKIE, HeaderValue::from_static("a=b; hotline_session=xyz"));
        assert_eq!(token_of(&h).as_deref(), Some("xyz"));
        h.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(token_of(&h).as_deref(), Some("abc"));
    }
}
