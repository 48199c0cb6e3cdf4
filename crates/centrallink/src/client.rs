//! One central, asked with proofs of a key.

use crate::http::{Answer, Http, LinkError};
use crate::{Events, random};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tether_oauth::ProofRequest;
use tether_oauth::issue::PrivateKey;

/// How long an answer may take; longer than central waits for a host.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a piece of a recording may take over a slow line; as long as central waits for it.
const PIECE_LIMIT: Duration = Duration::from_secs(60);
/// For how long a long answer may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'c> {
    /// A key, and the token that is bound to it, if there is one.
    Key(Caller<'c>),
    /// A token that whoever has it may use: an admin's.
    Bearer(&'c str),
}

/// A key that requests are proved with.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'c> {
    /// The key.
    pub key: &'c PrivateKey,
    /// The token that is bound to it.
    pub token: Option<&'c str>,
}

/// One central.
#[derive(Debug)]
pub struct Central {
    http: Http,
    base: String,
    nonce: Mutex<Option<String>>,
}

/// What is sent.
enum Body<'b> {
    None,
    Form(&'b [(&'b str, &'b str)]),
    Json(&'b serde_json::Value),
    Lines(&'b [u8]),
    Bytes(&'b [u8]),
}

impl Central {
    /// A central by its URL, believed if the authority of the PEM text signed for it.
    pub fn new(url: &str, authority: &[u8]) -> Result<Self, LinkError> {
        let http = Http::new(authority, LIMIT)?;
        Ok(Self { http, base: url.trim_end_matches('/').to_owned(), nonce: Mutex::new(None) })
    }

    /// Its URL: also its issuer.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Posts a form and reads the answer.
    pub fn form<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
        credential: Credential<'_>,
    ) -> Result<T, LinkError> {
        self.send("POST", path, &Body::Form(form), credential)?.accept(&self.at(path))
    }

    /// Posts JSON and reads the answer.
    pub fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        credential: Credential<'_>,
    ) -> Result<T, LinkError> {
        let body = serde_json::to_value(body)
            .map_err(|error| LinkError::Malformed { url: self.at(path), why: error.to_string() })?;
        self.send("POST", path, &Body::Json(&body), credential)?.accept(&self.at(path))
    }

    /// Posts lines of JSON as they are and reads the answer.
    pub fn post_lines<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        lines: &[u8],
        credential: Credential<'_>,
    ) -> Result<T, LinkError> {
        self.send("POST", path, &Body::Lines(lines), credential)?.accept(&self.at(path))
    }

    /// Puts bytes there as they are and reads the answer.
    pub fn put_bytes<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        bytes: &[u8],
        credential: Credential<'_>,
    ) -> Result<T, LinkError> {
        self.send("PUT", path, &Body::Bytes(bytes), credential)?.accept(&self.at(path))
    }

    /// Reads an answer that may be long into `to`; how many bytes it had.
    pub fn download(&self, path: &str, token: &str, to: &mut dyn std::io::Write) -> Result<u64, LinkError> {
        let url = self.at(path);
        let bearer = format!("Bearer {token}");
        let opened = self.http.stream(&url, &[("Authorization", &bearer)], SILENCE)?;
        let mut from = opened.map_err(|answer| answer.refusal())?;
        std::io::copy(&mut from, to).map_err(|error| LinkError::Malformed { url, why: error.to_string() })
    }

    /// Reads.
    pub fn get<T: serde::de::DeserializeOwned>(&self, path: &str, credential: Credential<'_>) -> Result<T, LinkError> {
        self.send("GET", path, &Body::None, credential)?.accept(&self.at(path))
    }

    /// What is pushed to a host, until the connection ends or is silent for too long.
    pub fn events(&self, path: &str, caller: Caller<'_>, silence: Duration) -> Result<Events, LinkError> {
        let url = self.at(path);
        let mut opened = self.open(&url, caller, silence)?;
        if let Err(answer) = &opened
            && self.learn(answer)
        {
            opened = self.open(&url, caller, silence)?;
        }
        opened.map(|reader| Events::new(url, reader)).map_err(|answer| answer.refusal())
    }

    fn open(
        &self,
        url: &str,
        caller: Caller<'_>,
        silence: Duration,
    ) -> Result<Result<Box<dyn std::io::Read + Send>, Answer>, LinkError> {
        let proof = self.proof("GET", url, caller)?;
        self.http.stream(url, &[("DPoP", &proof), ("Accept", "text/event-stream")], silence)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends; once more if central wants another nonce in the proof.
    fn send(&self, method: &str, path: &str, body: &Body<'_>, credential: Credential<'_>) -> Result<Answer, LinkError> {
        let url = self.at(path);
        let answer = self.send_once(method, &url, body, credential)?;
        if self.learn(&answer) { self.send_once(method, &url, body, credential) } else { Ok(answer) }
    }

    fn send_once(
        &self,
        method: &str,
        url: &str,
        body: &Body<'_>,
        credential: Credential<'_>,
    ) -> Result<Answer, LinkError> {
        let mut headers = Vec::new();
        match credential {
            Credential::Bearer(token) => headers.push(("Authorization", format!("Bearer {token}"))),
            Credential::Key(caller) => {
                headers.push(("DPoP", self.proof(method, url, caller)?));
                headers.extend(caller.token.map(|token| ("Authorization", format!("DPoP {token}"))));
            }
        }
        let (kind, bytes) = match body {
            Body::None => (None, Vec::new()),
            Body::Form(members) => (Some("application/x-www-form-urlencoded"), encode_form(members).into_bytes()),
            Body::Json(value) => (Some("application/json"), value.to_string().into_bytes()),
            Body::Lines(lines) => (Some("application/jsonl"), lines.to_vec()),
            Body::Bytes(bytes) => (Some("application/octet-stream"), bytes.to_vec()),
        };
        headers.extend(kind.map(|kind| ("Content-Type", kind.to_owned())));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match method {
            "GET" => self.http.get(url, &headers),
            "PUT" => self.http.put(url, &headers, &bytes, PIECE_LIMIT),
            _ => self.http.post(url, &headers, &bytes),
        }
    }

    fn proof(&self, method: &str, url: &str, caller: Caller<'_>) -> Result<String, LinkError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let plain = url.split('?').next().unwrap_or(url);
        let request = ProofRequest { method, url: plain, access_token: caller.token };
        let nonce = self.nonce.lock().ok().and_then(|nonce| nonce.clone());
        Ok(caller.key.proof(request, nonce.as_deref(), &random::name(26)?, now))
    }

    /// Keeps the nonce for the next proof. Whether this request was refused for want of it.
    fn learn(&self, answer: &Answer) -> bool {
        let Some(new) = &answer.nonce else { return false };
        if let Ok(mut nonce) = self.nonce.lock() {
            *nonce = Some(new.clone());
        }
        matches!(answer.refusal(), LinkError::Refused { error, .. } if error == "use_dpop_nonce")
    }
}

/// A form's members as a body (`application/x-www-form-urlencoded`).
pub fn encode_form(members: &[(&str, &str)]) -> String {
    let part = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect::<String>()
    };
    members.iter().map(|(name, value)| format!("{}={}", part(name), part(value))).collect::<Vec<_>>().join("&")
}
