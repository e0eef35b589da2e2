//! One pool of threads for everything in a run that waits on the network.
//!
//! A thousand cameras are a thousand tasks on a few threads, not a thousand runtimes. A run without any never
//! starts a thread for them.

use std::sync::{Arc, Mutex};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::errors::{OperatorError, Result};

/// Threads that move bytes: what is heavy (decoding) happens elsewhere.
const THREADS_AT_MOST: usize = 4;
/// Threads that look up host names, which the system does one at a time and blocking.
const LOOKUPS_AT_MOST: usize = 8;

/// The network of a run; clones share it. It ends with the last of them, without waiting for what is under way.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Lazy>>);

#[derive(Default)]
struct Lazy(Option<Runtime>);

impl Drop for Lazy {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A look-up of a host name may take half a minute; nobody waits for it any more.
            runtime.shutdown_background();
        }
    }
}

impl Network {
    /// Where tasks are started; the first call starts the threads.
    ///
    /// # Errors
    /// When the system has no thread or no event queue left.
    pub fn handle(&self) -> Result<Handle> {
        let mut lazy = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(runtime) = &lazy.0 {
            return Ok(runtime.handle().clone());
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.min(THREADS_AT_MOST))
            .max_blocking_threads(LOOKUPS_AT_MOST)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(|error| OperatorError::new(format!("no threads for the network: {error}")))?;
        Ok(lazy.0.insert(runtime).handle().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_runtime() {
        let network = Network::default();
        let (one, other) = (network.handle().unwrap(), network.clone().handle().unwrap());
        assert_eq!(one.id(), other.id());
        let (sender, receiver) = std::sync::mpsc::channel();
        one.spawn(async move { sender.send(7) });
        assert_eq!(receiver.recv(), Ok(7));
    }
}
