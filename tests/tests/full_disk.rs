//! A disk without space under agentd's state: nothing that cannot be kept is allowed, what has to end ends, people
//! work as ever, and when there is space again everything goes on, without a restart.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_statement::Revocation;
use tether_testhost::Suite;
use tether_tests::{Draft, People, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    what_cannot_be_kept_is_refused,
    what_was_refused_stays_refused,
    an_agentd_that_dies_meanwhile_comes_back_with_the_space,
);

/// Puts the state on a small file system of its own, with a file that keeps room to be had back.
const SMALL: &str = "
systemctl stop tether-agentd; cp -a /var/lib/tether /root/state
mount -t tmpfs -o size=2M,mode=711 tmpfs /var/lib/tether; cp -a /root/state/. /var/lib/tether/
systemctl start tether-agentd";

/// Fills it to the last page. The chain's own last page may still have room for some records.
const FILL: &str = "cat /dev/zero > /var/lib/tether/filler 2>/dev/null; df --output=avail /var/lib/tether | tail -1";
const FREE: &str = "rm /var/lib/tether/filler";

/// From the trigger to the session's end.
const MOST: Duration = Duration::from_secs(1);
/// How many records fit into one page, at most, with room to spare.
const TRIES: usize = 20;

fn on_a_small_disk(suite: Suite) -> anyhow::Result<Scene> {
    let mut scene = Scene::new(suite)?;
    scene.host.sh(SMALL)?;
    scene.resume()?;
    Ok(scene)
}

/// Delivers a grant and waits until it was read. Whether a session came of it.
fn is_reserved(scene: &mut Scene, draft: &Draft) -> anyhow::Result<bool> {
    draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
    scene.read()?;
    Ok(scene.status()?.sessions.iter().any(|session| session.session == draft.grant.session))
}

/// Does it until it is refused for want of space; before, it may fit into what room there is.
fn until_refused(what: &str, mut deed: impl FnMut() -> anyhow::Result<String>) -> Result {
    let mut said = String::new();
    for _ in 0..TRIES {
        said = deed()?;
        if said.contains("host.disk") || said.contains("recording.failed") {
            return Ok(());
        }
    }
    anyhow::bail!("{what} is not refused without space; the last said: {said}")
}

