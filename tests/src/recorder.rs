//! What central was asked and what it answered, one line of JSON each, written by the central of the tests: the same
//! routes with this around them.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Names the file; without it nothing is recorded.
pub const RECORD: &str = "TETHER_TEST_RECORD";
/// The most bytes of a body; central takes no longer ones.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// One request and its answer, or one more piece of an answer that has no end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What was sent.
    pub request: Side,
    /// The status.
    pub status: u16,
    /// What was answered.
    pub answer: Side,
}

/// One side.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Side {
    /// `Content-Type`, without parameters.
    pub media: String,
    /// The other headers that the document names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Puts the recorder around the routes if there is a file to write to.
pub fn around(router: Router) -> Router {
    let Some(path) = std::env::var_os(RECORD) else { return router };
    let file = match File::options().create(true).append(true).open(&path) {
        Ok(file) => Arc::new(Mutex::new(file)),
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return router;
        }
    };
    router.layer(from_fn(move |request: Request, next: Next| {
        let file = Arc::clone(&file);
        async move { record(&file, request, next).await }
    }))
}

/// What was recorded so far.
pub fn read(path: &Path) -> anyhow::Result<Vec<Recorded>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

async fn record(file: &Arc<Mutex<File>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let sent = match to_bytes(body, BODY_MAX).await {
        Ok(sent) => sent,
        // Broken off: central is to meet it so, and nobody hears the answer.
        Err(error) => {
            let broken = futures_util::stream::once(async { Err::<Bytes, _>(error) });
            return next.run(Request::from_parts(parts, Body::from_stream(broken))).await;
        }
    };
    let asked = Recorded {
        method: parts.method.to_string(),
        path: route_of(parts.uri.path()),
        request: side(&parts.headers, &sent),
        status: 0,
        answer: Side::default(),
    };
    let response = next.run(Request::from_parts(parts, Body::from(sent))).await;
    let (parts, body) = response.into_parts();
    let asked = Recorded { status: parts.status.as_u16(), ..asked };
    if media(&parts.headers) == "text/event-stream" {
        let (headers, file) = (parts.headers.clone(), Arc::clone(file));
        let pieces = body.into_data_stream().inspect(move |piece| {
            if let Ok(piece) = piece {
                write(&file, &Recorded { answer: side(&headers, piece), ..asked.clone() });
            }
        });
        return Response::from_parts(parts, Body::from_stream(pieces));
    }
    let answered = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    write(file, &Recorded { answer: side(&parts.headers, &answered), ..asked });
    Response::from_parts(parts, Body::from(answered))
}

fn write(file: &Mutex<File>, recorded: &Recorded) {
    let line = serde_json::to_string(recorded).unwrap_or_default();
    if let Ok(mut file) = file.lock() {
        let _ = writeln!(file, "{line}");
    }
}

fn side(headers: &HeaderMap, body: &Bytes) -> Side {
    let named = ["dpop-nonce", "retry-after"].into_iter();
    let headers_of = |name: &str| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.to_owned()));
    Side {
        media: media(headers),
        headers: named.filter_map(headers_of).collect(),
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

fn media(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// As the document writes the path: what names one thing is a parameter there.
fn route_of(path: &str) -> String {
    if path.starts_with("/log/tile/") {
        return "/log/tile/{path}".to_owned();
    }
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "v1", "sessions", _, "trail"] => "/v1/sessions/{id}/trail".to_owned(),
        ["", "v1", "sessions", _, "recordings"] => "/v1/sessions/{id}/recordings".to_owned(),
        ["", "v1", "sessions", _, "recordings", _] => "/v1/sessions/{id}/recordings/{name}".to_owned(),
        ["", "v1", "host", "recording", _, _] => "/v1/host/recording/{session}/{name}".to_owned(),
        _ => path.to_owned(),
    }
}
