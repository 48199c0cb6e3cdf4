use super::folder::Folder;
use super::progress::Progress;
use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use tether_audit::Ids;
use tether_recording::{PIECE, Pieces, frame_head};

fn session() -> SessionId {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn wanted() -> Wanted {
    Wanted { kind: Kind::Sudo, command: serde_json::json!(["id"]), size: (0, 0), plan: Some("p".to_owned()) }
}

fn begin(recordings: &Recordings) -> (String, File) {
    let name = recordings.name(&session(), Kind::Sudo);
    let file = recordings.begin(&session(), &name, "web-01", Ids::unknown("a test"), &wanted()).unwrap();
    (name, file.into())
}

fn output(file: &mut File, data: &[u8]) {
    let head = frame_head(0, Stream::Output, u32::try_from(data.len()).unwrap());
    file.write_all(&[&head[..], data].concat()).unwrap();
}

#[test]
fn only_root_and_the_courier_get_near_and_the_sink_only_appends() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path().join("r"), Settings::default()).unwrap();
    let (name, mut file) = begin(&recordings);
    let key = (session(), name);
    let path = recordings.folder.recording(&key);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    for folder in path.ancestors().skip(1).take(2) {
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o750);
    }
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(0)).unwrap();
    output(&mut file, b"x");
    assert!(std::io::Read::read(&mut file, &mut [0]).is_err(), "it could be read");
    let whole = fs::read(&path).unwrap();
    assert!(whole.starts_with(tether_recording::MAGIC), "the beginning was written over");
    assert!(whole.ends_with(b"x"));
}

#[test]
fn names_are_never_used_twice_by_an_agentd_that_comes_back_either() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Recordings::open(folder.path(), Settings::default()).unwrap();
    let recordings = open();
    let (first, _) = begin(&recordings);
    let (second, _) = begin(&recordings);
    assert_eq!((first.as_str(), second.as_str()), ("sudo-1", "sudo-2"));
    recordings.forget(&(session(), first), 1);
    let again = open();
    assert_eq!(again.name(&session(), Kind::Sudo), "sudo-3");
    assert_eq!(again.name(&session(), Kind::Tty), "tty-1", "each kind has its own numbers");
    let open = again.wait(Duration::ZERO);
    assert_eq!(open.len(), 1, "one had no end on record");
    assert!(open.iter().all(|((_, name), open)| *name == second && open.taken_up && open.plan.as_deref() == Some("p")));
}

#[test]
fn pieces_go_on_where_an_earlier_agentd_was() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path(), Settings::default()).unwrap();
    let (name, mut file) = begin(&recordings);
    for _ in 0..40 {
        output(&mut file, &[7; 65536]);
    }
    let path = recordings.folder.recording(&(session(), name));
    let (mut wanted, mut pieces) = (Vec::new(), Pieces::new());
    pieces.take(&fs::read(&path).unwrap(), |piece| wanted.push(piece));
    wanted.extend(pieces.flush());
    assert_eq!(wanted.len(), 3);
    for recorded in [0, PIECE, 2 * PIECE] {
        let mut progress = Progress::open(&path, recorded, 0).unwrap();
        progress.read_on().unwrap();
        progress.finish();
        let from = usize::try_from(recorded / PIECE).unwrap();
        assert_eq!(progress.pending, wanted[from..], "from {recorded}");
        assert_eq!(progress.digest(), pieces.digest());
        assert_eq!(progress.seen.shown, 40 * 65536);
        assert_eq!(progress.trouble(), None);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path(), Settings::default()).unwrap();
    let (name, mut file) = begin(&recordings);
    let path = recordings.folder.recording(&(session(), name));
    let mut progress = Progress::open(&path, 0, 0).unwrap();
    output(&mut file, b"abc");
    progress.read_on().unwrap();
    assert_eq!(progress.trouble(), None, "the control");
    file.write_all(&[1, 2, 3]).unwrap();
    progress.read_on().unwrap();
    assert_eq!(progress.trouble().unwrap(), "its last 3 bytes are half a frame");
    assert_eq!(progress.trouble_now(), None, "more may come");
    File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    progress.read_on().unwrap();
    assert_eq!(progress.trouble_now().unwrap(), "it became shorter than it was");
}

#[test]
fn a_status_at_the_end_is_known_from_one_in_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path(), Settings::default()).unwrap();
    let (name, mut file) = begin(&recordings);
    let end = [&frame_head(0, Stream::End, 4)[..], &30_i32.to_le_bytes()].concat();
    assert!(!recordings.ends_with_status(&session(), &name, 30));
    file.write_all(&end).unwrap();
    assert!(recordings.ends_with_status(&session(), &name, 30));
    assert!(!recordings.ends_with_status(&session(), &name, 9));
}

