//! Central's door as anybody finds it who has TLS: requests byte for byte, answers whatever their status.

use crate::realm::Realm;
use anyhow::Result;
use std::sync::Mutex;
use std::time::Duration;
use tether_centrallink::wire::Problem;
use tether_centrallink::{Http, encode_form};
use tether_testhost::Lab;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// One central, asked directly.
pub struct Door {
    lab: Lab,
    http: Http,
    url: String,
    nonce: Mutex<Option<String>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// The refusal; empty words if it is none.
    pub problem: Problem,
    /// The body.
    pub body: Vec<u8>,
}

impl Door {
    /// Of a realm's central.
    pub fn of(realm: &Realm) -> Result<Self> {
        let http = Http::new(&std::fs::read(realm.central.authority())?, LIMIT)?;
        Ok(Self { lab: realm.lab.clone(), http, url: realm.central.url(), nonce: Mutex::new(None) })
    }

    /// A path's URL.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The newest nonce for proofs; asked for if there is none yet.
    pub fn nonce(&self) -> Result<String> {
        let known = || self.nonce.lock().ok().and_then(|nonce| nonce.clone());
        if known().is_none() {
            self.post("/oauth/token", &[], b"")?;
        }
        known().ok_or_else(|| anyhow::anyhow!("central gives no nonce"))
    }

    /// Posts a body.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Said> {
        let answer = self.lab.on_switch(|| self.http.post(&self.at(path), headers, body))??;
        self.heard(answer)
    }

    /// Posts a form with a proof, if there is one.
    pub fn form(&self, path: &str, proof: Option<&str>, members: &[(&str, &str)]) -> Result<Said> {
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
        headers.extend(proof.map(|proof| ("DPoP", proof)));
        self.post(path, &headers, encode_form(members).as_bytes())
    }

    /// Gets.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Said> {
        let answer = self.lab.on_switch(|| self.http.get(&self.at(path), headers))??;
        self.heard(answer)
    }

    fn heard(&self, answer: tether_centrallink::Answer) -> Result<Said> {
        if let (Some(new), Ok(mut nonce)) = (answer.nonce, self.nonce.lock()) {
            *nonce = Some(new);
        }
        let problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(Said { status: answer.status, problem, body: answer.body })
    }
}
