//! What a case core is told about an item: never who reported it (domain rule 2.11).

use hotline_db::Item;
use hotline_transcription::text::redact;
use serde_json::{Value, json};

/// The `create` payload.
#[must_use]
pub fn item_payload(item: &Item) -> Value {
    json!({
        "acceptance_no": item.acceptance_no,
        "kind": item.kind,
        "urgency": item.urgency,
        "title": redact(&item.title),
        "detail": redact(&item.detail),
        "class_code": item.class_code,
        "location": { "text": item.location_text.as_deref().map(redact), "lon": item.lon, "lat": item.lat },
        "occurred_at": item.occurred_at,
        "accepted_at": item.created_at,
        "public_ledger": true,
    })
}
