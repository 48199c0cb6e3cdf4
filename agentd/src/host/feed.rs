//! What the courier dropped: taken in order, each refusal recorded once.

use super::{Host, Used, ids_of, ids_of_grant};
use crate::clock::{Moment, wall_seconds};
use crate::log::{note, warn};
use crate::session::{Input, Phase, Reason, Session};
use crate::trust::TrustError;
use crate::trust::inbox::{Inbox, Item, Unreadable};
use crate::world::namespaces::World;
use rustix::io::Errno;
use serde_json::json;
use std::time::Duration;
use tether_audit::Ids;
use tether_statement::{Body, FeedError, Grant, Revocation};

/// Where the courier drops files, readable and writable for its user.
pub const INBOX: &str = "/var/spool/tether/inbox";
/// What the courier sends to central at each start.
pub const RESUME_REQUEST: &str = "/run/tether/resume-request.json";

/// How long one pass over the inbox may hold everybody else up; what is left then waits for the next pass.
const PASS: Duration = Duration::from_millis(100);
/// How many refusals of one kind are recorded each, between two flushes. More are counted.
const RECORDED_EACH: u64 = 16;

impl Host {
    /// Reads what lies in the inbox. Called at start and whenever something came. `false` if time was up before
    /// all was read, and this is to be called again.
    pub fn read_inbox(&mut self) -> bool {
        match Inbox::open(INBOX) {
            Ok(inbox) => self.read_items(&inbox),
            Err(errno) => {
                warn(format_args!("{INBOX} cannot be opened: {errno}; nothing is taken from it"));
                true
            }
        }
    }

    fn read_items(&mut self, inbox: &Inbox) -> bool {
        let until = Moment::now().plus(PASS);
        let items = match inbox.items(self.trust.position().number.saturating_add(1)) {
            Ok(items) => items,
            Err(errno) => {
                warn(format_args!("{INBOX} cannot be listed: {errno}"));
                return true;
            }
        };
        for (item, name) in items {
            if Moment::now() > until {
                return false;
            }
            let keep = match inbox.read(&name) {
                Ok(text) => self.take(&item, &text),
                // The courier has taken it away again.
                Err(Unreadable::Errno(Errno::NOENT)) => true,
                Err(error) => {
                    self.unreadable(&name, &error);
                    false
                }
            };
            // Statements are used up, and so is what is no statement: else it would be met each time. A folder
            // stays and is met again; its refusals are counted.
            if !keep {
                let _ = inbox.remove(&name);
            }
        }
        true
    }

    fn unreadable(&mut self, name: &str, error: &Unreadable) {
        const CODE: &str = "inbox.unreadable";
        if self.is_recorded(CODE) {
            let about = json!({"file": name, "why": error.to_string()});
            self.record_error("feed.unreadable", CODE, Ids::unknown("a file of the inbox"), about);
        }
    }

    /// Whether one more refusal of this kind is recorded; else it is counted until [`Host::flush_refused`]. The
    /// courier is not trusted, and the chain is not its to fill.
    fn is_recorded(&mut self, code: &str) -> bool {
        let count = self.not_taken.entry(code.to_owned()).or_default();
        *count += 1;
        *count <= RECORDED_EACH
    }

    /// Writes down how many more were refused than were recorded.
    pub(super) fn flush_not_taken(&mut self) {
        for (code, count) in std::mem::take(&mut self.not_taken) {
            let more = count.saturating_sub(RECORDED_EACH);
            if more > 0 {
                let ids = Ids::unknown("files of the inbox");
                self.record_refused("feed.refused_again", &code, ids, json!({"count": more}));
            }
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
            Item::Head => self.trust.take_head(text, now).map(|_| ()),
            Item::Bundle(_) => self.trust.take_bundle(text).map(|new| {
                if new {
                    self.keep_trust()
                }
            }),
            Item::Statement(number) => return self.take_statement(*number, text),
        };
        match taken {
            Ok(()) => item.stays(),
            // Not now, perhaps later: keys or the resume may still come.
            Err(TrustError::NotResumed | TrustError::NoKeys) => true,
            // The old answer of another start lies there until the new one replaces it.
            Err(TrustError::OtherNonce) => false,
            Err(error) => {
                self.refuse_item(item, &error);
                false
            }
        }
    }

