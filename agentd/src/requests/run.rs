//! `tether run`: the same decision and the same launcher as under sudo, without sudo. agentd decides and hands over;
//! the runner (`confine/src/runner.rs`) starts the launcher, since what agentd starts would have its unit's limits.

use super::plan::PLAN_SPAN;
use super::sudo::internal;
use super::{Response, not_yours};
use crate::clock::Moment;
use crate::host::{Handed, Host, Lent, PlanPhase, RunPart, Way, awaiting};
use crate::watch::Watched;
use crate::world::process::{self, Process};
use tether_hostlink::{CommandLine, Refusal, Reply};
use tether_identity::SessionId;

/// agentd was restarted and found no process that is in them.
const NO_WORLD: &str = "the session's namespaces are gone";

impl Host {
    /// May this agent run this? If so, the connection waits for the end.
    pub(super) fn run(&mut self, id: &SessionId, peer: &Process, argv: Vec<String>, lent: &Lent) -> Response {
        // From the kernel: where it says it is would be its own word.
        let (cwd, tty) = (process::folder_of(peer.pid), process::terminal_of(peer.pid));
        let line = CommandLine { argv, cwd, tty, terminal: None };
        match self.ready_to_run(id, peer, &line, lent) {
            Ok(response) => response,
            Err(refusal) => {
                self.record_sudo_refused((id, peer), &line, Way::Run, &refusal);
                Err(refusal).into()
            }
        }
    }

    fn ready_to_run(
        &mut self,
        id: &SessionId,
        peer: &Process,
        line: &CommandLine,
        lent: &Lent,
    ) -> Result<Response, Refusal> {
        if lent.len() != 3 {
            return Err(Refusal::new("run.descriptors", "what the command gets as 0, 1 and 2 did not come with it"));
        }
        let planned = self.plan(id, peer, line, Way::Run)?;
        let (reply, name) = (planned.reply(), planned.name().to_owned());
        let (teller, awaited, lifeline) = awaiting().map_err(|error| internal(&error))?;
        let plan = self.plans.get_mut(&name).ok_or_else(not_yours)?;
        let handed = Handed { planned, lifeline, lent: Lent::clone(lent) };
        plan.run = Some(RunPart { handed: Some(handed), teller });
        let awaited = Some((name, awaited));
        Ok(Response { awaited, ..Response::with(reply, Vec::new()) })
    }

    /// The runner takes what it is to start, and is who asked from now on. It is put into the session's cgroup, as a
    /// sudo of the agent's would be there.
    pub(super) fn hand_over(&mut self, peer: &Process, name: &str) -> Result<Response, Refusal> {
        let void = || Refusal::new("plan.void", "the plan is over, or was taken before");
        let plan = self.plans.get(name).ok_or_else(void)?;
        if plan.phase != PlanPhase::Allowed || plan.until < Moment::now() {
            return Err(void());
        }
        let id = plan.session.clone();
        let uid = self.still_allowed(plan)?.uids.login;
        let asker = peer.pin().map_err(|error| internal(&error))?;
        let folder = self.cgroups.folder(&id).map_err(|error| internal(&error))?;
        let ipc = self.worlds.get(&id).ok_or_else(|| Refusal::new("host.world", NO_WORLD))?.ipc.try_clone();
        let ipc = ipc.map_err(|error| internal(&error))?;
        let part = self.plans.get_mut(name).and_then(|plan| plan.run.as_mut());
        let Handed { planned, lifeline, lent } = part.and_then(|part| part.handed.take()).ok_or_else(void)?;
        // Only now: how long systemd took is not the command's fault. What may have changed in that time is looked at
        // again, here and by `begin`.
        let until = Moment::now().plus(PLAN_SPAN);
        let planned = planned.taken(until, self.ground.known());
        let mut descriptors = planned.descriptors().map_err(|error| internal(&error))?;
        if let Some(plan) = self.plans.get_mut(name) {
            plan.until = until;
        }
        self.cgroups.enter_login(&id, peer.pid).map_err(|error| internal(&error))?;
        self.ask_through(name, peer.pid, asker).map_err(|error| internal(&error))?;
        descriptors.extend([lifeline, folder, ipc]);
        Ok(Response { lent: Some(lent), ..Response::with(Reply::Taken { uid }, descriptors) })
    }

    /// Makes the runner the one who asked.
    fn ask_through(&mut self, name: &str, pid: u32, asker: std::os::fd::OwnedFd) -> std::io::Result<()> {
        let watched = Watched::Asker { plan: name.to_owned() };
        self.watch.forget(&watched);
        self.watch.add(asker.try_clone()?, watched)?;
        if let Some(plan) = self.plans.get_mut(name) {
            plan.asker = asker;
            plan.asker_pid = pid;
        }
        Ok(())
    }
}
