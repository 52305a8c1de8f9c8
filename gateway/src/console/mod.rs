//! The console: sign-in, REST with its OpenAPI document, health, metrics and one page.
//! One controller file per resource; `error` is the only map from errors to status codes.

mod attachment;
mod auth;
mod ban;
mod block;
mod call;
mod callback;
mod casecore;
mod desk;
mod desk_phone;
mod duty;
mod error;
mod events;
mod floor;
mod guest;
mod handover;
mod incident;
mod item;
mod line;
mod measure;
mod message;
mod openapi;
pub mod operator;
mod page;
mod phone;
pub mod queue;
mod recording;
mod recusal;
mod reward;
mod robot;
mod seen;
mod signing;
mod system;
mod trace;
mod trunk;
mod web;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::Services;

pub use auth::{Role, SignIns, User};
pub use error::ApiError;
use seen::Seen;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) sv: Arc<Services>,
    pub(crate) sign_ins: Arc<SignIns>,
    /// Who asked lately.
    pub(crate) seen: Arc<Seen>,
}

/// The running server.
pub struct Console {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Console {
    /// Lets requests at work finish.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.task).await;
    }
}

/// Listens and serves.
pub async fn start(sv: Arc<Services>) -> std::io::Result<Console> {
    let listener = tokio::net::TcpListener::bind(sv.config.http.listen).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let app = router(sv).into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move {
        if let Err(e) = axum::serve(listener, app).with_graceful_shutdown(stopped.cancelled_owned()).await {
            tracing::error!(error = %e, "HTTP server");
        }
    });
    Ok(Console { address, stop, task })
}

