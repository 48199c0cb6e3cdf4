//! Where providers push what happened to their humans (RFC 8935).

use super::answer::{blocking, json};
use super::body::Whole;
use super::{Peer, Shared, header};
use crate::app::standard_error;
use axum::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tether_oauth::{Refusal, Standard};

pub(super) async fn push(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Response {
    let done = blocking(move || {
        let kind = header(&headers, "content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/secevent+jwt") {
            let why = "the body has to be application/secevent+jwt";
            return Err(Refusal::new(Standard::InvalidRequest, "request.content_type", why));
        }
        app.take_event(&body, header(&headers, "authorization"), &peer.0.to_string())
    });
    match done.await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// An event that is not at fault is answered so that it is sent again.
fn refused(refusal: &Refusal) -> Response {
    let (status, error) = match standard_error(refusal) {
        Some(error) => (StatusCode::BAD_REQUEST, error),
        None => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let body = json!({"err": error, "description": refusal.description, "tether_code": refusal.code});
    json(status, &body)
}
