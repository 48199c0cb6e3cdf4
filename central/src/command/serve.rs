//! serve: until SIGTERM, with policies read anew at SIGHUP.

use super::{AUTHORITY, CHAIN, STORE, TLS_KEY};
use crate::app::{App, Parts};
use crate::audit::Record;
use crate::config::{Listen, Settings};
use crate::http;
use crate::keys::{self, Keys};
use crate::rules::Rules;
use crate::shelf::{self, Shelf};
use crate::store::Sqlite;
use anyhow::{Context, Result};
use axum::Router;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tether_audit::Ids;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

/// How often the log is brought up to what has come in.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Central, from its folder.
pub(crate) fn load(folder: &Path) -> Result<(App, TlsAcceptor)> {
    let settings = Settings::load(folder)?;
    let authority = folder.join(AUTHORITY);
    let parts = Parts {
        keys: Keys::load(&folder.join(keys::FOLDER))?,
        rules: Rules::read(folder, &settings)?,
        store: Arc::new(Sqlite::open(&folder.join(STORE))?),
        shelf: Shelf::new(folder.join(shelf::FOLDER)),
        authority: std::fs::read_to_string(&authority)
            .with_context(|| format!("cannot read {}", authority.display()))?,
        settings,
    };
    let tls = http::tls(&folder.join(CHAIN), &folder.join(TLS_KEY))?;
    Ok((App::new(parts)?, tls))
}

pub(super) fn run(folder: &Path, wrap: fn(Router) -> Router) -> Result<()> {
    let (app, tls) = load(folder)?;
    let app = Arc::new(app);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    runtime.block_on(async {
        // Before anything is promised: a signal that comes early must not kill.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hangup = signal(SignalKind::hangup())?;
        let listener = bind(app.settings.listen, "listen").await?;
        if let Listen::At(address) = app.settings.metrics.listen {
            let listener = bind(address, "[metrics] listen (\"off\" for none)").await?;
            eprintln!("tether-central: metrics at http://{}/metrics", listener.local_addr()?);
            tokio::spawn(http::serve_metrics(listener, Arc::clone(&app)));
        }
        eprintln!("tether-central: serves {} at {}", app.settings.url, listener.local_addr()?);
        tokio::spawn(keep_log(Arc::clone(&app)));
        tokio::spawn(reload_at(hangup, Arc::clone(&app), folder.to_owned()));
        let (stop, per_address) = (app.hub.stop.subscribe(), app.settings.limits.connections_per_address);
        let mut serving =
            std::pin::pin!(http::serve_until(listener, tls, wrap(http::router(Arc::clone(&app))), per_address, stop));
        notify("READY=1");
        tokio::select! {
            ended = &mut serving => return ended,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify("STOPPING=1");
        eprintln!("tether-central: stops: what was begun is finished");
        app.hub.stop.send_replace(true);
        serving.await?;
        app.settle()?;
        app.record(&Record::done("central.stopped", Ids::unknown("of central itself"), serde_json::json!({})))?;
        app.checkpoint()?;
        Ok(())
    })
}

/// How often recordings are looked through that were kept long enough, in those rounds.
const SWEEP_EVERY: u64 = 3600;

/// The log's tree grows by a checkpoint a second at most, and hosts that are not heard are put on record.
async fn keep_log(app: Arc<App>) {
    let mut turn = 0_u64;
    loop {
        let (asked, look, sweep) = (Arc::clone(&app), turn.is_multiple_of(5), turn.is_multiple_of(SWEEP_EVERY));
        let done = tokio::task::spawn_blocking(move || {
            asked.checkpoint()?;
            if look {
                asked.look_for_silence()?;
            }
            if sweep {
                asked.sweep_recordings(crate::clock::now())?;
            }
            asked.settle()
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("tether-central: the log: {error}"),
            Err(error) => eprintln!("tether-central: the log died: {error}"),
        }
        turn = turn.wrapping_add(1);
        tokio::time::sleep(CHECKPOINT_EVERY).await;
    }
}

async fn bind(address: std::net::SocketAddr, setting: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("central.toml: {setting}: {address}"))
}

async fn reload_at(mut hangup: tokio::signal::unix::Signal, app: Arc<App>, folder: std::path::PathBuf) {
    while hangup.recv().await.is_some() {
        let (app, folder) = (Arc::clone(&app), folder.clone());
        if let Err(error) = tokio::task::spawn_blocking(move || app.reload(&folder)).await {
            eprintln!("tether-central: the reload died: {error}");
        }
    }
}

/// sd_notify(3): one datagram. Without systemd there is nobody to tell.
fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), &path));
    if let Err(error) = sent {
        eprintln!("tether-central: systemd could not be told: {error}");
    }
}
