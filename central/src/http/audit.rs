//! Hosts' audit chains, and what auditors read of the log.

use super::admin::as_admin;
use super::answer::{answer, blocking, refused, with_nonce};
use super::body::{ADMINS_PATIENCE, read};
use super::{Peer, Shared, authorization, header};
use crate::app::{AUDIT_PATH, Lines, Served};
use crate::metrics::Asked;
use crate::store::{Place, Search};
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use tether_identity::SessionId;
use tether_oauth::{Refusal, Standard};

/// The most bytes of lines.
const LINES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The record that the first line follows.
    after: u64,
    /// How many lines that are no records stand between them.
    #[serde(default)]
    lines: u64,
    /// The host has nothing beyond these lines.
    #[serde(default)]
    end: bool,
    /// What is before these lines is damaged or missing on the host; the first of them is a signed head.
    #[serde(default)]
    gap: bool,
}

fn query<T>(found: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    match found {
        Ok(Query(value)) => Ok(value),
        Err(error) => Err(Refusal::new(Standard::InvalidRequest, "request.query", error)),
    }
}

/// Lines of a host's chain. Not all hosts' at the same time: checking takes a while, and the feed is to go on.
pub(super) async fn lines(
    Extension(app): Shared,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let asked = Arc::clone(&app);
    let proved = blocking(move || {
        let host = asked.prove_host(header(&headers, "dpop"), "POST", AUDIT_PATH)?;
        Ok((host, query(from)?))
    });
    let done = match proved.await {
        Ok((host, from)) => {
            let place = app.hub.place(&host);
            // Never closed, either. However many a host sends, it holds the memory and the place of one.
            let _turn = place.batch.acquire().await;
            // Only of a host that is known: it may be long.
            let body = match read(body, LINES_MAX, ADMINS_PATIENCE).await {
                Ok(body) => body,
                Err(refused) => return with_nonce(&app, refused),
            };
            // It is never closed; without a place there would only be more at a time.
            let _place = app.judging.acquire().await;
            let asked = Arc::clone(&app);
            blocking(move || {
                let after = Place { number: from.after, marks: from.lines };
                asked.take_lines(&host, Lines { after, end: from.end, gap: from.gap, text: &body })
            })
            .await
        }
        Err(refusal) => Err(refusal),
    };
    app.metrics.count(Asked::Audit, &done);
    answer(&app, done)
}

/// The records of a session, of all chains.
pub(super) async fn trail(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path(session): Path<String>,
    from: Result<Query<Page>, QueryRejection>,
) -> Response {
    as_admin(app, "audit", (headers, peer), move |app, _| {
        let wrong = |error| Refusal::new(Standard::InvalidRequest, "session.unknown", error);
        let session: SessionId = session.parse().map_err(wrong)?;
        let after = query(from)?.after;
        app.search(&Search { session: Some(session.to_string()), after, ..Search::default() })
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// From that place in the log on.
    #[serde(default)]
    after: u64,
}

/// Records by what they are about.
pub(super) async fn search(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    wanted: Result<Query<Search>, QueryRejection>,
) -> Response {
    as_admin(app, "audit", (headers, peer), move |app, _| app.search(&query(wanted)?)).await
}

pub(super) async fn checkpoint(shared: Shared, peer: Extension<Peer>, headers: HeaderMap) -> Response {
    resource(shared, peer, headers, "checkpoint".to_owned()).await
}

pub(super) async fn tile(
    shared: Shared,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Path(path): Path<String>,
) -> Response {
    resource(shared, peer, headers, format!("tile/{path}")).await
}

async fn resource(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: String,
) -> Response {
    let asked = Arc::clone(&app);
    let done = blocking(move || {
        if !asked.settings.audit.public_log {
            asked.admin(authorization(&headers, "Bearer"), "audit", &peer.0.to_string())?;
        }
        asked.log_resource(&path)
    });
    match done.await {
        Ok(Served { text, bytes }) => {
            let kind = if text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
            (StatusCode::OK, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], bytes).into_response()
        }
        Err(refusal) => with_nonce(&app, refused(&refusal)),
    }
}
