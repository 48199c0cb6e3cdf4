//! Who asks too often from one address is answered before the body is read.

use super::answer::{refused, with_nonce};
use super::{Peer, Shared};
use crate::app::Attempt;
use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

pub(super) async fn by_address(
    State(attempt): State<Attempt>,
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Arc::clone(&app);
    // The first refusal of a flood is written down, so it may wait for the disk; the others do not get there.
    match super::answer::blocking(move || asked.admit_address(attempt, peer.0.ip())).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => with_nonce(&app, refused(&refusal)),
    }
}
