//! An operator that looks at every picture, so that each must be decoded and its memory read: tells how bright it is.

use flowrun::prelude::*;

/// Looks at every picture.
pub struct Brightness;

/// It has none.
#[derive(Clone, Debug, Params)]
pub struct BrightnessParams {}

/// What it tells.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Bright {
    /// Of the luma, padding included.
    pub mean: f64,
}

impl Operator for Brightness {
    const KIND: &'static str = "brightness";
    type Params = BrightnessParams;
    type Input = Frame;
    type Output = Bright;
    type State = ();

    fn new(_: BrightnessParams, _: &Setup<'_>) -> Result<Self> {
        Ok(Brightness)
    }

    fn process(&mut self, _: &At, frames: &[Frame], out: &mut Output<Bright>) -> Result<()> {
        out.extend(frames.iter().map(|frame| {
            let luma = frame.picture.memory().plane(0);
            let sum: u64 = luma.iter().map(|sample| u64::from(*sample)).sum();
            let mean = sum as f64 / luma.len().max(1) as f64;
            Bright { mean }
        }));
        Ok(())
    }

    fn update(&mut self, _: BrightnessParams) {}
    fn snapshot(&self) {}
    fn restore(&mut self, (): ()) {}
}
