//! `tether-shell`: the login shell of agents' accounts. sshd runs it as the account's uid, with no argument
//! for a login and with `-c COMMAND` otherwise.
//!
//! Invariants: nothing of the session runs before it, so no rc file is read; the environment is built from
//! nothing; a login that agentd has not bound to a session, seen by its cgroup, ends here; nothing runs that is not
//! recorded ([`crate::recorder`]).
#![forbid(unsafe_code)]

use crate::limits;
use crate::recorder::{Asked, record};
use crate::refusal::failed;
use crate::shell_environment::{Environment, environment};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, geteuid, getuid, set_dumpable_behavior, umask};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use tether_accountfile::{AccountFile, Store, is_agent_uid};
use tether_hostlink::{Refusal, paths::CGROUP};

/// Becomes the shell. Comes back only when it refuses.
pub fn run(
    arguments: impl Iterator<Item = OsString>,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Infallible, Refusal> {
    // The package has this program unreadable as well, so that it is so from its first instruction on.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| failed("shell.dumpable", "prctl", errno))?;
    let account = account()?;
    refuse_unless_bound(&account)?;
    let inherited: Vec<_> = inherited.collect();
    let command = command_of(parse(arguments.skip(1).collect())?, &inherited);
    umask(Mode::from_raw_mode(0o077));
    limits::login("shell.limits")?;
    let text = command.as_ref().map(|command| command.to_string_lossy().into_owned());
    let transfers = text.as_deref().is_some_and(is_transfer);
    let shell = shell(command, environment(&account, inherited.into_iter()));
    record(Asked { uid: account.uid, command: text, transfers, shell })
}

/// What sshd's `ForceCommand` says for every channel of an agent: run what was asked for, whatever that was. It keeps
/// sshd from serving `internal-sftp` by itself, which nobody would record.
const FORCED: &str = "tether-session";
/// Where sshd puts what was asked for.
const ORIGINAL: &str = "SSH_ORIGINAL_COMMAND";
const INTERNAL_SFTP: &str = "internal-sftp";
/// The same as a program, where distributions have it.
const SFTP_SERVERS: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];

fn command_of(given: Option<OsString>, inherited: &[(OsString, OsString)]) -> Option<OsString> {
    if given.as_ref().is_none_or(|command| command != FORCED) {
        return given;
    }
    let asked = inherited.iter().find(|(name, _)| name == ORIGINAL).map(|(_, value)| value.clone())?;
    let rest = asked.to_str().and_then(|text| text.strip_prefix(INTERNAL_SFTP));
    let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with(' ')) else { return Some(asked) };
    let server = SFTP_SERVERS.into_iter().find(|path| std::path::Path::new(path).exists());
    Some(format!("exec {}{rest}", server.unwrap_or(INTERNAL_SFTP)).into())
}

/// Whether a command is the far half of scp, sftp or rsync.
fn is_transfer(command: &str) -> bool {
    let mut words = command.split_ascii_whitespace().skip_while(|word| *word == "exec");
    let program = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    match program {
        "sftp-server" | "internal-sftp" => true,
        "scp" => words.any(|word| matches!(word, "-t" | "-f")),
        "rsync" => words.next() == Some("--server"),
        _ => false,
    }
}

/// The account that this process runs as.
fn account() -> Result<AccountFile, Refusal> {
    let uid = getuid().as_raw();
    if !is_agent_uid(uid) || geteuid().as_raw() != uid {
        return Err(Refusal::new(
            "shell.not_an_agent",
            format!("tether-shell is for agents' accounts, not for uid {uid}"),
        )
        .hint("give this account another login shell: `chsh`"));
    }
    let found =
        Store::HOST.by_uid(uid).map_err(|error| failed("shell.no_account", "reading the account file", error))?;
    let may_log_in = found.filter(|account| account.principal.is_some());
    may_log_in.ok_or_else(|| Refusal::new("shell.no_account", format!("uid {uid} has no account that may log in")))
}

fn refuse_unless_bound(account: &AccountFile) -> Result<(), Refusal> {
    let unbound = || {
        Refusal::new("shell.not_bound", "this shell runs only inside a session")
            .hint("log in with a certificate for this session; agentd binds the connection when it opens")
    };
    let cgroups = std::fs::read("/proc/self/cgroup").map_err(|_| unbound())?;
    let is_bound = is_in_session(&String::from_utf8_lossy(&cgroups), &account.session);
    is_bound.then_some(()).ok_or_else(unbound)
}

