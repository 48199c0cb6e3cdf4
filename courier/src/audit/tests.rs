use super::*;
use std::path::Path;
use tether_audit::{Chain, Event, HeadAt, HeadSigner, Ids, Outcome, Reached, Verified, Verifier};
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
}

impl Central {
    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or_default()
    }

    fn take(&mut self, ask: &Ask<'_>) -> Taken {
        self.asked.push((ask.after, ask.end, ask.lines.len()));
        let known = self.places.iter().position(|place| *place == ask.after).map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(ask.lines).into_owned();
        if ask.after > self.place() && !text.is_empty() {
            self.trouble = Some("gap");
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
