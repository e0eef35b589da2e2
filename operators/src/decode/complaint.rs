//! What libav says went wrong, which its return values often do not.
//!
//! A JPEG cut in half, a lost slice, a missing `moov`: libav patches the picture or answers
//! "invalid data", and prints the reason. This module keeps the first error line of each thread for
//! [`take_complaint`] and passes lines on to `tracing` at level debug; nothing reaches stderr. A decoder's own
//! extra threads are not listened to: what they find still comes back as flags and return values.

use std::cell::RefCell;

/// Characters of a line that are kept.
const LINE_BYTES: usize = 240;

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The first error that libav printed on this thread since the last call.
pub fn take_complaint() -> Option<String> {
    FIRST.with(|first| first.borrow_mut().take())
}

/// A cause with what libav printed about it on this thread, if it did.
pub fn with_complaint(cause: String) -> String {
    match take_complaint() {
        Some(complaint) => format!("{cause} ({complaint})"),
        None => cause,
    }
}

/// Listens from now on; called once.
#[cfg(target_arch = "x86_64")]
pub(super) fn listen() {
    // SAFETY: the callback is a function of the program and lives as long as it; libav stores the pointer atomically
    // enough for a call that happens before any other use of it.
    unsafe { ffmpeg_next::ffi::av_log_set_callback(Some(hear)) };
}

/// Elsewhere a variable argument list has another type; libav is silenced and faults go without its words.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn listen() {
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
}

/// libav's log callback: runs on any thread, within any call, and must not unwind.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn hear(
    who: *mut std::ffi::c_void,
    level: std::ffi::c_int,
    format: *const std::ffi::c_char,
    arguments: *mut ffmpeg_next::ffi::__va_list_tag,
) {
    use ffmpeg_next::ffi;

    // The bits above are a colour.
    if level & 0xff > ffi::AV_LOG_ERROR as std::ffi::c_int {
        return;
    }
    let mut line = [0u8; LINE_BYTES];
    let mut prefix = 1;
    // SAFETY: libav passes what its own formatter takes; the buffer's true length is given and it ends with a zero.
    unsafe {
        let length = line.len() as std::ffi::c_int;
        ffi::av_log_format_line2(
            who,
            level,
            format,
            arguments,
            line.as_mut_ptr().cast(),
            length,
            &mut prefix,
        );
    }
    let end = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
    let text = without_addresses(&String::from_utf8_lossy(&line[..end]));
    if text.is_empty() {
        return;
    }
    tracing::debug!(target: "libav", "{text}");
    // A thread that is ending has no store any more; nobody is left to ask it.
    let _ = FIRST.try_with(|first| {
        if let Ok(mut first) = first.try_borrow_mut() {
            first.get_or_insert(text);
        }
    });
}

/// `[h264 @ 0x55b8fc753700] no frame!` as `h264: no frame!`, the same in every run.
#[cfg(any(target_arch = "x86_64", test))]
fn without_addresses(line: &str) -> String {
    let line = line.trim();
    match line.strip_prefix('[').and_then(|rest| rest.split_once(" @ ")) {
        Some((who, rest)) => match rest.split_once("] ") {
            Some((_, what)) => format!("{who}: {}", what.trim()),
            None => line.to_owned(),
        },
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_addresses() {
        assert_eq!(without_addresses("[h264 @ 0x55b8] no frame!\n"), "h264: no frame!");
        assert_eq!(without_addresses("plain\n"), "plain");
        assert_eq!(without_addresses("[odd"), "[odd");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_first_error_of_this_thread_is_kept() {
        use ffmpeg_next::ffi;
        crate::decode::init();
        for (level, text) in [
            (ffi::AV_LOG_WARNING, c"a warning"),
            (ffi::AV_LOG_ERROR, c"first"),
            (ffi::AV_LOG_ERROR, c"second"),
        ] {
            // SAFETY: the texts have no format places.
            unsafe { ffi::av_log(std::ptr::null_mut(), level as std::ffi::c_int, text.as_ptr()) };
        }
        assert_eq!(std::thread::spawn(take_complaint).join().unwrap(), None);
        assert_eq!(take_complaint().as_deref(), Some("first"));
        assert_eq!(take_complaint(), None);
    }
}
