//! The escape battery: what does harm as plain root does none confined, and each layer holds something.

use anyhow::ensure;
use tether_testhost::Suite;
use tether_tests::battery::{self, Confined, PlainRoot, Verdict};
use tether_tests::on_both_suites;

type Result = anyhow::Result<()>;

on_both_suites!(what_harms_as_root_harms_nobody_confined);

/// The fewest probes that the battery must have shown to be harmful.
const LEAST: usize = 150;

fn what_harms_as_root_harms_nobody_confined(suite: Suite) -> Result {
    let (scene, agent) = battery::scene(suite)?;
    let connection = agent.connect()?;
    let probes = battery::install(&scene.host)?;
    let mut login = battery::login(&scene, &connection)?;
    let confined = battery::run(&scene.host, &Confined(&connection), &probes, &[])?;
    // Afterwards: it leaves the host in pieces.
    let root = battery::run(&scene.host, &PlainRoot(&scene.host), &probes, &[])?;
    let _ = login.kill();
    login.wait()?;
    println!("{}", battery::table(&root, &confined));
    let harmless: Vec<&Verdict> = root.iter().filter(|v| !v.harm && v.impossible.is_empty()).collect();
    let harmful: Vec<&Verdict> = confined.iter().filter(|v| v.harm).collect();
    println!("harm confined:\n{}", battery::describe(harmful.iter().copied()));
    println!("no harm as root:\n{}", battery::describe(harmless.iter().copied()));
    ensure!(harmless.is_empty(), "{} probes prove nothing: plain root does no harm by them", harmless.len());
    ensure!(root.iter().filter(|v| v.harm).count() >= LEAST, "too few probes");
    ensure!(harmful.is_empty(), "{} probes do harm confined", harmful.len());
    Ok(())
}
