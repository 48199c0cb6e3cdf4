//! The audit chain on this machine's disk: records of real commands, each writer waiting for its own. Prints one JSON
//! line for each case; where the files are, `TETHER_BENCH_FOLDER` says (never a tmpfs: what a flush costs is the point).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tether_agentd::config::Audit;
use tether_agentd::log::{AuditLog, Folder};
use tether_audit::{Event, Ids, Known, Outcome, Parent, Reached, Verifier};

const WRITERS: usize = 64;
const SPAN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
const SINGLE: usize = 1000;

fn main() {
    let base = std::env::var_os("TETHER_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    std::fs::create_dir_all(&base).expect("the folder");
    let folder = tempfile::tempdir_in(base).expect("a folder");
    let path = folder.path().join("audit");
    let log = open(&path);
    single(&log);
    let (mut rates, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (rate, mut times) = many(&log);
        rates.push(rate);
        waits.append(&mut times);
    }
    print("durable", &rates);
    print("durable wait", &waits);
    let records = log.records();
    drop(log);
    read_back(&path, records);
}

fn open(path: &Path) -> AuditLog {
    let folder = Folder::open(path, None).expect("the folder of the chain");
    AuditLog::open(Arc::new(folder), Audit::default(), "web-01", "7a1c0a52-9f5e-4e63-9a51-1b1f0c8f2d11")
        .expect("a chain")
}

/// As long as a record of a real command is.
fn event(writer: usize, number: usize) -> Event {
    let details = serde_json::json!({
        "argv": ["/usr/bin/tail", "-n", number.to_string(), "/var/log/syslog"], "program": "/usr/bin/tail",
        "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", "rule": format!("logs-{writer}"),
        "bundle": "triage", "version": 12, "cwd": "/var/log", "tty": "/dev/pts/0", "uid": 65_537, "by": "sudo",
    });
    let id = |text: String| Known::Id(text);
    Event {
        event: "sudo.command".into(),
        outcome: Outcome::Allowed,
        code: String::new(),
        ids: Ids {
            human: id("alice@example.org".into()),
            agent: id("triage".into()),
            instance: id(format!("i-{writer:08}")),
            delegation: id(format!("jti-{writer:024}")),
            session: id(format!("{writer:016x}")),
        },
        parent: Some(Parent::record("web-01", 17)),
        details: details.as_object().cloned().unwrap_or_default(),
    }
}

fn write(log: &AuditLog, writer: usize, number: usize) -> f64 {
    let start = Instant::now();
    let ticket = log.append(&event(writer, number)).expect("its place");
    ticket.wait().expect("it is durable");
    start.elapsed().as_nanos() as f64 / 1e3
}

fn single(log: &AuditLog) {
    let times: Vec<f64> = (0..SINGLE).map(|number| write(log, 0, number)).collect();
    print("durable single", &times);
}

/// Records a second, and what each waited.
fn many(log: &AuditLog) -> (f64, Vec<f64>) {
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let times: Vec<f64> = std::thread::scope(|threads| {
        let over = &over;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                threads.spawn(move || {
                    let mut times = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        times.push(write(log, writer, times.len()));
                    }
                    times
                })
            })
            .collect();
        std::thread::sleep(SPAN);
        over.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
    });
    (times.len() as f64 / start.elapsed().as_secs_f64(), times)
}

/// What they have on disk, and how fast they are checked.
fn read_back(path: &Path, records: u64) {
    let entries = std::fs::read_dir(path).expect("the folder").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    files.sort();
    let bytes: u64 = files.iter().map(|file| std::fs::metadata(file).expect("its length").len()).sum();
    print("record bytes", &[bytes as f64 / records as f64]);
    let (mut verifier, mut rates) = (Verifier::from(Reached::default()), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(file).expect("a segment");
        let (before, start) = (verifier.reached().number, Instant::now());
        text.lines().for_each(|line| drop(verifier.take(line).expect("it holds")));
        rates.push((verifier.reached().number - before) as f64 / start.elapsed().as_secs_f64());
    }
    assert_eq!(verifier.reached().number, records, "all are there");
    print("verify", &rates);
}

fn print(case: &str, samples: &[f64]) {
    let samples: Vec<String> = samples.iter().map(|sample| format!("{sample:.1}")).collect();
    println!("{{\"case\":\"{case}\",\"samples\":[{}]}}", samples.join(","));
}
