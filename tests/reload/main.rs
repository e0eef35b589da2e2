//! Edits of running graphs (law 4): nothing is lost, nothing comes twice, and what an edit does not concern goes on.

mod cameras;
mod edits;
mod scene;
mod stamp;
