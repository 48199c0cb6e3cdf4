use super::*;
use std::path::Path;
use tether_audit::{Chain, Event, HeadAt, HeadSigner, Ids, Outcome, Reached, SignedHead, Verified, Verifier};
use tether_centrallink::wire::ChainTrouble;

/// A host's chain in segments, as agentd writes it.
struct Host {
    folder: tempfile::TempDir,
    chain: Chain,
    key: HeadSigner,
    previous: String,
    segment: u64,
    lines: Vec<String>,
}

impl Host {
    fn new() -> Self {
        let chain = Chain::after("web-01", "boot", Verified { records: 0, head: String::new() });
        let folder = tempfile::tempdir().unwrap();
        let key = HeadSigner::new(0, [5; 32]);
        Self { folder, chain, key, previous: String::new(), segment: 1, lines: Vec::new() }
    }

    fn append(&self, text: &[u8]) {
        use std::io::Write;
        let path = self.folder.path().join(format!("{:020}.jsonl", self.segment));
        std::fs::File::options().append(true).create(true).open(path).unwrap().write_all(text).unwrap();
    }

    fn line(&mut self, line: String) {
        self.append(format!("{line}\n").as_bytes());
        self.lines.push(line);
    }

    fn records(&mut self, count: usize) {
        for _ in 0..count {
            let event = Event {
                event: "e".to_owned(),
                outcome: Outcome::Allowed,
                code: String::new(),
                ids: Ids::unknown("a test"),
                parent: None,
                details: serde_json::Map::new(),
            };
            let next = self.chain.next(event, 1).unwrap();
            self.chain.commit(&next);
            self.line(next.line);
        }
    }

    fn head(&mut self) {
        let at = HeadAt {
            host: "web-01",
            boot: "boot",
            number: self.chain.number(),
            hash: self.chain.head(),
            time_us: 1,
            previous: &self.previous,
        };
        let signed = self.key.sign(&at).unwrap();
        self.previous = signed.head.digest().unwrap();
        self.key = self.key.next();
        self.line(signed.line().unwrap());
    }

    fn new_segment(&mut self) {
        self.segment = self.chain.number() + 1;
    }
}

/// Central as far as a courier sees it: it takes what holds, once.
#[derive(Default)]
struct Central {
    lines: Vec<String>,
    places: Vec<Place>,
    reached: Reached,
    asked: Vec<(Place, bool, usize)>,
    trouble: Option<&'static str>,
    /// Whether it goes on after a gap, and then: lines of before, and where the chain of now begins.
    takes_gaps: bool,
    older: Vec<String>,
    base: Place,
}

impl Central {
    fn taking_gaps() -> Self {
        Self { takes_gaps: true, ..Self::default() }
    }

    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or(self.base)
    }

    fn take(&mut self, ask: &Ask<'_>) -> Taken {
        self.asked.push((ask.after, ask.end, ask.lines.len()));
        let known = self.places.iter().position(|place| *place == ask.after).map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(ask.lines).into_owned();
        let begins = text.lines().next().and_then(|line| serde_json::from_str::<SignedHead>(line).ok());
        if let (true, true, Some(SignedHead { head, .. })) =
            (ask.gap && self.takes_gaps, self.trouble == Some("broken"), begins)
        {
            // Another chain: what was before stays as it is.
            self.older.append(&mut self.lines);
            self.places.clear();
            (self.base, self.trouble) = (ask.after, None);
            let key = Some((head.key, head.public));
            self.reached =
                Reached { number: head.number, hash: head.hash, key, head: head.previous, ..Reached::default() };
        }
        if ask.after > self.place() && !text.is_empty() {
            self.trouble = Some(if self.takes_gaps { "broken" } else { "gap" });
        } else if ask.end && ask.after < self.place() {
            self.trouble = Some("rewound");
        } else {
            let mut verifier = Verifier::from(self.reached.clone());
            for line in text.lines().skip(self.lines.len() - known) {
                if verifier.take(line).is_err() {
                    self.trouble = Some("broken");
                    break;
                }
                let place = self.place();
                let number = verifier.reached().number;
                let marks = if line.starts_with("{\"hash\"") { 0 } else { place.marks + 1 };
                self.places.push(Place { number, marks });
                self.lines.push(line.to_owned());
                self.reached = verifier.reached().clone();
            }
        }
        Taken {
            number: self.place().number,
            lines: self.place().marks,
            countersignature: Some(format!("about {}", self.reached.head)),
            trouble: self.trouble.map(|state| ChainTrouble {
                state: state.to_owned(),
                code: "c".to_owned(),
                number: 1,
                why: "w".to_owned(),
            }),
        }
    }
}

