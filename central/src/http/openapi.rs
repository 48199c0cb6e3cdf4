//! The protocol's description, for whoever writes another central.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The document, as it is checked in.
pub const DOCUMENT: &str = include_str!("../../openapi.json");

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
