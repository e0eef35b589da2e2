//! What a damaged medium costs, told without drowning the one who listens.
//!
//! A file of noise can fail at every packet. The first failure of a stretch is told at once, further ones are
//! counted and told when the stretch ends or has become long.

/// After how many untold failures a stretch is told again.
const TELL_EVERY: u64 = 256;

/// Failures since the last sound picture.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    stretch: bool,
    untold: u64,
    cause: String,
}

impl Damage {
    /// A failure; gives what is to be told now.
    pub fn add(&mut self, cause: impl FnOnce() -> String) -> Option<String> {
        if !self.stretch {
            self.stretch = true;
            return Some(cause());
        }
        self.untold += 1;
        self.cause = cause();
        (self.untold >= TELL_EVERY).then(|| self.tell())
    }

    /// A sound picture, or the end; gives what is still to be told.
    pub fn end_stretch(&mut self) -> Option<String> {
        self.stretch = false;
        (self.untold > 0).then(|| self.tell())
    }

    fn tell(&mut self) -> String {
        let told = format!("{} more such failures, the last: {}", self.untold, self.cause);
        self.untold = 0;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_first_at_once_and_sums_up_the_rest() {
        let mut damage = Damage::default();
        assert_eq!(damage.end_stretch(), None);
        assert_eq!(damage.add(|| "a".into()), Some("a".into()));
        assert_eq!(damage.end_stretch(), None, "one failure is told once");
        assert_eq!(damage.add(|| "b".into()), Some("b".into()));
        assert_eq!(damage.add(|| "c".into()), None);
        assert_eq!(damage.add(|| "d".into()), None);
        assert_eq!(damage.end_stretch(), Some("2 more such failures, the last: d".into()));
        assert_eq!(damage.end_stretch(), None);
    }

    #[test]
    fn a_million_failures_are_told_by_the_hundred() {
        let mut damage = Damage::default();
        let told = (0..1_000_000)
            .filter_map(|index| damage.add(|| index.to_string()))
            .count();
        assert_eq!(told, 1 + 999_999 / TELL_EVERY as usize);
    }
}
