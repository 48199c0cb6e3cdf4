//! Connections that ask for nothing are closed: a place belongs to whoever uses it. A feed, which is one long answer,
//! is use.

use axum::body::{Body, Bytes};
use axum::http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;

/// How many requests of a connection are being answered.
#[derive(Debug, Clone)]
pub(super) struct InUse(Arc<watch::Sender<usize>>);

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct Use(Arc<watch::Sender<usize>>);

impl InUse {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn begin(&self) -> Use {
        self.0.send_modify(|count| *count += 1);
        Use(Arc::clone(&self.0))
    }

    /// Returns when nothing was asked for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut count = self.0.subscribe();
        loop {
            if count.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            // A request that came and went in between begins the time anew.
            if tokio::time::timeout(limit, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// An answer's body, which is in use until its end.
pub(super) struct Used {
    body: Body,
    _until: Use,
}

impl Used {
    pub(super) fn of(response: Response<Body>, until: Use) -> Response<Self> {
        response.map(|body| Self { body, _until: until })
    }
}

impl HttpBody for Used {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
