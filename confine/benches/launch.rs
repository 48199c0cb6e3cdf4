//! What the launcher costs beside a bare exec, bubblewrap taking turns where it is installed. Prints one JSON line
//! per row: microseconds from fork to the end of /bin/true. Run by `cargo xtask bench confine`, as root.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Launch, own_run};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tether_hostlink::{Connection, Deadline, Reply};

/// What the shipped bundle for forensics lets be read.
const TREES: [&str; 7] = ["/etc", "/var/log", "/var/lib", "/opt", "/srv", "/home", "/run"];
const ROUNDS: usize = 100;
const PROCESSES: usize = 1000;

/// One measurement: from fork to the end, and what of that was the processors' work, which other load does not change.
#[derive(Clone, Copy)]
struct Sample {
    us: f64,
    cpu: f64,
}

type Samples = Vec<Sample>;

fn main() {
    if !own_run() {
        return;
    }
    std::thread::spawn(serve);
    while !std::path::Path::new("/run/tether/root.sock").exists() {
        std::thread::yield_now();
    }
    let bubblewrap = Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok();
    let (mut bare, mut confined, mut minimal, mut wrapped): (Samples, Samples, Samples, Samples) = Default::default();
    for _ in 0..ROUNDS {
        bare.push(timed(|| Command::new("/bin/true").status().unwrap().success()));
        minimal.push(launch(&[], false));
        confined.push(launch(&TREES, false));
        if bubblewrap {
            wrapped.push(timed(|| {
                let arguments = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"];
                Command::new("bwrap").args(arguments).status().unwrap().success()
            }));
        }
    }
    row("bare", &bare);
    row("confine", &confined);
    row("confine minimal", &minimal);
    if bubblewrap {
        row("bubblewrap", &wrapped);
    }
    let before: Samples = (0..ROUNDS / 4).map(|_| launch(&TREES, true)).collect();
    row("proc-links", &before);
    let crowd: Vec<Child> = (0..PROCESSES).map(|_| Command::new("sleep").arg("600").spawn().unwrap()).collect();
    let (mut with, mut without): (Samples, Samples) = Default::default();
    for _ in 0..ROUNDS / 4 {
        without.push(launch(&TREES, false));
        with.push(launch(&TREES, true));
    }
    for mut one in crowd {
        one.kill().unwrap();
        one.wait().unwrap();
    }
    row("confine 1000", &without);
    row("proc-links 1000", &with);
}

/// agentd, as far as the launcher sees it.
fn serve() {
    let listener = std::os::unix::net::UnixListener::bind("/run/tether/root.sock").unwrap();
    loop {
        let Ok(connection) = Connection::accept(&listener) else { continue };
        let soon = || Deadline::after(std::time::Duration::from_secs(5));
        if connection.question(soon()).is_ok() {
            let _ = connection.answer(&Reply::Done, &[], soon());
        }
    }
}

fn launch(trees: &[&str], proc_links: bool) -> Sample {
    let mut launch = Launch::of("/bin/true", &["true"]).reading(trees);
    launch.plan.confinement.proc_links = proc_links;
    let command = launch.prepare();
    timed(move || {
        let output = command.output();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        true
    })
}

fn timed(act: impl FnOnce() -> bool) -> Sample {
    let (start, before) = (Instant::now(), of_children());
    assert!(act());
    Sample { us: start.elapsed().as_nanos() as f64 / 1e3, cpu: of_children() - before }
}

/// Microseconds of processor time of all processes that were waited for.
fn of_children() -> f64 {
    // SAFETY: all zeroes is a rusage; the kernel fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    let of = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Two lines: `NAME`, and `NAME, cpu`.
fn row(name: &str, samples: &[Sample]) {
    let line = |name: &str, of: &dyn Fn(&Sample) -> f64| {
        let samples: Vec<String> = samples.iter().map(|sample| format!("{:.1}", of(sample))).collect();
        println!("{{\"case\":\"{name}\",\"us\":[{}]}}", samples.join(","));
    };
    line(name, &|sample| sample.us);
    line(&format!("{name}, cpu"), &|sample| sample.cpu);
}
