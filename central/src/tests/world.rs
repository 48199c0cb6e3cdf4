//! A central that serves, a provider's keys, an agent, a host.

use crate::app::App;
use crate::command::{run_from, serve as run};
use crate::http::{router, serve, tls};
use crate::store::{self, Act, Agent, Delegation, Host, HostKey, ScimToken, Store, StoreError, Which};
use crate::{app, clock};
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tether_audit::Link;
use tether_oauth::issue::{Assertion, PrivateKey};
use tether_oauth::{GRANT_TYPE, ProofRequest, TOKEN_TYPE_ID, TOKEN_TYPE_JWT, access_token_hash};

pub const HOST: &str = "web-01";
pub const CLIENT: &str = "tether";
/// What admins sign in to: another client than the one whose tokens agents have.
const ADMIN_CLIENT: &str = "tether-admin";
const POLICIES: &str = r#"
@id("analysts") @bundle("triage") @minutes("30")
permit (principal, action == Action::"connect", resource) when { context.human in Group::"analysts" };
@id("admins")
permit (principal in Group::"admins", action == Action::"administer", resource)
when { context.multi_factor && context.signed_in < 600 };
@id("auditors")
permit (principal in Group::"auditors", action == Action::"audit", resource);
"#;

/// An answer.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub body: Value,
    pub kind: String,
    pub location: String,
}

pub struct World {
    pub url: String,
    pub issuer: String,
    pub app: Arc<App>,
    pub store: Arc<dyn Store>,
    pub provider: PrivateKey,
    agent: PrivateKey,
    session: PrivateKey,
    client: ureq::Agent,
    runtime: Option<tokio::runtime::Runtime>,
    /// Kept until the end.
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32]).unwrap()
}

impl World {
    pub fn new() -> Self {
        Self::with_signals("")
    }

    /// With more lines for `[providers.signals]`.
    pub fn with_signals(lines: &str) -> Self {
        Self::made(lines, "recordings", "")
    }

    /// With other lines in `[audit]`.
    pub fn with_audit(lines: &str) -> Self {
        Self::made("", "audit", lines)
    }

    /// With other lines in `[recordings]`; a full disk of this machine's is no business of the test's.
    pub fn with_recordings(lines: &str) -> Self {
        Self::made("", "recordings", &format!("free_mib = 0\n{lines}"))
    }

