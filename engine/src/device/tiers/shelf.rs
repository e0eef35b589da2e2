//! Blocks of one tier, taken as they are needed and used again: once a tier is full, nothing is allocated for a frame.

use super::super::memory::{Buffer, Pinned};

/// Memory of a length.
pub(super) trait Block {
    fn length(&self) -> usize;
}

impl Block for Buffer {
    fn length(&self) -> usize {
        self.bytes()
    }
}
impl Block for Pinned {
    fn length(&self) -> usize {
        self.bytes().len()
    }
}
impl Block for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }
}

/// Blocks within a budget, those that are out and those that wait to be used again.
#[derive(Debug)]
pub(super) struct Shelf<M> {
    budget: usize,
    out: usize,
    waiting_bytes: usize,
    waiting: Vec<M>,
}

impl<M: Block> Shelf<M> {
    pub fn new(budget: usize) -> Self {
        Shelf {
            budget,
            out: 0,
            waiting_bytes: 0,
            waiting: Vec::new(),
        }
    }

    /// Whether one more block may go out beside those that are.
    pub fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.budget.saturating_sub(self.out)
    }

    /// Whether a block could go out if none were.
    pub fn could_hold(&self, bytes: usize) -> bool {
        bytes <= self.budget
    }

    /// A block of just this length; none without room for it.
    ///
    /// # Errors
    /// What `make` gives.
    pub fn take<E>(&mut self, bytes: usize, make: impl FnOnce() -> Result<M, E>) -> Result<Option<M>, E> {
        if !self.has_room(bytes) {
            return Ok(None);
        }
        let same = self.waiting.iter().rposition(|block| block.length() == bytes);
        let block = match same.map(|place| self.waiting.swap_remove(place)) {
            Some(block) => {
                self.waiting_bytes -= bytes;
                block
            }
            None => {
                // Those of other lengths make way.
                while self.out + self.waiting_bytes + bytes > self.budget {
                    let Some(other) = self.waiting.pop() else { break };
                    self.waiting_bytes -= other.length();
                }
                make()?
            }
        };
        self.out += bytes;
        Ok(Some(block))
    }

    /// Takes a block back.
    pub fn give(&mut self, block: M) {
        self.out -= block.length();
        self.waiting_bytes += block.length();
        self.waiting.push(block);
    }
}
