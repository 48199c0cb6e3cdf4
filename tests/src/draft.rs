//! One session's papers before they are signed. A valid draft that a test changes in one place is a forgery.

use crate::agent::Agent;
use crate::central::{self, BUNDLE, Central, HOST, ISSUER, random_name, seed, token_header};
use anyhow::Result;
use serde_json::{Value, json};
use tether_identity::{Principal, Scheme, Thumbprint};
use tether_sshcert::issue::{KeyPair, Request};
use tether_statement::issue::Signing;
use tether_statement::{Body, Grant};
use tether_testhost::{Host, Lab};

/// Everything that a session is made of.
pub struct Draft {
    /// The session's key pair.
    pub key: KeyPair,
    /// The token's header.
    pub header: Value,
    /// The token's claims.
    pub claims: Value,
    /// Who signs the token.
    pub token_key: Signing,
    /// A token that is used as it is, instead of one made from header and claims.
    pub token: Option<String>,
    /// The certificate; its delegation is filled in when it is signed, if it has one.
    pub certificate: Request,
    /// Who signs the certificate.
    pub ca: KeyPair,
    /// Whose key the certificate is for.
    pub subject: KeyPair,
    /// The grant.
    pub grant: Grant,
    /// The login name that the client uses.
    pub login: String,
}

impl Draft {
    /// Valid papers for a new session of alice's agent.
    pub fn new(central: &Central) -> Result<Self> {
        let key = KeyPair::from_seed(seed()?);
        let session = random_name(20)?;
        let account = format!("ag-{}", random_name(10)?);
        let delegation = random_name(24)?;
        let now = central.now();
        let expires_at = now + 1800;
        let human = "alice@example.org";
        let principal = Principal {
            scheme: Scheme::default(),
            team: "secops".parse()?,
            agent: "triage".parse()?,
            human: human.parse()?,
        };
        let jkt = jkt_of(&key)?;
        let claims = json!({
            "iss": ISSUER, "sub": human, "act": {"sub": "triage", "instance": "run-7"}, "cid": "triage", "aud": HOST,
            "exp": expires_at, "iat": now, "jti": delegation, "cnf": {"jkt": jkt.as_str()}, "auth_time": now - 300,
            "amr": ["pwd", "otp"], "session": session, "team": "secops", "bundle": BUNDLE,
        });
        let serial = u64::from_be_bytes(seed()?[..8].try_into()?) >> 1;
        let certificate = Request {
            key_id: session.clone(),
            serial,
            host_certificate: false,
            principals: vec![account.clone(), principal.to_string()],
            valid_after: now.saturating_sub(60),
            valid_before: expires_at,
            delegation: Some(String::new()),
            critical_options: Vec::new(),
            extensions: vec![("permit-pty".to_owned(), String::new())],
        };
        let grant = Grant {
            session: session.parse()?,
            principal,
            instance: "run-7".parse()?,
            account: account.parse()?,
            delegation: delegation.parse()?,
            issuer: ISSUER.to_owned(),
            jkt,
            key: key.fingerprint(),
            serial,
            ca: central.ca.fingerprint(),
            not_before: now,
            expires_at,
            connections: 1,
            source_addresses: Vec::new(),
            bundle: central::bundle_name()?,
            auth_time: now - 300,
            amr: vec!["pwd".to_owned(), "otp".to_owned()],
        };
        Ok(Self {
            header: token_header(&central.token_key.kid),
            token_key: central.token_key.clone(),
            token: None,
            subject: key.clone(),
            key,
            claims,
            certificate,
            ca: central.ca.clone(),
            grant,
            login: account,
        })
    }

    /// The token as text.
    pub fn token(&self) -> Result<String> {
        match &self.token {
            Some(token) => Ok(token.clone()),
            None => {
                Ok(self.token_key.sign_parts(&serde_json::to_vec(&self.header)?, &serde_json::to_vec(&self.claims)?)?)
            }
        }
    }

    /// The certificate as text.
    pub fn certificate(&self) -> Result<String> {
        let mut request = self.certificate.clone();
        if request.delegation.is_some() {
            request.delegation = Some(self.token()?);
        }
        Ok(self.ca.certify(self.subject.public(), &request, seed()?[..16].try_into()?)?)
    }

    /// Delivers the grant and gives the agent its certificate and key.
    pub fn issue(&self, central: &mut Central, lab: &Lab, host: &Host) -> Result<Agent> {
        central.say(host, &Body::Grant(Box::new(self.grant.clone())))?;
        self.agent(lab, host)
    }

    /// Gives the agent its certificate and key, without a grant.
    pub fn agent(&self, lab: &Lab, host: &Host) -> Result<Agent> {
        Agent::new(lab, host, &self.login, &self.key, &self.certificate()?)
    }
}

/// RFC 7638 thumbprint of a key pair.
pub fn jkt_of(key: &KeyPair) -> Result<Thumbprint> {
    let bytes = key.public().key_data().ed25519().map(|key| key.0);
    Ok(Thumbprint::of_ed25519(&bytes.ok_or_else(|| anyhow::anyhow!("the key is not Ed25519"))?))
}
