//! What a device is, and how many streams suit it.

use std::fmt;

/// A device as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Its number in the driver's order.
    pub ordinal: usize,
    /// As the driver calls it.
    pub name: String,
    /// Its memory in bytes.
    pub memory_bytes: usize,
    /// Major and minor compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
}

impl Chip {
    /// The most streams that are worth having: a newer chip runs more at once, a smaller one fills up sooner.
    pub fn most_streams(&self) -> usize {
        match self.capability.0 {
            8.. => (2 * self.multiprocessors as usize).clamp(1, 64),
            7 => (self.multiprocessors as usize).clamp(1, 32),
            _ => 16,
        }
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (device {})", self.name, self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_scale_with_the_chip() {
        let chip = |major, multiprocessors| Chip {
            ordinal: 0,
            name: "test".into(),
            memory_bytes: 1,
            capability: (major, 0),
            multiprocessors,
        };
        for (major, multiprocessors, wanted) in [
            (9, 132, 64),
            (8, 20, 40),
            (8, 16, 32),
            (7, 80, 32),
            (7, 14, 14),
            (6, 56, 16),
            (8, 0, 1),
        ] {
            assert_eq!(
                chip(major, multiprocessors).most_streams(),
                wanted,
                "{major} {multiprocessors}"
            );
        }
    }
}
