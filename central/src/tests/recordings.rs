//! Hosts' recordings come in: what their chains tell of, in order, whole, and nothing else.

use super::audit::HostWriter;
use super::client::Client;
use super::world::{Got, HOST, World};
use super::{made, open};
use crate::app::{Admin, App, WhichRecording};
use crate::shelf::Shelf;
use crate::store::{Host, HostChain, HostKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tether_centrallink::wire::Shipped;
use tether_oauth::issue::PrivateKey;
use tether_recording::{Checked, Pieces, Told};
use tether_statement::{Receipt, TrustedKeys};

/// What central has and wants; else the status and the refusal's code.
type Answered = Result<Shipped, (u16, String)>;

const MIB: usize = 1 << 20;
const OTHER: &str = "web-02";

/// A host with a chain of its own.
pub(super) struct Side<'w> {
    world: &'w World,
    key: u8,
    pub(super) writer: HostWriter,
    sent: usize,
}

pub(super) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 % 251) as u8).collect()
}

fn pieces(bytes: &[u8]) -> (Vec<Value>, String) {
    let (mut all, mut found) = (Pieces::new(), Vec::new());
    all.take(bytes, |piece| found.push(piece));
    found.extend(all.flush());
    let one = |piece: tether_recording::Piece| json!({"offset": piece.offset, "length": piece.length, "sha256": piece.sha256});
    (found.into_iter().map(one).collect(), all.digest())
}

/// The end's record.
fn ended(name: &str, bytes: &[u8]) -> Value {
    json!({"recording": name, "kind": "sudo", "bytes": bytes.len(), "sha256": pieces(bytes).1, "regular": true})
}

impl<'w> Side<'w> {
    pub(super) fn new(world: &'w World, name: &'static str, key: u8) -> Self {
        let writer = HostWriter::new(name);
        let host = Host {
            id: name.parse().unwrap(),
            address: None,
            labels: BTreeSet::new(),
            key: Some(HostKey { jkt: PrivateKey::from_seed(&[key; 32]).unwrap().thumbprint() }),
            active: true,
            enrolled_at: 1,
            revoked_at: 0,
        };
        let chain = HostChain {
            start: Some(writer.start()),
            reached: tether_audit::Reached {
                key: Some((0, tether_audit::HeadKey(writer.start().public))),
                ..tether_audit::Reached::default()
            },
            heard: crate::clock::now(),
            ..HostChain::default()
        };
        world.write(|act| {
            act.put_host(&host)?;
            act.put_host_chain(&host.id, &chain)
        });
        Self { world, key, writer, sent: 0 }
    }

    fn proof(&self, method: &str, path: &str) -> String {
        let jti = tether_centrallink::random::name(16).unwrap();
        let (now, url) = (crate::clock::now(), format!("{}{path}", self.world.url));
        let request = tether_oauth::ProofRequest { method, url: &url, access_token: None };
        let key = PrivateKey::from_seed(&[self.key; 32]).unwrap();
        key.proof(request, Some(&self.world.app.nonces.make(now)), &jti, now)
    }

    fn ask(&self, session: &str, name: &str, query: &str, body: &[u8]) -> Got {
        let path = format!("/v1/host/recording/{session}/{name}");
        let proof = self.proof("PUT", &path);
        self.world.ask("PUT", &format!("{path}{query}"), &[("dpop", &proof)], Some(body))
    }

    /// What central has and wants; else the refusal's code.
    fn put(&self, session: &str, name: &str, offset: usize, body: &[u8]) -> Answered {
        said(self.ask(session, name, &format!("?offset={offset}"), body))
    }

    /// The head of a request with a piece of that length.
    fn head(&self, session: &str, name: &str, length: usize) -> String {
        let path = format!("/v1/host/recording/{session}/{name}");
        let proof = self.proof("PUT", &path);
        format!("PUT {path}?offset=0 HTTP/1.1\r\nHost: central\r\nDPoP: {proof}\r\nContent-Length: {length}\r\n\r\n")
    }

