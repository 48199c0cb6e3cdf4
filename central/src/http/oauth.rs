//! The OAuth endpoints.

use super::answer::{answer, blocking, json, refused, token_answer};
use super::body::Whole;
use super::{Peer, Shared, header};
use crate::app::{App, REVOKE_PATH, TOKEN_PATH, fault};
use crate::metrics::Asked;
use axum::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use tether_oauth::{GRANT_TYPE, Refusal, Standard};

pub(super) async fn health(Extension(app): Shared) -> Response {
    let done = blocking(move || app.healthy().map_err(|error| fault("store.failed", error))).await;
    match done {
        Ok(()) => json(StatusCode::OK, &json!({"status": "ok"})),
        Err(refusal) => refused(&refusal),
    }
}

/// RFC 8414.
pub(super) async fn metadata(Extension(app): Shared) -> Response {
    let url = &app.settings.url;
    json(
        StatusCode::OK,
        &json!({
            "issuer": url,
            "token_endpoint": format!("{url}{TOKEN_PATH}"),
            "revocation_endpoint": format!("{url}{REVOKE_PATH}"),
            "jwks_uri": format!("{url}/jwks"),
            "grant_types_supported": [GRANT_TYPE],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["EdDSA", "ES256", "RS256"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "dpop_signing_alg_values_supported": ["EdDSA", "ES256"],
        }),
    )
}

/// The keys of delegation tokens.
pub(super) async fn jwks(Extension(app): Shared) -> Response {
    json(StatusCode::OK, &app.jwks())
}

pub(super) async fn token(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Response {
    if let Err(refusal) = is_form(&headers) {
        return token_answer::<()>(&app, Err(refusal));
    }
    let asked = Arc::clone(&app);
    let done = blocking(move || asked.exchange(&body, header(&headers, "dpop"), &peer.0.to_string())).await;
    app.metrics.count(Asked::Exchange, &done);
    token_answer(&app, done)
}

pub(super) async fn revoke(Extension(app): Shared, headers: HeaderMap, Whole(body): Whole) -> Response {
    let asked: Arc<App> = Arc::clone(&app);
    let done = blocking(move || {
        is_form(&headers)?;
        let proof = asked.prove(header(&headers, "dpop"), "POST", REVOKE_PATH, None)?;
        asked.give_back(&body, &proof)
    });
    answer(&app, done.await)
}

fn is_form(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = header(headers, "content-type").unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(Refusal::new(Standard::InvalidRequest, "request.content_type", "the body has to be a form"))
}
