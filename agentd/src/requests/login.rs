//! The two gates after authentication, and the way into the session.

use super::{Response, not_yours};
use crate::clock::Moment;
use crate::host::{Host, Pending, StepError, Used, ids_of};
use crate::session::{Input, Monitor, Refused, Session};
use crate::watch::Watched;
use crate::world::process::{self, Process};
use serde_json::json;
use std::time::Duration;
use tether_audit::Ids;
use tether_hostlink::{OpenRequest, Refusal, Reply};
use tether_identity::SessionId;
use tether_sshcert::SessionCertificate;
use tether_statement::Delegation;

/// How far the clock of an issuer may be ahead of central's, in seconds.
const LEEWAY: u64 = 30;

type Why = (String, String);

fn why(code: &str, text: impl std::fmt::Display) -> Why {
    (code.to_owned(), text.to_string())
}

impl Host {
    /// PAM account: do grant and freshness still stand?
    pub(super) fn account(&mut self, peer: &Process, account: &str, rhost: Option<&str>) -> Result<Reply, Refusal> {
        let checked = self.check_account(account, rhost);
        let session = match checked {
            Ok(session) => session.grant.session.clone(),
            Err(why) => return Err(self.refuse_login("account", account, why)),
        };
        if let Err(text) = self.expect_binding(peer, session) {
            return Err(self.refuse_login("account", account, why("login.process", text)));
        }
        Ok(Reply::Done)
    }

    fn check_account(&self, account: &str, rhost: Option<&str>) -> Result<&Session, Why> {
        let session =
            self.by_account(account).ok_or_else(|| why("grant.none", "no session is reserved for this account"))?;
        self.check_stands(session)?;
        session.can_bind().map_err(refused)?;
        check_source(session, rhost)?;
        Ok(session)
    }

    /// What must hold for a session at every gate and for every command.
    pub(super) fn check_stands(&self, session: &Session) -> Result<(), Why> {
        let now = Moment::now();
        if self.stopped {
            return Err(why("host.stopped", "the host's admin stopped all agents"));
        }
        if let Some(closed) = self.log.closed() {
            return Err(why(closed.code, closed.why));
        }
        if self.has_too_many_records(&session.grant.session) {
            return Err(why("session.records", "the session caused more records than one may, and ends"));
        }
        if self.trust.time(now).is_none() {
            return Err(why("feed.not_resumed", "central has not answered since agentd started"));
        }
        let most = self.config.host.times.silence();
        if !self.trust.freshness(now).admits(most) {
            let text = format!(
                "central was not heard for {} s, at most {} s are allowed",
                self.trust.silence(now).as_secs(),
                most.as_secs()
            );
            return Err(why("feed.stale", text));
        }
        let time = self.trust.time(now).unwrap_or(u64::MAX);
        if time >= session.grant.expires_at {
            return Err(why("grant.expired", format!("the grant expired at {}", session.grant.expires_at)));
        }
        if time.saturating_add(LEEWAY) < session.grant.not_before {
            return Err(why("grant.not_yet", format!("the grant begins at {}", session.grant.not_before)));
        }
        Ok(())
    }

    /// Kills the connection if it is not bound in time.
    fn expect_binding(&mut self, peer: &Process, session: SessionId) -> Result<(), String> {
        let process = peer.pin().map_err(|error| error.to_string())?;
        let watched = process.try_clone().map_err(|error| error.to_string())?;
        self.watch.add(watched, Watched::Pending { pid: peer.pid }).map_err(|error| error.to_string())?;
        let until = Moment::now().plus(Duration::from_secs(self.config.host.times.login_grace));
        self.pending.insert(peer.pid, Pending { process, start: peer.start, until, session });
        crash_point!(LoginExpected);
        Ok(())
    }

    /// PAM open_session: the whole check, and the binding.
    pub(super) fn open(&mut self, peer: &Process, request: &OpenRequest) -> Response {
        match self.bind(peer, request) {
            Ok(response) => response,
            Err(why) => {
                let refusal = self.refuse_login("open_session", &request.account, why);
                // sshd keeps an authenticated connection whose session was refused: it is ended here.
                if let Some(pending) = self.pending.remove(&peer.pid) {
                    process::kill(&pending.process);
                }
                Err(refusal).into()
            }
        }
    }

