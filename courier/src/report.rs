//! What agentd reports: read from its file as often as it changes.

use rustix::fs::inotify;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tether_statement::ResumeRequest;

/// A folder that is watched.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// Watches the file by its folder: it is replaced by rename.
#[derive(Debug)]
pub struct Reports {
    watch: Folder,
    path: PathBuf,
}

impl Reports {
    /// Of a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { watch: Folder::open(path.parent().unwrap_or(Path::new("/")), false)?, path: path.to_owned() })
    }

    /// What it says now; none if there is none yet.
    pub fn now(&self) -> Option<ResumeRequest> {
        serde_json::from_slice(&std::fs::read(&self.path).ok()?).ok()
    }

    /// Waits until something in its folder has changed, or for so long.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        self.watch.wait(limit)
    }
}

impl Folder {
    /// Watches it: files that are placed there, and their modes: what cannot be read yet is read when it can. And those
    /// that are appended to, if that is of interest.
    pub fn open(folder: &Path, appended: bool) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let mut news = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::ATTRIB;
        news.set(inotify::WatchFlags::MODIFY, appended);
        inotify::add_watch(&watch, folder, news)?;
        Ok(Self(watch))
    }

    /// Waits until something has changed, or for so long.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let tv_sec = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let limit = Timespec { tv_sec, tv_nsec: limit.subsec_nanos().into() };
        let mut waited = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut waited, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        while events.next().is_ok() {}
        Ok(())
    }
}