    fn made(lines: &str, section: &str, other: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let bind = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            (listener, format!("https://localhost:{port}"))
        };
        let ((ours, url), (theirs, issuer)) = (bind(), bind());
        run_from(&["--folder", &path, "init", "--url", &url, "--namespace", "@example.org"]).unwrap();
        let settings = std::fs::read_to_string(folder.path().join("central.toml")).unwrap();
        let provider = format!(
            "[[providers]]\nissuer = \"{issuer}\"\naudiences = [\"{CLIENT}\"]\nadmin_audiences = [\"{ADMIN_CLIENT}\"]\nnamespaces = [\"@example.org\"]\n\
             groups_claim = \"groups\"\nauthority = \"tls/authority.pem\"\n[providers.signals]\n{lines}\n"
        );
        let mut settings: toml::Table = toml::from_str(&settings).unwrap();
        let changed: toml::Table = other.lines().fold(toml::Table::new(), |all, line| {
            all.into_iter().chain(toml::from_str::<toml::Table>(line).unwrap()).collect()
        });
        settings[section].as_table_mut().unwrap().extend(changed);
        let settings = format!("{}\n{provider}", toml::to_string(&settings).unwrap());
        std::fs::write(folder.path().join("central.toml"), settings).unwrap();
        std::fs::write(folder.path().join("policies.cedar"), POLICIES).unwrap();
        let world = Self::serving(folder, (ours, theirs), (&url, &issuer));
        world.furnish();
        world
    }

    fn serving(
        folder: tempfile::TempDir,
        (ours, theirs): (std::net::TcpListener, std::net::TcpListener),
        (url, issuer): (&str, &str),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (app, acceptor) = run::load(folder.path()).unwrap();
        let app = Arc::new(app);
        let their_tls = tls(&folder.path().join("tls/chain.pem"), &folder.path().join("tls/key.pem")).unwrap();
        let (routes, provider) = (router(Arc::clone(&app)), publisher(issuer));
        runtime.spawn(async move { serve(tokio::net::TcpListener::from_std(ours).unwrap(), acceptor, routes).await });
        runtime
            .spawn(async move { serve(tokio::net::TcpListener::from_std(theirs).unwrap(), their_tls, provider).await });
        let store: Arc<dyn Store> = Arc::new(crate::store::Sqlite::open(&folder.path().join("central.db")).unwrap());
        let client = client(&std::fs::read(folder.path().join("tls/authority.pem")).unwrap());
        Self {
            url: url.to_owned(),
            issuer: issuer.to_owned(),
            app,
            store,
            provider: key(1),
            agent: key(2),
            session: key(3),
            client,
            runtime: Some(runtime),
            folder,
        }
    }

    fn furnish(&self) {
        let jkt = key(9).thumbprint();
        let host = Host {
            id: HOST.parse().unwrap(),
            address: None,
            labels: BTreeSet::new(),
            key: Some(HostKey { jkt }),
            active: true,
            enrolled_at: 1,
            revoked_at: 0,
        };
        let agent = Agent {
            name: "triage".parse().unwrap(),
            team: "secops".parse().unwrap(),
            owner: "carol@example.org".to_owned(),
            key: self.agent.jwk(),
            active: true,
            generation: 0,
            since: 1,
            void_until: 0,
            held: false,
            deleted: false,
        };
        self.write(|act| {
            act.put_host(&host)?;
            act.put_agent(&agent)
        });
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn write(&self, mut work: impl FnMut(&mut dyn Act) -> Result<(), StoreError>) {
        store::act(&*self.store, |act| work(act)).unwrap();
    }

    pub fn read<T>(&self, mut work: impl FnMut(&dyn Act) -> Result<T, StoreError>) -> T {
        store::look(&*self.store, |act| work(act)).unwrap()
    }

    /// A directory's token.
    pub fn directory(&self, name: &str, agents: bool) -> String {
        let secret = format!("scim-{name}");
        let token = ScimToken {
            name: name.to_owned(),
            hash: app::hash(&secret),
            issuer: self.issuer.clone(),
            agents,
            since: 1,
            revoked: None,
        };
        self.write(|act| act.put_scim_token(&token));
        secret
    }

    /// The host's feed, as it begins.
    pub fn feed(&self) -> ureq::http::Response<ureq::Body> {
        let url = format!("{}/v1/host/feed", self.url);
        let request = ProofRequest { method: "GET", url: &url, access_token: None };
        let jti = tether_centrallink::random::name(16).unwrap();
        let proof = key(9).proof(request, Some(&self.app.nonces.make(clock::now())), &jti, clock::now());
        let response = self.client.get(format!("{url}?after=0")).header("dpop", proof).call().unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response
    }

    /// The same world with a copy of the store in the place of its own.
    pub fn restored(mut self, copy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tls", "keys"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            for file in std::fs::read_dir(self.folder.path().join(name)).unwrap().flatten() {
                std::fs::copy(file.path(), folder.path().join(name).join(file.file_name())).unwrap();
            }
        }
        for name in ["central.toml", "policies.cedar"] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        run_from(&["--folder", &folder.path().display().to_string(), "restore", copy]).unwrap();
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(20));
        let bind =
            |url: &str| std::net::TcpListener::bind(("127.0.0.1", url.rsplit(':').next().unwrap().parse().unwrap()));
        let listeners = (bind(&self.url).unwrap(), bind(&self.issuer).unwrap());
        Self::serving(folder, listeners, (&self.url, &self.issuer))
    }

    /// Any request.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Got {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            Some(body) => self.client.run(request.body(body.to_vec()).unwrap()),
            None => self.client.run(request.body(()).unwrap()),
        }
        .unwrap();
        let text = |name: &str, response: &ureq::http::Response<ureq::Body>| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (kind, location) = (text("content-type", &response), text("location", &response));
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_vec().unwrap();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_default() };
        Got { status, body, kind, location }
    }

    /// What is no JSON: status and body.
    pub fn bytes(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    /// What somebody brings who may look and nothing more.
    pub fn id_token_of_auditor(&self) -> String {
        self.admin_token(&self.claims("dave@example.org", &["auditors"], 5))
    }

    /// A directory's request.
    pub fn scim(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Got {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/scim+json")];
        let body = body.map(|body| body.to_string().into_bytes());
        self.ask(method, &format!("/scim/v2{path}"), &headers, body.as_deref())
    }

    /// A sign-in's claims, of so many seconds ago.
    pub fn claims(&self, email: &str, groups: &[&str], ago: u64) -> Value {
        let now = clock::now();
        json!({
            "iss": self.issuer, "sub": format!("u-{email}"), "aud": CLIENT, "iat": now, "exp": now + 300,
            "auth_time": now - ago, "amr": ["pwd", "otp"], "email": email, "email_verified": true, "groups": groups,
        })
    }

    pub fn id_token(&self, claims: &Value) -> String {
        self.provider.sign(&json!({"alg": "EdDSA", "typ": "JWT", "kid": "p-1"}), claims)
    }

    /// What an admin brings, by these claims.
    pub fn admin_token(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        claims["aud"] = ADMIN_CLIENT.into();
        self.id_token(&claims)
    }

    /// The agent exchanges an analyst's sign-in of so many seconds ago. The token, or the refusal's code.
    pub fn exchange(&self, email: &str, ago: u64) -> Result<String, String> {
        self.exchange_token(&self.id_token(&self.claims(email, &["analysts"], ago)))
    }

    pub fn exchange_token(&self, subject: &str) -> Result<String, String> {
        let jti = tether_centrallink::random::name(16).unwrap();
        let (triage, run) = ("triage".parse().unwrap(), "run-7".parse().unwrap());
        let actor = self.agent.assertion(&Assertion {
            agent: &triage,
            instance: &run,
            audience: &self.url,
            session: &self.session.thumbprint(),
            jti: &jti,
            now: clock::now(),
        });
        let members = [
            ("grant_type", GRANT_TYPE),
            ("subject_token", subject),
            ("subject_token_type", TOKEN_TYPE_ID),
            ("actor_token", &actor),
            ("actor_token_type", TOKEN_TYPE_JWT),
            ("audience", HOST),
        ];
        let form: Vec<String> =
            members.iter().map(|(name, value)| format!("{name}={}", value.replace(':', "%3A"))).collect();
        let proof = self.proof("/oauth/token", None);
        let headers = [("dpop", proof.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let got = self.ask("POST", "/oauth/token", &headers, Some(form.join("&").as_bytes()));
        match got.body["access_token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => Err(got.body["tether_code"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// The session's key, by its thumbprint.
    pub fn session_key(&self) -> tether_identity::Thumbprint {
        self.session.thumbprint()
    }

    /// A proof of the session's key.
    pub fn proof(&self, path: &str, token: Option<&str>) -> String {
        let jti = tether_centrallink::random::name(16).unwrap();
        let url = format!("{}{path}", self.url);
        let request = ProofRequest { method: "POST", url: &url, access_token: token };
        assert_eq!(token.map(access_token_hash).is_some(), token.is_some());
        self.session.proof(request, Some(&self.app.nonces.make(clock::now())), &jti, clock::now())
    }

    /// The delegation token's certificate, without a host that acknowledges: the refusal's code.
    pub fn certificate(&self, token: &str) -> String {
        let (dpop, bearer) = (self.proof("/v1/certificate", Some(token)), format!("DPoP {token}"));
        let headers = [("dpop", dpop.as_str()), ("authorization", bearer.as_str())];
        let got = self.ask("POST", "/v1/certificate", &headers, Some(b""));
        got.body["tether_code"].as_str().unwrap_or_default().to_owned()
    }

    /// Gives every delegation that has none a grant, as if its certificate had been asked for.
    pub fn grant(&self, token: &str) {
        let (dpop, bearer) = (self.proof("/v1/certificate", Some(token)), token);
        self.app.prepare(Some(bearer), Some(&dpop), "test").unwrap();
    }

    pub fn live(&self) -> Vec<Delegation> {
        let which = Which { live_at: Some(clock::now()), ..Which::default() };
        self.read(|act| act.delegations(&which, 100))
    }

    /// The statements that the host was sent.
    pub fn said(&self) -> usize {
        self.read(|act| act.statements(&HOST.parse().unwrap(), 0, 1000)).len()
    }

    /// The records of an event.
    pub fn trail(&self, event: &str) -> Vec<Link> {
        let lines: Vec<String> = self.read(|act| act.audit(0, 10_000));
        let mut links = Vec::new();
        tether_audit::verify(lines.iter().map(String::as_str), |link| links.push(link.clone())).unwrap();
        links.retain(|link| link.event.event == event);
        links
    }
}

/// What a provider publishes.
fn publisher(issuer: &str) -> Router {
    let about = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")}).to_string();
    let mut jwk = key(1).jwk();
    jwk["kid"] = json!("p-1");
    let keys = json!({"keys": [jwk]}).to_string();
    let (one, two) = (about.clone(), about);
    Router::new()
        .route("/.well-known/openid-configuration", get(move || async move { one }))
        .route("/.well-known/ssf-configuration", get(move || async move { two }))
        .route("/jwks", get(move || async move { keys }))
}

fn client(authority: &[u8]) -> ureq::Agent {
    use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
    let certificate = Certificate::from_pem(authority).unwrap();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls);
    config.timeout_global(Some(Duration::from_secs(20))).build().new_agent()
}

/// Sign-ins are known to the second: what comes next is in a later one.
pub fn next_second() {
    let then = clock::now();
    while clock::now() == then {
        std::thread::yield_now();
    }
}
