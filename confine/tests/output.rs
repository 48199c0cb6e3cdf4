//! What a command prints reaches its reader whole, through the launcher's keeper, whatever the reader is.

mod common;

use common::{Launch, agentd, own_run};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tether_hostlink::Reply;

fn shell(script: &str) -> Launch {
    Launch::shell(script)
}

/// Starts it with a socket as output, as sshd hands one over.
fn over_a_socket(mut launch: Launch) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    launch.stdout = OwnedFd::from(theirs).into();
    (launch.start(), ours)
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited 10 s for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn nothing_is_lost_when_the_reader_is_slow() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    // More than pipe and socket hold together: the command is over long before it is read.
    let (mut child, mut reader) = over_a_socket(shell("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end"));
    std::thread::sleep(Duration::from_millis(300));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), 300_005, "bytes were lost");
    assert!(read.ends_with(b"x\nend\n"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_command_itself_holds_pipes_only() {
    if !own_run() {
        return;
    }
    for output in ["socket", "file"] {
        agentd(Some(Reply::Done));
        let mut launch = shell("stat -Lc %F /proc/self/fd/1 /proc/self/fd/2");
        let said = if output == "socket" {
            let (mut child, mut reader) = over_a_socket(launch);
            let mut said = String::new();
            reader.read_to_string(&mut said).unwrap();
            child.wait().unwrap();
            said
        } else {
            launch.stdout = File::create("/run/out").unwrap().into();
            launch.run();
            std::fs::read_to_string("/run/out").unwrap()
        };
        assert_eq!(said, "fifo\nfifo\n", "{output}");
        std::fs::remove_file("/run/tether/root.sock").unwrap();
    }
}

#[test]
fn two_outputs_that_are_one_keep_their_order() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut launch = shell("for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done");
    launch.stderr = theirs.try_clone().unwrap().into_owned_fd();
    launch.stdout = theirs.into_owned_fd();
    let mut child = launch.start();
    let mut said = String::new();
    let mut ours = ours;
    ours.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    let expected: String = (1..=9).map(|i| format!("out{i}\nerr{i}\n")).collect();
    assert_eq!(said, expected);
}

trait IntoOwned {
    fn into_owned_fd(self) -> Stdio;
}

impl IntoOwned for UnixStream {
    fn into_owned_fd(self) -> Stdio {
        OwnedFd::from(self).into()
    }
}

#[test]
fn the_end_is_the_commands_own() {
    if !own_run() {
        return;
    }
    let mut ends = Vec::new();
    for script in ["exit 7", "kill -TERM $$", "kill -SEGV $$", "sleep 3 & exit 3"] {
        agentd(Some(Reply::Done));
        let status = shell(script).run().status;
        ends.push((status.code(), status.signal()));
        std::fs::remove_file("/run/tether/root.sock").unwrap();
    }
    assert_eq!(ends, [(Some(7), None), (None, Some(15)), (None, Some(11)), (Some(3), None)]);
}

#[test]
fn a_reader_that_goes_ends_the_command() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    let (mut child, mut reader) = over_a_socket(Launch::of("/usr/bin/yes", &["yes"]));
    let mut some = [0; 10];
    reader.read_exact(&mut some).unwrap();
    drop(reader);
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (None, Some(13)));
}

#[test]
fn what_is_printed_beyond_the_limit_does_not_come_through() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    let mut launch = Launch::of("/usr/bin/yes", &["yes"]);
    launch.plan.output_limit = 100_001;
    let output = launch.run();
    assert_eq!((output.stdout.len(), output.status.signal()), (100_001, Some(25)));
    std::fs::remove_file("/run/tether/root.sock").unwrap();
    agentd(Some(Reply::Done));
    let mut launch = shell("printf 12345; printf 67890 >&2");
    launch.plan.output_limit = 10;
    let output = launch.run();
    assert_eq!((output.stdout, output.stderr, output.status.code()), (b"12345".into(), b"67890".into(), Some(0)));
}

#[test]
fn signals_reach_the_command() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    let (mut child, mut reader) =
        over_a_socket(shell("trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.01; done"));
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), child.wait().unwrap().code()), ("caught\n", Some(9)));
}

/// The keeper has nothing that the agent could make use of, and goes when sudo goes.
#[test]
fn the_keeper_is_nobody() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    let (child, mut reader) = over_a_socket(shell("echo ready; exec sleep 3"));
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    let status = || std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = |name: &str| status().lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    wait_until("the keeper's uid", || line("Uid:") == "Uid:\t65537\t65537\t65537\t65537");
    for (name, value) in
        [("CapEff", "0000000000000000"), ("CapPrm", "0000000000000000"), ("NoNewPrivs", "1"), ("Groups", " ")]
    {
        assert_eq!(line(name), format!("{name}:\t{value}"));
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Under `tether run` the terminal is the agent's own.
#[test]
fn an_agents_own_terminal_is_not_handed_on() {
    if !own_run() {
        return;
    }
    for (terminals, expected) in [(false, "none\n0\n"), (true, "0 1 2\n1\n")] {
        let _ = std::fs::remove_file("/run/tether/root.sock");
        agentd(Some(Reply::Done));
        let pty = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&pty).unwrap();
        rustix::pty::unlockpt(&pty).unwrap();
        let name = rustix::pty::ptsname(&pty, Vec::new()).unwrap().into_string().unwrap();
        let own = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let mut launch = shell(
            "t=; for n in 0 1 2; do test -t $n && t=\"$t $n\"; done; set -- $t; echo ${*:-none}; head -c 1 | wc -c",
        );
        launch.plan.terminals = terminals;
        (launch.stdin, launch.stdout, launch.stderr) = (own(), own(), own());
        let (mut child, mut pty) = (launch.start(), File::from(pty));
        std::io::Write::write_all(&mut pty, b"x\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let (mut said, mut bytes) = (Vec::new(), [0; 256]);
        // An error is its end: nobody has the other side open any more.
        while let Ok(count @ 1..) = pty.read(&mut bytes) {
            said.extend_from_slice(&bytes[..count]);
        }
        let said = String::from_utf8_lossy(&said).replace('\r', "");
        // The terminal itself shows what was typed into it.
        assert_eq!(said.replacen("x\n", "", 1), expected, "terminals: {terminals}");
    }
}