    fn bind(&mut self, peer: &Process, request: &OpenRequest) -> Result<Response, Why> {
        let session = self.check_account(&request.account, None)?.clone();
        let id = session.grant.session.clone();
        // Only a connection that passed the account gate, for this very session.
        if self.pending.get(&peer.pid).is_none_or(|pending| pending.session != id) {
            return Err(why("login.no_account_gate", "this connection did not pass the account gate"));
        }
        check_source(&session, request.connection.split(' ').next())?;
        self.check_certificate(&session, &request.certificate)?;
        let jti = session.grant.delegation.as_str();
        if !session.is_open() {
            if self.spent.has(Used::Delegation(jti)) {
                return Err(why("delegation.used", format!("the delegation {jti} was used before")));
            }
            let until = session.grant.expires_at.saturating_add(self.config.ceiling.delegation_seconds);
            self.spent.add(Used::Delegation(jti), until).map_err(|error| why("host.disk", error))?;
            crash_point!(BindSpent);
        }
        let descriptors = self.world_of(&id)?;
        let connection = request.connection.clone();
        let mut monitor = Monitor { pid: peer.pid, start: peer.start, connection, record: None };
        let about = json!({"connection": monitor.connection, "serial": session.grant.serial, "ca": session.grant.ca, "monitor": peer.pid});
        let parent = session.causes.reserved.map(|number| self.record_number(number));
        let recorded = self.record_under("login.bound", parent, ids_of(&session), about);
        monitor.record = Some(recorded.map_err(|error| why(error.code(), error))?);
        crash_point!(BindRecorded);
        self.step(&id, Input::Bind(monitor)).map_err(not_bound)?;
        crash_point!(BindDone);
        self.pending.remove(&peer.pid);
        Ok(Response::with(Reply::Opened { session: id }, descriptors))
    }

    fn world_of(&self, id: &SessionId) -> Result<Vec<std::os::fd::OwnedFd>, Why> {
        let world = self.worlds.get(id).ok_or_else(|| why("host.world", "the session's namespaces are not there"))?;
        let all = [&world.mount, &world.ipc, &world.network];
        all.into_iter().map(|fd| fd.try_clone().map_err(|error| why("host.world", error))).collect()
    }

    /// Certificate, token and grant: each valid, and all three the same in every field.
    fn check_certificate(&self, session: &Session, line: &str) -> Result<(), Why> {
        let now = Moment::now();
        let time =
            self.trust.time(now).ok_or_else(|| why("feed.not_resumed", "central has not answered this start"))?;
        let keys = self.trust.keys(now).map_err(|error| why(&error.code(), error))?;
        let ceiling = &self.config.ceiling;
        let certificate = SessionCertificate::read(line).map_err(|error| why(error.code(), &error))?;
        let trusted: Vec<String> =
            keys.set().user_ca.iter().filter_map(|line| tether_sshcert::ca_fingerprint(line).ok()).collect();
        certificate.verify(&trusted, time, ceiling.certificate_seconds).map_err(|error| why(error.code(), &error))?;
        let host = &self.config.host.host;
        let delegation =
            Delegation::verify(&certificate.delegation, keys, host, time, ceiling.delegation_seconds, LEEWAY)
                .map_err(|error| why(&error.code(), &error))?;
        check_equal(session, &certificate, &delegation)
    }

    /// PAM setcred in sshd's user child: into the session's cgroup.
    pub(super) fn enter(&mut self, peer: &Process, account: &str) -> Result<Reply, Refusal> {
        let session = self.by_account(account).ok_or_else(not_yours)?;
        if !session.monitors().iter().any(|monitor| monitor.pid == peer.parent) {
            return Err(not_yours());
        }
        // pam_systemd would have moved the monitor, and made a user manager outside of the namespaces.
        let monitor = Process::look(peer.parent).map_err(|_| not_yours())?;
        if monitor.cgroup.contains("/user.slice/") || monitor.cgroup.starts_with("/user.slice") {
            let text = "pam_systemd was not jumped over for this login; `tether doctor` shows the PAM lines";
            let why = why("pam.systemd_ran", text);
            let refusal = self.refuse_login("setcred", account, why);
            let id = self.by_account(account).map(|session| session.grant.session.clone());
            if let Some(id) = id {
                self.end_session(&id, crate::session::Reason::Broken);
            }
            return Err(refusal);
        }
        let id = session.grant.session.clone();
        self.cgroups.enter_login(&id, peer.pid).map_err(|error| Refusal::new("host.cgroup", error.to_string()))?;
        crash_point!(EnterCgroup);
        Ok(Reply::Done)
    }

