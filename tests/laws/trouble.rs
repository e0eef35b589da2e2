//! An operator that fails on purpose.

use flowrun::prelude::*;

use crate::scene::mix;

/// Hands tracks on, failing on some frames and panicking on others.
pub struct Stumble {
    params: StumbleParams,
    seen: u64,
}

/// Hands tracks on, failing on some frames and panicking on others.
#[derive(Clone, Debug, Params)]
pub struct StumbleParams {
    /// One in this many frames fails; none when 0.
    #[param(default = "0", min = 0)]
    fail_one_in: u64,
    /// The frame on which it panics.
    panic_at: Option<u64>,
    /// The camera on which it panics; all when left out.
    only: Option<String>,
}

impl Operator for Stumble {
    const KIND: &'static str = "stumble";
    type Params = StumbleParams;
    type Input = Track;
    type Output = Track;
    type State = u64;

    fn new(mut params: StumbleParams, setup: &Setup<'_>) -> Result<Self> {
        if params.only.as_deref().is_some_and(|only| *only != *setup.camera_name()) {
            params.panic_at = None;
        }
        Ok(Stumble { params, seen: 0 })
    }
    fn process(&mut self, at: &At, tracks: &[Track], out: &mut Output<Track>) -> Result<()> {
        self.seen += 1;
        assert!(self.params.panic_at != Some(at.frame), "stumbles on purpose");
        let number = mix(at.frame ^ u64::from(at.camera.0) << 40);
        if self.params.fail_one_in > 0 && number.is_multiple_of(self.params.fail_one_in) {
            return Err("fails on purpose".into());
        }
        out.extend(tracks.iter().copied());
        Ok(())
    }
    fn update(&mut self, params: StumbleParams) {
        self.params = params;
    }
    fn snapshot(&self) -> u64 {
        self.seen
    }
    fn restore(&mut self, before: u64) {
        self.seen = before;
    }
}
