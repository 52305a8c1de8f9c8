//! The flows that come with the program.

pub(super) const NAMES: [&str; 6] = ["hotline", "survey", "callback", "missed", "desk", "desk_finished"];

pub(super) fn text(name: &str) -> Option<&'static str> {
    Some(match name {
        "hotline" => include_str!("../../flows/hotline.toml"),
        "survey" => include_str!("../../flows/survey.toml"),
        "callback" => include_str!("../../flows/callback.toml"),
        "desk" => include_str!("../../flows/desk.toml"),
        "desk_finished" => include_str!("../../flows/desk_finished.toml"),
        "missed" => include_str!("../../flows/missed.toml"),
        _ => return None,
    })
}
