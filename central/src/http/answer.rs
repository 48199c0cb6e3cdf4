//! Answers: JSON, never cached; refusals as the standards write them.

use crate::app::{App, fault};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tether_centrallink::wire::Problem;
use tether_oauth::{Refusal, Standard};

/// Runs an act where it may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(fault("act.died", error)),
    }
}

/// An answer as JSON, with a nonce for the next proof.
pub(super) fn answer<T: Serialize>(app: &App, done: Result<T, Refusal>) -> Response {
    with_nonce(
        app,
        match done {
            Ok(value) => json(StatusCode::OK, &value),
            Err(refusal) => refused(&refusal),
        },
    )
}

/// The same, as the token endpoint answers: a bad proof is a bad request there (RFC 9449, 5 and 8).
pub(super) fn token_answer<T: Serialize>(app: &App, done: Result<T, Refusal>) -> Response {
    let of_proof = |refusal: &Refusal| matches!(refusal.error, Standard::InvalidDpopProof | Standard::UseDpopNonce);
    let bad_proof = done.as_ref().err().is_some_and(of_proof);
    let mut response = answer(app, done);
    if bad_proof {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().remove(header::WWW_AUTHENTICATE);
    }
    response
}

pub(super) fn with_nonce(app: &App, mut response: Response) -> Response {
    if let Ok(nonce) = HeaderValue::from_str(&app.nonces.make(crate::clock::now())) {
        response.headers_mut().insert(HeaderName::from_static("dpop-nonce"), nonce);
    }
    response
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (status, headers, body).into_response()
        }
        Err(error) => refused(&fault("answer.json", error)),
    }
}

/// A refusal.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.error {
        _ if refusal.retry_after.is_some() => StatusCode::TOO_MANY_REQUESTS,
        _ if matches!(&*refusal.code, "log.none" | "recording.none") => StatusCode::NOT_FOUND,
        Standard::InvalidClient | Standard::InvalidToken | Standard::InvalidDpopProof | Standard::UseDpopNonce => {
            StatusCode::UNAUTHORIZED
        }
        Standard::InsufficientScope => StatusCode::FORBIDDEN,
        Standard::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Standard::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let problem = Problem {
        error: refusal.error.to_string(),
        error_description: refusal.description.clone(),
        code: refusal.code.clone(),
    };
    let mut response = json(status, &problem);
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED
        && let Ok(value) = HeaderValue::from_str(&format!("DPoP error=\"{}\"", refusal.error))
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
