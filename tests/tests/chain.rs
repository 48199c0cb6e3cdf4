//! The whole chain, nothing played: a human signs in at a real identity provider, the agent exchanges that, central
//! decides, the host acknowledges, ssh, sudo, and back by revocation.

use anyhow::{Context, ensure};
use std::time::Instant;
use tether_testhost::Suite;
use tether_tests::on_both_suites;
use tether_tests::provider::{ALICE, DAVE};
use tether_tests::realm::Realm;

on_both_suites!(from_sign_in_to_revocation);

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

fn wait_for_line(child: &mut std::process::Child) -> anyhow::Result<()> {
    use std::io::BufRead;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "started\n", "{line:?}");
    Ok(())
}
