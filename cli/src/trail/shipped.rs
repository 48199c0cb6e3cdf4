//! Recordings that central has: what it says of a session's, and their bytes, which are shown only if they are what the
//! host's audit chain says of them.

use super::source::from_central;
use crate::central::Link;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use tether_identity::SessionId;
use tether_recording::{Checked, Told, is_name};

/// A recording as central lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    /// Its name in the session.
    pub name: String,
    /// The host.
    pub host: String,
    /// `tty`, `exec` and so on.
    pub kind: Option<String>,
    /// What ran.
    #[serde(default)]
    pub command: Value,
    /// When it began, in microseconds since 1970.
    pub started_us: Option<u64>,
    /// How much of it central has, in one word.
    pub state: String,
    /// How many bytes that is.
    pub here: u64,
}

#[derive(Deserialize)]
struct List {
    recordings: Vec<Listed>,
}

/// The bytes of a recording, in a file that has no name any more: nothing of it stays.
#[derive(Debug)]
pub struct Fetched {
    file: File,
    /// Up to which byte they were compared, if there is more of it elsewhere.
    pub cut: Option<u64>,
}

impl Fetched {
    /// A path by which this process opens it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// A session's recordings at central.
pub struct Recordings<'l> {
    link: &'l Link,
    session: SessionId,
    /// In the order in which they began.
    pub all: Vec<Listed>,
    told: BTreeMap<(String, String), Told>,
}

impl<'l> Recordings<'l> {
    /// Asks central what there is, and for the records of the session.
    pub fn of(link: &'l Link, session: &str) -> Result<Self> {
        let session: SessionId = session.parse().context("central is asked for a session by its whole id")?;
        let List { recordings } = link.get(&format!("/v1/sessions/{session}/recordings"))?;
        let mut told: BTreeMap<(String, String), Told> = BTreeMap::new();
        from_central(link, &format!("/v1/sessions/{session}/trail"), &[], &mut |seen| {
            let event = &seen.link.event;
            let of_session = event.ids.session.id() == Some(session.as_str());
            if let (true, Some(name)) = (of_session, event.details.get("recording").and_then(Value::as_str)) {
                let key = (seen.chain.to_owned(), name.to_owned());
                told.entry(key).or_default().take(&event.event, &event.details);
            }
            true
        })?;
        Ok(Self { link, session, all: recordings, told })
    }

    /// Fetches one and compares it with what the chain says.
    pub fn fetch(&self, one: &Listed) -> Result<Fetched> {
        ensure!(is_name(&one.name), "central names a recording {:?}", one.name);
        let name = &one.name;
        match one.state.as_str() {
            "removed" => bail!("central had {name} and has removed it, as it was kept long enough"),
            "differs" if one.here == 0 => {
                bail!("central has not taken {name}: what {} had was not what its audit chain says", one.host)
            }
            _ => ensure!(one.here > 0, "central has nothing of {name} yet ({})", one.state),
        }
        let mut file = nameless()?;
        let path = format!("/v1/sessions/{}/recordings/{name}", self.session);
        let count = self.link.download(&path, &mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let none = Told::default();
        let told = self.told.get(&(one.host.clone(), name.clone())).unwrap_or(&none);
        let cut = match told.check(&mut file)? {
            Checked::Whole => None,
            Checked::Begun { to } => Some(to),
            Checked::Differ { from } => bail!(
                "{name} is not what the audit chain of {} says: it differs from byte {from} on. It is not shown; what \
                 central has was changed, or central lies",
                one.host
            ),
            Checked::Untold => bail!("the audit chain of {} says nothing of {name}; it is not shown", one.host),
        };
        // What lies behind what was compared is nobody's word.
        let known = cut.unwrap_or_else(|| told.length());
        ensure!(count >= known, "{name} was broken off");
        file.set_len(known)?;
        Ok(Fetched { file, cut })
    }
}

/// A file of this process alone.
fn nameless() -> Result<File> {
    let folder = std::env::temp_dir();
    let random = tether_centrallink::random::name(16)?;
    let path = folder.join(format!("tether-{random}"));
    let naming = || format!("cannot write in {}", folder.display());
    let mut opening = File::options();
    let file = opening.read(true).write(true).create_new(true).mode(0o600).open(&path).with_context(naming)?;
    std::fs::remove_file(&path).with_context(naming)?;
    Ok(file)
}
