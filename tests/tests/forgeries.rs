//! Papers that are not what they say: each is refused under a code of its own, and the code is on record.
#![expect(clippy::unit_arg, reason = "a forgery is one change, and reads best on one line")]

use anyhow::{Context, ensure};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tether_sshcert::issue::KeyPair;
use tether_statement::Revocation;
use tether_testhost::Suite;
use tether_tests::central::{SECOND_ISSUER, now, seed};
use tether_tests::draft::jkt_of;
use tether_tests::{Central, Draft, Scene, on_both_suites};

type Result = anyhow::Result<()>;
type Change = fn(&mut Draft, &Central) -> Result;

on_both_suites!(
    forged_papers_are_refused_under_their_own_codes,
    what_sshd_refuses_alone,
    what_openssh_would_not_even_offer,
    a_certificate_for_somebody_else_is_nobodys,
    a_delegation_is_used_once,
    a_revoked_session_is_over,
    the_feed_has_no_gaps_and_no_other_history,
    a_stale_feed_admits_nobody,
);

fn claim(draft: &mut Draft, name: &str, value: Value) {
    draft.claims[name] = value;
}

fn without(draft: &mut Draft, name: &str) {
    if let Value::Object(claims) = &mut draft.claims {
        claims.remove(name);
    }
}

