//! What a case core is told about an item: never who reported it (domain rule 2.11).

use hotline_db::{Item, LinkAction};
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

/// The note that an item has been added to (`remind`): what it says now.
#[must_use]
pub fn supplement_payload(item: &Item) -> Value {
    json!({
        "note": "补充",
        "acceptance_no": item.acceptance_no,
        "urgency": item.urgency,
        "title": redact(&item.title),
        "detail": redact(&item.detail),
        "location": { "text": item.location_text.as_deref().map(redact), "lon": item.lon, "lat": item.lat },
        "accepted_at": item.created_at,
    })
}

/// The note about an item and the one it was merged into or split from (`remind`).
#[must_use]
pub fn link_payload(action: LinkAction, item: &Item, target: &Item) -> Value {
    json!({
        "note": action.as_str(),
        "acceptance_no": item.acceptance_no,
        "of_acceptance_no": target.acceptance_no,
        "title": redact(&item.title),
        "detail": redact(&item.detail),
        "location": { "text": item.location_text.as_deref().map(redact), "lon": item.lon, "lat": item.lat },
        "accepted_at": item.created_at,
    })
}

/// What the case core is told of an item it has and that an operator made void.
pub fn void_payload(item: &Item, reason: Option<&str>) -> Value {
    json!({
        "note": "作废",
        "acceptance_no": item.acceptance_no,
        "reason": reason.map(redact),
        "accepted_at": item.created_at,
    })
}
