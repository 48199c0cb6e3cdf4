//! What agents and hosts ask for with a proof of their key.

use super::answer::{answer, blocking};
use super::body::Whole;
use super::{Peer, Shared, authorization, header};
use crate::app::{App, ENROL_PATH, Prepared, REPORT_PATH};
use crate::metrics::Asked;
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tether_centrallink::wire::{Certified, EnrolRequest};
use tether_oauth::{Refusal, Standard, parse_json};
use tether_statement::ResumeRequest;

/// A JSON body without repeated or unknown members.
pub(super) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let wrong = |why: String| Refusal::new(Standard::InvalidRequest, "request.json", why);
    let value = parse_json(body).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}

pub(super) async fn certificate(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let asked = Arc::clone(&app);
    let prepared =
        blocking(move || asked.prepare(authorization(&headers, "DPoP"), header(&headers, "dpop"), &peer.0.to_string()));
    let done = match prepared.await {
        Ok(prepared) => after_the_host(&app, prepared).await,
        Err(refusal) => Err(refusal),
    };
    app.metrics.count(Asked::Certificate, &done);
    answer(&app, done)
}

/// Waits until the host has acknowledged the grant, for so long as is configured.
async fn after_the_host(app: &Arc<App>, prepared: Prepared) -> Result<Certified, Refusal> {
    let place = app.hub.place(&prepared.host);
    let limit = Duration::from_secs(app.settings.sessions.grant_wait_seconds);
    let (begun, mut read) = (Instant::now(), place.read.subscribe());
    let statement = prepared.statement;
    let heard = async { read.wait_for(|read| *read >= statement).await.is_ok() };
    let heard = prepared.acknowledged || tokio::time::timeout(limit, heard).await.unwrap_or(false);
    if heard && !prepared.acknowledged {
        app.metrics.grant_acknowledged(begun.elapsed());
    }
    let app = Arc::clone(app);
    blocking(move || if heard { app.certify(&prepared) } else { Err(app.give_up(&prepared)) }).await
}

pub(super) async fn enrol(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Response {
    let asked = Arc::clone(&app);
    let done = blocking(move || {
        let (proof, peer) = (header(&headers, "dpop"), peer.0.to_string());
        // Not remembered: the secret of the body is good once.
        let proof = asked.prove(proof, "POST", ENROL_PATH, None);
        let proof = proof.map_err(|refusal| asked.note_stranger("enrol.refused", refusal, &peer))?;
        let request: EnrolRequest = read(&body)?;
        asked.enrol(&request, &proof, &peer)
    })
    .await;
    app.metrics.count(Asked::Enrolment, &done);
    answer(&app, done)
}

pub(super) async fn report(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Response {
    let asked = Arc::clone(&app);
    let proved = blocking(move || {
        let host = asked.prove_host(header(&headers, "dpop"), "POST", REPORT_PATH);
        let host = host.map_err(|refusal| asked.note_stranger("report.refused", refusal, &peer.0.to_string()))?;
        Ok((host, read::<ResumeRequest>(&body)?))
    });
    let done = match proved.await {
        Ok((host, report)) => app.report(host, report).await,
        Err(refusal) => Err(refusal),
    };
    app.metrics.count(Asked::Report, &done);
    answer(&app, done)
}
