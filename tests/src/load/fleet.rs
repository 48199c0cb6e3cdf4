//! A fleet: so many couriers, so many sessions on each of their hosts, and one revocation that ends them all.

use super::courier::Place;
use super::exchange::{Exchanged, Runtime};
use super::reader::{self, Ends};
use super::{Admin, revoke, say};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tether_centrallink::Central;
use tether_identity::HostId;

/// How long all hosts together may take to hear of a revocation before they are given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all couriers together may take to connect.
const LISTENING: Duration = Duration::from_secs(240);
/// What couriers say, all in one file of the fleet's folder.
const LOG: &str = "couriers.log";

/// What a fleet is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fleet {
    /// How central is reached.
    pub admin: Admin,
    /// A folder for the hosts' files.
    pub folder: PathBuf,
    /// `tether-courier`.
    pub courier: PathBuf,
    /// How many hosts.
    pub hosts: u32,
    /// How many sessions.
    pub sessions: usize,
    /// How many agents take turns.
    pub agents: usize,
    /// A file with the human's ID token.
    pub subject: PathBuf,
    /// How many ask at a time.
    pub at_once: usize,
}

/// The fleet stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fled {
    /// What the exchanges took.
    pub exchanged: Exchanged,
    /// How many couriers run.
    pub couriers: usize,
    /// The couriers' process ids.
    pub pids: Vec<u32>,
}

impl Fleet {
    pub(super) fn run(&self) -> Result<()> {
        let places = self.enrol()?;
        let hosts: Vec<HostId> = places.iter().map(|place| place.host.clone()).collect();
        let log = self.folder.join(LOG);
        let mut couriers: Vec<Child> =
            places.iter().map(|place| place.start(&self.courier, &log)).collect::<Result<_>>()?;
        let ends = Ends::default();
        let shared = ends.clone();
        std::thread::spawn(move || {
            if let Err(error) = reader::run(places, &shared) {
                eprintln!("test-load: the inboxes' reader: {error:#}");
                std::process::exit(1);
            }
        });
        self.wait_listening(&mut couriers)?;
        let exchanged = self.exchange(&hosts)?;
        self.alive(&mut couriers)?;
        let pids = couriers.iter().map(Child::id).collect();
        say(&Fled { exchanged, couriers: couriers.len(), pids })?;
        if let Some(line) = std::io::stdin().lines().next() {
            self.take_back(&serde_json::from_str(&line?)?, hosts.len(), &ends)?;
        }
        for courier in &mut couriers {
            courier.kill()?;
            courier.wait()?;
        }
        Ok(())
    }

    fn take_back(&self, target: &tether_centrallink::wire::Target, wanted: usize, ends: &Ends) -> Result<()> {
        let (central, token) = self.admin.open()?;
        let mut taken = revoke(&central, &token, target)?;
        let begun = Instant::now();
        loop {
            let here = ends.lock().unwrap_or_else(PoisonError::into_inner);
            if here.len() == wanted || begun.elapsed() > PATIENCE {
                taken.ends = here.values().copied().collect();
                return say(&taken);
            }
            drop(here);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn enrol(&self) -> Result<Vec<Place>> {
        let next = AtomicUsize::new(0);
        let places = Mutex::new(Vec::new());
        self.together(|central, token| {
            loop {
                let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                if number >= self.hosts {
                    return Ok(());
                }
                let place = Place::enrol(&self.admin, central, token, &self.folder, number)?;
                places.lock().unwrap_or_else(PoisonError::into_inner).push(place);
            }
        })?;
        Ok(places.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every courier's feed stands, and the host has read what it began with.
    fn wait_listening(&self, couriers: &mut [Child]) -> Result<()> {
        let wanted = couriers.len();
        let (central, token) = self.admin.open()?;
        let begun = Instant::now();
        loop {
            let list: serde_json::Value =
                central.get("/v1/admin/hosts", tether_centrallink::Credential::Bearer(&token))?;
            let listed = list.as_array().or_else(|| list["hosts"].as_array()).context("no list of hosts")?;
            let of_fleet = |host: &&serde_json::Value| {
                host["host"].as_str().or_else(|| host["id"].as_str()).is_some_and(|id| id.starts_with("fleet-"))
            };
            let here = listed.iter().filter(of_fleet).filter(|host| host["listening"] == true).count();
            if here == wanted {
                return Ok(());
            }
            self.alive(couriers)?;
            ensure!(begun.elapsed() < LISTENING, "{here} of {wanted} couriers listen: {}", self.last_words());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn alive(&self, couriers: &mut [Child]) -> Result<()> {
        for courier in couriers {
            ensure!(courier.try_wait()?.is_none(), "a courier ended: {}", self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    fn exchange(&self, hosts: &[HostId]) -> Result<Exchanged> {
        let subject = std::fs::read_to_string(&self.subject)?;
        let (central, token) = self.admin.open()?;
        let agents: Vec<Runtime> = (0..self.agents)
            .map(|number| Runtime::register(&central, &token, &format!("agent-{number}")))
            .collect::<Result<_>>()?;
        let (next, took) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let begun = Instant::now();
        self.together(|central, _| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.sessions {
                    return Ok(());
                }
                let host = hosts.get(number % hosts.len()).context("no host")?;
                let agent = agents.get(number % agents.len()).context("no agent")?;
                let one = agent.open(central, host, subject.trim())?;
                took.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            }
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Exchanged { took: took.into_inner().unwrap_or_else(PoisonError::into_inner), seconds })
    }

    fn together(&self, work: impl Fn(&Central, &str) -> Result<()> + Sync) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.at_once)
                .map(|_| {
                    scope.spawn(|| {
                        let (central, token) = self.admin.open()?;
                        work(&central, &token)
                    })
                })
                .collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the fleet panicked"))??;
            }
            Ok(())
        })
    }
}