#[test]
fn what_is_old_and_over_goes_and_with_a_courier_only_what_was_shipped() {
    let place = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(place.path(), Settings::default()).unwrap();
    let names: Vec<String> = (0..3).map(|_| begin(&recordings).0).collect();
    let key = |name: &String| (session(), name.clone());
    recordings.forget(&key(&names[0]), 7);
    recordings.forget(&key(&names[1]), 8);
    let folder: &Folder = &recordings.folder;
    let old = Duration::ZERO;
    assert!(folder.sweep(Duration::from_secs(3600), false).unwrap().is_empty(), "they are young");
    fs::write(folder.recording(&key(&names[1])).with_extension("shipped"), "").unwrap();
    let swept = |ships| -> Vec<(String, Option<u64>)> {
        let of = |removed: Removed| (removed.key.1, removed.ended.map(|ended| ended.record));
        folder.sweep(old, ships).unwrap().into_iter().map(of).collect()
    };
    assert_eq!(swept(true), [(names[1].clone(), Some(8))]);
    fs::remove_file(folder.recording(&key(&names[0])).with_extension("ended")).unwrap();
    assert_eq!(swept(false), [(names[0].clone(), None)], "the third is open; what a power cut took is not known");
}

#[test]
fn what_central_has_is_noted_unless_it_goes_on_or_is_longer_here() {
    let place = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(place.path(), Settings::default()).unwrap();
    let names: Vec<String> = (0..2).map(|_| begin(&recordings).0).collect();
    let key = |name: &String| (session(), name.clone());
    let receipt = |name: &str, bytes: u64| Receipt {
        host: "web-01".parse().unwrap(),
        session: session(),
        recording: name.to_owned(),
        bytes,
        sha256: "x".to_owned(),
        time: 1,
    };
    let path = recordings.folder.recording(&key(&names[0]));
    let length = fs::metadata(&path).unwrap().len();
    let refused = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::InvalidInput;
    assert!(refused(recordings.shipped(&receipt(&names[0], length), "word")), "it goes on");
    recordings.forget(&key(&names[0]), 7);
    assert!(refused(recordings.shipped(&receipt(&names[0], length - 1), "word")), "central has less");
    assert!(refused(recordings.shipped(&receipt("../sudo-1", length), "word")), "a path");
    assert!(!path.with_extension("shipped").exists());
    recordings.shipped(&receipt(&names[0], length), "word").unwrap();
    assert_eq!(fs::read_to_string(path.with_extension("shipped")).unwrap(), "word");
    recordings.shipped(&receipt("sudo-9", 1), "word").unwrap();
    assert!(!recordings.folder.recording(&key(&"sudo-9".to_owned())).with_extension("shipped").exists());
    let swept: Vec<_> = recordings.folder.sweep(Duration::ZERO, true).unwrap();
    assert_eq!(swept.into_iter().map(|removed| removed.key.1).collect::<Vec<_>>(), [names[0].clone()]);
}

#[test]
fn a_full_host_begins_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { host_mib: 1, ..Settings::default() };
    let recordings = Recordings::open(folder.path(), settings).unwrap();
    assert!(recordings.has_room());
    recordings.add_bytes(&session(), PIECE);
    assert!(!recordings.has_room());
}

/// After hours without central a host may be full of what central has by now.
#[test]
fn a_full_host_lets_go_what_was_shipped_the_oldest_first_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path(), Settings { host_mib: 1, ..Settings::default() }).unwrap();
    let key = |name: &String| (session(), name.clone());
    let names: Vec<String> = (0..6)
        .map(|at| {
            let (name, mut file) = begin(&recordings);
            output(&mut file, &vec![7; 200_000]);
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(100 - at)).unwrap();
            let length = file.metadata().unwrap().len();
            recordings.add_bytes(&session(), length);
            name
        })
        .collect();
    // The last goes on; the first was never shipped.
    names[..5].iter().for_each(|name| recordings.forget(&key(name), 7));
    for name in &names[1..] {
        fs::write(recordings.folder.recording(&key(name)).with_extension("shipped"), "a word").unwrap();
    }
    assert!(!recordings.has_room());
    let gone = |removed: Vec<Removed>| removed.into_iter().map(|one| one.key.1).collect::<Vec<_>>();
    assert!(recordings.make_room().unwrap().is_empty(), "the control: this host ships nothing");
    fs::write(folder.path().join("ships"), "").unwrap();
    assert_eq!(gone(recordings.make_room().unwrap()), [names[1].clone(), names[2].clone()]);
    assert!(recordings.has_room());
    assert!(recordings.make_room().unwrap().is_empty(), "there is room");
    recordings.add_bytes(&session(), 10 * PIECE);
    assert_eq!(gone(recordings.make_room().unwrap()), [names[3].clone(), names[4].clone()], "all that was shipped");
    for name in [&names[0], &names[5]] {
        assert!(recordings.folder.recording(&key(name)).exists(), "{name}");
    }
}