    /// sshd would keep the authenticated connection, without a session, for as long as its client likes.
    pub(super) fn end_stray(&mut self, peer: &Process) -> Result<Reply, Refusal> {
        if let Ok(process) = peer.pin() {
            process::kill(&process);
        }
        let why = "agentd was restarted between this connection's gates";
        let ids = Ids::unknown("the connection is bound to no session");
        self.record_counted(
            "login.refused",
            "between the gates",
            "session.not_bound",
            ids,
            json!({"why": why, "pid": peer.pid}),
        );
        Err(Refusal::new("session.not_bound", why).hint("connect again"))
    }

    fn refuse_login(&mut self, gate: &str, account: &str, (code, text): Why) -> Refusal {
        let ids = self.by_account(account).map_or_else(|| Ids::unknown("no session has this account"), ids_of);
        self.record_refused("login.refused", &code, ids, json!({"gate": gate, "account": account, "why": text}));
        let refusal = Refusal::new(&code, text);
        match code.as_str() {
            "session.already_bound" => refusal.hint(
                "use one connection for everything: ssh -o ControlMaster=auto -o ControlPath=~/.ssh/%C -o ControlPersist=60",
            ),
            "feed.stale" => refusal.hint("this host has lost its central server; its admin can see more with `tether doctor`"),
            _ => refusal,
        }
    }
}

fn not_bound(error: StepError) -> Why {
    match error {
        StepError::Store(error) => why("host.disk", error),
        other => why("session.bind", other),
    }
}

fn refused(error: Refused) -> Why {
    let code = match error {
        Refused::AlreadyBound(_) => "session.already_bound",
        Refused::Ended => "session.ended",
    };
    why(code, error)
}

fn check_source(session: &Session, address: Option<&str>) -> Result<(), Why> {
    let allowed = &session.grant.source_addresses;
    let Some(address) = address.filter(|_| !allowed.is_empty()) else { return Ok(()) };
    let parsed = address.parse().map_err(|_| why("source.malformed", format!("{address:?} is no address")))?;
    if allowed.iter().any(|range| super::address::covers(range, parsed)) {
        return Ok(());
    }
    Err(why("source.address", format!("the grant does not allow connections from {address}")))
}

fn check_equal(session: &Session, certificate: &SessionCertificate, delegation: &Delegation) -> Result<(), Why> {
    let grant = &session.grant;
    let principal = grant.principal.to_string();
    let has = |text: &str| certificate.principals().iter().any(|principal| principal == text);
    let checks = [
        (certificate.session == grant.session && delegation.session == grant.session, "grant.session"),
        (has(grant.account.as_str()), "grant.account"),
        (has(&principal), "grant.principal"),
        (certificate.principals().len() == 2, "certificate.principals"),
        (delegation.human == grant.principal.human, "grant.human"),
        (delegation.agent == grant.principal.agent, "grant.agent"),
        (delegation.team == grant.principal.team, "grant.team"),
        (delegation.instance == grant.instance, "grant.instance"),
        (delegation.issuer == grant.issuer, "grant.issuer"),
        (delegation.id == grant.delegation, "grant.delegation"),
        (delegation.bundle == grant.bundle, "grant.bundle"),
        (certificate.jkt == delegation.jkt, "delegation.key"),
        (certificate.jkt == grant.jkt && certificate.key() == grant.key, "grant.key"),
        (certificate.serial() == grant.serial, "grant.serial"),
        (certificate.ca() == grant.ca, "grant.ca"),
        (delegation.auth_time == grant.auth_time && delegation.amr == grant.amr, "grant.sign_in"),
        (certificate.source_addresses() == grant.source_addresses, "grant.source_addresses"),
    ];
    match checks.iter().find(|(equal, _)| !equal) {
        None => Ok(()),
        Some((_, code)) => {
            let field = code.split('.').nth(1).unwrap_or_default();
            Err(why(code, format!("certificate, delegation and grant differ: {field}")))
        }
    }
}
