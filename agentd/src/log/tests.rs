//! What was acknowledged is there after a power cut, in one chain that verifies; what was cut off shows.

use super::forgetful::Forgetful;
use super::segments::{first_of, name_of};
use super::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Mutex;
use tether_audit::{Ids, Known, Line, Link, Outcome, Reached, Verifier};

fn event(what: &str) -> Event {
    let details = json!({"what": what, "more": "x".repeat(600)}).as_object().unwrap().clone();
    let (event, code) = ("sudo.command".to_owned(), String::new());
    Event { event, outcome: Outcome::Allowed, code, ids: Ids::unknown("a test"), parent: None, details }
}

fn small() -> Audit {
    Audit { segment_kib: 4, ..Audit::default() }
}

fn open(disk: &Forgetful, settings: Audit) -> AuditLog {
    AuditLog::open(Arc::new(disk.clone()), settings, "web-01", "boot").unwrap()
}

/// All records, verified from the key that was committed to.
fn verified(disk: &Forgetful) -> (Vec<Link>, Reached) {
    let start: Committed = serde_json::from_slice(&disk.read(START_FILE).unwrap()).unwrap();
    let mut verifier = Verifier::from(Reached { key: Some((start.key, start.public)), ..Reached::default() });
    let mut links = Vec::new();
    let firsts: BTreeSet<u64> = disk.list().unwrap().iter().filter_map(|name| first_of(name)).collect();
    for first in firsts {
        let text = String::from_utf8(disk.read(&name_of(first)).unwrap()).unwrap();
        for line in text.lines() {
            if let Line::Record { link, .. } = verifier.take(line).unwrap_or_else(|e| panic!("{first}: {e}")) {
                links.push(*link);
            }
        }
    }
    (links, verifier.reached().clone())
}

