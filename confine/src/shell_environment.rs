//! The environment of an agent's shell, from nothing: what the account file says, and what sshd says about
//! terminal, language and connection.
#![forbid(unsafe_code)]

use crate::shell::is_printable;
use std::ffi::OsString;
use tether_accountfile::AccountFile;

/// Names and values.
pub type Environment = Vec<(OsString, OsString)>;

/// With sbin, so that `ss` or `ip` are found by name: what they may do is not a question of the path.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
const PASSED_ON: &[&str] = &["TERM", "LANG", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"];

/// Builds it.
pub fn environment(account: &AccountFile, inherited: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let own = [
        ("HOME", account.home.as_str()),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("PATH", PATH),
        ("SHELL", "/bin/bash"),
        ("TMPDIR", "/tmp"),
        ("TETHER_SESSION", &account.session),
    ];
    let own = own.into_iter().map(|(name, value)| (name.into(), value.into()));
    own.chain(inherited.filter(|(name, value)| is_passed_on(name) && is_printable(value))).collect()
}

fn is_passed_on(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_locale = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    PASSED_ON.contains(&name) || name.strip_prefix("LC_").is_some_and(is_locale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_built_from_nothing() {
        let account = AccountFile {
            name: "ag-a".into(),
            uid: 65536,
            gecos: "x".into(),
            home: "/run/tether/home".into(),
            shell: "/s".into(),
            session: "s1".into(),
            principal: Some("p".into()),
        };
        let inherited = "TERM=xterm LANG=C LC_TIME=C LC_=x SSH_TTY=/dev/pts/1 BASH_ENV=/x ENV=/x LD_PRELOAD=/x HOME=/evil \
                         PATH=/evil USER=root TETHER_SESSION=other PS4=x PROMPT_COMMAND=x LC_x=y SSH_CONNECTION=a\u{1b}[0m";
        let inherited = inherited.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.into(), value.into())
        });
        let found: Vec<String> = environment(&account, inherited)
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        let expected = [
            "HOME=/run/tether/home",
            "USER=ag-a",
            "LOGNAME=ag-a",
            &format!("PATH={PATH}"),
            "SHELL=/bin/bash",
            "TMPDIR=/tmp",
            "TETHER_SESSION=s1",
            "TERM=xterm",
            "LANG=C",
            "LC_TIME=C",
            "SSH_TTY=/dev/pts/1",
        ];
        assert_eq!(found, expected);
    }
}
