//! The real login shell, as an agent's uid, in and outside a session. Needs root and cgroup v2; says so without.

mod common;

use common::own_run;
use common::sink::sink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tether_accountfile::AccountFile;
use tether_hostlink::Channel;
use tether_recording::Stream;

const LOGIN: u32 = 65540;
const SESSION: &str = "0123456789abcdef0123456789abcdef";

/// A cgroup `…/tether.sessions/SESSION` below this process's own, removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(test: &str, session: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
        let root = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?.to_owned();
        let folder = PathBuf::from(root).join(format!("tether-test-{test}-{}", std::process::id()));
        let cgroup = folder.join("tether.sessions").join(session);
        std::fs::create_dir_all(&cgroup).ok()?;
        Some(Self(cgroup))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.0.ancestors().take(3) {
            // A process of the test may still be leaving it.
            for _ in 0..100 {
                if std::fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

fn account(principal: Option<&str>) {
    let file = AccountFile {
        name: "ag-test".into(),
        uid: LOGIN,
        gecos: "agent".into(),
        home: "/".into(),
        shell: "/usr/libexec/tether/tether-shell".into(),
        session: SESSION.into(),
        principal: principal.map(str::to_owned),
    };
    std::fs::create_dir_all("/run/tether/accounts/uid").unwrap();
    std::fs::write(format!("/run/tether/accounts/uid/{LOGIN}"), file.write().unwrap()).unwrap();
}

/// Runs the shell as a uid, in a cgroup if one is given. The program is copied to where that uid may reach it.
fn shell(uid: u32, cgroup: Option<&Cgroup>, arguments: &[&str]) -> Output {
    command(uid, cgroup, arguments).output().unwrap()
}

fn command(uid: u32, cgroup: Option<&Cgroup>, arguments: &[&str]) -> Command {
    let program = "/run/tether-shell";
    if !std::path::Path::new(program).exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_tether-shell"), program).unwrap();
    }
    let join = cgroup.map_or(String::new(), |cgroup| format!("echo $$ > {}/cgroup.procs && ", cgroup.0.display()));
    // sh first, as root, to enter the cgroup; then the uid changes with exec.
    let script = format!("{join}exec setpriv --reuid {uid} --regid {uid} --clear-groups {program} \"$@\"");
    let mut command = Command::new("sh");
    command
        .arg0("sh")
        .args(["-c", &script, "sh"])
        .args(arguments)
        .env("BASH_ENV", "/run/evil")
        .env("LANG", "C.UTF-8")
        .env("TERM", "vt100")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

fn assert_refused(output: &Output, code: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(126) && said.contains(&format!("[{code}]")), "{said}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_bound_session_gets_a_clean_shell() {
    if !own_run() {
        return;
    }
    let Some(cgroup) = Cgroup::new("bound", SESSION) else { return eprintln!("skipped: needs cgroup v2") };
    account(Some("tether://t/a/h@example.org"));
    std::fs::write("/run/evil", "echo BASH_ENV was read\n").unwrap();
    let heard = sink(LOGIN, false);
    let output = shell(LOGIN, Some(&cgroup), &["-c", "env | sort; umask; id -u"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let said: Vec<_> = said.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("SHLVL=")).collect();
    let expected = [
        "HOME=/",
        "LANG=C.UTF-8",
        "LOGNAME=ag-test",
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "PWD=/",
        "SHELL=/bin/bash",
        "TERM=vt100",
        &format!("TETHER_SESSION={SESSION}"),
        "TMPDIR=/tmp",
        "USER=ag-test",
        "0077",
        "65540",
    ];
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
    let recorded = heard.recv().unwrap();
    assert_eq!(recorded.of(Stream::Output), output.stdout);
    assert_eq!((recorded.request.kind, recorded.request.columns), (Channel::Exec, 0));
    assert_eq!(recorded.request.command.as_deref(), Some("env | sort; umask; id -u"));
    assert_eq!(recorded.status(), Some(0));
    let login = shell(LOGIN, Some(&cgroup), &[]);
    assert_eq!((login.status.code(), login.stderr.as_slice()), (Some(0), &b""[..]));
    assert_refused(&shell(LOGIN, Some(&cgroup), &["-l"]), "shell.arguments");
}

#[test]
fn outputs_are_recorded_apart_and_ends_are_handed_on() {
    if !own_run() {
        return;
    }
    let Some(cgroup) = Cgroup::new("apart", SESSION) else { return eprintln!("skipped: needs cgroup v2") };
    account(Some("tether://t/a/h@example.org"));
    let heard = sink(LOGIN, false);
    let run = |command: &str| {
        let output = shell(LOGIN, Some(&cgroup), &["-c", command]);
        let recorded = heard.recv().unwrap();
        assert_eq!(recorded.of(Stream::Output), output.stdout, "{command}");
        assert_eq!(recorded.of(Stream::Error), output.stderr, "{command}");
        assert_eq!(recorded.status(), Some(output.status.into_raw()), "{command}");
        output
    };
    let both = run("echo out; echo err >&2; printf '\\377\\000\\303'; exit 255");
    assert_eq!((both.stdout.as_slice(), both.stderr.as_slice()), (&b"out\n\xff\x00\xc3"[..], &b"err\n"[..]));
    assert_eq!(both.status.code(), Some(255));
    assert_eq!(run("kill -TERM $$").status.signal(), Some(15));
    assert_eq!(run("kill -KILL $$").status.signal(), Some(9));
    assert_eq!(run("head -c 5000000 /dev/zero").stdout.len(), 5_000_000);
    // Something else keeps the output open: what it prints later belongs to the channel.
    let late = run("(sleep 1; echo late) & echo early; exit 3");
    assert_eq!((late.stdout.as_slice(), late.status.code()), (&b"early\nlate\n"[..], Some(3)));
}

#[test]
fn a_slow_reader_gets_all_after_the_recordings_end() {
    if !own_run() {
        return;
    }
    let Some(cgroup) = Cgroup::new("slow", SESSION) else { return eprintln!("skipped: needs cgroup v2") };
    account(Some("tether://t/a/h@example.org"));
    let heard = sink(LOGIN, false);
    let mut command = command(LOGIN, Some(&cgroup), &["-c", "head -c 200000 /dev/zero; exit 5"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds, less than is under way at most.
    assert_eq!(heard.recv().unwrap().of(Stream::Output).len(), 200_000);
    // It would come back for another recording, if it took the end for a loss.
    assert!(heard.recv_timeout(std::time::Duration::from_millis(500)).is_err());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.stdout.len(), output.status.code()), (200_000, Some(5)));
    assert!(heard.try_recv().is_err());
}

#[test]
fn without_a_recording_nothing_runs() {
    if !own_run() {
        return;
    }
    let Some(cgroup) = Cgroup::new("unrecorded", SESSION) else { return eprintln!("skipped: needs cgroup v2") };
    account(Some("tether://t/a/h@example.org"));
    let run = ["-c", "echo ran >&2"];
    assert_refused(&shell(LOGIN, Some(&cgroup), &run), "recording.refused");
    let _heard = sink(LOGIN, true);
    assert_refused(&shell(LOGIN, Some(&cgroup), &run), "recording.refused");
}

#[test]
fn what_is_no_bound_session_gets_none() {
    if !own_run() {
        return;
    }
    let run = ["-c", "echo ran"];
    assert_refused(&shell(0, None, &run), "shell.not_an_agent");
    assert_refused(&shell(1000, None, &run), "shell.not_an_agent");
    assert_refused(&shell(LOGIN, None, &run), "shell.no_account");
    account(None);
    assert_refused(&shell(LOGIN, None, &run), "shell.no_account");
    account(Some("tether://t/a/h@example.org"));
    assert_refused(&shell(LOGIN, None, &run), "shell.not_bound");
    if let Some(another) = Cgroup::new("other", "another") {
        assert_refused(&shell(LOGIN, Some(&another), &run), "shell.not_bound");
    }
}
