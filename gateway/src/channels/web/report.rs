//! The report page: asked for, filled in, taken.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use hotline_db::{LinkPurpose, WebLink};
use serde_json::json;
use tracing::{info, warn};

use super::form::{self, Bounds, Broken, Form, mobile_or_fixed};
use super::limits::{PACE, UPLOAD_TIME};
use super::page::{Report, Site, html};
use super::token::{self, BadForm};
use super::{Asked, Desk, Pages, is_cross_site, receipt, wants_json};
use crate::clock::now_ms;
use crate::intake::accept::{self, Taken};
use crate::intake::envelope::{Attached, Channel, Datum, Envelope, Place, Sender};
use crate::privacy::{Pii, mask_phone};

/// Name of the page without a link, in its forms.
pub(super) const OPEN: &str = "open";

/// Where a page came from.
pub(super) enum Entry {
    /// The QR code, or the bare address.
    Open,
    /// A link of ours: its token and row.
    Link(String, Box<WebLink>),
}

impl Entry {
    /// The name forms of this page are signed for.
    pub(super) fn page(&self) -> &str {
        match self {
            Self::Open => OPEN,
            Self::Link(_, link) => &link.token_hash,
        }
    }
}

/// `GET /r`
pub(super) async fn open(State(pages): Desk, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let site = pages.site(&asked, &headers);
    if !pages.sv.config.web.open {
        return site.sorry(StatusCode::FORBIDDEN, "closed");
    }
    let mut filled = Form::default();
    if let Some(place) = asked.p.as_deref().and_then(|p| token::read_place(&pages.sv.sealer, p)) {
        filled.place = place;
    }
    show(&pages, &site, &Entry::Open, &asked, &filled, &[], StatusCode::OK).await
}

/// `GET /r/{token}`
pub(super) async fn linked(
    State(pages): Desk,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let site = pages.site(&asked, &headers);
    let link = match find(&pages, &site, peer, &headers, &token).await {
        Ok(link) => link,
        Err(sorry) => return *sorry,
    };
    if link.purpose == LinkPurpose::Survey {
        return Redirect::to(&format!("/s/{token}")).into_response();
    }
    if link.used_at.is_some() {
        return receipt::of_message(&pages, &site, link.message, &headers, "link").await;
    }
    if link.expires_at <= now_ms() {
        return site.sorry(StatusCode::GONE, "gone");
    }
    if let Err(e) = pages.sv.store.web_link_opened(&link.token_hash, now_ms()).await {
        warn!(error = %e, "a link's first visit isn't noted");
    }
    show(&pages, &site, &Entry::Link(token, Box::new(link)), &asked, &Form::default(), &[], StatusCode::OK).await
}

/// A link's row, or the page that says why there is none.
pub(super) async fn find(
    pages: &Pages,
    site: &Site,
    peer: SocketAddr,
    headers: &HeaderMap,
    token: &str,
) -> Result<WebLink, Box<Response>> {
    let from = pages.address(peer, headers);
    if !pages.unknown().has_room(from, now_ms()) {
        return Err(Box::new(sorry(site, headers, StatusCode::TOO_MANY_REQUESTS, "busy")));
    }
    let found = match token::link_hash(token) {
        Some(hash) => pages.sv.store.web_link_get(&hash).await,
        None => Ok(None),
    };
    match found {
        Ok(Some(link)) => Ok(link),
        Ok(None) => {
            pages.unknown().take(from, now_ms());
            Err(Box::new(sorry(site, headers, StatusCode::NOT_FOUND, "missing")))
        }
        Err(e) => {
            warn!(error = %e, "link not looked up");
            Err(Box::new(sorry(site, headers, StatusCode::SERVICE_UNAVAILABLE, "away")))
        }
    }
}

