//! Which numbers a relayed stream gets.

use crate::limits::{SEQ_DROPOUT_MAX, SEQ_MISORDER_MAX};

/// Where bridged packets of one source stream fall in ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    pub(super) source: (u64, u32),
    pub(super) seq_offset: u16,
    pub(super) timestamp_offset: u32,
    /// First mapped number; an older packet would collide with what was sent before.
    pub(super) seq_first: u16,
    /// Newest number that came, passed on or left out.
    pub(super) seq_newest: u16,
    /// Newest number passed on.
    pub(super) seq_relayed: u16,
    /// Bit n: number `seq_newest - n` came and was left out; those after it have moved up.
    pub(super) left_out: u64,
}

impl Mapping {
    /// A newer number has come.
    pub(super) fn advance(&mut self, seq: u16) {
        let ahead = u32::from(seq.wrapping_sub(self.seq_newest));
        self.left_out = self.left_out.checked_shl(ahead).unwrap_or(0);
        self.seq_newest = seq;
    }

    /// Our number for `seq`; `None` if that one was left out.
    pub(super) fn number(&self, seq: u16) -> Option<u16> {
        let behind = self.seq_newest.wrapping_sub(seq);
        let newer = match behind {
            0..64 if self.left_out & (1 << behind) != 0 => return None,
            0..64 => (self.left_out & ((1 << behind) - 1)).count_ones() as u16,
            _ => 0,
        };
        Some(seq.wrapping_add(self.seq_offset).wrapping_add(newer))
    }
}

/// Within loss or reordering distance; beyond it the source has jumped and is mapped anew.
pub(super) fn near(a: u16, b: u16) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead < SEQ_DROPOUT_MAX || ahead.wrapping_neg() < SEQ_MISORDER_MAX
}
