//! Hosts' chains come in: in order, once, signed, and nothing else. Real chains, made as agentd makes them.

use super::world::{Got, HOST, World};
use crate::store::{Entry, HostChain, Place, Search};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tether_audit::log::{Checkpoint, Hash, NoteKey, TileId, inclusion_proof, leaf_hash, verify_consistency};
use tether_audit::log::{bundle_entries, consistency_proof, verify_inclusion};
use tether_audit::{Chain, Event, HeadAt, HeadSigner, Ids, Outcome, Verified};
use tether_centrallink::wire::{ChainStart, EnrolRequest};
use tether_oauth::issue::PrivateKey;
use tether_statement::{Countersignature, TrustedKeys};

/// A host's chain, as its host writes it.
#[derive(Clone)]
pub struct HostWriter {
    host: String,
    chain: Chain,
    index: u64,
    seed: [u8; 32],
    previous: String,
    pub lines: Vec<String>,
}

impl HostWriter {
    pub fn new(host: &str) -> Self {
        Self::after(host, 0, "")
    }

    /// One that goes on after a record.
    pub fn after(host: &str, records: u64, head: &str) -> Self {
        let chain = Chain::after(host, "boot", Verified { records, head: head.to_owned() });
        Self { host: host.to_owned(), chain, index: 0, seed: [5; 32], previous: String::new(), lines: Vec::new() }
    }

    pub fn start(&self) -> ChainStart {
        let public = HeadSigner::new(0, [5; 32]).public().0;
        ChainStart { number: 0, hash: String::new(), key: 0, public }
    }

    pub fn record(&mut self, event: &str, session: Option<&str>) -> &mut Self {
        let details = json!({"program": "/usr/bin/id", "at": self.lines.len()});
        self.tell(event, session, &details)
    }

    pub fn tell(&mut self, event: &str, session: Option<&str>, details: &Value) -> &mut Self {
        let mut ids = Ids::unknown("a test");
        if let Some(session) = session {
            ids.session = tether_audit::Known::Id(session.to_owned());
        }
        let event = Event {
            event: event.to_owned(),
            outcome: Outcome::Allowed,
            code: String::new(),
            ids,
            parent: None,
            details: details.as_object().unwrap().clone(),
        };
        let next = self.chain.next(event, 1_000_000 * crate::clock::now()).unwrap();
        self.chain.commit(&next);
        self.lines.push(next.line);
        self
    }

    pub fn head(&mut self) -> &mut Self {
        let signer = HeadSigner::new(self.index, self.seed);
        let at = HeadAt {
            host: &self.host,
            boot: "boot",
            number: self.chain.number(),
            hash: self.chain.head(),
            time_us: 1_000_000 * crate::clock::now(),
            previous: &self.previous,
        };
        let signed = signer.sign(&at).unwrap();
        self.previous = signed.head.digest().unwrap();
        let next = signer.next();
        (self.index, self.seed) = (next.index(), *next.seed());
        self.lines.push(signed.line().unwrap());
        self
    }

    pub fn text(&self, from: usize) -> String {
        self.lines[from..].iter().map(|line| format!("{line}\n")).collect()
    }
}

struct Host<'w> {
    world: &'w World,
    key: PrivateKey,
}

impl Host<'_> {
    fn send(&self, query: &str, body: &[u8]) -> Got {
        let jti = tether_centrallink::random::name(16).unwrap();
        let url = format!("{}/v1/host/audit", self.world.url);
        let request = tether_oauth::ProofRequest { method: "POST", url: &url, access_token: None };
        let now = crate::clock::now();
        let proof = self.key.proof(request, Some(&self.world.app.nonces.make(now)), &jti, now);
        self.world.ask("POST", &format!("/v1/host/audit?{query}"), &[("dpop", &proof)], Some(body))
    }

    /// What is known after it, and what is wrong: number, lines, state, code, first bad record.
    fn told(&self, query: &str, body: &str) -> (u64, u64, String, String, u64) {
        let got = self.send(query, body.as_bytes());
        assert_eq!(got.status, 200, "{got:?}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let trouble = &got.body["trouble"];
        (
            got.body["number"].as_u64().unwrap(),
            got.body["lines"].as_u64().unwrap(),
            text(&trouble["state"]),
            text(&trouble["code"]),
            trouble["number"].as_u64().unwrap_or_default(),
        )
    }
}

fn fine(number: u64, lines: u64) -> (u64, u64, String, String, u64) {
    (number, lines, String::new(), String::new(), 0)
}

fn bad(number: u64, lines: u64, state: &str, code: &str, first: u64) -> (u64, u64, String, String, u64) {
    (number, lines, state.to_owned(), code.to_owned(), first)
}

fn chain(world: &World) -> HostChain {
    world.read(|act| act.host_chain(&HOST.parse().unwrap())).unwrap_or_default()
}

fn anchored(world: &World, writer: &HostWriter) {
    let chain = HostChain {
        start: Some(writer.start()),
        reached: tether_audit::Reached {
            key: Some((0, tether_audit::HeadKey(writer.start().public))),
            ..tether_audit::Reached::default()
        },
        heard: crate::clock::now(),
        ..HostChain::default()
    };
    world.write(|act| act.put_host_chain(&HOST.parse().unwrap(), &chain));
}

fn host(world: &World) -> Host<'_> {
    Host { world, key: PrivateKey::from_seed(&[9; 32]).unwrap() }
}

