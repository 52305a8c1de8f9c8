//! The flows that come with the program.

pub(super) const NAMES: [&str; 4] = ["hotline", "survey", "callback", "missed"];

pub(super) fn text(name: &str) -> Option<&'static str> {
    Some(match name {
        "hotline" => include_str!("../../flows/hotline.toml"),
        "survey" => include_str!("../../flows/survey.toml"),
        "callback" => include_str!("../../flows/callback.toml"),
        "missed" => include_str!("../../flows/missed.toml"),
        _ => return None,
    })
}
