//! A client that can choose which address it comes from, and keeps its connection.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) struct Client(BufReader<TlsStream<TcpStream>>);

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: serde_json::Value,
}

impl Client {
    pub(super) async fn connect(to: SocketAddr, from: IpAddr, authority: &Path) -> Result<Self> {
        Self::connect_to(ServerName::from(to.ip()), to, from, authority).await
    }

    /// The same, to a server that is known by a name.
    pub(super) async fn connect_as(name: &str, to: SocketAddr, from: IpAddr, authority: &Path) -> Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(Error::other)?;
        Self::connect_to(name, to, from, authority).await
    }

    async fn connect_to(name: ServerName<'static>, to: SocketAddr, from: IpAddr, authority: &Path) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).map_err(Error::other)?).map_err(Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)))
    }

    /// Sends a text as it is.
    pub(super) async fn send(&mut self, text: &str) -> Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        self.0.flush().await
    }

    /// Ends as a process does that is killed while something waits to be read: the other side sees a reset.
    pub(super) fn reset(self) {
        let (stream, _) = self.0.get_ref().get_ref();
        let _ = stream.set_zero_linger();
    }

    /// Sends, and reads an answer with a length.
    pub(super) async fn ask(&mut self, method: &str, path: &str) -> Result<Answer> {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: central\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.send(&text).await?;
        self.answer().await
    }

    /// Reads an answer with a length.
    pub(super) async fn answer(&mut self) -> Result<Answer> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        let status = status.ok_or_else(|| Error::other("no status"))?;
        Ok(Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// Reads a line.
    pub(super) async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(Error::other("the connection was closed"));
        }
        Ok(line.trim_end().to_owned())
    }
}
