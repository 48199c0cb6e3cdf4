//! Central's own side: the document says what it does, metrics count it, who asks too much is held back, and its keys
//! are changed while sessions live.

use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::process::Command;
use tether_testhost::Suite;
use tether_tests::Trail;
use tether_tests::document::Document;
use tether_tests::provider::{ALICE, BOB, DAVE};
use tether_tests::realm::{Central, Realm};
use tether_tests::recorder::{Recorded, Side};

type Result = anyhow::Result<()>;

#[test]
fn what_is_asked_and_answered_is_as_the_document_says() -> Result {
    let mut realm = Realm::new(Suite::Bookworm)?;
    realm.central.serve_with(|settings| with_pair_limit(&settings, 3))?;
    let (alice, bob) = (realm.provider.sign_in(&ALICE)?, realm.provider.sign_in(&BOB)?);
    ask_everything(&realm, &alice)?;

    // Alice's agent has used up its three: a token and a certificate, and half of another session. Bob's is not touched.
    let (ran, _) = realm.try_open("web-01", &alice)?;
    assert!(ran.code == 1 && ran.err.contains("[rate.limited]"), "{ran:?}");
    realm.open(realm.host()?, &bob)?;

    let text = realm.central.metrics()?;
    metrics_say_it(&text)?;
    let recorded = realm.central.recorded()?;
    are_as_described(&recorded)?;
    ensure!(recorded.iter().any(|one| one.status == 429), "nobody was held back");
    let trail = realm.central.trail()?;
    let floods = trail.iter().filter(|link| link.event.event == "rate.limited").count();
    assert_eq!(floods, 1, "one record for a flood");
    Ok(())
}

fn with_pair_limit(settings: &str, burst: u32) -> String {
    let mut settings: toml::Table = toml::from_str(settings).unwrap();
    settings["limits"]["pair"]["burst"] = burst.into();
    settings["limits"]["pair"]["per_minute"] = 1.into();
    toml::to_string(&settings).unwrap()
}

/// Every route once, most by the programs that people use, some of them refused.
fn ask_everything(realm: &Realm, alice: &str) -> Result {
    let central = &realm.central;
    let (opened, _) = realm.open(realm.host()?, alice)?;
    let (ran, _) = realm.try_open("web-01", &realm.provider.sign_in(&DAVE)?)?;
    assert!(ran.code == 1, "{ran:?}");
    let asked =
        ["--agent", "triage", "--human", "alice@example.org", "--host", "web-01", "--amr", "otp", "--amr", "pwd"];
    for command in [
        &["access", "explain"][..],
        &["access", "list"],
        &["agents", "list"],
        &["hosts", "list"],
        &["hosts", "admit", "web-02", "--label", "role=web"],
        &["sessions", "--all"],
        &["revoke", "session", &opened.session],
        &["revoke", "agent", "triage"],
        &["agents", "activate", "triage"],
    ] {
        let more: &[&str] = if command == ["access", "explain"] { &asked } else { &[] };
        central.administer(&[command, more].concat())?;
    }
    let set = realm.files.path().join("set.json");
    std::fs::write(&set, central.command(&["keys", "renew"])?)?;
    publish_keys(realm, &set)?;
    for (path, data) in [
        ("/healthz", None),
        ("/openapi.json", None),
        ("/jwks", None),
        ("/.well-known/oauth-authorization-server", None),
        ("/v1/host/feed?after=nothing", None),
        ("/v1/admin/agents", None),
        ("/v1/admin/agents", Some("{\"name\": 1, \"name\": 2}")),
        ("/oauth/token", Some("grant_type=password")),
        ("/oauth/revoke", Some("token=none")),
        ("/v1/host/enrol", Some("{}")),
        ("/v1/host/report", Some("{}")),
        ("/v1/certificate", Some("")),
        ("/v1/admin/hosts/mark", Some("{}")),
        ("/v1/audit?outcome=refused", None),
        ("/log/checkpoint", None),
        ("/log/tile/0/000", None),
    ] {
        curl(realm, path, data)?;
    }
    for path in ["trail", "recordings", "recordings/exec-1"] {
        curl(realm, &format!("/v1/sessions/{}/{path}", opened.session), None)?;
    }
    curl(realm, &format!("/v1/host/recording/{}/exec-1", opened.session), Some("bytes"))?;
    Ok(())
}

