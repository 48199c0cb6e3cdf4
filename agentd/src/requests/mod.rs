//! Who may ask what, and the answers.
//!
//! | request | listener | who may | when |
//! |---|---|---|---|
//! | `principals` | principals' | that user | a session has the account |
//! | `account` | root's | root outside of sessions | reserved or open |
//! | `open` | root's | the sshd that passed the account gate | reserved or open |
//! | `enter` | root's | the child of a bound sshd | open |
//! | `close` | root's | a bound sshd | always; a hint |
//! | `decide`, `commands` | root's | sudo inside a session | open |
//! | `report` | root's | sudo or PAM inside a session | always; for the record |
//! | `run`, `commands` | a session's | the agent in it | open |
//! | `record` | a session's for recorders | the agent in it | open |
//! | `take` | root's | root outside of sessions: the runner, once, within 6 s | open |
//! | `begin` | root's | the launcher inside a session, once, within 2 s | open |
//! | `ended`, `exceeded`, `unrecorded` | root's | the sudo that asked, or the runner | running |
//! | `status`, `end`, `stop`, `start` | root's | root outside of sessions | always |
//!
//! Root outside of sessions is uid 0 in the initial user namespace, not below our cgroup, with no agent's
//! loginuid: a root process that an agent got hold of is that agent. The agent in a session is its login uid in the
//! initial user namespace, with that loginuid, below that session's cgroup.

mod address;
mod admin;
mod confinement;
mod login;
mod plan;
mod principals;
mod record;
mod run;
mod sudo;

pub use plan::Planned;
pub use sudo::Recorded;

use crate::host::{Awaited, Host, Lent};
use crate::recorders::Recording;
use crate::session::Monitor;
use crate::watch::Service;
use crate::world::cgroup;
use crate::world::process::Process;
use std::os::fd::OwnedFd;
use tether_hostlink::{Peer, Refusal, Reply, Request, codes, paths};
use tether_identity::SessionId;

/// A reply, and the descriptors that go with it.
#[derive(Debug)]
pub struct Response {
    /// The reply.
    pub reply: Reply,
    /// The descriptors.
    pub descriptors: Vec<OwnedFd>,
    /// More of them, which others hold too.
    pub lent: Option<Lent>,
    /// A command of that name, whose end is the answer.
    pub awaited: Option<(String, Awaited)>,
    /// A command whose record the answer waits for.
    pub recorded: Option<Recorded>,
    /// What the connection is from here on.
    pub recording: Option<Box<Recording>>,
}

impl Response {
    /// A reply with descriptors of its own.
    fn with(reply: Reply, descriptors: Vec<OwnedFd>) -> Self {
        Self { reply, descriptors, lent: None, awaited: None, recorded: None, recording: None }
    }
}

impl From<Result<Reply, Refusal>> for Response {
    fn from(result: Result<Reply, Refusal>) -> Self {
        let reply = result.unwrap_or_else(Reply::Refused);
        Self::with(reply, Vec::new())
    }
}

/// Which socket a request came in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    /// Root's.
    Root,
    /// The principals command's.
    Principals,
    /// A session's own.
    Session(Service, SessionId),
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// The principals command.
    Principals,
    /// Root, outside of sessions.
    Root(Process),
    /// An sshd between the account gate and its session's end: pam_loginuid has made the agent its login.
    Login(Process),
    /// An sshd that a login of an agent belongs to, of which agentd knows nothing: it was restarted between the
    /// gates.
    Stray(Process),
    /// A process of root's inside a session: sudo, or the launcher that it started.
    Session(SessionId, Process),
    /// The agent in a session, by that session's own socket for this.
    Agent(Service, SessionId, Process),
}