    fn look(&self, session: &str, name: &str) -> Answered {
        said(self.ask(session, name, "", b""))
    }

    /// Records of a recording, in chunks as agentd writes them. The chain is not sent yet.
    pub(super) fn tell(&mut self, session: &str, name: &str, bytes: &[u8]) -> &mut Self {
        let started = json!({"recording": name, "kind": "sudo", "command": ["id"], "columns": 0, "rows": 0});
        self.writer.tell("recording.started", Some(session), &started);
        let (pieces, _) = pieces(bytes);
        if pieces.len() > 1 {
            for piece in pieces {
                let about = json!({"recording": name, "pieces": [piece]});
                self.writer.tell("recording.chunk", Some(session), &about);
            }
        }
        self.writer.tell("recording.ended", Some(session), &ended(name, bytes));
        self
    }

    /// Signs and sends what there is.
    fn send(&mut self) -> &mut Self {
        self.writer.head();
        self.send_unsigned()
    }

    fn send_unsigned(&mut self) -> &mut Self {
        let (path, text) = ("/v1/host/audit", self.writer.text(self.sent));
        let lines = self.writer.lines[..self.sent].iter();
        let records = lines.clone().filter(|line| line.starts_with("{\"hash\"")).count();
        let marks = lines.rev().take_while(|line| !line.starts_with("{\"hash\"")).count();
        let query = format!("{path}?after={records}&lines={marks}");
        let got = self.world.ask("POST", &query, &[("dpop", &self.proof("POST", path))], Some(text.as_bytes()));
        assert_eq!((got.status, &got.body["trouble"]), (200, &Value::Null), "{got:?}");
        self.sent = self.writer.lines.len();
        self
    }
}

/// A connection that is written to by hand.
async fn connect(world: &World) -> Client {
    let port: u16 = world.url.trim_start_matches("https://localhost:").parse().unwrap();
    let authority = world.folder().join("tls/authority.pem");
    let connecting = Client::connect_as("localhost", ([127, 0, 0, 1], port).into(), [127, 0, 0, 1].into(), &authority);
    connecting.await.unwrap()
}

fn said(got: Got) -> Answered {
    match got.status {
        200 => Ok(serde_json::from_value(got.body).unwrap()),
        status => Err((status, got.body["tether_code"].as_str().unwrap_or_default().to_owned())),
    }
}

fn part(bytes: usize, next: Option<usize>) -> Answered {
    Ok(Shipped { bytes: bytes as u64, whole: false, next: next.map(|next| next as u64), receipt: None })
}

fn refused(status: u16, code: &str) -> Answered {
    Err((status, code.to_owned()))
}

/// A session on the host of the world.
fn session(world: &World) -> String {
    world.exchange("alice@example.org", 5).unwrap();
    world.live()[0].session.to_string()
}

fn setup() -> (World, String) {
    limited("")
}

/// With lines of `[recordings]`.
fn limited(lines: &str) -> (World, String) {
    let world = World::with_recordings(lines);
    let session = session(&world);
    (world, session)
}

fn path(world: &World, session: &str, name: &str) -> PathBuf {
    let shelf = Shelf::new(world.folder().join("recordings"));
    shelf.path(&session.parse().unwrap(), name).unwrap()
}

/// The alarms: recording, where, what was kept of it.
fn alarms(world: &World) -> Vec<(String, u64, Option<Vec<u8>>)> {
    let all = world.trail("recording.alarm").into_iter().map(|link| {
        assert_eq!(link.event.code, "recording.digest");
        assert_eq!(link.event.ids.human.id(), Some("alice@example.org"), "whose it was is known");
        let details = link.event.details;
        let kept =
            details["kept_aside"].as_str().map(|file| std::fs::read(world.folder().join("recordings").join(file)));
        (
            details["recording"].as_str().unwrap().to_owned(),
            details["offset"].as_u64().unwrap(),
            kept.map(Result::unwrap),
        )
    });
    all.collect()
}