fn what_cannot_be_kept_is_refused(suite: Suite) -> Result {
    let mut scene = on_a_small_disk(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    // Positive control, and what is there when the disk is full: two at work, two not come yet.
    let (left, leaver) = scene.session()?;
    let (revoked, working) = scene.session()?;
    let (waiting, waits) = scene.session()?;
    let leaver = leaver.connect()?;
    let working = working.connect()?;
    for connection in [&leaver, &working] {
        ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command on a small disk");
    }
    ensure!(scene.host.sh(FILL)?.trim() == "0", "the disk is not full");

    until_refused("a command", || Ok(working.run("sudo uptime")?.err))?;
    let fresh = Draft::new(&scene.central)?;
    ensure!(!is_reserved(&mut scene, &fresh)?, "a session was reserved that cannot be kept");
    ensure!(scene.host.journal("tether-agentd")?.contains("No space left"), "nobody is told");
    let ran = waits.run("echo in")?;
    ensure!(ran.code != 0 && ran.out.is_empty(), "a login that cannot be on record: {ran:?}");
    // A refusal at this gate ends the connection; its reason is in the chain if it fits, else in the journal.
    let told = scene.host.journal("tether-agentd")?.contains("login.refused [host.disk]");
    ensure!(told || scene.trail()?.has_code("host.disk"), "the login was refused for another reason: {ran:?}");
    // What cannot be recorded is refused; who was in stays.
    until_refused("a channel", || Ok(working.run("echo on")?.err))?;
    let stays = scene.status()?.sessions.iter().any(|session| session.session == revoked.grant.session);
    ensure!(stays, "who was in is thrown out");
    people.day(&scene.host).context("people, beside a full disk")?;

    // Ends go on: a leave, a revocation, an admin's word for one that never came.
    let start = Instant::now();
    leaver.close();
    scene.wait_gone(left.grant.session.as_str())?;
    ensure!(start.elapsed() < MOST, "a leave took {:?}", start.elapsed());
    let start = Instant::now();
    scene.central.revoke(&scene.host, Revocation::Session(revoked.grant.session.clone()))?;
    scene.wait_gone(revoked.grant.session.as_str())?;
    ensure!(start.elapsed() < MOST, "a revocation took {:?}", start.elapsed());
    ensure!(working.run("echo on")?.out != "on\n", "it goes on after its revocation");
    scene.host.sh(&format!("tether session end {}", waiting.grant.session))?;
    scene.wait_gone(waiting.grant.session.as_str())?;
    let accounts = scene.host.sh("ls -A /run/tether/accounts/name")?;
    ensure!(accounts.is_empty(), "accounts are left: {accounts}");

    scene.host.sh(FREE)?;
    let (_, agent) = scene.session()?;
    let ran = agent.run("sudo uptime >/dev/null && echo in")?;
    ensure!(ran.out == "in\n", "with space again an agent cannot work: {ran:?}");
    let trail = scene.trail()?;
    ensure!(trail.of(fresh.grant.session.as_str()).all(|link| link.event.event != "session.reserved"), "on record");
    people.day(&scene.host).context("people, afterwards").map(drop)
}

/// Room for the session's file and none for its record, or the other way: a start afterwards brings nothing to life.
fn what_was_refused_stays_refused(suite: Suite) -> Result {
    let mut scene = on_a_small_disk(suite)?;
    let mut refused = Vec::new();
    for pages in [0_u32, 1, 2, 3, 4] {
        let fill =
            format!("rm -f /var/lib/tether/filler; {FILL}; truncate -s -{} /var/lib/tether/filler", pages * 4096);
        for _ in 0..6 {
            scene.host.sh(&fill)?;
            let draft = Draft::new(&scene.central)?;
            if is_reserved(&mut scene, &draft)? {
                scene.host.sh(&format!("tether session end {}", draft.grant.session))?;
                scene.wait_gone(draft.grant.session.as_str())?;
            } else {
                refused.push(draft);
            }
        }
    }
    ensure!(refused.len() > 5, "there was always room: {} refused", refused.len());
    let left = "ls -A /var/lib/tether/sessions /run/tether/accounts/name /run/tether/accounts/uid | grep -v '^/' | grep .; true";
    scene.wait("the sessions' ends", |status| status.sessions.is_empty())?;
    let found = scene.host.sh(left)?;
    ensure!(found.is_empty(), "half a session: {found}");
    scene.host.sh(FREE)?;
    scene.restart_agentd()?;
    ensure!(scene.status()?.sessions.is_empty(), "a refused session came to life");
    let found = scene.host.sh(left)?;
    ensure!(found.is_empty(), "half a session: {found}");
    for draft in &refused {
        let agent = draft.agent(&scene.lab, &scene.host)?;
        ensure!(agent.run("echo in")?.code == 255, "refused papers are good later");
    }
    let (_, agent) = scene.session()?;
    ensure!(agent.run("echo in")?.out == "in\n", "with space again nobody is let in");
    scene.trail().map(drop)
}

/// It cannot put its own start on record, so it is out until it can; then it is back without a person's help.
fn an_agentd_that_dies_meanwhile_comes_back_with_the_space(suite: Suite) -> Result {
    let mut scene = on_a_small_disk(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    scene.host.sh(FILL)?;
    until_refused("a command", || Ok(connection.run("sudo uptime")?.err))?;
    scene.host.sh("systemctl kill --signal=KILL tether-agentd")?;
    it_says_why(&scene)?;
    let ran = connection.run("sudo uptime")?;
    ensure!(ran.code != 0 && ran.out.is_empty(), "a command ran without agentd: {ran:?}");
    people.day(&scene.host).context("people, without agentd and space")?;
    scene.host.sh(FREE)?;
    scene.resume()?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "the session did not outlive it");
    connection.close();
    scene.wait_gone(draft.grant.session.as_str()).map(drop).context("the end of a session that agentd took up")?;
    scene.trail().map(drop)
}

/// Waits until agentd said why it does not start: it is tried again and again.
fn it_says_why(scene: &Scene) -> Result {
    let start = Instant::now();
    while !scene.host.journal("tether-agentd")?.contains("cannot go on") {
        ensure!(start.elapsed() < Duration::from_secs(10), "it started, or did not say why it cannot");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
