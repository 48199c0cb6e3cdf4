//! Descriptors 0 to 2 of a confined command: a terminal, a pipe or /dev/null. Over a socket it could hand
//! descriptors out; a file or device would be a way around "nothing to write" and around what may be read.
//! An output that is something else has the keeper before it (`crate::keeper`).
#![forbid(unsafe_code)]

use crate::layers::{Layer, Layers};
use crate::refusal::failed;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, major, minor, open};
use rustix::stdio::{dup2_stdin, stderr, stdin, stdout};
use std::os::fd::BorrowedFd;
use tether_hostlink::Refusal;

/// Major numbers of pseudo-terminals' devices (devices.txt of the kernel: Unix98 PTY slaves).
const PTY: std::ops::RangeInclusive<u32> = 136..=143;
const NULL: (u32, u32) = (1, 3);

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
    let is_anothers = !terminals && is_terminal(&input);
    let mut terminal = (is_terminal(&input) && !is_anothers).then_some(input);
    if !hand_on || is_anothers || unfit(&input).is_some() {
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
