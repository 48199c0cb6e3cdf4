//! Commands on a host: in all its namespaces, beside its pid 1 in its cgroup.

use std::ffi::CString;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::Host;
use super::collector::Collector;
use crate::error::{Context, Error, Result};
use crate::image::PATH;
use crate::scratch::aside;
use crate::sys::{Pidfd, Step, before_exec};
use crate::world::forbid;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// What pid 1 lives in; its pid namespace is entered by the thread that forks, since only children change theirs.
const ENTERED: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// Becomes a user the host's own look-up knows: a shell that sets the environment, then setpriv.
const AS_USER: &str = r#"entry=$(getent passwd "$0") || { echo "no user $0" >&2; exit 126; }
export USER="$0" LOGNAME="$0" HOME="$(echo "$entry" | cut -d: -f6)"
exec setpriv --reuid="$(id -u "$0")" --regid="$(id -g "$0")" --init-groups -- "$@""#;

/// A command on a host. It starts with a clean environment, in `/`, in a session of its own, as root.
#[derive(Clone, Debug)]
pub struct HostCommand<'h> {
    host: &'h Host,
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    folder: String,
    stdin: Vec<u8>,
    user: Option<String>,
    timeout: Duration,
}

impl<'h> HostCommand<'h> {
    pub(super) fn new(host: &'h Host, program: &str) -> Self {
        HostCommand {
            host,
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            folder: "/".to_owned(),
            stdin: Vec::new(),
            user: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| arg.to_string()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it in a folder of the host.
    pub fn current_dir(mut self, folder: &str) -> Self {
        self.folder = folder.to_owned();
        self
    }

    /// What it reads on stdin; for [`HostCommand::output`].
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs it as a user of the host, with its groups and home and without PAM.
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// How long it may take (120 s unless said otherwise); for [`HostCommand::output`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Runs it to its end; another exit status than 0 is no error. When the time is over it is killed and the error
    /// holds what it wrote.
    pub fn output(&self) -> Result<Output> {
        let deadline = Instant::now() + self.timeout;
        let mut child = self.spawn()?;
        let pidfd = Pidfd::open(child.id() as i32).context("open a pidfd of", &self.program)?;
        if let Some(mut pipe) = child.stdin.take() {
            let bytes = self.stdin.clone();
            // A command that does not read all of it is not wrong.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = Collector::start(child.stdout.take());
        let stderr = Collector::start(child.stderr.take());
        let ended = pidfd.wait_end(deadline).context("wait for", &self.program)?;
        // What it left running may keep the pipes open.
        let (stdout, whole_out) = stdout.finish(deadline);
        let (stderr, whole_err) = stderr.finish(deadline);
        if !(ended && whole_out && whole_err) {
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
        }
        let status = child.wait().context("wait for", &self.program)?;
        let output = Output { status, stdout, stderr };
        if ended && whole_out && whole_err {
            return Ok(output);
        }
        let what = if ended { "ended, but a child of it keeps its output open" } else { "was killed" };
        let detail = Error::command(what, &output).to_string();
        Err(Error::Timeout { what: self.describe(), after: self.timeout, detail })
    }

    /// Starts it with pipes for stdin, stdout and stderr, and leaves the rest to the caller.
    pub fn spawn(&self) -> Result<Child> {
        let mut command = self.prepare()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.start(command, true)
    }

    /// Runs it with this process's own stdin, stdout and stderr, on its terminal if it has one.
    pub fn status(&self) -> Result<ExitStatus> {
        self.start(self.prepare()?, false)?.wait().context("wait for", &self.program)
    }

    fn prepare(&self) -> Result<Command> {
        let mut command = match &self.user {
            None => Command::new(&self.program),
            Some(user) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", AS_USER, user, &self.program]);
                shell
            }
        };
        command.args(&self.args).env_clear();
        command.envs([("PATH", PATH), ("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root"), ("LC_ALL", "C.UTF-8")]);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn start(&self, mut command: Command, own_session: bool) -> Result<Child> {
        let host = self.host;
        let pid1 = || match host.machine().as_ref() {
            Some(machine) => machine.pidfd().context("share the pidfd of", host.name()),
            None => Err(host.is_down()),
        };
        let mut steps: Vec<Step> = host.cgroup().doors()?.into_iter().map(Step::JoinCgroup).collect();
        steps.push(Step::Enter(pid1()?, ENTERED));
        steps.push(Step::ChangeDir(
            CString::new(self.folder.as_str()).map_err(std::io::Error::from).context("enter", &self.folder)?,
        ));
        steps.push(Step::ForgetLogin);
        steps.extend(forbid());
        if own_session {
            steps.push(Step::NewSession);
        }
        before_exec(&mut command, steps);
        let pid1 = pid1()?;
        aside(move || {
            setns(pid1, CloneFlags::CLONE_NEWPID).context("enter the pid namespace of", host.name())?;
            command.spawn().context("start (on the host)", &self.program)
        })
    }

    fn describe(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args).cloned().collect::<Vec<_>>().join(" ");
        format!("on {}: {words}", self.host.name())
    }
}
