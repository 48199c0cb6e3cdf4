//! A host for one test: a mount namespace of the test's own thread with an empty /run, and an agentd that
//! answers one question.

#![allow(dead_code)]

pub mod sink;

use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tether_hostlink::{Confinement, Connection, Deadline, Ground, Plan, Reply, Request};

pub const UID: u32 = 65537;

/// Makes the thread's own /run. False, with a word why, where that is not possible.
pub fn own_run() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return false;
    }
    // SAFETY: the file table is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
    for folder in ["/run/tether", "/run/tether/home", "/run/tether/proc", "/run/tether/accounts"] {
        std::fs::create_dir(folder).unwrap();
    }
    true
}

/// Answers one question and tells it.
pub fn agentd(answer: Option<Reply>) -> JoinHandle<Request> {
    let listener = UnixListener::bind("/run/tether/root.sock").unwrap();
    std::thread::spawn(move || {
        let connection = Connection::accept(&listener).unwrap();
        assert_eq!(connection.peer.uid, 0, "the launcher connects as root");
        let question = connection.question(Deadline::after(Duration::from_secs(30))).unwrap();
        match answer {
            Some(reply) => connection.answer(&reply, &[], Deadline::after(Duration::from_secs(1))).unwrap(),
            None => std::thread::sleep(Duration::from_secs(5)),
        }
        question
    })
}

/// What is handed to the launcher; a test changes what it is about.
pub struct Launch {
    pub plan: Plan,
    pub program: OwnedFd,
    pub seals: SealFlags,
    pub stdin: Stdio,
    pub stdout: Stdio,
    pub stderr: Stdio,
    pub arguments: Vec<OwnedFd>,
}

impl Launch {
    pub fn of(program: &str, argv: &[&str]) -> Self {
        let path = std::fs::canonicalize(program).unwrap();
        let meta = path.metadata().unwrap();
        let plan = Plan {
            plan: "plan-1".into(),
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            program: path.to_str().unwrap().into(),
            device: meta.dev(),
            inode: meta.ino(),
            argv: argv.iter().map(|text| (*text).to_owned()).collect(),
            environment: vec!["PATH=/usr/bin:/bin".into(), "A=b".into()],
            uid: UID,
            // Longer than a real one: some tests walk through all of /usr.
            deadline_boottime_ms: boottime_ms() + 60_000,
            output_limit: 1 << 20,
            terminals: true,
            recorder: tether_hostlink::Recorder::Nobody,
            confinement: Confinement { stdin: true, ground: clean_ground(), ..Confinement::read_only() },
        };
        let program = rustix::fs::open(&path, OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        Self {
            plan,
            program,
            seals,
            stdin: Stdio::null(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
            arguments: Vec::new(),
        }
    }

    pub fn shell(script: &str) -> Self {
        Self::of("/bin/sh", &["sh", "-c", script])
    }

    /// With these trees to be read.
    pub fn reading(mut self, trees: &[&str]) -> Self {
        self.plan.confinement.trees = trees.iter().map(|tree| (*tree).to_owned()).collect();
        self
    }

    /// Runs it beside an agentd that says go, and gives what it printed; it must have said nothing else.
    pub fn output(self) -> String {
        let _ = std::fs::remove_file("/run/tether/root.sock");
        agentd(Some(Reply::Done));
        let output = self.run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("tether: "), "{said}");
        format!("{}{said}", String::from_utf8_lossy(&output.stdout))
    }

    pub fn run(self) -> Output {
        self.start().wait_with_output().unwrap()
    }

    pub fn start(self) -> Child {
        self.prepare().start()
    }

    /// All but starting it.
    pub fn prepare(self) -> Prepared {
        let sealed = memfd_create("plan", MemfdFlags::ALLOW_SEALING).unwrap();
        File::from(sealed.try_clone().unwrap()).write_all(&serde_json::to_vec(&self.plan).unwrap()).unwrap();
        fcntl_add_seals(&sealed, self.seals).unwrap();
        let mounts = File::open("/proc/thread-self/ns/mnt").unwrap().into();
        let network = File::open("/proc/thread-self/ns/net").unwrap().into();
        let descriptors: Vec<OwnedFd> =
            [sealed, self.program, mounts, network].into_iter().chain(self.arguments).collect();
        for descriptor in &descriptors {
            fcntl_setfd(descriptor, FdFlags::empty()).unwrap();
        }
        let numbers = descriptors.iter().map(|fd| fd.as_raw_fd().to_string()).collect::<Vec<_>>().join(",");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tether-confine"));
        command.arg(format!("--descriptors={numbers}")).env("FROM_OUTSIDE", "1");
        command.stdin(self.stdin).stdout(self.stdout).stderr(self.stderr);
        Prepared { command, _descriptors: descriptors }
    }
}

/// The folders of programs as if agentd had found nothing in them: on a machine where programs are made they are large.
pub fn clean_ground() -> Vec<Ground> {
    let about = |path: &&str| Some(std::fs::symlink_metadata(path).ok()?).filter(|about| about.is_dir());
    let folder = |path: &&str| {
        let about = about(path)?;
        Some(Ground { path: (*path).to_owned(), device: about.dev(), inode: about.ino(), closed: Vec::new() })
    };
    tether_never::PROGRAMS.iter().filter_map(folder).collect()
}

/// The launcher's command line, and the descriptors that it names.
pub struct Prepared {
    command: Command,
    _descriptors: Vec<OwnedFd>,
}

impl Prepared {
    pub fn start(mut self) -> Child {
        self.command.spawn().unwrap()
    }

    pub fn output(self) -> Output {
        self.start().wait_with_output().unwrap()
    }
}

pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// Refused with this code: 126, nothing on stdout, and the code in the text.
pub fn assert_refused(output: &Output, code: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(126), "{said}");
    assert!(said.contains(&format!("[{code}]")) && said.starts_with("tether: "), "{said}");
    assert_eq!(output.stdout, b"", "something ran");
}

/// A socket to connect to, and nobody who answers: the launcher refuses before it asks.
pub fn agentd_that_is_not_asked() {
    std::thread::spawn(|| {
        let listener = UnixListener::bind("/run/tether/root.sock").unwrap();
        let _ = listener.accept().map(|(stream, _)| std::io::Read::read(&mut { stream }, &mut [0; 1]));
    });
    while !std::path::Path::new("/run/tether/root.sock").exists() {
        std::thread::yield_now();
    }
}
