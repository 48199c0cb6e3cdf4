//! The file that makes an agent's account exist on a host.
//!
//! agentd writes it under `/run/tether/accounts/name/` and `…/uid/`; the NSS module answers look-ups
//! from it, the PAM module compares principals with it. Lines of `key=value` after a version line, read
//! strictly: what is not exactly this form is no account. Only libc beside it, since this is linked into
//! every process that looks up a name.
#![forbid(unsafe_code)]

mod store;

pub use store::Store;

/// The most bytes that an account file may have.
pub const FILE_MAX: usize = 4096;
/// Account files, `name/ag-…` and `uid/65536`. 0711: found by name, not listed.
pub const ACCOUNTS: &str = "/run/tether/accounts";
/// The lowest uid that an agent's account may have.
pub const UID_FIRST: u32 = 65536;
/// The highest uid that an agent's account may have; humans' subordinate uids start above.
pub const UID_LAST: u32 = 99999;

/// Whether a uid lies in the range that belongs to agents' accounts.
pub const fn is_agent_uid(uid: u32) -> bool {
    uid >= UID_FIRST && uid <= UID_LAST
}

/// Whether a name could be an agent's: a prefix of two to eight letters and `-`, then `a-z`, `0-9`, `-`; at
/// most 32 bytes. Names that fail cost a look-up no system call. The host's prefix is a setting, so any of
/// the right shape passes here; the account file decides.
pub fn has_account_shape(name: &[u8]) -> bool {
    let stem = name.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (2..=8).contains(&stem) && name.get(stem) == Some(&b'-') && name.len() <= 32 && name.iter().all(plain)
}

const VERSION_LINE: &str = "tether-account 1";

/// One account. All texts are free of control characters and `:`, so they fit passwd(5) lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountFile {
    /// The login name, `ag-…` or `ag-…-ro`.
    pub name: String,
    /// Its uid, and its gid too: each account is its own only group.
    pub uid: u32,
    /// For people: whose agent this is.
    pub gecos: String,
    /// The home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// The session that the account belongs to.
    pub session: String,
    /// The workload principal that a certificate must name; none for an account that never logs in.
    pub principal: Option<String>,
}

impl AccountFile {
    /// Reads a file's bytes. `None` for anything that [`AccountFile::write`] would not have written.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > FILE_MAX {
            return None;
        }
        let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n');
        if lines.next()? != VERSION_LINE {
            return None;
        }
        let mut field = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix('=');
        let file = Self {
            name: field("name")?.to_owned(),
            uid: number(field("uid")?)?,
            gecos: field("gecos")?.to_owned(),
            home: field("home")?.to_owned(),
            shell: field("shell")?.to_owned(),
            session: field("session")?.to_owned(),
            principal: Some(field("principal")?.to_owned()).filter(|text| !text.is_empty()),
        };
        (lines.next().is_none() && file.is_sound()).then_some(file)
    }

    /// The file's text; `None` if a field holds what no passwd line may hold.
    pub fn write(&self) -> Option<String> {
        let Self { name, uid, gecos, home, shell, session, .. } = self;
        let principal = self.principal.as_deref().unwrap_or_default();
        let text = format!(
            "{VERSION_LINE}\nname={name}\nuid={uid}\ngecos={gecos}\nhome={home}\nshell={shell}\nsession={session}\nprincipal={principal}\n"
        );
        (self.is_sound() && text.len() <= FILE_MAX).then_some(text)
    }

    fn is_sound(&self) -> bool {
        let plain = |text: &String| !text.chars().any(|c| c.is_control() || c == ':');
        !self.name.is_empty()
            && self.uid != 0
            && [&self.name, &self.gecos, &self.home, &self.shell, &self.session].into_iter().all(plain)
            && self.principal.as_ref().is_none_or(|text| !text.chars().any(char::is_control))
    }
}

/// Decimal digits without sign or leading zero.
fn number(text: &str) -> Option<u32> {
    let value: u32 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountFile {
        AccountFile {
            name: "ag-a".into(),
            uid: 65536,
            gecos: "agent triage of alice@example.org".into(),
            home: "/run/tether/home".into(),
            shell: "/usr/libexec/tether/tether-shell".into(),
            session: "0123456789abcdef".into(),
            principal: Some("tether://t/triage/alice@example.org".into()),
        }
    }

    #[test]
    fn it_reads_back() {
        let none = AccountFile { principal: None, ..account() };
        for file in [account(), none] {
            assert_eq!(AccountFile::read(file.write().unwrap().as_bytes()), Some(file));
        }
    }

    #[test]
    fn only_names_of_the_right_shape_are_looked_up() {
        for name in ["ag-a", "ag-0123456789abcdef-ro", "opsagent-x", "ab-"] {
            assert!(has_account_shape(name.as_bytes()), "{name}");
        }
        let long = format!("ag-{}", "a".repeat(30));
        for name in
            ["", "root", "a-b", "toolongas-x", "ag", "Ag-x", "ag-X", "ag-../x", "ag-a/b", "ag-a\0", "ag-é", &long]
        {
            assert!(!has_account_shape(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn what_passwd_cannot_hold_is_not_written() {
        assert_eq!(AccountFile { uid: 0, ..account() }.write(), None);
        assert_eq!(AccountFile { gecos: "a:b".into(), ..account() }.write(), None);
        assert_eq!(AccountFile { home: "/a\nuid=0".into(), ..account() }.write(), None);
    }

    #[test]
    fn any_cut_or_changed_file_is_no_account() {
        let text = account().write().unwrap();
        for end in 0..text.len() {
            assert_eq!(AccountFile::read(&text.as_bytes()[..end]), None, "cut at {end}");
        }
        for (from, to) in [
            ("uid=65536", "uid=0"),
            ("uid=65536", "uid=+65536"),
            ("uid=65536", "uid=065536"),
            (" 1\n", " 2\n"),
            ("gecos", "gecOs"),
            ("\nhome", "\n\nhome"),
        ] {
            assert_eq!(AccountFile::read(text.replacen(from, to, 1).as_bytes()), None, "{from:?} to {to:?}");
        }
        assert_eq!(AccountFile::read(format!("{text}x=y\n").as_bytes()), None);
    }
}