/// What is wrong with the papers, the code of the refusal, and how to make them so.
fn forgeries() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        ("no agent", "delegation.no_agent", |d, _| Ok(without(d, "act"))),
        ("an agent without a name", "delegation.no_agent", |d, _| Ok(claim(d, "act", json!({"sub": ""})))),
        ("no client", "delegation.no_agent", |d, _| Ok(without(d, "cid"))),
        ("no human", "delegation.no_human", |d, _| Ok(without(d, "sub"))),
        ("another agent", "grant.agent", |d, _| {
            claim(d, "act", json!({"sub": "deploy", "instance": "run-7"}));
            Ok(claim(d, "cid", json!("deploy")))
        }),
        ("another human", "grant.human", |d, _| Ok(claim(d, "sub", json!("bob@example.org")))),
        ("cid is not act.sub", "delegation.cid_is_not_actor", |d, _| Ok(claim(d, "cid", json!("deploy")))),
        ("a chain of actors that is too deep", "delegation.too_deep", |d, _| {
            let inner = json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "d"}}}});
            Ok(claim(d, "act", json!({"sub": "triage", "instance": "run-7", "act": inner})))
        }),
        ("a human of another namespace", "delegation.namespace", |d, _| {
            Ok(claim(d, "sub", json!("alice@example.net")))
        }),
        ("the second issuer with the same sub", "delegation.namespace", |d, c| {
            claim(d, "iss", json!(SECOND_ISSUER));
            d.header["kid"] = json!(c.second_token_key.kid);
            Ok(d.token_key = c.second_token_key.clone())
        }),
        ("the first issuer's name over the second's key", "delegation.unknown_key", |d, c| {
            d.header["kid"] = json!(c.second_token_key.kid);
            Ok(d.token_key = c.second_token_key.clone())
        }),
        ("an unknown issuer", "delegation.unknown_issuer", |d, _| Ok(claim(d, "iss", json!("https://evil.example")))),
        ("a wrong signature", "delegation.signature", |d, c| Ok(d.token_key = c.second_token_key.clone())),
        ("a key of another role", "delegation.unknown_key", |d, c| {
            d.header["kid"] = json!(c.grant_key.kid);
            Ok(d.token_key = c.grant_key.clone())
        }),
        ("alg none", "delegation.algorithm", |d, _| {
            d.header["alg"] = json!("none");
            let token = d.token()?;
            Ok(d.token = token.rsplit_once('.').map(|(signed, _)| format!("{signed}.")))
        }),
        ("HS256", "delegation.algorithm", |d, _| Ok(d.header["alg"] = json!("HS256"))),
        ("no typ", "delegation.typ", |d, _| Ok(d.header["typ"] = Value::Null)),
        ("the typ of another token", "delegation.typ", |d, _| Ok(d.header["typ"] = json!("JWT"))),
        ("a header with a key in it", "delegation.header", |d, _| Ok(d.header["jwk"] = json!({"kty": "OKP"}))),
        ("an expired token", "delegation.expired", |d, _| Ok(claim(d, "exp", json!(now() - 1)))),
        ("a token that is not valid yet", "delegation.not_yet", |d, _| Ok(claim(d, "iat", json!(now() + 600)))),
        ("a token that lives too long", "delegation.too_long", |d, _| Ok(claim(d, "exp", json!(now() + 36_000)))),
        ("a token for another host", "delegation.other_host", |d, _| Ok(claim(d, "aud", json!("db-01.example.org")))),
        ("an SSH fingerprint as thumbprint", "delegation.claim.cnf", |d, _| {
            let fingerprint = d.key.fingerprint();
            Ok(claim(d, "cnf", json!({"jkt": fingerprint})))
        }),
        ("a second member in cnf", "delegation.payload", |d, _| {
            let jkt = d.grant.jkt.as_str().to_owned();
            Ok(claim(d, "cnf", json!({"jkt": jkt, "kid": "x"})))
        }),
        ("another key than cnf", "delegation.key", |d, _| {
            let other = KeyPair::from_seed(seed()?);
            Ok(claim(d, "cnf", json!({"jkt": jkt_of(&other)?.as_str()})))
        }),
        ("another session's token", "grant.session", |d, _| Ok(claim(d, "session", json!("aaaaaaaaaaaaaaaaaaaa")))),
        ("another instance", "grant.instance", |d, _| {
            Ok(claim(d, "act", json!({"sub": "triage", "instance": "run-8"})))
        }),
        ("another team", "grant.team", |d, _| Ok(claim(d, "team", json!("payments")))),
        ("another bundle", "grant.bundle", |d, _| Ok(claim(d, "bundle", json!("everything")))),
        ("another delegation", "grant.delegation", |d, _| Ok(claim(d, "jti", json!("another")))),
        ("another sign-in", "grant.sign_in", |d, _| Ok(claim(d, "amr", json!(["face"])))),
        ("another account in the certificate", "grant.account", |d, _| {
            Ok(d.certificate.principals[0] = "ag-somebodyelse".to_owned())
        }),
        ("a principal too many", "certificate.principals", |d, _| Ok(d.certificate.principals.push("root".to_owned()))),
        ("no delegation in the certificate", "certificate.no_delegation", |d, _| Ok(d.certificate.delegation = None)),
        ("an oversized certificate", "certificate.malformed", |d, _| Ok(d.token = Some("A".repeat(70_000)))),
        ("a certificate that lives too long", "certificate.too_long", |d, _| {
            Ok(d.certificate.valid_before = now() + 36_000)
        }),
        ("another serial than the grant's", "grant.serial", |d, _| Ok(d.certificate.serial += 1)),
        ("another key id than the grant's", "grant.key_id", |d, _| Ok(d.certificate.key_id = "another".to_owned())),
        ("another CA than the grant's", "grant.ca", |d, _| Ok(d.grant.ca = "SHA256:other".to_owned())),
        ("another key than the grant's", "grant.key", |d, _| Ok(d.grant.key = "SHA256:other".to_owned())),
        ("a grant for another thumbprint", "grant.key", |d, _| Ok(d.grant.jkt = jkt_of(&KeyPair::from_seed(seed()?))?)),
        ("a grant of another issuer", "grant.issuer", |d, _| Ok(d.grant.issuer = SECOND_ISSUER.to_owned())),
        ("a client address that is not granted", "source.address", |d, _| {
            Ok(d.grant.source_addresses = vec!["192.0.2.0/24".to_owned()])
        }),
        ("a grant that is over", "grant.expired", |d, _| Ok(d.grant.expires_at = now() - 1)),
        ("a grant that has not begun", "grant.not_yet", |d, _| Ok(d.grant.not_before = now() + 600)),
        ("a session above the ceiling", "ceiling.session_seconds", |d, _| Ok(d.grant.expires_at = now() + 100_000)),
        ("connections above the ceiling", "ceiling.connections", |d, _| Ok(d.grant.connections = 5)),
    ]
}

fn forged_papers_are_refused_under_their_own_codes(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    for (what, code, change) in forgeries() {
        refused(&mut scene, code, change).with_context(|| format!("{what} [{code}]"))?;
    }
    let (_, agent) = scene.session()?;
    let control = agent.run("echo in")?;
    assert_eq!(control.out, "in\n", "unchanged papers are accepted: {control:?}");
    Ok(())
}

fn refused(scene: &mut Scene, code: &str, change: Change) -> Result {
    let mut draft = Draft::new(&scene.central)?;
    change(&mut draft, &scene.central)?;
    let before = scene.trail()?.codes().len();
    let agent = draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
    scene.read()?;
    let ran = agent.run("echo in")?;
    ensure!(!ran.out.contains("in\n") && ran.code != 0, "it was let in: {ran:?}");
    let trail = scene.trail()?;
    let codes = trail.codes()[before..].to_vec();
    ensure!(codes.contains(&code), "recorded was {codes:?}; ssh said {ran:?}");
    let session = draft.grant.session.as_str();
    ensure!(!trail.of(session).any(|link| link.event.event == "login.bound"), "a connection was bound");
    Ok(())
}

