//! The citizens' pages: report a problem by a link we texted or a QR code, answer how it went.
//! No sign-in, no cookie, nothing from elsewhere; whole without a script.

mod form;
mod limits;
pub mod link;
mod pace;
mod page;
mod places;
pub mod qr;
mod rate;
mod receipt;
mod report;
mod survey;
mod token;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hotline_sip::IpNet;
use serde::Deserialize;
use tracing::warn;

use crate::app::Services;
use crate::clock::now_ms;
use page::Site;
use places::Places;
use rate::Hourly;
use words::Lang;

/// What the pages share.
pub(super) struct Pages {
    sv: Arc<Services>,
    /// Reports through the QR code.
    open: Mutex<Hourly>,
    /// Reports that come, taken or not.
    tries: Mutex<Hourly>,
    /// Links that lead nowhere.
    unknown: Mutex<Hourly>,
    uploads: Places,
    proxies: Vec<IpNet>,
    map: Option<(Bytes, &'static str)>,
}

type Desk = axum::extract::State<Arc<Pages>>;

/// What may stand in the address of every page.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    /// `zh` or `en`.
    lang: Option<String>,
    /// A signed place of a QR code.
    p: Option<String>,
}

/// The pages' routes.
pub fn routes<S: Clone + Send + Sync + 'static>(sv: &Arc<Services>) -> Router<S> {
    let web = &sv.config.web;
    let pages = Arc::new(Pages {
        sv: Arc::clone(sv),
        open: Mutex::new(Hourly::new(web.address_hour_max, web.open_hour_max)),
        tries: Mutex::new(Hourly::new(limits::TRIES_HOUR_MAX, limits::TRIES_ALL_MAX)),
        unknown: Mutex::new(Hourly::new(limits::UNKNOWN_HOUR_MAX, u32::MAX)),
        uploads: Places::new(),
        // What doesn't parse was refused when the configuration was read.
        proxies: web.proxies.iter().filter_map(|n| n.parse().ok()).collect(),
        map: web.map.as_deref().and_then(load_map),
    });
    Router::new()
        .route("/r", get(report::open).post(report::send_open))
        .route("/r/app.js", get(script))
        .route("/r/app.css", get(style))
        .route("/r/icon.svg", get(icon))
        .route("/r/map", get(map))
        .route("/r/done/{form}", get(receipt::of_form))
        .route("/r/{token}", get(report::linked).post(report::send_linked))
        .route("/s/{token}", get(survey::ask).post(survey::answer))
        .with_state(pages)
}

/// Forgets links that lapsed long ago.
pub fn spawn(sv: &Arc<Services>) {
    let sv = Arc::clone(sv);
    tokio::spawn(async move {
        let mut every = tokio::time::interval(limits::PRUNE_EVERY);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = sv.cancel.cancelled() => return,
            }
            if let Err(e) = sv.store.web_links_prune(now_ms() - limits::LAPSED_KEPT_MS).await {
                warn!(error = %e, "lapsed links not forgotten");
            }
        }
    });
}

/// A picture that is too large or none is a page without a map, said in the log.
fn load_map(path: &std::path::Path) -> Option<(Bytes, &'static str)> {
    let read = std::fs::metadata(path)
        .and_then(|m| if m.len() <= limits::MAP_BYTES_MAX { std::fs::read(path) } else { Err(too_large()) });
    match read {
        Ok(bytes) => match crate::attachment::Kind::sniff(&bytes).filter(|k| k.is_decoded()) {
            Some(kind) => Some((bytes.into(), kind.mime())),
            None => {
                warn!(path = %path.display(), "web.map: 不是 PNG、JPEG 或 WebP 图片 / is no PNG, JPEG or WebP picture");
                None
            }
        },
        Err(e) => {
            warn!(path = %path.display(), error = %e, "web.map: 无法读取 / can't be read");
            None
        }
    }
}

fn too_large() -> std::io::Error {
    std::io::Error::other("larger than 8 MiB")
}

impl Pages {
    fn open(&self) -> MutexGuard<'_, Hourly> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> MutexGuard<'_, Hourly> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown(&self) -> MutexGuard<'_, Hourly> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Language and names of the page asked for.
    fn site(&self, asked: &Asked, headers: &HeaderMap) -> Site {
        let config = &self.sv.config;
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
        let lang = Lang::choose(asked.lang.as_deref(), accepted, &config.site.language);
        Site {
            title: lang.pick(&config.web.title, &config.web.title_en).to_owned(),
            hotline: config.hotlines.first().map(|h| h.number.clone()).unwrap_or_default(),
            lang,
        }
    }

    /// Who asks: the peer, or what a proxy of ours says about it.
    fn address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let told = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
        crate::net::address::behind_proxies(&self.proxies, peer.ip(), told)
    }

    /// Edges of the map, if its picture is there.
    fn map_bounds(&self) -> Option<&[f64]> {
        self.map.as_ref().map(|_| self.sv.config.web.map_bounds.as_slice())
    }
}

/// Whether the page's script asks, which wants JSON.
fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/json"))
}

/// Another site's page must not send our form for its visitors; browsers say so.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|v| v == "cross-site")
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("assets/report.js"))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("assets/report.css"))
}

async fn icon() -> Response {
    asset("image/svg+xml", include_str!("assets/icon.svg"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

async fn map(axum::extract::State(pages): Desk) -> Response {
    match &pages.map {
        Some((bytes, kind)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "max-age=86400")], bytes.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
