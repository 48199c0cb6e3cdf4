//! Who asks too often from one address is answered before the body is read.

use super::answer::{blocking, refused, with_nonce};
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
    let refusal = match app.admit_address(attempt, peer.0.ip()) {
        Ok(()) => return next.run(request).await,
        Err(held) if held.is_new() => {
            let asked = Arc::clone(&app);
            match blocking(move || Ok(asked.note(held))).await {
                Ok(refusal) | Err(refusal) => refusal,
            }
        }
        // The rest of a flood does not get as far as the disk.
        Err(held) => held.refusal,
    };
    with_nonce(&app, refused(&refusal))
}
