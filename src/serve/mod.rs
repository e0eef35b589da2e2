//! The HTTP server of a run: its page, its state, its metrics, and what the graph publishes.
//!
//! Safe by default. It listens only when the graph or the command line says so, on the machine itself unless an
//! address says otherwise, and then to those who show the token. Browsers reach it by the names it knows, so that
//! a page elsewhere cannot speak to it through a name of its own. Whatever a client does is bounded: the
//! number of connections, the size and the time of what it sends, and the time for which it may not read.
//!
//! It runs on threads of its own and knows the engine by its public state: nothing it does holds up a frame.

pub mod access;
mod app;
mod devices;
mod edits;
mod graph;
mod listen;
mod metrics;
mod openapi;
mod page;
mod placement;
mod process;
mod rates;
pub mod settings;
mod socket;
mod stall;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowrun_engine::run::context::Context;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::live::Live;

pub use app::{App, ROUTES};
pub use settings::{GraphText, Limits, ServeError, Settings, Token};

/// Threads of the server. Handlers never wait, and what is sent out is encoded elsewhere.
const THREADS: usize = 2;

/// A server under way.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    runtime: Runtime,
    closing: watch::Sender<bool>,
    close_within: Duration,
}

impl Server {
    /// Listens. Until a run is attached, the server says that it is starting.
    ///
    /// # Errors
    /// When nothing can listen there.
    pub fn start(settings: Settings) -> Result<Server, ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(|error| ServeError::new(format!("cannot start the server's threads: {error}")))?;
        let entered = runtime.enter();
        let listener = listen::bind(&settings.listen)?;
        let address = listener
            .local_addr()
            .map_err(|error| ServeError::new(format!("cannot tell where the server listens: {error}")))?;
        let closing = watch::Sender::new(false);
        let close_within = settings.limits.close;
        let app = App::new(settings, address);
        runtime.spawn(listen::accept(listener, app.clone(), closing.subscribe()));
        runtime.spawn(app.clone().sample());
        drop(entered);
        Ok(Server {
            app,
            address,
            runtime,
            closing,
            close_within,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to open in a browser; with the token where one was drawn, and it is said nowhere else.
    pub fn url(&self) -> String {
        self.app.url(self.address)
    }

    /// Serves this run from now on. The first one stays.
    pub fn attach(&self, context: &Arc<Context>) {
        self.app.attach(context.clone());
    }

    /// Lets this graph be edited by those who show the token.
    pub fn edit(&self, live: &Arc<Live>) {
        self.app.edit(live.clone());
    }

    /// Takes no more connections, lets answers under way come to their end for a while, and closes.
    pub fn close(self) {
        self.closing.send_replace(true);
        let mut open = self.app.connections.watch();
        self.runtime.block_on(async {
            // What is not over by then is cut off.
            let _ = tokio::time::timeout(self.close_within, open.wait_for(|open| *open == 0)).await;
        });
        self.runtime.shutdown_background();
    }
}
