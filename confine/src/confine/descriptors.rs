//! Which descriptors come in and which go on.

use super::{Refused, Step};
use crate::sys;
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open};
use rustix::io::{FdFlags, fcntl_setfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Majors of pseudo-terminals' devices (Linux, Documentation/admin-guide/devices.txt).
const PTY_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// What agentd sent, through sudo.
pub struct Given {
    /// The sealed plan.
    pub plan: OwnedFd,
    /// The program.
    pub program: OwnedFd,
    /// The host's mount namespace.
    pub mounts: OwnedFd,
    /// The host's network namespace.
    pub network: OwnedFd,
}

/// Reads `--descriptors=A,B,C,D`.
pub fn take(arguments: &[String]) -> Result<Given, Refused> {
    let wrong = || Refused::new("confine.usage", "usage: tether-confine --descriptors=PLAN,PROGRAM,MOUNTS,NETWORK");
    let [argument] = arguments else { return Err(wrong()) };
    let list = argument.strip_prefix("--descriptors=").ok_or_else(wrong)?;
    let numbers: Vec<i32> = list.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let &[plan, program, mounts, network] = numbers.as_slice() else { return Err(wrong()) };
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != 4 {
        return Err(wrong());
    }
    let open = |number| sys::inherited(number).step("confine.descriptor", "a descriptor of the plan");
    Ok(Given { plan: open(plan)?, program: open(program)?, mounts: open(mounts)?, network: open(network)? })
}

/// 0 to 2 must be a pseudo-terminal, a pipe or /dev/null. A socket could carry descriptors out, a file or a
/// device could be written through although the command itself may write nowhere.
///
/// stdin that is something else is /dev/null for the command: over ssh without a terminal it is a socket,
/// and no command of a bundle needs it. Output is sudo's own pipe or terminal, since our plugin asks for it.
pub fn check_standard() -> Result<(), Refused> {
    if !is_fine(rustix::stdio::stdin())? {
        let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        rustix::stdio::dup2_stdin(null.step("confine.descriptor", "/dev/null")?).step("confine.descriptor", "stdin")?;
    }
    for (name, descriptor) in [("stdout", rustix::stdio::stdout()), ("stderr", rustix::stdio::stderr())] {
        if !is_fine(descriptor)? {
            let text = format!("{name} is neither a terminal, a pipe nor /dev/null; put `| cat` behind the command");
            return Err(Refused::new("confine.descriptor", text));
        }
    }
    Ok(())
}

fn is_fine(descriptor: BorrowedFd<'_>) -> Result<bool, Refused> {
    let about = fstat(descriptor).step("confine.descriptor", "a standard descriptor")?;
    let device = (major(about.st_rdev), minor(about.st_rdev));
    Ok(match FileType::from_raw_mode(about.st_mode) {
        FileType::Fifo => true,
        FileType::CharacterDevice => PTY_MAJORS.contains(&device.0) || device == (1, 3),
        _ => false,
    })
}

/// Nothing but 0 to 2 and the program goes through exec; the program only if it is a script, whose
/// interpreter has to open it by its number.
pub fn keep_only(program: OwnedFd) -> Result<OwnedFd, Refused> {
    sys::close_on_exec_from(3).step("confine.descriptor", "the descriptors")?;
    let mut start = [0_u8; 2];
    let read = rustix::io::pread(&program, &mut start, 0).step("confine.program", "the program")?;
    if read == 2 && &start == b"#!" {
        fcntl_setfd(program.as_fd(), FdFlags::empty()).step("confine.program", "the program")?;
    }
    Ok(program)
}