async fn show(
    pages: &Pages,
    site: &Site,
    entry: &Entry,
    asked: &Asked,
    filled: &Form,
    errors: &[(&'static str, String)],
    status: StatusCode,
) -> Response {
    let web = &pages.sv.config.web;
    let caller = match entry {
        Entry::Open => None,
        Entry::Link(_, link) => {
            // As people here write it: without the country.
            let number = number_of(pages, link).await;
            number.map(|n| mask_phone(n.reveal().strip_prefix("+86").unwrap_or(n.reveal())))
        }
    };
    let place = asked.p.as_deref().map(|p| format!("&amp;p={}", super::page::escape(p))).unwrap_or_default();
    let report = Report {
        form: token::new_form(&pages.sv.sealer, entry.page(), now_ms()),
        filled,
        errors,
        caller,
        files_max: web.files_max,
        bytes_max: bytes_max(pages),
        map_bounds: pages.map_bounds(),
        query: place,
        draft_key: match entry {
            Entry::Open => "report".to_owned(),
            Entry::Link(_, link) => format!("report-{}", &link.token_hash[..12]),
        },
    };
    html(status, site.report(&report))
}

fn bytes_max(pages: &Pages) -> u64 {
    pages.sv.config.web.upload_max_mb as u64 * 1_048_576
}

/// The number of the citizen a link was sent to.
async fn number_of(pages: &Pages, link: &WebLink) -> Option<Pii<String>> {
    let party = pages.sv.store.party_get(link.party?).await.ok()??;
    pages.sv.sealer.open_sealed(party.phone_sealed.as_deref()?).ok().map(Pii::new)
}

/// `POST /r`
pub(super) async fn send_open(
    State(pages): Desk,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let site = pages.site(&asked, &headers);
    if !pages.sv.config.web.open {
        return site.sorry(StatusCode::FORBIDDEN, "closed");
    }
    let from = pages.address(peer, &headers);
    if !pages.open().has_room(from, now_ms()) || !pages.tries().take(from, now_ms()) {
        return sorry(&site, &headers, StatusCode::TOO_MANY_REQUESTS, "busy");
    }
    let response = take(&pages, &site, Entry::Open, &asked, (&headers, from), body).await;
    // What was refused costs nothing of the hour: a mistake in the form isn't abuse.
    if response.status().is_success() || response.status().is_redirection() {
        pages.open().take(from, now_ms());
    }
    response
}

/// `POST /r/{token}`
pub(super) async fn send_linked(
    State(pages): Desk,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let site = pages.site(&asked, &headers);
    let link = match find(&pages, &site, peer, &headers, &token).await {
        Ok(link) => link,
        Err(sorry) => return *sorry,
    };
    let usable = link.purpose == LinkPurpose::Report && link.expires_at > now_ms();
    if link.used_at.is_some() {
        return done(&headers, &format!("/r/{token}"));
    }
    if !usable {
        return sorry(&site, &headers, StatusCode::GONE, "gone");
    }
    let from = pages.address(peer, &headers);
    if !pages.tries().take(from, now_ms()) {
        return sorry(&site, &headers, StatusCode::TOO_MANY_REQUESTS, "busy");
    }
    take(&pages, &site, Entry::Link(token, Box::new(link)), &asked, (&headers, from), body).await
}

async fn take(
    pages: &Pages,
    site: &Site,
    entry: Entry,
    asked: &Asked,
    (headers, from): (&HeaderMap, IpAddr),
    body: Body,
) -> Response {
    let again = |form: Form, errors: Vec<(&'static str, String)>, status: StatusCode| {
        refused(pages, site, &entry, asked, headers, form, errors, status)
    };
    let say = |key: &'static str| vec![("", site.say(key).to_owned())];
    if is_cross_site(headers) {
        return again(Form::default(), say("err_form"), StatusCode::FORBIDDEN).await;
    }
    let sealer = &pages.sv.sealer;
    let bounds = Bounds { bytes_max: bytes_max(pages), files_max: pages.sv.config.web.files_max, pace: PACE };
    let proof = |text: &str| token::genuine_form(sealer, entry.page(), text).is_some();
    let places = (&pages.uploads, from);
    let reading = form::read(headers, body, &bounds, &pages.sv.attachments, site.lang, proof, places);
    let form = match tokio::time::timeout(UPLOAD_TIME, reading).await {
        Ok(Ok(form)) => form,
        Err(_) | Ok(Err(Broken::CutOff)) => {
            return again(Form::default(), say("err_cut"), StatusCode::REQUEST_TIMEOUT).await;
        }
        Ok(Err(Broken::TooSlow)) => {
            return again(Form::default(), say("err_slow"), StatusCode::REQUEST_TIMEOUT).await;
        }
        Ok(Err(Broken::TooLarge)) => {
            return again(Form::default(), say("err_large"), StatusCode::PAYLOAD_TOO_LARGE).await;
        }
        Ok(Err(Broken::Busy)) => {
            return again(Form::default(), say("err_store"), StatusCode::SERVICE_UNAVAILABLE).await;
        }
        Ok(Err(Broken::NotAForm | Broken::NoProof)) => {
            return again(Form::default(), say("err_form"), StatusCode::BAD_REQUEST).await;
        }
    };
    let sent = match token::read_form(sealer, entry.page(), &form.form, now_ms()) {
        Ok(random) => random.to_owned(),
        Err(bad) => {
            let key = if bad == BadForm::TooFast { "err_fast" } else { "err_form" };
            return again(form, say(key), StatusCode::UNPROCESSABLE_ENTITY).await;
        }
    };
    if !form.trap.is_empty() {
        info!("a report with the trap filled in is refused");
        return again(form, say("err_trap"), StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let errors = form.judge(site.lang, &pages.sv.config.site.area_code);
    if !errors.is_empty() {
        return again(form, errors, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let (dedup_key, receipt) = match &entry {
        Entry::Open => (format!("form-{sent}"), format!("/r/done/{}", form.form)),
        // One link, one report: whichever of its forms comes first.
        Entry::Link(token, link) => (format!("link-{}", &link.token_hash[..40]), format!("/r/{token}")),
    };
    let envelope = envelope(pages, &entry, &form, dedup_key).await;
    match accept::message(&pages.sv, envelope).await {
        // The link is used up in the transaction that stores the message, at once or from the journal.
        Ok(Taken::New { .. } | Taken::Duplicate { .. }) => done(headers, &receipt),
        Ok(Taken::Journaled) => receipt::journaled(site, headers),
        Ok(Taken::Refused(_)) => again(form, say("err_refused"), StatusCode::FORBIDDEN).await,
        Err(e) => {
            warn!(error = %e, "a report isn't stored");
            again(form, say("err_store"), StatusCode::SERVICE_UNAVAILABLE).await
        }
    }
}

async fn envelope(pages: &Pages, entry: &Entry, form: &Form, dedup_key: String) -> Envelope {
    let config = &pages.sv.config;
    let number = match entry {
        Entry::Open => mobile_or_fixed(&form.phone, &config.site.area_code).map(Pii::new),
        Entry::Link(_, link) => number_of(pages, link).await,
    };
    let line = match entry {
        Entry::Open => "qr",
        Entry::Link(..) => "link",
    };
    let mut text = form.text.clone();
    let mut add = |label: &str, value: &str| {
        if !value.is_empty() {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{label}:{value}"));
        }
    };
    add("地点", &form.place);
    add("类别", form.class_name().unwrap_or_default());
    // The pin is the citizen's word; a photo's own position stands in for it.
    let place = form.pin().or(form.photo_place).map(|(lon, lat)| Place {
        lon,
        lat,
        datum: Datum::Wgs84,
        label: Some(form.place.clone()).filter(|p| !p.is_empty()),
    });
    let now = now_ms();
    Envelope {
        place,
        attached: form.files.iter().map(|sha256| Attached { sha256: sha256.clone() }).collect(),
        link: match entry {
            Entry::Open => None,
            Entry::Link(_, link) => Some(link.token_hash.clone()),
        },
        ..Envelope::text(Channel::Web, line, dedup_key, number.map_or(Sender::Unknown, Sender::Phone), text, now)
    }
}

/// Taken: the script is told where to go, a form is sent there.
fn done(headers: &HeaderMap, receipt: &str) -> Response {
    if wants_json(headers) {
        return Json(json!({ "receipt": receipt })).into_response();
    }
    Redirect::to(receipt).into_response()
}

#[allow(clippy::too_many_arguments, reason = "the page again, with everything that was on it")]
async fn refused(
    pages: &Pages,
    site: &Site,
    entry: &Entry,
    asked: &Asked,
    headers: &HeaderMap,
    form: Form,
    errors: Vec<(&'static str, String)>,
    status: StatusCode,
) -> Response {
    if wants_json(headers) {
        return complaint(&errors, status);
    }
    show(pages, site, entry, asked, &form, &errors, status).await
}

fn complaint(errors: &[(&'static str, String)], status: StatusCode) -> Response {
    let list: Vec<_> = errors.iter().map(|(field, message)| json!({ "field": field, "message": message })).collect();
    (status, Json(json!({ "errors": list }))).into_response()
}

/// Why there is nothing to fill in, for the script or for a person.
fn sorry(site: &Site, headers: &HeaderMap, status: StatusCode, key: &str) -> Response {
    if wants_json(headers) {
        let lead = site.say(&format!("{key}_lead"));
        return (status, Json(json!({ "errors": [{ "field": "", "message": lead }] }))).into_response();
    }
    site.sorry(status, key)
}
