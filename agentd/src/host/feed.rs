//! What the courier dropped: taken in order, each refusal recorded once.

use super::{Host, Used, ids_of, ids_of_grant};
use crate::clock::{Moment, wall_seconds};
use crate::log::{LogError, Uncountersigned, note, warn};
use crate::session::{Causes, Input, Phase, Reason, Session};
use crate::trust::TrustError;
use crate::trust::inbox::{Inbox, Item, Looked, Unreadable};
use crate::world::namespaces::World;
use serde_json::json;
use tether_audit::{Ids, Outcome};
use tether_statement::{Body, Countersignature, FeedError, Grant, Receipt, Revocation};

/// Where the courier drops files, readable and writable for its user.
pub const INBOX: &str = "/var/spool/tether/inbox";
/// Where the last good bundles are kept.
pub const BUNDLES_FILE: &str = "bundles.json";
/// What the courier sends to central at each start.
pub const RESUME_REQUEST: &str = "/run/tether/resume-request.json";

impl Host {
    /// Takes what was read of one file of the inbox.
    pub fn take_file(&mut self, inbox: &Inbox, item: &Item, name: &str, looked: Looked) {
        let keep = match looked.text {
            Ok(text) => self.take(item, &text),
            // What took its name is met by the next look.
            Err(Unreadable::Gone) => true,
            Err(error) => {
                let about = json!({"file": name, "why": error.to_string()});
                let ids = Ids::unknown("a file of the inbox");
                self.record_counted("feed.refused", name, "inbox.unreadable", ids, about);
                false
            }
        };
        // Statements are used up, and so is what is no statement: else it would be met each time.
        if !keep && let Err(errno) = inbox.remove(name, looked.file) {
            // Such as a folder: met each time, so counted.
            let ids = Ids::unknown("a file of the inbox");
            let about = json!({"file": name, "why": errno.to_string()});
            self.record_counted("feed.refused", name, "inbox.not_removed", ids, about);
        }
    }

    /// Whether the file stays where it is.
    fn take(&mut self, item: &Item, text: &str) -> bool {
        let now = Moment::now();
        let taken = match item {
            Item::Keys => self.trust.take_keys(text).map(|new| {
                if new {
                    self.keys_changed()
                }
            }),
            Item::Resume => self.take_resume(text),
            Item::Head => self.trust.take_head(text, now).map(|_| self.keep_floor()),
            Item::Bundle(_) => self.trust.take_bundle(text).map(|new| {
                if new {
                    self.keep_bundles();
                }
            }),
            Item::Confirmation(_) => self.trust.take_confirmation(text, now).map(|new| {
                if new {
                    self.keep_trust();
                }
            }),
            Item::Countersigned => return self.take_countersignature(text, now),
            Item::Shipped(_) => return self.take_receipt(text, now),
            Item::Statement(number) => return self.take_statement(*number, text),
        };
        match taken {
            Ok(()) => item.stays(),
            // Not now, perhaps later: keys or the resume may still come.
            Err(TrustError::NotResumed | TrustError::NoKeys) => true,
            // It answers an earlier question; it will never answer this one.
            Err(TrustError::OtherNonce) => false,
            Err(error) => {
                self.refuse_item(item, &error);
                false
            }
        }
    }

    /// Central has the audit chain up to a head. It may come again; one of another chain is a person's business.
    fn take_countersignature(&mut self, text: &str, now: Moment) -> bool {
        let keys = match self.trust.keys(now) {
            Ok(keys) => keys,
            Err(_) => return true,
        };
        let (code, why) = match Countersignature::verify(text, keys, &self.config.host.host) {
            Ok(found) => match self.log.countersign(text, &found) {
                Ok(()) => return false,
                // It may be taken when there is room again; it comes again.
                Err(Uncountersigned::Log(error)) => {
                    warn(format_args!("central's countersignature cannot be kept: {error}"));
                    return false;
                }
                Err(error) => (error.code().to_owned(), error.to_string()),
            },
            Err(error) => (error.code(), error.to_string()),
        };
        let ids = Ids::unknown("of the host");
        self.record_counted("audit.countersignature_refused", &code, &code, ids, json!({"why": why}));
        false
    }

