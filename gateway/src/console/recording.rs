//! Recordings: facts, audio with range requests, transcripts. Every playback names its reason and is audited.

use std::io::SeekFrom;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hotline_db::Recording;
use hotline_media::recorder::read_levels;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, reason_of};
use crate::call::{CallState, Wish};
use crate::clock::now_ms;

/// The largest piece one request gets; players ask again.
const RANGE_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// 录音信息
#[utoipa::path(get, path = "/api/v1/recordings/{id}", params(("id" = String, Path)), responses((status = 200), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Recording>, ApiError> {
    user.staff()?;
    Ok(Json(api.sv.store.recording_get(id_of(&id)?).await?.ok_or_else(ApiError::missing)?))
}

/// Why.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Why {
    /// 2 to 200 characters, kept in the audit chain.
    reason: Option<String>,
}

/// 播放录音(审计)
#[utoipa::path(get, path = "/api/v1/recordings/{id}/audio", params(("id" = String, Path), Why), responses((status = 200, description = "audio/wav"), (status = 206), (status = 400), (status = 403), (status = 416)))]
pub(crate) async fn audio(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    Query(why): Query<Why>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let reason = reason_of(why.reason.as_deref())?;
    let row = readable(&api, &user, &id).await?;
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    // Every request is audited, follow-up ranges too: a range that skips the first byte is a playback as well.
    audit(&api.sv, &user.0, "play", &format!("recording:{}", row.id), Some(reason)).await?;
    api.sv.store.recording_access(row.id, user.0.id, "play", reason, now_ms()).await?;
    let path = api.sv.config.storage.recordings().join(&row.path);
    serve_file(&path, range, "audio/wav").await
}

/// 转写文本
#[utoipa::path(get, path = "/api/v1/recordings/{id}/transcript", params(("id" = String, Path)), responses((status = 200), (status = 404)))]
pub(crate) async fn transcript(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let row = readable(&api, &user, &id).await?;
    audit(&api.sv, &user.0, "read_transcript", &format!("recording:{}", row.id), None).await?;
    if let Some(t) = api.sv.store.transcript_of(row.id).await? {
        return Ok(Json(
            serde_json::json!({ "status": "done", "engine": t.engine, "model": t.model, "version": t.version, "text": t.redacted_text }),
        ));
    }
    let job = api.sv.store.job_of_recording(row.id).await?.ok_or_else(ApiError::missing)?;
    Ok(Json(serde_json::json!({ "status": job.state.as_str(), "attempts": job.attempts, "error": job.last_error })))
}

/// 录音电平(播放器用)
#[utoipa::path(get, path = "/api/v1/recordings/{id}/levels", params(("id" = String, Path)), responses((status = 200, description = "RMS and peak of each second and channel, dBFS"), (status = 403), (status = 404)))]
pub(crate) async fn levels(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<Response, ApiError> {
    let row = readable(&api, &user, &id).await?;
    let path = api.sv.config.storage.recordings().join(&row.path);
    let read = tokio::task::spawn_blocking(move || read_levels(&path)).await;
    let json = read.ok().and_then(Result::ok).ok_or_else(ApiError::missing)?;
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], json).into_response())
}

/// 暂停录音(敏感信息)
#[utoipa::path(post, path = "/api/v1/calls/{id}/record/pause", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn pause(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<CallState>, ApiError> {
    set_paused(&api, &user, &id, true).await
}

/// 恢复录音
#[utoipa::path(post, path = "/api/v1/calls/{id}/record/resume", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn resume(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<CallState>, ApiError> {
    set_paused(&api, &user, &id, false).await
}

/// Asking again for what is already so changes nothing. The driver lets nobody but the talk's operator do it.
async fn set_paused(api: &Api, user: &User, call: &str, paused: bool) -> Result<Json<CallState>, ApiError> {
    super::desk::ask(api, call, user, Wish::PauseRecording(paused), None).await
}

async fn readable(api: &Api, user: &User, id: &str) -> Result<Recording, ApiError> {
    let row = api.sv.store.recording_get(id_of(id)?).await?.ok_or_else(ApiError::missing)?;
    let call = api.sv.store.call_get(row.call).await?.ok_or_else(ApiError::missing)?;
    if call.operator != Some(user.0.id) {
        user.need(&[Role::Qa, Role::Leader, Role::Manager])?;
    }
    Ok(row)
}

/// A file or a piece of it (RFC 9110 §14).
pub(super) async fn serve_file(
    path: &std::path::Path,
    range: Option<&str>,
    mime: &'static str,
) -> Result<Response, ApiError> {
    let mut file = tokio::fs::File::open(path).await.map_err(|_| ApiError::missing())?;
    let len = file.metadata().await.map_err(|_| ApiError::missing())?.len();
    let (start, end) = match range {
        None => (0, len.saturating_sub(1)),
        Some(range) => parse_range(range, len).ok_or_else(ApiError::range)?,
    };
    let size = (end + 1 - start).min(if range.is_some() { RANGE_MAX_BYTES } else { u64::MAX });
    file.seek(SeekFrom::Start(start)).await.map_err(|_| ApiError::missing())?;
    let stream = tokio_util::io::ReaderStream::new(file.take(size));
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, Body::from_stream(stream)).into_response();
    let h = response.headers_mut();
    let mut put = |name, value: String| {
        if let Ok(value) = value.parse() {
            h.insert(name, value);
        }
    };
    put(header::CONTENT_TYPE, mime.into());
    put(header::ACCEPT_RANGES, "bytes".into());
    put(header::CONTENT_LENGTH, size.to_string());
    put(header::CACHE_CONTROL, "no-store".into());
    if range.is_some() {
        put(header::CONTENT_RANGE, format!("bytes {start}-{}/{len}", start + size - 1));
    }
    Ok(response)
}

/// One range of RFC 9110 §14.1.2: `bytes=a-b`, `a-` or `-n`.
fn parse_range(text: &str, len: u64) -> Option<(u64, u64)> {
    let (a, b) = text.strip_prefix("bytes=")?.split_once('-')?;
    let last = len.checked_sub(1)?;
    let (start, end) = match (a.trim(), b.trim()) {
        ("", n) => (len.saturating_sub(n.parse::<u64>().ok().filter(|n| *n > 0)?), last),
        (a, "") => (a.parse().ok()?, last),
        (a, b) => (a.parse().ok()?, b.parse::<u64>().ok()?.min(last)),
    };
    (start <= end && start < len).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_read_as_rfc_9110_writes_them() {
        assert_eq!(parse_range("bytes=0-", 10), Some((0, 9)));
        assert_eq!(parse_range("bytes=2-5", 10), Some((2, 5)));
        assert_eq!(parse_range("bytes=2-500", 10), Some((2, 9)));
        assert_eq!(parse_range("bytes=-3", 10), Some((7, 9)));
        for bad in ["bytes=10-", "bytes=5-2", "bytes=-0", "lines=0-1", "bytes=a-b", "bytes=", "bytes=0-1,4-5"] {
            assert_eq!(parse_range(bad, 10), None, "{bad}");
        }
        assert_eq!(parse_range("bytes=0-", 0), None);
    }
}
