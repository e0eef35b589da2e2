//! A list of free places that threads take from and give back to without a lock and without memory.
//!
//! A stack threaded through an array (Treiber, "Systems Programming: Coping with Parallelism", 1986); a count in the upper
//! half of its head tells a place that was taken and given back meanwhile from one that never left.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const NONE: u32 = u32::MAX;

/// The free ones of so many places.
#[derive(Debug)]
pub struct Slots {
    /// The count of changes above, the first free place below.
    head: AtomicU64,
    /// Of each free place the next.
    next: Box<[AtomicU32]>,
}

impl Slots {
    /// So many places, all free.
    pub fn new(count: u32) -> Self {
        let next = (0..count).map(|slot| AtomicU32::new(if slot + 1 < count { slot + 1 } else { NONE }));
        Slots {
            next: next.collect(),
            head: AtomicU64::new(u64::from(if count == 0 { NONE } else { 0 })),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.next.len()
    }

    /// Takes one.
    pub fn take(&self) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let first = head as u32;
            if first == NONE {
                return None;
            }
            let next = self.next[first as usize].load(Ordering::Relaxed);
            match self
                .head
                .compare_exchange_weak(head, changed(head, next), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(first),
                Err(other) => head = other,
            }
        }
    }

    /// Gives one back that was taken.
    pub fn give(&self, slot: u32) {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            self.next[slot as usize].store(head as u32, Ordering::Relaxed);
            match self
                .head
                .compare_exchange_weak(head, changed(head, slot), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(other) => head = other,
            }
        }
    }
}

/// The head with another first place.
fn changed(head: u64, first: u32) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | u64::from(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn threads_never_hold_the_same_place() {
        let slots = Slots::new(7);
        let held: Vec<AtomicU32> = (0..7).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        let Some(slot) = slots.take() else { continue };
                        assert_eq!(held[slot as usize].fetch_add(1, Ordering::SeqCst), 0);
                        held[slot as usize].fetch_sub(1, Ordering::SeqCst);
                        slots.give(slot);
                    }
                });
            }
        });
        assert_eq!(std::iter::from_fn(|| slots.take()).count(), 7);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_would(count in 0u32..6, moves in proptest::collection::vec(any::<bool>(), 0..60)) {
            let (slots, mut out) = (Slots::new(count), Vec::new());
            for take in moves {
                if take {
                    let slot = slots.take();
                    prop_assert_eq!(slot.is_some(), out.len() < count as usize);
                    prop_assert!(slot.is_none_or(|slot| !out.contains(&slot) && slot < count));
                    out.extend(slot);
                } else if let Some(slot) = out.pop() {
                    slots.give(slot);
                }
            }
        }
    }
}