/// All lines of the host that central has, in the chain's order.
fn kept(world: &World) -> Vec<String> {
    let generation = chain(world).generation;
    let lines = world.read(|act| act.lines(HOST, generation, Place::default(), 1000));
    lines.into_iter().map(|(_, line)| line).collect()
}

fn alarms(world: &World) -> Vec<String> {
    let all = world.trail("audit.alarm");
    all.into_iter().map(|link| format!("{} {}", link.event.code, link.event.details["number"])).collect()
}

fn setup(records: usize) -> (World, HostWriter) {
    in_world(World::new(), records)
}

fn in_world(world: World, records: usize) -> (World, HostWriter) {
    let mut writer = HostWriter::new(HOST);
    anchored(&world, &writer);
    for number in 0..records {
        writer.record(if number % 2 == 0 { "sudo.command" } else { "sudo.ended" }, Some("s-00000000000000001"));
    }
    writer.head();
    (world, writer)
}

#[test]
fn lines_come_in_once_and_in_order() {
    let (world, mut writer) = setup(3);
    let host = host(&world);
    assert_eq!(host.told("after=0", ""), fine(0, 0), "asked before anything came");
    assert_eq!(host.told("after=0", &writer.text(0)), fine(3, 1));
    assert_eq!(host.told("after=0", &writer.text(0)), fine(3, 1), "the same again");
    assert_eq!(host.told("after=2", &writer.text(2)), fine(3, 1), "a part of it again");
    assert_eq!(host.told("after=3&lines=1", ""), fine(3, 1));
    writer.record("sudo.command", None).head().head();
    assert_eq!(host.told("after=2", &writer.text(2)), fine(4, 2), "old ones and new ones");
    assert_eq!(kept(&world), writer.lines);
    assert_eq!(alarms(&world), [""; 0]);
    // The countersignature is ours, about the last head, and the same when asked again.
    let got = host.send("after=4&lines=2", b"");
    let jws = got.body["countersignature"].as_str().unwrap().to_owned();
    let roots = &world.app.settings.roots;
    let keys = world.read(|act| act.meta("keys")).unwrap();
    let keys = TrustedKeys::verify(&keys, roots).unwrap();
    let said = Countersignature::verify(&jws, &keys, &HOST.parse().unwrap()).unwrap();
    let last: tether_audit::SignedHead = serde_json::from_str(writer.lines.last().unwrap()).unwrap();
    assert_eq!((said.number, &said.hash, &said.head), (4, &last.head.hash, &last.head.digest().unwrap()));
    assert_eq!(host.send("after=0", b"").body["countersignature"], jws.as_str());
    // It comes back in the chain.
    writer.lines.push(tether_audit::countersigned_line(&jws));
    assert_eq!(host.told("after=4&lines=2", &writer.text(writer.lines.len() - 1)), fine(4, 3));
    // Another central's, from before the host moved to us, is taken as a line; ours with a changed byte is none.
    let other = tether_statement::issue::Signing::from_seed("audit-elsewhere", [1; 32]);
    let other = other.sign(tether_statement::Typ::Countersignature, &said).unwrap();
    writer.lines.push(tether_audit::countersigned_line(&other));
    assert_eq!(host.told("after=4&lines=3", &writer.text(writer.lines.len() - 1)), fine(4, 4));
    let (rest, signature) = jws.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}", signature.chars().rev().collect::<String>());
    let forged = format!("{}\n", tether_audit::countersigned_line(&forged));
    assert_eq!(host.told("after=4&lines=4", &forged).3, "audit.countersignature");
}

#[test]
fn every_way_that_a_chain_can_be_wrong() {
    type Case = (&'static str, fn(&mut Vec<String>), &'static str, u64, u64);
    let cases: [Case; 10] = [
        ("a record is missing", |lines| drop(lines.remove(1)), "audit.broken", 1, 2),
        ("two are swapped", |lines| lines.swap(1, 2), "audit.broken", 1, 2),
        ("one comes twice", |lines| lines.insert(1, lines[0].clone()), "audit.broken", 1, 2),
        ("a byte is changed", |lines| lines[1] = lines[1].replace("/id", "/ls"), "audit.changed", 1, 2),
        ("a line is torn", |lines| lines[1].truncate(30), "audit.malformed", 1, 2),
        ("a line is empty", |lines| lines.insert(2, String::new()), "audit.malformed", 2, 3),
        ("a line is huge", |lines| lines[2] = "x".repeat(65_536), "audit.too_long", 2, 3),
        (
            "a head is of another key",
            |lines| {
                let mut other = HostWriter::new(HOST);
                other.seed = [6; 32];
                other.record("sudo.command", Some("s-00000000000000001"));
                *lines = other.head().lines.clone();
            },
            "audit.head_key",
            1,
            2,
        ),
        (
            "a head is left out",
            |lines| {
                let mut whole = HostWriter::new(HOST);
                whole.record("a", None).head().record("b", None).head();
                *lines = whole.lines.clone();
                lines.remove(1);
            },
            "audit.head_broken",
            2,
            3,
        ),
        (
            "another host's",
            |lines| *lines = HostWriter::new("web-02").record("a", None).head().lines.clone(),
            "audit.other_host",
            0,
            1,
        ),
    ];
    for (what, change, code, taken, first) in cases {
        let (world, writer) = setup(4);
        let host = host(&world);
        let mut wrong = writer.clone();
        change(&mut wrong.lines);
        let told = host.told("after=0", &wrong.text(0));
        assert_eq!((told.0, &*told.2, &*told.3, told.4), (taken, "broken", code, first), "{what}");
        // Once on record, however often it is tried; and the lines are kept aside.
        host.told("after=0", &wrong.text(0));
        host.told("after=0", &wrong.text(0));
        assert_eq!(alarms(&world), [format!("{code} {first}")], "{what}");
        assert_eq!(world.read(|act| act.evidence()).len(), 1, "{what}");
        let got = world.app.hosts().unwrap();
        let standing = serde_json::to_value(&got[0]).unwrap();
        assert_eq!((&standing["audit"]["state"], &standing["audit"]["bad"]), (&json!("broken"), &json!(first)));
        // Control: the true lines heal it, unless the wrong ones hold as far as they go.
        if !matches!(code, "audit.head_key" | "audit.head_broken") {
            let healed = host.told("after=0", &writer.text(0));
            assert_eq!(healed, fine(4, 1), "{what}");
            assert_eq!(kept(&world), writer.lines, "{what}");
            assert_eq!(world.trail("audit.recovered").len(), 1, "{what}");
        }
    }
}

