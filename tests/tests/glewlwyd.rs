//! Another identity provider than the one that all other tests have, by other people and in another language: discovery,
//! keys, sign-in with a second factor, and the whole chain. Only with TETHER_TEST_LONG.

use anyhow::{Context, ensure};
use std::time::Instant;
use tether_testhost::Suite;
use tether_tests::glewlwyd::{FRANK, Glewlwyd};
use tether_tests::on_both_suites;
use tether_tests::papers::opened;
use tether_tests::realm::Realm;

on_both_suites!(from_its_sign_in_to_sudo);

fn from_its_sign_in_to_sudo(suite: Suite) -> anyhow::Result<()> {
    if std::env::var_os("TETHER_TEST_LONG").is_none() {
        println!("only with TETHER_TEST_LONG: it takes an image of its own");
        return Ok(());
    }
    let mut realm = Realm::new(suite)?;
    let provider = Glewlwyd::start(&realm.lab, suite)?;
    let trusted = format!(
        "\n[[providers]]\nissuer = \"{}\"\naudiences = [\"tether\"]\nnamespaces = [\"@example.org\"]\n\
         groups_claim = \"groups\"\nauthority = \"{}\"\n",
        provider.issuer(),
        provider.authority().display()
    );
    let elsewhere = |settings: String| settings.replace("[\"@example.org\"]", "[\"@example.net\"]");
    realm.central.serve_with(|settings| elsewhere(settings) + &trusted)?;
    realm.central.wait_listening()?;

    // Its own second factor: without a code there is no token at all.
    let refused = provider.sign_in_without_code().unwrap_err();
    ensure!(refused.to_string().contains("no code"), "{refused:#}");

    // It calls a password "password", which is no factor that anybody knows: not enough for a policy that wants two.
    let tokens = provider.sign_in()?;
    let (_, claims) = opened(&tokens.whole)?;
    assert_eq!(claims["amr"], serde_json::json!(["password", "otp"]));
    let (ran, _) = realm.try_open("web-01", &tokens.whole)?;
    assert!(ran.code == 1 && ran.err.contains("[access.none]"), "{ran:?}");

    realm.central.serve_with(|settings| settings + "amr = { password = \"pwd\" }\n")?;
    realm.central.wait_listening()?;
    let begun = Instant::now();
    let (session, agent) = realm.open(realm.host()?, &tokens.whole)?;
    let connection = agent.connect()?;
    assert_eq!(connection.run("echo in")?.out, "in\n");
    eprintln!("from its token to a command in the shell: {} ms", begun.elapsed().as_millis());
    let ran = connection.run("sudo ss -tn")?;
    ensure!(ran.code == 0, "{ran:?}");

    // A client of its own exchanges the code, without the session's cookie: then it does not say when he signed in, and a
    // policy that asks how long ago that was refuses.
    assert_eq!(opened(&tokens.without_session)?.1["auth_time"], 0);
    let (ran, _) = realm.try_open("web-01", &tokens.without_session)?;
    assert!(ran.code == 1 && ran.err.contains("[access.none]"), "{ran:?}");

    realm.central.administer(&["revoke", "human", FRANK])?;
    realm.wait_gone(realm.host()?, &session.session)?;
    let trail = realm.central.trail()?;
    let issued = trail.iter().find(|link| link.event.event == "token.issued").context("no record")?;
    assert_eq!(issued.event.ids.human.id(), Some(FRANK));
    assert_eq!(issued.event.details["issuer"], provider.issuer());
    Ok(())
}
