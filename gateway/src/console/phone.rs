//! Browser phones: the password of a shift, and the WebSocket their SIP comes over (RFC 7118).

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use hotline_db::PhoneKey;
use hotline_sip::IpNet;
use hotline_sip::digest::ha1_md5;
use serde::Serialize;

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;
use crate::app::sip_users;
use crate::clock::now_ms;
use crate::net::address::behind_proxies;
use crate::net::sip::{MESSAGE_BYTES_MAX, WebPeer};
use crate::privacy::random_token;

/// The subprotocol's name (RFC 7118 §4.1).
const SIP: &str = "sip";

/// What a browser registers with.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PhoneView {
    /// SIP user; the address of record is `sip:USER@REALM`.
    user: String,
    /// Digest realm.
    realm: String,
    /// Shown this once; the digest is MD5, with any `ha1` made of it.
    password: String,
    /// HA1 of it (RFC 7616 §3.4.2), for libraries that take that instead.
    ha1: String,
    /// Where to connect.
    ws_url: String,
    /// When the password ends, in ms since 1970; the one before it has ended now.
    expires_at: i64,
}

/// 领取当班话机密码
#[utoipa::path(post, path = "/api/v1/operators/me/phone", responses((status = 200, body = PhoneView), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn key(State(api): State<Api>, user: User, headers: HeaderMap) -> Result<Json<PhoneView>, ApiError> {
    let config = &api.sv.config;
    if !config.web_phone.enabled {
        return Err(ApiError::missing());
    }
    user.need(&[Role::Operator])?;
    let name = user.0.sip_user.clone();
    let name = name
        .ok_or_else(|| ApiError::bad("该用户没有话机号 / this user has no SIP user: `hotline user add --sip-user`"))?;
    let now = now_ms();
    let expires_at = now + i64::try_from(config.web_phone.key_hours).unwrap_or(12) * 3_600_000;
    let password = random_token();
    let ha1 = ha1_md5(&name, &config.sip.realm, &password);
    super::audit(&api.sv, &user.0, "phone_key", &format!("user:{}", user.0.id), None).await?;
    let key = PhoneKey { account: user.0.id, ha1_md5: ha1.as_str().into(), expires_at };
    api.sv.store.phone_key_put(key, now).await?;
    api.sv.sip.set_users(sip_users(&api.sv.store).await?);
    let scheme = if config.http.secure_cookie { "wss" } else { "ws" };
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let ws_url = format!("{scheme}://{}/ws/sip", host.map_or_else(|| config.http.listen.to_string(), str::to_owned));
    Ok(Json(PhoneView { user: name, realm: config.sip.realm.clone(), password, ha1, ws_url, expires_at }))
}

/// 作废当班话机密码
#[utoipa::path(delete, path = "/api/v1/operators/me/phone", responses((status = 204), (status = 403)))]
pub(crate) async fn end_key(State(api): State<Api>, user: User) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Operator])?;
    api.sv.store.phone_key_end(user.0.id).await?;
    api.sv.sip.set_users(sip_users(&api.sv.store).await?);
    Ok(StatusCode::NO_CONTENT)
}

/// `/ws/sip`: for who is signed in, and for the phone networks; what is said there is SIP with its own digest.
pub(crate) async fn connect(
    State(api): State<Api>,
    user: Result<User, ApiError>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let config = &api.sv.config;
    if !config.web_phone.enabled {
        return Err(ApiError::missing());
    }
    if !is_allowed_origin(&headers, &config.web_phone.origins) {
        return Err(ApiError::forbidden(
            "不允许的来源页面,请加入 web_phone.origins / this page's origin is not allowed",
        ));
    }
    if !offers_sip(&headers) {
        return Err(ApiError::bad("WebSocket 子协议应为 sip / ask for the WebSocket subprotocol `sip`"));
    }
    let told = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
    let remote = SocketAddr::new(behind_proxies(&nets(&config.web.proxies), peer.ip(), told), peer.port());
    match user {
        Ok(user) => user.need(&[Role::Operator, Role::Leader])?,
        Err(why) if !is_in_house(&nets(&config.sip.phone_networks), (peer.ip(), remote.ip()), &headers) => {
            return Err(why);
        }
        Err(_) => {}
    }
    let web = WebPeer { local: config.http.listen, remote, is_secure: config.http.secure_cookie };
    let sip = api.sv.sip.clone();
    let upgrade = upgrade.protocols([SIP]).max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| sip.serve_web(socket, web)))
}

fn nets(texts: &[String]) -> Vec<IpNet> {
    // What doesn't parse was refused when the configuration was read.
    texts.iter().filter_map(|net| net.parse().ok()).collect()
}

/// Whether `remote`, as far as our proxies tell of who is behind `peer`, is of a phone network. Behind a proxy nobody
/// told us of everybody has that proxy's address, often this machine's own: that says nothing.
fn is_in_house(networks: &[IpNet], (peer, remote): (IpAddr, IpAddr), headers: &HeaderMap) -> bool {
    const BY_PROXIES: [&str; 3] = ["x-forwarded-for", "forwarded", "x-real-ip"];
    let is_hidden = peer == remote && BY_PROXIES.into_iter().any(|name| headers.contains_key(name));
    !is_hidden && networks.iter().any(|net| net.contains(remote))
}

/// Browsers always say whose page opens a WebSocket, and no rule of theirs keeps another site's from it.
fn is_allowed_origin(headers: &HeaderMap, others: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let own = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    (host.is_some() && host == own) || others.iter().any(|other| other == origin)
}

fn offers_sip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    offered.flat_map(|v| v.split(',')).any(|name| name.trim().eq_ignore_ascii_case(SIP))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn another_sites_page_is_kept_out_unless_it_is_listed() {
        let others = vec!["https://desk.example".to_owned()];
        let of = |origin: &'static str| {
            is_allowed_origin(&headers(&[(header::HOST, "hotline:8080"), (header::ORIGIN, origin)]), &others)
        };
        assert!(of("http://hotline:8080") && of("https://hotline:8080") && of("https://desk.example"));
        for bad in ["http://hotline", "https://evil.example", "http://desk.example", "null", "", "hotline:8080"] {
            assert!(!of(bad), "{bad}");
        }
        assert!(is_allowed_origin(&headers(&[(header::HOST, "h")]), &[]), "no browser");
    }

    #[test]
    fn an_address_a_proxy_nobody_told_us_of_has_hidden_is_no_phones() {
        let networks = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, remote: &str, name: &'static str| {
            let headers = headers(&[(HeaderName::from_static(name), "198.51.100.7")]);
            is_in_house(&networks, (peer.parse().unwrap(), remote.parse().unwrap()), &headers)
        };
        assert!(of("127.0.0.1", "127.0.0.1", "accept") && of("10.1.1.1", "10.1.1.1", "accept"));
        assert!(of("127.0.0.1", "10.1.1.1", "x-forwarded-for"), "through a proxy of ours");
        assert!(!of("127.0.0.1", "198.51.100.7", "x-forwarded-for"), "a stranger through a proxy of ours");
        for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            assert!(!of("127.0.0.1", "127.0.0.1", name), "{name}");
        }
    }

    #[test]
    fn the_subprotocol_is_asked_for() {
        let of = |text: &'static str| offers_sip(&headers(&[(header::SEC_WEBSOCKET_PROTOCOL, text)]));
        assert!(of("sip") && of("mqtt, SIP") && !of("sips") && !offers_sip(&HeaderMap::new()));
    }
}
