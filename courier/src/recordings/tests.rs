use super::*;
use std::fs;

const SESSION: &str = "0123456789abcdef";

/// A central that has what it was sent, and knows from the chain what recordings should be.
#[derive(Default)]
struct Central {
    chain: BTreeMap<Key, Vec<u8>>,
    had: BTreeMap<Key, Vec<u8>>,
    /// Each request: the name, where, how many bytes.
    asked: Vec<(String, Option<(u64, usize)>)>,
    full: bool,
}

impl Central {
    fn answer(&mut self, ask: &Ask<'_>) -> Result<Shipped, LinkError> {
        let (key, piece) = (ask.key.clone(), ask.piece);
        self.asked.push((key.1.clone(), piece.map(|(offset, bytes)| (offset, bytes.len()))));
        if self.full {
            return Err(refusal(503, "recording.host_quota"));
        }
        let whole = self.chain.get(&key).cloned().unwrap_or_default();
        let had = self.had.entry(key).or_default();
        if let Some((offset, bytes)) = piece.filter(|(offset, _)| *offset == had.len() as u64) {
            let at = usize::try_from(offset).unwrap();
            if whole.get(at..at + bytes.len()) != Some(bytes) || bytes.is_empty() {
                return Err(refusal(400, "recording.digest"));
            }
            had.extend_from_slice(bytes);
        }
        let left = (whole.len() - had.len()) as u64;
        let is_whole = !had.is_empty() && left == 0;
        Ok(Shipped {
            bytes: had.len() as u64,
            whole: is_whole,
            next: (left > 0).then(|| left.min(PIECE)),
            receipt: is_whole.then(|| "a word".to_owned()),
        })
    }
}

fn refusal(status: u16, code: &str) -> LinkError {
    LinkError::Refused { status, error: String::new(), code: code.to_owned(), description: String::new() }
}

struct Host {
    folder: tempfile::TempDir,
    shipper: Shipper,
    /// What agentd was given.
    placed: Vec<Key>,
    now: Instant,
}

fn key(name: &str) -> Key {
    (SESSION.to_owned(), name.to_owned())
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipper = Shipper::new(folder.path());
        fs::create_dir(folder.path().join(SESSION)).unwrap();
        Self { folder, shipper, placed: Vec::new(), now: Instant::now() }
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(SESSION).join(file), bytes).unwrap();
    }

    fn round(&mut self, central: &mut Central) -> anyhow::Result<Duration> {
        let placed = &mut self.placed;
        self.shipper.round(self.now, &mut |ask| central.answer(ask), &mut |key, _| {
            placed.push(key.clone());
            Ok(())
        })
    }

    /// As if so much time had passed.
    fn later(&mut self, passed: Duration) {
        self.now += passed;
    }
}

const MIB: usize = 1 << 20;

#[test]
fn each_goes_by_pieces_from_where_central_is() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let (small, large) = (bytes(10), bytes(2 * MIB + 5));
    host.put("sudo-1.rec", &small);
    host.put("sudo-2.rec", &large);
    host.put("ships", b"");
    host.put("notes.rec", b"no name of ours");
    central.chain = BTreeMap::from([(key("sudo-1"), small.clone()), (key("sudo-2"), large.clone())]);
    // Half of it is there from before: this courier was started anew.
    central.had.insert(key("sudo-2"), large[..MIB].to_vec());
    assert_eq!(host.round(&mut central).unwrap(), SOON);
    assert_eq!(central.had[&key("sudo-2")], large);
    let asked = [
        ("sudo-1", None),
        ("sudo-1", Some((0, 10))),
        ("sudo-2", None),
        ("sudo-2", Some((MIB as u64, MIB))),
        ("sudo-2", Some((2 * MIB as u64, 5))),
    ];
    assert_eq!(central.asked, asked.map(|(name, piece)| (name.to_owned(), piece)));
    assert_eq!(host.placed, [key("sudo-1"), key("sudo-2")]);
    // agentd has noted one of them; of the other the word was lost, and is brought again.
    host.put("sudo-1.shipped", b"");
    central.asked.clear();
    host.round(&mut central).unwrap();
    assert_eq!(central.asked, [], "not at once");
    host.later(SOON);
    host.round(&mut central).unwrap();
    assert_eq!(central.asked, [("sudo-2".to_owned(), None)]);
    assert_eq!(host.placed.last(), Some(&key("sudo-2")));
}

