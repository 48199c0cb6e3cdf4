//! The certificate: first the grant goes to the host, and only when the host has acknowledged it does the agent get
//! its certificate. So a login never comes before its account.

use super::{App, Failed, fault, restored_at};
use crate::audit::{self, Record, ids_of};
use crate::clock;
use crate::store::{Act, Delegation, Host, Issued, Seen};
use serde_json::json;
use tether_audit::Parent;
use tether_centrallink::random;
use tether_centrallink::wire::Certified;
use tether_identity::{AccountName, HostId, Principal, SessionId};
use tether_oauth::{Proof, Refusal, Standard};
use tether_sshcert::issue::{Request, ed25519_key, fingerprint, p256_key};
use tether_statement::{Body, Claims, Grant, Revocation, Typ, jws};

/// The path of the certificate endpoint.
pub const CERTIFICATE_PATH: &str = "/v1/certificate";
/// By how much a host's clock may be behind ours when it looks at a certificate's start.
const BEHIND: u64 = 60;

/// A grant that is in the host's feed.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The delegation that it is for.
    pub delegation: Delegation,
    /// The host.
    pub host: HostId,
    /// The statement that the host has to acknowledge.
    pub statement: u64,
    /// Whether it has done so already: asked again, perhaps after a restart of ours, it says nothing new.
    pub acknowledged: bool,
    proof: Proof,
}

fn refuse_token(code: &str, why: impl std::fmt::Display) -> Failed {
    Refusal::new(Standard::InvalidToken, code, why).into()
}

impl App {
    /// Checks a delegation token and the proof of its key, and puts the grant into the host's feed.
    pub fn prepare(&self, token: Option<&str>, proof: Option<&str>, peer: &str) -> Result<Prepared, Refusal> {
        let mut known = None;
        self.try_prepare(token, proof, &mut known).map_err(|failed| {
            if let Failed::Refused(refusal) = &failed
                && (refusal.error == Standard::UseDpopNonce || refusal.retry_after.is_some())
            {
                return refusal.clone();
            }
            let ids = known.as_ref().map_or_else(|| tether_audit::Ids::unknown("the token was refused"), ids_of);
            self.refuse("certificate.refused", ids, failed, json!({"peer": peer}))
        })
    }

    fn try_prepare(
        &self,
        token: Option<&str>,
        proof: Option<&str>,
        known: &mut Option<Delegation>,
    ) -> Result<Prepared, Failed> {
        let token = token.ok_or_else(|| refuse_token("token.none", "the request has no delegation token"))?;
        let proof = self.prove(proof, "POST", CERTIFICATE_PATH, Some(token))?;
        let claims = self.own_claims(token)?;
        let asker = self.look(|act| self.live(act, &claims, &proof, clock::now()))?;
        self.nonces.take(&proof, clock::now())?;
        self.admit_agent(&asker.agent, &asker.human)?;
        let prepared = self.act(|act| {
            let now = clock::now();
            let delegation = self.live(act, &claims, &proof, now)?;
            *known = Some(delegation.clone());
            let host = act.host(&delegation.host)?.filter(|host| host.active);
            let host = host.ok_or_else(|| refuse_token("host.inactive", "no sessions may be had on this host"))?;
            self.check_chain(act, &host.id)?;
            let (delegation, issued) = match &delegation.issued {
                Some(issued) => (delegation.clone(), issued.clone()),
                None => self.grant(act, delegation, &proof, now)?,
            };
            let acknowledged = act.seen(&host.id)?.number >= issued.statement;
            Ok(Prepared { delegation, host: host.id, statement: issued.statement, acknowledged, proof: proof.clone() })
        })?;
        self.hub.tell(&prepared.host);
        Ok(prepared)
    }

    /// Signed by us, as a delegation.
    pub(super) fn own_claims(&self, token: &str) -> Result<Claims, Failed> {
        // While keys are rotated there are tokens of the old one about.
        let trusted = self.trusted();
        let issuer = trusted.issuer(&self.settings.url);
        let is_ours = |kid: &str| issuer.is_some_and(|issuer| issuer.kids.iter().any(|one| one == kid));
        let own = |kid: &str| trusted.key(Typ::Delegation, kid).filter(|_| is_ours(kid));
        let claims: Claims = jws::verify(token, Typ::Delegation, own)
            .map_err(|error| refuse_token("token.invalid", format_args!("the delegation token is refused: {error}")))?;
        if claims.iss == self.settings.url { Ok(claims) } else { Err(refuse_token("token.invalid", "it is not ours")) }
    }