fn receipt(world: &World, shipped: &Shipped) -> Receipt {
    let keys = world.read(|act| act.meta("keys")).unwrap();
    let keys = TrustedKeys::verify(&keys, &world.app.settings.roots).unwrap();
    Receipt::verify(shipped.receipt.as_ref().unwrap(), &keys, &HOST.parse().unwrap()).unwrap()
}

#[test]
fn a_recording_comes_in_piece_by_piece_and_whole_it_is_receipted() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let (small, large) = (bytes(1000), bytes(2 * MIB + 77));
    host.tell(&session, "sudo-1", &small).tell(&session, "sudo-2", &large).send();
    assert_eq!(host.look(&session, "sudo-1"), part(0, Some(1000)));
    let done = host.put(&session, "sudo-1", 0, &small).unwrap();
    assert_eq!((done.bytes, done.whole, done.next), (1000, true, None));
    let said = receipt(&world, &done);
    assert_eq!((&*said.recording, said.session.as_str(), said.bytes), ("sudo-1", &*session, 1000));
    assert_eq!(said.sha256, pieces(&small).1);
    // Twice, and when asked again: the same word.
    assert_eq!(host.put(&session, "sudo-1", 0, &small).unwrap(), done);
    assert_eq!(host.look(&session, "sudo-1").unwrap(), done);
    // In pieces; out of order nothing is taken, and where to go on is said.
    assert_eq!(host.put(&session, "sudo-2", MIB, &large[MIB..2 * MIB]), part(0, Some(MIB)));
    assert_eq!(host.put(&session, "sudo-2", 0, &large[..MIB]), part(MIB, Some(MIB)));
    assert_eq!(host.put(&session, "sudo-2", 0, &large[..MIB]), part(MIB, Some(MIB)), "again");
    assert_eq!(host.put(&session, "sudo-2", 5, &large[5..MIB]), part(MIB, Some(MIB)), "from the middle of a piece");
    assert_eq!(host.put(&session, "sudo-2", MIB, &large[MIB..2 * MIB]), part(2 * MIB, Some(77)));
    assert!(host.put(&session, "sudo-2", 2 * MIB, &large[2 * MIB..]).unwrap().whole);
    assert_eq!(std::fs::read(path(&world, &session, "sudo-1")).unwrap(), small);
    assert_eq!(std::fs::read(path(&world, &session, "sudo-2")).unwrap(), large);
    assert_eq!(alarms(&world), []);
    let total = world.read(|act| act.recordings_use(Some(&HOST.parse().unwrap())));
    assert_eq!((total.host, total.total), ((1000 + large.len()) as u64, (1000 + large.len()) as u64));
}

#[test]
fn an_open_recording_comes_as_far_as_its_chain_is_signed() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let whole = bytes(MIB + 9);
    let (told, _) = pieces(&whole);
    host.writer.tell("recording.started", Some(&session), &json!({"recording": "tty-1", "kind": "tty"}));
    host.send();
    assert_eq!(host.look(&session, "tty-1"), part(0, None), "nothing is told of it");
    assert_eq!(host.put(&session, "tty-1", 0, &whole[..MIB]), part(0, None), "so nothing is taken");
    let chunk = |at: usize| json!({"recording": "tty-1", "pieces": [told[at]]});
    host.writer.tell("recording.chunk", Some(&session), &chunk(0));
    host.send_unsigned();
    assert_eq!(host.put(&session, "tty-1", 0, &whole[..MIB]), part(0, None), "the courier's word alone");
    host.send();
    assert_eq!(host.put(&session, "tty-1", 0, &whole[..MIB]), part(MIB, None), "signed");
    host.writer.tell("recording.chunk", Some(&session), &chunk(1));
    host.writer.tell("recording.ended", Some(&session), &ended("tty-1", &whole));
    host.send();
    assert_eq!(host.look(&session, "tty-1"), part(MIB, Some(9)));
    assert!(host.put(&session, "tty-1", MIB, &whole[MIB..]).unwrap().whole);
}

