//! Edits of the graph over HTTP, and their receipts.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use flowrun_engine::reload::Receipt;
use futures_util::stream;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::live::{Answered, Applied, By, EditError, Live, Refusal};
use crate::serve::app::{json, refusal};
use crate::serve::devices::Engine;

/// Receipts in one answer.
const LISTED: usize = 50;

/// Whether a request's body is a graph.
pub fn takes_graph(request: &Parts) -> bool {
    matches!(
        (&request.method, request.uri.path()),
        (&Method::PUT, "/api/graph") | (&Method::POST, "/api/graph/diff")
    )
}

fn no_edits() -> Response<Body> {
    let remedy = "begin the run with `flowrun run`";
    refusal(StatusCode::CONFLICT, "this run's graph cannot be edited", Some(remedy))
}

fn answer(outcome: Result<Value, EditError>) -> Response<Body> {
    match outcome {
        Ok(document) => json(StatusCode::OK, &document),
        Err(error) => {
            let Refusal { status, document } = Refusal::from(&error);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::CONFLICT);
            json(status, &document)
        }
    }
}

/// Does what may wait for models and cameras away from the server's own threads.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn failed() -> Response<Body> {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "the edit failed", None)
}

/// `PUT /api/graph`.
pub async fn put(live: Option<Arc<Live>>, headers: &HeaderMap, body: Bytes) -> Response<Body> {
    let Some(live) = live else { return no_edits() };
    let expected = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let expected = expected
        .map(|tag| tag.trim().trim_matches('"').to_owned())
        .filter(|tag| tag != "*");
    let edit = move || live.apply(body.to_vec(), expected.as_deref(), By::Api);
    match aside(edit).await {
        Some(outcome) => answer(outcome.map(|applied: Applied| Answered::from(&applied).0)),
        None => failed(),
    }
}

/// `POST /api/graph/diff`.
pub async fn diff(live: Option<Arc<Live>>, body: Bytes) -> Response<Body> {
    let Some(live) = live else { return no_edits() };
    match aside(move || live.diff(body.to_vec())).await {
        Some(outcome) => answer(outcome.map(|diff| json!(diff))),
        None => failed(),
    }
}

/// `POST /api/rollback`.
pub async fn rollback(live: Option<Arc<Live>>) -> Response<Body> {
    let Some(live) = live else { return no_edits() };
    match aside(move || live.rollback()).await {
        Some(outcome) => answer(outcome.map(|applied| Answered::from(&applied).0)),
        None => failed(),
    }
}

/// `GET /api/graph.kdl`.
pub fn written(live: Option<&Arc<Live>>) -> Response<Body> {
    let Some(live) = live else { return no_edits() };
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.kdl; charset=utf-8".to_owned()),
        (header::ETAG, format!("\"{}\"", live.text().hash)),
    ];
    (headers, live.written()).into_response()
}

/// `GET /api/reloads`: the newest last.
pub fn reloads(live: Option<&Arc<Live>>) -> Response<Body> {
    let Some(live) = live else {
        return json(
            StatusCode::OK,
            &json!({ "version": 1, "receipts": [], "refused": null, "engines": [] }),
        );
    };
    let receipts = live.editor().receipts(0);
    let newest = &receipts[receipts.len().saturating_sub(LISTED)..];
    let version = live.editor().context().generation().number;
    let document = json!({
        "version": version,
        "receipts": newest.iter().map(|receipt| json!(**receipt)).collect::<Vec<_>>(),
        "refused": live.refused(),
        "engines": Engine::all(live.editor().context()),
    });
    json(StatusCode::OK, &document)
}

/// `GET /api/reloads/events`: each receipt as it is made, the version as id.
pub fn events(live: Option<&Arc<Live>>, headers: &HeaderMap) -> Response<Body> {
    let Some(live) = live else { return no_edits() };
    let editor = live.editor().clone();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let from = last
        .and_then(|last| last.parse().ok())
        .unwrap_or_else(|| editor.context().generation().number);
    let state = (editor.watch(), editor, from, VecDeque::<Arc<Receipt>>::new());
    let pieces = stream::unfold(state, |(mut made, editor, mut from, mut waiting)| async move {
        loop {
            if let Some(receipt) = waiting.pop_front() {
                from = receipt.version;
                let data = serde_json::to_string(&*receipt).unwrap_or_default();
                let event = format!("id: {}\nevent: receipt\ndata: {data}\n\n", receipt.version);
                return Some((
                    Ok::<_, std::convert::Infallible>(Bytes::from(event)),
                    (made, editor, from, waiting),
                ));
            }
            waiting.extend(editor.receipts(from));
            if waiting.is_empty() {
                let heard = tokio::time::timeout(std::time::Duration::from_secs(10), made.changed()).await;
                match heard {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) if editor.is_over() => return None,
                    Err(_) => return Some((Ok(Bytes::from_static(b":\n\n")), (made, editor, from, waiting))),
                }
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}
