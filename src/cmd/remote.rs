//! A run under way on this or another machine, by its server.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use clap::Args;
use http::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// An edit may load a model first.
const PATIENCE: Duration = Duration::from_secs(90);
/// Answers are short.
const ANSWER_BYTES: usize = 16 << 20;

#[derive(Args)]
pub struct Remote {
    /// The address of the run's server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: Uri,
    /// The environment variable that holds the server's token
    #[arg(long, value_name = "NAME", default_value = "FLOWRUN_TOKEN")]
    token: String,
}

/// What the server answered.
pub struct Answer {
    pub status: StatusCode,
    pub document: Value,
}

impl Remote {
    /// Asks the server for something.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, method: Method, path: &str, tag: Option<&str>, body: Vec<u8>) -> Result<Answer, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, self.exchange(method, path, tag, body)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("{} does not answer", self.server)),
            }
        })
    }

    async fn exchange(&self, method: Method, path: &str, tag: Option<&str>, body: Vec<u8>) -> Result<Answer, String> {
        let wrong = |cause: &str| format!("{}: {cause}", self.server);
        if self.server.scheme_str().is_some_and(|scheme| scheme != "http") {
            return Err(wrong(
                "only http:// is spoken here; put a tunnel or a proxy on this machine before it",
            ));
        }
        let authority = self
            .server
            .authority()
            .ok_or_else(|| wrong("an address is written http://HOST:PORT"))?;
        let port = authority.port_u16().unwrap_or(80);
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let stream = tokio::net::TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| wrong(&format!("no server there: {error}")))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| wrong(&error.to_string()))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority.as_str());
        if let Ok(token) = std::env::var(&self.token) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, format!("\"{tag}\""));
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| wrong(&error.to_string()))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| wrong(&error.to_string()))?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES).await;
        let body = body.map_err(|error| wrong(&error.to_string()))?;
        Ok(Answer {
            status,
            document: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

/// Prints what became of an edit; gives whether it was made.
pub fn tell(answer: &Answer) -> bool {
    let text = |key: &str| answer.document[key].as_str().map(str::to_owned);
    if answer.status.is_success() {
        let receipt = &answer.document["receipt"];
        match receipt["version"].as_u64() {
            Some(version) => println!(
                "version {version} since tick {}: {} lost, {} doubled, longest gap {} ms",
                receipt["tick"],
                receipt["lost"],
                receipt["doubled"],
                receipt["longest_gap_us"].as_f64().unwrap_or(0.0) / 1e3
            ),
            None => println!("nothing that runs has changed"),
        }
        return true;
    }
    let error = text("error").unwrap_or_else(|| format!("the server answered {}", answer.status));
    eprintln!("error: {}", error.trim_end());
    if let Some(remedy) = text("remedy") {
        eprintln!("  help: {remedy}");
    }
    false
}
