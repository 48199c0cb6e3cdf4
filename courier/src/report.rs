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
        news |= inotify::WatchFlags::DELETE_SELF | inotify::WatchFlags::MOVE_SELF;
        news.set(inotify::WatchFlags::MODIFY, appended);
        inotify::add_watch(&watch, folder, news)?;
        Ok(Self(watch))
    }

    /// Waits until something has changed, or for so long. An error if the folder is gone: another one may be in its place,
    /// as after a stop of agentd, and nothing of that would be seen here.
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
        let gone = inotify::ReadFlags::DELETE_SELF | inotify::ReadFlags::MOVE_SELF | inotify::ReadFlags::IGNORED;
        while let Ok(event) = events.next() {
            if event.events().intersects(gone) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the folder that is watched is gone"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// agentd's folder goes when it is stopped, and is made anew when it starts.
    #[test]
    fn a_folder_that_is_made_anew_is_not_waited_for_in_vain() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        let ways: [fn(&Path); 2] = [
            |path| std::fs::remove_dir_all(path).unwrap(),
            |path| std::fs::rename(path, path.with_extension("aside")).unwrap(),
        ];
        for way in ways {
            std::fs::create_dir(&path).unwrap();
            let watch = Folder::open(&path, false).unwrap();
            std::fs::write(path.join("file"), "news").unwrap();
            watch.wait(Duration::from_secs(60)).unwrap();
            way(&path);
            let begun = Instant::now();
            assert!(watch.wait(Duration::from_secs(60)).is_err());
            assert!(begun.elapsed() < Duration::from_secs(30));
        }
    }
}
