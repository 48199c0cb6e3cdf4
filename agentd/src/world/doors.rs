//! Where sessions ask for `tether run`, and their recorders for a recording: a listener of each sort for each session,
//! named by its login uid and only that uid's.
//!
//! The file's mode is what keeps others from asking; who asks is judged anew at each request.

use crate::session::Session;
use crate::watch::Service;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The folder of listeners.
#[derive(Debug, Clone)]
pub struct Doors(PathBuf);

impl Doors {
    /// Makes the folder: found by name, not listed.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
        Ok(Self(folder))
    }

    /// Listens for a session. What lay there is an earlier agentd's.
    pub fn make(&self, session: &Session, service: Service) -> io::Result<UnixListener> {
        let path = self.path(session, service);
        gone(&path)?;
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        // Last: until now it is root's alone, whatever the umask.
        chown(&path, Some(session.uids.login), None)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Removes a session's. Not being there already is no error.
    pub fn remove(&self, session: &Session) -> io::Result<()> {
        Service::ALL.into_iter().try_for_each(|service| gone(&self.path(session, service)))
    }

    /// Removes what belongs to none of these sessions.
    pub fn sweep(&self, sessions: &[&Session]) -> io::Result<()> {
        let known: Vec<PathBuf> =
            sessions.iter().flat_map(|session| Service::ALL.map(|service| self.path(session, service))).collect();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if !known.contains(&path) {
                gone(&path)?;
            }
        }
        Ok(())
    }

    /// The names of `tether_hostlink::paths`.
    fn path(&self, session: &Session, service: Service) -> PathBuf {
        let uid = session.uids.login;
        self.0.join(match service {
            Service::Run => format!("{uid}.sock"),
            Service::Record => format!("{uid}.record.sock"),
        })
    }
}

fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
