//! `cargo xtask bench central`: what central does on one core, what it holds, and how a fleet comes back to it.

use super::released::Released;
use super::revocation::fleet_of;
use super::{Bench, Figures, Row};
use crate::load::{Feeds, Fled, Load, Task, feed_seed, monotonic};
use crate::provider::ALICE;
use crate::realm::Realm;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::process::Command;
use tether_central::store::{self, Act, Host, HostKey, Sqlite, StoreError};
use tether_oauth::issue::PrivateKey;
use tether_testhost::Suite;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Tokens with certificates.
    pub exchanges: usize,
    /// Grants on a real host.
    pub grants: usize,
    /// Feeds after a restart.
    pub feeds: u32,
}

/// All rows; `tell` hears them as they come.
pub fn bench(suite: Suite, released: &Released<'_>, size: Size, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let mut realm = released.realm(suite, &["web-01"])?;
    let mut rows = Vec::new();
    type Step = fn(&mut Realm, &Released<'_>, Size) -> Result<Vec<Row>>;
    for step in [exchange as Step, grant, feeds] {
        for row in step(&mut realm, released, size)? {
            tell(&row);
            rows.push(row);
        }
    }
    Ok(Bench { bench: "central", rows })
}

/// Token and certificate, eight at a time: central on one core, all that asks and all couriers on the other.
fn exchange(realm: &mut Realm, released: &Released<'_>, size: Size) -> Result<Vec<Row>> {
    let pid = realm.central.pid()?.to_string();
    let pinned = Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", "0", &pid]).output()?;
    ensure!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
    let task = fleet_of(realm, released, 8, size.exchanges, 8)?;
    let mut load = Load::start(&realm.lab, &released.load, &Task::Fleet(task), Some(1))?;
    let done: Fled = load.read()?;
    let each_second = done.exchanged.took.len() as f64 / done.exchanged.seconds;
    Ok(vec![
        row(
            "exchange",
            "us",
            Figures::of(done.exchanged.took.clone()),
            "no target; token and certificate, 8 at a time",
        ),
        row(
            "exchange per second",
            "1/s",
            Figures { median: each_second.round(), p99: each_second.round(), n: done.exchanged.took.len() },
            "no target; on one core",
        ),
    ])
}

/// From the grant in the feed until the host has acknowledged it, as central's own records have it.
fn grant(realm: &mut Realm, _: &Released<'_>, size: Size) -> Result<Vec<Row>> {
    realm.central.kill();
    realm.central.serve_again()?;
    let token = realm.provider.sign_in(&ALICE)?;
    let before = realm.central.trail()?.len();
    for _ in 0..size.grants {
        let (opened, _) = realm.open(realm.host()?, &token)?;
        realm.central.administer(&["revoke", "session", &opened.session])?;
    }
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    let mut took = Vec::new();
    for link in realm.central.trail()?.into_iter().skip(before) {
        let Some(session) = link.event.ids.session.id() else { continue };
        match link.event.event.as_str() {
            "grant.sent" => drop(sent.insert(session.to_owned(), link.time_us)),
            "certificate.issued" => {
                let begun = sent.get(session).context("a certificate without a grant")?;
                took.push(link.time_us.saturating_sub(*begun) as f64);
            }
            _ => {}
        }
    }
    ensure!(took.len() == size.grants, "{} of {} grants are on record", took.len(), size.grants);
    Ok(vec![row("grant to acknowledged", "us", Figures::of(took), "no target; a real host on a disk")])
}

/// Central restarts, and all feeds come back; what it then holds for each.
fn feeds(realm: &mut Realm, released: &Released<'_>, size: Size) -> Result<Vec<Row>> {
    realm.central.kill();
    put_hosts(realm, size.feeds)?;
    realm.central.serve()?;
    let alone = realm.central.pss()?;
    realm.central.kill();
    let task = Task::Feeds(Feeds {
        url: realm.central.url(),
        address: realm.central.listens().parse()?,
        authority: realm.central.authority(),
        count: size.feeds,
    });
    let mut load = Load::start(&realm.lab, &released.load, &task, None)?;
    let begun = monotonic();
    realm.central.spawn()?;
    let heads: Vec<u64> = load.read()?;
    ensure!(heads.len() == size.feeds as usize, "{} of {} feeds came back", heads.len(), size.feeds);
    let full = realm.central.pss()?;
    let took = heads.iter().map(|at| at.saturating_sub(begun) as f64 / 1e3).collect();
    let held = Figures::of(vec![(full - alone) / f64::from(size.feeds)]);
    Ok(vec![
        row("memory per host", "KiB", held, "no target; a host whose feed is connected"),
        row(
            &format!("reconnect {}", size.feeds),
            "us",
            Figures::of(took),
            "no target; from central's start to each feed's head",
        ),
    ])
}

/// Hosts as if they had enrolled, put into the store while central is away.
fn put_hosts(realm: &Realm, count: u32) -> Result<()> {
    let store = Sqlite::open(&realm.central.path("central.db"))?;
    store::act(&store, |act: &mut dyn Act| {
        for number in 0..count {
            let wrong = |error: &dyn std::fmt::Display| StoreError::Database(error.to_string());
            let key = PrivateKey::from_seed(&feed_seed(number)).map_err(|error| wrong(&error))?;
            act.put_host(&Host {
                id: format!("feed-{number:05}").parse().map_err(|error| wrong(&error))?,
                address: None,
                labels: ["role=feed".to_owned()].into(),
                key: Some(HostKey { jkt: key.thumbprint() }),
                active: true,
                enrolled_at: crate::central::now(),
                revoked_at: 0,
            })?;
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(())
}

fn row(case: &str, unit: &'static str, ours: Figures, target: &'static str) -> Row {
    Row { case: case.to_owned(), unit, ours, beside: None, target }
}
