//! One map from errors to HTTP, with a sentence that says what to do next.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hotline_db::DbError;
use serde::Serialize;

use crate::call::ControlError;

/// Body of every error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorBody {
    /// Stable word for programs.
    pub error: String,
    /// Sentence for people, zh-CN and English.
    pub message: String,
}

/// An error on its way to the client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    word: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, word: &'static str, message: impl Into<String>) -> Self {
        Self { status, word, message: message.into() }
    }
    /// 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
    /// 401.
    #[must_use]
    pub fn sign_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign_in", "请先登录 / sign in first")
    }
    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }
    /// 404.
    #[must_use]
    pub fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "没有这条记录 / no such record")
    }
    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }
    /// 416.
    #[must_use]
    pub fn range() -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "区间超出文件 / the range lies outside the file")
    }
    /// 429.
    #[must_use]
    pub fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many",
            "失败次数过多,请五分钟后再试 / too many failures: try again in five minutes",
        )
    }
    /// 429 for event streams.
    #[must_use]
    pub fn too_many_streams() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many",
            "事件流过多,请关闭其他页面 / too many event streams: close other pages",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.word.into(), message: self.message })).into_response()
    }
}

impl From<DbError> for ApiError {
    fn from(e: DbError) -> Self {
        match e {
            DbError::NotFound => Self::missing(),
            DbError::Conflict(why) => Self::conflict(why),
            DbError::Invalid { field, why } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field}: {why}"))
            }
            e => {
                tracing::error!(error = %e, "store");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store",
                    "数据库暂不可用,请稍后重试 / the database is not available: try again",
                )
            }
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(e: ControlError) -> Self {
        let status = match e {
            ControlError::Gone => StatusCode::NOT_FOUND,
            ControlError::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            ControlError::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
            ControlError::NotYours => StatusCode::FORBIDDEN,
            ControlError::NoTalk
            | ControlError::NotRecorded
            | ControlError::OwnTalk
            | ControlError::NoPhone
            | ControlError::OtherPart
            | ControlError::PickUp
            | ControlError::Busy
            | ControlError::Engaged
            | ControlError::HelpIsThere
            | ControlError::NothingToSay
            | ControlError::NoConsult
            | ControlError::NotWaiting
            | ControlError::NoGuest
            | ControlError::TooManyGuests => StatusCode::CONFLICT,
            ControlError::Outside(_) => StatusCode::FORBIDDEN,
            ControlError::ReasonNeeded
            | ControlError::NotSilent
            | ControlError::KeyTaken
            | ControlError::NoQueue(_)
            | ControlError::NoService
            | ControlError::BadDigits => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, "call_control", e.to_string())
    }
}

impl From<axum::extract::rejection::JsonRejection> for ApiError {
    fn from(e: axum::extract::rejection::JsonRejection) -> Self {
        Self::new(e.status(), "json", format!("请求内容无法解析 / {}", e.body_text()))
    }
}