/// sshd refuses these without asking anybody, so its own words are the evidence. The docs list them.
fn what_sshd_refuses_alone(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.host.write_file("/etc/ssh/sshd_config.d/60-debug.conf", "LogLevel DEBUG2\n", 0o644)?;
    scene.host.sh("systemctl restart ssh")?;
    let cases: Vec<(&str, &str, Change)> = vec![
        ("a host certificate", "ssh-ed25519 not in PubkeyAcceptedAlgorithms", |d, _| {
            Ok(d.certificate.host_certificate = true)
        }),
        ("an unknown CA", "is not listed in /run/tether/user_ca_keys", |d, _| Ok(d.ca = KeyPair::from_seed(seed()?))),
        ("no principals", "does not contain an authorized principal", |d, _| Ok(d.certificate.principals.clear())),
        ("an unknown critical option", "critical option", |d, _| {
            Ok(d.certificate.critical_options.push(("verify-required@evil".to_owned(), String::new())))
        }),
        ("an expired certificate", "Certificate invalid: expired", |d, _| {
            d.certificate.valid_after = now() - 7200;
            Ok(d.certificate.valid_before = now() - 3600)
        }),
        ("a certificate that is not valid yet", "Certificate invalid: not yet valid", |d, _| {
            Ok(d.certificate.valid_after = now() + 600)
        }),
    ];
    for (what, words, change) in cases {
        let mut draft = Draft::new(&scene.central)?;
        change(&mut draft, &scene.central)?;
        let agent = draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
        scene.read()?;
        let ran = agent.run("echo in")?;
        assert!(ran.code == 255 && !ran.out.contains("in\n"), "{what} was let in: {ran:?}");
        scene.sshd_says(&[words], 1).with_context(|| what.to_owned())?;
        assert!(
            !scene.trail()?.of(draft.grant.session.as_str()).any(|link| link.event.event == "login.bound"),
            "{what}"
        );
    }
    Ok(())
}

/// A client of the attacker's own offers these; sshd's words are the evidence, and nobody asks agentd.
fn what_openssh_would_not_even_offer(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.host.write_file("/etc/ssh/sshd_config.d/60-debug.conf", "LogLevel DEBUG2\n", 0o644)?;
    scene.host.sh("systemctl restart ssh")?;
    let (good, agent) = scene.session()?;
    let mut host = Draft::new(&scene.central)?;
    host.certificate.host_certificate = true;
    host.certificate.key_id = good.certificate.key_id.clone();
    host.certificate.serial = good.certificate.serial;
    host.certificate.principals = good.certificate.principals.clone();
    (host.subject, host.key) = (good.subject.clone(), good.key.clone());
    let mut long = Draft::new(&scene.central)?;
    long.token = Some("A".repeat(300_000));
    (long.subject, long.key) = (good.subject.clone(), good.key.clone());
    for (what, certificate, words) in [
        ("a host certificate", host.certificate()?, "not a user certificate"),
        ("a broken signature", broken(&good.certificate()?)?, "incorrect signature"),
        ("an oversized certificate", long.certificate()?, "Bad packet length"),
    ] {
        let said = agent.offer(&certificate)?;
        ensure!(said.starts_with("refused"), "{what} was let in: {said}");
        scene.sshd_says(&[words], 1).with_context(|| format!("{what}; the client: {said}"))?;
    }
    ensure!(agent.offer(&good.certificate()?)? == "in\n", "the same client with a good certificate is refused");
    Ok(())
}

/// The certificate with another last byte: that is in the CA's signature.
fn broken(line: &str) -> anyhow::Result<String> {
    let (kind, encoded) = line.split_once(' ').context("no certificate")?;
    let encoded = encoded.split(' ').next().unwrap_or_default();
    let mut bytes = Base64::decode_vec(encoded).map_err(|error| anyhow::anyhow!("{error}"))?;
    *bytes.last_mut().context("empty")? ^= 1;
    Ok(format!("{kind} {}", Base64::encode_string(&bytes)))
}

fn a_certificate_for_somebody_else_is_nobodys(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.host.sh("useradd --create-home --shell /bin/bash bob")?;
    for login in ["root", "bob"] {
        let mut draft = Draft::new(&scene.central)?;
        draft.certificate.principals = vec![login.to_owned(), draft.certificate.principals[1].clone()];
        draft.login = login.to_owned();
        let agent = draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
        let ran = agent.run("id")?;
        assert_eq!((ran.code, ran.out.as_str()), (255, ""), "the agents' CA signed in {login}: {ran:?}");
    }
    let mut draft = Draft::new(&scene.central)?;
    draft.login = draft.grant.account.read_only();
    draft.certificate.principals.push(draft.login.clone());
    let agent = draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
    scene.read()?;
    assert_eq!(agent.run("id")?.code, 255, "a -ro account logged in");
    assert!(scene.trail()?.has_code("grant.none"));
    Ok(())
}

