//! When a booted host can be used.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Host;
use crate::error::{Error, Result};

const SSH: u16 = 22;
const PAUSE: Duration = Duration::from_millis(3);

/// Waits for systemd, then for sshd.
pub(super) fn wait(host: &Host, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let timeout =
        |detail: String| Error::Timeout { what: format!("the boot of {}", host.name()), after: limit, detail };
    let mut last = String::from("systemd was never asked");
    // systemctl can only wait once systemd listens.
    let socket = host.root()?.join("run/systemd/private");
    loop {
        check_alive(host)?;
        if Instant::now() >= deadline {
            return Err(timeout(format!("systemd's state: {last}\n{}", waiting_jobs(host))));
        }
        if socket.exists() {
            let left = deadline.saturating_duration_since(Instant::now());
            match host.command("systemctl").args(&["is-system-running", "--wait"]).timeout(left).output() {
                Ok(output) => last = String::from_utf8_lossy(&output.stdout).trim().to_owned(),
                Err(Error::Timeout { detail, .. }) => last = detail,
                Err(error) => return Err(error),
            }
        }
        if ["running", "degraded"].contains(&last.as_str()) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    wait_port(host, SSH, deadline.saturating_duration_since(Instant::now()))
}

/// Waits until something accepts connections there.
pub(super) fn wait_port(host: &Host, port: u16, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let address = SocketAddr::from((host.address(), port));
    while let Err(error) = host.lab.inner.switch.connect(address, Duration::from_secs(1)) {
        check_alive(host)?;
        if Instant::now() >= deadline {
            let what = format!("the wait for port {port} of {}", host.name());
            return Err(Error::Timeout { what, after: limit, detail: error.chain() });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn check_alive(host: &Host) -> Result<()> {
    if host.is_running() {
        return Ok(());
    }
    let log = std::fs::read_to_string(host.log()).unwrap_or_default();
    Err(Error::Request(format!("{} has ended on its own\n{log}", host.name())))
}

fn waiting_jobs(host: &Host) -> String {
    let asked = host.command("systemctl").args(&["list-jobs", "--no-pager"]).timeout(Duration::from_secs(2)).output();
    asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
