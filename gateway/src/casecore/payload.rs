//! What a case core is told about an item: never who reported it (domain rule 2.11).

use hotline_db::Item;
use serde_json::{Value, json};

/// The `create` payload.
#[must_use]
pub fn item_payload(item: &Item) -> Value {
    json!({
        "acceptance_no": item.acceptance_no,
        "kind": item.kind,
        "urgency": item.urgency,
        "title": item.title,
        "detail": crate::privacy::mask_text(&item.detail),
        "class_code": item.class_code,
        "location": { "text": item.location_text, "lon": item.lon, "lat": item.lat },
        "occurred_at": item.occurred_at,
        "accepted_at": item.created_at,
        "public_ledger": true,
    })
}
