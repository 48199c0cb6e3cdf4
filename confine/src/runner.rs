//! `tether-runner`: started by systemd for agentd, with the name of a plan; runs the launcher for `tether run`.
//!
//! agentd does not start the launcher itself: the command would be under its unit's limits. The runner is to the
//! launcher what sudo is: its parent, with the session's loginuid, in the session's cgroup.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, openat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};
use tether_hostlink::paths::{CONFINE, is_agent_uid};
use tether_hostlink::{Answer, Deadline, Link, LinkError, Refusal, Reply, Request, codes};

/// How long agentd may take for each question, and its caller for the name.
const ANSWER: Duration = Duration::from_secs(2);
/// How long agentd is told how the command ended, at most, and how long the pause between two tries is.
const TOLD: Duration = Duration::from_secs(30);
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A plan's name: so many hexadecimal digits.
const NAME: usize = 32;
/// The plan, the program, the host's mounts and network; more are path arguments.
const OF_PLAN_LEAST: usize = 4;
/// The lifeline, the session's cgroup, its IPC namespace, and the command's 0, 1 and 2.
const OWN: usize = 6;
const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// What agentd hands over.
struct Taken {
    uid: u32,
    of_plan: Vec<OwnedFd>,
    lifeline: OwnedFd,
    cgroup: OwnedFd,
    ipc: OwnedFd,
    lent: [OwnedFd; 3],
}

/// Runs the launcher of the plan that stdin names, and tells agentd how it ended. By a process of its own: the one that
/// systemd started is put into its unit's cgroup by systemd, too, before version 254 (`exec_spawn` in src/core/execute.c),
/// and that may come when agentd has put it into the session's. It would be nobody's then, and so would its launcher.
pub fn run() -> Result<ExitCode, Refusal> {
    let wrong = |why: &dyn std::fmt::Display| failed("run.launcher", "splitting the runner", why);
    let started = getpid();
    let Some(child) = sys::fork().map_err(|error| wrong(&error))? else {
        // What ends the one ends the other, and then agentd the command.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| wrong(&errno))?;
        if getppid() != Some(started) {
            return Err(wrong(&"the process that systemd started is gone"));
        }
        return serve().map(|()| ExitCode::SUCCESS);
    };
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(wrong(&errno)),
            Ok(ended) => {
                let code = ended.and_then(|(_, status)| status.exit_status()).and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
        }
    }
}

fn serve() -> Result<(), Refusal> {
    let name = read_name()?;
    let Taken { uid, of_plan, lifeline, cgroup, ipc, lent } = take(&name)?;
    // From here on a refusal is told where the command would have printed.
    become_its(lent)?;
    log_in_as(uid)?;
    enter_ipc(&ipc)?;
    let mut launcher = start(&of_plan)?;
    drop(of_plan);
    let status = wait(&mut launcher, &lifeline, &cgroup, &name)?;
    // agentd sees this process's end too: news that does not arrive is not lost.
    tell(&Request::Ended { plan: name, status: status.into_raw() }, &lifeline).map_err(unreachable_agentd)
}

/// The plan's name, as agentd sent it in one piece.
fn read_name() -> Result<String, Refusal> {
    let wrong = |why: &str| failed("run.plan", "reading the plan's name", why);
    let stdin = rustix::stdio::stdin();
    let timeout = Timespec::try_from(ANSWER).map_err(|_| wrong("no time"))?;
    let ready = poll(&mut [PollFd::from_borrowed_fd(stdin, PollFlags::IN)], Some(&timeout));
    if ready.map_err(|errno| wrong(&errno.to_string()))? == 0 {
        return Err(wrong("none came"));
    }
    let mut bytes = [0; NAME];
    let count = rustix::io::read(stdin, &mut bytes).map_err(|errno| wrong(&errno.to_string()))?;
    let name = bytes.get(..count).and_then(|bytes| std::str::from_utf8(bytes).ok()).filter(|name| is_name(name));
    name.map(str::to_owned).ok_or_else(|| wrong("it is none"))
}

