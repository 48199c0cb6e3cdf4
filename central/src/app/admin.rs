//! What admins do. An admin is a human of a trusted provider whom a policy lets administer; while no provider can
//! be had there is the break-glass token. Every act names who did it.

use super::host::hash;
use super::{App, ChainStanding, Failed, META_BREAK_GLASS, fault, people};
use crate::access::SignIn;
use crate::audit::Record;
use crate::clock;
use crate::store::{Agent, Delegation, Enrolment, Host, OfHost, Seen, Which};
use serde_json::json;
use std::collections::BTreeSet;
use tether_accountfile::{UID_FIRST, UID_LAST};
use tether_audit::Ids;
use tether_centrallink::random;
use tether_centrallink::wire::{EnrolToken, HostMark, NewAgent, NewHost, NewHostToken, Revoked, Target};
use tether_identity::{Address, HostId, Name};
use tether_oauth::{Jwk, Refusal, Standard, Subject, TokenType, claimed_issuer};

/// How long an enrolment token is good, in seconds.
pub(super) const ENROL_SECONDS: u64 = 3600;
/// The most labels of one host.
const LABELS_MAX: usize = 64;

/// Who administers.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Their name in records.
    pub name: String,
}

/// A host and how it stands.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Standing {
    #[serde(flatten)]
    host: Host,
    listening: bool,
    feed: u64,
    read: u64,
    /// For how many seconds the oldest statement that it has not read was there to be read.
    late: Option<u64>,
    heard: u64,
    /// How its audit chain stands.
    audit: ChainStanding,
    /// Its recordings.
    recordings: OfHost,
}

fn refuse(code: &str, why: impl std::fmt::Display) -> Failed {
    Refusal::new(Standard::InvalidRequest, code, why).into()
}

/// Whether a host may have that id: it is a folder's name in exports, and stands in the log beside central's own.
pub fn is_name(host: &HostId) -> bool {
    let name = host.as_str();
    !name.contains(['/', '@']) && !name.starts_with('.') && !name.eq_ignore_ascii_case(crate::audit::HOST)
}

impl App {
    /// Who a bearer token is of, if they may do `action`: `administer` or `audit`.
    pub fn admin(&self, token: Option<&str>, action: &str, peer: &str) -> Result<Admin, Refusal> {
        self.try_admin(token, action, peer).map_err(|failed| {
            let about = json!({"peer": peer, "action": action});
            self.refuse_stranger("admin.refused", Ids::unknown("an admin was not let in"), failed, about, peer)
        })
    }

    fn try_admin(&self, token: Option<&str>, action: &str, peer: &str) -> Result<Admin, Failed> {
        let token = token.ok_or_else(|| Refusal::new(Standard::InvalidToken, "admin.none", "this needs an admin"))?;
        let kept = self.look(|act| Ok(act.meta(META_BREAK_GLASS)?))?;
        // Both sides are hashes, so how long the comparison takes says nothing of the token.
        if kept.is_some_and(|kept| kept == hash(token)) {
            // Whoever has it goes around the provider, so that it was used is on record even where nothing is changed.
            let about = json!({"peer": peer, "action": action});
            self.record(&Record::done("admin.break_glass", Ids::unknown("an admin without a name"), about))?;
            return Ok(Admin { name: "break-glass".to_owned() });
        }
        let invalid = |refusal: Refusal| Refusal { error: Standard::InvalidToken, ..refusal };
        let (issuer, kid) = claimed_issuer(token).map_err(invalid)?;
        let providers = self.providers();
        let (provider, keys) = providers.find_for_admins(&issuer, kid.as_deref()).map_err(invalid)?;
        let now = clock::now();
        let subject = Subject::verify(token, TokenType::Id, &provider, &keys, now).map_err(invalid)?;
        if subject.bound_to.is_some() {
            let why = "the token is bound to a key, and whoever has it would do";
            return Err(Refusal::new(Standard::InvalidToken, "admin.bound", why).into());
        }
        self.look(|act| people::check_sign_in(act, &subject, now)).map_err(|failed| match failed {
            Failed::Refused(refusal) => Failed::Refused(invalid(refusal)),
            failed => failed,
        })?;
        let access = self.access();
        let sign_in = SignIn::from(&subject);
        // Who may administer may look too.
        let may = match access.may(action, &sign_in, now) {
            Ok(false) if action == "audit" => access.may("administer", &sign_in, now),
            other => other,
        };
        if !may.map_err(|error| fault("access.failed", error))? {
            let why = format!("no policy lets {} {action} here", subject.human);
            return Err(Refusal::new(Standard::InsufficientScope, "admin.not_permitted", why).into());
        }
        Ok(Admin { name: subject.human.to_string() })
    }