#[test]
fn a_gap_is_found_and_closes() {
    let (world, writer) = setup(5);
    let host = host(&world);
    assert_eq!(host.told("after=0", &writer.text(0)[..writer.lines[0].len() + 1]), fine(1, 0));
    assert_eq!(host.told("after=3", &writer.text(3)), bad(1, 0, "broken", "audit.gap", 2));
    assert_eq!(host.told("after=3", ""), bad(1, 0, "broken", "audit.gap", 2), "asking is no gap");
    assert_eq!(host.told("after=1", &writer.text(1)), fine(5, 1));
    assert_eq!(alarms(&world), ["audit.gap 2"]);
    assert_eq!(kept(&world), writer.lines);
}

/// A host that was put back, or whose root writes another past: nothing that was there is replaced.
#[test]
fn a_fork_is_found_and_stays_found() {
    let (world, mut writer) = setup(2);
    let mut other = writer.clone();
    writer.record("sudo.command", None).head();
    other.record("feed.silent", None).head();
    let host = host(&world);
    assert_eq!(host.told("after=0", &writer.text(0)), fine(3, 1));
    let forked = bad(3, 1, "forked", "audit.forked", 3);
    assert_eq!(host.told("after=2&lines=1", &other.text(3)), forked);
    assert_eq!(host.told("after=0", &other.text(0)), forked, "from the beginning as well");
    assert_eq!(kept(&world), writer.lines);
    assert_eq!(alarms(&world), ["audit.forked 3"]);
    let aside = world.read(|act| act.evidence());
    assert_eq!(aside[0].3, other.text(3), "the other past is kept aside");
    // What goes on from what was there still comes in, and the fork is not forgotten for it.
    writer.record("sudo.ended", None).head();
    assert_eq!(host.told("after=3&lines=1", &writer.text(5)), bad(4, 1, "forked", "audit.forked", 3));
    assert_eq!(kept(&world), writer.lines);
    // Another head in a head's place is a fork as well; a line that nobody could have signed is none.
    let (world, writer) = setup(1);
    let host = Host { world: &world, key: PrivateKey::from_seed(&[9; 32]).unwrap() };
    host.told("after=0", &writer.text(0));
    let mut second = HostWriter::new(HOST);
    second.record("another", None);
    assert_eq!(host.told("after=0", &format!("{}x\n", second.lines[0])).2, "broken");
    assert_eq!(host.told("after=0", &second.text(0)), bad(1, 1, "forked", "audit.forked", 1));
}

#[test]
fn a_host_that_says_it_has_less_is_rewound() {
    let (world, writer) = setup(4);
    let host = host(&world);
    host.told("after=0", &writer.text(0));
    let less = writer.lines[0].clone() + "\n";
    assert_eq!(host.told("after=0", &less), fine(4, 1), "a part of it again is none");
    assert_eq!(host.told("after=0&end=true", &writer.text(0)), fine(4, 1), "and all of it is none");
    assert_eq!(host.told("after=0&end=true", &less), bad(4, 1, "rewound", "audit.rewound", 4));
    assert_eq!(alarms(&world), ["audit.rewound 4"]);
    assert_eq!(world.exchange("alice@example.org", 0), Err("host.rewound".to_owned()));
    let mut more = writer.clone();
    more.head();
    assert_eq!(host.told("after=4&lines=1", &more.text(5)), fine(4, 2), "it was a lie");
}

/// Whoever fills central's disk does not keep it from recording a revocation.
#[test]
fn a_full_disk_takes_no_chains_and_still_revokes() {
    let (world, writer) = in_world(World::with_audit("free_mib = 900000000000"), 1);
    let host = host(&world);
    let got = host.send("after=0", writer.text(0).as_bytes());
    assert_eq!((got.status, &got.body["tether_code"]), (503, &json!("audit.disk_full")));
    assert_eq!(host.told("after=0", "").0, 0, "where it is may be asked");
    world.exchange("alice@example.org", 0).unwrap();
    let admin = crate::app::Admin { name: "carol".to_owned() };
    let target = tether_centrallink::wire::Target::Human("alice@example.org".parse().unwrap());
    assert_eq!(world.app.revoke(&admin, &target).unwrap().sessions.len(), 1);
}

