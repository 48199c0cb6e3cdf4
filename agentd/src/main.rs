//! tether-agentd: see the library's documentation and ARCHITECTURE.md.
#![forbid(unsafe_code)]

use anyhow::Context;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use tether_agentd::config::Config;
use tether_agentd::host::{Host, STATE};
use tether_agentd::log::{AUDIT_FOLDER, make_key, note, of_this_host, warn};
use tether_agentd::recordings;
use tether_agentd::server::{self, Sockets, lock};
use tether_agentd::store::Store;
use tether_agentd::watch::Watch;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format_args!("tether-agentd cannot go on: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "--make-audit-key") {
        return make_audit_key();
    }
    // Before the first thread, so that none is ended by it.
    let stop = tether_agentd::world::sys::termination().context("signalfd")?;
    let config = Config::load()?;
    let watch = Watch::new().context("epoll")?;
    let (jobs, queue) = mpsc::channel();
    let host = Host::start(config, watch.clone(), jobs)?;
    let sockets = Sockets::open().context("the sockets under /run/tether and the inbox")?;
    let host = Arc::new(Mutex::new(host));
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..server::WORKERS {
        let (host, queue) = (Arc::clone(&host), Arc::clone(&queue));
        std::thread::Builder::new().name("teardown".to_owned()).spawn(move || server::work(&host, &queue))?;
    }
    let ground = lock(&host).ground.clone();
    std::thread::Builder::new().name("ground".to_owned()).spawn(move || ground.keep())?;
    let (recorders, recorded) = (lock(&host).recorders.clone(), Arc::clone(&host));
    std::thread::Builder::new().name("recorders".to_owned()).spawn(move || recorders.run(&recorded))?;
    let keeper = Arc::clone(&host);
    std::thread::Builder::new().name("recordings".to_owned()).spawn(move || recordings::keep(&keeper))?;
    notify_ready();
    note("tether-agentd is ready");
    server::run(&host, &watch, &sockets, &stop).context("the main loop")?;
    server::lock(&host).log.stop();
    note("tether-agentd has stopped; sessions go on");
    Ok(())
}

/// For `tether enroll`: what it tells central is in `start.json` afterwards.
fn make_audit_key() -> anyhow::Result<()> {
    Store::open(STATE)?;
    make_key(&of_this_host(AUDIT_FOLDER.as_ref()).context(AUDIT_FOLDER)?)?;
    Ok(())
}

/// sd_notify(3): one datagram. Without systemd there is nobody to tell.
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path));
    if let Err(error) = sent {
        warn(format_args!("systemd could not be told: {error}"));
    }
}