fn whats(links: &[Link]) -> BTreeSet<String> {
    links.iter().map(|link| link.event.details["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn records_come_in_order_with_heads_and_over_restarts() {
    let disk = Forgetful::new(1);
    for round in 0..4 {
        let mut log = open(&disk, small());
        for number in 0..10 {
            let ticket = log.append(&event(&format!("{round}-{number}"))).unwrap();
            assert_eq!(ticket.number(), round * 10 + number + 1);
            ticket.wait().unwrap();
        }
        log.stop();
        assert!(log.append(&event("late")).is_err());
        let (links, reached) = verified(&disk);
        assert_eq!((links.len() as u64, reached.signed), (round * 10 + 10, round * 10 + 10));
    }
    let segments = disk.list().unwrap().iter().filter_map(|name| first_of(name)).count();
    assert!(segments > 5, "{segments} segments");
}

#[test]
fn many_writers_each_get_what_they_wait_for() {
    let disk = Forgetful::new(1);
    let log = open(&disk, small());
    std::thread::scope(|threads| {
        for thread in 0..16 {
            let log = &log;
            threads.spawn(move || {
                (0..50).for_each(|n| log.append(&event(&format!("{thread}-{n}"))).unwrap().wait().unwrap())
            });
        }
    });
    drop(log);
    assert_eq!(whats(&verified(&disk).0).len(), 800);
}

/// Cut at a random moment under several writers; `lost` counts acknowledged records that are gone.
fn cut_under_load(disk: &Forgetful, rounds: usize) -> (usize, Forgetful) {
    let (mut acknowledged, mut lost) = (BTreeSet::new(), 0);
    let mut disk = disk.clone();
    for round in 0..rounds {
        let log = AuditLog::open(Arc::new(disk.clone()), small(), "web-01", "boot").unwrap();
        if log.closed().is_some() {
            return (lost + acknowledged.len(), disk);
        }
        let done = Mutex::new(BTreeSet::new());
        let after = std::thread::scope(|threads| {
            for thread in 0..4 {
                let (log, done) = (&log, &done);
                threads.spawn(move || {
                    for number in 0..(7 + round % 5) {
                        let what = format!("{round}-{thread}-{number}");
                        log.append(&event(&what)).unwrap().wait().unwrap();
                        done.lock().unwrap().insert(what);
                    }
                });
            }
            while done.lock().unwrap().len() < 5 + round % 11 {
                std::thread::yield_now();
            }
            // In this order: what is acknowledged between the two may be there, or not.
            let so_far = done.lock().unwrap().clone();
            (so_far, disk.cut())
        });
        acknowledged.extend(after.0);
        drop(log);
        disk = after.1;
        let mut log = AuditLog::open(Arc::new(disk.clone()), small(), "web-01", "boot").unwrap();
        if log.closed().is_some() {
            return (lost + acknowledged.len(), disk);
        }
        log.stop();
        let found = whats(&verified(&disk).0);
        lost += acknowledged.difference(&found).count();
    }
    (lost, disk)
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    for seed in 1..12 {
        assert_eq!(cut_under_load(&Forgetful::new(seed * 7919), 6).0, 0, "seed {seed}");
    }
}

/// The control: the test sees the loss where nothing is flushed.
#[test]
fn without_flushes_the_loss_is_found() {
    let lost: usize = (1..6).map(|seed| cut_under_load(&Forgetful::without_flushes(seed * 7919), 3).0).sum();
    assert!(lost > 0);
}

#[test]
fn a_full_disk_takes_back_all_that_was_not_durable_and_goes_on_with_space() {
    let disk = Forgetful::new(5);
    let log = open(&disk, small());
    log.append(&event("before")).unwrap().wait().unwrap();
    for left in [0, 1, 2, 0, 1] {
        disk.fills_after(Some(left));
        let results: Vec<bool> =
            (0..6).map(|n| log.append(&event(&format!("{left}-{n}"))).unwrap().wait().is_ok()).collect();
        assert!(results.contains(&false), "there was space: {results:?}");
        disk.fills_after(None);
        log.append(&event("after")).unwrap().wait().unwrap();
    }
    drop(log);
    let (links, reached) = verified(&disk);
    assert_eq!(reached.signed as usize, links.len());
    assert!(whats(&links).contains("before") && whats(&links).contains("after"));
}

fn written(disk: &Forgetful, records: usize) {
    let mut log = open(disk, small());
    (0..records).for_each(|n| log.append(&event(&n.to_string())).unwrap().wait().unwrap());
    log.stop();
}

/// The folder as it was at some moment, put over the one of now but for the key.
fn put_back(from: &Forgetful, to: &Forgetful, key: bool) {
    for name in to.list().unwrap() {
        if key || name != "key" {
            to.remove(&name).unwrap();
        }
    }
    for name in from.list().unwrap().iter().filter(|name| key || *name != "key") {
        let mut file = to.create(name, Access::Root).unwrap();
        file.write_at(0, &from.read(name).unwrap()).unwrap();
    }
    to.sync().unwrap();
}

fn code(disk: &Forgetful) -> Option<&'static str> {
    let log = open(disk, small());
    let code = log.closed().map(|closed| closed.code);
    assert_eq!(log.append(&event("x")).is_err(), code.is_some(), "nothing is added to a chain that does not hold");
    code
}

#[test]
fn a_chain_that_was_cut_or_put_back_is_found_by_its_key() {
    let disk = Forgetful::new(3);
    written(&disk, 20);
    let old = Forgetful::new(3);
    put_back(&disk, &old, true);
    assert_eq!(code(&old), None, "control: a copy of all of it is taken up");
    written(&disk, 20);

    let cut = Forgetful::new(3);
    put_back(&disk, &cut, true);
    put_back(&old, &cut, false);
    assert_eq!(code(&cut), Some("audit.cut"), "an older chain under the key of now");

    let tail = Forgetful::new(3);
    put_back(&disk, &tail, true);
    let last = tail.list().unwrap().into_iter().filter(|name| first_of(name).is_some()).max().unwrap();
    let text = String::from_utf8(tail.read(&last).unwrap()).unwrap();
    let shorter: String =
        text.lines().rev().skip(1).collect::<Vec<_>>().into_iter().rev().map(|l| format!("{l}\n")).collect();
    tail.open(&last).unwrap().cut(shorter.len() as u64).unwrap();
    // The head that is kept beside the key is put back where it was: nothing of it is lost.
    assert_eq!(code(&tail), None);

    let keyless = Forgetful::new(3);
    put_back(&disk, &keyless, true);
    keyless.remove("key").unwrap();
    assert_eq!(code(&keyless), Some("audit.cut"), "without its key");

    let changed = Forgetful::new(3);
    put_back(&disk, &changed, true);
    changed.open(&name_of(1)).unwrap().write_at(40, b"x").unwrap();
    assert_eq!(code(&changed), Some("audit.broken"));
}

#[test]
fn the_secret_of_a_head_is_gone_and_the_next_one_is_there() {
    let disk = Forgetful::new(3);
    written(&disk, 1);
    let secrets = |disk: &Forgetful| {
        let bytes = disk.read("key").unwrap();
        String::from_utf8_lossy(&bytes).matches("seed").count()
    };
    let first = String::from_utf8_lossy(&disk.read("key").unwrap()[..1024]).into_owned();
    assert_eq!(secrets(&disk), 1);
    written(&disk, 1);
    let second = String::from_utf8_lossy(&disk.read("key").unwrap()[..1024]).into_owned();
    let seed = first.split("seed\":\"").nth(1).unwrap().get(..64).unwrap();
    assert!(!second.contains(seed), "a secret that was used stays");
}

#[test]
fn old_segments_go_once_central_has_them_and_not_before() {
    let disk = Forgetful::new(3);
    let settings = Audit { keep_days: 0, segment_kib: 4, ..Audit::default() };
    let mut log = open(&disk, settings.clone());
    (0..30).for_each(|n| log.append(&event(&n.to_string())).unwrap().wait().unwrap());
    log.stop();
    let mark = countersign_mark(&disk);
    let log = open(&disk, settings.clone());
    let wrong = Countersignature { hash: "x".into(), ..mark.clone() };
    assert!(log.countersign("a.b.c", &wrong).is_err());
    assert!(disk.list().unwrap().contains(&name_of(1)), "it is not countersigned");
    log.countersign("a.eyJudW1iZXIiOjMwfQ.c", &mark).unwrap();
    assert_eq!(log.standing().countersigned, 30);
    drop(log);
    let mut log = open(&disk, settings);
    log.stop();
    assert_eq!(log.standing().countersigned, 30, "over a restart");
    assert!(!disk.list().unwrap().contains(&name_of(1)), "{:?}", disk.list());
    assert_eq!(log.closed(), None);
}

/// Central's word for the last head of the chain.
fn countersign_mark(disk: &Forgetful) -> Countersignature {
    let (_, reached) = verified(disk);
    let host = "web-01".parse().unwrap();
    Countersignature { host, number: reached.number, hash: reached.hash, head: reached.head, time: 0 }
}

#[test]
fn without_room_agents_are_refused_and_what_happens_stays_on_record() {
    let disk = Forgetful::new(3);
    let log = open(&disk, Audit { max_mib: 1, segment_kib: 64, ..Audit::default() });
    let mut number = 0;
    while log.closed().is_none() {
        log.append(&event(&number.to_string())).unwrap().wait().unwrap();
        number += 1;
        assert!(number < 2000);
    }
    assert_eq!(log.closed().unwrap().code, "audit.full");
    log.append(&event("an end")).unwrap().wait().unwrap();
    // Central has it: there is room at once, and not with the next head, half a minute later.
    let begun = std::time::Instant::now();
    while log.standing().signed < log.standing().records {
        assert!(begun.elapsed().as_secs() < 10, "no head comes");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    log.countersign("a.b.c", &countersign_mark(&disk)).unwrap();
    let begun = std::time::Instant::now();
    while log.closed().is_some() {
        assert!(begun.elapsed().as_secs() < 10, "there is no room yet");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(log.standing().bytes < 1 << 20);
}

/// Whatever has a segment's name: agentd starts, and lets no agent in.
#[test]
fn what_is_no_file_is_no_chain_and_is_not_waited_for() {
    use std::fs;
    type Way = (&'static str, fn(&std::path::Path));
    let ways: [Way; 4] = [
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a FIFO", |path| {
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        ("a link to itself", |path| std::os::unix::fs::symlink(path, path).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let disk = Arc::new(Folder::open(folder.path(), None).unwrap());
        AuditLog::open(disk, Audit::default(), "web-01", "boot").unwrap()
    };
    open().append(&event("one")).unwrap().wait().unwrap();
    for (what, make) in ways {
        // In the place of the one that is written to, and of one that nobody has written.
        for first in [1, 99] {
            let path = folder.path().join(name_of(first));
            let kept = fs::read(&path).ok();
            drop(fs::remove_file(&path));
            make(&path);
            assert_eq!(open().closed().map(|closed| closed.code), Some("audit.broken"), "{what} at {first}");
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
            if let Some(kept) = kept {
                fs::write(&path, kept).unwrap();
            }
            assert_eq!(open().closed(), None, "the control: without {what} at {first}");
        }
    }
}

/// An agentd that starts knows what the earlier one had begun, by which record, and how much each session has caused.
#[test]
fn what_is_not_over_is_known_after_a_restart() {
    let disk = Forgetful::new(1);
    let mut log = open(&disk, small());
    let of = |session: &str, event: &str, recording: Option<&str>| {
        let ids = Ids { session: Known::Id(session.to_owned()), ..Ids::unknown("a test") };
        let details = json!({"recording": recording}).as_object().unwrap().clone();
        let event = Event { event: event.to_owned(), ids, details, ..self::event("x") };
        log.append(&event).unwrap().number()
    };
    of("s1", "session.reserved", None);
    of("s1", "recording.started", Some("exec-1"));
    let begun = of("s1", "recording.started", Some("sudo-1"));
    of("s1", "recording.ended", Some("exec-1"));
    of("s2", "recording.started", Some("exec-1"));
    of("s2", "session.removed", None);
    let late = of("s2", "recording.ended", Some("exec-1"));
    assert_eq!((begun, late), (3, 7));
    log.stop();
    let log = open(&disk, small());
    let left = log.left();
    let open: Vec<_> =
        left.recordings.iter().map(|((of, name), begun)| (of.as_str(), name.as_str(), begun.record)).collect();
    assert_eq!(open, [("s1", "sudo-1", 3)]);
    assert_eq!(left.recordings.values().next().unwrap().ids.session, Known::Id("s1".to_owned()));
    assert_eq!(left.records.get("s1"), Some(&4));
    assert_eq!(left.records.get("s2"), Some(&1), "only what came after its removal");
}
