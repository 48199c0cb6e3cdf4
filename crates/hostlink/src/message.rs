//! What may be asked and answered. Who may ask what, in which phase, is agentd's table (ARCHITECTURE.md).

use crate::word::Word;
use serde::{Deserialize, Serialize};
use tether_identity::SessionId;

/// How many sessions one status lists.
pub const SESSIONS_PAGE: usize = 64;

/// A question to agentd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// sshd's principals command: who may log in with this key? No side effect.
    Principals(PrincipalsQuery),
    /// PAM account: do grant and freshness still stand? The peer is the sshd monitor.
    Account {
        /// The login name.
        account: String,
        /// The client's address as PAM has it (`PAM_RHOST`).
        rhost: Option<String>,
    },
    /// PAM open_session: bind this connection. Answered by [`Reply::Opened`] with the session's namespaces.
    Open(OpenRequest),
    /// PAM setcred in sshd's user child: put me into the session's cgroup; I enter its namespaces next.
    Enter {
        /// The login name.
        account: String,
    },
    /// PAM close_session: only a hint.
    Close {
        /// The login name.
        account: String,
    },
    /// sudo: may the agent that this process belongs to run this? Answered by [`Reply::Plan`].
    Decide(CommandLine),
    /// The launcher, as its last act before exec.
    Begin {
        /// [`Plan::plan`].
        plan: String,
    },
    /// sudo: the command is over.
    Ended {
        /// [`Plan::plan`].
        plan: String,
        /// The wait status as waitpid(2) gives it.
        status: i32,
    },
    /// sudo: the command printed more than [`Reply::Plan`] allowed. It is killed.
    Exceeded {
        /// [`Plan::plan`].
        plan: String,
    },
    /// sudo: what the command's terminal shows cannot be written down. It is killed.
    Unrecorded {
        /// [`Plan::plan`].
        plan: String,
    },
    /// sudo or PAM refused an agent something without asking: for the record. Answered by [`Reply::Done`].
    Report {
        /// What was refused and why.
        refusal: Refusal,
        /// What was typed, as far as that is known.
        argv: Vec<Word>,
    },
    /// `sudo -l`: what may the agent run? Answered by [`Reply::Commands`].
    Commands,
    /// `tether run`: run this for me. Descriptors: what the command gets as 0, 1 and 2. Answered by [`Reply::Ran`]
    /// when it is over. Folder and terminal are not asked for: agentd takes them from the kernel.
    Run {
        /// What was typed; the first is a name or a path.
        argv: Vec<String>,
    },
    /// The login shell, before anything of its channel runs: record it. Only at [`crate::paths::record_socket`].
    /// Answered by [`Reply::Recording`]; then the connection goes on as the recording's frames one way and
    /// acknowledgements the other (docs/recording-sessions.md).
    Record(RecordRequest),
    /// The runner: what am I to start? Answered by [`Reply::Taken`], once.
    Take {
        /// [`Plan::plan`].
        plan: String,
    },
    /// `tether session list`, `tether doctor`. Answered by [`Reply::Status`] with at most [`SESSIONS_PAGE`]
    /// sessions, since a frame has a limit.
    Status {
        /// Only sessions whose id is greater; all from the first if left out.
        #[serde(default)]
        after: Option<SessionId>,
    },
    /// `tether session end`: end one session.
    End {
        /// Which.
        session: SessionId,
    },
    /// `tether host stop`: end all sessions and admit none.
    Stop,
    /// `tether host start`: admit sessions again.
    Start,
}

/// A channel that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRequest {
    /// What it is.
    pub kind: Channel,
    /// The command, as text: what of it is no UTF-8 is U+FFFD. None for a login.
    pub command: Option<String>,
    /// Width of the terminal, in characters; 0 without one.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
    /// The recording that this one goes on from, when agentd was restarted meanwhile.
    #[serde(default)]
    pub continues: Option<Continued>,
}

/// How far a recording had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continued {
    /// Its name.
    pub name: String,
    /// How many bytes of output in it were acknowledged.
    pub bytes: u64,
}

/// What sort of channel is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// With a terminal.
    Tty,
    /// A command without one.
    Exec,
    /// A file transfer.
    Sftp,
}

/// What sshd knows before authentication (`%u %f %i %s %F` of sshd_config(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalsQuery {
    /// `%u`: the login name.
    pub account: String,
    /// `%f`: fingerprint of the certificate's key, `SHA256:…`.
    pub key: String,
    /// `%i`: the certificate's key id.
    pub key_id: String,
    /// `%s`: the certificate's serial.
    pub serial: String,
    /// `%F`: fingerprint of the CA's key.
    pub ca: String,
}

