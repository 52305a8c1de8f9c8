//! Looking things up through the gateway's interface until they are there.

use hotline_tests::api::Api;
use hotline_tests::{Error, Result};
use serde_json::Value;

/// The newest call's id whose row has this value.
///
/// # Errors
/// [`Error::Timeout`].
pub(crate) async fn call_id(api: &Api, field: &str, value: &str) -> Result<String> {
    let newest = |calls: &Value| {
        let row = calls.as_array()?.iter().find(|c| c[field] == value)?;
        Some(row["id"].as_str()?.to_owned())
    };
    api.wait_for("/api/v1/calls", 10_000, newest).await
}

/// The first event of a call that `wanted` accepts.
///
/// # Errors
/// [`Error::Timeout`].
pub(crate) async fn event(api: &Api, call: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let path = format!("/api/v1/calls/{call}/events");
    let found = api.wait_for(&path, 10_000, |events| events.as_array()?.iter().find(|e| wanted(e)).cloned());
    found.await.map_err(|why| unexpected(format!("{what}: {why}")))
}

/// Text of a field, or a dash.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// Something was there but not as it must be.
pub(crate) fn unexpected(detail: impl Into<String>) -> Error {
    Error::Process { program: "hotline".into(), detail: detail.into(), log: String::new() }
}

/// Fails with `detail` unless `holds`.
///
/// # Errors
/// When it doesn't hold.
pub(crate) fn demand(holds: bool, detail: impl Into<String>) -> Result<()> {
    if holds { Ok(()) } else { Err(unexpected(detail)) }
}