/// Whoever is root on one host writes what they like: it has its share of a day, and others have theirs.
#[test]
fn one_host_has_its_share_of_a_day_and_others_have_theirs() {
    let (world, _) = in_world(World::with_audit("host_mib = 1"), 1);
    let (host, mut writer) = (host(&world), HostWriter::new(HOST));
    let words = json!({"words": "x".repeat(40_000)});
    let mut sent = 0;
    let refused = loop {
        let from = writer.lines.len();
        writer.tell("e", None, &words).head();
        let got = host.send(&format!("after={sent}&lines={}", u64::from(sent > 0)), writer.text(from).as_bytes());
        if got.status != 200 {
            break got;
        }
        sent += 1;
        assert!(sent < 40, "it may bring what it likes");
    };
    assert!(sent > 20, "{sent} of some 25 MiB/1024");
    assert_eq!((refused.status, &refused.body["tether_code"]), (503, &json!("audit.host_quota")));
    let standing = || {
        let hosts = world.app.hosts().unwrap();
        let audit = serde_json::to_value(&hosts).unwrap()[0]["audit"].clone();
        (audit["state"].clone(), audit["code"].clone())
    };
    assert_eq!(standing(), (json!("over"), json!("audit.host_quota")));
    // Tried as often as it likes: one alarm, and not a line more.
    let before = kept(&world);
    for _ in 0..5 {
        let at = writer.lines.len() - 2;
        let got = host.send(&format!("after={sent}&lines=1"), writer.text(at).as_bytes());
        assert_eq!(got.status, 503);
    }
    assert_eq!(kept(&world), before);
    assert_eq!(alarms(&world), [format!("audit.host_quota {sent}")]);
    assert_eq!(host.told(&format!("after={sent}&lines=1"), ""), fine(sent, 1), "where it is may be asked");
    // Another host has nothing to do with it.
    let mut other = HostWriter::new("web-02");
    other.record("e", None).head();
    let text = other.text(0);
    let lines = crate::app::Lines { after: Place::default(), end: false, gap: false, text: text.as_bytes() };
    assert_eq!(world.app.take_lines(&"web-02".parse().unwrap(), lines).unwrap().number, 1);
    // Another day.
    let id = HOST.parse().unwrap();
    let mut chain = chain(&world);
    assert!(chain.bytes > 900_000 && chain.bytes <= 1 << 20, "{}", chain.bytes);
    chain.day -= 1;
    world.write(|act| act.put_host_chain(&id, &chain));
    let at = writer.lines.len() - 2;
    assert_eq!(host.told(&format!("after={sent}&lines=1"), &writer.text(at)), fine(sent + 1, 1));
    assert_eq!(standing(), (json!("ok"), Value::Null));
    assert_eq!(alarms(&world).len(), 1);
}

#[test]
fn who_asks_is_the_key() {
    let (world, writer) = setup(1);
    let stranger = Host { world: &world, key: PrivateKey::from_seed(&[8; 32]).unwrap() };
    let got = stranger.send("after=0", writer.text(0).as_bytes());
    assert_eq!((got.status, &got.body["tether_code"]), (401, &json!("host.unknown_key")));
    let got = world.ask("POST", "/v1/host/audit?after=0", &[], Some(writer.text(0).as_bytes()));
    assert_eq!(got.status, 401);
    let host = host(&world);
    for (query, body, code) in [
        ("", "", "request.query"),
        ("after=-1", "", "request.query"),
        ("after=0&more=1", "", "request.query"),
        ("after=0", "no newline", "audit.torn"),
    ] {
        let got = host.send(query, body.as_bytes());
        assert_eq!((got.status, &got.body["tether_code"]), (400, &json!(code)), "{query} {body}");
    }
    assert_eq!(host.told("after=0", "\n").3, "audit.malformed");
    assert_eq!(host.send("after=0", b"\xff\xfe\n").body["trouble"]["code"], json!("audit.malformed"));
    assert_eq!(host.send("after=18446744073709551615&lines=18446744073709551615", b"").status, 200);
    assert_eq!(kept(&world), [""; 0], "nothing of it came in");
    assert_eq!(host.told("after=0", &writer.text(0)), fine(1, 1));
}

#[test]
fn a_host_that_never_committed_begins_where_it_begins() {
    let world = World::new();
    let mut writer = HostWriter::new(HOST);
    for _ in 0..3 {
        writer.record("a", None);
    }
    writer.head();
    let host = host(&world);
    assert_eq!(host.told("after=1", &writer.text(1)), fine(3, 1), "older ones are gone there");
    let standing = serde_json::to_value(&world.app.hosts().unwrap()[0]).unwrap();
    assert_eq!((&standing["audit"]["state"], &standing["audit"]["anchored"]), (&json!("ok"), &json!(false)));
    let mut thief = HostWriter::new(HOST);
    thief.seed = [7; 32];
    thief.lines.clone_from(&writer.lines);
    (thief.chain, thief.index, thief.previous) = (writer.chain.clone(), 1, writer.previous.clone());
    thief.record("b", None).head();
    assert_eq!(host.told("after=3&lines=1", &thief.text(4)).3, "audit.head_key", "from then on its keys are known");
}

