//! Bodies: read whole, within a time, up to a size. A long one only from somebody who is known by then.

use super::answer::refused;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt;
use std::time::Duration;
use tether_oauth::{Refusal, Standard};

/// The most bytes of a body of somebody who is not known yet.
const BODY_MAX: usize = 64 * 1024;
/// The most bytes of a body that holds a bundle: an admin's.
pub(super) const BUNDLE_BODY_MAX: usize = 9 * 1024 * 1024;
/// How long such a body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an admin's may take: a bundle over a slow line.
pub(super) const ADMINS_PATIENCE: Duration = Duration::from_secs(120);

/// A body of anybody's.
pub(super) struct Whole(pub(super) Bytes);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = Response;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Response> {
        read(request.into_body(), BODY_MAX, PATIENCE).await.map(Self)
    }
}

/// Reads a body.
pub(super) async fn read(body: Body, most: usize, patience: Duration) -> Result<Bytes, Response> {
    // What says that it is too long is not read at all.
    if body.size_hint().lower() > most as u64 {
        return Err(too_long(most));
    }
    match tokio::time::timeout(patience, all(body, most)).await {
        Ok(read) => read,
        Err(_) => Err(answer(StatusCode::REQUEST_TIMEOUT, "request.slow", "the body took too long".to_owned())),
    }
}

async fn all(body: Body, most: usize) -> Result<Bytes, Response> {
    let (mut chunks, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        let broken = |_| answer(StatusCode::BAD_REQUEST, "request.body", "the body was broken off".to_owned());
        let chunk = chunk.map_err(broken)?;
        if bytes.len() + chunk.len() > most {
            return Err(too_long(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn too_long(most: usize) -> Response {
    answer(StatusCode::PAYLOAD_TOO_LARGE, "request.too_long", format!("a body has {most} bytes at most"))
}

fn answer(status: StatusCode, code: &str, why: String) -> Response {
    let mut response = refused(&Refusal::new(Standard::InvalidRequest, code, why));
    *response.status_mut() = status;
    response
}
