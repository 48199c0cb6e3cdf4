//! `tether-central check`: whether central would start, and what will stop it soon. It changes nothing, so it can be
//! asked while central runs.

use super::{CHAIN, OFFLINE, STORE, TLS_KEY};
use crate::app::META_KEYS;
use crate::clock;
use crate::config::{FILE, Settings};
use crate::http;
use crate::keys::{self, Keys};
use crate::rules::{POLICIES, Rules};
use crate::store::{self, Sqlite, StoreError};
use anyhow::{Context, Result, bail, ensure};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tether_statement::TrustedKeys;

/// From when on the key set's end is mentioned, in seconds.
const SOON: u64 = 21 * 24 * 3600;

pub(super) fn run(folder: &Path) -> Result<()> {
    let mut problems = 0;
    let mut say = |what: &str, found: Result<String>| match found {
        Ok(words) => println!("ok    {what:<15} {words}"),
        Err(error) => {
            problems += 1;
            println!("WRONG {what:<15} {error:#}");
        }
    };
    let settings = Settings::load(folder);
    let trusted = settings.as_ref().map_err(|_| anyhow::anyhow!("not looked at without {FILE}"));
    let trusted = trusted.and_then(|settings| key_set(folder, settings));
    if let Ok(settings) = &settings {
        let rules = Rules::read(folder, settings);
        say(
            POLICIES,
            rules
                .map(|rules| format!("{} policies and their providers; sha256 {}", rules.access.count(), rules.digest)),
        );
        say("keys", trusted.as_ref().map_err(again).and_then(|trusted| own_keys(folder, settings, trusted)));
    }
    let (words, expires_at) = match &trusted {
        Ok(trusted) => (Ok(format!("key set {}", trusted.set().version)), Some(trusted.set().expires_at)),
        Err(error) => (Err(again(error)), None),
    };
    say("store", words);
    say(FILE, settings.map(|settings| format!("{} at {}", settings.url, settings.listen)));
    say("tls", http::tls(&folder.join(CHAIN), &folder.join(TLS_KEY)).map(|_| "chain and key fit".to_owned()));
    for line in warnings(folder, expires_at) {
        println!("WARN  {line}");
    }
    ensure!(problems == 0, "{problems} of these would keep central from starting");
    Ok(())
}

fn again(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// The key set that the store holds, if our root has signed it.
fn key_set(folder: &Path, settings: &Settings) -> Result<TrustedKeys> {
    let path = folder.join(STORE);
    let store = Sqlite::open_to_read(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let kept: Result<Option<String>, StoreError> = store::look(&store, |act| act.meta(META_KEYS));
    let kept = kept?.context("it holds no key set; `tether-central init` makes one")?;
    TrustedKeys::verify(&kept, &settings.roots).context("the key set")
}

fn own_keys(folder: &Path, settings: &Settings, trusted: &TrustedKeys) -> Result<String> {
    let own = folder.join(keys::FOLDER);
    Keys::load(&own)?.check(trusted, &settings.url)?;
    for entry in std::fs::read_dir(&own)?.flatten() {
        let mode = entry.metadata()?.permissions().mode();
        if entry.path().is_file() && mode & 0o077 != 0 {
            bail!("{} may be read by others (mode {:o}): chmod 600", entry.path().display(), mode & 0o777);
        }
    }
    Ok("each has the role that the key set gives it".to_owned())
}

fn warnings(folder: &Path, expires_at: Option<u64>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(end) = expires_at {
        let now = clock::now();
        if end <= now {
            lines.push("the key set has EXPIRED: hosts let no agent in; `tether-central keys renew`".to_owned());
        } else if end - now < SOON {
            let days = (end - now) / 86_400;
            lines.push(format!("the key set expires in {days} days: `tether-central keys renew`"));
        }
    }
    let offline = folder.join(OFFLINE);
    if offline.exists() {
        lines.push(format!("{} is still here: take it away, central must not have it", offline.display()));
    }
    lines
}