    fn done<T>(&self, admin: &Admin, wanted: &str, done: Result<T, Failed>) -> Result<T, Refusal> {
        done.map_err(|failed| {
            let about = json!({"by": admin.name, "wanted": wanted});
            self.refuse("admin.refused", Ids::unknown("an admin's act"), failed, about)
        })
    }

    /// Registers an agent, or gives one another key: then what the old one was issued for ends, everywhere.
    pub fn register(&self, admin: &Admin, new: &NewAgent) -> Result<(), Refusal> {
        let done = self.act(|act| {
            Jwk::parse(&new.key).map_err(|error| refuse("agent.key", error))?;
            let mut ended = Revoked::default();
            if act.agent(&new.name)?.is_some() {
                ended = self.take_back(act, &Target::Agent(new.name.clone()), &admin.name)?;
            }
            let known = act.agent(&new.name)?;
            let agent = Agent {
                name: new.name.clone(),
                team: new.team.clone(),
                owner: new.owner.clone(),
                key: new.key.clone(),
                active: true,
                generation: known.as_ref().map_or(0, |known| known.generation),
                since: clock::now(),
                void_until: known.map_or(0, |known| known.void_until),
                held: false,
                deleted: false,
            };
            act.put_agent(&agent)?;
            let about = json!({
                "by": admin.name, "agent": agent.name.as_str(), "team": agent.team.as_str(), "owner": agent.owner,
                "generation": agent.generation,
            });
            self.write(act, &Record::done("agent.registered", Ids::unknown("an admin's act"), about))?;
            Ok(ended)
        });
        let ended = self.done(admin, "agent.registered", done)?;
        self.tell_revoked(&ended);
        Ok(())
    }

    /// Lets an agent act again. What was issued before it was deactivated stays void.
    pub fn activate(&self, admin: &Admin, name: &Name) -> Result<(), Refusal> {
        let done = self.act(|act| {
            let agent = act.agent(name)?.filter(|agent| !agent.deleted);
            let mut agent = agent.ok_or_else(|| refuse("agent.unknown", "no such agent"))?;
            (agent.active, agent.held) = (true, false);
            act.put_agent(&agent)?;
            let about = json!({"by": admin.name, "agent": name.as_str(), "generation": agent.generation});
            self.write(act, &Record::done("agent.activated", Ids::unknown("an admin's act"), about))?;
            Ok(())
        });
        self.done(admin, "agent.activated", done)
    }