#[test]
fn enrolling_begins_the_chain() {
    let world = World::new();
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let enrol = |audit: Option<ChainStart>, seed: u8| -> (u16, String) {
        let admitted = json!({"host": HOST}).to_string();
        let got = world.ask("POST", "/v1/admin/hosts", &[("authorization", &carol)], Some(admitted.as_bytes()));
        let token = tether_centrallink::wire::EnrolToken::parse(got.body["token"].as_str().unwrap()).unwrap();
        let key = PrivateKey::from_seed(&[seed; 32]).unwrap();
        let (now, url) = (crate::clock::now(), format!("{}/v1/host/enrol", world.url));
        let request = tether_oauth::ProofRequest { method: "POST", url: &url, access_token: None };
        let proof = key.proof(request, Some(&world.app.nonces.make(now)), &format!("{:0>16}", seed), now);
        let body = serde_json::to_vec(&EnrolRequest { secret: token.secret, audit }).unwrap();
        let got = world.ask("POST", "/v1/host/enrol", &[("dpop", &proof)], Some(&body));
        (got.status, got.body["tether_code"].as_str().unwrap_or_default().to_owned())
    };
    let writer = HostWriter::new(HOST);
    let wrong = ChainStart { public: "short".to_owned(), ..writer.start() };
    assert_eq!(enrol(Some(wrong), 40), (400, "audit.start".to_owned()));
    assert_eq!(enrol(Some(writer.start()), 41).0, 200);
    assert_eq!((chain(&world).start, chain(&world).generation), (Some(writer.start()), 0));
    assert_eq!(enrol(Some(writer.start()), 42).0, 200);
    assert_eq!(chain(&world).generation, 0, "the same chain goes on");
    let other = ChainStart { public: HeadSigner::new(0, [77; 32]).public().0, ..writer.start() };
    assert_eq!(enrol(Some(other.clone()), 43).0, 200);
    assert_eq!((chain(&world).start, chain(&world).generation), (Some(other), 1), "a host that was made anew");
    assert_eq!(world.trail("audit.begun").len(), 2);
}

/// New sessions are not for a host with two pasts; what is to end there still ends.
#[test]
fn a_forked_host_gets_no_sessions_and_still_hears() {
    let (world, writer) = setup(1);
    let token = world.exchange("alice@example.org", 0).unwrap();
    world.grant(&token);
    let host = host(&world);
    host.told("after=0", &writer.text(0));
    let mut other = HostWriter::new(HOST);
    other.record("another", None);
    assert_eq!(host.told("after=0", &other.text(0)).2, "forked");
    assert_eq!(world.exchange("alice@example.org", 0), Err("host.forked".to_owned()));
    let said = world.said();
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let target = json!({"human": "alice@example.org"}).to_string();
    let got = world.ask("POST", "/v1/admin/revoke", &[("authorization", &carol)], Some(target.as_bytes()));
    assert_eq!((got.status, got.body["sessions"].as_array().map(Vec::len)), (200, Some(1)), "{got:?}");
    assert_eq!(world.said(), said + 1);
}

#[test]
fn silence_is_on_record_once() {
    let (world, mut writer) = setup(1);
    let host = host(&world);
    host.told("after=0", &writer.text(0));
    world.app.look_for_silence().unwrap();
    assert_eq!(alarms(&world), [""; 0]);
    // Heard long ago, by a central that was there all the while.
    let state = || serde_json::to_value(&world.app.hosts().unwrap()[0]).unwrap()["audit"]["state"].clone();
    assert_eq!(state(), json!("ok"));
    world.app.begin_earlier(1000);
    assert_eq!(state(), json!("ok"), "it was heard just now");
    let hear_before = |seconds: u64| {
        let chain = HostChain { heard: crate::clock::now() - seconds, ..chain(&world) };
        world.write(|act| act.put_host_chain(&HOST.parse().unwrap(), &chain));
    };
    hear_before(60);
    assert_eq!(state(), json!("late"));
    hear_before(100);
    (0..3).for_each(|_| world.app.look_for_silence().unwrap());
    assert_eq!((state(), alarms(&world)), (json!("silent"), vec!["audit.silent 1".to_owned()]));
    let metrics = world.app.metrics_text().unwrap();
    assert!(metrics.contains("tether_host_audit_chain{host=\"web-01\",state=\"silent\"} 1"), "{metrics}");
    assert!(metrics.contains("tether_audit_alarms_total{kind=\"silent\"} 1"), "{metrics}");
    writer.head();
    assert_eq!(host.told("after=1&lines=1", &writer.text(2)), fine(1, 2));
    assert_eq!((state(), world.trail("audit.recovered").len()), (json!("ok"), 1));
}

/// What the log serves, from the outside: tiles, bundles, checkpoints.
struct Log<'w> {
    world: &'w World,
    token: String,
}

impl Log<'_> {
    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.world.bytes(path, &[("authorization", &self.token)])
    }

    fn checkpoint(&self, key: &NoteKey) -> (Checkpoint, String) {
        self.world.app.checkpoint().unwrap();
        let (status, bytes) = self.get("/log/checkpoint");
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(status, 200, "{text}");
        (Checkpoint::verify(&text, key).unwrap(), text)
    }

    fn tile(&self, tile: TileId) -> Option<Vec<Hash>> {
        let (status, bytes) = self.get(&format!("/log/{tile}"));
        (status == 200).then(|| bytes.as_chunks::<32>().0.to_vec())
    }
}