/// Python's own client of HTTP, as a stranger: no proof, no token.
fn curl(realm: &Realm, path: &str, data: Option<&str>) -> Result {
    let text = "import ssl, sys, urllib.request as u, urllib.error as e\n\
        data = sys.argv[3].encode() if len(sys.argv) > 3 else None\n\
        method = 'PUT' if '/recording/' in sys.argv[1] else None\n\
        asked = u.Request(sys.argv[1], data, method=method)\n\
        try: u.urlopen(asked, context=ssl.create_default_context(cafile=sys.argv[2])).read()\n\
        except e.HTTPError as error: error.read()\n";
    let mut python = realm.lab.client_command("python3")?;
    python.args(["-c", text, &format!("{}{path}", realm.central.url())]).arg(realm.central.authority()).args(data);
    let output = python.output().context("python3")?;
    ensure!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn are_as_described(recorded: &[Recorded]) -> Result {
    let mut document = Document::parse(tether_central::http::DOCUMENT)?;
    for one in recorded {
        document.check(one)?;
    }
    let asked: BTreeSet<(String, String)> = recorded.iter().map(|one| (one.method.clone(), one.path.clone())).collect();
    for route in tether_central::http::routes() {
        // SCIM and Shared Signals have tests of their own.
        let own = ["/scim/", "/ssf/"].iter().any(|prefix| route.path.starts_with(prefix));
        let found = asked.contains(&(route.method.to_owned(), route.path.to_owned()));
        ensure!(own || found, "nobody asked {} {}", route.method, route.path);
    }
    let fine = |path: &str| recorded.iter().any(|one| one.path == path && one.status == 200);
    for path in ["/oauth/token", "/v1/certificate", "/v1/host/report", "/v1/host/feed", "/v1/admin/revoke"] {
        ensure!(fine(path), "{path} was never answered");
    }
    // An answer with a member more, or one less, is not as described: the check is one that can fail.
    for one in recorded.iter().filter(|one| one.status == 200 && one.path == "/v1/certificate").take(1) {
        let mut body: serde_json::Value = serde_json::from_str(&one.answer.body)?;
        body["surprise"] = 1.into();
        ensure!(document.check(&with_answer(one, &body)).is_err(), "a member that is not described");
        let members = body.as_object_mut().context("no object")?;
        members.remove("surprise");
        members.remove("account");
        ensure!(document.check(&with_answer(one, &body)).is_err(), "a member that is missing");
        ensure!(document.check(&Recorded { status: 418, ..one.clone() }).is_err(), "a status that is not described");
    }
    Ok(())
}

fn with_answer(one: &Recorded, body: &serde_json::Value) -> Recorded {
    Recorded { answer: Side { body: body.to_string(), ..one.answer.clone() }, ..one.clone() }
}

fn metrics_say_it(text: &str) -> Result {
    for line in [
        "tether_exchanges_total{outcome=\"allowed\",code=\"\"} ",
        "tether_exchanges_total{outcome=\"refused\",code=\"access.none\"} 1",
        "tether_certificates_total{outcome=\"refused\",code=\"rate.limited\"} 1",
        "tether_certificates_total{outcome=\"allowed\",code=\"\"} 2",
        "tether_revocations_total{kind=\"session\"} 1",
        "tether_revocations_total{kind=\"agent\"} 1",
        "tether_rate_limited_total{kind=\"pair\"} 1",
        "tether_feeds_connected 1",
        "tether_host_listening{host=\"web-01\"} 1",
        "tether_host_statements_behind{host=\"web-01\"} 0",
        "tether_grant_acknowledged_seconds_count 2",
        "tether_store_seconds_count{kind=\"act\"} ",
        "tether_policies_current 1",
        "tether_build_info{version=",
    ] {
        ensure!(text.lines().any(|found| found.starts_with(line)), "no line begins with {line}\n{text}");
    }
    for name in ["alice", "bob", "dave", "triage", "example.org"] {
        ensure!(!text.contains(name), "metrics name {name}\n{text}");
    }
    Ok(())
}

/// The root signs, on its own machine; an admin publishes.
fn publish_keys(realm: &Realm, set: &std::path::Path) -> Result {
    let (offline, signed) = (realm.central.path("offline"), realm.files.path().join("set.jws"));
    let text =
        realm.central.command(&["offline", "keys", &offline.display().to_string(), &set.display().to_string()])?;
    std::fs::write(&signed, text)?;
    realm.central.administer(&["publish", "keys", &signed.display().to_string()])?;
    Ok(())
}

#[test]
fn central_gets_other_keys_while_a_session_lives() -> Result {
    let mut realm = Realm::new(Suite::Bookworm)?;
    let token = realm.provider.sign_in(&ALICE)?;
    let (_, before) = realm.open(realm.host()?, &token)?;
    let connection = before.connect()?;
    assert_eq!(connection.run("echo in")?.out, "in\n");
    let old = stolen(&realm.central)?;

    // Both are named, the old ones sign.
    let set = realm.files.path().join("set.json");
    let roles = ["feed", "grant", "revocation", "token", "ca"].map(|role| ["--role", role]).concat();
    std::fs::write(&set, realm.central.command(&[&["keys", "next"][..], &roles].concat())?)?;
    let early = realm.central.command(&["keys", "rotate"]);
    ensure!(early.is_err(), "hosts do not know the new keys yet: {early:?}");
    publish_keys(&realm, &set)?;
    let (_, during) = realm.open(realm.host()?, &token)?;

    // The new ones sign.
    realm.central.command(&["keys", "rotate"])?;
    realm.central.stop()?;
    realm.central.serve_again()?;
    let (_, after) = realm.open(realm.host()?, &token)?;
    for agent in [&during, &after] {
        assert_eq!(agent.connect()?.run("echo in")?.out, "in\n");
    }

    // The old ones are named no more.
    std::fs::write(&set, realm.central.command(&["keys", "retire"])?)?;
    publish_keys(&realm, &set)?;
    let host = realm.host()?;
    let (opened, last) = realm.open(host, &token)?;
    let last = last.connect()?;
    assert_eq!(last.run("echo in")?.out, "in\n");
    assert_eq!(connection.run("echo still in")?.out, "still in\n", "the session from before all of it");
    assert!(connection.run("sudo ss -tn")?.code == 0);
    realm.central.administer(&["revoke", "session", &opened.session])?;
    realm.wait_gone(host, &opened.session)?;

    // Whoever has the old keys signs a head for this host: it is refused, and on record.
    let kept = host.sh("cat /var/lib/tether/trust.json")?;
    let kept: serde_json::Value = serde_json::from_str(&kept)?;
    let position: tether_statement::Position = serde_json::from_value(kept["position"].clone())?;
    let head = tether_statement::Head { host: "web-01".parse()?, position, time: u64::MAX / 4 };
    let forged = old.sign(tether_statement::Typ::Head, &head)?;
    host.write_file("/var/spool/tether/inbox/.forged", forged, 0o644)?;
    host.sh("systemctl stop tether-courier; mv /var/spool/tether/inbox/.forged /var/spool/tether/inbox/head.jws")?;
    let begun = std::time::Instant::now();
    while !Trail::read(host)?.has_code("feed.unknown_key") {
        ensure!(begun.elapsed().as_secs() < 15, "the forged head is not refused: {:?}", Trail::read(host)?.codes());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }

    // A host that is set up anew reads its feed from the start, though who signed that is named no more. What was there
    // before ends: another central may have granted it.
    host.sh("systemctl start tether-courier")?;
    let (before, theirs) = realm.open(host, &token)?;
    let theirs = theirs.connect()?;
    assert_eq!(theirs.run("echo in")?.out, "in\n");
    host.sh("systemctl stop tether-courier tether-agentd; rm -f /var/spool/tether/inbox/*")?;
    let admitted = realm.admit(host, "role=web")?;
    let ran = host.exec(&["tether", "enroll", "--central", &realm.central.url(), "--token", &admitted, "--again"])?;
    ensure!(ran.status.success(), "{ran:?}");
    realm.wait_gone(host, &before.session)?;
    realm.wait(host, "the host to admit", |status| status.state == "admitting")?;
    let (_, anew) = realm.open(host, &token)?;
    assert_eq!(anew.connect()?.run("echo in")?.out, "in\n");
    Ok(())
}

/// The feed's key, as somebody who has copied central's disk has it.
fn stolen(central: &Central) -> anyhow::Result<tether_statement::issue::Signing> {
    let copy = tempfile::tempdir()?;
    let done = Command::new("cp").arg(central.path("keys/feed.json")).arg(copy.path()).status()?;
    ensure!(done.success(), "cp: {done}");
    tether_central::keys::load(copy.path(), "feed")
}
