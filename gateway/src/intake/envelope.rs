//! What every channel hands to the door: one envelope a message.

use std::fmt;

use hotline_db::DbError;

use crate::privacy::Pii;

pub use hotline_db::MediaKind;

/// Bytes of a key, a name or an address; longer is refused.
const KEY_BYTES_MAX: usize = 1_000;
/// Bytes of a text; channels cut what is longer.
pub const TEXT_BYTES_MAX: usize = 150_000;

/// How a contact reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// A call.
    Phone,
    /// A message left in a call.
    Voicemail,
    /// A text message.
    Sms,
    /// WeChat: Official Account or 微信客服.
    Wechat,
    /// The report page.
    Web,
    /// E-mail.
    Mail,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 6] = [Self::Phone, Self::Voicemail, Self::Sms, Self::Wechat, Self::Web, Self::Mail];

    /// As it stands in rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Voicemail => "voicemail",
            Self::Sms => "sms",
            Self::Wechat => "wechat",
            Self::Web => "web",
            Self::Mail => "mail",
        }
    }

    /// The 渠道 digit of the acceptance number.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Phone | Self::Voicemail => 1,
            Self::Sms => 2,
            Self::Wechat => 3,
            Self::Web => 4,
            Self::Mail => 5,
        }
    }

    /// The channel of a row's word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == word)
    }
}

/// Who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A telephone number, in any of its forms.
    Phone(Pii<String>),
    /// An openid of WeChat.
    Openid(Pii<String>),
    /// A mail address.
    Mail(Pii<String>),
    /// Nobody knows: the web page without a number.
    Unknown,
}

/// What coordinates refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datum {
    /// GPS.
    Wgs84,
    /// China's shifted one, as phones' maps and WeChat give it.
    Gcj02,
    /// The national one: WGS-84 within a metre.
    Cgcs2000,
}

impl Datum {
    /// As it stands in rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wgs84 => "wgs84",
            Self::Gcj02 => "gcj02",
            Self::Cgcs2000 => "cgcs2000",
        }
    }
}

/// A position.
#[derive(Clone, PartialEq)]
pub struct Place {
    /// Longitude in degrees.
    pub lon: f64,
    /// Latitude in degrees.
    pub lat: f64,
    /// What they refer to.
    pub datum: Datum,
    /// The sender's name of the place.
    pub label: Option<String>,
}

/// A file that is in the attachment store already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}

/// Something the channel's worker fetches after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What it is.
    pub kind: MediaKind,
    /// The channel's name for it (`media_id`, an address …).
    pub reference: String,
}

/// A message as it arrives.
#[derive(Clone, PartialEq)]
pub struct Envelope {
    /// How.
    pub channel: Channel,
    /// Which account or line of ours: its name in the configuration.
    pub line: String,
    /// Unique within the channel: the same key again is the same message, and nothing is stored.
    pub dedup_key: String,
    /// Who sent it.
    pub sender: Sender,
    /// Our number or address it was sent to.
    pub to: String,
    /// The provider's own time stamp (epoch ms).
    pub provider_time: Option<i64>,
    /// Arrival at the gateway (epoch ms).
    pub at: i64,
    /// The text.
    pub text: String,
    /// Where.
    pub place: Option<Place>,
    /// Files that are here already.
    pub attached: Vec<Attached>,
    /// What is still to be fetched.
    pub fetch: Vec<Fetch>,
    /// From a machine (auto-reply, bounce, mailing list): stored, never answered, no item.
    pub automatic: bool,
    /// The self-test robot's: never reaches people or statistics.
    pub test: bool,
    /// Hash of the web link's token that led here.
    pub link: Option<String>,
}

impl Envelope {
    /// An envelope with a text and nothing else.
    #[must_use]
    pub fn text(channel: Channel, line: &str, dedup_key: String, sender: Sender, text: String, at: i64) -> Self {
        Self {
            channel,
            line: line.into(),
            dedup_key,
            sender,
            to: String::new(),
            provider_time: None,
            at,
            text,
            place: None,
            attached: Vec::new(),
            fetch: Vec::new(),
            automatic: false,
            test: false,
            link: None,
        }
    }
}

impl Envelope {
    /// Whether its sender is only what somebody typed into the page: no link of ours led there.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.channel == Channel::Web && self.link.is_none()
    }

    /// Refuses what no row can hold, before it is promised anything.
    ///
    /// # Errors
    /// [`DbError::Invalid`] with the field.
    pub fn check(&self) -> Result<(), DbError> {
        let short = [("line", &self.line), ("dedup_key", &self.dedup_key), ("to", &self.to)];
        for (field, value) in short {
            if value.len() > KEY_BYTES_MAX || value.contains('\0') {
                return Err(DbError::Invalid { field, why: format!("more than {KEY_BYTES_MAX} bytes, or a NUL") });
            }
        }
        if self.dedup_key.is_empty() {
            return Err(DbError::Invalid { field: "dedup_key", why: "is empty".into() });
        }
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(DbError::Invalid { field: "text", why: format!("more than {TEXT_BYTES_MAX} bytes") });
        }
        let names = self.attached.iter().map(|a| &a.sha256).chain(self.fetch.iter().map(|f| &f.reference));
        if names.chain(&self.link).any(|n| n.len() > KEY_BYTES_MAX || n.contains('\0')) {
            return Err(DbError::Invalid { field: "media", why: format!("a name of more than {KEY_BYTES_MAX} bytes") });
        }
        Ok(())
    }
}

/// What a citizen wrote appears in no log.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("channel", &self.channel.as_str())
            .field("line", &self.line)
            .field("sender", &self.sender)
            .field("chars", &self.text.chars().count())
            .field("files", &(self.attached.len() + self.fetch.len()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_its_word() {
        for channel in Channel::ALL {
            assert_eq!(Channel::of(channel.as_str()), Some(channel));
        }
        assert_eq!(Channel::of("fax"), None);
    }

    #[test]
    fn no_log_shows_text_or_number() {
        let sender = Sender::Phone(Pii::new("+8613812345678".into()));
        let e = Envelope::text(Channel::Sms, "a", "k".into(), sender, "人民路88号".into(), 0);
        let shown = format!("{e:?}");
        assert!(!shown.contains("人民路") && !shown.contains("13812345678"), "{shown}");
    }
}
