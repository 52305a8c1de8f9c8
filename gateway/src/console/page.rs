//! The one page: the call at hand, the floor, work, items, and a player. Plain files, no build step.

use axum::http::header;
use axum::response::{Html, IntoResponse};

pub(crate) async fn index() -> Html<&'static str> {
    Html(include_str!("page/index.html"))
}

pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/app.js"))
}

pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page/app.css"))
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) async fn work_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/work.js"))
}

pub(crate) async fn call_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/call.js"))
}

pub(crate) async fn floor_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/floor.js"))
}

pub(crate) async fn line_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/line.js"))
}

pub(crate) async fn figure_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/figures.js"))
}

pub(crate) async fn event_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], include_str!("page/events.js"))
}
