//! The protocol: what is asked over HTTP, and how it is answered. docs/central.md describes it.

mod admin;
mod answer;
mod audit;
mod body;
mod feed;
mod hosts;
mod idle;
mod limit;
mod metrics;
mod oauth;
mod openapi;
mod recordings;
mod routes;
mod scim;
mod serve;
mod ssf;

pub use metrics::serve as serve_metrics;
pub use openapi::DOCUMENT;
pub use routes::{Route, routes};
pub use serve::{serve, serve_until, tls};

use crate::app::App;
use axum::http::HeaderMap;
use axum::{Extension, Router};
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Everything that handlers share.
type Shared = Extension<Arc<App>>;

/// All paths.
pub fn router(app: Arc<App>) -> Router {
    routes::router().layer(Extension(app))
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
