//! Why a file isn't kept, in words for the citizen who sent it.

use super::kind::Kind;
use super::limits::PIXELS_MAX;

/// A file that isn't kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing in it.
    Empty,
    /// More bytes than its kind may have.
    TooLarge(Kind),
    /// Not of the kinds that are kept; what it claimed to be, cut short.
    Unknown(String),
    /// More pixels than are decoded.
    TooManyPixels,
    /// Begins like a picture and can't be read as one.
    Damaged,
    /// Too many wait: the same file is welcome a little later.
    Busy,
    /// The disk refused: the same file is welcome a little later.
    Disk(String),
}

impl Refusal {
    /// Whether the same file may be kept later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Disk(_))
    }

    /// For people who read Chinese: what is wrong and what to do.
    #[must_use]
    pub fn zh(&self) -> String {
        match self {
            Self::Empty => "文件是空的，请重新选择".into(),
            Self::TooLarge(kind) => {
                format!("文件过大（上限 {} MB），请压缩或截短后再传", kind.bytes_max() / 1_048_576)
            }
            Self::Unknown(_) => "不支持这种文件，请上传 JPEG、PNG、WebP 照片或 MP4 视频".into(),
            Self::TooManyPixels => {
                format!("照片尺寸过大（上限 {} 百万像素），请缩小后再传", PIXELS_MAX / 1_000_000)
            }
            Self::Damaged => "照片已损坏、无法打开，请重新拍摄或选择".into(),
            Self::Busy => "上传的人较多，请稍后再试".into(),
            Self::Disk(_) => "暂时无法保存文件，请稍后再试".into(),
        }
    }

    /// The same in English.
    #[must_use]
    pub fn en(&self) -> String {
        match self {
            Self::Empty => "The file is empty: choose it again".into(),
            Self::TooLarge(kind) => {
                format!("The file is too large (at most {} MB): make it smaller", kind.bytes_max() / 1_048_576)
            }
            Self::Unknown(_) => "This kind of file is not accepted: send JPEG, PNG or WebP photos or MP4 videos".into(),
            Self::TooManyPixels => {
                format!("The photo has too many pixels (at most {} million): make it smaller", PIXELS_MAX / 1_000_000)
            }
            Self::Damaged => "The photo is damaged and can't be opened: take or choose it again".into(),
            Self::Busy => "Many people are sending files: try again in a moment".into(),
            Self::Disk(_) => "The file can't be stored right now: try again in a moment".into(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.zh(), self.en())?;
        match self {
            Self::Unknown(claimed) if !claimed.is_empty() => write!(f, " ({claimed})"),
            Self::Disk(why) => write!(f, " ({why})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