    /// A one-time token with which one host may enrol.
    pub fn admit_host(&self, admin: &Admin, new: &NewHost) -> Result<NewHostToken, Refusal> {
        let done = self.act(|act| {
            let labels: BTreeSet<String> = new.labels.iter().cloned().collect();
            let plain = |label: &String| {
                label.len() <= 256
                    && label.split_once('=').is_some_and(|(key, _)| !key.is_empty())
                    && label.chars().all(|c| !c.is_control())
            };
            if labels.len() > LABELS_MAX || !labels.iter().all(plain) {
                return Err(refuse("host.labels", "a label is KEY=VALUE; a host has at most 64"));
            }
            // It is what agents connect to, and stands in a command that they run; without one the id does.
            let address = new.address.as_deref().unwrap_or(new.host.as_str());
            address.parse::<Address>().map_err(|error| refuse("host.address", error))?;
            if !is_name(&new.host) {
                let why = "a host's id has no '/' and no '@', begins with no '.', and is not \"central\"";
                return Err(refuse("host.name", why));
            }
            let secret = random::name(32).map_err(|error| fault("random", error))?;
            let expires_at = clock::now() + ENROL_SECONDS;
            let (root_kid, root) =
                self.settings.roots.iter().next().ok_or_else(|| fault("roots", "no root is configured"))?;
            let enrolment = Enrolment {
                hash: hash(&secret),
                host: new.host.clone(),
                address: new.address.clone(),
                labels,
                expires_at,
                used: false,
            };
            act.put_enrolment(&enrolment)?;
            let about = json!({"by": admin.name, "host": new.host.as_str(), "labels": enrolment.labels});
            self.write(act, &Record::done("host.admitted", Ids::unknown("an admin's act"), about))?;
            let token = EnrolToken {
                secret,
                root_kid: root_kid.clone(),
                root: root.to_string(),
                authority: self.authority.clone(),
            };
            Ok(NewHostToken { token: token.to_text(), expires_at })
        });
        self.done(admin, "host.admitted", done)
    }

    /// Accepts a host's uid mark that is above what was granted to it.
    pub fn accept_mark(&self, admin: &Admin, mark: &HostMark) -> Result<(), Refusal> {
        let done = self.act(|act| {
            let host = act.host(&mark.host)?.ok_or_else(|| refuse("host.unknown", "no such host"))?;
            let seen = act.seen(&host.id)?;
            if !(UID_FIRST - 1..=UID_LAST).contains(&mark.mark) || mark.mark < seen.uid_mark {
                let (least, most) = (seen.uid_mark.max(UID_FIRST - 1), UID_LAST);
                return Err(refuse("host.mark", format_args!("a mark of this host is from {least} to {most}")));
            }
            let accepted = Seen { accepted_mark: mark.mark, accepted_at: seen.granted, ..seen };
            act.put_seen(&host.id, &accepted)?;
            let about = json!({"by": admin.name, "host": host.id.as_str(), "uid_mark": mark.mark});
            self.write(act, &Record::done("host.mark_accepted", Ids::unknown("an admin's act"), about))?;
            Ok(())
        });
        self.done(admin, "host.mark_accepted", done)
    }

    /// All agents.
    pub fn agents(&self) -> Result<Vec<Agent>, Refusal> {
        self.list(|act| Ok(act.agents()?))
    }

    /// All hosts, and how each stands: whether it listens, how far it has read, when it last spoke.
    pub fn hosts(&self) -> Result<Vec<Standing>, Refusal> {
        self.list(|act| {
            let standing = |host: Host| -> Result<Standing, Failed> {
                let seen = act.seen(&host.id)?;
                let unread = act.statements(&host.id, seen.number, 1)?;
                let said_at = unread.first().and_then(|(_, text)| tether_statement::issued_at(text));
                Ok(Standing {
                    listening: self.hub.place(&host.id).news.receiver_count() > 0,
                    feed: act.position(&host.id)?.number,
                    read: seen.number,
                    late: said_at.map(|at| clock::now().saturating_sub(at)),
                    heard: seen.time,
                    audit: self.chain_standing(act.host_chain(&host.id)?.as_ref()),
                    recordings: act.recordings_of_host(&host.id)?,
                    host,
                })
            };
            act.hosts()?.into_iter().map(standing).collect()
        })
    }

    /// Delegations, newest first.
    pub fn sessions(&self, which: &Which, most: usize) -> Result<Vec<Delegation>, Refusal> {
        self.list(|act| Ok(act.delegations(which, most)?))
    }

    fn list<T>(&self, work: impl FnMut(&dyn crate::store::Act) -> Result<T, Failed>) -> Result<T, Refusal> {
        self.look(work).map_err(|failed| match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Store(error) => fault("store.failed", error),
        })
    }
}
