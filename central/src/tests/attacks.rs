//! Attacks that had worked, each as it was made.

use super::audit::HostWriter;
use super::world::{HOST, World, next_second};
use crate::app::{Admin, ENROL_PATH};
use crate::clock;
use crate::command::run_from;
use crate::store::{Host, HostKey, Place};
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use tether_audit::log::ENTRY_MAX;
use tether_centrallink::wire::{EnrolRequest, EnrolToken, NewHost, Target};
use tether_oauth::issue::PrivateKey;
use tether_oauth::{ProofRequest, Refusal};
use tether_statement::{Position, ResumeRequest};

const FORM: &str = "application/x-www-form-urlencoded";

/// Somebody whose key nobody knows.
fn stranger(world: &World, path: &str, token: Option<&str>) -> String {
    let seed = tether_centrallink::random::seed().unwrap();
    let url = format!("{}{path}", world.url);
    let request = ProofRequest { method: "POST", url: &url, access_token: token };
    let nonce = world.app.nonces.make(clock::now());
    PrivateKey::from_seed(&seed).unwrap().proof(request, Some(&nonce), "once", clock::now())
}

fn code(refused: Result<impl std::fmt::Debug, Refusal>) -> String {
    refused.unwrap_err().code
}

/// A stranger's form, of which the refusal's words hold a part, made a record that no entry of the log can be: nothing of
/// the log could be exported any more, and each request cost central's disk six times its size.
#[test]
fn no_record_of_centrals_is_longer_than_an_entry_of_the_log() {
    let world = World::new();
    let form = |world: &World, body: &[u8]| {
        let proof = stranger(world, "/oauth/token", None);
        world.ask("POST", "/oauth/token", &[("dpop", &proof), ("content-type", FORM)], Some(body))
    };
    let raw = "\u{1}".repeat(30_000);
    for body in
        [format!("{raw}=1&{raw}=2"), format!("grant_type={raw}"), format!("grant_type=%01{}", "é".repeat(20_000))]
    {
        assert_eq!(form(&world, body.as_bytes()).status, 400);
    }
    let records = world.trail("token.refused");
    let codes: Vec<&str> = records.iter().map(|link| link.event.code.as_str()).collect();
    assert_eq!(codes, ["request.twice", "request.grant_type", "request.grant_type"], "each is on record");
    let why = records[1].event.details["why"].as_str().unwrap();
    assert!(why.starts_with("grant_type is "), "what there is room for is said: {why:?}");
    let lines: Vec<String> = world.read(|act| act.audit(0, 10_000));
    assert!(lines.iter().all(|line| line.len() < ENTRY_MAX / 8), "{:?}", lines.iter().map(String::len).max());
    world.app.checkpoint().unwrap();
    let to = world.folder().join("export").display().to_string();
    run_from(&["--folder", &world.folder().display().to_string(), "audit", "export", &to]).unwrap();
}

/// A host of that name wrote into central's own chain.
#[test]
fn no_host_is_named_as_central_is_in_the_log() {
    let world = World::new();
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let admit = |host: &str| {
        let body = json!({"host": host, "address": "192.0.2.1", "labels": []}).to_string();
        let got = world.ask("POST", "/v1/admin/hosts", &[("authorization", &carol)], Some(body.as_bytes()));
        got.body["tether_code"].as_str().unwrap_or_default().to_owned()
    };
    // Nor by a name that leads out of the folder of an export, or to another host's in it.
    for bad in ["central", "Central", "../../etc", "/etc", "a/b", "web-01@0", ".hidden"] {
        assert_eq!(admit(bad), "host.name", "{bad}");
    }
    for good in ["web-01.example.org", "central-01", "2001:db8::1", "WEB_1"] {
        assert_eq!(admit(good), "", "{good}");
    }
}