impl Host {
    /// Answers one request. Whatever is not in the table is refused. `lent` is what came with it.
    pub fn answer(&mut self, listener: &Listener, peer: Peer, request: Request, lent: &Lent) -> Response {
        let asker = match self.asker(listener, peer) {
            Ok(asker) => asker,
            Err(refusal) => return Err(refusal).into(),
        };
        match (asker, request) {
            (Asker::Principals, Request::Principals(query)) => self.principals(&query).into(),
            (Asker::Root(peer), Request::Account { account, rhost }) => {
                self.account(&peer, &account, rhost.as_deref()).into()
            }
            (Asker::Login(peer), Request::Open(request)) => self.open(&peer, &request),
            (Asker::Login(peer), Request::Enter { account }) => self.enter(&peer, &account).into(),
            (Asker::Login(_), Request::Close { .. }) => Ok(Reply::Done).into(),
            (Asker::Root(_), Request::Status { after }) => Ok(Reply::Status(self.status(after.as_ref()))).into(),
            (Asker::Root(_), Request::End { session }) => self.end_by_admin(&session).into(),
            (Asker::Root(_), Request::Stop) => self.stop().into(),
            (Asker::Root(_), Request::Start) => self.go_on().into(),
            (Asker::Stray(peer), Request::Open(_) | Request::Enter { .. }) => self.end_stray(&peer).into(),
            (Asker::Session(session, peer), Request::Decide(line)) => self.decide(&session, &peer, &line),
            (Asker::Session(session, _) | Asker::Agent(Service::Run, session, _), Request::Commands) => {
                self.commands(&session).into()
            }
            (Asker::Agent(Service::Record, session, _), Request::Record(request)) => {
                self.record_channel(&session, request)
            }
            (Asker::Agent(Service::Run, session, peer), Request::Run { argv }) => self.run(&session, &peer, argv, lent),
            (Asker::Root(peer), Request::Take { plan }) => {
                self.hand_over(&peer, &plan).unwrap_or_else(|refusal| Err(refusal).into())
            }
            (Asker::Session(session, peer), Request::Report { refusal, argv }) => {
                self.report(&session, &peer, &refusal, &argv).into()
            }
            (Asker::Session(session, peer), Request::Begin { plan }) => {
                self.begin(&session, &peer, &plan).unwrap_or_else(|refusal| Err(refusal).into())
            }
            (Asker::Session(session, peer), Request::Exceeded { plan }) => self.exceeded(&session, &peer, &plan).into(),
            (Asker::Session(session, peer), Request::Unrecorded { plan }) => {
                self.unrecorded(&session, &peer, &plan).into()
            }
            (Asker::Session(session, peer), Request::Ended { plan, status }) => {
                self.ended(&session, &peer, &plan, status).into()
            }
            _ => Err(not_yours()).into(),
        }
    }

    fn asker(&self, listener: &Listener, peer: Peer) -> Result<Asker, Refusal> {
        match listener {
            // The socket is that user's alone, and root's; both may ask it nothing else.
            Listener::Principals => return Ok(Asker::Principals),
            Listener::Session(service, session) => return self.agent(*service, session, peer),
            Listener::Root => {}
        }
        let process = Process::look(peer.pid).map_err(|_| not_yours())?;
        if peer.uid != 0 || !process.initial_user_namespace {
            return Err(not_yours());
        }
        let inside = cgroup::is_agents(&process.cgroup);
        if !inside && self.serves_a_login(&process) {
            return Ok(Asker::Login(process));
        }
        if !inside && !process.loginuid.is_some_and(paths::is_agent_uid) {
            return Ok(Asker::Root(process));
        }
        if !inside {
            return Ok(Asker::Stray(process));
        }
        let session = cgroup::session_of(&process.cgroup).and_then(|id| self.sessions.get(&id));
        let session = session.filter(|session| process.loginuid == Some(session.uids.login)).ok_or_else(not_yours)?;
        Ok(Asker::Session(session.grant.session.clone(), process))
    }

    /// The agent of a session, by the kernel's word: root gets nothing here, nor does another uid of the session.
    fn agent(&self, service: Service, id: &SessionId, peer: Peer) -> Result<Asker, Refusal> {
        let session = self.sessions.get(id).ok_or_else(not_yours)?;
        let process = Process::look(peer.pid).map_err(|_| not_yours())?;
        let login = session.uids.login;
        let of_it = peer.uid == login
            && process.loginuid == Some(login)
            && process.initial_user_namespace
            && cgroup::session_of(&process.cgroup).as_ref() == Some(id);
        if of_it { Ok(Asker::Agent(service, id.clone(), process)) } else { Err(not_yours()) }
    }

    /// Whether a process is the monitor of a connection that passed the account gate, or its child.
    fn serves_a_login(&self, process: &Process) -> bool {
        let waits = self.pending.get(&process.pid).is_some_and(|pending| pending.start == process.start);
        let bound = |monitor: &Monitor| monitor.pid == process.pid || monitor.pid == process.parent;
        waits || self.sessions.values().flat_map(|session| session.monitors()).any(bound)
    }
}

/// The answer to what the table does not have.
pub(crate) fn not_yours() -> Refusal {
    Refusal::new(codes::NOT_YOURS, "this is not for you to ask, or not now")
}
