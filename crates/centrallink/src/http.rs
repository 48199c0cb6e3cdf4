//! HTTP over TLS, blocking and bounded.

use rustls::crypto::aws_lc_rs::default_provider;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

/// Where Debian keeps the authorities that the machine trusts.
pub const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The bytes of a connection's buffers: a TLS record.
const BUFFER: usize = 16 * 1024;
/// The most bytes that an answer may have.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The authorities' certificates.
    #[error("the authority's certificates cannot be used: {0}")]
    Authority(String),
    /// Not reached, not trusted, or too slow.
    #[error("{url} cannot be asked: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// Refused.
    #[error("{description} [{code}]")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The standard's error.
        error: String,
        /// The stable code.
        code: String,
        /// In words.
        description: String,
    },
    /// The answer is not what it should be.
    #[error("{url} answered something that cannot be read: {why}")]
    Malformed {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// No randomness.
    #[error("the operating system gives no random bytes")]
    Random,
    /// The key.
    #[error("the key cannot be used: {0}")]
    Key(String),
}

/// A client for servers that one authority (or the machine's) signed for.
#[derive(Debug, Clone)]
pub struct Http(ureq::Agent);

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The nonce for the next proof.
    pub nonce: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// Trusts the authorities of a PEM text and no others. Each answer is there within `limit`.
    pub fn new(authorities: &[u8], limit: Duration) -> Result<Self, LinkError> {
        let mut certificates: Vec<Certificate<'static>> = Vec::new();
        for item in ureq::tls::parse_pem(authorities) {
            match item.map_err(|error| LinkError::Authority(error.to_string()))? {
                PemItem::Certificate(certificate) => certificates.push(certificate),
                _ => return Err(LinkError::Authority("it holds something else than certificates".to_owned())),
            }
        }
        if certificates.is_empty() {
            return Err(LinkError::Authority("there is none".to_owned()));
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .root_certs(RootCerts::new_with_certs(&certificates))
            .build();
        let config = ureq::Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(limit))
            // Central closes a connection that was idle for ten seconds.
            .max_idle_age(Duration::from_secs(5))
            // Each is filled with zeros when a connection begins; what comes and goes here is small but for a bundle.
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .user_agent(concat!("tether/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Ok(Self(config.new_agent()))
    }

    /// GET.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, LinkError> {
        let mut request = self.0.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(url, request.call())
    }

    /// POST.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, LinkError> {
        let mut request = self.0.post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(url, request.send(body))
    }

    /// PUT, which may take longer than others.
    pub fn put(&self, url: &str, headers: &[(&str, &str)], body: &[u8], limit: Duration) -> Result<Answer, LinkError> {
        let mut request = self.0.put(url).config().timeout_global(Some(limit)).build();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(url, request.send(body))
    }

    /// GET of a body that has no end; only its silence is bounded.
    pub(crate) fn stream(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        silence: Duration,
    ) -> Result<Result<Box<dyn Read + Send>, Answer>, LinkError> {
        let request = self.0.get(url).config().timeout_global(None).timeout_per_read(Some(silence));
        let mut request = request.timeout_recv_response(Some(silence)).build();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.call().map_err(|error| unreachable(url, &error))?;
        if response.status().as_u16() != 200 {
            return answer(url, Ok(response)).map(Err);
        }
        Ok(Ok(Box::new(response.into_body().into_reader())))
    }
}

fn unreachable(url: &str, error: &dyn std::fmt::Display) -> LinkError {
    LinkError::Unreachable { url: url.to_owned(), why: error.to_string() }
}

fn answer(url: &str, got: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, LinkError> {
    let mut response = got.map_err(|error| unreachable(url, &error))?;
    let nonce = response.headers().get("dpop-nonce").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
    Ok(Answer { status, nonce, body: body.map_err(|error| unreachable(url, &error))? })
}

impl Answer {
    /// The body, or the refusal that it holds.
    pub fn accept<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, LinkError> {
        if !(200..300).contains(&self.status) {
            return Err(self.refusal());
        }
        let body: &[u8] = if self.body.is_empty() { b"null" } else { &self.body };
        serde_json::from_slice(body)
            .map_err(|error| LinkError::Malformed { url: url.to_owned(), why: error.to_string() })
    }

    pub(crate) fn refusal(&self) -> LinkError {
        let body: crate::wire::Problem = serde_json::from_slice(&self.body).unwrap_or_default();
        let description = if body.error_description.is_empty() {
            format!("central answered with the status {}", self.status)
        } else {
            body.error_description
        };
        LinkError::Refused { status: self.status, error: body.error, code: body.code, description }
    }
}