/// Until nothing is left, or it fails.
fn ship(shipper: &mut Shipper, central: &mut Central) -> Result<Vec<String>> {
    let mut placed = Vec::new();
    for _ in 0..10_000 {
        let mut put = |text: &str| {
            placed.push(text.to_owned());
            Ok(())
        };
        if shipper.step(&mut |ask| Ok(central.take(ask)), &mut put)? == Step::Done {
            return Ok(placed);
        }
    }
    panic!("it never ends");
}

fn shipper(folder: &Path) -> Shipper {
    Shipper::new(Segments::new(folder))
}

#[test]
fn everything_that_is_signed_goes_once() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let mut one = shipper(host.folder.path());
    host.head();
    host.records(3);
    host.head();
    host.head();
    host.records(2);
    ship(&mut one, &mut central).unwrap();
    assert_eq!(central.lines, host.lines[..6], "what no head covers waits");
    host.new_segment();
    host.records(1);
    host.head();
    host.new_segment();
    host.head();
    host.append(b"{\"hash\":\"unfinished");
    let placed = ship(&mut one, &mut central).unwrap();
    assert_eq!(central.lines, host.lines);
    assert_eq!(placed, [format!("about {}", host.previous)], "one countersignature, once");
    let sent: usize = central.asked.iter().map(|(_, _, length)| length).sum();
    assert_eq!(sent, host.lines.iter().map(|line| line.len() + 1).sum::<usize>(), "no byte twice");
    assert_eq!(ship(&mut one, &mut central).unwrap(), [""; 0]);
    // Another courier begins where central is, wherever that is.
    for cut in 0..=host.lines.len() {
        let mut central = Central::default();
        let whole: String = host.lines[..cut].iter().map(|line| format!("{line}\n")).collect();
        central.take(&Ask { after: Place::default(), end: false, gap: false, lines: whole.as_bytes() });
        assert_eq!(central.lines.len(), cut);
        ship(&mut shipper(host.folder.path()), &mut central).unwrap();
        assert_eq!((central.lines.len(), central.trouble), (host.lines.len(), None), "from line {cut}");
    }
}

#[test]
fn much_goes_in_pieces() {
    let (mut host, mut central) = (Host::new(), Central::default());
    for _ in 0..4 {
        host.records(1500);
        host.new_segment();
    }
    host.head();
    ship(&mut shipper(host.folder.path()), &mut central).unwrap();
    assert_eq!(central.lines, host.lines);
    let longest = central.asked.iter().map(|(_, _, length)| *length).max().unwrap();
    assert!(longest > 500_000 && longest < 600_000, "{longest}");
}

#[test]
fn central_is_away_and_comes_back() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let mut one = shipper(host.folder.path());
    host.records(2);
    host.head();
    let mut put = |_: &str| Ok(());
    assert!(one.step(&mut |_| bail!("away"), &mut put).is_err());
    one.step(&mut |ask| Ok(central.take(ask)), &mut put).unwrap();
    // It has taken the lines, and its answer is lost.
    let mut lost = |ask: &Ask<'_>| {
        central.take(ask);
        bail!("the connection broke")
    };
    assert!(one.step(&mut lost, &mut put).is_err());
    host.records(1);
    host.head();
    ship(&mut one, &mut central).unwrap();
    assert_eq!(central.lines, host.lines);
}

#[test]
fn a_torn_line_is_shown_and_so_is_a_long_one() {
    for bad in [&b"{\"hash\":\"torn"[..], b"\xff\xfe", &[b'x'; 200_000]] {
        let (mut host, mut central) = (Host::new(), Central::default());
        host.records(2);
        host.head();
        host.append(bad);
        host.new_segment();
        host.records(1);
        host.head();
        let error = ship(&mut shipper(host.folder.path()), &mut central).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error:#}");
        assert_eq!(central.lines, host.lines[..3], "what is before it is there");
    }
}

