//! What a run offers to those who watch it: resources under paths, for a server to serve.
//!
//! Sinks in `publish` blocks put [`Resource`]s here while they are prepared; whoever runs the plan decides whether and
//! how the site is served. The engine knows requests and responses ([`http`]), and no server.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, Response};

use crate::errors::{OperatorError, Result};

/// The body of a response: whole, or as it comes.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Pieces until the stream ends; dropped when the client goes.
    Pieces(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

/// A request for something below a resource's path.
#[derive(Clone, Debug)]
pub struct Request {
    /// What follows the path at which the resource stands, without a leading slash; empty for the path itself.
    pub rest: String,
    /// The query string, without the question mark.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
}

/// A response under way: it may wait for what has not happened yet.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What the site has at a path. GET is the one method: what changes something is no resource of a graph.
pub trait Resource: Send + Sync {
    /// What it is, for lists: `hls`, `sse`.
    fn kind(&self) -> &'static str;
    /// What else lists say of it.
    fn about(&self) -> About {
        About::default()
    }
    /// Answers a request. Called on the server's threads: it must not block.
    fn get(&self, request: Request) -> Answering;
}

/// What a resource says of itself, for pages that bring together what belongs together.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// The node that publishes it.
    pub node: Option<String>,
    /// The camera that it is of; none where it is of several or of none.
    pub camera: Option<String>,
    /// The kind of rows that it carries: `tracks`.
    pub rows: Option<String>,
    /// The name of its events, where it is a stream of events: `frame`, `track`.
    pub event: Option<String>,
}

/// One entry of the site's list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mount {
    /// Where it stands, with a leading slash and without one at the end.
    pub path: String,
    /// What it is.
    pub kind: &'static str,
    /// What it says of itself.
    #[serde(flatten)]
    pub about: About,
}

type Mounts = BTreeMap<String, Arc<dyn Resource>>;

/// All resources of a run by path.
#[derive(Default)]
pub struct Site {
    mounts: RwLock<Mounts>,
    /// What an edit of the graph that is being prepared will put there.
    staged: Mutex<Option<Staged>>,
    /// Whether the run is over: what stands then stays, to say so to those who ask.
    settled: AtomicBool,
}

#[derive(Default)]
struct Staged {
    /// Nodes whose resources go when the edit is made.
    leaving: BTreeSet<String>,
    mounts: Mounts,
}

impl Staged {
    fn leaves(&self, resource: &dyn Resource) -> bool {
        resource.about().node.is_some_and(|node| self.leaving.contains(&node))
    }
}

/// Paths that belong to the server itself.
const RESERVED: [&str; 6] = ["/api", "/metrics", "/healthz", "/readyz", "/assets", "/openapi.json"];

impl Site {
    /// Puts a resource at a path such as `/live/north`.
    ///
    /// # Errors
    /// When the path is not one, is the server's own, or lies at or below another's.
    pub fn mount(&self, path: &str, resource: Arc<dyn Resource>) -> Result<()> {
        let letters = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let whole = |part: &str| !part.is_empty() && !part.chars().all(|c| c == '.') && letters(part);
        if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(whole)) {
            let cause = format!("`{path}` is no path to serve under");
            return Err(
                OperatorError::new(cause).help("write it as \"/live/{camera}\": letters, digits, `-`, `_` and `.`")
            );
        }
        if RESERVED.iter().any(|own| within(own, path)) {
            let cause = format!("`{path}` is the server's own");
            return Err(
                OperatorError::new(cause).help("put it under another path, such as \"/events/...\" or \"/live/...\"")
            );
        }
        let mut staged = self.staged();
        let mut mounts = self.mounts.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let clashes = |taken: &&String| within(taken, path) || within(path, taken);
        let taken = match &*staged {
            None => mounts.keys().find(clashes),
            Some(staged) => {
                let stays = mounts.iter().filter(|(_, resource)| !staged.leaves(resource.as_ref()));
                stays.map(|(path, _)| path).chain(staged.mounts.keys()).find(clashes)
            }
        };
        if let Some(taken) = taken {
            return Err(
                OperatorError::new(format!("`{path}` and `{taken}` cannot both be served"))
                    .help("give each a path of its own; `{camera}` in a path stands for the camera's name"),
            );
        }
        match &mut *staged {
            None => mounts.insert(path.into(), resource),
            Some(staged) => staged.mounts.insert(path.into(), resource),
        };
        Ok(())
    }

    fn staged(&self) -> MutexGuard<'_, Option<Staged>> {
        self.staged.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// From now on what is mounted waits for [`Site::commit`].
    pub fn stage(&self) {
        *self.staged() = Some(Staged::default());
    }

    /// What is mounted from now on may take the place of what this node has.
    pub fn leaves(&self, node: &str) {
        if let Some(staged) = &mut *self.staged() {
            staged.leaving.insert(node.to_owned());
        }
    }

    /// Puts in place what was mounted since [`Site::stage`], and takes away what leaves.
    pub fn commit(&self) {
        let Some(mut staged) = self.staged().take() else { return };
        let mut mounts = self.mounts.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        mounts.retain(|_, resource| !staged.leaves(resource.as_ref()));
        mounts.append(&mut staged.mounts);
    }

    /// Forgets what was mounted since [`Site::stage`].
    pub fn abandon(&self) {
        *self.staged() = None;
    }

    /// Lets what stands stay: the run is over.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::SeqCst);
    }

    /// Takes away what stands at a path, if it is this resource and the run goes on.
    pub fn unmount(&self, path: &str, resource: &Arc<dyn Resource>) {
        if self.settled.load(Ordering::SeqCst) {
            return;
        }
        let mut mounts = self.mounts.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let same = |known: &Arc<dyn Resource>| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(resource));
        if mounts.get(path).is_some_and(same) {
            mounts.remove(path);
        }
    }

    /// The resource at or above a path, and what of the path lies below it.
    pub fn find(&self, path: &str) -> Option<(Arc<dyn Resource>, String)> {
        let mounts = self.mounts.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut at = path.trim_end_matches('/');
        loop {
            if let Some(resource) = mounts.get(at) {
                return Some((resource.clone(), path[at.len()..].trim_start_matches('/').to_owned()));
            }
            at = &at[..at.rfind('/')?];
        }
    }

    /// What there is, in the order of paths.
    pub fn list(&self) -> Vec<Mount> {
        let mounts = self.mounts.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        mounts
            .iter()
            .map(|(path, resource)| Mount {
                path: path.clone(),
                kind: resource.kind(),
                about: resource.about(),
            })
            .collect()
    }
}

