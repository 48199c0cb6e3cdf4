//! Who administers: people of the real provider, as the policies say; the break-glass token without it.

use anyhow::{Result, ensure};
use tether_testhost::Lab;
use tether_tests::agent::Ran;
use tether_tests::provider::{ALICE, CAROL, ERIN, Provider};
use tether_tests::realm::Central;

#[test]
fn admins_auditors_and_everybody_else() -> Result<()> {
    let lab = Lab::new()?;
    let mut provider = Provider::start(&lab, 9443, "ES256")?;
    let central = Central::start(&lab, &provider)?;
    let folder = tempfile::tempdir()?;
    let run = |token: &str, arguments: &[&str]| -> Result<Ran> {
        let path = folder.path().join("token");
        std::fs::write(&path, token)?;
        central.as_admin(&path, arguments)
    };
    let change = ["hosts", "admit", "web-01"];
    let look = ["agents", "list"];
    let refused = |ran: &Ran, code: &str| -> Result<()> {
        ensure!(ran.code != 0 && ran.err.contains(&format!("[{code}]")), "wanted {code}: {ran:?}");
        Ok(())
    };

    let carol = provider.sign_in(&CAROL)?;
    let erin = provider.sign_in_without_code(&ERIN)?;
    let alice = provider.sign_in(&ALICE)?;
    let one_factor = provider.sign_in_without_code(&CAROL)?;
    for allowed in [run(&carol, &change)?, run(&carol, &look)?, run(&erin, &look)?] {
        ensure!(allowed.code == 0, "{allowed:?}");
    }
    refused(&run(&erin, &change)?, "admin.not_permitted")?;
    refused(&run(&one_factor, &change)?, "admin.not_permitted")?;
    for arguments in [&change[..], &look[..]] {
        refused(&run(&alice, arguments)?, "admin.not_permitted")?;
    }

    // Taken back, an admin has to sign in again.
    ensure!(run(&carol, &["revoke", "human", "carol@example.org"])?.code == 0, "an admin may revoke herself");
    refused(&run(&carol, &look)?, "human.revoked")?;
    // With the provider down a sign-in with a key that is not known yet cannot be checked.
    provider.rotate()?;
    let fresh = provider.sign_in(&ERIN)?;
    provider.stop();
    let ran = run(&fresh, &look)?;
    ensure!(ran.code != 0, "it was not checked: {ran:?}");
    ensure!(central.admin(&change)?.code == 0, "break-glass");

    let trail = central.trail()?;
    let admitted: Vec<&str> = trail
        .iter()
        .filter(|link| link.event.event == "host.admitted")
        .map(|link| link.event.details["by"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(admitted, ["carol@example.org", "break-glass"]);
    let used = trail.iter().filter(|link| link.event.event == "admin.break_glass");
    ensure!(used.filter(|link| link.event.details["action"] == "administer").count() == 1, "break-glass is on record");
    let refusals = trail.iter().filter(|link| link.event.event == "admin.refused");
    let refusals: Vec<&str> = refusals.map(|link| link.event.code.as_str()).collect();
    assert_eq!(refusals.iter().filter(|code| **code == "admin.not_permitted").count(), 4, "{refusals:?}");
    assert_eq!(refusals.iter().filter(|code| **code == "human.revoked").count(), 1, "{refusals:?}");
    Ok(())
}