fn a_delegation_is_used_once(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (first, agent) = scene.session()?;
    assert_eq!(agent.run("true")?.code, 0);
    scene.wait_gone(first.grant.session.as_str())?;
    assert_eq!(agent.run("true")?.code, 255, "the same certificate came in twice");
    let delegation = first.grant.delegation.clone();
    let (_, agent) = scene.session_with(|draft| {
        draft.claims["jti"] = json!(delegation.as_str());
        draft.grant.delegation = delegation.clone();
    })?;
    assert_ne!(agent.run("true")?.code, 0, "one delegation opened two sessions");
    assert!(scene.trail()?.has_code("delegation.used"));
    let mut again = Draft::new(&scene.central)?;
    again.grant.session = first.grant.session.clone();
    again.issue(&mut scene.central, &scene.lab, &scene.host)?;
    scene.read()?;
    assert!(scene.trail()?.has_code("grant.session_used"));
    scene.restart_agentd()?;
    let (_, agent) = scene.session_with(|draft| {
        draft.claims["jti"] = json!(delegation.as_str());
        draft.grant.delegation = delegation;
    })?;
    assert_ne!(agent.run("true")?.code, 0, "a restart made agentd forget what was used");
    Ok(())
}

fn a_revoked_session_is_over(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    for by in ["session", "delegation", "human", "agent"] {
        let (draft, agent) = scene.session()?;
        let connection = agent.connect()?;
        let grant = &draft.grant;
        let revocation = match by {
            "session" => Revocation::Session(grant.session.clone()),
            "delegation" => Revocation::Delegation(grant.delegation.clone()),
            "human" => Revocation::Human(grant.principal.human.clone()),
            _ => Revocation::Agent(grant.principal.agent.clone()),
        };
        scene.central.revoke(&scene.host, revocation)?;
        scene.wait_gone(grant.session.as_str())?;
        assert_ne!(connection.run("echo in")?.out, "in\n", "revoked by {by}, and it goes on");
        assert_eq!(agent.run("echo in")?.code, 255);
    }
    Ok(())
}

fn the_feed_has_no_gaps_and_no_other_history(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let mut other = scene.central.feed.clone();
    let body = |scene: &Scene| Draft::new(&scene.central).map(|d| tether_statement::Body::Grant(Box::new(d.grant)));
    let first = scene.central.sign_next(&body(&scene)?)?;
    let second = scene.central.sign_next(&body(&scene)?)?;
    scene.central.drop(&scene.host, &format!("feed-{}.jws", second.0), &second.1)?;
    scene.wait("the gap", |_| scene.trail().is_ok_and(|trail| trail.has_code("feed.gap")))?;
    scene.central.drop(&scene.host, &format!("feed-{}.jws", first.0), &first.1)?;
    scene.read().context("with the gap filled both are taken")?;
    // Another history: signed by the right key, with the right number, after another statement.
    other.append(&scene.central.grant_key, &body(&scene)?, now())?;
    other.append(&scene.central.grant_key, &body(&scene)?, now())?;
    let (number, text) = other.append(&scene.central.grant_key, &body(&scene)?, now())?;
    scene.central.drop(&scene.host, &format!("feed-{number}.jws"), &text)?;
    scene.wait("the wrong hash", |_| scene.trail().is_ok_and(|trail| trail.has_code("feed.wrong_hash")))?;
    Ok(())
}

fn a_stale_feed_admits_nobody(suite: Suite) -> Result {
    let mut scene =
        Scene::with(suite, tether_testhost::Storage::Memory, "[times]\nmax_silence = 2\nmax_silence_live = 600\n")?;
    let (_, agent) = scene.session()?;
    scene.wait("silence", |status| status.state == "stale")?;
    let ran = agent.run("echo in")?;
    assert!(ran.code == 255 && ran.err.contains("feed.stale"), "{ran:?}");
    assert!(scene.trail()?.has_code("feed.stale"));
    scene.central.head(&scene.host)?;
    scene.wait("a head", |status| status.state == "admitting")?;
    let ran = agent.run("echo in")?;
    assert_eq!(ran.out, "in\n", "with a fresh head the same papers are good: {ran:?}");
    Ok(())
}
