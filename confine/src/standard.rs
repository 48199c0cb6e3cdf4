//! Descriptors 0 to 2 of a confined command: a terminal, a pipe or /dev/null. Over a socket it could hand
//! descriptors out; a file or device would be a way around "nothing to write" and around what may be read.
//! An output that is something else has the keeper before it (`crate::keeper`).
#![forbid(unsafe_code)]

use crate::layers::{Layer, Layers};
use crate::refusal::failed;
use rustix::fs::{FileType, Mode, OFlags, Stat, fchmod, fchown, fcntl_getfl, fstat, fstatfs, major, minor, open};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::stdio::{dup2_stdin, stderr, stdin, stdout};
use std::os::fd::BorrowedFd;
use tether_hostlink::Refusal;

/// Major numbers of pseudo-terminals' devices (devices.txt of the kernel: Unix98 PTY slaves).
const PTY: std::ops::RangeInclusive<u32> = 136..=143;
const NULL: (u32, u32) = (1, 3);
/// The kernel's own file system of pipes without a name (PIPEFS_MAGIC).
const PIPEFS: rustix::fs::FsWord = 0x5049_5045;

/// Whether it is a pseudo-terminal.
pub fn is_terminal(stat: &Stat) -> bool {
    is_device(stat) && PTY.contains(&major(stat.st_rdev))
}

/// Whether it is /dev/null.
pub fn is_null(stat: &Stat) -> bool {
    is_device(stat) && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL
}

fn is_device(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
}

/// Refuses any other output, and gives the command's terminal, if it has one. An input that is something else, or
/// that the plan does not hand on, becomes /dev/null: over ssh without a terminal it is a socket. So does a terminal
/// that is not sudo's own.
pub fn check(hand_on: bool, terminals: bool, layers: Layers) -> Result<Option<Stat>, Refusal> {
    if !layers.has(Layer::Descriptors) {
        return Ok(None);
    }
    let input = look("input", stdin())?;
    // What sudo made for the command is root's. It leaves an input alone that is another terminal than the one it stands
    // before, and a terminal is open in both directions.
    let is_anothers = is_terminal(&input) && (!terminals || input.st_uid != 0);
    let mut terminal = (is_terminal(&input) && !is_anothers).then_some(input);
    let stays = !hand_on || is_anothers || unfit(&input).is_some();
    if stays || leads_out(stdin()).map_err(|errno| wrong("input", &errno.to_string()))? {
        let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let replaced = null.and_then(dup2_stdin);
        replaced.map_err(|errno| wrong("input", &errno.to_string()))?;
    }
    for (name, descriptor) in [("output", stdout()), ("error output", stderr())] {
        let stat = look(name, descriptor)?;
        if let Some(what) = unfit(&stat) {
            return Err(wrong(name, what));
        }
        terminal = terminal.or(is_terminal(&stat).then_some(stat));
    }
    Ok(terminal)
}

/// Whether a pipe that is an input can be written to: what goes that way nobody records, nor counts. One that can be read
/// alone is made root's, so that its owner cannot let the command open its other end, which every process finds in
/// /proc/self/fd, and which Landlock does not hold (landlock(7): files of pipefs).
fn leads_out(input: BorrowedFd<'_>) -> Result<bool, Errno> {
    if FileType::from_raw_mode(fstat(input)?.st_mode) != FileType::Fifo {
        return Ok(false);
    }
    if fcntl_getfl(input)? & OFlags::RWMODE != OFlags::RDONLY {
        return Ok(true);
    }
    if fstatfs(input)?.f_type == PIPEFS {
        fchown(input, Some(Uid::ROOT), Some(Gid::ROOT))?;
        fchmod(input, Mode::RUSR)?;
    }
    Ok(false)
}

fn look(name: &str, descriptor: BorrowedFd<'_>) -> Result<Stat, Refusal> {
    fstat(descriptor).map_err(|errno| wrong(name, &errno.to_string()))
}

fn wrong(name: &str, what: &str) -> Refusal {
    failed("confine.descriptor", &format!("its standard {name} must be a terminal, a pipe or /dev/null"), what)
        .hint("go through a pipe: `sudo COMMAND | cat > RESULT`")
}

/// What the descriptor is, if it is nothing that may be used.
fn unfit(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => None,
        FileType::CharacterDevice => (!is_null(stat) && !is_terminal(stat)).then_some("it is another device"),
        FileType::RegularFile => Some("it is a file"),
        FileType::Directory => Some("it is a folder"),
        FileType::Socket => Some("it is a socket"),
        _ => Some("it is something else"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    #[test]
    fn pipes_and_null_pass() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!(unfit(&fstat(&reader).unwrap()), None);
        assert_eq!(unfit(&fstat(&writer).unwrap()), None);
        assert_eq!(unfit(&fstat(File::open("/dev/null").unwrap()).unwrap()), None);
    }

    /// `sudo COMMAND 0>&1`, or a FIFO that was opened both ways: what a command wrote to its input was shown and not recorded.
    #[test]
    fn an_input_is_no_way_out() {
        use std::os::fd::AsFd;
        use std::os::unix::fs::MetadataExt;
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!(leads_out(writer.as_fd()), Ok(true));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let both = File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(leads_out(both.as_fd()), Ok(true));
        let one = File::open(&path).unwrap();
        assert_eq!(leads_out(one.as_fd()), Ok(false));
        if !rustix::process::geteuid().is_root() {
            return;
        }
        rustix::fs::fchmod(&reader, Mode::from_raw_mode(0o666)).unwrap();
        rustix::fs::fchown(&reader, Some(Uid::from_raw(65_001)), None).unwrap();
        assert_eq!(leads_out(reader.as_fd()), Ok(false));
        let about = std::fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader))).unwrap();
        assert_eq!((about.uid(), about.mode() & 0o777), (0, 0o400), "nobody else opens its other end");
    }

    #[test]
    fn everything_else_is_unfit() {
        let (socket, _other) = UnixStream::pair().unwrap();
        assert_eq!(unfit(&fstat(&socket).unwrap()), Some("it is a socket"));
        for (path, what) in
            [("/", "it is a folder"), ("/etc/passwd", "it is a file"), ("/dev/zero", "it is another device")]
        {
            assert_eq!(unfit(&fstat(File::open(path).unwrap()).unwrap()), Some(what), "{path}");
        }
    }
}
