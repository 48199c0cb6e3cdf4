//! What `tether-agent open` asks of central, many times in one process.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tether_centrallink::wire::{Certified, NewAgent};
use tether_centrallink::{Caller, Central, Credential, random};
use tether_identity::{HostId, Name};
use tether_oauth::issue::{Assertion, PrivateKey};
use tether_oauth::{GRANT_TYPE, TOKEN_TYPE_ID, TOKEN_TYPE_JWT};

/// What exchanges took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exchanged {
    /// Microseconds of each token and certificate together.
    pub took: Vec<f64>,
    /// All of them, from the first request to the last answer.
    pub seconds: f64,
}

/// An agent and its own key.
pub(super) struct Runtime {
    agent: Name,
    key: PrivateKey,
    instance: Name,
}

impl Runtime {
    /// Makes an agent's key, and registers it.
    pub(super) fn register(central: &Central, token: &str, name: &str) -> Result<Self> {
        let key = PrivateKey::from_seed(&random::seed()?)?;
        let agent: Name = name.parse()?;
        let (team, owner) = ("secops".parse()?, "carol@example.org".to_owned());
        let new = NewAgent { name: agent.clone(), team, owner, key: key.jwk() };
        let _registered: serde_json::Value = central.post("/v1/admin/agents", &new, Credential::Bearer(token))?;
        Ok(Self { agent, key, instance: "run-7".parse()? })
    }

    /// Token and certificate for one host; how long both took together, in microseconds.
    pub(super) fn open(&self, central: &Central, host: &HostId, subject: &str) -> Result<f64> {
        let session = PrivateKey::from_seed(&random::seed()?)?;
        let begun = Instant::now();
        let assertion = self.key.assertion(&Assertion {
            agent: &self.agent,
            instance: &self.instance,
            audience: central.url(),
            session: &session.thumbprint(),
            jti: &random::name(26)?,
            now: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        });
        let form = [
            ("grant_type", GRANT_TYPE),
            ("subject_token", subject),
            ("subject_token_type", TOKEN_TYPE_ID),
            ("actor_token", &assertion),
            ("actor_token_type", TOKEN_TYPE_JWT),
            ("audience", host.as_str()),
        ];
        let own = Credential::Key(Caller { key: &session, token: None });
        let exchanged: tether_centrallink::wire::Exchanged =
            central.form("/oauth/token", &form, own).context("no delegation")?;
        let caller = Caller { key: &session, token: Some(&exchanged.access_token) };
        let _certified: Certified = central
            .post("/v1/certificate", &serde_json::json!({}), Credential::Key(caller))
            .context("no certificate")?;
        Ok(begun.elapsed().as_secs_f64() * 1e6)
    }
}
