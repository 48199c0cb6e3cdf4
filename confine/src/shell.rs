//! The login shell of agents' accounts: a clean environment, limits, then a shell without anybody's rc files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::Command;
use tether_accountfile::{AccountFile, FILE_MAX};
use tether_hostlink::paths::{ACCOUNTS, CGROUP, is_agent_uid};

const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
/// What of sshd's environment goes on. Everything else could have been the agent's to choose.
const KEPT: [&str; 8] = ["TERM", "LANG", "LC_ALL", "LC_CTYPE", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY", "TZ"];

/// No core files; and since a uid is one session's alone, a limit on the processes of the whole session.
const LIMITS: [(Resource, u64); 2] = [(Resource::Core, 1), (Resource::Nproc, 512)];

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
pub enum NoShell {
    /// Not an agent's uid.
    #[error("this is the shell of agents' accounts, and uid {0} is none [shell.not_an_agent]")]
    NotAnAgent(u32),
    /// No account file.
    #[error("the account of uid {0} is gone [session.ended]")]
    NoAccount(u32),
    /// Outside of the session.
    #[error("this shell runs only inside its session, and this process is in {0:?} [session.not_bound]")]
    Outside(String),
    /// Wrong use.
    #[error("usage: tether-shell [-c COMMAND] [shell.usage]")]
    Usage,
    /// No shell to run.
    #[error("no shell can be started: {0} [shell.exec]")]
    Exec(std::io::Error),
    /// A limit cannot be set.
    #[error("a limit cannot be set: {0} [shell.limits]")]
    Limit(rustix::io::Errno),
}

/// Becomes the shell. Returns only if that is refused.
pub fn run(arguments: &[String]) -> NoShell {
    match exec(arguments) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn exec(arguments: &[String]) -> Result<Infallible, NoShell> {
    let uid = rustix::process::getuid().as_raw();
    if !is_agent_uid(uid) || rustix::process::geteuid().as_raw() != uid {
        return Err(NoShell::NotAnAgent(uid));
    }
    let account = account_of(uid).ok_or(NoShell::NoAccount(uid))?;
    check_inside(&account)?;
    for (resource, most) in LIMITS {
        let lower = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        let limit = Rlimit { current: Some(lower), maximum: Some(lower) };
        setrlimit(resource, limit).map_err(NoShell::Limit)?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let shell = SHELLS.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap_or("/bin/sh");
    let mut command = Command::new(shell);
    // bash reads ~/.bashrc even for `-c` when sshd started it: what an earlier command wrote there would run.
    if shell == "/bin/bash" {
        command.args(["--noprofile", "--norc"]);
    }
    match arguments {
        [] => {}
        [flag, text] if flag == "-c" => {
            command.args(["-c", text]);
        }
        _ => return Err(NoShell::Usage),
    }
    let current: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    command.env_clear().envs(environment(&account, shell, &current));
    Err(NoShell::Exec(command.exec()))
}

fn account_of(uid: u32) -> Option<AccountFile> {
    let bytes = std::fs::read(format!("{ACCOUNTS}/uid/{uid}")).ok()?;
    AccountFile::read(bytes.get(..bytes.len().min(FILE_MAX))?).filter(|account| account.uid == uid)
}

/// A login that PAM did not bind has none of the session's namespaces, and not its cgroup either.
fn check_inside(account: &AccountFile) -> Result<(), NoShell> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let mut parts = path.split('/').skip_while(|part| *part != CGROUP);
    if parts.next().is_some() && parts.next() == Some(account.session.as_str()) {
        return Ok(());
    }
    Err(NoShell::Outside(path.to_owned()))
}

fn environment(account: &AccountFile, shell: &str, current: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let ours = [
        ("HOME", account.home.as_str()),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("SHELL", shell),
        ("PATH", PATH),
        ("TMPDIR", "/tmp"),
        ("TETHER_SESSION", &account.session),
    ];
    let plain = |text: &&String| text.len() <= 256 && !text.chars().any(char::is_control);
    let kept = KEPT.iter().filter_map(|name| Some((*name, current.get(*name).filter(plain)?.as_str())));
    ours.into_iter().chain(kept).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_variables_go_on() {
        let account = AccountFile {
            name: "ag-a".into(),
            uid: 65536,
            gecos: String::new(),
            home: "/h".into(),
            shell: "/s".into(),
            session: "s".into(),
            principal: None,
        };
        let current = [
            ("TERM", "xterm"),
            ("LD_PRELOAD", "/tmp/x.so"),
            ("BASH_ENV", "/tmp/x"),
            ("PATH", "/tmp"),
            ("LANG", "a\nb"),
        ];
        let current = current.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let made = environment(&account, "/bin/bash", &current);
        let get = |name: &str| made.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(get("TERM"), Some("xterm"));
        assert_eq!(get("PATH"), Some(PATH));
        assert_eq!((get("LD_PRELOAD"), get("BASH_ENV"), get("LANG")), (None, None, None));
    }
}