    /// The delegation of a token, if all that it rests on still stands.
    pub(super) fn live(&self, act: &dyn Act, claims: &Claims, proof: &Proof, now: u64) -> Result<Delegation, Failed> {
        let id = claims.jti.parse().map_err(|error| refuse_token("token.invalid", error))?;
        let delegation = act.delegation(&id)?;
        let delegation = delegation.ok_or_else(|| refuse_token("token.unknown", "the delegation is not known"))?;
        if delegation.jkt != proof.jkt {
            return Err(refuse_token("token.other_key", "the token is bound to another key than the proof's"));
        }
        if let Some((at, why)) = &delegation.revoked {
            return Err(refuse_token("token.revoked", format_args!("the delegation was revoked at {at}: {why}")));
        }
        if delegation.issued_at <= restored_at(act)? {
            return Err(refuse_token("token.revoked", "the delegation is of before central's store was restored"));
        }
        if now >= delegation.expires_at {
            let why = format_args!("the delegation expired at {}", delegation.expires_at);
            return Err(refuse_token("token.expired", why));
        }
        let agent = act.agent(&delegation.agent)?;
        if !agent.is_some_and(|agent| agent.active && agent.generation == delegation.generation) {
            return Err(refuse_token("agent.inactive", format_args!("{} was deactivated", delegation.agent)));
        }
        Ok(delegation)
    }

    fn grant(
        &self,
        act: &mut dyn Act,
        mut delegation: Delegation,
        proof: &Proof,
        now: u64,
    ) -> Result<(Delegation, Issued), Failed> {
        let random = |error| Failed::from(fault("random", error));
        let account: AccountName = format!("ag-{}", random::name(13).map_err(random)?)
            .parse()
            .map_err(|error| fault("account.name", error))?;
        // 53 bits, so that every reader of JSON keeps it.
        let bytes = random::seed().map_err(random)?;
        let serial = bytes.iter().take(7).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)) >> 3;
        let key = session_key(proof)?;
        let grant = Grant {
            session: delegation.session.clone(),
            principal: self.principal(&delegation),
            instance: delegation.instance.clone(),
            account: account.clone(),
            delegation: delegation.id.clone(),
            issuer: self.settings.url.clone(),
            jkt: delegation.jkt.clone(),
            key: fingerprint(&key),
            serial,
            ca: self.keys.ca.fingerprint(),
            not_before: now,
            expires_at: delegation.expires_at,
            connections: self.settings.sessions.connections,
            source_addresses: self.settings.gateway.addresses.clone(),
            bundle: delegation.bundle.clone(),
            auth_time: delegation.auth_time,
            amr: delegation.amr.clone(),
        };
        let statement = self.say(act, &delegation.host, &Body::Grant(Box::new(grant)), now)?;
        // How far the host's uids may have gone by now.
        let seen = act.seen(&delegation.host)?;
        act.put_seen(&delegation.host, &Seen { granted: seen.granted.saturating_add(1), ..seen })?;
        let issued = Issued { serial, account, statement, certificate: None };
        delegation.issued = Some(issued.clone());
        act.put_delegation(&delegation)?;
        let about = json!({
            "host": delegation.host.as_str(), "account": issued.account.as_str(), "serial": serial,
            "statement": statement, "bundle": delegation.bundle.as_str(),
        });
        let parent = came_of(act, &delegation.session, "token.issued")?;
        self.write(act, &Record::done("grant.sent", ids_of(&delegation), about).after(parent))?;
        Ok((delegation, issued))
    }

    fn principal(&self, delegation: &Delegation) -> Principal {
        Principal {
            scheme: self.settings.scheme.clone(),
            team: delegation.team.clone(),
            agent: delegation.agent.clone(),
            human: delegation.human.clone(),
        }
    }

    /// The host has acknowledged the grant: the certificate. Asked again, it is the same one.
    pub fn certify(&self, prepared: &Prepared) -> Result<Certified, Refusal> {
        let done = self.act(|act| {
            let now = clock::now();
            // It may have been revoked while the host was waited for.
            let delegation = act.delegation(&prepared.delegation.id)?.filter(|one| one.is_live(now));
            let mut delegation =
                delegation.ok_or_else(|| refuse_token("token.revoked", "the delegation was revoked"))?;
            let host = act.host(&delegation.host)?;
            let host = host.ok_or_else(|| refuse_token("host.unknown", "the host is not known"))?;
            let issued = delegation.issued.clone();
            let mut issued = issued.ok_or_else(|| Failed::from(fault("grant.missing", &delegation.id)))?;
            let valid_before = self.valid_before(&delegation, now);
            if let Some(certificate) = &issued.certificate {
                return Ok(certified(&delegation, &issued, certificate.clone(), &host, valid_before));
            }
            let certificate = self.sign_certificate(&delegation, &issued, &prepared.proof, now, valid_before)?;
            issued.certificate = Some(certificate.clone());
            delegation.issued = Some(issued.clone());
            act.put_delegation(&delegation)?;
            let about = json!({
                "host": delegation.host.as_str(), "account": issued.account.as_str(), "serial": issued.serial,
                "valid_before": valid_before, "ca": self.keys.ca.fingerprint(),
            });
            let parent = came_of(act, &delegation.session, "token.issued")?;
            self.write(act, &Record::done("certificate.issued", ids_of(&delegation), about).after(parent))?;
            Ok(certified(&delegation, &issued, certificate, &host, valid_before))
        });
        done.map_err(|failed| {
            self.refuse("certificate.refused", ids_of(&prepared.delegation), failed, json!({"after": "the grant"}))
        })
    }

    fn valid_before(&self, delegation: &Delegation, now: u64) -> u64 {
        now.saturating_add(self.settings.sessions.certificate_seconds).min(delegation.expires_at)
    }

    fn sign_certificate(
        &self,
        delegation: &Delegation,
        issued: &Issued,
        proof: &Proof,
        now: u64,
        valid_before: u64,
    ) -> Result<String, Failed> {
        let request = Request {
            key_id: delegation.session.to_string(),
            serial: issued.serial,
            host_certificate: false,
            principals: vec![issued.account.to_string(), self.principal(delegation).to_string()],
            valid_after: now.saturating_sub(BEHIND),
            valid_before,
            delegation: Some(self.token(delegation)?),
            critical_options: source_address(&self.settings.gateway.addresses),
            extensions: vec![("permit-pty".to_owned(), String::new())],
        };
        let seed = random::seed().map_err(|error| fault("random", error))?;
        let nonce: [u8; 16] = std::array::from_fn(|at| seed.get(at).copied().unwrap_or_default());
        let signed = self.keys.ca.certify(&session_key(proof)?, &request, nonce);
        signed.map_err(|error| fault("certificate.sign", error).into())
    }

    /// The host has not acknowledged the grant in time: it is taken back, so that no account stays reserved.
    pub fn give_up(&self, prepared: &Prepared) -> Refusal {
        let id = &prepared.delegation.id;
        let taken_back = self.act(|act| {
            let now = clock::now();
            if let Some(mut delegation) = act.delegation(id)?
                && delegation.revoked.is_none()
                && delegation.issued.as_ref().is_some_and(|issued| issued.certificate.is_none())
            {
                let why = "the host did not acknowledge the grant";
                delegation.revoked = Some((now, why.to_owned()));
                act.put_delegation(&delegation)?;
                let body = Body::Revocation(Revocation::Session(delegation.session.clone()));
                let statement = self.say(act, &delegation.host, &body, now)?;
                let about = json!({"host": delegation.host.as_str(), "why": why, "statement": statement});
                let parent = came_of(act, &delegation.session, "grant.sent")?;
                self.write(act, &Record::done("session.revoked", ids_of(&delegation), about).after(parent))?;
            }
            Ok(())
        });
        self.hub.tell(&prepared.host);
        let why = format!("{} has not acknowledged the grant in time; ask again later", prepared.host);
        let refusal = Refusal::new(Standard::TemporarilyUnavailable, "host.silent", why);
        let failed = taken_back.err().unwrap_or_else(|| refusal.into());
        self.refuse(
            "certificate.refused",
            ids_of(&prepared.delegation),
            failed,
            json!({"host": prepared.host.as_str()}),
        )
    }
}