#[test]
fn what_is_missing_is_no_secret() {
    let mut host = Host::new();
    host.records(2);
    host.head();
    host.new_segment();
    host.records(2);
    host.head();
    // The first segment is gone: central learns where the rest begins.
    std::fs::remove_file(host.folder.path().join(format!("{:020}.jsonl", 1))).unwrap();
    let mut central = Central::default();
    let error = ship(&mut shipper(host.folder.path()), &mut central).unwrap_err();
    assert!(error.to_string().contains("gap"), "{error:#}");
    assert_eq!(central.asked.last().unwrap().0, Place { number: 2, marks: 0 });
    // Control: a central that had it goes on.
    let mut central = Central::default();
    let whole: String = host.lines[..3].iter().map(|line| format!("{line}\n")).collect();
    central.take(&Ask { after: Place::default(), end: false, gap: false, lines: whole.as_bytes() });
    ship(&mut shipper(host.folder.path()), &mut central).unwrap();
    assert_eq!((central.lines.len(), central.trouble), (6, None));
    // All of it is gone.
    std::fs::remove_file(host.folder.path().join(format!("{:020}.jsonl", 3))).unwrap();
    assert!(ship(&mut shipper(host.folder.path()), &mut central).is_err());
    assert_eq!(central.trouble, Some("rewound"));
}

/// A countersignature can be seen before a power cut takes it back, with the records before it.
#[test]
fn only_a_head_says_that_what_is_before_it_stays() {
    let (mut host, mut central) = (Host::new(), Central::default());
    host.records(2);
    host.head();
    host.records(1);
    host.line(tether_audit::countersigned_line("a.b.c"));
    host.records(1);
    ship(&mut shipper(host.folder.path()), &mut central).unwrap();
    assert_eq!(central.lines, host.lines[..3]);
    host.head();
    ship(&mut shipper(host.folder.path()), &mut central).unwrap();
    assert_eq!(central.lines, host.lines);
}

/// Four segments of three records and a head each; what is done to one line of the second.
fn damaged(at: usize, damage: impl Fn(&mut Vec<u8>)) -> Host {
    let mut host = Host::new();
    for _ in 0..4 {
        host.records(3);
        host.head();
        host.new_segment();
    }
    let path = host.folder.path().join(format!("{:020}.jsonl", 4));
    let mut lines: Vec<Vec<u8>> =
        std::fs::read(&path).unwrap().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    damage(&mut lines[at - 4]);
    std::fs::write(path, lines.concat()).unwrap();
    host
}

#[test]
fn a_damaged_line_does_not_hold_up_what_comes_after_it() {
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let ways: [Damage; 6] = [
        ("a bit", |line| {
            let middle = line.len() / 2;
            line[middle] ^= 1;
        }),
        ("its beginning", |line| line[3] ^= 1),
        ("no longer text", |line| line[9] = 0xff),
        ("its newline", |line| *line.last_mut().unwrap() = b' '),
        ("zeros", |line| line.fill(0)),
        ("very long", |line| line.splice(5..5, [b'x'; 200_000]).for_each(drop)),
    ];
    for (what, way) in ways {
        // The first record of a segment, one within, its last, its head.
        for at in 4..8 {
            let mut host = damaged(at, way);
            let (mut central, mut one) = (Central::taking_gaps(), shipper(host.folder.path()));
            ship(&mut one, &mut central).unwrap();
            let next = if at < 7 && what != "zeros" && what != "its newline" { 7 } else { 11 };
            let begun = host.lines.iter().position(|line| Some(line) == central.lines.first()).unwrap();
            assert!(begun == next || begun == 7 && at < 7, "{what} at {at}: it goes on at line {begun}");
            assert_eq!(central.older, host.lines[..at], "{what} at {at}: what is before it is there");
            assert_eq!(central.lines, host.lines[begun..], "{what} at {at}: what is after it is there");
            // It goes on, and so does a courier that is started anew.
            for _ in 0..2 {
                host.records(2);
                host.head();
                ship(&mut one, &mut central).unwrap();
                one = shipper(host.folder.path());
            }
            assert_eq!((&*central.lines, central.trouble), (&host.lines[begun..], None), "{what} at {at}");
        }
    }
}

#[test]
fn a_missing_segment_does_not_hold_up_what_comes_after_it() {
    let host = damaged(4, |_| {});
    std::fs::remove_file(host.folder.path().join(format!("{:020}.jsonl", 4))).unwrap();
    let mut central = Central::taking_gaps();
    ship(&mut shipper(host.folder.path()), &mut central).unwrap();
    assert_eq!((central.older, central.lines), (host.lines[..4].to_vec(), host.lines[11..].to_vec()));
    // The control: a central that takes no gaps is told the same thing again and again.
    let mut strict = Central::default();
    assert!(ship(&mut shipper(host.folder.path()), &mut strict).is_err());
    assert_eq!(strict.lines, host.lines[..4]);
}