fn is_name(text: &str) -> bool {
    text.len() == NAME && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn take(name: &str) -> Result<Taken, Refusal> {
    let unasked = || Refusal::new(codes::INTERNAL, "agentd answered something that was not asked; nothing was run");
    let Answer { reply, descriptors } = ask(&Request::Take { plan: name.to_owned() }).map_err(unreachable_agentd)?;
    let uid = match reply {
        Reply::Taken { uid } if is_agent_uid(uid) => uid,
        Reply::Refused(refusal) => return Err(refusal),
        _ => return Err(unasked()),
    };
    let (of_plan, own) = split(descriptors).ok_or_else(unasked)?;
    let [lifeline, cgroup, ipc, input, output, error] = own;
    Ok(Taken { uid, of_plan, lifeline, cgroup, ipc, lent: [input, output, error] })
}

/// The launcher's, and the runner's own.
fn split(mut descriptors: Vec<OwnedFd>) -> Option<(Vec<OwnedFd>, [OwnedFd; OWN])> {
    let at = descriptors.len().checked_sub(OWN).filter(|at| *at >= OF_PLAN_LEAST)?;
    // Of a service 0 to 2 are open, so no number of the launcher's is among them.
    let numbers_fit = descriptors.iter().all(|descriptor| descriptor.as_raw_fd() > 2);
    let own = descriptors.split_off(at).try_into().ok()?;
    numbers_fit.then_some((descriptors, own))
}

/// Makes the command's 0, 1 and 2 this process's.
fn become_its([input, output, error]: [OwnedFd; 3]) -> Result<(), Refusal> {
    let taken = dup2_stdin(input).and_then(|()| dup2_stdout(output)).and_then(|()| dup2_stderr(error));
    taken.map_err(|errno| failed("confine.descriptor", "taking the command's input and outputs", errno))
}

/// All that this starts belongs to the agent, for audit rules as for agentd.
fn log_in_as(uid: u32) -> Result<(), Refusal> {
    let written = std::fs::write("/proc/self/loginuid", uid.to_string());
    written.map_err(|error| failed("run.loginuid", "setting the login uid", error))
}

/// The session's queues and shared memory, not the host's. The launcher sees to mounts and network.
fn enter_ipc(namespace: &OwnedFd) -> Result<(), Refusal> {
    let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::InterProcessCommunication));
    entered.map_err(|errno| failed("run.ipc", "entering the session's IPC namespace", errno))
}

/// The launcher as sudo starts it, with the plan's descriptors, and nothing else of this process's.
fn start(of_plan: &[OwnedFd]) -> Result<Child, Refusal> {
    let wrong = |why: &dyn std::fmt::Display| failed("run.launcher", "starting the launcher", why);
    sys::close_others_at_exec().map_err(|error| wrong(&error))?;
    for descriptor in of_plan {
        fcntl_setfd(descriptor, FdFlags::empty()).map_err(|errno| wrong(&errno))?;
    }
    let numbers: Vec<String> = of_plan.iter().map(|descriptor| descriptor.as_raw_fd().to_string()).collect();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut launcher = Command::new(CONFINE);
    launcher.arg(format!("--descriptors={}", numbers.join(","))).current_dir("/").env_clear();
    if let Some((name, value)) = PATH.split_once('=') {
        launcher.env(name, value);
    }
    launcher.spawn().map_err(|error| wrong(&error))
}

/// Waits for the launcher; ends the command when the lifeline hangs up: its client is gone, or agentd.
fn wait(launcher: &mut Child, lifeline: &OwnedFd, cgroup: &OwnedFd, name: &str) -> Result<ExitStatus, Refusal> {
    let wrong = |why: &dyn std::fmt::Display| failed("run.launcher", "waiting for the launcher", why);
    let process =
        i32::try_from(launcher.id()).ok().and_then(Pid::from_raw).ok_or_else(|| wrong(&"it has no number"))?;
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(|errno| wrong(&errno))?;
    let mut both = [PollFd::new(&process, PollFlags::IN), PollFd::new(lifeline, PollFlags::IN)];
    loop {
        match poll(&mut both, None) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(wrong(&errno)),
            Ok(_) => break,
        }
    }
    let is_over = both.first().is_some_and(|process| !process.revents().is_empty());
    if !is_over {
        // Either may be gone already.
        let _ = pidfd_send_signal(&process, Signal::KILL);
        let _ = end_command(cgroup, name);
    }
    launcher.wait().map_err(|error| wrong(&error))
}

/// Kills all that the command started, as agentd would.
fn end_command(cgroup: &OwnedFd, name: &str) -> Result<(), Errno> {
    let path = format!("run-{name}/cgroup.kill");
    let kill = openat(cgroup, path, OFlags::WRONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::io::write(kill, b"1").map(drop)
}

/// Tells agentd how the command ended, again if agentd has no time: all that it knew otherwise is that this process is
/// gone, and the command would be one that was killed. A lifeline that hangs up says that it knows, or is gone itself.
fn tell(ended: &Request, lifeline: &OwnedFd) -> Result<(), LinkError> {
    let until = Instant::now() + TOLD;
    loop {
        let error = match ask(ended) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let hung_up = poll(&mut [PollFd::new(lifeline, PollFlags::IN)], Some(&AGAIN)).is_ok_and(|ready| ready > 0);
        if hung_up || Instant::now() >= until {
            return Err(error);
        }
    }
}

fn ask(request: &Request) -> Result<Answer, LinkError> {
    Link::open()?.ask(request, Deadline::after(ANSWER))
}

fn unreachable_agentd(error: LinkError) -> Refusal {
    Refusal::new(codes::UNREACHABLE, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    #[test]
    fn a_name_is_what_agentd_makes() {
        assert!(is_name("0123456789abcdef0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcdef0123456789abcde",
            "0123456789ABCDEF0123456789ABCDEF",
            "../../../../../../../../etc/pass",
        ] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_last_six_are_the_runners_own() {
        let all = some(12);
        let numbers: Vec<_> = all.iter().map(AsRawFd::as_raw_fd).collect();
        let (of_plan, own) = split(all).unwrap();
        assert_eq!(of_plan.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), numbers[..6]);
        assert_eq!(own.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), numbers[6..]);
        for count in [0, 4, 6, 9] {
            assert!(split(some(count)).is_none(), "{count}");
        }
    }
}