fn certified(
    delegation: &Delegation,
    issued: &Issued,
    certificate: String,
    host: &Host,
    valid_before: u64,
) -> Certified {
    Certified {
        session: delegation.session.clone(),
        certificate,
        account: issued.account.clone(),
        address: host.address.clone().unwrap_or_else(|| host.id.to_string()),
        valid_before,
        expires_at: delegation.expires_at,
    }
}

/// sshd(8) itself lets nobody use the certificate from elsewhere.
fn source_address(addresses: &[String]) -> Vec<(String, String)> {
    if addresses.is_empty() { Vec::new() } else { vec![("source-address".to_owned(), addresses.join(","))] }
}

fn session_key(proof: &Proof) -> Result<ssh_key::PublicKey, Failed> {
    match (proof.key.ed25519(), proof.key.p256()) {
        (Some(public), _) => Ok(ed25519_key(*public)),
        (None, Some((x, y))) => p256_key(x, y).map_err(|error| {
            Refusal::new(Standard::InvalidDpopProof, "proof.jwk", format_args!("the key is no curve point: {error}"))
                .into()
        }),
        (None, None) => Err(Refusal::new(Standard::InvalidDpopProof, "proof.jwk", "the key is of another kind").into()),
    }
}

/// The parent of what comes of a session's token.
fn came_of(act: &dyn Act, session: &SessionId, event: &str) -> Result<Option<Parent>, Failed> {
    let number = act.own_record(session, event)?;
    Ok(number.map(|number| Parent::record(audit::HOST, number)))
}
