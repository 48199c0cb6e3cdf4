//! The real launcher, from root to the planned program, beside an agentd that the test plays.
//!
//! Each test has a mount namespace of its own thread, so they need root and say so without it.

mod common;

use common::{Launch, UID, agentd, assert_refused, boottime_ms, own_run};
use rustix::fs::SealFlags;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tether_hostlink::{Refusal, Reply, Request};

#[test]
fn it_runs_confined() {
    if !own_run() {
        return;
    }
    let agentd = agentd(Some(Reply::Done));
    let output = Launch::shell(
        "id -u; id -G; cat /proc/self/uid_map >/dev/null; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; \
         env | sort; ls /proc/self/fd | wc -l; pwd; ulimit -c; ulimit -u 2>/dev/null || ulimit -p; umask >/dev/null; \
         for f in /etc/x /tmp/x /run/x /dev/shm/x /proc/sys/kernel/hostname; do (echo x > $f) 2>/dev/null && echo WROTE $f; done; \
         mount -o remount,rw / 2>/dev/null && echo REMOUNTED; kill -0 1 2>/dev/null && echo SIGNALLED; \
         echo x > $TMPDIR/x && cat $TMPDIR/x; echo y > /dev/null; head -c1 /dev/zero | wc -c; ls /dev",
    )
    .run();
    assert_eq!(agentd.join().unwrap(), Request::Begin { plan: "plan-1".into() });
    let said = String::from_utf8_lossy(&output.stdout);
    let kept = "0000000400000004";
    let expected = format!(
        "{UID}\n{UID}\nCapInh:\t{kept}\nCapPrm:\t{kept}\nCapEff:\t{kept}\nCapBnd:\t{kept}\n\
         CapAmb:\t{kept}\nNoNewPrivs:\t1\nSeccomp:\t2\nA=b\nHOME=/run/tether/home\nPATH=/usr/bin:/bin\nPWD=/\n\
         TMPDIR=/run/tether/home\n4\n/\n"
    );
    assert!(said.starts_with(&expected), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.ends_with("\n256\nx\n1\nfd\nfull\nnull\nrandom\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn exit_codes_and_signals_are_the_programs() {
    use std::os::unix::process::ExitStatusExt;
    if !own_run() {
        return;
    }
    let served = agentd(Some(Reply::Done));
    assert_eq!(Launch::shell("exit 7").run().status.code(), Some(7));
    served.join().unwrap();
    std::fs::remove_file("/run/tether/root.sock").unwrap();
    agentd(Some(Reply::Done));
    assert_eq!(Launch::shell("kill -TERM $$").run().status.signal(), Some(15));
}

/// Rust's runtime ignores SIGPIPE; a program that inherited that would not end with its reader.
#[test]
fn sigpipe_is_as_programs_expect_it() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Done));
    let output = Launch::shell("grep SigIgn /proc/self/status").run();
    let mask =
        String::from_utf8_lossy(&output.stdout).trim().rsplit('\t').next().map(|hex| u64::from_str_radix(hex, 16));
    assert_eq!(mask.unwrap().unwrap() & (1 << 12), 0);
}

#[test]
fn a_script_runs_by_descriptor() {
    if !own_run() {
        return;
    }
    std::fs::write("/run/script", "#!/bin/sh\necho \"$1\" from a script\n").unwrap();
    std::fs::set_permissions("/run/script", PermissionsExt::from_mode(0o755)).unwrap();
    agentd(Some(Reply::Done));
    let output = Launch::of("/run/script", &["script", "word"]).run();
    assert_eq!(output.stdout, b"word from a script\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn agentd_has_the_last_word() {
    if !own_run() {
        return;
    }
    agentd(Some(Reply::Refused(Refusal::new("session.ended", "the session is over"))));
    assert_refused(&Launch::shell("echo ran").run(), "session.ended");
    std::fs::remove_file("/run/tether/root.sock").unwrap();
    agentd(Some(Reply::Plan { plan: "x".into(), output_limit: 1, recorder: tether_hostlink::Recorder::Nobody }));
    assert_refused(&Launch::shell("echo ran").run(), "internal");
    std::fs::remove_file("/run/tether/root.sock").unwrap();
    assert_refused(&Launch::shell("echo ran").run(), "agentd.unreachable");
}

#[test]
fn a_silent_agentd_costs_two_seconds() {
    if !own_run() {
        return;
    }
    agentd(None);
    let start = Instant::now();
    assert_refused(&Launch::shell("echo ran").run(), "agentd.unreachable");
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&start.elapsed()));
}

#[test]
fn a_plan_that_does_not_hold_runs_nothing() {
    if !own_run() {
        return;
    }
    let changed = |change: fn(&mut Launch)| {
        let mut launch = Launch::shell("echo ran");
        change(&mut launch);
        launch.run()
    };
    assert_refused(&changed(|launch| launch.seals = SealFlags::SEAL), "confine.plan");
    assert_refused(&changed(|launch| launch.plan.uid = 0), "confine.plan");
    assert_refused(&changed(|launch| launch.plan.argv = vec!["a\0b".into()]), "confine.plan");
    assert_refused(&changed(|launch| launch.plan.deadline_boottime_ms = boottime_ms() - 1), "confine.expired");
    assert_refused(&changed(|launch| launch.plan.inode += 1), "confine.program");
    assert_refused(&changed(|launch| launch.program = File::open("/bin").unwrap().into()), "confine.program");
}

#[test]
fn an_input_that_could_carry_more_is_empty() {
    if !own_run() {
        return;
    }
    let (socket, _other) = UnixStream::pair().unwrap();
    let socket = std::os::fd::OwnedFd::from(socket);
    let inputs: [Stdio; 4] = [
        socket.into(),
        File::open("/etc/passwd").unwrap().into(),
        File::open("/").unwrap().into(),
        File::open("/dev/zero").unwrap().into(),
    ];
    for input in inputs {
        let agentd = agentd(Some(Reply::Done));
        let mut launch = Launch::shell("readlink /proc/self/fd/0");
        launch.stdin = input;
        let output = launch.run();
        agentd.join().unwrap();
        std::fs::remove_file("/run/tether/root.sock").unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/dev/null\n", "{output:?}");
    }
}

#[test]
fn it_is_nothing_to_start_by_hand() {
    use std::process::Command;
    let launcher = env!("CARGO_BIN_EXE_tether-confine");
    let output = Command::new(launcher).arg("id").output().unwrap();
    let code = if rustix::process::geteuid().is_root() { "confine.arguments" } else { "confine.not_root" };
    assert_refused(&output, code);
}

#[test]
fn a_refusal_of_the_launchers_own_is_told_to_agentd() {
    if !own_run() {
        return;
    }
    let agentd = agentd(Some(Reply::Done));
    let mut launch = Launch::shell("echo ran");
    launch.plan.confinement.cwd = "/nowhere".into();
    assert_refused(&launch.run(), "confine.cwd");
    let Request::Report { refusal, argv } = agentd.join().unwrap() else { panic!("another question") };
    assert_eq!(
        (refusal.code.as_str(), argv),
        ("confine.cwd", vec![tether_hostlink::Word::from("sh"), "-c".into(), "echo ran".into()])
    );
}
