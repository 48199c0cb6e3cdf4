//! serve, audit, backup, restore.

use crate::access::Access;
use crate::app::{App, Parts};
use crate::config::Settings;
use crate::http;
use crate::keys::Keys;
use crate::providers::Providers;
use crate::store::{self, Sqlite, Store, StoreError};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

const STORE: &str = "central.db";
/// How many records are read at a time.
const PAGE: usize = 10_000;

/// Central, from its folder.
pub(crate) fn load(folder: &Path) -> Result<(App, tokio_rustls::TlsAcceptor)> {
    let settings = Settings::load(folder)?;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let parts = Parts {
        keys: Keys::load(&folder.join("keys"))?,
        providers: Providers::new(&settings.providers, folder, &settings.url)?,
        access: Access::parse(&read("policies.cedar")?)?,
        store: Arc::new(Sqlite::open(&folder.join(STORE))?),
        authority: read("tls/authority.pem")?,
        settings,
    };
    let tls = http::tls(&folder.join("tls/chain.pem"), &folder.join("tls/key.pem"))?;
    Ok((App::new(parts)?, tls))
}

pub(super) fn serve(folder: &Path) -> Result<()> {
    let (app, tls) = load(folder)?;
    let app = Arc::new(app);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    runtime.block_on(async {
        let address = app.settings.listen;
        let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("{address}"))?;
        eprintln!("tether-central: serves {} at {}", app.settings.url, listener.local_addr()?);
        notify_ready();
        let mut stop = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = http::serve(listener, tls, http::router(app)) => ended,
            _ = stop.recv() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// sd_notify(3): one datagram. Without systemd there is nobody to tell.
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path));
    if let Err(error) = sent {
        eprintln!("tether-central: systemd could not be told: {error}");
    }
}

pub(super) fn audit(folder: &Path) -> Result<()> {
    let store = Sqlite::open_to_read(&folder.join(STORE))?;
    let mut lines: Vec<String> = Vec::new();
    loop {
        let after = lines.len() as u64;
        let page: Vec<String> = store::look(&store, |act| act.audit(after, PAGE))?;
        if page.is_empty() {
            break;
        }
        lines.extend(page);
    }
    for line in &lines {
        println!("{line}");
    }
    let verified = tether_audit::verify(lines.iter().map(String::as_str), |_| {}).context("the chain does NOT hold")?;
    eprintln!("{} records, the chain holds; its end is {}", verified.records, verified.head);
    Ok(())
}

pub(super) fn back_up(folder: &Path, file: &Path) -> Result<()> {
    ensure!(!file.exists(), "{} is there already", file.display());
    let store = Sqlite::open(&folder.join(STORE))?;
    store.back_up(file)?;
    let found = Sqlite::open_to_read(file)?.check()?;
    ensure!(found == "ok", "the copy is damaged: {found}");
    println!("{} holds the store", file.display());
    Ok(())
}

pub(super) fn restore(folder: &Path, file: &Path) -> Result<()> {
    let place = folder.join(STORE);
    let copy = Sqlite::open_to_read(file)?;
    let found = copy.check()?;
    ensure!(found == "ok", "{} is damaged: {found}", file.display());
    let count: Result<(u64, String), StoreError> = store::look(&copy, |act| act.audit_end());
    let (records, _) = count.with_context(|| format!("{} is not a central's store", file.display()))?;
    for end in ["-wal", "-shm"] {
        if folder.join(format!("{STORE}{end}")).exists() {
            bail!("{}{end} is there: central runs, or did not end well; stop it first", place.display());
        }
    }
    let beside = folder.join("central.db.restored");
    std::fs::copy(file, &beside).with_context(|| format!("cannot copy {}", file.display()))?;
    std::fs::File::open(&beside)?.sync_all()?;
    std::fs::rename(&beside, &place).with_context(|| format!("cannot replace {}", place.display()))?;
    println!("restored, with {records} audit records");
    println!("hosts that have read more than this store knows will refuse it (report.fork): enrol those anew");
    Ok(())
}
