//! Figures by API, each with numerator, denominator and the version of its definition.

use std::collections::BTreeMap;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;
use crate::measure::{self, By, CallFigures, CareFigures};

/// Longest span asked for at once.
const SPAN_MAX_MS: i64 = 31 * 24 * 3_600_000;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/metrics/calls", get(calls)).route("/api/v1/metrics/care", get(care))
}

/// Which span, and grouped how.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct SpanQuery {
    /// From (epoch ms).
    from: i64,
    /// Until, exclusive (epoch ms); at most 31 days later.
    to: i64,
    /// `all` (default), `number`, `queue`, `operator`, `shift`, `hour`, `day`.
    #[param(value_type = Option<String>)]
    by: Option<By>,
}

impl SpanQuery {
    fn span(&self) -> Result<(i64, i64), ApiError> {
        match self.to.checked_sub(self.from) {
            Some(1..=SPAN_MAX_MS) => Ok((self.from, self.to)),
            _ => Err(ApiError::bad("from < to,最多 31 天 / from < to, at most 31 days apart")),
        }
    }
}

/// Figures by group.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct CallReport {
    from: i64,
    to: i64,
    /// By number, queue, user id, shift id or the interval's beginning (epoch ms); one empty name for all.
    groups: BTreeMap<String, CallFigures>,
}

/// 来电指标
#[utoipa::path(get, path = "/api/v1/metrics/calls", params(SpanQuery), responses((status = 200, body = CallReport), (status = 400), (status = 403)))]
pub(crate) async fn calls(
    State(api): State<Api>,
    user: User,
    Query(q): Query<SpanQuery>,
) -> Result<Json<CallReport>, ApiError> {
    user.need(&[Role::Leader, Role::Qa, Role::Manager])?;
    let (from, to) = q.span()?;
    let by = q.by.unwrap_or(By::All);
    let groups = measure::calls(&api.sv.store, (from, to), by, api.sv.config.site.utc_offset_min).await?;
    Ok(Json(CallReport { from, to, groups }))
}

/// 回拨、回访、评价、派遣和首次解决指标
#[utoipa::path(get, path = "/api/v1/metrics/care", params(SpanQuery), responses((status = 200, body = CareFigures), (status = 400), (status = 403)))]
pub(crate) async fn care(
    State(api): State<Api>,
    user: User,
    Query(q): Query<SpanQuery>,
) -> Result<Json<CareFigures>, ApiError> {
    user.need(&[Role::Leader, Role::Qa, Role::Manager])?;
    let (from, to) = q.span()?;
    let tasks = api.sv.store.measured_tasks(from, to).await?;
    let surveys = api.sv.store.measured_surveys(from, to).await?;
    let handoffs = api.sv.store.measured_handoffs(from, to).await?;
    let items = api.sv.store.measured_items(from, to).await?;
    Ok(Json(measure::care(&tasks, &surveys, handoffs, items)))
}
