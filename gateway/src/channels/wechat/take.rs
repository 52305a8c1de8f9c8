//! From a pushed message to the one door's envelope.

use hotline_db::VOICE_WAITING;

use super::limits;
use super::xml::{Content, cut};
use crate::intake::envelope::{Channel, Datum, Envelope, Fetch, MediaKind, Place, Sender};
use crate::privacy::Pii;

/// Who wrote what, where and when; the same for Official Accounts and 微信客服.
pub(super) struct Letter {
    /// The account's name in rows.
    pub(super) line: String,
    /// Unique within the channel.
    pub(super) dedup_key: String,
    /// The citizen's openid or external_userid.
    pub(super) from: String,
    /// Our account.
    pub(super) to: String,
    /// The platform's time, seconds since 1970.
    pub(super) created_s: i64,
    /// What.
    pub(super) content: Content,
}

/// The envelope of a letter that arrived at `now` (epoch ms).
pub(super) fn envelope(letter: Letter, now: i64) -> Envelope {
    let fetch = |kind, reference: &str| vec![Fetch { kind, reference: reference.into() }];
    let (mut text, mut place, mut media) = (String::new(), None, Vec::new());
    match letter.content {
        Content::Text(words) => text = cut(&words, limits::TEXT_CHARS_MAX),
        Content::Image { media: id } => media = fetch(MediaKind::Image, &id),
        Content::Voice { media: id, .. } => {
            text = VOICE_WAITING.into();
            media = fetch(MediaKind::Voice, &id);
        }
        Content::Video { media: id } => media = fetch(MediaKind::Video, &id),
        Content::Location { lat, lon, label } => {
            let label = Some(label).filter(|l| !l.is_empty());
            place = Some(Place { lon, lat, datum: Datum::Gcj02, label });
        }
        Content::Link { title, description, url } => {
            let parts = [title, description, url];
            text = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("\n");
        }
        // Kept, so that a person sees that something came.
        Content::Other(kind) => text = format!("[微信消息类型 {kind},暂不能显示]"),
    }
    Envelope {
        channel: Channel::Wechat,
        line: letter.line,
        dedup_key: letter.dedup_key,
        sender: Sender::Openid(Pii::new(letter.from)),
        to: letter.to,
        provider_time: letter.created_s.checked_mul(1_000),
        at: now,
        text,
        place,
        attached: Vec::new(),
        fetch: media,
        automatic: false,
        test: false,
        link: None,
    }
}
