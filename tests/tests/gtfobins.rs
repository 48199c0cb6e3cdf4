//! Programs that are known to give more than they look: what their payloads do as plain root they do not confined.

use anyhow::ensure;
use tether_testhost::Suite;
use tether_tests::attacker::{Confined, PlainRoot, Sudoer, Typing};
use tether_tests::payloads::{self, Outcome};
use tether_tests::{Scene, battery, more};

type Result = anyhow::Result<()>;

/// The fewest of our own that must have been shown to be harmful.
const LEAST: usize = 150;

#[test]
fn ours() -> Result {
    let mut scene = Scene::with_packages(Suite::Bookworm, more::PACKAGES)?;
    scene.publish(battery::BUNDLE)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let all = payloads::ours()?;
    payloads::install(&scene.host, &all)?;
    let confined = scene.with_heads(|| payloads::run(&scene.host, &Confined(&connection), &all))?;
    let root = payloads::run(&scene.host, &PlainRoot(&scene.host), &all)?;
    println!("{}", payloads::table(&root, &confined));
    let harmless: Vec<&Outcome> = root.iter().filter(|outcome| !outcome.harm).collect();
    let harmful: Vec<&Outcome> = confined.iter().filter(|outcome| outcome.harm).collect();
    println!("harm confined:\n{}", payloads::describe(harmful.iter().copied()));
    println!("no harm as root:\n{}", payloads::describe(harmless.iter().copied()));
    ensure!(harmless.is_empty(), "{} payloads prove nothing: plain root does no harm by them", harmless.len());
    ensure!(root.len() >= LEAST, "too few payloads");
    ensure!(harmful.is_empty(), "{} payloads do harm confined", harmful.len());
    Ok(())
}

/// The fewest of GTFOBins' payloads for sudo that must work for a person, so that the score says something.
const LEAST_OF_ALL: usize = 390;

/// Programs wherever Debian has them, read-only, with any arguments.
const ANYTHING: &str = r#"
[[rule]]
id = "bin"
directory = "/usr/bin"
arguments = "any"
[[rule]]
id = "sbin"
directory = "/usr/sbin"
arguments = "any"
[[rule]]
id = "games"
directory = "/usr/games"
arguments = "any"
"#;

/// GTFOBins itself, from the folder that `TETHER_GTFOBINS` names: each payload is typed into the shell of a person who
/// has all of sudo, and into an agent's.
#[test]
fn all_of() -> Result {
    let folder = match (std::env::var_os("TETHER_TEST_LONG"), std::env::var_os("TETHER_GTFOBINS")) {
        (Some(_), Some(folder)) => std::path::PathBuf::from(folder),
        _ => {
            println!("only with TETHER_TEST_LONG, and TETHER_GTFOBINS for the folder of GTFOBins' repository");
            return Ok(());
        }
    };
    let all = tether_tests::gtfobins::read(&folder)?;
    let packages = format!("{},{}", more::PACKAGES, more::GTFOBINS);
    let mut scene = Scene::with_packages(Suite::Bookworm, &packages)?;
    scene.central.publish(&scene.host, &format!("{}{ANYTHING}", battery::BUNDLE))?;
    scene.read()?;
    scene.host.sh("useradd -m carol; echo 'carol ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/carol")?;
    payloads::install(&scene.host, &all)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let confined = scene.with_heads(|| payloads::run(&scene.host, &Typing(&connection), &all))?;
    let person = payloads::run(&scene.host, &Sudoer(&scene.host), &all)?;
    println!("{}", payloads::table(&person, &confined));
    let harmful: Vec<&Outcome> = confined.iter().filter(|outcome| outcome.harm).collect();
    println!("harm confined:\n{}", payloads::describe(harmful.iter().copied()));
    println!("not reproduced:\n{}", payloads::describe(person.iter().filter(|outcome| !outcome.harm)));
    let reproduced = person.iter().filter(|outcome| outcome.harm).count();
    ensure!(harmful.is_empty(), "{} payloads do harm confined", harmful.len());
    ensure!(reproduced >= LEAST_OF_ALL, "only {reproduced} of {} payloads work for a person with sudo", all.len());
    Ok(())
}