#[test]
fn what_the_chain_does_not_say_is_refused_and_kept_aside_once() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let (small, large) = (bytes(1000), bytes(MIB + 5));
    host.tell(&session, "sudo-1", &small).tell(&session, "sudo-2", &large).send();
    let mut swapped = small.clone();
    swapped[500] ^= 1;
    let refusal = refused(400, "recording.digest");
    for wrong in [&swapped[..], &small[..999], &swapped[..], &[&small[..], b"x"].concat(), b""] {
        assert_eq!(host.put(&session, "sudo-1", 0, wrong), refusal);
    }
    assert_eq!(alarms(&world), [("sudo-1".to_owned(), 0, Some(swapped.clone()))], "once, not for each try");
    assert!(!path(&world, &session, "sudo-1").exists());
    assert_eq!(host.look(&session, "sudo-1"), part(0, Some(1000)));
    // A later piece: what came before stays.
    assert_eq!(host.put(&session, "sudo-2", 0, &large[..MIB]), part(MIB, Some(5)));
    assert_eq!(host.put(&session, "sudo-2", MIB, b"other"), refusal);
    assert_eq!(std::fs::read(path(&world, &session, "sudo-2")).unwrap(), large[..MIB]);
    assert_eq!(alarms(&world).len(), 2);
    let states = |world: &World| -> Vec<&'static str> {
        world.app.recordings_of(&session.parse().unwrap()).unwrap().iter().map(|one| one.state).collect()
    };
    assert_eq!(states(&world), ["differs", "differs"]);
    let listed = |world: &World| serde_json::to_value(&world.app.hosts().unwrap()[0]).unwrap()["recordings"].clone();
    assert_eq!(listed(&world), json!({"bytes": MIB, "differ": 2}));
    // Control: the true bytes are taken for all that, and the same changed bytes are where the chain has their digest.
    assert!(host.put(&session, "sudo-1", 0, &small).unwrap().whole);
    host.tell(&session, "sudo-3", &swapped).send();
    assert!(host.put(&session, "sudo-3", 0, &swapped).unwrap().whole);
    assert_eq!(states(&world), ["whole", "differs", "whole"]);
    assert_eq!(listed(&world), json!({"bytes": MIB + 2000, "differ": 1}));
    // And nothing replaces what is whole.
    assert!(host.put(&session, "sudo-1", 0, &swapped).unwrap().whole);
    assert_eq!(std::fs::read(path(&world, &session, "sudo-1")).unwrap(), small);
}

#[test]
fn who_becomes_root_later_adds_records_and_changes_nothing() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let (true_one, swapped) = (bytes(1000), vec![7; 1000]);
    host.tell(&session, "sudo-1", &true_one).send();
    // All keys of now are theirs: the chain holds, and says otherwise.
    host.tell(&session, "sudo-1", &swapped).send();
    assert_eq!(host.put(&session, "sudo-1", 0, &swapped), refused(400, "recording.digest"));
    assert!(host.put(&session, "sudo-1", 0, &true_one).unwrap().whole, "the control");
}

/// Tells of so many recordings of a session, from one on, in batches that central takes.
fn flood(host: &mut Side<'_>, session: &str, from: usize, count: usize) {
    for number in from..from + count {
        host.tell(session, &format!("exec-{number}"), b"x");
        if number % 2_500 == 0 {
            host.send();
        }
    }
    host.send();
}

/// An agent that was root on another host had this one tell of its session first, as often as central looks: its
/// recordings never left the host where it was.
#[test]
fn another_hosts_records_hide_no_recording() {
    let (world, session) = setup();
    let mut other = Side::new(&world, OTHER, 8);
    flood(&mut other, &session, 1, 10_000);
    for _ in 0..4 {
        for _ in 0..2_500 {
            other.tell(&session, "sudo-1", b"another");
        }
        other.send();
    }
    let mut host = Side::new(&world, HOST, 9);
    let small = bytes(1000);
    host.tell(&session, "sudo-1", &small).send();
    assert_eq!(host.look(&session, "sudo-1"), part(0, Some(1000)));
    assert!(host.put(&session, "sudo-1", 0, &small).unwrap().whole);
    let all = world.app.recordings_of(&session.parse().unwrap()).unwrap();
    assert_eq!(all.iter().map(|one| (&*one.name, one.state)).collect::<Vec<_>>(), [("sudo-1", "whole")]);
}

