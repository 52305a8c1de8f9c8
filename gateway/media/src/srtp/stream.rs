//! Packet indices of one source: the roll-over count, and which ones were there already.

use super::SrtpError;
use crate::limits::{SRTP_RTP_INDEX_MAX, SRTP_WINDOW};

/// The newest index and the ones just below it (RFC 3711 §3.3.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    newest: Option<u64>,
    /// Bit n: index `newest - n` was there.
    seen: u128,
}

impl Window {
    /// The index a sequence number most likely stands for (RFC 3711 §3.3.1, Appendix A).
    pub(super) fn estimate(&self, seq: u16) -> Result<u64, SrtpError> {
        let Some(newest) = self.newest else {
            return Ok(u64::from(seq));
        };
        let distance = i64::from(seq.wrapping_sub(newest as u16) as i16);
        let index = newest.checked_add_signed(distance).ok_or(SrtpError::TooOld)?;
        if index > SRTP_RTP_INDEX_MAX { Err(SrtpError::Exhausted) } else { Ok(index) }
    }

    /// Whether an index may still come.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        let Some(behind) = self.newest.and_then(|newest| newest.checked_sub(index)) else {
            return Ok(());
        };
        if behind >= SRTP_WINDOW {
            Err(SrtpError::TooOld)
        } else if self.seen >> behind & 1 == 1 {
            Err(SrtpError::Replayed)
        } else {
            Ok(())
        }
    }

    /// Notes an authentic packet.
    pub(super) fn note(&mut self, index: u64) {
        match self.newest {
            Some(newest) if index <= newest => {
                if newest - index < SRTP_WINDOW {
                    self.seen |= 1 << (newest - index);
                }
            }
            newest => {
                let ahead = newest.map_or(SRTP_WINDOW, |newest| index - newest);
                self.seen = if ahead < SRTP_WINDOW { self.seen << ahead | 1 } else { 1 };
                self.newest = Some(index);
            }
        }
    }

    /// A new key: the roll-over count goes on (RFC 3711 §3.3.1), but nothing was seen under it.
    pub(super) fn rekey(&mut self) {
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_into_the_next_round_and_back() {
        let mut window = Window::default();
        assert_eq!(window.estimate(65_530), Ok(65_530));
        window.note(65_530);
        assert_eq!(window.estimate(3), Ok(65_539));
        window.note(65_539);
        assert_eq!(window.estimate(65_535), Ok(65_535));
        assert_eq!(window.estimate(4), Ok(65_540));
        let mut young = Window::default();
        young.note(2);
        assert_eq!(young.estimate(65_535), Err(SrtpError::TooOld), "there is no round before the first");
    }

    #[test]
    fn each_index_passes_once_and_old_ones_not_at_all() {
        let mut window = Window::default();
        for index in [100, 102, 101, 230] {
            assert_eq!(window.check(index), Ok(()));
            window.note(index);
            assert_eq!(window.check(index), Err(SrtpError::Replayed));
        }
        assert_eq!(window.check(103), Ok(()), "127 behind is inside");
        assert_eq!(window.check(102), Err(SrtpError::TooOld));
        window.note(10_000);
        assert_eq!(window.check(9_999), Ok(()));
        assert_eq!(window.check(230), Err(SrtpError::TooOld));
    }

    #[test]
    fn the_last_index_is_the_last() {
        let mut window = Window::default();
        window.note(SRTP_RTP_INDEX_MAX - 1);
        assert_eq!(window.estimate(65_535), Ok(SRTP_RTP_INDEX_MAX));
        window.note(SRTP_RTP_INDEX_MAX);
        assert_eq!(window.estimate(0), Err(SrtpError::Exhausted));
    }
}
