//! Programs that are known to give more than they look: what their payloads do as plain root they do not confined.

use anyhow::ensure;
use tether_testhost::Suite;
use tether_tests::attacker::{Confined, PlainRoot};
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
