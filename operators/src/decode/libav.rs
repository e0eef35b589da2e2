//! libav's process-wide settings, made once before anything of it is used.

use std::sync::Once;

use ffmpeg_next as ff;

/// The largest single allocation libav may make: a picture of 16384 x 16384 in four bytes a pixel fits.
const MAX_ALLOCATION_BYTES: usize = (1 << 30) + (1 << 20);

static READY: Once = Once::new();

/// Prepares libav; to be called before any use of it, as often as one likes.
///
/// libav prints nothing any more: its lines have neither camera nor frame, and a damaged file makes it print thousands.
/// [`super::take_complaint`] has what a thread's calls caused. Its single allocations are limited to a gibibyte, because a header of a few bytes
/// can claim a picture of any size.
pub fn init() {
    READY.call_once(|| {
        // Registers libav's error texts; on the versions we build against it has no way to fail.
        if let Err(error) = ff::init() {
            tracing::warn!(%error, "FFmpeg did not initialise");
        }
        super::complaint::listen();
        // SAFETY: sets an atomic; valid at any time and from any thread.
        unsafe { ff::ffi::av_max_alloc(MAX_ALLOCATION_BYTES) };
    });
}
