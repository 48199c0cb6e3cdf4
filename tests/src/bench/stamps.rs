//! A session of fifty processes that write down how long they live, and the last of their times.

use crate::agent::Agent;
use crate::realm::{Opened, Realm};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::time::{Duration, Instant};
use tether_testhost::Host;

const PROGRAM: &str = include_str!("stamper.c");
/// Processes of a session.
const PROCESSES: usize = 50;
/// How long ssh may take to end after a revocation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compiles the program on a host.
pub fn install(host: &Host) -> Result<()> {
    host.write_file("/root/stamper.c", PROGRAM, 0o644)?;
    host.sh("gcc -O2 -o /usr/local/bin/stamper /root/stamper.c")?;
    Ok(())
}

/// A live session whose processes write stamps.
pub struct Stamped {
    /// The session.
    pub opened: Opened,
    _agent: Agent,
    ssh: Child,
    memory: File,
}

impl Stamped {
    /// Opens a session with a human's token; each process writes every so many microseconds.
    pub fn open(realm: &Realm, host: &Host, token: &str, period: u32) -> Result<Self> {
        let (opened, agent) = realm.open(host, token)?;
        let mut ssh = agent.start(&format!("exec stamper {PROCESSES} {period} {}", opened.session))?;
        let mut line = String::new();
        BufReader::new(ssh.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
        let number = line.trim().strip_prefix("ready ").with_context(|| format!("stamper said {line:?}"))?;
        let memory = memory(&opened.session, number)?;
        Ok(Self { opened, _agent: agent, ssh, memory })
    }

    /// Waits until ssh has ended and the host has removed the session. The last stamp of any process, in
    /// nanoseconds of the monotonic clock.
    pub fn last(mut self, realm: &Realm, host: &Host) -> Result<u64> {
        let begun = Instant::now();
        while self.ssh.try_wait()?.is_none() {
            ensure!(begun.elapsed() < PATIENCE, "the session did not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        realm.wait_gone(host, &self.opened.session)?;
        let mut bytes = [0; PROCESSES * 8];
        self.memory.read_exact_at(&mut bytes, 0)?;
        let stamps = bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(u64::from_le_bytes);
        stamps.max().filter(|stamp| *stamp > 0).context("no process wrote a stamp")
    }
}

/// The memory that a session's processes share, held from outside so that it outlives them.
fn memory(session: &str, descriptor: &str) -> Result<File> {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.first() == Some(&b"stamper".as_slice()) && words.contains(&session.as_bytes()) {
            return File::open(entry.path().join("fd").join(descriptor)).context("the stamps' memory");
        }
    }
    anyhow::bail!("no process of session {session} is there")
}
