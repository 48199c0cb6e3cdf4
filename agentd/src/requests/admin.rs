//! What the host's admin asks for.

use crate::clock::Moment;
use crate::host::Host;
use crate::log::{Standing, warn};
use crate::session::{Phase, Reason};
use crate::trust::Freshness;
use serde_json::json;
use tether_audit::Ids;
use tether_hostlink::{AuditSummary, Refusal, Reply, SESSIONS_PAGE, SessionSummary, StatusReport};
use tether_identity::SessionId;

impl Host {
    pub(super) fn status(&self, after: Option<&SessionId>) -> StatusReport {
        let now = Moment::now();
        let freshness = self.trust.freshness(now);
        let closed = self.log.closed().map(|closed| closed.code);
        let state = match freshness {
            _ if self.stopped => "stopped",
            _ if closed.is_some() => closed.unwrap_or_default(),
            Freshness::NotResumed => "starting",
            fresh if fresh.admits(self.config.host.times.silence()) => "admitting",
            Freshness::Age(_) => "stale",
        };
        let head_age_s = match freshness {
            Freshness::Age(age) => Some(age.as_secs()),
            Freshness::NotResumed => None,
        };
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.config.host.host.to_string(),
            state: state.to_owned(),
            feed: self.trust.position().number,
            head_age_s,
            bundles: self.trust.bundle_summaries(now),
            audit: audit(&self.log.standing(), closed),
            sessions: self
                .sessions
                .values()
                .filter(|session| after.is_none_or(|after| session.grant.session > *after))
                .take(SESSIONS_PAGE)
                .map(summary)
                .collect(),
        }
    }

    pub(super) fn end_by_admin(&mut self, session: &SessionId) -> Result<Reply, Refusal> {
        if !self.sessions.contains_key(session) {
            return Err(Refusal::new("session.none", format!("there is no session {session}")));
        }
        self.end_session(session, Reason::Stopped);
        Ok(Reply::Done)
    }

    /// The panic button: it holds even if it cannot be written down.
    pub(super) fn stop(&mut self) -> Result<Reply, Refusal> {
        self.stopped = true;
        let kept = self.store.put(crate::host::STOPPED_FILE, &true);
        let all: Vec<SessionId> = self.sessions.keys().cloned().collect();
        let about = json!({"sessions": all.len()});
        for session in all {
            self.end_session(&session, Reason::Stopped);
        }
        if let Err(error) = self.record_done("host.stopped", Ids::unknown("by the host's admin"), about) {
            warn(error);
        }
        kept.map_err(|error| {
            Refusal::new(
                "host.disk",
                format!("all agents are stopped, but a restart of agentd would forget it: {error}"),
            )
        })?;
        Ok(Reply::Done)
    }

    pub(super) fn go_on(&mut self) -> Result<Reply, Refusal> {
        let disk = |error: &dyn std::fmt::Display| Refusal::new("host.disk", error.to_string());
        self.store.put(crate::host::STOPPED_FILE, &false).map_err(|error| disk(&error))?;
        self.record_done("host.started", Ids::unknown("by the host's admin"), json!({}))
            .map_err(|error| disk(&error))?;
        self.stopped = false;
        Ok(Reply::Done)
    }
}

fn audit(standing: &Standing, closed: Option<&str>) -> AuditSummary {
    let Standing { records, signed, countersigned, bytes } = *standing;
    AuditSummary { records, signed, countersigned, bytes, closed: closed.map(str::to_owned) }
}

fn summary(session: &crate::session::Session) -> SessionSummary {
    let state = match session.phase {
        Phase::Reserved => "reserved",
        Phase::Open { .. } => "open",
        Phase::Closing { .. } => "closing",
        Phase::Gone { .. } => "gone",
    };
    SessionSummary {
        session: session.grant.session.clone(),
        principal: session.grant.principal.to_string(),
        account: session.grant.account.to_string(),
        uid: session.uids.login,
        state: state.to_owned(),
        since: session.since,
    }
}
