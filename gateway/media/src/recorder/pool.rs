//! Blocks between media threads and the writer: allocated and touched once, never more.

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{BLOCK_LEN, POOL_BLOCKS_MAX, POOL_BLOCKS_MIN};

type Free = Mutex<Vec<Box<[u8]>>>;

/// A bounded set of blocks; cheap to clone.
#[derive(Clone, Debug)]
pub struct BlockPool {
    free: Arc<Free>,
    size: usize,
}

impl BlockPool {
    /// Allocates `blocks` blocks, clamped to the package's limits.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        let size = blocks.clamp(POOL_BLOCKS_MIN, POOL_BLOCKS_MAX);
        // Non-zero bytes make the kernel back every page now, not in the middle of a call.
        let free = (0..size).map(|_| vec![0xA5u8; BLOCK_LEN].into_boxed_slice()).collect();
        Self { free: Arc::new(Mutex::new(free)), size }
    }

    /// Takes a block; `None` when the disk has fallen so far behind that all are waiting for it.
    #[must_use]
    pub fn take(&self) -> Option<Block> {
        let bytes = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Block { bytes, len: 0, home: Arc::clone(&self.free) })
    }

    /// Blocks not in use.
    #[must_use]
    pub fn free_count(&self) -> usize {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Blocks in all.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

/// One block; returns to its pool when dropped.
#[derive(Debug)]
pub struct Block {
    bytes: Box<[u8]>,
    len: usize,
    home: Arc<Free>,
}

impl Block {
    /// The audio in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The whole block for filling; [`Block::set_len`] says how much counts.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(BLOCK_LEN);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_pool_gives_nothing_until_a_block_returns() {
        let pool = BlockPool::new(1);
        let mut taken: Vec<Block> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((taken.len(), pool.free_count()), (pool.size(), 0));
        taken.pop();
        assert!(pool.take().is_some());
    }
}
