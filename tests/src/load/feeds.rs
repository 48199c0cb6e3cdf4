//! Feed connections, as many as a large fleet has, after central was away: each begins anew as a courier does, with
//! the proof that central refuses first, since its nonces are new too.

use super::{monotonic, say};
use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tether_centrallink::random;
use tether_oauth::ProofRequest;
use tether_oauth::issue::PrivateKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The longest pause between two attempts, and the first: the courier's.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(15)];
/// How long an attempt may take: the courier's patience with a silent connection.
const ATTEMPT: Duration = Duration::from_secs(30);

/// What to connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Feeds {
    /// Central's URL.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The authority of its TLS certificate.
    pub authority: PathBuf,
    /// How many.
    pub count: u32,
}

/// The key of one host of these, known to whoever put it into the store.
pub fn feed_seed(number: u32) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    seed
}

impl Feeds {
    /// Says when the first head of each came, monotonic, in nanoseconds; holds them until stdin closes.
    pub(super) fn run(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let connections = runtime.block_on(self.connect_all())?;
        say(&connections.iter().map(|(at, _)| *at).collect::<Vec<u64>>())?;
        // Whoever asked measures central meanwhile.
        std::io::stdin().lines().for_each(drop);
        drop(connections);
        Ok(())
    }

    async fn connect_all(&self) -> Result<Vec<(u64, TlsStream<TcpStream>)>> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.authority)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..self.count {
            tasks.spawn(again(self.clone(), tls.clone(), number));
        }
        let mut connections = Vec::new();
        while let Some(done) = tasks.join_next().await {
            connections.push(done??);
        }
        Ok(connections)
    }
}

async fn again(feeds: Feeds, tls: TlsConnector, number: u32) -> Result<(u64, TlsStream<TcpStream>)> {
    let key = PrivateKey::from_seed(&feed_seed(number))?;
    let mut pause = PAUSES[0];
    // As long after central's end as couriers are: each somewhere in its first pause.
    loop {
        tokio::time::sleep(jittered(pause)?).await;
        match tokio::time::timeout(ATTEMPT, connect(&feeds, &tls, &key)).await {
            Ok(Ok(stream)) => return Ok((monotonic(), stream)),
            // Not there yet, or too many at once: later, as a courier.
            Ok(Err(_)) | Err(_) => pause = (pause * 2).min(PAUSES[1]),
        }
    }
}

fn jittered(pause: Duration) -> Result<Duration> {
    Ok(pause / 2 + pause * u32::from(random::seed()?[0]) / 510)
}

async fn connect(feeds: &Feeds, tls: &TlsConnector, key: &PrivateKey) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(feeds.address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(feeds.address.ip().to_string())?;
    let mut stream = tls.connect(name, tcp).await?;
    let refused = ask(feeds, &mut stream, key, None, "\r\n\r\n{").await?;
    let nonce = header(&refused, "dpop-nonce").context("no nonce")?;
    let answer = ask(feeds, &mut stream, key, Some(&nonce), "event: head").await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(stream)
}

/// Sends the request for the feed and reads until a text came.
async fn ask(
    feeds: &Feeds,
    stream: &mut TlsStream<TcpStream>,
    key: &PrivateKey,
    nonce: Option<&str>,
    until: &str,
) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let url = format!("{}/v1/host/feed", feeds.url);
    let request = ProofRequest { method: "GET", url: &url, access_token: None };
    let proof = key.proof(request, nonce, &random::name(26)?, now);
    let text = format!("GET /v1/host/feed?after=0 HTTP/1.1\r\nHost: {}\r\nDPoP: {proof}\r\n\r\n", feeds.address);
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            bail!("central closed the connection");
        }
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer);
        if text.contains(until) {
            return Ok(text.into_owned());
        }
    }
}

fn header(answer: &str, name: &str) -> Option<String> {
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}
