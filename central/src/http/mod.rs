//! The protocol: what is asked over HTTP, and how it is answered. docs/central.md describes it.

mod admin;
mod answer;
mod feed;
mod hosts;
mod oauth;
mod scim;
mod serve;
mod ssf;

pub use serve::{serve, tls};

use crate::app::{App, SIGNALS_PATH};
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Extension, Router};
use std::net::SocketAddr;
use std::sync::Arc;

/// The most bytes of a body.
const BODY_MAX: usize = 64 * 1024;
/// The most bytes of a body that holds a bundle.
const BUNDLE_BODY_MAX: usize = 9 * 1024 * 1024;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Everything that handlers share.
type Shared = Extension<Arc<App>>;

/// All paths.
pub fn router(app: Arc<App>) -> Router {
    let bundles =
        Router::new().route("/v1/admin/bundles", post(admin::publish)).layer(DefaultBodyLimit::max(BUNDLE_BODY_MAX));
    Router::new()
        .route("/healthz", get(oauth::health))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata))
        .route("/jwks", get(oauth::jwks))
        .route("/oauth/token", post(oauth::token))
        .route("/oauth/revoke", post(oauth::revoke))
        .route("/v1/certificate", post(hosts::certificate))
        .route("/v1/host/enrol", post(hosts::enrol))
        .route("/v1/host/report", post(hosts::report))
        .route("/v1/host/feed", get(feed::feed))
        .route("/v1/admin/agents", get(admin::agents).post(admin::register))
        .route("/v1/admin/agents/activate", post(admin::activate))
        .route("/v1/admin/hosts", get(admin::hosts).post(admin::admit_host))
        .route("/v1/admin/sessions", get(admin::sessions))
        .route("/v1/admin/confirmations", post(admin::confirm))
        .route("/v1/admin/keys", post(admin::keys))
        .route("/v1/admin/access", post(admin::explain))
        .route("/v1/admin/reach", post(admin::reach))
        .route("/v1/admin/revoke", post(admin::revoke))
        .route("/v1/admin/hosts/mark", post(admin::accept_mark))
        .route(SIGNALS_PATH, post(ssf::push))
        .nest("/scim/v2", scim::router())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .merge(bundles)
        .layer(Extension(app))
}

/// The one value of a header; none if it is missing, stands twice, or is not text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The token of an `Authorization` header with this scheme.
fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let (found, token) = header(headers, "authorization")?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then_some(token.trim())
}
