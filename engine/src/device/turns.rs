//! Who may use devices while a run is recorded: nobody else; and who may open a decoder's session: one at a time.
//!
//! CUDA refuses much of what other threads ask for while one records, and ONNX Runtime's recordings came out wrong where
//! others worked meanwhile (1.31). Recording happens when a model is opened, for some hundred milliseconds.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

static TURNS: RwLock<()> = RwLock::new(());
/// Apart from `TURNS`, since opening a model takes seconds: who records waits for those who open before it lets those who
/// work wait for itself.
static OPENING: RwLock<()> = RwLock::new(());
static SESSIONS: Mutex<()> = Mutex::new(());
/// Held from the begin of a recording until others have had their turn after it.
static RECORDING: Mutex<()> = Mutex::new(());
/// The longest that others are given after a recording.
const MOST_PAUSE: Duration = Duration::from_millis(200);

/// Held by whoever gives a device work, beside others that do.
#[derive(Debug)]
pub struct Working(#[allow(dead_code, reason = "kept for its drop")] RwLockReadGuard<'static, ()>);

/// Held while a decoder's session on a device is opened or closed.
#[derive(Debug)]
pub struct Admitted(#[allow(dead_code, reason = "kept for its drop")] MutexGuard<'static, ()>);

/// Held while a model that is to be recorded is opened.
#[derive(Debug)]
pub(crate) struct Opening(#[allow(dead_code, reason = "kept for its drop")] RwLockReadGuard<'static, ()>);

/// Waits until nobody records. A thread that holds one asks for no second.
pub fn working() -> Working {
    Working(TURNS.read().unwrap_or_else(PoisonError::into_inner))
}

/// Waits until no other session is opened or closed, which the driver does one at a time: its own way to wait is to look
/// again and again, and a few hundred cameras that begin at once then leave the processor no time for anything else. Who is
/// admitted may work after that, not before.
pub fn admitted() -> Admitted {
    Admitted(SESSIONS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Waits until nobody records; who opens may work meanwhile.
pub(crate) fn opening() -> Opening {
    Opening(OPENING.read().unwrap_or_else(PoisonError::into_inner))
}

/// Does something while nobody opens and nobody works: records. A model has many runs to record, and a lock that is waited
/// for by writers lets no reader in; so those who were held off get as long as they were before the next recording.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    alone_then(work, |taken| std::thread::sleep(taken.min(MOST_PAUSE)))
}

fn alone_then<T>(work: impl FnOnce() -> T, pause: impl FnOnce(Duration)) -> T {
    let _recording = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, taken) = {
        let _opening = OPENING.write().unwrap_or_else(PoisonError::into_inner);
        let _turns = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        (work(), began.elapsed())
    };
    pause(taken);
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_works_has_a_turn_between_two_recordings() {
        let (tell, told) = channel();
        let (done, worked) = channel();
        let say = |what: &'static str| tell.send(what).unwrap();
        std::thread::scope(|scope| {
            alone_then(
                || {
                    say("records");
                    scope.spawn(|| alone_then(|| say("records again"), |_| {}));
                    scope.spawn(|| {
                        let _working = working();
                        say("works");
                        done.send(()).unwrap();
                    });
                },
                |_| worked.recv_timeout(Duration::from_secs(60)).unwrap(),
            );
        });
        drop(tell);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["records", "works", "records again"]);
    }
}