#[test]
fn what_is_damaged_at_the_end_waits_for_a_head() {
    for junk in ["{\"hash\":damaged\n", "junk\n"] {
        let mut host = Host::new();
        host.records(2);
        host.head();
        host.append(junk.as_bytes());
        host.append(b"{\"head\":");
        let mut central = Central::taking_gaps();
        let mut one = shipper(host.folder.path());
        ship(&mut one, &mut central).unwrap();
        assert_eq!((&*central.lines, central.trouble), (&host.lines[..3], None), "nothing is signed after it");
        host.append(b"\n");
        host.records(1);
        host.head();
        ship(&mut one, &mut central).unwrap();
        assert_eq!(central.lines, host.lines[4..], "{junk:?}");
    }
}

#[test]
fn a_line_that_is_none_hides_nothing() {
    for junk in ["{\"hash\":damaged\n", "junk\n"] {
        let (mut host, mut central) = (Host::new(), Central::taking_gaps());
        host.records(2);
        host.head();
        host.append(junk.as_bytes());
        host.head();
        ship(&mut shipper(host.folder.path()), &mut central).unwrap();
        assert_eq!((&*central.older, &*central.lines), (&host.lines[..3], &host.lines[3..]));
        // A courier that begins anew finds where central is.
        host.records(1);
        host.head();
        ship(&mut shipper(host.folder.path()), &mut central).unwrap();
        assert_eq!((&*central.lines, central.trouble), (&host.lines[3..], None), "{junk:?}");
    }
}

