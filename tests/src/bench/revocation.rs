//! `cargo xtask bench revocation`: from an admin's request to central until the last process of a session is dead.

use super::released::Released;
use super::stamps::{self, Stamped};
use super::{Bench, Figures, Row};
use crate::load::{Admin, Fled, Fleet, Load, Taken, Task};
use crate::provider::ALICE;
use crate::realm::Realm;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tether_centrallink::wire::Target;
use tether_testhost::Suite;

/// A sign-in is used that long, then there is another.
const SIGN_IN: Duration = Duration::from_secs(240);
/// How often a process writes its stamp, in microseconds: with one session, and with twenty at a time.
const PERIODS: [u32; 2] = [1_000, 50_000];
/// Sessions on one host of the fleet.
const SESSIONS: usize = 5;
/// Agents that share the fleet's sessions, as in a company.
const AGENTS: usize = 100;
/// Real hosts of the fleet.
const REAL: [&str; 4] = ["web-01", "web-02", "web-03", "web-04"];

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Revocations on one host.
    pub rounds: usize,
    /// Couriers, those of the real hosts included.
    pub couriers: u32,
}

/// Both rows; `tell` hears each as it comes.
pub fn bench(suite: Suite, released: &Released<'_>, size: Size, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let first = host(suite, released, size)?;
    tell(&first);
    let mut bench = fleet_alone(suite, released, size, tell)?;
    bench.rows.insert(0, first);
    Ok(bench)
}

/// The fleet's row by itself: minutes instead of half an hour.
pub fn fleet_alone(suite: Suite, released: &Released<'_>, size: Size, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let row = fleet(suite, released, size)?;
    tell(&row);
    Ok(Bench { bench: "revocation", rows: vec![row] })
}

/// One session after another on one host.
fn host(suite: Suite, released: &Released<'_>, size: Size) -> Result<Row> {
    let realm = released.realm(suite, &["web-01"])?;
    let host = realm.host()?;
    stamps::install(host)?;
    let mut admin = Load::start(&realm.lab, &released.load, &Task::Revoke(Admin::of(&realm.central)), None)?;
    let (mut samples, mut signed_in, mut token) = (Vec::new(), Instant::now(), realm.provider.sign_in(&ALICE)?);
    while samples.len() < size.rounds {
        if signed_in.elapsed() > SIGN_IN {
            (signed_in, token) = (Instant::now(), realm.provider.sign_in(&ALICE)?);
        }
        let live = Stamped::open(&realm, host, &token, PERIODS[0])?;
        let taken: Taken = admin.ask(&Target::Session(live.opened.session.parse()?))?;
        ensure!(taken.sessions == 1, "central took {} sessions back", taken.sessions);
        samples.push(micros(&taken, live.last(&realm, host)?)?);
        if samples.len() % 100 == 0 {
            eprintln!("    {} of {} revocations", samples.len(), size.rounds);
        }
    }
    Ok(row("host", samples, "p99 at most 100 ms"))
}

/// All sessions of a fleet by one revocation.
fn fleet(suite: Suite, released: &Released<'_>, size: Size) -> Result<Row> {
    let realm = released.realm(suite, &REAL)?;
    realm.hosts.iter().try_for_each(stamps::install)?;
    let hosts = size.couriers.saturating_sub(REAL.len() as u32);
    let task = fleet_of(&realm, released, hosts, hosts as usize * SESSIONS, 8)?;
    let mut load = Load::start(&realm.lab, &released.load, &Task::Fleet(task), None)?;
    let stands: Fled = load.read()?;
    eprintln!("    {} couriers without hosts run, with {} sessions", stands.couriers, stands.exchanged.took.len());
    let token = realm.provider.sign_in(&ALICE)?;
    let mut live = Vec::new();
    for host in &realm.hosts {
        for _ in 0..SESSIONS {
            live.push((host, Stamped::open(&realm, host, &token, PERIODS[1])?));
        }
    }
    eprintln!("    {} sessions on {} real hosts are live", live.len(), REAL.len());
    let taken: Taken = load.ask(&Target::Human(ALICE.email.parse()?))?;
    ensure!(taken.ends.len() == hosts as usize, "{} of {hosts} hosts heard of it", taken.ends.len());
    let mut samples = Vec::new();
    for end in &taken.ends {
        let one = micros(&taken, *end)?;
        samples.extend([one; SESSIONS]);
    }
    let mut real = Vec::new();
    for (host, session) in live {
        real.push(micros(&taken, session.last(&realm, host)?)?);
    }
    let first = taken.ends.iter().min().map_or(Ok(0.0), |end| micros(&taken, *end))?;
    let (answered, own) = ((taken.answered - taken.begun) / 1000, Figures::of(real.clone()));
    eprintln!(
        "    the first courier had it after {first} us, central answered after {answered} us; the real hosts alone: {own:?}"
    );
    ensure!(taken.sessions == samples.len() + real.len(), "central took {} sessions back", taken.sessions);
    samples.extend(real);
    Ok(row("fleet", samples, "p99 at most 1 s"))
}

/// A fleet beside the realm's hosts.
pub(super) fn fleet_of(
    realm: &Realm,
    released: &Released<'_>,
    hosts: u32,
    sessions: usize,
    at_once: usize,
) -> Result<Fleet> {
    let subject = realm.files.path().join("alice");
    std::fs::write(&subject, realm.provider.sign_in(&ALICE)?)?;
    let folder = realm.files.path().join("fleet");
    std::fs::create_dir_all(&folder)?;
    // The couriers' own users pass through here.
    std::fs::set_permissions(realm.files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    Ok(Fleet {
        admin: Admin::of(&realm.central),
        folder,
        courier: released.courier.clone(),
        hosts,
        sessions,
        agents: AGENTS,
        subject,
        at_once,
    })
}

fn micros(taken: &Taken, end: u64) -> Result<f64> {
    let nanos = end.checked_sub(taken.begun).context("a session was dead before it was revoked")?;
    Ok(nanos as f64 / 1e3)
}

fn row(case: &str, samples: Vec<f64>, target: &'static str) -> Row {
    Row { case: case.to_owned(), unit: "us", ours: Figures::of(samples), beside: None, target }
}
