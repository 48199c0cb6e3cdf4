//! What `tether bundle replay` takes for a chain of a million commands and a bundle of 10,000 rules. Prints one JSON
//! line: microseconds for all of it, from start to exit.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;
use tether_audit::{Chain, Event, Ids, Known, Outcome, Verified};

const RECORDS: u64 = 1_000_000;
const ROUNDS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, bundle) = (folder.path().join("chain.jsonl"), folder.path().join("new.toml"));
    write_chain(&chain);
    std::fs::write(&bundle, rules()).expect("the bundle is written");
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut replay = Command::new(env!("CARGO_BIN_EXE_tether"));
        replay.args(["bundle", "replay"]).args([&chain, &bundle]).stdout(Stdio::null()).stderr(Stdio::null());
        let status = replay.status().expect("it runs");
        assert_eq!(status.code(), Some(3), "half of the commands are refused by the new bundle");
        samples.push(format!("{:.0}", start.elapsed().as_nanos() as f64 / 1e3));
    }
    println!("{{\"case\":\"replay\",\"us\":[{}]}}", samples.join(","));
}

fn write_chain(path: &std::path::Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("the chain is made"));
    let mut chain = Chain::after("host", "boot", Verified { records: 0, head: String::new() });
    for number in 0..RECORDS {
        let program = format!("/usr/bin/p{}", number % 10_000);
        let argv = [program.as_str(), "-n", &(number % 199).to_string(), "/var/log/syslog"];
        let details = serde_json::json!({
            "argv": argv, "program": program, "sha256": "0".repeat(64), "rule": format!("r{}", number % 10_000),
            "bundle": "bench", "version": 1, "cwd": "/", "tty": "pts/0", "uid": 70_000,
        });
        let serde_json::Value::Object(details) = details else { return };
        let ids = Ids { session: Known::Id("s1".to_owned()), ..Ids::unknown("bench") };
        let event = Event {
            event: "sudo.command".to_owned(),
            outcome: Outcome::Allowed,
            code: String::new(),
            ids,
            parent: None,
            details,
        };
        let next = chain.next(event, number).expect("a record");
        writeln!(file, "{}", next.line).expect("it is written");
        chain.commit(&next);
    }
    file.flush().expect("it is written");
}

fn rules() -> String {
    let mut text = String::from("name = 'bench'\nversion = 2\n");
    for number in 0..10_000 {
        write!(
            text,
            "[[rule]]\nid = 'r{number}'\nprogram = '/usr/bin/p{number}'\n\
             arguments = ['-n', {{ integer = [1, 99] }}, {{ path = '/var/log' }}]\n"
        )
        .expect("a string takes everything");
    }
    text
}