/// An agent opened ten thousand channels, and what it did then was in no list.
#[test]
fn all_of_a_sessions_recordings_are_listed() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    flood(&mut host, &session, 1, 10_001);
    let all = world.app.recordings_of(&session.parse().unwrap()).unwrap();
    assert_eq!((all.len(), all.last().map(|one| &*one.name)), (10_001, Some("exec-10001")));
}

#[test]
fn a_chain_that_contradicts_itself_has_no_receipt() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let large = bytes(MIB + 5);
    let (told, _) = pieces(&large);
    host.writer.tell("recording.chunk", Some(&session), &json!({"recording": "sudo-1", "pieces": told}));
    let mut end = ended("sudo-1", &large);
    end["sha256"] = json!(pieces(b"another").1);
    host.writer.tell("recording.ended", Some(&session), &end);
    host.send();
    host.put(&session, "sudo-1", 0, &large[..MIB]).unwrap();
    assert_eq!(host.put(&session, "sudo-1", MIB, &large[MIB..]), refused(400, "recording.digest"));
    assert_eq!(host.look(&session, "sudo-1"), part(large.len(), None), "the pieces are here, and it is not whole");
    assert_eq!(alarms(&world), [("sudo-1".to_owned(), large.len() as u64, None)]);
}

#[test]
fn a_host_has_its_own_sessions_and_names_are_no_paths() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let small = bytes(100);
    // Another host tells of the session in its own chain, signed and all.
    let mut other = Side::new(&world, OTHER, 10);
    other.tell(&session, "sudo-1", b"a story").send();
    for _ in 0..3 {
        assert_eq!(other.put(&session, "sudo-1", 0, b"a story"), refused(400, "recording.other_host"));
    }
    assert_eq!(other.look("0123456789abcdef", "sudo-1"), refused(400, "recording.other_host"), "nobody's session");
    assert_eq!(world.trail("recording.refused").len(), 1, "on record, not for each try");
    host.tell(&session, "sudo-1", &small).send();
    assert_eq!(host.look(&session, "sudo-1"), part(0, Some(100)), "what the other told counts for nothing");
    assert!(host.put(&session, "sudo-1", 0, &small).unwrap().whole);
    for name in ["sudo-0", "sudo", "x-1", "..%2Fsudo-1", "sudo-1.rec"] {
        let (status, _) = host.look(&session, name).unwrap_err();
        assert!(matches!(status, 400 | 404), "{name}");
    }
    // Without a host's key, or with a proof of something else.
    let path = format!("/v1/host/recording/{session}/sudo-1");
    assert_eq!(world.ask("PUT", &path, &[], Some(b"")).status, 401);
    let proof = host.proof("PUT", &format!("/v1/host/recording/{session}/sudo-2"));
    assert_eq!(world.ask("PUT", &path, &[("dpop", &proof)], Some(b"")).status, 401);
    let stranger = Side { key: 77, ..Side::new(&world, OTHER, 10) };
    assert_eq!(stranger.look(&session, "sudo-1").unwrap_err().0, 401);
}

