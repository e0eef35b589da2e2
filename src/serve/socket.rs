//! What a graph publishes, over a WebSocket (RFC 6455): a browser opens only six other connections to one host, and a page
//! shows more cameras than that.
//!
//! Whatever answers a GET at a path answers this too: first a text message with the status and the headers, then
//! the body as binary messages, as it comes.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use flowrun_engine::site;
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderMap, Response, header, response};
use serde_json::json;

use crate::serve::listen::Held;

/// What a client may say: it has nothing to say but that it goes.
const MESSAGE_BYTES: usize = 1024;

/// Whether a request asks for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).map(|value| value.as_bytes());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
}

/// Answers with a WebSocket, for as long as there is something to send and somebody to take it.
pub async fn answer(mut parts: Parts, answer: Response<site::Body>) -> Response<Body> {
    // The connection counts for as long as the socket lives.
    let held = parts.extensions.get::<Held>().cloned();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .on_upgrade(move |socket| async move {
            send(socket, answer).await;
            drop(held);
        })
}

async fn send(mut socket: WebSocket, answer: Response<site::Body>) {
    let (parts, body) = answer.into_parts();
    if socket.send(Message::Text(about(&parts).into())).await.is_err() {
        return;
    }
    let mut pieces = match body {
        site::Body::Whole(bytes) => futures_util::stream::iter([bytes]).boxed(),
        site::Body::Pieces(pieces) => pieces.boxed(),
    };
    loop {
        tokio::select! {
            piece = pieces.next() => match piece {
                Some(piece) => {
                    if socket.send(Message::Binary(piece)).await.is_err() {
                        return;
                    }
                }
                None => break,
            },
            said = socket.recv() => {
                // Pings are answered by the library; what else somebody says means nothing here.
                if !matches!(said, Some(Ok(Message::Ping(_) | Message::Pong(_)))) {
                    break;
                }
            }
        }
    }
    // Whether the other side hears of it is of no importance.
    let _ = socket.send(Message::Close(None)).await;
}

fn about(parts: &response::Parts) -> String {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers: BTreeMap<&str, String> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), text(value)?)))
        .collect();
    json!({ "status": parts.status.as_u16(), "headers": headers }).to_string()
}
