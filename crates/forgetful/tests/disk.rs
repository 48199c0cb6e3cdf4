//! What the disk keeps and what it forgets, by real calls on a real mount.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tether_forgetful::{Disk, Fsync, Mount, private_mounts};

struct Mounted {
    disk: Disk,
    folder: tempfile::TempDir,
    mount: Option<Mount>,
}

impl Mounted {
    fn new(seed: u64) -> Self {
        thread_local!(static PRIVATE: () = private_mounts().unwrap());
        PRIVATE.with(|()| ());
        let mut mounted = Self { disk: Disk::new(seed), folder: tempfile::tempdir().unwrap(), mount: None };
        mounted.mount();
        mounted
    }

    fn mount(&mut self) {
        self.mount = None;
        self.mount = Some(self.disk.mount(self.folder.path(), None).unwrap());
    }

    fn cut(&mut self) {
        self.disk = self.disk.cut();
        self.mount();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    sync(path);
}

/// What is found, over many cuts.
fn over_seeds(deed: impl Fn(&Mounted), found: impl Fn(&Mounted) -> String) -> BTreeSet<String> {
    (0..12)
        .map(|seed| {
            let mut mounted = Mounted::new(seed);
            deed(&mounted);
            mounted.cut();
            found(&mounted)
        })
        .collect()
}

fn text(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => "none".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn it_is_a_file_system() {
    let mounted = Mounted::new(1);
    let at = |name: &str| mounted.at(name);
    fs::create_dir(at("d")).unwrap();
    assert_eq!(fs::create_dir(at("d")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let mut file = File::options().read(true).write(true).create_new(true).open(at("d/f")).unwrap();
    file.write_all(&[b'x'; 10_000]).unwrap();
    file.set_len(5).unwrap();
    file.seek(SeekFrom::Start(7)).unwrap();
    file.write_all(b"yz").unwrap();
    assert_eq!(fs::read(at("d/f")).unwrap(), b"xxxxx\0\0yz");
    let mut appended = File::options().append(true).open(at("d/f")).unwrap();
    appended.write_all(b"!").unwrap();
    assert_eq!(fs::metadata(at("d/f")).unwrap().len(), 10);
    fs::hard_link(at("d/f"), at("g")).unwrap();
    assert_eq!(fs::metadata(at("g")).unwrap().nlink(), 2);
    std::os::unix::fs::symlink("d/f", at("l")).unwrap();
    assert_eq!(fs::read(at("l")).unwrap(), b"xxxxx\0\0yz!");
    fs::rename(at("d/f"), at("h")).unwrap();
    assert_eq!(fs::remove_dir(at("h")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(fs::remove_dir(at("none")).unwrap_err().kind(), ErrorKind::NotFound);
    fs::set_permissions(at("h"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(at("h"), Some(7), Some(8)).unwrap();
    let about = fs::metadata(at("h")).unwrap();
    assert_eq!((about.mode(), about.uid(), about.gid()), (0o100_640, 7, 8));
    // What is open stays, whatever becomes of its name.
    fs::remove_file(at("h")).unwrap();
    fs::remove_file(at("g")).unwrap();
    let mut left = String::new();
    file.seek(SeekFrom::Start(7)).unwrap();
    file.read_to_string(&mut left).unwrap();
    assert_eq!(left, "yz!");
    for number in 0..1000 {
        File::create(at(&format!("d/{number}"))).unwrap();
    }
    assert_eq!(fs::read_dir(at("d")).unwrap().count(), 1000);
    assert_eq!(fs::remove_dir(at("d")).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    fs::remove_dir_all(at("d")).unwrap();
    assert_eq!(fs::read_dir(at("")).unwrap().count(), 1, "the link");
}

#[test]
fn what_was_flushed_is_there_and_what_was_not_may_be() {
    let kept = over_seeds(
        |mounted| {
            put(&mounted.at("a"), "flushed");
            sync(&mounted.at(""));
        },
        |mounted| text(&mounted.at("a")),
    );
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["flushed"]);
    let without_its_folder = over_seeds(|mounted| put(&mounted.at("a"), "a"), |mounted| text(&mounted.at("a")));
    assert_eq!(without_its_folder.into_iter().collect::<Vec<_>>(), ["a", "none"]);
    let without_itself = over_seeds(
        |mounted| {
            fs::write(mounted.at("a"), "a").unwrap();
            sync(&mounted.at(""));
        },
        |mounted| text(&mounted.at("a")),
    );
    assert!(without_itself.len() > 1 && without_itself.contains(""), "{without_itself:?}");
}

#[test]
fn a_part_of_a_write_may_survive_with_zeros_before_it() {
    let found = over_seeds(
        |mounted| {
            put(&mounted.at("a"), "");
            sync(&mounted.at(""));
            fs::write(mounted.at("a"), [b'x'; 2048]).unwrap();
        },
        |mounted| {
            let bytes = fs::read(mounted.at("a")).unwrap();
            let sectors = bytes.chunks(512).map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "half a sector");
                if sector[0] == b'x' { 'x' } else { '0' }
            });
            sectors.collect()
        },
    );
    assert!(found.contains("") && found.contains("xxxx"), "{found:?}");
    assert!(found.iter().any(|found| found.contains("0x")), "{found:?}");
}

#[test]
fn a_rename_happens_whole_or_not_at_all() {
    let replaced = |mounted: &Mounted, flushed: bool| {
        put(&mounted.at("a"), "old");
        sync(&mounted.at(""));
        put(&mounted.at("b"), "new");
        fs::rename(mounted.at("b"), mounted.at("a")).unwrap();
        if flushed {
            sync(&mounted.at(""));
        }
    };
    let found = over_seeds(|mounted| replaced(mounted, false), |mounted| text(&mounted.at("a")));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["new", "old"]);
    let found = over_seeds(|mounted| replaced(mounted, true), |mounted| text(&mounted.at("a")));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["new"]);
    let removed = |mounted: &Mounted| {
        put(&mounted.at("a"), "a");
        sync(&mounted.at(""));
        fs::remove_file(mounted.at("a")).unwrap();
    };
    assert_eq!(over_seeds(removed, |mounted| text(&mounted.at("a"))).len(), 2, "a removal may be forgotten");
}

#[test]
fn fdatasync_does_not_cover_the_mode() {
    let modes = |all: bool| {
        over_seeds(
            |mounted| {
                put(&mounted.at("a"), "a");
                sync(&mounted.at(""));
                let file = File::options().write(true).open(mounted.at("a")).unwrap();
                file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
                if all { file.sync_all().unwrap() } else { file.sync_data().unwrap() }
            },
            |mounted| format!("{:o}", fs::metadata(mounted.at("a")).unwrap().mode() & 0o777),
        )
    };
    assert_eq!(modes(true).len(), 1);
    assert_eq!(modes(false).len(), 2);
}

#[test]
fn an_fsync_that_lies_keeps_nothing() {
    let found = over_seeds(
        |mounted| {
            mounted.disk.set_fsync(Fsync::Lies);
            put(&mounted.at("a"), "a");
            sync(&mounted.at(""));
        },
        |mounted| text(&mounted.at("a")),
    );
    assert!(found.contains("none"), "{found:?}");
}

#[test]
fn nothing_is_acknowledged_after_the_cut() {
    let mounted = Mounted::new(1);
    let mut file = File::create(mounted.at("a")).unwrap();
    let found = mounted.disk.cut();
    assert!(file.write_all(b"a").is_err() && file.sync_all().is_err() && File::create(mounted.at("b")).is_err());
    drop(found);
}

#[test]
fn a_slow_flush_holds_up_nobody_else() {
    let mounted = Mounted::new(1);
    let slow = Duration::from_millis(300);
    mounted.disk.set_slow(slow);
    let file = File::create(mounted.at("a")).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| file.sync_all().unwrap());
        while mounted.disk.flushes() == 0 {
            std::thread::yield_now();
        }
        fs::write(mounted.at("b"), "b").unwrap();
        assert!(!flush.is_finished(), "it was over before");
        flush.join().unwrap();
    });
    assert!(begun.elapsed() >= slow);
}