/// What PAM knows when a session opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The login name.
    pub account: String,
    /// `ssh-ed25519-cert-v01@openssh.com AAAA…`: the certificate that authenticated the connection.
    pub certificate: String,
    /// `SSH_CONNECTION`: client address, client port, server address, server port.
    pub connection: String,
}

/// A command line under sudo, as an array from end to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLine {
    /// What was typed; the first is a name or a path.
    pub argv: Vec<String>,
    /// Where it was typed.
    pub cwd: Word,
    /// The terminal, if there is one.
    pub tty: Option<String>,
    /// Columns and rows of the terminal that sudo will put between the command and the agent's own; none if its outputs
    /// are not both terminals, and the launcher copies.
    #[serde(default)]
    pub terminal: Option<[u16; 2]>,
}

/// What the launcher does: made by agentd, sealed in a memfd, valid once and for two seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Names the plan; random, known to agentd, usable once.
    pub plan: String,
    /// The session it belongs to.
    pub session: SessionId,
    /// The program's resolved path: shown, and argv\[0\]'s value.
    pub program: String,
    /// Device of the program, as in `st_dev`.
    pub device: u64,
    /// Inode of the program, as in `st_ino`.
    pub inode: u64,
    /// argv, first the name it was asked by.
    pub argv: Vec<String>,
    /// The whole environment, `NAME=value`.
    pub environment: Vec<String>,
    /// The session's read-only uid, and its gid.
    pub uid: u32,
    /// CLOCK_BOOTTIME after which it is void, in milliseconds.
    pub deadline_boottime_ms: u64,
    /// How many bytes it may print, both streams together.
    pub output_limit: u64,
    /// Whether a terminal is sudo's own, made for this command, and so handed on. Otherwise it is the agent's.
    #[serde(default)]
    pub terminals: bool,
    /// Who records what it prints.
    #[serde(default)]
    pub recorder: Recorder,
    /// What the launcher lets it do.
    pub confinement: Confinement,
}

/// Who writes down what a command prints. A descriptor for that comes last of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorder {
    /// Nobody: nothing is recorded on this host. There is no descriptor.
    #[default]
    Nobody,
    /// The launcher, as it copies.
    Launcher,
    /// Sudo's plugin, for a terminal of sudo's. The launcher does not get the descriptor.
    Sudo,
}

/// What the launcher lets a command do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Who it becomes.
    pub identity: Identity,
    /// Trees that it may read, less what is never read. In `listed` folders (/etc, /opt, /usr, /var/lib) a
    /// file that others cannot read is left out.
    pub trees: Vec<String>,
    /// Files and folders to be read although others cannot; the never-list still holds.
    pub named: Vec<String>,
    /// What it may write: files, and folders with all below. Empty in read-only mode.
    pub writes: Vec<String>,
    /// Whether input is handed on, if it is a pipe or terminal; otherwise it is /dev/null.
    pub stdin: bool,
    /// Processes' names and descriptors as plain files.
    pub proc_links: bool,
    /// Sockets of the kind AF_UNIX, and the system bus.
    pub dbus: bool,
    /// TCP destinations.
    pub net: Vec<std::net::SocketAddr>,
    /// Where it starts.
    pub cwd: String,
    /// How many descriptors follow the four of every plan: what path arguments mean, opened by agentd with O_PATH. The command
    /// may read these inodes (a folder: all below it).
    pub arguments: u32,
    /// Folders of programs that agentd has looked through. The launcher looks through the others itself.
    #[serde(default)]
    pub ground: Vec<Ground>,
}

/// A folder of programs that was looked through, and what in it is not to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The folder.
    pub path: String,
    /// Its device, as in `st_dev`.
    pub device: u64,
    /// Its inode, as in `st_ino`.
    pub inode: u64,
    /// Files and folders below it that stay out, relative to it.
    pub closed: Vec<String>,
}

impl Confinement {
    /// Reads nothing beyond the programs' own ground, writes nothing, starts in `/`.
    #[must_use]
    pub fn read_only() -> Self {
        Self {
            identity: Identity::ReadOnly,
            trees: Vec::new(),
            named: Vec::new(),
            writes: Vec::new(),
            stdin: false,
            proc_links: false,
            dbus: false,
            net: Vec::new(),
            cwd: "/".to_owned(),
            arguments: 0,
            ground: Vec::new(),
        }
    }
}