#[test]
fn what_is_too_long_or_has_no_room_is_not_taken() {
    let (world, session) = limited("host_mib = 2\n");
    let mut host = Side::new(&world, HOST, 9);
    let large = bytes(2 * MIB + 1);
    host.tell(&session, "sudo-1", &large).send();
    // What says that it is too long is refused before a byte of it is read.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut long = runtime.block_on(connect(&world));
    let head = host.head(&session, "sudo-1", MIB + 1);
    let answer = runtime.block_on(async {
        long.send(&head).await.unwrap();
        long.answer().await.unwrap()
    });
    assert_eq!((answer.status, &answer.body["tether_code"]), (413, &json!("request.too_long")));
    assert_eq!(host.put(&session, "sudo-1", 0, &large[..MIB]), part(MIB, Some(MIB)));
    assert_eq!(host.put(&session, "sudo-1", MIB, &large[MIB..2 * MIB]), part(2 * MIB, Some(1)));
    assert_eq!(host.put(&session, "sudo-1", 2 * MIB, &large[2 * MIB..]), refused(503, "recording.host_quota"));
    assert_eq!(host.look(&session, "sudo-1"), part(2 * MIB, Some(1)), "what is here stays");
    // All hosts together; and the disk.
    let (world, session) = limited("total_mib = 1\n");
    let mut host = Side::new(&world, HOST, 9);
    host.tell(&session, "sudo-1", &large).send();
    host.put(&session, "sudo-1", 0, &large[..MIB]).unwrap();
    assert_eq!(host.put(&session, "sudo-1", MIB, &large[MIB..2 * MIB]), refused(503, "recording.quota"));
    let world = World::with_recordings("free_mib = 900000000000\n");
    let (session, mut host) = (super::recordings::session(&world), Side::new(&world, HOST, 9));
    host.tell(&session, "sudo-1", &large).send();
    assert_eq!(host.put(&session, "sudo-1", 0, &large[..MIB]), refused(503, "recording.disk_full"));
    let (world, session) = limited("on = false\n");
    assert_eq!(Side::new(&world, HOST, 9).look(&session, "sudo-1"), refused(503, "recording.off"));
}

#[test]
fn who_is_slow_holds_up_nobody_but_itself() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let small = bytes(1000);
    host.tell(&session, "sudo-1", &small).send();
    let other = Side::new(&world, OTHER, 10);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut slow = runtime.block_on(connect(&world));
    let head = host.head(&session, "sudo-1", 1000) + "half of";
    runtime.block_on(slow.send(&head)).unwrap();
    let until = |wanted: &dyn Fn(&Answered) -> bool| {
        let begun = Instant::now();
        loop {
            let got = host.look(&session, "sudo-1");
            if wanted(&got) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{got:?}");
        }
    };
    let busy = refused(503, "recording.busy");
    until(&|got| *got == busy);
    assert_eq!(other.look(&session, "sudo-1"), refused(400, "recording.other_host"), "another host has its turn");
    drop(slow);
    until(&|got| *got == part(0, Some(1000)));
    assert!(host.put(&session, "sudo-1", 0, &small).unwrap().whole);
}

/// A courier that dies before it has sent all has sent no other bytes than were recorded.
#[test]
fn what_is_broken_off_is_no_alarm() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let small = bytes(1000);
    host.tell(&session, "sudo-1", &small).send();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let all = world.app.bringing_places.available_permits();
    let until = |is_brought: bool| {
        let begun = Instant::now();
        while (world.app.bringing_places.available_permits() < all) != is_brought {
            assert!(begun.elapsed() < Duration::from_secs(20), "brought: {}", !is_brought);
        }
    };
    for (part, resets) in [("", false), ("half of", false), ("", true), ("half of", true)].repeat(5) {
        let mut broken = runtime.block_on(connect(&world));
        runtime.block_on(broken.send(&(host.head(&session, "sudo-1", 1000) + part))).unwrap();
        // The rest is waited for, and does not come.
        until(true);
        if resets {
            broken.reset()
        } else {
            drop(broken)
        }
        until(false);
    }
    assert!(host.put(&session, "sudo-1", 0, &small).unwrap().whole);
    let alarms = || world.trail("recording.alarm").len();
    assert_eq!(alarms(), 0);
    // The control: other bytes, whole, are one.
    host.tell(&session, "sudo-2", &small).send();
    assert_eq!(host.put(&session, "sudo-2", 0, &small[..999]), refused(400, "recording.digest"));
    assert_eq!(alarms(), 1);
}

