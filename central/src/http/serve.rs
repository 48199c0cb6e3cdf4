//! Listening: TLS, a bounded handshake, HTTP/1.1 and HTTP/2, and an orderly end.

use super::Peer;
use super::idle::{InUse, Used};
use crate::limits::Source;
use anyhow::{Context, Result};
use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// How long a client may take for its handshake, for the head of a request, and for the next request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most connections at a time.
const CONNECTIONS_MAX: u32 = 20_000;
/// How long what was begun may take to end once central is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// The server's side of TLS, from a chain and a key in PEM.
pub fn tls(chain: &Path, key: &Path) -> Result<TlsAcceptor> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(chain)?)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{}", chain.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).with_context(|| format!("{}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("central's TLS certificate")?;
    // Hosts report on connections of their own, a whole fleet at once after a revocation: with tickets neither side signs
    // and checks certificates again, and nothing is kept here for it.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().context("TLS tickets")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the process ends, anybody.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, router: Router) -> Result<()> {
    let (_never, stop) = watch::channel(false);
    serve_until(listener, tls, router, 0, stop).await
}

/// Serves until told to stop. Then nobody new is let in, and what was begun is finished, for a bounded time.
pub async fn serve_until(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    per_address: usize,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let sources = Arc::new(Sources { most: per_address, open: Mutex::default() });
    let stopped = stop.clone();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.context("places")?;
            anyhow::Ok((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            next = next => next?,
            () = told(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of descriptors, or a client that is gone already: the next one may do better.
            Err(error) => {
                eprintln!("tether-central: accept: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // Closed without a word: an answer would cost what the limit is there to save.
        let Some(counted) = Sources::enter(&sources, Source::from(peer.ip())) else { continue };
        let (tls, router, stop) = (tls.clone(), router.clone(), stopped.clone());
        tokio::spawn(async move {
            // A client that breaks off is its own business.
            let _ended = connection(stream, peer, tls, router, stop).await;
            drop((counted, place));
        });
    }
    drop(listener);
    // Every place is free again once all connections have ended.
    let _ = tokio::time::timeout(DRAIN, places.acquire_many(CONNECTIONS_MAX)).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(PATIENCE, tls.accept(stream)).await??;
    let inner = TowerToHyperService::new(router);
    let in_use = InUse::new();
    let counted = in_use.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let (answered, until) = (inner.call(request), counted.begin());
        async move { answered.await.map(|response| Used::of(response, until)) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(32).keep_alive_interval(PATIENCE);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        // Also one that has not said yet which HTTP it speaks, which no other limit holds for.
        () = in_use.idle(PATIENCE) => return Ok(()),
        () = told(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    ended.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Returns when central is told to stop, or nobody is left who could tell it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// How many connections each source has open. As many entries as there are connections, at most.
#[derive(Debug)]
struct Sources {
    /// 0 for no bound.
    most: usize,
    open: Mutex<HashMap<Source, usize>>,
}

/// One connection of a source.
#[derive(Debug)]
struct Counted(Arc<Sources>, Source);

impl Sources {
    fn enter(sources: &Arc<Self>, source: Source) -> Option<Counted> {
        let mut open = sources.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_default();
        if sources.most > 0 && *count >= sources.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Counted(Arc::clone(sources), source))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}