fn router(sv: Arc<Services>) -> Router {
    let body_max = sv.config.http.body_max_bytes;
    let api = Api { sv, sign_ins: Arc::new(SignIns::default()), seen: Arc::new(Seen::default()) };
    Router::new()
        .route("/", get(page::index))
        .route("/app.js", get(page::script))
        .route("/work.js", get(page::work_script))
        .route("/call.js", get(page::call_script))
        .route("/floor.js", get(page::floor_script))
        .route("/line.js", get(page::line_script))
        .route("/figures.js", get(page::figure_script))
        .route("/events.js", get(page::event_script))
        .route("/app.css", get(page::style))
        .route("/healthz", get(system::healthz))
        .route("/metrics", get(system::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/api/v1/session", post(auth::sign_in).delete(auth::sign_out).get(auth::who))
        .route("/api/v1/calls", get(call::list))
        .route("/api/v1/calls/live", get(call::live))
        .route("/api/v1/calls/{id}", get(call::show))
        .route("/api/v1/calls/{id}/events", get(call::events))
        .route("/api/v1/calls/{id}/trace", get(trace::show_trace))
        .route("/api/v1/calls/{id}/record/pause", post(recording::pause))
        .route("/api/v1/calls/{id}/record/resume", post(recording::resume))
        .route("/api/v1/calls/{id}/reveal", post(call::reveal))
        .route("/api/v1/calls/{id}/link", post(web::send_link))
        .route("/api/v1/qr", get(web::qr_code))
        .route("/api/v1/operators/me/state", post(operator::set_state))
        .route("/api/v1/operators/me/phone", post(phone::key).delete(phone::end_key))
        .route("/ws/sip", get(phone::connect))
        .route("/api/v1/sip/bans", get(ban::list))
        .route("/api/v1/sip/bans/{source}", delete(ban::lift))
        .route("/api/v1/queues", get(operator::queues))
        .route("/api/v1/users/{id}/skills", get(operator::skills).put(operator::set_skills))
        .route("/api/v1/trunks", get(trunk::list))
        .route("/api/v1/robot", get(robot::show))
        .route("/hooks/mail", post(crate::channels::mail::hook::push))
        .route("/api/v1/items", get(item::list).post(item::create))
        .route("/api/v1/items/{id}", get(item::show))
        .route("/api/v1/blocks", get(block::list).post(block::add))
        .route("/api/v1/blocks/{id}", delete(block::lift))
        .route("/api/v1/recordings/{id}", get(recording::show))
        .route("/api/v1/recordings/{id}/audio", get(recording::audio))
        .route("/api/v1/recordings/{id}/levels", get(recording::levels))
        .route("/api/v1/recordings/{id}/transcript", get(recording::transcript))
        .route("/api/v1/attachments/{sha256}", get(attachment::file))
        .route("/api/v1/attachments/{sha256}/facts", get(attachment::facts))
        .route("/api/v1/callbacks", get(callback::list))
        .route("/api/v1/callbacks/{id}", get(callback::show))
        .route("/api/v1/callbacks/{id}/call", post(callback::call))
        .route("/api/v1/work", get(work::list))
        .route("/api/v1/work/next", post(work::next))
        .route("/api/v1/work/{id}", get(work::show))
        .route("/api/v1/work/{id}/take", post(work::take))
        .route("/api/v1/work/{id}/renew", post(work::renew))
        .route("/api/v1/work/{id}/release", post(work::release))
        .route("/api/v1/work/{id}/transfer", post(work::transfer))
        .route("/api/v1/work/{id}/done", post(work::done))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/messages", get(message::list))
        .route("/api/v1/messages/{contact}", get(message::show))
        .route("/api/v1/items/{id}/reply", post(message::reply))
        .route("/api/v1/ledger/cases/{case_no}/stage", post(casecore::stage))
        .route("/api/v1/casecore/events", post(casecore::webhook))
        .merge(desk::routes())
        .merge(desk_phone::routes())
        .merge(line::routes())
        .merge(floor::routes())
        .merge(queue::routes())
        .merge(guest::routes())
        .merge(duty::routes())
        .merge(handover::routes())
        .merge(measure::routes())
        .merge(incident::routes())
        .merge(reward::routes())
        .merge(crate::channels::web::routes(&api.sv))
        .merge(crate::channels::wechat::routes())
        .layer(DefaultBodyLimit::max(body_max))
        .merge(crate::channels::sms::http::routes())
        .layer(axum::middleware::map_response(security_headers))
        .with_state(api)
}

/// The page loads nothing from elsewhere and can't be framed; a handler with a stricter policy of its own keeps it.
async fn security_headers(mut response: axum::response::Response) -> axum::response::Response {
    use axum::http::HeaderValue;
    let headers = response.headers_mut();
    headers.entry("content-security-policy").or_insert(HeaderValue::from_static(
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    response
}

/// One line of the audit chain; what can't be audited isn't done.
pub(crate) async fn audit(
    sv: &Services,
    actor: &hotline_db::User,
    action: &str,
    object: &str,
    reason: Option<&str>,
) -> Result<(), ApiError> {
    audit_as(sv, &actor.id.to_string(), action, object, reason).await
}

/// The same for who is not signed in.
pub(crate) async fn audit_as(
    sv: &Services,
    actor: &str,
    action: &str,
    object: &str,
    reason: Option<&str>,
) -> Result<(), ApiError> {
    let row = hotline_db::NewAudit {
        at: crate::clock::now_ms(),
        actor: actor.into(),
        action: action.into(),
        object: object.into(),
        reason: reason.map(str::to_owned),
        data: serde_json::Value::Null,
    };
    sv.store.audit(row).await?;
    Ok(())
}

/// A reason a person gives for looking: short, but not nothing.
pub(crate) fn reason_of(reason: Option<&str>) -> Result<&str, ApiError> {
    match reason.map(str::trim) {
        Some(r) if (2..=200).contains(&r.chars().count()) => Ok(r),
        _ => Err(ApiError::bad("请填写理由(2–200 字) / give a reason of 2 to 200 characters: ?reason=…")),
    }
}

/// An id from a path.
pub(crate) fn id_of(text: &str) -> Result<hotline_db::Id, ApiError> {
    text.parse().map_err(|_| ApiError::missing())
}