#[test]
fn auditors_read_them_and_that_is_on_record() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let (small, large) = (bytes(1000), bytes(3 * MIB + 1));
    host.tell(&session, "sudo-1", &small).tell(&session, "sudo-2", &large).tell(&session, "sudo-3", &small).send();
    host.put(&session, "sudo-1", 0, &small).unwrap();
    for at in 0..3 {
        host.put(&session, "sudo-2", at * MIB, &large[at * MIB..(at + 1) * MIB]).unwrap();
    }
    let bearer = format!("Bearer {}", world.id_token_of_auditor());
    let auditor = [("authorization", bearer.as_str())];
    let list = format!("/v1/sessions/{session}/recordings");
    let got = world.ask("GET", &list, &auditor, None);
    assert_eq!(got.status, 200, "{got:?}");
    let all = got.body["recordings"].as_array().unwrap();
    let states: Vec<_> = all.iter().map(|one| (&one["name"], &one["state"], &one["here"], &one["bytes"])).collect();
    let wanted = [
        (json!("sudo-1"), json!("whole"), json!(1000), json!(1000)),
        (json!("sudo-2"), json!("part"), json!(3 * MIB), json!(3 * MIB + 1)),
        (json!("sudo-3"), json!("awaited"), json!(0), json!(1000)),
    ];
    assert_eq!(states, wanted.iter().map(|(a, b, c, d)| (a, b, c, d)).collect::<Vec<_>>());
    assert_eq!((&all[0]["kind"], &all[0]["command"], &all[0]["host"]), (&json!("sudo"), &json!(["id"]), &json!(HOST)));
    assert_eq!(world.trail("recording.read").len(), 0);
    assert_eq!(world.bytes(&format!("{list}/sudo-1"), &auditor), (200, small.clone()));
    assert_eq!(world.bytes(&format!("{list}/sudo-2"), &auditor), (200, large[..3 * MIB].to_vec()));
    let (status, body) = world.bytes(&format!("{list}/sudo-3"), &auditor);
    assert_eq!((status, String::from_utf8_lossy(&body).contains("recording.none")), (404, true));
    let read: Vec<_> = world.trail("recording.read").into_iter().map(|link| link.event.details).collect();
    let by: Vec<_> = read.iter().map(|one| (&one["by"], &one["recording"])).collect();
    assert_eq!(by, [(&json!("dave@example.org"), &json!("sudo-1")), (&json!("dave@example.org"), &json!("sudo-2"))]);
    // Nobody else: no token, an agent's human, a host.
    for token in
        ["", "Bearer x", &format!("Bearer {}", world.id_token(&world.claims("alice@example.org", &["analysts"], 5)))]
    {
        let headers = [("authorization", token)];
        for path in [list.clone(), format!("{list}/sudo-1")] {
            assert!(matches!(world.bytes(&path, &headers).0, 401 | 403), "{token} {path}");
        }
    }
    assert_eq!(world.trail("recording.read").len(), 2);
    // An export names them, and has them if it is asked to; of what is not whole, what was compared.
    let (folder, out) = (world.folder().display().to_string(), tempfile::tempdir().unwrap());
    for (name, more) in [("without", &[][..]), ("with", &["--recordings"])] {
        let to = out.path().join(name);
        let arguments = [&["--folder", &folder, "audit", "export", to.to_str().unwrap()], more].concat();
        crate::command::run_from(&arguments).unwrap();
        let index = std::fs::read_to_string(to.join("recordings/index.jsonl")).unwrap();
        assert_eq!(index.lines().count(), 2, "{index}");
        let copy = std::fs::read(to.join(format!("recordings/{session}/sudo-2.rec"))).ok();
        assert_eq!(copy, (name == "with").then(|| large[..3 * MIB].to_vec()), "{name}");
    }
    // What was read agrees with the chain, as the command line finds out.
    let mut told = Told::default();
    told.take("recording.ended", ended("sudo-1", &small).as_object().unwrap());
    assert_eq!(told.check(&mut small.as_slice()).unwrap(), Checked::Whole);
}

