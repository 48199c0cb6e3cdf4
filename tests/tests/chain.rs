//! The whole chain, nothing played: a human signs in at a real identity provider, the agent exchanges that, central
//! decides, the host acknowledges, ssh, sudo, and back by revocation.

use anyhow::{Context, ensure};
use std::time::Instant;
use tether_testhost::Suite;
use tether_tests::on_both_suites;
use tether_tests::provider::{ALICE, DAVE, TRUST_DELEGATIONS};
use tether_tests::realm::Realm;

on_both_suites!(from_sign_in_to_revocation, through_the_providers_own_exchange);

fn from_sign_in_to_revocation(suite: Suite) -> anyhow::Result<()> {
    let mut realm = Realm::new(suite)?;
    let token = realm.provider.sign_in(&ALICE)?;

    let begun = Instant::now();
    let (opened, agent) = realm.open(realm.host()?, &token)?;
    let connection = agent.connect()?;
    assert_eq!(connection.run("echo in")?.out, "in\n");
    let took = begun.elapsed();
    assert!(took.as_millis() < 5_000, "from the exchange to a shell: {took:?}");
    eprintln!("from the exchange request to a command in the shell: {} ms", took.as_millis());

    let ran = connection.run("sudo ss -tn")?;
    ensure!(ran.code == 0, "{ran:?}");
    let refused = connection.run("sudo cat /etc/shadow")?;
    assert!(refused.err.contains("[bundle.no_rule]"), "{refused:?}");

    // Keys rotated midway: a token that is signed with the new ones is taken, one with the old ones is not.
    realm.provider.rotate()?;
    let fresh = realm.provider.sign_in(&ALICE)?;
    let (second, other) = realm.open(realm.host()?, &fresh)?;
    let (ran, _) = realm.try_open("web-01", &token)?;
    assert!(ran.code == 1 && ran.err.contains("[subject.unknown_key]"), "{ran:?}");
    let other = other.connect()?;
    assert_eq!(other.run("echo in")?.out, "in\n");

    // Somebody whom no policy names gets nothing, and it is on record.
    let (ran, _) = realm.try_open("web-01", &realm.provider.sign_in(&DAVE)?)?;
    assert!(ran.code == 1 && ran.err.contains("[access.none]"), "{ran:?}");
    // Nor does alice without her second factor.
    let (ran, _) = realm.try_open("web-01", &realm.provider.sign_in_without_code(&ALICE)?)?;
    assert!(ran.code == 1 && ran.err.contains("[access.none]"), "{ran:?}");

    // Taken back: the live session ends, the other one goes on.
    let mut running = connection.start("echo started; exec sleep 1000")?;
    wait_for_line(&mut running)?;
    realm.central.administer(&["revoke", "session", &opened.session])?;
    let gone = realm.wait_gone(realm.host()?, &opened.session)?;
    eprintln!("from the revocation to the session's removal: {} ms", gone.as_millis());
    running.wait()?;
    assert_ne!(agent.run("true")?.code, 0);
    assert_eq!(other.run("echo still in")?.out, "still in\n");

    let trail = realm.central.trail()?;
    let of = |event: &str, session: &str| {
        trail.iter().filter(|link| link.event.event == event && link.event.ids.session.id() == Some(session)).count()
    };
    for event in ["token.issued", "grant.sent", "certificate.issued"] {
        assert_eq!(of(event, &opened.session), 1, "{event}");
        assert_eq!(of(event, &second.session), 1, "{event}");
    }
    assert_eq!(of("session.revoked", &opened.session), 1);
    let issued = trail.iter().find(|link| link.event.event == "token.issued").context("no record")?;
    assert_eq!(issued.event.ids.human.id(), Some("alice@example.org"));
    assert_eq!(issued.event.ids.agent.id(), Some("triage"));
    assert_eq!(issued.event.details["amr"], serde_json::json!(["pwd", "otp"]));
    let refused = trail.iter().filter(|link| link.event.code == "access.none").count();
    assert_eq!(refused, 2);
    Ok(())
}

/// The provider does the exchange itself: the agent has no key at central's, only a secret at the provider.
fn through_the_providers_own_exchange(suite: Suite) -> anyhow::Result<()> {
    let mut realm = Realm::new(suite)?;
    realm.central.serve_with(|settings| settings + TRUST_DELEGATIONS)?;
    realm.central.wait_listening()?;
    let human = realm.provider.access_token(&ALICE)?;
    let (key, proof) = realm.session_key(&realm.provider.token_endpoint())?;
    let (status, token) = realm.provider.exchange("triage", &human, &proof)?;
    ensure!(status == 200, "{token}");

    // Whoever copies the token has not the key.
    let (strange, _) = realm.session_key("https://nobody.invalid/token")?;
    let ran = realm.try_open_delegated("web-01", &token, &strange)?;
    assert!(ran.code == 1 && ran.err.contains("[delegated.cnf]"), "{ran:?}");

    let copy = realm.files.path().join("copy.key");
    std::fs::copy(&key, &copy)?;
    let begun = Instant::now();
    let (opened, agent) = realm.opened(realm.host()?, &realm.try_open_delegated("web-01", &token, &key)?)?;
    let connection = agent.connect()?;
    assert_eq!(connection.run("echo in")?.out, "in\n");
    eprintln!("from the provider's delegation to a command in the shell: {} ms", begun.elapsed().as_millis());
    ensure!(!key.exists(), "the session key lies in one place only");
    let ran = connection.run("sudo ss -tn")?;
    ensure!(ran.code == 0, "{ran:?}");
    let refused = connection.run("sudo cat /etc/shadow")?;
    assert!(refused.err.contains("[bundle.no_rule]"), "{refused:?}");

    // With the key, too, it is good once; and another agent's is another agent's.
    let ran = realm.try_open_delegated("web-01", &token, &copy)?;
    assert!(ran.code == 1 && ran.err.contains("[delegated.replayed]"), "{ran:?}");
    let (key, proof) = realm.session_key(&realm.provider.token_endpoint())?;
    let (_, patch) = realm.provider.exchange("patch", &human, &proof)?;
    let ran = realm.try_open_delegated("web-01", &patch, &key)?;
    assert!(ran.code == 1 && ran.err.contains("[delegated.unknown_agent]"), "{ran:?}");

    let mut running = connection.start("echo started; exec sleep 1000")?;
    wait_for_line(&mut running)?;
    realm.central.administer(&["revoke", "human", "alice@example.org"])?;
    let gone = realm.wait_gone(realm.host()?, &opened.session)?;
    eprintln!("from the human's revocation to the session's removal: {} ms", gone.as_millis());
    running.wait()?;

    let trail = realm.central.trail()?;
    let issued = trail.iter().find(|link| link.event.event == "token.issued").context("no record")?;
    assert_eq!(issued.event.ids.human.id(), Some("alice@example.org"));
    assert_eq!(issued.event.ids.agent.id(), Some("triage"));
    assert_eq!(issued.event.ids.session.id(), Some(opened.session.as_str()));
    assert_eq!(issued.event.details["provider_act"], serde_json::json!(["triage"]));
    assert_eq!(issued.event.details["subject_token"], tether_oauth::access_token_hash(&token));
    Ok(())
}

fn wait_for_line(child: &mut std::process::Child) -> anyhow::Result<()> {
    use std::io::BufRead;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "started\n", "{line:?}");
    Ok(())
}
