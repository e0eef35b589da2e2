//! The clock of those who ask: how long ago a viewer's last request was has nothing to do with event time, and decides
//! nothing but whether pictures are wanted.

use std::sync::Arc;
use std::time::Instant;

use super::hls_channel::RequestClock;

/// Time since now.
pub(super) fn request_clock() -> RequestClock {
    let began = Instant::now();
    Arc::new(move || began.elapsed())
}
