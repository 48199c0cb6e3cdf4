//! Account files: what makes an agent's account exist. By rename when it comes, by unlink when it goes.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tether_accountfile::AccountFile;
use tether_hostlink::paths;

use crate::session::Session;

/// The folder of account files.
#[derive(Debug, Clone)]
pub struct Accounts(PathBuf);

impl Accounts {
    /// Makes the folders: found by name, not listed.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        for part in [folder.clone(), folder.join("name"), folder.join("uid")] {
            fs::DirBuilder::new().recursive(true).mode(0o711).create(&part)?;
            fs::set_permissions(&part, fs::Permissions::from_mode(0o711))?;
        }
        Ok(Self(folder))
    }

    /// Makes both accounts of a session exist.
    pub fn write(&self, session: &Session) -> io::Result<()> {
        for account in both(session) {
            let text = account.write().ok_or_else(|| io::Error::other("the account's fields fit no passwd line"))?;
            // The uid first: whoever finds the name must find the uid too.
            place(&self.0.join("uid"), &account.uid.to_string(), &text)?;
            crash_point!(AccountByUid);
            place(&self.0.join("name"), &account.name, &text)?;
            crash_point!(AccountLogin);
        }
        Ok(())
    }

    /// Makes both accounts of a session not exist. Not being there already is no error.
    pub fn remove(&self, session: &Session) -> io::Result<()> {
        for account in both(session) {
            for path in [self.0.join("name").join(&account.name), self.0.join("uid").join(account.uid.to_string())] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                crash_point!(ClosingHalf);
            }
        }
        Ok(())
    }

    /// Removes every account file that belongs to none of these sessions.
    pub fn sweep(&self, sessions: &[&Session]) -> io::Result<()> {
        let known: Vec<AccountFile> = sessions.iter().flat_map(|session| both(session)).collect();
        for part in ["name", "uid"] {
            for entry in fs::read_dir(self.0.join(part))? {
                let entry = entry?;
                let name = entry.file_name();
                let ours = known.iter().any(|account| {
                    if part == "name" { *account.name == *name } else { *account.uid.to_string() == *name }
                });
                if !ours {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

fn both(session: &Session) -> [AccountFile; 2] {
    let grant = &session.grant;
    let clean = |text: &str| text.replace(|c: char| c == ':' || c == ',' || c.is_control(), "_");
    let whose = format!("agent {} of {}", clean(grant.principal.agent.as_str()), clean(grant.principal.human.as_str()));
    let login = AccountFile {
        name: grant.account.to_string(),
        uid: session.uids.login,
        gecos: whose.clone(),
        home: paths::HOME.to_owned(),
        shell: paths::SHELL.to_owned(),
        session: grant.session.to_string(),
        principal: Some(grant.principal.to_string()),
    };
    let read_only = AccountFile {
        name: grant.account.read_only(),
        uid: session.uids.read_only,
        gecos: format!("confined commands of {whose}"),
        home: "/nonexistent".to_owned(),
        shell: "/usr/sbin/nologin".to_owned(),
        session: grant.session.to_string(),
        principal: None,
    };
    [login, read_only]
}

/// Written beside under a name that no look-up asks for, then renamed. No flush: /run is memory.
fn place(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let beside = folder.join(format!(".{name}.new"));
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o644))?;
    crash_point!(AccountBeside);
    fs::rename(&beside, folder.join(name))
}