    /// Central has a recording: from then on it may go when it is old. The courier's word alone would be no reason.
    fn take_receipt(&mut self, text: &str, now: Moment) -> bool {
        let Ok(keys) = self.trust.keys(now) else { return true };
        let (code, why) = match Receipt::verify(text, keys, &self.config.host.host) {
            Ok(receipt) => match self.recordings.shipped(&receipt, text) {
                Ok(()) => return false,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                    ("recording.other".to_owned(), error.to_string())
                }
                // It comes again.
                Err(error) => {
                    warn(format_args!("that {} was shipped cannot be noted: {error}", receipt.recording));
                    return false;
                }
            },
            Err(error) => (error.code(), error.to_string()),
        };
        let ids = Ids::unknown("of the host");
        self.record_counted("recording.receipt_refused", &code, &code, ids, json!({"why": why}));
        false
    }

    fn take_statement(&mut self, number: u64, text: &str) -> bool {
        if number <= self.trust.position().number {
            return false;
        }
        let before = self.trust.position().clone();
        match self.trust.take_statement(text) {
            Ok(taken) => {
                if let Some(refused) = taken.unheeded {
                    self.refuse_item(&Item::Statement(number), &refused.into());
                }
                // A grant must not be met twice, a revocation must not be lost, whenever agentd dies.
                if let Body::Revocation(revocation) = &taken.body {
                    self.revoke(revocation, number);
                    self.keep_trust();
                } else {
                    // Central hands out the certificate once it hears that the grant was read: it must not hear so
                    // before there is an account.
                    self.keep_trust_untold();
                    crash_point!(FeedKept);
                    self.obey(taken.body, number, taken.replayed);
                    self.tell_central();
                }
                crash_point!(FeedObeyed);
                false
            }
            Err(TrustError::NotResumed | TrustError::NoKeys) => true,
            Err(error) => {
                self.refuse_item(&Item::Statement(number), &error);
                // A gap may still be filled; anything else never becomes right.
                matches!(&error, TrustError::Feed(FeedError::Gap { found, .. }) if *found > before.number)
            }
        }
    }

    fn refuse_item(&mut self, item: &Item, error: &TrustError) {
        let subject = format!("{item:?}");
        let about = json!({"item": subject, "why": error.to_string()});
        let ids = Ids::unknown("a statement that was not taken");
        self.record_counted("feed.refused", &subject, &error.code(), ids, about);
    }

    fn take_resume(&mut self, text: &str) -> Result<(), TrustError> {
        let already = self.trust.time(Moment::now()).is_some();
        let mark = self.trust.take_resume(text)?;
        if already {
            return Ok(());
        }
        let raised = self.uids.raise(mark, self.any_time());
        if let Err(error) = raised {
            warn(format_args!("the uid ledger cannot be written: {error}"));
        }
        self.keep_trust();
        let about = json!({"position": self.trust.position().number});
        if let Err(error) = self.record_done("feed.resumed", Ids::unknown("of the host"), about) {
            warn(error);
        }
        note("central has answered this start");
        Ok(())
    }

    fn keys_changed(&mut self) {
        self.keep_bundles();
        if let Err(error) = self.write_ca_keys() {
            warn(format_args!("{}: {error}", tether_hostlink::paths::USER_CA_KEYS));
        }
    }

    /// Puts the CA's keys where sshd looks for them, for agents' accounts only.
    pub fn write_ca_keys(&self) -> std::io::Result<()> {
        let path = std::path::Path::new(tether_hostlink::paths::USER_CA_KEYS);
        let lines = self.trust.any_key_set().map(|set| set.user_ca.join("\n")).unwrap_or_default();
        crate::store::replace_readable(path, format!("{lines}\n").as_bytes())
    }

    /// The bundles have a file of their own: they are long, and change seldom.
    fn keep_bundles(&mut self) {
        if let Err(error) = self.store.put(BUNDLES_FILE, &self.trust.bundles.texts()) {
            warn(format_args!("the bundles cannot be kept: {error}"));
        }
        self.keep_trust();
    }

    fn keep_trust(&mut self) {
        self.keep_trust_untold();
        self.tell_central();
    }

    fn keep_trust_untold(&mut self) {
        if let Err(error) = self.store.put("trust.json", &self.trust.keep()) {
            warn(format_args!("what was taken from the feed cannot be kept: {error}"));
        }
        self.kept_floor = self.trust.floor();
    }

    /// A newer head moves the clock's floor; it is kept once a minute, not for each head.
    fn keep_floor(&mut self) {
        if self.trust.floor() >= self.kept_floor.saturating_add(60) {
            self.keep_trust();
        }
    }

    fn obey(&mut self, body: Body, number: u64, replayed: bool) {
        match body {
            Body::Grant(grant) if replayed => self.refuse_grant(
                &grant,
                number,
                "grant.replayed",
                "this host read it before its disk was put back".to_owned(),
            ),
            Body::Grant(grant) => self.reserve(*grant, number),
            Body::Revocation(revocation) => self.revoke(&revocation, number),
            Body::Pin(_) => {}
        }
    }

    fn reserve(&mut self, grant: Grant, number: u64) {
        if let Some((code, why)) = self.objection(&grant) {
            return self.refuse_grant(&grant, number, code, why);
        }
        if let Err((code, why)) = self.make_session(grant.clone(), number) {
            self.refuse_grant(&grant, number, code, why);
        }
    }

    fn objection(&self, grant: &Grant) -> Option<(&'static str, String)> {
        let now = self.any_time();
        if self.stopped {
            return Some(("host.stopped", "the host's admin stopped all agents".to_owned()));
        }
        if let Some(closed) = self.log.closed() {
            return Some((closed.code, closed.why));
        }
        if grant.expires_at <= now {
            return Some(("grant.expired", format!("it expired at {}", grant.expires_at)));
        }
        if let Some(excess) = self.config.ceiling.excess(grant) {
            return Some(excess);
        }
        if !grant.account.has_prefix(&self.config.host.prefix) || grant.principal.scheme != self.config.host.scheme {
            return Some(("grant.other_names", "its account or principal is not of this host's form".to_owned()));
        }
        if self.sessions.len() >= self.config.ceiling.sessions {
            return Some(("ceiling.sessions", format!("{} sessions are here already", self.sessions.len())));
        }
        let session = grant.session.as_str();
        if self.sessions.contains_key(&grant.session) || self.spent.has(Used::Session(session)) {
            return Some(("grant.session_used", format!("the session {session} was here before")));
        }
        if self.spent.has(Used::Delegation(grant.delegation.as_str())) {
            return Some(("delegation.used", format!("the delegation {} was used or revoked", grant.delegation)));
        }
        if self.by_account(grant.account.as_str()).is_some() || name_is_taken(grant.account.as_str()) {
            return Some(("grant.account_taken", format!("the name {} is in use", grant.account)));
        }
        None
    }

    fn refuse_grant(&mut self, grant: &Grant, number: u64, code: &str, why: String) {
        let about = json!({"account": grant.account.as_str(), "why": why});
        let parent = Some(self.statement_number(number));
        self.record_best("grant.refused", (Outcome::Refused, code), parent, ids_of_grant(grant), about);
    }

    /// The state first, then the record, then what can be seen.
    fn make_session(&mut self, grant: Grant, number: u64) -> Result<(), (&'static str, String)> {
        let now = self.any_time();
        let uids = self.uids.take(now).map_err(|error| (error.code(), error.to_string()))?;
        crash_point!(ReserveUids);
        let until = grant.expires_at.saturating_add(self.config.ceiling.certificate_seconds);
        let disk = |error: &dyn std::fmt::Display| ("host.disk", error.to_string());
        self.spent.add(Used::Session(grant.session.as_str()), until).map_err(|e| disk(&e))?;
        crash_point!(ReserveSpent);
        let left = std::time::Duration::from_secs(grant.expires_at.saturating_sub(now));
        let mut session = Session {
            grant,
            uids,
            boot: self.boot.clone(),
            since: wall_seconds(),
            until_boottime_ms: Moment::now().plus(left).millis(),
            world: None,
            causes: Causes { granted: Some(number), ..Causes::default() },
            phase: Phase::Reserved,
        };
        let id = session.grant.session.clone();
        let reserved = self.keep(&session).map_err(|e| disk(&e)).and_then(|()| {
            crash_point!(ReserveKept);
            self.record_reserved(&mut session).map_err(|e| (e.code(), e.to_string()))
        });
        if reserved.is_err() {
            // What was refused must not come to life at the next start.
            if let Err(error) = self.store.remove(&super::file_of(&id)) {
                warn(error);
            }
        }
        reserved?;
        crash_point!(ReserveRecorded);
        self.sessions.insert(id.clone(), session);
        self.ground.want();
        if let Err(why) = self.make_visible(&id) {
            self.end_session(&id, Reason::Broken);
            return Err(("host.world", why));
        }
        Ok(())
    }

    pub(super) fn record_reserved(&mut self, session: &mut Session) -> Result<(), LogError> {
        let grant = &session.grant;
        let about = json!({
            "account": grant.account.as_str(), "uid": session.uids.login, "principal": grant.principal.to_string(),
            "issuer": grant.issuer, "bundle": grant.bundle.as_str(), "expires_at": grant.expires_at,
            "auth_time": grant.auth_time, "amr": grant.amr,
        });
        let parent = session.causes.granted.map(|number| self.statement_number(number));
        session.causes.reserved = Some(self.record_under("session.reserved", parent, ids_of(session), about)?);
        Ok(())
    }

    /// Cgroup, namespaces, the door of `tether run`, and last the account: from then on a look-up finds it.
    pub(super) fn make_visible(&mut self, id: &tether_identity::SessionId) -> Result<(), String> {
        let session = self.sessions.get(id).ok_or("no such session")?;
        self.cgroups.make(id).map_err(|error| error.to_string())?;
        crash_point!(VisibleCgroup);
        let made = World::make(session.uids.login, self.config.ceiling.scratch_mib);
        let world = made.map_err(|error| error.to_string())?;
        crash_point!(VisibleWorld);
        let known = Some(world.id().map_err(|error| error.to_string())?);
        let session = Session { world: known, ..session.clone() };
        self.keep(&session).map_err(|error| error.to_string())?;
        crash_point!(VisibleKept);
        self.open_door(&session).map_err(|error| error.to_string())?;
        self.accounts.write(&session).map_err(|error| error.to_string())?;
        crash_point!(VisibleAccounts);
        self.worlds.insert(id.clone(), world);
        self.sessions.insert(id.clone(), session);
        self.tell_central();
        Ok(())
    }

    fn revoke(&mut self, revocation: &Revocation, number: u64) {
        let covered: Vec<_> =
            self.sessions.values().filter(|s| revocation.covers(&s.grant)).map(|s| s.grant.session.clone()).collect();
        // A grant that comes later for it must not be taken either.
        let used = match revocation {
            Revocation::Session(session) => Some(Used::Session(session.as_str())),
            Revocation::Delegation(delegation) => Some(Used::Delegation(delegation.as_str())),
            Revocation::Human(_) | Revocation::Agent(_) => None,
        };
        if let Some(used) = used {
            let until = self.any_time().saturating_add(self.config.ceiling.session_seconds);
            if let Err(error) = self.spent.add(used, until) {
                warn(error);
            }
        }
        for session in covered {
            if let Some(session) = self.sessions.get_mut(&session) {
                session.causes.revoked.get_or_insert(number);
            }
            self.end_session(&session, Reason::Revoked);
        }
    }

    /// Ends a session, whatever its state.
    pub fn end_session(&mut self, id: &tether_identity::SessionId, reason: Reason) {
        self.step(id, Input::End(reason)).unwrap_or_default();
    }
}

/// Whether /etc/passwd or /etc/group has the name: a person's account must not be hidden or taken over.
fn name_is_taken(name: &str) -> bool {
    ["/etc/passwd", "/etc/group"].iter().any(|path| {
        match std::fs::read_to_string(path) {
            Ok(text) => text.lines().any(|line| line.split(':').next() == Some(name)),
            // A file that cannot be read could hold the name.
            Err(_) => true,
        }
    })
}