#[test]
fn an_open_one_goes_by_whole_pieces() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let whole = bytes(MIB + 5);
    host.put("tty-1.open", b"");
    host.put("tty-1.rec", &whole[..MIB - 1]);
    host.round(&mut central).unwrap();
    assert_eq!(central.asked, [], "nothing of it is on record");
    host.put("tty-1.rec", &whole);
    central.chain.insert(key("tty-1"), whole[..MIB].to_vec());
    central.answer(&Ask { key: &key("tty-1"), piece: None }).unwrap();
    let mut receiptless =
        |ask: &Ask<'_>| central.answer(ask).map(|said| Shipped { whole: false, receipt: None, ..said });
    let never = &mut |_: &Key, _: &str| -> anyhow::Result<()> { panic!("it is not whole") };
    host.shipper.round(host.now, &mut receiptless, never).unwrap();
    assert_eq!(central.had[&key("tty-1")].len(), MIB);
    central.asked.clear();
    host.later(LATE * 2);
    host.round(&mut central).unwrap();
    assert_eq!(central.asked, [], "there is no other whole piece");
    fs::remove_file(host.folder.path().join(SESSION).join("tty-1.open")).unwrap();
    central.chain.insert(key("tty-1"), whole.clone());
    host.round(&mut central).unwrap();
    assert_eq!(central.had[&key("tty-1")], whole);
    assert_eq!(host.placed, [key("tty-1")]);
}

#[test]
fn what_is_wrong_with_one_delays_no_other_and_is_tried_ever_later() {
    let (mut host, mut central) = (Host::new(), Central::default());
    host.put("sudo-1.rec", b"swapped");
    host.put("sudo-2.rec", b"good");
    host.put("sudo-3.rec", b"shor");
    central.chain = BTreeMap::from([
        (key("sudo-1"), b"genuine".to_vec()),
        (key("sudo-2"), b"good".to_vec()),
        (key("sudo-3"), b"shorter".to_vec()),
    ]);
    host.round(&mut central).unwrap();
    assert_eq!(host.placed, [key("sudo-2")]);
    host.put("sudo-2.shipped", b"");
    let mut tries = Vec::new();
    for second in 0..5000 {
        host.later(Duration::from_secs(1));
        central.asked.clear();
        host.round(&mut central).unwrap();
        if central.asked.iter().any(|(name, _)| name == "sudo-1") {
            tries.push(second);
        }
    }
    assert!((10..25).contains(&tries.len()), "{tries:?}");
    // The file is put right: it goes.
    host.put("sudo-1.rec", b"genuine");
    host.later(LATE);
    host.round(&mut central).unwrap();
    assert_eq!(host.placed, [key("sudo-2"), key("sudo-1")]);
}

#[test]
fn without_central_or_its_room_all_wait() {
    let (mut host, mut central) = (Host::new(), Central { full: true, ..Central::default() });
    for name in ["sudo-1", "sudo-2"] {
        host.put(&format!("{name}.rec"), b"x");
        central.chain.insert(key(name), b"x".to_vec());
    }
    assert_eq!(host.round(&mut central).unwrap(), FULL);
    assert_eq!(central.asked.len(), 1, "one was enough to know");
    let mut away = |_: &Ask<'_>| Err(LinkError::Random);
    let mut place = |_: &Key, _: &str| Ok(());
    assert!(host.shipper.round(host.now, &mut away, &mut place).is_err(), "the caller waits, and begins anew");
    central.full = false;
    host.round(&mut central).unwrap();
    assert_eq!(host.placed.len(), 2);
}

#[test]
fn a_long_one_lets_others_by() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let long = bytes((TURN + 2) * MIB);
    host.put("exec-1.rec", &long);
    host.put("sudo-1.rec", b"x");
    central.chain = BTreeMap::from([(key("exec-1"), long), (key("sudo-1"), b"x".to_vec())]);
    assert_eq!(host.round(&mut central).unwrap(), Duration::ZERO, "there is more");
    assert_eq!(host.placed, [key("sudo-1")]);
    host.round(&mut central).unwrap();
    assert_eq!(host.placed, [key("sudo-1"), key("exec-1")]);
}

#[test]
fn what_is_no_file_is_not_read() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let folder = host.folder.path().join(SESSION);
    std::os::unix::fs::symlink("/etc/passwd", folder.join("sudo-1.rec")).unwrap();
    fs::create_dir(folder.join("sudo-2.rec")).unwrap();
    host.put("sudo-3.rec", b"good");
    for (name, text) in [("sudo-1", "root"), ("sudo-2", "root"), ("sudo-3", "good")] {
        central.chain.insert(key(name), text.as_bytes().to_vec());
    }
    host.round(&mut central).unwrap();
    let given: Vec<&str> = central.asked.iter().filter(|(_, piece)| piece.is_some()).map(|(name, _)| &**name).collect();
    assert_eq!(given, ["sudo-3"], "and it delays no other");
}

