//! Links and QR codes to the citizens' pages.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of};
use crate::channels::web::link::{self, LinkError};
use crate::channels::web::qr;

/// A link that was sent.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LinkSent {
    /// The number it goes to, masked.
    to: String,
    /// When it lapses (epoch ms).
    expires_at: i64,
    /// The text's row.
    outgoing: Option<String>,
}

/// 给来电人发送上报链接短信
#[utoipa::path(post, path = "/api/v1/calls/{id}/link", params(("id" = String, Path)), responses((status = 202, body = LinkSent), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn send_link(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<LinkSent>), ApiError> {
    let call = api.sv.store.call_get(id_of(&id)?).await?.ok_or_else(ApiError::missing)?;
    if call.operator != Some(user.0.id) {
        user.need(&[Role::Leader, Role::Manager])?;
    }
    audit(&api.sv, &user.0, "send_link", &format!("call:{id}"), None).await?;
    let sent = link::send(&api.sv, &call, Some(user.0.id)).await.map_err(|e| match e {
        LinkError::Store(e) => ApiError::from(e),
        e => ApiError::conflict(e.to_string()),
    })?;
    let outgoing = sent.outgoing.map(|id| id.to_string());
    Ok((StatusCode::ACCEPTED, Json(LinkSent { to: sent.to, expires_at: sent.expires_at, outgoing })))
}

/// What the poster says.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Poster {
    /// Where it hangs, at most 60 characters; it stands in the form already.
    place: Option<String>,
    /// `svg` (default) or `png`.
    format: Option<String>,
}

/// 上报页二维码
#[utoipa::path(get, path = "/api/v1/qr", params(Poster), responses((status = 200, description = "image/svg+xml or image/png"), (status = 400), (status = 409)))]
pub(crate) async fn qr_code(
    State(api): State<Api>,
    user: User,
    Query(poster): Query<Poster>,
) -> Result<Response, ApiError> {
    user.staff()?;
    let refused = |e: qr::QrError| match e {
        qr::QrError::NoAddress => ApiError::conflict(e.to_string()),
        qr::QrError::TooLong => ApiError::bad(e.to_string()),
    };
    let address = qr::address(&api.sv.sealer, &api.sv.config.web, poster.place.as_deref()).map_err(refused)?;
    match poster.format.as_deref() {
        None | Some("svg") => {
            Ok(([(header::CONTENT_TYPE, "image/svg+xml")], qr::svg(&address).map_err(refused)?).into_response())
        }
        Some("png") => {
            Ok(([(header::CONTENT_TYPE, "image/png")], qr::png(&address, 10).map_err(refused)?).into_response())
        }
        Some(_) => Err(ApiError::bad("format 为 svg 或 png / format is svg or png")),
    }
}
