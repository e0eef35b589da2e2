//! `GET /openapi.json`: all that can be asked, in OpenAPI 3.1, with what this run publishes.

use flowrun_engine::run::context::Context;
use serde_json::{Value, json};

/// All that every run has; written by hand and held to the truth by `tests/serve`.
const DOCUMENT: &str = include_str!("openapi.json");

/// What a kind of resource answers with.
fn media(kind: &str) -> &'static str {
    match kind {
        "sse" => "text/event-stream",
        "hls" => "application/vnd.apple.mpegurl",
        _ => "application/octet-stream",
    }
}

/// The document.
pub fn document(context: Option<&Context>) -> Value {
    let mut document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON, which a test reads");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for mount in context.into_iter().flat_map(|context| context.audience.site.list()) {
        let node = mount.about.node.unwrap_or_default();
        document["paths"][&mount.path] = json!({
            "get": {
                "summary": format!("What {node} publishes ({})", mount.kind),
                "responses": { "200": { "description": "As it comes", "content": { media(mount.kind): {} } } },
            }
        });
    }
    document
}
