//! Hosts' recordings: pieces as they come in, and what auditors read of them.

use super::admin::as_admin;
use super::answer::{answer, blocking, refused, with_nonce};
use super::body::read;
use super::{Peer, Shared, authorization, header};
use crate::app::{OpenRecording, WhichRecording};
use crate::metrics::Asked;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use tether_identity::SessionId;
use tether_oauth::{Refusal, Standard};
use tether_recording::PIECE;

/// How long a piece may take: a slow line carries it, and a host that says nothing holds no place for long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much is read for an answer at a time.
const STEP: u64 = 256 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// Where the piece begins; left out by who asks how much is here.
    offset: Option<u64>,
}

/// A piece of a recording, or a question how much of it is here.
pub(super) async fn piece(
    Extension(app): Shared,
    Path((session, name)): Path<(String, String)>,
    at: Result<Query<At>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let asked = Arc::clone(&app);
    let proved = blocking(move || {
        let which = WhichRecording::parse(&session, &name)?;
        let host = asked.prove_host(header(&headers, "dpop"), "PUT", &which.path())?;
        let Query(at) = at.map_err(|error| Refusal::new(Standard::InvalidRequest, "request.query", error))?;
        Ok((host, which, at.offset))
    });
    let done = match proved.await {
        Ok((host, which, offset)) => {
            let busy = || Refusal::new(Standard::TemporarilyUnavailable, "recording.busy", "others bring theirs now");
            // A piece is held whole: so many at a time, and of each host one.
            let (place, turn) = (app.bringing_places.try_acquire(), app.bringing.begin(&host));
            let (Ok(_place), Some(_turn)) = (place, turn) else {
                return with_nonce(&app, refused(&busy()));
            };
            let most = usize::try_from(PIECE).unwrap_or(usize::MAX);
            let body = match read(body, most, PATIENCE).await {
                Ok(body) => body,
                Err(refused) => return with_nonce(&app, refused),
            };
            let asked = Arc::clone(&app);
            blocking(move || match offset {
                Some(offset) => asked.take_piece(&host, &which, offset, &body),
                None => asked.look_at_recording(&host, &which),
            })
            .await
        }
        Err(refusal) => Err(refusal),
    };
    app.metrics.count(Asked::Recording, &done);
    answer(&app, done)
}

/// The recordings of a session.
pub(super) async fn list(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path(session): Path<String>,
) -> Response {
    as_admin(app, "audit", (headers, peer), move |app, _| {
        let wrong = |error| Refusal::new(Standard::InvalidRequest, "session.unknown", error);
        let session: SessionId = session.parse().map_err(wrong)?;
        Ok(json!({"recordings": app.recordings_of(&session)?}))
    })
    .await
}

/// The bytes of one.
pub(super) async fn bytes(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path((session, name)): Path<(String, String)>,
) -> Response {
    let asked = Arc::clone(&app);
    let done = blocking(move || {
        let admin = asked.admin(authorization(&headers, "Bearer"), "audit", &peer.0.to_string())?;
        asked.read_recording(&admin, &WhichRecording::parse(&session, &name)?)
    });
    match done.await {
        Ok(opened) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_LENGTH, opened.bytes.to_string()),
                (CACHE_CONTROL, "no-store".to_owned()),
            ];
            with_nonce(&app, (StatusCode::OK, headers, stream(opened)).into_response())
        }
        Err(refusal) => with_nonce(&app, refused(&refusal)),
    }
}

/// Read as it is taken: a slow reader holds a descriptor, and no thread.
fn stream(opened: OpenRecording) -> Body {
    let OpenRecording { file, bytes } = opened;
    let file = Arc::new(file);
    Body::from_stream(futures_util::stream::try_unfold(0, move |at| {
        let file = Arc::clone(&file);
        async move {
            if at >= bytes {
                return Ok(None);
            }
            let chunk = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; usize::try_from(STEP.min(bytes - at)).unwrap_or_default()];
                file.read_exact_at(&mut chunk, at).map(|()| chunk)
            });
            let chunk = Bytes::from(chunk.await.map_err(io::Error::other)??);
            let next = at + chunk.len() as u64;
            Ok::<_, io::Error>(Some((chunk, next)))
        }
    }))
}
