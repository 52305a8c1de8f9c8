//! What citizens sent along: facts, copies to look at, and the file as it came. Every look is audited.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use hotline_db::Attachment;
use serde::Deserialize;

use super::auth::User;
use super::error::ApiError;
use super::recording::serve_file;
use super::{Api, audit, reason_of, recusal};
use crate::attachment::{Kind, View, is_sum};

/// A browser runs nothing that lies in such a file, whatever it takes it for.
const INERT: &str = "default-src 'none'; style-src 'none'; sandbox";

/// Which copy, and why.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Look {
    /// `page` (up to 1600 px, the default), `thumb` (320 px) or `original`: as it came, with its metadata.
    view: Option<String>,
    /// For the original: 2 to 200 characters, kept in the audit chain.
    reason: Option<String>,
}

/// 附件信息:种类、尺寸、照片自带的位置和时间
#[utoipa::path(get, path = "/api/v1/attachments/{sha256}/facts", params(("sha256" = String, Path)), responses((status = 200), (status = 403), (status = 404)))]
pub(crate) async fn facts(
    State(api): State<Api>,
    user: User,
    Path(sha256): Path<String>,
) -> Result<Json<Attachment>, ApiError> {
    user.staff()?;
    let row = row_of(&api, &user, &sha256).await?;
    // Where and when somebody took a picture is as telling as the file itself.
    if row.lon.is_some() || row.taken_at.is_some() {
        audit(&api.sv, &user.0, "read_attachment_facts", &format!("attachment:{sha256}"), None).await?;
    }
    Ok(Json(row))
}

/// 查看或下载附件(审计)
#[utoipa::path(get, path = "/api/v1/attachments/{sha256}", params(("sha256" = String, Path), Look), responses((status = 200, description = "image/jpeg, or the file itself"), (status = 206), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn file(
    State(api): State<Api>,
    user: User,
    Path(sha256): Path<String>,
    Query(look): Query<Look>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    user.staff()?;
    let row = row_of(&api, &user, &sha256).await?;
    let kind = Kind::of(&row.kind).ok_or_else(ApiError::missing)?;
    let view = match look.view.as_deref() {
        None | Some("page") => View::Page,
        Some("thumb") => View::Thumb,
        Some("original") => View::Original,
        Some(_) => return Err(ApiError::bad("view 为 page、thumb 或 original / view is page, thumb or original")),
    };
    let (action, reason) = match view {
        View::Original => ("read_attachment", Some(reason_of(look.reason.as_deref())?)),
        View::Page | View::Thumb if !kind.is_decoded() => {
            return Err(ApiError::conflict(
                "此文件没有预览,请用 view=original 下载 / there is no copy to look at: ask for view=original",
            ));
        }
        View::Page | View::Thumb => ("view_attachment", None),
    };
    audit(&api.sv, &user.0, action, &format!("attachment:{sha256}"), reason).await?;
    let mime = if view == View::Original { kind.mime() } else { "image/jpeg" };
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let mut response = serve_file(&api.sv.attachments.path(&sha256, view), range, mime).await?;
    let h = response.headers_mut();
    h.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(INERT));
    h.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    let disposition = match view {
        View::Original => format!("attachment; filename=\"{}.{}\"", &sha256[..16], kind.as_str()),
        View::Page | View::Thumb => "inline".to_owned(),
    };
    if let Ok(value) = disposition.parse() {
        h.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn row_of(api: &Api, user: &User, sha256: &str) -> Result<Attachment, ApiError> {
    if !is_sum(sha256) {
        return Err(ApiError::missing());
    }
    recusal::attachment(api, user, sha256).await?;
    api.sv.store.attachment_get(sha256).await?.ok_or_else(ApiError::missing)
}