/// Whether the v2 path has the session's folder in it, directly below the one of all sessions.
fn is_in_session(cgroups: &str, session: &str) -> bool {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let components: Vec<_> = path.split('/').collect();
    !session.is_empty() && components.windows(2).any(|pair| pair == [CGROUP, session])
}

/// Nothing, for a login, or `-c COMMAND`.
fn parse(arguments: Vec<OsString>) -> Result<Option<OsString>, Refusal> {
    match <[OsString; 2]>::try_from(arguments) {
        Ok([flag, command]) if flag == "-c" => Ok(Some(command)),
        Err(none) if none.is_empty() => Ok(None),
        _ => Err(Refusal::new("shell.arguments", "tether-shell takes nothing or `-c COMMAND`")),
    }
}

fn shell(command: Option<OsString>, environment: Environment) -> Command {
    // Debian's bash reads ~/.bashrc with -c too when it thinks that sshd started it; hence --norc always.
    let bash = std::path::Path::new("/bin/bash").exists();
    let mut shell = Command::new(if bash { "/bin/bash" } else { "/bin/sh" });
    if bash {
        shell.args(["--noprofile", "--norc"]);
    }
    match command {
        Some(command) => shell.arg("-c").arg(command),
        None if std::io::stdin().is_terminal() => shell.arg("-i"),
        None => &mut shell,
    };
    shell.env_clear().envs(environment);
    shell
}

/// Only for the bytes of a value: names are ours.
pub(crate) fn is_printable(value: &OsString) -> bool {
    let bytes = value.clone().into_vec();
    bytes.len() <= 256 && bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_its_cgroup() {
        for bound in ["0::/tether.sessions/s1", "1:x:/a\n0::/tether.sessions/s1/login\n", "0::/../tether.sessions/s1\n"]
        {
            assert!(is_in_session(bound, "s1"), "{bound}");
        }
        for unbound in [
            "",
            "0::/\n",
            "0::/tether.sessions\n",
            "0::/tether.sessions/s2\n",
            "0::/tether.sessions/s11\n",
            "0::/tether.sessions/x/s1\n",
            "0::/user.slice/tether.sessions.s1\n",
            "1:x:/tether.sessions/s1\n",
        ] {
            assert!(!is_in_session(unbound, "s1"), "{unbound}");
        }
        assert!(!is_in_session("0::/tether.sessions/\n", ""));
    }

    #[test]
    fn only_what_sshd_passes_is_taken() {
        let parsed = |arguments: &[&str]| parse(arguments.iter().map(OsString::from).collect()).ok();
        assert_eq!(parsed(&[]), Some(None));
        assert_eq!(parsed(&["-c", "id; id"]), Some(Some("id; id".into())));
        for wrong in [&["-c"][..], &["-l"], &["-c", "a", "b"], &["-i", "x"], &["script"]] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_sshd_was_asked_for_is_run() {
        let of = |given: Option<&str>, asked: Option<&str>| {
            let inherited: Vec<_> = asked.map(|asked| (ORIGINAL.into(), asked.into())).into_iter().collect();
            command_of(given.map(OsString::from), &inherited).map(|command| command.into_string().unwrap())
        };
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some("id"), Some("evil")).as_deref(), Some("id"), "only where it was forced");
        assert_eq!(of(Some(FORCED), None), None, "a login");
        assert_eq!(of(Some(FORCED), Some("id; id")).as_deref(), Some("id; id"));
        assert_eq!(of(Some(FORCED), Some("internal-sftpx")).as_deref(), Some("internal-sftpx"));
        let sftp = of(Some(FORCED), Some("internal-sftp -l INFO")).unwrap();
        assert!(sftp.starts_with("exec ") && sftp.ends_with(" -l INFO"), "{sftp}");
    }

    #[test]
    fn a_transfer_is_known_by_its_far_half() {
        for command in [
            "/usr/lib/openssh/sftp-server",
            "scp -t .",
            "scp -r -f /x",
            "rsync --server -e.L . x",
            "exec /x/sftp-server",
        ] {
            assert!(is_transfer(command), "{command}");
        }
        for command in ["", "ls", "scp", "scp a b", "rsync a b", "echo scp -t"] {
            assert!(!is_transfer(command), "{command}");
        }
    }

    #[test]
    fn no_rc_file_is_read() {
        let shell = shell(Some("id".into()), Vec::new());
        let arguments: Vec<_> = shell.get_args().collect();
        assert_eq!(arguments, ["--noprofile", "--norc", "-c", "id"]);
    }
}
