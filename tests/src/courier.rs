//! A host that is nothing but its courier's key: it enrols, listens and acknowledges as a real one's does.

use crate::central::seed;
use crate::realm::Realm;
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tether_centrallink::wire::{ChainStart, EnrolRequest, EnrolToken, Enrolled, Reported, Taken};
use tether_centrallink::{Caller, Central, Credential, Event};
use tether_oauth::issue::PrivateKey;
use tether_statement::{Position, ResumeRequest};

/// How long central may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// One host's courier.
pub struct Courier {
    /// The host.
    pub host: String,
    /// Its key.
    pub key: PrivateKey,
    central: Central,
}

impl Courier {
    /// Enrols with a token. Has to be called on the lab's switch, as everything here.
    pub fn enrol(realm: &Realm, token: &str) -> Result<Self> {
        Self::enrol_with(realm, token, None)
    }

    /// The same with what its audit chain begins with.
    fn enrol_with(realm: &Realm, token: &str, audit: Option<ChainStart>) -> Result<Self> {
        let token = EnrolToken::parse(token).context("no enrolment token")?;
        let key = PrivateKey::from_seed(&seed()?)?;
        let central = Central::new(&realm.central.url(), token.authority.as_bytes())?;
        let request = EnrolRequest { secret: token.secret, audit };
        let enrolled: Enrolled = central.post("/v1/host/enrol", &request, credential(&key))?;
        Ok(Self { host: enrolled.host.to_string(), key, central })
    }

    /// An admin admits a host, which enrols.
    pub fn admitted(realm: &Realm, host: &str) -> Result<Self> {
        let token = realm.central.admit(host, "192.0.2.1", "role=web")?;
        realm.lab.on_switch(|| Self::enrol(realm, &token))?
    }

    /// The same with what its audit chain begins with.
    pub fn admitted_with(realm: &Realm, host: &str, audit: Option<ChainStart>) -> Result<Self> {
        let token = realm.central.admit(host, "192.0.2.1", "role=web")?;
        realm.lab.on_switch(|| Self::enrol_with(realm, &token, audit))?
    }

    /// Sends lines of the audit chain that follow a record and so many lines after it.
    pub fn send_lines(&self, (number, lines): (u64, u64), text: &[u8]) -> Result<Taken> {
        let path = format!("/v1/host/audit?after={number}&lines={lines}");
        Ok(self.central.post_lines(&path, text, credential(&self.key))?)
    }

    /// Tells central how far it has read.
    pub fn report(&self, position: &Position) -> Result<Reported> {
        let request = ResumeRequest {
            host: self.host.parse()?,
            nonce: "n".to_owned(),
            boot_id: "b".to_owned(),
            position: position.clone(),
            uid_mark: 0,
        };
        Ok(self.central.post("/v1/host/report", &request, credential(&self.key))?)
    }

    /// Listens and acknowledges each statement until it is told to stop; comes back whenever central does. What it
    /// read: number and text.
    pub fn carry(&self, stop: &AtomicBool) -> Vec<(u64, String)> {
        let mut read = Vec::new();
        let mut position = Position::start();
        while !stop.load(Ordering::SeqCst) {
            if self.listen(&mut position, &mut read, stop).is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        read
    }

    fn listen(&self, position: &mut Position, read: &mut Vec<(u64, String)>, stop: &AtomicBool) -> Result<()> {
        let path = format!("/v1/host/feed?after={}", position.number);
        let mut events = self.central.events(&path, Caller { key: &self.key, token: None }, SILENCE)?;
        while let Some(Event { name, id, data }) = events.next_event()? {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            if name == "statement" {
                let number = id.parse()?;
                anyhow::ensure!(number == position.number + 1, "{number} comes after {}", position.number);
                *position = Position::after(number, &data);
                read.push((number, data));
                self.report(position)?;
            }
        }
        Ok(())
    }
}

fn credential(key: &PrivateKey) -> Credential<'_> {
    Credential::Key(Caller { key, token: None })
}
