//! Looking things up through the gateway's interface until they are there.

use hotline_tests::api::Api;
use hotline_tests::{Error, Result, until};
use serde_json::Value;

/// The row of the call with this SIP Call-ID.
///
/// # Errors
/// [`Error::Timeout`].
pub(crate) async fn call_id(api: &Api, sip_call_id: &str) -> Result<String> {
    until("the call's row", 10_000, || async {
        let calls = api.get("/api/v1/calls").await.ok()?;
        let row = calls.as_array()?.iter().find(|c| c["sip_call_id"] == sip_call_id)?.clone();
        Some(row["id"].as_str()?.to_owned())
    })
    .await
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