/// Whatever has a session's name, or lies among its recordings: the others go.
#[test]
fn strange_files_and_folders_delay_no_recording() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let at = |name: &str| host.folder.path().join(name);
    // A file, a link to a folder with a recording, one to itself, a FIFO, in the place of a session's folder.
    fs::write(at("1111111111111111"), b"no folder").unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/sudo-1.rec"), b"nobody's").unwrap();
    std::os::unix::fs::symlink(at("elsewhere"), at("2222222222222222")).unwrap();
    std::os::unix::fs::symlink(at("3333333333333333"), at("3333333333333333")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, at("4444444444444444"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::write(at("ships.old"), b"").unwrap();
    // Among recordings: folders, links, a FIFO, something huge, a mark that is none, names that are none.
    let session = at(SESSION);
    fs::create_dir(session.join("sudo-1.rec")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", session.join("sudo-2.rec")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, session.join("sudo-3.rec"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::File::create(session.join("sudo-4.rec")).unwrap().set_len(1 << 42).unwrap();
    fs::create_dir(session.join("sudo-5.open")).unwrap();
    for name in ["-1.rec", "..rec", ".rec", "sudo-99999999999999999999.rec", "sudo-9.rec~", "sudo-8.new"] {
        fs::write(session.join(name), b"half").unwrap();
    }
    host.put("tty-1.rec", b"good");
    for (name, text) in [("sudo-1", "root"), ("sudo-2", "root"), ("sudo-3", "root"), ("sudo-4", "x"), ("tty-1", "good")]
    {
        central.chain.insert(key(name), text.as_bytes().to_vec());
    }
    for _ in 0..3 {
        host.round(&mut central).unwrap();
        host.later(LATE);
    }
    assert_eq!(central.had[&key("tty-1")], b"good");
    assert!(host.placed.iter().all(|placed| *placed == key("tty-1")) && !host.placed.is_empty(), "{:?}", host.placed);
    let given = central.asked.iter().filter_map(|(name, piece)| Some((&**name, piece.as_ref()?.1)));
    assert!(given.clone().all(|(name, _)| ["tty-1", "sudo-4"].contains(&name)), "{:?}", given.collect::<Vec<_>>());
    assert!(central.asked.iter().all(|(_, piece)| piece.is_none_or(|(_, length)| length as u64 <= PIECE)));
    // The control: a folder in the file's place, and it goes.
    let other = ("1111111111111111".to_owned(), "sudo-1".to_owned());
    fs::remove_file(host.folder.path().join(&other.0)).unwrap();
    fs::create_dir(host.folder.path().join(&other.0)).unwrap();
    fs::write(host.folder.path().join(&other.0).join("sudo-1.rec"), b"good").unwrap();
    central.chain.insert(other.clone(), b"good".to_vec());
    host.round(&mut central).unwrap();
    assert_eq!(central.had[&other], b"good");
}

#[test]
fn an_inbox_that_takes_nothing_delays_no_recording() {
    let (mut host, mut central) = (Host::new(), Central::default());
    for name in ["sudo-1", "sudo-2"] {
        host.put(&format!("{name}.rec"), b"x");
        central.chain.insert(key(name), b"x".to_vec());
    }
    let never = &mut |_: &Key, _: &str| anyhow::bail!("a folder is in the way");
    host.shipper.round(host.now, &mut |ask| central.answer(ask), never).unwrap();
    assert_eq!(central.had.len(), 2);
    // Its word is asked for again.
    host.later(SOON);
    host.round(&mut central).unwrap();
    assert_eq!(host.placed, [key("sudo-1"), key("sudo-2")]);
}

/// Whatever central says: what is read is of a recording, no more than a piece at a time, and what is there stays.
#[test]
fn a_central_out_of_its_mind_gets_no_more_than_pieces() {
    let mut host = Host::new();
    let whole = bytes(2 * MIB + 5);
    host.put("sudo-1.rec", &whole);
    let numbers = [0, 1, MIB as u64, u64::from(u32::MAX), i64::MAX as u64, u64::MAX];
    for bytes in numbers {
        for next in [None, Some(0), Some(1), Some(u64::MAX)] {
            let mut asked = 0;
            let mut mad = |ask: &Ask<'_>| {
                asked += 1;
                if let Some((offset, piece)) = ask.piece {
                    let rest = usize::try_from(offset).ok().and_then(|at| whole.get(at..)).unwrap_or_default();
                    assert!(piece.len() <= MIB && rest.starts_with(piece), "{offset} {}", piece.len());
                }
                Ok(Shipped { bytes, whole: true, next, receipt: None })
            };
            host.shipper.round(host.now, &mut mad, &mut |_, _| Ok(())).unwrap();
            assert!(asked < 4, "{bytes} {next:?}: it is asked {asked} times without a pause");
            host.now += LATE;
        }
    }
    assert_eq!(fs::read(host.folder.path().join(SESSION).join("sudo-1.rec")).unwrap(), whole);
    let mut central = Central::default();
    central.chain.insert(key("sudo-1"), whole.clone());
    host.round(&mut central).unwrap();
    assert_eq!(central.had[&key("sudo-1")], whole);
}
