//! An operator that says of every frame which version of it answered, and what it remembers of all frames before.

use flowrun::prelude::*;
use serde::{Deserialize, Serialize};

/// What is said of a frame.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Stamped {
    /// The version that answered.
    pub version: i64,
    /// A value of a live parameter, by which it changed in place.
    pub live: i64,
    /// Frames of the camera that it has answered, over all versions.
    pub count: i64,
    /// A hash over the frames' indices, in order.
    pub chain: i64,
}

/// Stamps frames.
pub struct Stamp {
    params: StampParams,
    state: StampState,
}

/// Stamps frames with the version of the operator.
#[derive(Clone, Debug, Params)]
pub struct StampParams {
    /// Its version: another one is built anew and takes over what this one knows.
    #[param(default = "1")]
    version: i64,
    /// Changes in place.
    #[param(live, default = "0")]
    live: i64,
    /// Another value begins from nothing.
    #[allow(dead_code, reason = "only that it changes counts")]
    #[param(reset, default = "0")]
    epoch: i64,
    /// Panics on each frame whose index is a multiple of this; never when 0.
    #[param(live, default = "0", min = 0)]
    panic_every: u64,
    /// Fails on each frame whose index is a multiple of this; never when 0.
    #[param(live, default = "0", min = 0)]
    fail_every: u64,
    /// Refused by `new` where it is set.
    #[param(default = "#false")]
    refused: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StampState {
    count: i64,
    chain: i64,
}

/// The next value of a chain over frames.
pub fn link(chain: i64, frame: u64) -> i64 {
    chain.wrapping_mul(31).wrapping_add(frame as i64 + 7) & 0xFFFF_FFFF
}

impl Operator for Stamp {
    const KIND: &'static str = "stamp";
    type Params = StampParams;
    type Input = Detection;
    type Output = Stamped;
    type State = StampState;

    fn new(params: StampParams, _: &Setup<'_>) -> Result<Self> {
        match params.refused {
            true => Err("refused on purpose".into()),
            false => Ok(Stamp {
                params,
                state: StampState::default(),
            }),
        }
    }

    fn process(&mut self, at: &At, _: &[Detection], out: &mut Output<Stamped>) -> Result<()> {
        let every = |number: u64| number > 0 && at.frame.is_multiple_of(number);
        assert!(!every(self.params.panic_every), "panics on purpose");
        self.state.count += 1;
        self.state.chain = link(self.state.chain, at.frame);
        if every(self.params.fail_every) {
            return Err("fails on purpose".into());
        }
        out.push(Stamped {
            version: self.params.version,
            live: self.params.live,
            count: self.state.count,
            chain: self.state.chain,
        });
        Ok(())
    }

    fn update(&mut self, params: StampParams) {
        self.params = params;
    }
    fn snapshot(&self) -> StampState {
        self.state.clone()
    }
    fn restore(&mut self, before: StampState) {
        self.state = before;
    }
}