/// What a segment's name may belong to that is no segment, or cannot be read.
type Way = (&'static str, fn(&Path));

const WAYS: [Way; 6] = [
    ("a folder", |path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    }),
    ("a link to what was there", |path| {
        let aside = path.with_extension("aside");
        std::fs::rename(path, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, path).unwrap();
    }),
    ("a link to itself", |path| {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(path, path).unwrap();
    }),
    ("a FIFO", |path| {
        std::fs::remove_file(path).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }),
    ("a socket", |path| {
        std::fs::remove_file(path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    }),
    ("longer than any segment", |path| {
        std::fs::File::options().write(true).open(path).unwrap().set_len(3 << 30).unwrap();
    }),
];

/// The same, tried as often as it takes; how often it failed.
fn ship_patiently(shipper: &mut Shipper, central: &mut Central) -> u32 {
    for tries in 0..PATIENCE + 1 {
        match ship(shipper, central) {
            Ok(_) => return tries,
            Err(error) => assert!(format!("{error:#}").contains("[spool.unreadable]"), "{error:#}"),
        }
        shipper.begin_anew();
    }
    panic!("it holds up what comes after it");
}

#[test]
fn a_segment_that_cannot_be_read_does_not_hold_up_what_comes_after_it() {
    for (what, way) in WAYS {
        // Central has nothing of it yet, a part, all of it but its head, all of it.
        for had in [4, 5, 7, 8] {
            let mut host = damaged(4, |_| {});
            let whole: String = host.lines[..had].iter().map(|line| format!("{line}\n")).collect();
            let mut central = Central::taking_gaps();
            central.take(&Ask { after: Place::default(), end: false, gap: false, lines: whole.as_bytes() });
            way(&host.folder.path().join(format!("{:020}.jsonl", 4)));
            let mut one = shipper(host.folder.path());
            ship_patiently(&mut one, &mut central);
            // Records that only miss a head hold, and the next head does not fit.
            let (older, rest) = match had {
                8 => (Vec::new(), &host.lines[..]),
                7 => ([&host.lines[..7], &host.lines[8..11]].concat(), &host.lines[15..]),
                _ => (host.lines[..had].to_vec(), &host.lines[11..]),
            };
            assert_eq!(central.lines, rest, "{what}, {had} were there");
            assert_eq!(central.older, older, "{what}, {had}");
            assert!(central.asked.iter().all(|(_, end, _)| !end), "{what}, {had}: nobody said that the chain was cut");
            // It goes on, at once, and so does a courier that is started anew.
            for _ in 0..2 {
                host.records(2);
                host.head();
                assert_eq!(ship_patiently(&mut one, &mut central), 0, "{what}, {had}");
                one = shipper(host.folder.path());
            }
            assert_eq!((central.lines.last(), central.trouble), (host.lines.last(), None), "{what}, {had}");
        }
    }
    // The control: as it was, all of it goes, and nothing is tried twice.
    let (host, mut central) = (damaged(4, |_| {}), Central::taking_gaps());
    assert_eq!(ship_patiently(&mut shipper(host.folder.path()), &mut central), 0);
    assert_eq!((central.lines, central.trouble), (host.lines, None));
}

/// The last one may be readable in a moment: nothing is passed over without need.
#[test]
fn the_last_segment_is_waited_for() {
    let (mut host, mut central) = (Host::new(), Central::taking_gaps());
    host.records(2);
    host.head();
    host.new_segment();
    host.records(1);
    host.head();
    let path = host.folder.path().join(format!("{:020}.jsonl", 3));
    let genuine = std::fs::read(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    let mut one = shipper(host.folder.path());
    for _ in 0..3 * PATIENCE {
        assert!(ship(&mut one, &mut central).is_err());
    }
    assert_eq!((&*central.lines, central.trouble), (&host.lines[..3], None), "what is before it is there");
    std::fs::write(&path, genuine).unwrap();
    ship(&mut one, &mut central).unwrap();
    assert_eq!((central.lines, central.trouble), (host.lines, None));
}

#[test]
fn strange_files_beside_segments_hold_up_nothing() {
    type Strange = (&'static str, &'static [u8]);
    let long = vec![b'x'; 200_000].leak();
    let files: [Strange; 11] = [
        ("1.jsonl", b"{\"hash\":\"a\"}\n"),
        (".00000000000000000001.jsonl.swp", b"\0\0\0"),
        ("00000000000000000001.jsonl~", b"{}\n"),
        ("torn", b"{\"hash\""),
        ("+0000000000000000004.jsonl", b"junk\n"),
        ("99999999999999999999.jsonl", b"junk\n"),
        ("18446744073709551615.jsonl", b""),
        ("18446744073709551615.jsonl", b"junk\n"),
        ("00000000000000009999.jsonl", b"{\"head\":{\"number\":18446744073709551615}}\n"),
        (
            "00000000000000009999.jsonl",
            b"{\"hash\":\"a\",\"record\":{\"number\":18446744073709551615}}\n{\"head\":{}}\n",
        ),
        ("00000000000000009999.jsonl", long),
    ];
    for (name, text) in files {
        let (mut host, mut central) = (Host::new(), Central::taking_gaps());
        let mut one = shipper(host.folder.path());
        std::fs::write(host.folder.path().join(name), text).unwrap();
        for _ in 0..3 {
            host.records(2);
            host.head();
            // What is junk is shown, and refused each time; that is not what is waited for.
            drop(ship(&mut one, &mut central));
            one.begin_anew();
        }
        assert_eq!(central.lines, host.lines, "{name}");
        assert!(central.older.is_empty(), "{name}");
    }
}

/// Whatever central says: the host has all of it, and a central in its right mind gets it, once.
#[test]
fn a_central_out_of_its_mind_costs_nothing() {
    let taken = |number, lines, state: Option<&str>| Taken {
        number,
        lines,
        countersignature: Some("garbage".to_owned()),
        trouble: state.map(|state| ChainTrouble {
            state: state.to_owned(),
            code: "c".to_owned(),
            number,
            why: String::new(),
        }),
    };
    let places = [(0, 0), (1, 7), (3, 0), (5, 0), (6, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX)];
    for state in [None, Some("broken"), Some("forked"), Some("rewound"), Some("?")] {
        for (number, lines) in places {
            let (host, mut central) = (damaged(4, |_| {}), Central::taking_gaps());
            let before: Vec<_> = names(host.folder.path());
            let mut one = shipper(host.folder.path());
            let (mut failed, mut steps) = (false, 0);
            while !failed && steps < 100 {
                steps += 1;
                let step = one.step(&mut |_| Ok(taken(number, lines, state)), &mut |_| Ok(()));
                failed = step.as_ref().map_or(true, |step| *step == Step::Done);
            }
            assert!(steps < 10, "{number} {lines} {state:?}: it is asked {steps} times without a pause");
            assert_eq!(names(host.folder.path()), before);
            one.begin_anew();
            ship(&mut one, &mut central).unwrap();
            assert_eq!((central.lines, central.trouble), (host.lines, None), "{number} {lines} {state:?}");
        }
    }
}

fn names(folder: &Path) -> Vec<(std::ffi::OsString, u64)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().len())).collect();
    names.sort();
    names
}

#[test]
fn an_inbox_that_takes_nothing_does_not_hold_up_the_chain() {
    let (mut host, mut central) = (Host::new(), Central::default());
    let mut one = shipper(host.folder.path());
    host.records(2);
    host.head();
    for _ in 0..3 {
        while one.step(&mut |ask| Ok(central.take(ask)), &mut |_| bail!("a folder is in the way")).unwrap()
            != Step::Done
        {}
    }
    assert_eq!(central.lines, host.lines);
    // It is there again: central's word comes with the next answer, though it is the same word.
    one.begin_anew();
    let placed = ship(&mut one, &mut central).unwrap();
    assert_eq!(placed, [format!("about {}", host.previous)]);
}
