//! The metrics' own listener: plain HTTP, one path, for a scraper on this machine.

use crate::app::App;
use anyhow::Result;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// OpenMetrics' own media type.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long a scraper may take for its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most scrapers at a time.
const SCRAPERS_MAX: usize = 16;

/// Serves metrics until the process ends.
pub async fn serve(listener: TcpListener, app: Arc<App>) -> Result<()> {
    let router = Router::new().route("/metrics", get(read)).layer(Extension(app));
    let places = Arc::new(Semaphore::new(SCRAPERS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let _ended = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
            drop(place);
        });
    }
}

async fn read(Extension(app): Extension<Arc<App>>) -> Response {
    match super::answer::blocking(move || app.metrics_text()).await {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(refusal) => (StatusCode::INTERNAL_SERVER_ERROR, refusal.description).into_response(),
    }
}
