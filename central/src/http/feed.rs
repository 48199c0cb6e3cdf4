//! A host's feed as server-sent events, resumed by number.
//!
//! A head is signed in the same look at the store as the statements before it. A host has one feed: a newer
//! connection ends the older one.

use super::answer::{blocking, refused, with_nonce};
use super::{Shared, header};
use crate::app::{App, Batch, FEED_PATH, Failed, fault};
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
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let asked = Arc::clone(&app);
    let found = blocking(move || {
        // Whose feed is said by the key, and by nothing else.
        let host = asked.prove_host(header(&headers, "dpop"), "GET", FEED_PATH)?;
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
    loop {
        // Marked as seen before the store is looked at: what comes in between wakes us again.
        news.mark_unchanged();
        common.mark_unchanged();
        let (asked, id, number) = (Arc::clone(&app), host.clone(), sent.number);
        let batch = blocking(move || {
            asked.batch(&id, number).map_err(|failed| match failed {
                Failed::Refused(refusal) => refusal,
                Failed::Store(error) => fault("store.failed", error),
            })
        });
        let Ok(batch) = batch.await else { return };
        let whole = batch.head.is_some();
        for event in sent.events(batch) {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if !whole {
            continue;
        }
        tokio::select! {
            _ = news.changed() => {}
            _ = common.changed() => {}
            () = tokio::time::sleep(head_every) => {}
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
        self.once("keys", "keys", batch.keys, &mut events);
        for (number, text) in batch.statements {
            self.number = number;
            events.push(event("statement", &number.to_string(), &text));
        }
        for (digest, text) in batch.bundles {
            self.once("bundle", &digest, text, &mut events);
        }
        for (name, text) in batch.confirmations {
            self.once("confirmation", &name, text, &mut events);
        }
        events.extend(batch.head.map(|head| event("head", "head", &head)));
        events
    }

    /// Unless it was sent as it is.
    fn once(&mut self, kind: &str, id: &str, text: String, events: &mut Vec<Bytes>) {
        let name = format!("{kind} {id}");
        // The last part is the signature: it stands for the whole text.
        let mark = text.rsplit('.').next().unwrap_or_default().to_owned();
        if self.texts.get(&name) != Some(&mark) {
            events.push(event(kind, id, &text));
            self.texts.insert(name, mark);
        }
    }
}

fn event(name: &str, id: &str, data: &str) -> Bytes {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}
