//! A chain with signed heads: whoever has the key of one moment cannot write another past.

use serde_json::{Map, json};
use tether_audit::{
    Chain, ChainError, Event, HeadAt, HeadSigner, Ids, Line, Outcome, Reached, Verified, Verifier, countersigned_line,
};

/// A host that writes: records, and a head whenever it is told.
struct Writer {
    chain: Chain,
    signer: HeadSigner,
    head: String,
    lines: Vec<String>,
}

impl Writer {
    fn new() -> Self {
        let chain = Chain::after("web-01", "boot", Verified { records: 0, head: String::new() });
        Self { chain, signer: HeadSigner::new(0, [7; 32]), head: String::new(), lines: Vec::new() }
    }

    fn record(&mut self, what: &str) -> &mut Self {
        let details = Map::from_iter([("what".to_owned(), json!(what))]);
        let event = Event {
            event: "sudo.command".into(),
            outcome: Outcome::Allowed,
            code: String::new(),
            ids: Ids::unknown("a test"),
            parent: None,
            details,
        };
        let next = self.chain.next(event, 1_000).unwrap();
        self.chain.commit(&next);
        self.lines.push(next.line);
        self
    }

    fn head(&mut self) -> &mut Self {
        let at = HeadAt {
            host: "web-01",
            boot: "boot",
            number: self.chain.number(),
            hash: self.chain.head(),
            time_us: 2_000,
            previous: &self.head,
        };
        let signed = self.signer.sign(&at).unwrap();
        self.head = signed.head.digest().unwrap();
        self.lines.push(signed.line().unwrap());
        self.signer = self.signer.next();
        self
    }
}

/// What a reader knows who was told the first key at enrolment.
fn committed() -> Reached {
    Reached { key: Some((0, HeadSigner::new(0, [7; 32]).public())), ..Reached::default() }
}

fn read(from: Reached, lines: &[String]) -> Result<Reached, ChainError> {
    let mut verifier = Verifier::from(from);
    lines.iter().try_for_each(|line| verifier.take(line).map(drop))?;
    Ok(verifier.reached().clone())
}

fn written() -> Writer {
    let mut writer = Writer::new();
    writer.head().record("a").record("b").head().record("c").head().head();
    writer
}

#[test]
fn heads_are_followed_from_the_first_key() {
    let writer = written();
    let reached = read(committed(), &writer.lines).unwrap();
    assert_eq!((reached.number, reached.signed, reached.head_time_us), (3, 3, 2_000));
    assert_eq!(reached.key, Some((4, writer.signer.public())));
    let (first, rest) = writer.lines.split_at(4);
    let middle = read(committed(), first).unwrap();
    assert_eq!(read(middle, rest), Ok(reached), "it can be read in parts");
    let other = Reached { key: Some((0, HeadSigner::new(0, [8; 32]).public())), ..Reached::default() };
    assert_eq!(read(other, &writer.lines), Err(ChainError::HeadKey(1)), "another host's first key");
}

#[test]
fn records_after_the_last_head_are_not_signed() {
    let mut writer = written();
    writer.record("d");
    let reached = read(committed(), &writer.lines).unwrap();
    assert_eq!((reached.number, reached.signed), (4, 3));
}

/// With the key of now everything up to the last head is out of reach.
#[test]
fn the_key_of_now_signs_no_other_past() {
    let stolen = written().signer.index();
    for (from, what) in [(0, "all"), (1, "since the first head")] {
        let mut forger = Writer::new();
        let true_lines = written().lines;
        if from == 1 {
            forger.head();
        }
        forger.signer = HeadSigner::new(stolen, *written().signer.seed());
        forger.record("a").record("another").head();
        assert_eq!(read(committed(), &true_lines).map(|_| ()), Ok(()), "control");
        assert!(matches!(read(committed(), &forger.lines), Err(ChainError::HeadKey(_))), "{what}");
        // Nor under the number of the key whose turn it was.
        let mut renamed = Writer::new();
        if from == 1 {
            renamed.head();
        }
        renamed.signer = HeadSigner::new(from, *written().signer.seed());
        renamed.record("a").record("another").head();
        assert!(matches!(read(committed(), &renamed.lines), Err(ChainError::HeadKey(_))), "{what}, renumbered");
    }
}

#[test]
fn lines_that_are_moved_left_out_or_doubled_are_found() {
    let lines = written().lines;
    for at in 0..lines.len() {
        let mut less = lines.clone();
        less.remove(at);
        let last = at + 1 == lines.len();
        assert_eq!(read(committed(), &less).is_ok(), last, "without line {at}; a cut at the end shows elsewhere");
        let mut more = lines.clone();
        more.insert(at, lines[at].clone());
        assert!(read(committed(), &more).is_err(), "line {at} twice");
    }
    for at in 1..lines.len() {
        let mut moved = lines.clone();
        moved.swap(at - 1, at);
        assert!(read(committed(), &moved).is_err(), "line {at} before the one before");
    }
}

#[test]
fn no_byte_of_a_head_can_be_changed() {
    let lines = written().lines;
    let head = &lines[3];
    for at in 0..head.len() {
        let mut bytes = head.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let mut changed = lines.clone();
        changed[3] = String::from_utf8(bytes).unwrap();
        assert!(read(committed(), &changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_countersignature_may_stand_anywhere_and_has_one_spelling() {
    let mut lines = written().lines;
    lines.insert(4, countersigned_line("a.b.c"));
    assert!(read(committed(), &lines).is_ok());
    let mut verifier = Verifier::from(Reached::default());
    assert_eq!(verifier.take(&countersigned_line("a.b.c")), Ok(Line::Countersigned("a.b.c".to_owned())));
    assert!(verifier.take("{\"countersigned\": \"a.b.c\"}").is_err());
    assert!(verifier.take("{\"countersigned\":\"a\",\"more\":1}").is_err());
    assert!(verifier.take("").is_err());
}

#[test]
fn a_key_has_no_way_back() {
    let (one, two) = (HeadSigner::new(0, [7; 32]), HeadSigner::new(0, [7; 32]).next());
    assert_eq!(two.index(), 1);
    assert_ne!(one.public(), two.public());
    assert_ne!(one.seed(), two.seed());
    assert!(!format!("{two:?}").contains(&format!("{:?}", two.seed()[0..4].to_vec())));
}