    fn take_statement(&mut self, number: u64, text: &str) -> bool {
        if number <= self.trust.position().number {
            return false;
        }
        let before = self.trust.position().clone();
        match self.trust.take_statement(text) {
            Ok(taken) => {
                self.keep_trust();
                self.obey(taken.body, taken.replayed);
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
        if !self.is_recorded(&error.code()) {
            return;
        }
        let about = json!({"item": format!("{item:?}"), "why": error.to_string()});
        self.record_refused("feed.refused", &error.code(), Ids::unknown("a statement that was not taken"), about);
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
        self.keep_trust();
        if let Err(error) = self.write_ca_keys() {
            warn(format_args!("{}: {error}", tether_hostlink::paths::USER_CA_KEYS));
        }
    }

    /// Puts the CA's keys where sshd looks for them, for agents' accounts only.
    pub fn write_ca_keys(&self) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = std::path::Path::new(tether_hostlink::paths::USER_CA_KEYS);
        let lines = self.trust.any_key_set().map(|set| set.user_ca.join("\n")).unwrap_or_default();
        crate::store::replace(path, format!("{lines}\n").as_bytes())?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
    }

    fn keep_trust(&self) {
        if let Err(error) = self.store.put("trust.json", &self.trust.keep()) {
            warn(format_args!("what was taken from the feed cannot be kept: {error}"));
        }
    }

    fn obey(&mut self, body: Body, replayed: bool) {
        match body {
            Body::Grant(grant) if replayed => {
                self.refuse_grant(&grant, "grant.replayed", "this host read it before its disk was put back".to_owned())
            }
            Body::Grant(grant) => self.reserve(*grant),
            Body::Revocation(revocation) => self.revoke(&revocation),
            Body::Pin(_) => {}
        }
    }

    fn reserve(&mut self, grant: Grant) {
        if let Some((code, why)) = self.objection(&grant) {
            return self.refuse_grant(&grant, code, why);
        }
        if let Err((code, why)) = self.make_session(grant.clone()) {
            self.refuse_grant(&grant, code, why);
        }
    }

    fn objection(&self, grant: &Grant) -> Option<(&'static str, String)> {
        let now = self.any_time();
        if self.stopped {
            return Some(("host.stopped", "the host's admin stopped all agents".to_owned()));
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
        if self.by_account(grant.account.as_str()).is_some() || name_is_taken(grant.account.as_str()) {
            return Some(("grant.account_taken", format!("the name {} is in use", grant.account)));
        }
        None
    }

    fn refuse_grant(&mut self, grant: &Grant, code: &str, why: String) {
        let ids = ids_of_grant(grant);
        self.record_refused("grant.refused", code, ids, json!({"account": grant.account.as_str(), "why": why}));
    }

    /// The state first, then the record, then what can be seen.
    fn make_session(&mut self, grant: Grant) -> Result<(), (&'static str, String)> {
        let now = self.any_time();
        let uids = self.uids.take(now).map_err(|error| ("uid.exhausted", error.to_string()))?;
        let until = grant.expires_at.saturating_add(self.config.ceiling.certificate_seconds);
        let disk = |error: &dyn std::fmt::Display| ("host.disk", error.to_string());
        self.spent.add(&self.store, Used::Session(grant.session.as_str()), until, now).map_err(|e| disk(&e))?;
        let session = Session { grant, uids, boot: self.boot.clone(), since: wall_seconds(), phase: Phase::Reserved };
        self.keep(&session).map_err(|e| disk(&e))?;
        let id = session.grant.session.clone();
        let about = json!({
            "account": session.grant.account.as_str(), "uid": uids.login, "principal": session.grant.principal.to_string(),
            "issuer": session.grant.issuer, "bundle": session.grant.bundle.as_str(), "expires_at": session.grant.expires_at,
            "auth_time": session.grant.auth_time, "amr": session.grant.amr,
        });
        self.record_done("session.reserved", ids_of(&session), about).map_err(|e| disk(&e))?;
        self.sessions.insert(id.clone(), session);
        if let Err(why) = self.make_visible(&id) {
            self.end_session(&id, Reason::Broken);
            return Err(("host.world", why));
        }
        Ok(())
    }

    /// Cgroup, namespaces, and last the account: from then on a look-up finds it.
    pub(super) fn make_visible(&mut self, id: &tether_identity::SessionId) -> Result<(), String> {
        let session = self.sessions.get(id).ok_or("no such session")?;
        self.cgroups.make(id).map_err(|error| error.to_string())?;
        let world =
            World::make(session.uids.login, self.config.ceiling.scratch_mib).map_err(|error| error.to_string())?;
        self.worlds.insert(id.clone(), world);
        self.accounts.write(session).map_err(|error| error.to_string())
    }

    fn revoke(&mut self, revocation: &Revocation) {
        let covered: Vec<_> =
            self.sessions.values().filter(|s| revocation.covers(&s.grant)).map(|s| s.grant.session.clone()).collect();
        if let Revocation::Session(session) = revocation {
            // A grant that comes later for it must not be taken either.
            let until = self.any_time().saturating_add(self.config.ceiling.session_seconds);
            if let Err(error) = self.spent.add(&self.store, Used::Session(session.as_str()), until, self.any_time()) {
                warn(error);
            }
        }
        for session in covered {
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
