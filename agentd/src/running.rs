//! What a connection of `tether run` does while its command runs: call the runner, wait, tell how it ended.
//!
//! Whoever waits holds the command's life: when the client goes, or agentd, the runner ends the command.

use crate::host::{Awaited, CommandEnd, Over};
use crate::log::warn;
use crate::server::{Shared, lock};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};
use std::os::fd::{AsFd, BorrowedFd};
use tether_hostlink::{Refusal, Reply, paths};

/// Ends like a program that was killed, or that wrote too much (signal(7)).
const KILLED: i32 = 9;
const TOO_MUCH: i32 = 25;

/// Sees a command through to its end; the answer to its client. `None` if that is gone.
pub fn see_through(host: &Shared, client: BorrowedFd<'_>, name: &str, awaited: &Awaited) -> Option<Reply> {
    if let Err(errno) = call_runner(name) {
        warn(format_args!("{}: {errno}; `systemctl status tether-runner.socket` says more", paths::RUNNER_SOCKET));
        lock(host).command_over(name, CommandEnd::AskerGone);
        return Some(Reply::Refused(no_runner(errno)));
    }
    if !comes_before_the_client_goes(client, awaited.woken.as_fd()) {
        lock(host).command_over(name, CommandEnd::AskerGone);
        return None;
    }
    let over = awaited.over();
    if let Some(Over { end: CommandEnd::Time, begun: true, asker }) = over {
        // What it printed until then may still be on its way to a slow reader.
        comes_before_the_client_goes(client, asker.as_fd());
    }
    Some(answer(over))
}

/// Has systemd start a runner, and tells it the plan's name. Does not wait: a full queue is a refusal.
fn call_runner(name: &str) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(paths::RUNNER_SOCKET)?)?;
    let sent = send(&socket, name.as_bytes(), SendFlags::NOSIGNAL)?;
    if sent == name.len() { Ok(()) } else { Err(Errno::AGAIN) }
}

fn no_runner(errno: Errno) -> Refusal {
    Refusal::new("run.no_runner", format!("the runner cannot be started: {errno}; nothing was run"))
        .hint("tell the human you act for; an administrator: `systemctl start tether-runner.socket`")
}

/// Whether a descriptor becomes ready (or hangs up) while the client is there.
fn comes_before_the_client_goes(client: BorrowedFd<'_>, awaited: BorrowedFd<'_>) -> bool {
    // Not `IN` for the client: more bytes of it are nobody's concern.
    let mut both =
        [PollFd::from_borrowed_fd(awaited, PollFlags::IN), PollFd::from_borrowed_fd(client, PollFlags::RDHUP)];
    loop {
        match poll(&mut both, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return both.first().is_some_and(|first| !first.revents().is_empty()),
        }
    }
}

fn answer(over: Option<&Over>) -> Reply {
    let cut = |code: &str, text: &str| Some(Refusal::new(code, text));
    let Some(Over { end, begun, .. }) = over else { return Reply::Refused(not_begun()) };
    match (end, begun) {
        // A launcher that refused has said why where the command would have.
        (CommandEnd::Status(status), _) => Reply::Ran { status: *status, cut: None },
        (_, false) => Reply::Refused(not_begun()),
        (CommandEnd::Time, true) => Reply::Ran {
            status: KILLED,
            cut: cut("command.time_limit", "the command ran longer than its rule or the host allows, and was ended"),
        },
        (CommandEnd::Output, true) => Reply::Ran {
            status: TOO_MUCH,
            cut: cut("command.output_limit", "the command printed more than its rule or the host allows"),
        },
        (CommandEnd::Unrecorded, true) => Reply::Ran {
            status: KILLED,
            cut: cut("recording.failed", "the command could not be recorded any more, and was ended"),
        },
        (CommandEnd::RecordingLimit, true) => Reply::Ran {
            status: KILLED,
            cut: cut("recording.limit", "the command's recording is as long as this host allows, and it was ended"),
        },
        (CommandEnd::Session, true) => {
            Reply::Ran { status: KILLED, cut: cut("session.ended", "the session has ended") }
        }
        (CommandEnd::AskerGone, true) => {
            Reply::Ran { status: KILLED, cut: cut("run.runner_gone", "what ran the command is gone, and so is it") }
        }
    }
}

fn not_begun() -> Refusal {
    Refusal::new("plan.not_begun", "the command was allowed, and its launcher did not come in time; nothing was run")
        .hint("run it again; if it happens often, the host is overloaded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::awaiting;

    fn over(end: CommandEnd, begun: bool) -> Over {
        Over { end, begun, asker: std::fs::File::open("/dev/null").unwrap().into() }
    }

    #[test]
    fn every_end_has_an_answer() {
        let code = |end, begun| match answer(Some(&over(end, begun))) {
            Reply::Ran { status, cut } => (Some(status), cut.map(|cut| cut.code)),
            Reply::Refused(refusal) => (None, Some(refusal.code)),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(CommandEnd::Status(7 << 8), true), (Some(7 << 8), None));
        assert_eq!(code(CommandEnd::Status(126 << 8), false), (Some(126 << 8), None));
        for (end, status, why) in [
            (CommandEnd::Time, 9, "command.time_limit"),
            (CommandEnd::Output, 25, "command.output_limit"),
            (CommandEnd::Unrecorded, 9, "recording.failed"),
            (CommandEnd::RecordingLimit, 9, "recording.limit"),
            (CommandEnd::Session, 9, "session.ended"),
            (CommandEnd::AskerGone, 9, "run.runner_gone"),
        ] {
            assert_eq!(code(end, true), (Some(status), Some(why.to_owned())));
            assert_eq!(code(end, false), (None, Some("plan.not_begun".to_owned())));
        }
        assert!(matches!(answer(None), Reply::Refused(_)));
    }

    #[test]
    fn it_wakes_at_the_end_and_when_the_client_goes() {
        let (client, own) = std::os::unix::net::UnixStream::pair().unwrap();
        let (teller, awaited, _lifeline) = awaiting().unwrap();
        teller.tell(over(CommandEnd::Status(0), true));
        assert!(comes_before_the_client_goes(own.as_fd(), awaited.woken.as_fd()));
        assert_eq!(awaited.over().unwrap().end, CommandEnd::Status(0));
        let (_teller, awaited, _lifeline) = awaiting().unwrap();
        drop(client);
        assert!(!comes_before_the_client_goes(own.as_fd(), awaited.woken.as_fd()));
    }
}