#[test]
fn central_may_die_at_any_moment_and_keeps_what_it_acknowledged() {
    let (world, session) = setup();
    let mut host = Side::new(&world, HOST, 9);
    let large = bytes(2 * MIB + 3);
    host.tell(&session, "sudo-1", &large).send();
    let (id, which) = (HOST.parse().unwrap(), WhichRecording::parse(&session, "sudo-1").unwrap());
    let file = path(&world, &session, "sudo-1");
    let again = || open(world.folder(), |settings| settings.recordings.free_mib = 0);
    let take = |app: &App, at: usize| {
        let end = large.len().min(at + MIB);
        app.take_piece(&id, &which, at as u64, &large[at..end]).unwrap()
    };
    assert_eq!(take(&again(), 0).bytes, MIB as u64);
    // Died in the middle of the next piece, after some of it was in the file; after all of it was; with other bytes.
    for tail in [&large[MIB..MIB + 1000], &large[MIB..2 * MIB], &vec![0; 3 * MIB][..]] {
        std::fs::write(&file, [&large[..MIB], tail].concat()).unwrap();
        let app = again();
        let asked = app.look_at_recording(&id, &which).unwrap();
        assert_eq!((asked.bytes, asked.next, asked.whole), (MIB as u64, Some(MIB as u64), false));
        let opened = app.read_recording(&Admin { name: "a test".to_owned() }, &which).unwrap();
        assert_eq!(opened.bytes, MIB as u64, "nobody reads what was not acknowledged");
    }
    assert_eq!(take(&again(), MIB).bytes, 2 * MIB as u64);
    assert!(take(&again(), 2 * MIB).whole);
    assert_eq!(std::fs::read(&file).unwrap(), large);
    // A store that was put back without its files: it says so, and takes them again.
    std::fs::remove_file(&file).unwrap();
    let app = again();
    assert_eq!(app.recordings_of(&session.parse().unwrap()).unwrap()[0].state, "lost");
    assert_eq!(app.look_at_recording(&id, &which).unwrap().bytes, 0);
    (0..3).for_each(|at| drop(take(&app, at * MIB)));
    assert_eq!(std::fs::read(&file).unwrap(), large);
    assert_eq!(app.recordings_of(&session.parse().unwrap()).unwrap()[0].state, "whole");
}

#[test]
fn what_was_kept_long_enough_goes_and_does_not_come_back() {
    let (world, session) = limited("keep_days = 2\n");
    let mut host = Side::new(&world, HOST, 9);
    let small = bytes(1000);
    host.tell(&session, "sudo-1", &small).send();
    host.put(&session, "sudo-1", 0, &small).unwrap();
    let (now, day) = (crate::clock::now(), 86_400);
    assert_eq!(world.app.sweep_recordings(now + day).unwrap(), 0, "it is young");
    assert_eq!(world.app.sweep_recordings(now + 3 * day).unwrap(), 1);
    assert_eq!(world.app.sweep_recordings(now + 3 * day).unwrap(), 0);
    assert!(!path(&world, &session, "sudo-1").parent().unwrap().exists());
    assert_eq!(world.trail("recording.removed").len(), 1);
    assert_eq!(world.read(|act| act.recordings_use(None)).total, 0);
    let asked = host.put(&session, "sudo-1", 0, &small).unwrap();
    assert!(asked.whole && asked.receipt.is_some() && asked.next.is_none(), "the host may let it go");
    assert_eq!(world.app.recordings_of(&session.parse().unwrap()).unwrap()[0].state, "removed");
    let made = made(([127, 0, 0, 1], 1).into());
    assert_eq!(open(made.path(), |_| ()).sweep_recordings(now).unwrap(), 0, "where there was never one");
}