#[test]
fn the_log_proves_what_it_holds() {
    let (world, mut writer) = setup(3);
    let token = format!("Bearer {}", world.id_token_of_auditor());
    let log = Log { world: &world, token };
    let origin = world.read(|act| act.meta("log_origin")).unwrap();
    let keys = world.read(|act| act.meta("keys")).unwrap();
    let keys = TrustedKeys::verify(&keys, &world.app.settings.roots).unwrap();
    let audit = keys.set().keys.iter().find(|key| key.role == tether_statement::Role::Audit).unwrap();
    let key = NoteKey::new(&origin, *audit.x.as_bytes()).unwrap();
    let (first, text) = log.checkpoint(&key);
    assert_eq!(log.checkpoint(&key).1, text, "nothing new, nothing signed");
    let host = host(&world);
    host.told("after=0", &writer.text(0));
    for round in 0..3 {
        for _ in 0..150 {
            writer.record("sudo.command", None);
        }
        writer.head();
        let from = 4 + round * 151;
        host.told(&format!("after={}&lines=1", 3 + round * 150), &writer.text(from));
    }
    let (last, _) = log.checkpoint(&key);
    assert!(last.size > first.size + 450, "{last:?}");
    let tiles = |tile: TileId| log.tile(tile);
    assert_eq!(tether_audit::log::root(&tiles, last.size).unwrap(), last.root);
    let path = consistency_proof(&tiles, first.size, last.size).unwrap();
    verify_consistency((first.size, &first.root), (last.size, &last.root), &path).unwrap();
    // Every record of the host is a leaf, byte for byte, and its bundle has it.
    let found = world.app.search(&Search { host: Some(HOST.to_owned()), ..Search::default() }).unwrap();
    let theirs: Vec<&Entry> = found.lines.iter().filter(|entry| entry.chain == HOST).collect();
    let records: Vec<&String> = writer.lines.iter().filter(|line| line.starts_with("{\"hash\"")).collect();
    assert_eq!(theirs.iter().map(|entry| &entry.line).collect::<Vec<_>>(), records);
    for entry in theirs.iter().step_by(50) {
        let path = inclusion_proof(&tiles, entry.index, last.size).unwrap();
        verify_inclusion(&leaf_hash(entry.line.as_bytes()), entry.index, last.size, &path, &last.root).unwrap();
    }
    let (status, bytes) = log.get("/log/tile/entries/000");
    let bundle = bundle_entries(&bytes).unwrap();
    assert_eq!((status, bundle.len()), (200, 256));
    assert_eq!(bundle[theirs[0].index as usize], theirs[0].line.as_bytes());
    // Beyond its end, and what has no such name.
    for path in ["tile/0/001.p/255", "tile/entries/009", "tile/0/0", "tile/x", "tile/0/x001/000", "tile/entries/001"] {
        assert_eq!(log.get(&format!("/log/{path}")).0, 404, "{path}");
    }
    for path in ["/log/checkpoint", "/log/tile/0/000"] {
        assert_eq!(world.bytes(path, &[]).0, 401, "{path}: only for auditors");
    }
    assert_eq!(Base64::encode_string(&world.app.check_log().unwrap().root), Base64::encode_string(&last.root));
}