/// One that was there already.
#[test]
fn a_host_writes_nothing_into_centrals_own_chain() {
    let world = World::new();
    let key = PrivateKey::from_seed(&[8; 32]).unwrap();
    let host = Host {
        id: "central".parse().unwrap(),
        address: None,
        labels: BTreeSet::new(),
        key: Some(HostKey { jkt: key.thumbprint() }),
        active: true,
        enrolled_at: 1,
        revoked_at: 0,
    };
    world.write(|act| act.put_host(&host));
    let (before, head) = world.read(|act| act.audit_end());
    let forged = HostWriter::after("central", before, &head).record("token.issued", None).lines[0].clone() + "\n";
    let lines = crate::app::Lines {
        after: Place { number: before, marks: 0 },
        end: false,
        gap: false,
        text: forged.as_bytes(),
    };
    assert_eq!(code(world.app.take_lines(&host.id, lines)), "host.name");
    assert_eq!(world.read(|act| act.audit_end()).0, before);
    assert_eq!(world.trail("token.issued").len(), 0);
}

/// Whoever makes keys filled the table of used proofs at the token endpoint, from enough addresses, and then no host and no
/// agent was heard.
#[test]
fn strangers_take_no_place_among_proofs_anywhere() {
    let world = World::new();
    let remembered = || world.app.nonces.remembered();
    let before = remembered();
    let token = world.exchange("alice@example.org", 5).unwrap();
    assert_eq!(remembered(), before + 1, "the control: an agent's proof is remembered");
    let ask = |path: &str, token: Option<&str>, body: &str| {
        let proof = stranger(&world, path, token);
        let bearer = token.map(|token| format!("DPoP {token}"));
        let mut headers = vec![("dpop", proof.as_str()), ("content-type", FORM)];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let got = world.ask("POST", path, &headers, Some(body.as_bytes()));
        got.body["tether_code"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(ask("/oauth/token", None, "grant_type=x"), "request.grant_type");
    assert_eq!(ask("/oauth/revoke", None, "token=x"), "");
    assert_eq!(ask("/oauth/revoke", None, &format!("token={token}")), "token.other_key");
    assert_eq!(ask("/v1/certificate", Some("x"), ""), "token.invalid");
    assert_eq!(ask("/v1/certificate", Some(&token), ""), "token.other_key");
    assert_eq!(ask(ENROL_PATH, None, r#"{"secret": "x"}"#), "enrol.unknown");
    assert_eq!(remembered(), before + 1);
    // And each of the known is still good once.
    let proof = world.proof("/v1/certificate", Some(&token));
    world.app.prepare(Some(&token), Some(&proof), "test").unwrap();
    assert_eq!(code(world.app.prepare(Some(&token), Some(&proof), "test")), "proof.replayed");
    let proof = world.proof("/oauth/revoke", None);
    let give_back = || {
        world.ask(
            "POST",
            "/oauth/revoke",
            &[("dpop", &proof), ("content-type", FORM)],
            Some(format!("token={token}").as_bytes()),
        )
    };
    assert_eq!((give_back().status, remembered()), (200, before + 3));
}

/// A second sign-in, spelled as no directory and no record has it, got around the revocation of the pair.
#[test]
fn a_pair_is_revoked_in_every_spelling() {
    let world = World::new();
    let admin = Admin { name: "carol".to_owned() };
    let revoke = |human: &str| {
        world
            .app
            .revoke(&admin, &Target::Pair { agent: "triage".parse().unwrap(), human: human.parse().unwrap() })
            .unwrap();
    };
    let held_back = world.id_token(&world.claims("ALICE@example.org", &["analysts"], 5));
    world.exchange("alice@example.org", 5).unwrap();
    revoke("alice@example.org");
    assert_eq!(world.exchange_token(&held_back), Err("pair.revoked".to_owned()));
    revoke("Bob@Example.org");
    assert_eq!(
        world.exchange("bob@example.org", 5),
        Err("pair.revoked".to_owned()),
        "never seen, and spelled by the admin"
    );
    assert!(world.exchange("eve@example.org", 5).is_ok(), "a bystander");
    next_second();
    assert!(world.exchange("alice@example.org", 0).is_ok(), "who signs in again");
}

/// The provider made the account anew, or gives each client another name for one human: the event is about the name that
/// was seen before the last.
#[test]
fn an_event_reaches_what_was_issued_under_an_earlier_name_of_the_providers() {
    let world = World::new();
    let as_sub = |sub: &str| {
        let mut claims = world.claims("alice@example.org", &["analysts"], 5);
        claims["sub"] = json!(sub);
        world.exchange_token(&world.id_token(&claims)).unwrap()
    };
    world.grant(&as_sub("u-1"));
    as_sub("u-2");
    world.exchange("bob@example.org", 5).unwrap();
    let event = json!({
        "iss": world.issuer, "aud": world.url, "iat": clock::now(), "jti": "jti-of-the-event",
        "sub_id": {"format": "iss_sub", "iss": world.issuer, "sub": "u-1"},
        "events": {"https://schemas.openid.net/secevent/risc/event-type/account-purged": {}},
    });
    let event = world.provider.sign(&json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": "p-1"}), &event);
    let got = world.ask("POST", "/ssf/events", &[("content-type", "application/secevent+jwt")], Some(event.as_bytes()));
    assert_eq!(got.status, 202);
    assert_eq!(world.live().iter().map(|one| one.human.as_str().to_owned()).collect::<Vec<_>>(), ["bob@example.org"]);
}

/// Empty lines, four million of them, made central read that many of the host's into memory.
#[test]
fn a_batch_has_so_many_lines() {
    let world = World::new();
    let take = |count: usize| {
        let text = "\n".repeat(count);
        let lines = crate::app::Lines { after: Place::default(), end: false, gap: false, text: text.as_bytes() };
        world.app.take_lines(&HOST.parse().unwrap(), lines).map_err(|refusal| refusal.code)
    };
    assert_eq!(take(4 * 1024 * 1024).unwrap_err(), "audit.too_many");
    assert!(take(1).is_ok());
}

/// A host that broke its chain and went on, again and again, filled central's own chain, for which room is kept before all.
#[test]
fn a_chain_that_breaks_again_and_again_stays_broken() {
    let world = World::new();
    let host: tether_identity::HostId = HOST.parse().unwrap();
    let mut writer = HostWriter::new(HOST);
    let take = |after: Place, text: &str| {
        let lines = crate::app::Lines { after, end: false, gap: false, text: text.as_bytes() };
        let taken = world.app.take_lines(&host, lines).unwrap();
        (Place { number: taken.number, marks: taken.lines }, taken.trouble.map(|trouble| trouble.state))
    };
    let mut at = Place::default();
    let mut states = Vec::new();
    for _ in 0..300 {
        assert_eq!(take(at, "no line\n"), (at, Some("broken".to_owned())));
        let from = writer.lines.len();
        let text = writer.record("sudo.command", None).head().text(from);
        let (next, state) = take(at, &text);
        assert_eq!((next.number, next.marks), (at.number + 1, 1), "its lines are taken all the same");
        (at, _) = (next, states.push(state));
    }
    let counts = ["audit.alarm", "audit.recovered"].map(|event| world.trail(event).len());
    assert_eq!(counts, [256, 255]);
    assert!(states[0].is_none() && states[299].is_some(), "the control, and that it stays to be seen");
    // And further back, at each of its records.
    for number in 0..40 {
        take(Place { number, marks: u64::from(number > 0) }, "no line\n");
    }
    assert_eq!(world.trail("audit.alarm").len(), 256);
}

/// A courier's refused reports, each on record with a flush, left no turn to anybody else and filled the disk.
#[test]
fn a_hosts_refused_reports_are_on_record_up_to_a_rate() {
    let world = World::new();
    let host: tether_identity::HostId = HOST.parse().unwrap();
    let position = Position { number: 7, hash: "no".to_owned() };
    let report =
        ResumeRequest { host: host.clone(), nonce: "n".repeat(22), boot_id: "b".to_owned(), position, uid_mark: 0 };
    for _ in 0..500 {
        assert_eq!(code(world.app.reports(&[(host.clone(), report.clone())]).remove(0)), "report.fork");
    }
    let count = world.trail("report.refused").len();
    assert!((5..100).contains(&count), "{count}");
    assert_eq!(world.trail("rate.limited").len(), 1, "that there were more is on record");
    // Another host's are its own.
    let other: tether_identity::HostId = "web-02".parse().unwrap();
    let _refused = world.app.reports(&[(other, report)]);
    assert_eq!(world.trail("report.refused").len(), count + 1);
}

/// While strangers used up what may be asked of a sender, an event signed with its new key was refused for good.
#[test]
fn an_event_whose_key_could_not_be_asked_for_is_sent_again() {
    let world = World::new();
    let push = |kid: &str| {
        let event = json!({"iss": world.issuer, "aud": world.url, "iat": clock::now(), "jti": "j", "events": {}});
        let event = world.provider.sign(&json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": kid}), &event);
        let kind = [("content-type", "application/secevent+jwt")];
        let got = world.ask("POST", "/ssf/events", &kind, Some(event.as_bytes()));
        (got.status, got.body["tether_code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(push("nobody's"), (400, "set.unknown_key".to_owned()), "it was asked, and has no such key");
    let flood: Vec<(u16, String)> = (0..10).map(|_| push("nobody's")).collect();
    assert_eq!(flood.last().unwrap(), &(503, "provider.keys".to_owned()), "{flood:?}");
    assert_eq!(push("p-1").0, 400, "a known key needs nobody");
}

/// A provider's clock was ahead: its delegation from before an agent was deactivated was dated after it.
#[test]
fn a_delegation_dated_ahead_is_not_revived_with_its_agent() {
    let world = World::with_signals("[providers.delegation]\naudiences = [\"tether-central\"]\nteams = [\"secops\"]");
    let delegated = |ahead: u64| {
        let mut claims = world.claims("alice@example.org", &["analysts"], 0);
        let now = clock::now();
        claims["aud"] = json!("tether-central");
        claims["iat"] = json!(now + ahead);
        claims["auth_time"] = json!(now + ahead);
        claims["act"] = json!({"sub": "triage", "instance": "run-7"});
        claims["cnf"] = json!({"jkt": world.session_key()});
        claims["jti"] = json!(tether_centrallink::random::name(16).unwrap());
        world.provider.sign(&json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "p-1"}), &claims)
    };
    let exchange = |token: &str| {
        let body = format!(
            "grant_type={}&subject_token={token}&subject_token_type={}&audience={HOST}",
            tether_oauth::GRANT_TYPE,
            "urn:ietf:params:oauth:token-type:access_token"
        );
        let proof = world.proof("/oauth/token", None);
        world.app.exchange(body.as_bytes(), Some(&proof), "test").map(drop).map_err(|refusal| refusal.code)
    };
    assert_eq!(exchange(&delegated(20)), Ok(()), "the control; from now on its clock is known to be ahead");
    let before = delegated(20);
    let admin = Admin { name: "carol".to_owned() };
    world.app.revoke(&admin, &Target::Agent("triage".parse().unwrap())).unwrap();
    world.app.activate(&admin, &"triage".parse().unwrap()).unwrap();
    next_second();
    assert_eq!(exchange(&before), Err("delegated.void".to_owned()));
}

/// What central's user left in its folder, root wrote through; and a copy could be read by everybody on the machine.
#[test]
fn a_restored_copy_is_written_through_no_link() {
    let world = World::new();
    let (path, copy) = (world.folder().display().to_string(), world.folder().join("copy"));
    let run = |arguments: &[&str]| run_from(&[&["--folder", path.as_str()], arguments].concat());
    run(&["backup", &copy.display().to_string()]).unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("authorized_keys");
    std::fs::write(&victim, "precious").unwrap();
    let to = elsewhere.path().join("export");
    world.app.checkpoint().unwrap();
    run(&["audit", "export", &to.display().to_string()]).unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
    // A folder of its own, in which no central runs.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("central.db.restored")).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).unwrap();
    let there = folder.path().display().to_string();
    run_from(&["--folder", &there, "restore", &copy.display().to_string()]).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    let store = std::fs::symlink_metadata(folder.path().join("central.db")).unwrap();
    assert_eq!((store.file_type().is_file(), store.permissions().mode() & 0o777), (true, 0o600));
}

/// What was taken back after a copy was made came back with the copy.
#[test]
fn a_restored_store_revives_nothing() {
    let world = World::new();
    let (path, copy) = (world.folder().display().to_string(), world.folder().join("copy").display().to_string());
    let admin = Admin { name: "carol".to_owned() };
    let sign_in = world.id_token(&world.claims("alice@example.org", &["analysts"], 0));
    let token = world.exchange_token(&sign_in).unwrap();
    let new = NewHost { host: "web-02".parse().unwrap(), address: None, labels: Vec::new() };
    let secret = EnrolToken::parse(&world.app.admit_host(&admin, &new).unwrap().token).unwrap().secret;
    run_from(&["--folder", &path, "backup", &copy]).unwrap();
    let enrol = |world: &World, seed: u8| {
        let key = PrivateKey::from_seed(&[seed; 32]).unwrap();
        let url = format!("{}{ENROL_PATH}", world.url);
        let request = ProofRequest { method: "POST", url: &url, access_token: None };
        let text = key.proof(request, Some(&world.app.nonces.make(clock::now())), "enrol", clock::now());
        let proof = world.app.prove(Some(&text), "POST", ENROL_PATH, None).unwrap();
        world.app.enrol(&EnrolRequest { secret: secret.clone(), audit: None }, &proof, "test").map(drop)
    };
    // Afterwards: the token is given back, the human revoked, the enrolment used.
    assert!(enrol(&world, 7).is_ok());
    world.app.revoke(&admin, &Target::Human("alice@example.org".parse().unwrap())).unwrap();
    assert_eq!(world.exchange_token(&sign_in), Err("human.revoked".to_owned()));
    assert_eq!(world.certificate(&token), "token.revoked");
    let world = world.restored(&copy);
    // The agent's assertions are new from here on.
    next_second();
    assert_eq!(world.certificate(&token), "token.revoked");
    assert_eq!(world.exchange_token(&sign_in), Err("human.revoked".to_owned()));
    assert_eq!(code(enrol(&world, 8)), "enrol.revoked");
    // The controls: it is the copy, and who signs in again gets something.
    assert_eq!(world.trail("revoked").len(), 0);
    next_second();
    let token = world.exchange("alice@example.org", 0).unwrap();
    world.grant(&token);
}

/// A host that asked for its feed again and again, and read none of it, kept each of these feeds.
#[test]
fn a_feed_that_is_not_read_ends_when_another_takes_over() {
    let world = World::new();
    let host: tether_identity::HostId = HOST.parse().unwrap();
    // More than the kernel keeps for whoever does not read.
    let text = "x".repeat(1 << 20);
    world.write(|act| {
        (1..=64).try_for_each(|number| act.append(&host, &Position { number, hash: String::new() }, &text))
    });
    let place = world.app.hub.place(&host);
    let until = |turn: u64, running: usize| {
        let begun = std::time::Instant::now();
        while (*place.turn.borrow(), place.turn.receiver_count()) != (turn, running) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{} feeds", place.turn.receiver_count());
            std::thread::yield_now();
        }
    };
    let unread = world.feed();
    until(1, 1);
    let other = world.feed();
    // The older one has begun, cannot get rid of what it has, and ends all the same.
    until(2, 1);
    drop((unread, other));
}

/// Auditors with long questions kept all places to look at the store, and feeds waited.
#[test]
fn auditors_wait_for_each_other_and_nobody_for_them() {
    let world = World::new();
    let dave = format!("Bearer {}", world.id_token_of_auditor());
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let asked = std::thread::scope(|threads| {
        let places = world.app.auditing.try_acquire_many(3).unwrap();
        assert!(world.app.auditing.try_acquire().is_err(), "these are all");
        let questions =
            [("GET", "/v1/audit?outcome=refused", None), ("POST", "/v1/admin/reach", Some(b"{}".as_slice()))];
        let asked = questions.map(|(method, path, body)| {
            let (world, dave) = (&world, &dave);
            threads.spawn(move || world.ask(method, path, &[("authorization", dave)], body).status)
        });
        // Who acts, who proves a key, and who is let in.
        let body = json!({"human": "bob@example.org"}).to_string();
        let got = world.ask("POST", "/v1/admin/revoke", &[("authorization", &carol)], Some(body.as_bytes()));
        assert_eq!(got.status, 200, "{got:?}");
        assert!(world.exchange("alice@example.org", 5).is_ok());
        assert!(asked.iter().all(|thread| !thread.is_finished()));
        drop(places);
        asked.map(|thread| thread.join().unwrap())
    });
    assert_eq!(asked, [200, 200]);
}