/// Whether `path` is `top` or lies below it.
fn within(top: &str, path: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Resource for Nothing {
        fn kind(&self) -> &'static str {
            "nothing"
        }
        fn about(&self) -> About {
            About {
                node: Some("wall.hls".into()),
                ..About::default()
            }
        }
        fn get(&self, _: Request) -> Answering {
            Box::pin(async { Response::new(Body::Whole(Bytes::new())) })
        }
    }

    fn refusal(site: &Site, path: &str) -> String {
        site.mount(path, Arc::new(Nothing)).unwrap_err().cause
    }

    #[test]
    fn finds_what_stands_at_or_above_a_path() {
        let site = Site::default();
        site.mount("/live/north", Arc::new(Nothing)).unwrap();
        let rest = |path| site.find(path).map(|(_, rest)| rest);
        assert_eq!(rest("/live/north"), Some(String::new()));
        assert_eq!(rest("/live/north/"), Some(String::new()));
        assert_eq!(rest("/live/north/a/b.m4s"), Some("a/b.m4s".into()));
        assert_eq!(rest("/live/northern"), None);
        assert_eq!(rest("/live"), None);
        assert_eq!(rest(""), None);
    }

    #[test]
    fn refuses_paths_that_are_none_or_taken() {
        let site = Site::default();
        site.mount("/live/north", Arc::new(Nothing)).unwrap();
        for path in ["live", "/", "", "/a//b", "/a/../b", "/a b", "/a/"] {
            assert!(refusal(&site, path).contains("no path"), "{path}");
        }
        assert!(refusal(&site, "/api/live").contains("the server's own"));
        for path in ["/live", "/live/north", "/live/north/low"] {
            assert!(refusal(&site, path).contains("cannot both"), "{path}");
        }
        assert_eq!(site.list().len(), 1);
    }

    #[test]
    fn an_edit_takes_the_place_of_what_leaves_when_it_is_made() {
        let site = Site::default();
        let before: Arc<dyn Resource> = Arc::new(Nothing);
        site.mount("/live/north", before.clone()).unwrap();
        let is_before = |path| site.find(path).map(|(found, _)| Arc::ptr_eq(&found, &before));
        site.stage();
        assert!(refusal(&site, "/live/north").contains("cannot both"), "nothing leaves");
        site.stage();
        site.leaves("wall.hls");
        site.mount("/live/north", Arc::new(Nothing)).unwrap();
        assert!(refusal(&site, "/live").contains("cannot both"), "staged already");
        assert_eq!(is_before("/live/north"), Some(true), "not made yet");
        site.abandon();
        assert_eq!(is_before("/live/north"), Some(true));
        site.stage();
        site.leaves("wall.hls");
        site.mount("/live/south", Arc::new(Nothing)).unwrap();
        site.commit();
        assert_eq!(is_before("/live/north"), None);
        assert_eq!(is_before("/live/south"), Some(false));
    }
}
