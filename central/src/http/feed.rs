//! A host's feed as server-sent events, resumed by number.
//!
//! Who has news is woken, and those who are woken together are served by one look at the store. A head is signed in such
//! a look when one is due, not with each statement: it says that nothing is missing, which a statement says by its
//! number. A host has one feed: a newer connection ends the older one.

use super::answer::{blocking, refused, with_nonce};
use super::{Peer, Shared, header};
use crate::app::{App, Batch, FEED_PATH, Wanted};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tether_identity::HostId;
use tether_oauth::{Refusal, Standard};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many events wait for a slow connection; then the feed waits too.
const WAITING: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The last statement that the host has read.
    after: u64,
}

pub(super) async fn feed(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let asked = Arc::clone(&app);
    let found = blocking(move || {
        // Whose feed is said by the key, and by nothing else.
        let host = asked.prove_host(header(&headers, "dpop"), "GET", FEED_PATH);
        let host = host.map_err(|refusal| asked.note_stranger("feed.refused", refusal, &peer.0.to_string()))?;
        asked.admit_feed(&host)?;
        let Query(from) = from.map_err(|error| Refusal::new(Standard::InvalidRequest, "request.query", error))?;
        Ok((host, from.after))
    });
    match found.await {
        Ok((host, after)) => {
            let (events, body) = mpsc::channel::<Bytes>(WAITING);
            tokio::spawn(run(Arc::clone(&app), host, after, events));
            let stream = futures_util::stream::unfold(body, |mut body| async {
                body.recv().await.map(|event| (Ok::<_, Infallible>(event), body))
            });
            let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
            with_nonce(&app, (StatusCode::OK, headers, Body::from_stream(stream)).into_response())
        }
        Err(refusal) => with_nonce(&app, refused(&refusal)),
    }
}

/// Sends until the connection ends or a newer one takes over.
async fn run(app: Arc<App>, host: HostId, after: u64, events: mpsc::Sender<Bytes>) {
    let _counted = app.metrics.feed();
    let mut stop = app.hub.stop.subscribe();
    let place = app.hub.place(&host);
    place.turn.send_modify(|turn| *turn = turn.wrapping_add(1));
    let (mut turn, mut news, mut common) = (place.turn.subscribe(), place.news.subscribe(), app.hub.common.subscribe());
    let mut sent = Sent { number: after, texts: BTreeMap::new() };
    let head_every = Duration::from_secs(app.settings.feed.head_seconds);
    let (mut head_due, mut all) = (Instant::now(), true);
    loop {
        // Marked as seen before the store is looked at: what comes in between wakes us again.
        news.mark_unchanged();
        common.mark_unchanged();
        let head = head_due <= Instant::now();
        let wanted = Wanted { host: host.clone(), after: sent.number, common: all, head };
        let Some(batch) = app.news(wanted).await else { return };
        (all, head_due) = (false, if batch.head.is_some() { Instant::now() + head_every } else { head_due });
        let whole = batch.whole;
        for event in sent.events(batch) {
            // Who does not read is not waited for once another connection has taken over.
            tokio::select! {
                sent = events.send(event) => if sent.is_err() { return },
                _ = turn.changed() => return,
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
        if !whole {
            continue;
        }
        tokio::select! {
            _ = news.changed() => {}
            _ = common.changed() => all = true,
            () = tokio::time::sleep_until(head_due) => {}
            _ = turn.changed() => return,
            _ = stop.wait_for(|stop| *stop) => return,
            () = events.closed() => return,
        }
    }
}

/// What this connection has been sent.
struct Sent {
    number: u64,
    texts: BTreeMap<String, String>,
}

impl Sent {
    fn events(&mut self, batch: Batch) -> Vec<Bytes> {
        let mut events = Vec::new();
        if let Some(common) = &batch.common {
            self.once("keys", "keys", &common.keys, &mut events);
        }
        for (number, text) in batch.statements {
            self.number = number;
            events.push(event("statement", &number.to_string(), &text));
        }
        for (digest, text) in batch.common.iter().flat_map(|common| &common.bundles) {
            self.once("bundle", digest, text, &mut events);
        }
        for (name, text) in batch.common.iter().flat_map(|common| &common.confirmations) {
            self.once("confirmation", name, text, &mut events);
        }
        events.extend(batch.head.map(|head| event("head", "head", &head)));
        events
    }

    /// Unless it was sent as it is.
    fn once(&mut self, kind: &str, id: &str, text: &str, events: &mut Vec<Bytes>) {
        let name = format!("{kind} {id}");
        // The last part is the signature: it stands for the whole text.
        let mark = text.rsplit('.').next().unwrap_or_default().to_owned();
        if self.texts.get(&name) != Some(&mark) {
            events.push(event(kind, id, text));
            self.texts.insert(name, mark);
        }
    }
}

fn event(name: &str, id: &str, data: &str) -> Bytes {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}