#[test]
fn whoever_can_still_write_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path(), Settings::default()).unwrap();
    let (name, file) = begin(&recordings);
    let progress = Progress::open(&recordings.folder.recording(&(session(), name)), 0, 0).unwrap();
    let copy = file.try_clone().unwrap();
    drop(file);
    assert!(progress.has_writer(), "a copy is enough");
    drop(copy);
    assert!(!progress.has_writer());
}

/// Whatever lies there, agentd starts, and removes what it may.
#[test]
fn strange_files_and_folders_hold_up_nothing() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (old, gone) = (Duration::ZERO, "fedcba9876543210fedcba9876543210");
    fs::write(at("00000000000000000000000000000001"), "no folder").unwrap();
    symlink("/proc/self/fd", at("00000000000000000000000000000002")).unwrap();
    symlink(at("00000000000000000000000000000003"), at("00000000000000000000000000000003")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let fifo = |name: &str| {
        rustix::fs::mknodat(rustix::fs::CWD, at(name), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    fifo("00000000000000000000000000000004");
    fs::create_dir(at(gone)).unwrap();
    fs::create_dir(at(gone).join("sudo-1.rec")).unwrap();
    symlink("/nowhere/x", at(gone).join("sudo-2.rec")).unwrap();
    fifo(&format!("{gone}/sudo-3.rec"));
    for name in ["sudo-4.rec", "sudo-5.rec", "sudo-6.rec", "exec-1.rec", "exec-1.shipped", "sudo-6.shipped"] {
        fs::write(at(gone).join(name), "old").unwrap();
    }
    // Marks that are none: torn by a power cut, a folder, one that is waited for.
    fs::write(at(gone).join("sudo-4.open"), "{\"ids\":").unwrap();
    fs::create_dir(at(gone).join("sudo-5.open")).unwrap();
    fifo(&format!("{gone}/sudo-6.open"));
    let recordings = Recordings::open(folder.path(), Settings::default()).unwrap();
    assert_eq!(recordings.wait(Duration::ZERO).len(), 0, "none of these marks says anything");
    let (name, _) = begin(&recordings);
    assert_eq!(name, "sudo-1", "the control: another session's recording begins");
    // It ships: only what was shipped goes, however strange its neighbours are.
    let swept = |ships| -> Vec<String> {
        recordings.folder.sweep(old, ships).unwrap().into_iter().map(|one| one.key.1).collect()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(swept(true)), ["exec-1", "sudo-6"]);
    assert_eq!(sorted(swept(false)), ["sudo-4", "sudo-5"], "and what is a file, where nothing is shipped");
    for name in ["sudo-1.rec", "sudo-2.rec", "sudo-3.rec"] {
        assert!(fs::symlink_metadata(at(gone).join(name)).is_ok(), "{name} is nothing of ours");
    }
}

/// The mark says that central is to have recordings before they go. Whatever is in its place says so too.
#[test]
fn whatever_is_in_the_place_of_the_mark_nothing_goes_that_central_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let (ships, kept) = (folder.path().join("ships"), Folder::open(folder.path().to_owned()).unwrap());
    assert!(!kept.ships(), "the control: none");
    for (what, make) in [
        ("a file", &(|| fs::write(&ships, "").unwrap()) as &dyn Fn()),
        ("a folder", &|| fs::create_dir(&ships).unwrap()),
        ("a link to nowhere", &|| std::os::unix::fs::symlink("/nowhere/x", &ships).unwrap()),
        ("a link to itself", &|| std::os::unix::fs::symlink(&ships, &ships).unwrap()),
    ] {
        make();
        assert!(kept.ships(), "{what}");
        fs::remove_file(&ships).or_else(|_| fs::remove_dir(&ships)).unwrap();
    }
    // Where it cannot be looked at, it is not known to be missing.
    let link = folder.path().join("loop");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let lost = folder.path().join("r");
    let looped = Folder::open(lost.clone()).unwrap();
    fs::remove_dir(&lost).unwrap();
    std::os::unix::fs::symlink(&link, &lost).unwrap();
    assert!(looped.ships());
}
