//! Which days are worked and which hours of them: weekends, statutory holidays (法定节假日) and the working
//! days moved for them (调休). The years are data: `cn.toml`, or the site's own file.

mod days;
mod hours;

pub use days::{Calendar, CalendarError, Day};
pub use hours::{Hours, Window};

/// A day of 24 hours, in milliseconds: China has had no other since 1992.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// A minute in milliseconds.
pub(crate) const MINUTE_MS: i64 = 60_000;