/// Who a command becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The session's read-only uid (the plan's `uid`), with CAP_DAC_READ_SEARCH and CAP_SYSLOG.
    ReadOnly,
    /// Of a write rule: this account, with no capabilities, or root's reduced set.
    RunAs {
        /// Uid.
        uid: u32,
        /// Gid.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
    },
}

/// agentd's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Reply {
    /// It stands, or it is done.
    Done,
    /// It does not.
    Refused(Refusal),
    /// The principals of which a certificate must hold one.
    Principals {
        /// One per line of the principals command's output.
        principals: Vec<String>,
    },
    /// The session is bound. Descriptors: mount, IPC and network namespace.
    Opened {
        /// Which session.
        session: SessionId,
    },
    /// The command may run. Descriptors: the sealed plan, the program, the host's mount namespace, the
    /// host's network namespace, and then what its path arguments mean.
    Plan {
        /// Names the plan in [`Request::Ended`].
        plan: String,
        /// How many bytes it may print, both streams together.
        output_limit: u64,
        /// Who records it.
        #[serde(default)]
        recorder: Recorder,
    },
    /// What the agent may run, one line each, as a person would type it.
    Commands {
        /// The bundle's name and version.
        bundle: String,
        /// The lines.
        commands: Vec<String>,
        /// How many did not fit.
        left_out: u64,
        /// The same as data, for a program or a model.
        rules: serde_json::Value,
    },
    /// The command is over.
    Ran {
        /// The wait status as waitpid(2) gives it.
        status: i32,
        /// Why it was cut short, if it was.
        cut: Option<Refusal>,
    },
    /// What the runner is to start. Descriptors: those of [`Reply::Plan`]; a pipe whose other end closes when the
    /// command must end; the session's cgroup and IPC namespace; and the command's 0, 1 and 2.
    Taken {
        /// The session's login uid.
        uid: u32,
    },
    /// The channel is recorded from here on.
    Recording {
        /// The recording's name in its session.
        name: String,
    },
    /// How this host stands.
    Status(StatusReport),
}

/// A refusal, made for its reader: a person at a terminal, or a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text} [{code}]")]
pub struct Refusal {
    /// Stable, for programs and for the audit record, for example `bundle.no_rule`.
    pub code: String,
    /// What was refused and why.
    pub text: String,
    /// What to do instead.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into(), hint: None }
    }

    /// The same, with what to do instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Codes that both sides need to know.
pub mod codes {
    /// agentd did not answer, or not in time.
    pub const UNREACHABLE: &str = "agentd.unreachable";
    /// A module met something it never should.
    pub const INTERNAL: &str = "internal";
    /// The request is not one that this peer may make, or not now.
    pub const NOT_YOURS: &str = "request.not_yours";
}

/// How a host stands: for the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// agentd's version.
    pub version: String,
    /// This host's id.
    pub host: String,
    /// `starting`, `admitting`, `stale` or `stopped`; or why the audit chain shuts agents out, such as `audit.cut`.
    pub state: String,
    /// Number of the last statement taken from the feed.
    pub feed: u64,
    /// Seconds since the last head was signed; none before the first.
    pub head_age_s: Option<u64>,
    /// The bundles that the feed names, and whether they may be used.
    #[serde(default)]
    pub bundles: Vec<BundleSummary>,
    /// How the audit chain stands.
    #[serde(default)]
    pub audit: AuditSummary,
    /// Sessions that are not gone: one page of them.
    pub sessions: Vec<SessionSummary>,
}

/// The audit chain of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSummary {
    /// How many records there are.
    pub records: u64,
    /// The last record that a signed head covers.
    pub signed: u64,
    /// The last record that central has countersigned.
    pub countersigned: u64,
    /// Its size on disk.
    pub bytes: u64,
    /// The code with which agents are refused because of it, such as `audit.full`.
    pub closed: Option<String>,
}

/// One bundle of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleSummary {
    /// The name that grants use.
    pub name: String,
    /// The version that is here; none if none came.
    pub version: Option<u64>,
    /// The version that the feed names.
    pub named: u64,
    /// `usable`, or the code with which commands are refused, such as `bundle.stale`.
    pub state: String,
}

/// One session in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Its id.
    pub session: SessionId,
    /// The workload principal.
    pub principal: String,
    /// The login name.
    pub account: String,
    /// The login account's uid.
    pub uid: u32,
    /// `reserved`, `open` or `closing`.
    pub state: String,
    /// When it was reserved, seconds since 1970.
    pub since: u64,
}