#[test]
fn a_session_is_one_tree() {
    let (world, _) = setup(0);
    let token = world.exchange("alice@example.org", 0).unwrap();
    world.grant(&token);
    let session = world.live()[0].session.to_string();
    let mut writer = HostWriter::new(HOST);
    writer.record("session.reserved", Some(&session)).record("feed.silent", None).head();
    anchored(&world, &writer);
    host(&world).told("after=0", &writer.text(0));
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let target = json!({"session": session}).to_string();
    let got = world.ask("POST", "/v1/admin/revoke", &[("authorization", &carol)], Some(target.as_bytes()));
    assert_eq!(got.status, 200, "{got:?}");
    let auditor = format!("Bearer {}", world.id_token_of_auditor());
    let get = |path: &str| world.ask("GET", path, &[("authorization", &auditor)], None);
    let got = get(&format!("/v1/sessions/{session}/trail"));
    let records = got.body["lines"].as_array().unwrap();
    let events: Vec<(String, Value, Value)> = records
        .iter()
        .map(|entry| {
            let line: Value = serde_json::from_str(entry["line"].as_str().unwrap()).unwrap();
            let record = &line["record"];
            let name = format!("{} {}", entry["chain"].as_str().unwrap(), record["event"].as_str().unwrap());
            (name, record["number"].clone(), record["parent"].clone())
        })
        .collect();
    let names: Vec<&str> = events.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["central token.issued", "central grant.sent", "web-01 session.reserved", "central session.revoked"]
    );
    assert_eq!(events[0].2, Value::Null, "the exchange is the root");
    assert_eq!(events[1].2, json!(format!("central#{}", events[0].1)));
    let revoked = world.trail("revoked").pop().unwrap().number;
    assert_eq!(events[3].2, json!(format!("central#{revoked}")));
    // What a host names as HOST@N is found in central's record.
    for (event, number) in [("grant.sent", 1), ("session.revoked", 2)] {
        let link = world.trail(event).pop().unwrap();
        assert_eq!((&link.event.details["host"], &link.event.details["statement"]), (&json!(HOST), &json!(number)));
    }
    assert_eq!(get("/v1/audit?event=feed.silent").body["lines"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        get("/v1/audit?human=alice@example.org&outcome=allowed").body["lines"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(get("/v1/audit?nothing=x").status, 400);
    assert_eq!(world.ask("GET", "/v1/audit", &[], None).status, 401);
    assert_eq!(get("/v1/sessions/x%20y/trail").status, 400);
}

/// Whoever has the export alone finds every chain, and each record in the log.
#[test]
fn an_export_is_whole() {
    let (world, mut writer) = setup(300);
    host(&world).told("after=0", &writer.text(0));
    writer.record("sudo.command", None).head();
    host(&world).told("after=300&lines=1", &writer.text(301));
    world.app.checkpoint().unwrap();
    let to = world.folder().join("export");
    let export = || crate::command::run_from(&["--folder", &text(world.folder()), "audit", "export", &text(&to)]);
    export().unwrap();
    assert!(export().is_err(), "nothing is written over");
    let read = |path: &str| std::fs::read(to.join(path)).unwrap();
    let segment = format!("{:020}.jsonl", 1);
    let theirs = String::from_utf8(read(&format!("hosts/{HOST}/{segment}"))).unwrap();
    assert_eq!(theirs, writer.text(0));
    let start: ChainStart = serde_json::from_slice(&read(&format!("hosts/{HOST}/start.json"))).unwrap();
    assert_eq!(start, writer.start());
    let ours = String::from_utf8(read(&format!("central/{segment}"))).unwrap();
    tether_audit::verify(ours.lines(), |_| {}).unwrap();
    TrustedKeys::verify(&String::from_utf8(read("keys/1.jws")).unwrap(), &world.app.settings.roots).unwrap();
    let key: NoteKey = String::from_utf8(read("log/vkey")).unwrap().trim().parse().unwrap();
    let note = String::from_utf8(read("log/checkpoint")).unwrap();
    let checkpoint = Checkpoint::verify(&note, &key).unwrap();
    let tiles = |tile: TileId| {
        let bytes = std::fs::read(to.join("log").join(tile.to_string())).ok()?;
        Some(bytes.as_chunks::<32>().0.to_vec())
    };
    assert_eq!(tether_audit::log::root(&tiles, checkpoint.size).unwrap(), checkpoint.root);
    let mut leaves = std::collections::BTreeSet::new();
    for index in 0..checkpoint.size.div_ceil(256) {
        let width = (checkpoint.size - 256 * index).min(256);
        leaves.extend(tiles(TileId::new(0, index, width).unwrap()).unwrap());
    }
    let records = theirs.lines().chain(ours.lines()).filter(|line| line.starts_with("{\"hash\""));
    let missing = records.filter(|line| !leaves.contains(&leaf_hash(line.as_bytes()))).count();
    // What came after the checkpoint: none of the host's.
    assert_eq!(missing, ours.lines().count() + 301 - checkpoint.size as usize);
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// A copy that is put back has less than what was signed: its log has another name.
#[test]
fn a_restored_log_has_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(folder.path());
    let run = |arguments: &[&str]| crate::command::run_from(&[&["--folder", &path], arguments].concat());
    run(&["init", "--url", "https://localhost:1", "--namespace", "@example.org"]).unwrap();
    let origin = || -> String {
        let store = crate::store::Sqlite::open(&folder.path().join("central.db")).unwrap();
        crate::store::look(&store, |act| act.meta("log_origin")).unwrap().unwrap()
    };
    let checkpoint = || {
        let (app, _) = crate::command::serve::load(folder.path()).unwrap();
        assert!(app.checkpoint().unwrap());
        app.check_log().unwrap()
    };
    let before = checkpoint();
    assert_eq!(before.origin, origin());
    run(&["backup", &format!("{path}/copy")]).unwrap();
    checkpoint();
    run(&["restore", &format!("{path}/copy")]).unwrap();
    assert_ne!(origin(), before.origin);
    assert!(origin().starts_with("localhost:1/log/"), "{}", origin());
    let after = checkpoint();
    assert_eq!((after.origin, after.size > before.size), (origin(), true));
}

/// What follows lines that are damaged, from the next head on, is another chain; what is missing is on record once.
#[test]
fn damage_holds_up_neither_the_rest_nor_others() {
    let (world, mut writer) = setup(4);
    let host = host(&world);
    writer.record("sudo.command", None).head().record("sudo.ended", Some("s-00000000000000009")).head();
    // Five records and a head are 0 to 4, 5 and 6, 7 and 8. Record 3 is damaged.
    let mut wrong = writer.clone();
    wrong.lines[2] = wrong.lines[2].replace("/id", "/ls");
    world.exchange("alice@example.org", 0).unwrap();
    assert_eq!(host.told("after=0&gap=true", &wrong.text(0)), bad(2, 0, "broken", "audit.changed", 3));
    assert_eq!(world.exchange("alice@example.org", 0), Err("host.broken".to_owned()));
    // Another host's chain has nothing to do with it.
    let mut other = HostWriter::new("web-02");
    let text = other.record("a", None).head().text(0);
    let lines = crate::app::Lines { after: Place::default(), end: false, gap: false, text: text.as_bytes() };
    assert_eq!(world.app.take_lines(&"web-02".parse().unwrap(), lines).unwrap().number, 1);
    // Not without a head, not with one that is none, not with one of another place, and never where nothing is wrong.
    let gap = |number: u64, lines: u64| format!("after={number}&lines={lines}&gap=true");
    assert_eq!(host.told(&gap(3, 0), &writer.text(3)), bad(2, 0, "broken", "audit.changed", 3), "a record");
    let mut forged = writer.clone();
    forged.lines[6] = forged.lines[6].replace("boot", "toob");
    assert_eq!(host.told(&gap(5, 0), &forged.text(6)).0, 2, "a head that nobody signed");
    assert_eq!(host.told(&gap(6, 0), &writer.text(6)).0, 2, "another place");
    assert_eq!(host.told("after=5", &writer.text(6)).0, 2, "without saying so");
    assert_eq!(chain(&world).generation, 0);
    assert_eq!(host.told(&gap(4, 0), &writer.text(4)), fine(6, 1), "from the first head after it");
    let now = chain(&world);
    assert_eq!((now.generation, now.start.is_none(), now.gaps, now.trouble), (1, true, 1, None));
    assert_eq!(now.damaged.map(|trouble| (trouble.code, trouble.number)), Some(("audit.changed".to_owned(), 3)));
    assert_eq!(world.exchange("alice@example.org", 0), Err("host.damaged".to_owned()), "until it is enrolled anew");
    assert_eq!(kept(&world), writer.lines[4..]);
    let before = world.read(|act| act.lines(HOST, 0, Place::default(), 1000));
    assert_eq!(before.len(), 2, "what came before stays");
    assert_eq!(alarms(&world).first().map(String::as_str), Some("audit.changed 3"));
    let begun = world.trail("audit.begun").pop().unwrap().event.details;
    assert_eq!((&begun["missing"]["from"], &begun["missing"]["to"]), (&json!(3), &json!(4)));
    assert!(world.read(|act| act.evidence()).iter().any(|(_, _, _, text)| text.contains("/ls")), "kept aside");
    // It goes on, is countersigned, and is found.
    writer.record("sudo.command", None).head();
    assert_eq!(host.told("after=6&lines=1", &writer.text(9)), fine(7, 1));
    assert_eq!(host.told(&gap(9, 0), &writer.text(9)).2, "broken", "only after trouble that is on record");
    let found = world.app.search(&Search { session: Some("s-00000000000000009".to_owned()), ..Search::default() });
    assert_eq!(found.unwrap().lines.len(), 1);
}

/// A host that has two pasts gets rid of neither by telling of a gap.
#[test]
fn a_gap_does_not_end_a_fork() {
    let (world, writer) = setup(2);
    let host = host(&world);
    assert_eq!(host.told("after=0", &writer.text(0)), fine(2, 1));
    let mut other = HostWriter::new(HOST);
    other.record("another", None).record("past", None).head().record("c", None).head();
    assert_eq!(host.told("after=0", &other.text(0)).2, "forked");
    assert_eq!(host.told("after=3&lines=0&gap=true", &other.text(4)).2, "forked");
    assert_eq!(chain(&world).generation, 0);
}

/// Before each line of a chain.
fn places(lines: &[String]) -> Vec<Place> {
    let mut at = Place::default();
    let next = |line: &String| {
        let before = at;
        let is_record = line.starts_with("{\"hash\"");
        at = if is_record { Place { number: at.number + 1, marks: 0 } } else { Place { marks: at.marks + 1, ..at } };
        before
    };
    lines.iter().map(next).collect()
}

/// Lines from anywhere, again and again, with flipped bits, beyond gaps, with an end that is none: what is kept is what
/// the host wrote, each chain without a hole, and the true lines come in afterwards.
#[test]
fn no_batches_make_another_past() {
    use proptest::prelude::*;
    use proptest::sample::Index;
    let world = World::new();
    let batch = (any::<(Index, Index)>(), proptest::option::weighted(0.5, any::<(Index, u8)>()), any::<(bool, bool)>());
    let batches = proptest::collection::vec(batch, 1..8);
    let mut hosts = 0;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    let shape = proptest::collection::vec(0..4_usize, 1..6);
    let counted = std::cell::RefCell::new(&mut hosts);
    let done = runner.run(&(shape, batches), |(shape, batches)| {
        let name = {
            let mut hosts = counted.borrow_mut();
            **hosts += 1;
            format!("any-{hosts}")
        };
        let id: tether_identity::HostId = name.parse().unwrap();
        let mut writer = HostWriter::new(&name);
        for records in shape {
            for _ in 0..records {
                writer.record("a", None);
            }
            writer.head();
        }
        let start = HostChain {
            start: Some(writer.start()),
            reached: tether_audit::Reached {
                key: Some((0, tether_audit::HeadKey(writer.start().public))),
                ..tether_audit::Reached::default()
            },
            ..HostChain::default()
        };
        world.write(|act| act.put_host_chain(&id, &start));
        let places = places(&writer.lines);
        let send = |after: Place, text: &[u8], gap: bool, end: bool| {
            world.app.take_lines(&id, crate::app::Lines { after, end, gap, text })
        };
        for ((from, length), flip, (gap, end)) in batches {
            let from = from.index(writer.lines.len());
            let to = from + length.index(writer.lines.len() - from + 1);
            let mut text: Vec<u8> =
                writer.lines[from..to].iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            if let (Some((at, bit)), false) = (flip, text.is_empty()) {
                let at = at.index(text.len());
                text[at] ^= 1 << (bit % 8);
            }
            let _ = send(places[from], &text, gap, end);
            let chain = world.read(|act| act.host_chain(&id)).unwrap();
            for generation in 0..=chain.generation {
                let kept = world.read(|act| act.lines(&name, generation, Place::default(), 1000));
                let kept: Vec<&str> = kept.iter().map(|(_, line)| line.as_str()).collect();
                prop_assert!(writer.lines.windows(kept.len().max(1)).any(|window| window == kept) || kept.is_empty());
            }
        }
        let chain = world.read(|act| act.host_chain(&id)).unwrap();
        let at = Place { number: chain.reached.number, marks: chain.marks };
        let rest = places.iter().position(|place| *place == at).unwrap_or(writer.lines.len());
        if rest < writer.lines.len() {
            let taken = send(at, writer.text(rest).as_bytes(), false, false).unwrap();
            prop_assert!(taken.trouble.is_none_or(|trouble| trouble.state == "forked"), "the truth does not come in");
        }
        let kept = world.read(|act| act.lines(&name, chain.generation, Place::default(), 1000));
        prop_assert_eq!(kept.last().map(|(_, line)| line), writer.lines.last());
        Ok(())
    });
    done.unwrap();
}
