//! For machines that watch: health and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use crate::observe::health::{self, Health};

/// 健康检查
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn healthz(State(api): State<Api>) -> Response {
    let health = health::check(&api.sv).await;
    let status = if health.status == "down" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(health)).into_response()
}

/// Prometheus
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "Prometheus text format")))]
pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let mut text =
        api.sv.metrics.render(api.sv.live.len(), &api.sv.sip.stats(), &api.sv.media.stats(), api.sv.trace.figures());
    text += &crate::trunk::render_metrics(&api.sv.trunks);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
