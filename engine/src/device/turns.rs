//! Who may use devices while a run is recorded: nobody else; and who may open a decoder's session: one at a time.
//!
//! CUDA refuses much of what other threads ask for while one records, and ONNX Runtime's recordings came out wrong where
//! others worked meanwhile (1.31). Recording happens when a model is opened, for some hundred milliseconds.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURNS: RwLock<()> = RwLock::new(());
/// Apart from `TURNS`, since opening a model takes seconds: who records waits for those who open before it lets those who
/// work wait for itself.
static OPENING: RwLock<()> = RwLock::new(());
static SESSIONS: Mutex<()> = Mutex::new(());

/// Held by whoever gives a device work, beside others that do.
#[derive(Debug)]
pub struct Working(#[allow(dead_code, reason = "kept for its drop")] RwLockReadGuard<'static, ()>);

/// Held while a decoder's session on a device is opened or closed.
#[derive(Debug)]
pub struct Admitted(#[allow(dead_code, reason = "kept for its drop")] MutexGuard<'static, ()>);

/// Held while a run is recorded.
#[derive(Debug)]
pub(crate) struct Alone(#[allow(dead_code, reason = "kept for its drop")] [RwLockWriteGuard<'static, ()>; 2]);

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

/// Waits until nobody opens and nobody works.
pub(crate) fn alone() -> Alone {
    let opening = OPENING.write().unwrap_or_else(PoisonError::into_inner);
    Alone([TURNS.write().unwrap_or_else(PoisonError::into_inner), opening])
}
