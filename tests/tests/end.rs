//! However a session ends, it ends within a second, and nothing of it is left.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_statement::Revocation;
use tether_testhost::{Storage, Suite};
use tether_tests::snapshot::Snapshot;
use tether_tests::{Draft, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    every_way_to_end,
    agentd_killed_and_restarted,
    the_client_leaves_while_agentd_is_down,
    time_and_silence_end_sessions,
    a_reboot_ends_everything,
    a_hostile_session_leaves_nothing,
    uids_never_repeat,
    a_full_disk_is_no_slower,
);

/// From the trigger to the removal record.
const MOST: Duration = Duration::from_secs(1);

/// Opens a session that sleeps, ends it somehow, and looks.
fn ends(
    scene: &mut Scene,
    how: &str,
    end: impl FnOnce(&mut Scene, &Draft, &mut std::process::Child) -> Result,
) -> Result {
    let before = Snapshot::take(&scene.host)?;
    let (draft, agent) = scene.session()?;
    let mut client = agent.start("touch ~/file /tmp/file; (setsid sleep 1001 &) ; echo ready; exec sleep 1000")?;
    wait_for_line(&mut client)?;
    let start = Instant::now();
    end(scene, &draft, &mut client)?;
    scene.wait_gone(draft.grant.session.as_str()).with_context(|| how.to_owned())?;
    let took = start.elapsed();
    let _ = client.kill();
    client.wait()?;
    ensure!(took < MOST, "{how}: it took {took:?}");
    before.looks_the_same(&scene.host).with_context(|| how.to_owned())
}

fn wait_for_line(client: &mut std::process::Child) -> Result {
    use std::io::BufRead;
    let stdout = client.stdout.as_mut().context("the client's stdout is piped")?;
    let mut line = String::new();
    std::io::BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line == "ready\n", "the session did not start: {line:?}");
    Ok(())
}

/// The uid of the session's login account.
fn uid(scene: &Scene, draft: &Draft) -> anyhow::Result<u32> {
    let status = scene.status()?;
    let session = status.sessions.iter().find(|s| s.session == draft.grant.session);
    Ok(session.context("the session is not there")?.uid)
}

fn every_way_to_end(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    ends(&mut scene, "the client is killed", |_, _, client| Ok(client.kill()?))?;
    ends(&mut scene, "the user's sshd is killed", |scene, draft, _| {
        let uid = uid(scene, draft)?;
        scene.host.sh(&format!("pkill -KILL -u {uid} sshd")).map(drop).map_err(Into::into)
    })?;
    ends(&mut scene, "the monitor is killed", |scene, draft, _| {
        let account = &draft.login;
        scene
            .host
            .sh(&format!("pkill -KILL -u root -f '^sshd(-session)?: {account} .priv'"))
            .map(drop)
            .map_err(Into::into)
    })?;
    ends(&mut scene, "it is revoked", |scene, draft, _| {
        let revocation = Revocation::Session(draft.grant.session.clone());
        scene.central.revoke(&scene.host, revocation).map(drop)
    })?;
    ends(&mut scene, "an admin ends it", |scene, draft, _| {
        scene.host.sh(&format!("tether session end {}", draft.grant.session)).map(drop).map_err(Into::into)
    })?;
    ends(&mut scene, "sshd is restarted, then the client leaves", |scene, draft, client| {
        scene.host.sh("systemctl restart ssh")?;
        ensure!(
            scene.status()?.sessions.iter().any(|s| s.session == draft.grant.session && s.state == "open"),
            "it ended"
        );
        Ok(client.kill()?)
    })?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    scene.host.sh("tether host stop")?;
    scene.wait("the stop", |status| status.sessions.is_empty() && status.state == "stopped")?;
    ensure!(connection.run("echo in")?.out != "in\n", "it goes on after host stop");
    scene.host.sh("systemctl restart tether-agentd")?;
    scene.answer()?;
    scene.wait("the restart", |status| status.state == "stopped")?;
    let (_, stopped) = scene.session()?;
    ensure!(stopped.run("echo in")?.code == 255, "a stopped host let an agent in");
    scene.host.sh("tether host start")?;
    let (_, agent) = scene.session()?;
    ensure!(agent.run("echo in")?.out == "in\n", "a started host lets nobody in");
    // The same with agentd out.
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    scene.host.sh("systemctl stop tether-agentd; tether host stop")?;
    ensure!(connection.run("echo in")?.out != "in\n", "it goes on after a stop without agentd");
    scene.host.sh("systemctl start tether-agentd")?;
    scene.answer()?;
    scene.wait("a stop that was noted while agentd was out", |status| status.state == "stopped")?;
    Ok(())
}

fn agentd_killed_and_restarted(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let before = Snapshot::take(&scene.host)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("echo 1 > ~/kept; echo on")?.out == "on\n", "no session");
    scene.host.sh("systemctl kill --signal=KILL tether-agentd")?;
    scene.resume()?;
    ensure!(connection.run("cat ~/kept")?.out == "1\n", "the session did not outlive agentd");
    ensure!(connection.run("sudo uptime")?.code == 0, "sudo does not work after agentd's restart");
    let start = Instant::now();
    connection.close();
    scene.wait_gone(draft.grant.session.as_str())?;
    ensure!(start.elapsed() < MOST, "it took {:?}", start.elapsed());
    before.looks_the_same(&scene.host)
}

fn the_client_leaves_while_agentd_is_down(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let before = Snapshot::take(&scene.host)?;
    let (_open, agent) = scene.session()?;
    let (_reserved, _) = scene.session()?;
    let mut client = agent.start("(setsid sleep 1001 &); echo ready; exec sleep 1000")?;
    wait_for_line(&mut client)?;
    scene.host.sh("systemctl stop tether-agentd")?;
    client.kill()?;
    client.wait()?;
    scene.host.sh("until ! pgrep -f '[s]shd.*ag-' >/dev/null; do :; done; systemctl start tether-agentd")?;
    scene.resume()?;
    scene.wait("the session's end", |status| status.sessions.len() == 1)?;
    scene.host.sh("tether host stop; tether host start")?;
    scene.wait("the reserved session's end", |status| status.sessions.is_empty())?;
    before.looks_the_same(&scene.host)
}

fn time_and_silence_end_sessions(suite: Suite) -> Result {
    let mut scene = Scene::with(suite, Storage::Memory, "[times]\nmax_silence = 2\nmax_silence_live = 5\n")?;
    let before = Snapshot::take(&scene.host)?;
    let (short, agent) = scene.session_with(|draft| {
        draft.grant.expires_at = tether_tests::central::now() + 2;
    })?;
    let connection = agent.connect()?;
    scene.wait_gone(short.grant.session.as_str())?;
    ensure!(connection.run("echo in")?.out != "in\n", "it outlived its grant");
    drop(connection);
    scene.central.head(&scene.host)?;
    let (silent, agent) = scene.session()?;
    let connection = agent.connect()?;
    let start = Instant::now();
    scene.wait_gone(silent.grant.session.as_str())?;
    ensure!(start.elapsed() > Duration::from_secs(3), "it ended too early: {:?}", start.elapsed());
    drop(connection);
    let trail = scene.trail()?;
    let reason =
        |session: &str| trail.of(session).find_map(|l| l.event.details.get("reason")?.as_str().map(str::to_owned));
    ensure!(reason(short.grant.session.as_str()).as_deref() == Some("expired"), "the record does not say why");
    ensure!(reason(silent.grant.session.as_str()).as_deref() == Some("silence"), "the record does not say why");
    before.looks_the_same(&scene.host)
}

fn a_reboot_ends_everything(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (open, agent) = scene.session()?;
    let (reserved, _) = scene.session()?;
    let _connection = agent.connect()?;
    scene.host.reboot()?;
    scene.host.wait_ready(Duration::from_secs(60))?;
    scene.resume()?;
    scene.wait("the sessions' ends", |status| status.sessions.is_empty())?;
    let found = scene.host.sh(&format!(
        "getent passwd {} {}; ls /run/tether/accounts/name /run/tether/accounts/uid",
        open.login, reserved.login
    ));
    ensure!(!found.unwrap_or_default().contains("ag-"), "an account outlived a reboot");
    for draft in [open, reserved] {
        let trail = scene.trail()?;
        let events: Vec<&str> = trail.of(draft.grant.session.as_str()).map(|link| link.event.event.as_str()).collect();
        ensure!(events.last() == Some(&"session.removed"), "{events:?}");
        ensure!(agent.run("echo in")?.code == 255, "the same certificate came in after a reboot");
    }
    let (_, agent) = scene.session()?;
    ensure!(agent.run("echo in")?.out == "in\n", "after a reboot nobody is let in");
    Ok(())
}

/// How long an end takes does not hang on how much there is on the host: nothing is searched through.
fn a_full_disk_is_no_slower(suite: Suite) -> Result {
    let mut scene = Scene::with(suite, Storage::Disk, "")?;
    let files = if std::env::var_os("TETHER_TEST_LONG").is_some() { 1_000_000 } else { 20_000 };
    let make = "import os,sys\nfor d in range(int(sys.argv[1])//1000):\n os.makedirs(f'/var/tmp/many/{d}')\n for f in range(1000): os.close(os.open(f'/var/tmp/many/{d}/{f}', os.O_CREAT))";
    let made = scene
        .host
        .command("python3")
        .args(&["-c", make, &files.to_string()])
        .timeout(Duration::from_secs(600))
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    let (draft, agent) = scene.session()?;
    let mut client = agent
        .start("(setsid sleep 1001 &); for i in $(seq 2000); do : > /tmp/$i; done; echo ready; exec sleep 1000")?;
    wait_for_line(&mut client)?;
    let start = Instant::now();
    client.kill()?;
    scene.wait_gone(draft.grant.session.as_str())?;
    let took = start.elapsed();
    client.wait()?;
    eprintln!("{}: with {files} files on the disk the end took {took:?}", suite.name());
    ensure!(took < MOST, "on a disk with {files} files it took {took:?}");
    Ok(())
}

/// All that an agent could try to leave behind, in one script.
const HOSTILE: &str = r#"
exec 3>&1 >/dev/null 2>&1
for place in ~ /tmp /var/tmp /dev/shm /run /run/user /var/spool/cron /var/mail /home /etc /usr/local /opt /srv /var/lib /dev /dev/mqueue /run/tether /run/lock; do
    echo x > $place/hostile; mkdir $place/hostile.d
done
(setsid setsid sleep 2001 &); (nohup sleep 2002 &) ; ( ( sleep 2003 & ) & )
echo '* * * * * sleep 2004' | crontab -; echo 'sleep 2005' | at now
systemd-run --user sleep 2006; systemd-run sleep 2007; loginctl enable-linger
ipcmk -Q; ipcmk -M 1000; ipcmk -S 1
python3 - <<'PY'
import ctypes, os
libc = ctypes.CDLL(None)
libc.syscall(248, b"user", b"hostile", b"x", 1, -4)
libc.syscall(248, b"user", b"hostile", b"x", 1, -5)
libc.mq_open(b"/hostile", 0o102, 0o600, None)
PY
unshare -U sleep 2008 &
bomb() { bomb | bomb & }
echo ready >&3
bomb
exec sleep 2009
"#;

fn a_hostile_session_leaves_nothing(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let before = Snapshot::take(&scene.host)?;
    let (draft, agent) = scene.session()?;
    let mut client = agent.start(HOSTILE)?;
    wait_for_line(&mut client)?;
    let uid = uid(&scene, &draft)?;
    // The bomb goes off until the session's limit of processes.
    scene.host.sh(&format!("until [ $(pgrep -c -u {uid}) -gt 100 ]; do :; done"))?;
    let start = Instant::now();
    scene.central.revoke(&scene.host, Revocation::Session(draft.grant.session.clone()))?;
    scene.wait_gone(draft.grant.session.as_str())?;
    let took = start.elapsed();
    let _ = client.kill();
    client.wait()?;
    ensure!(took < MOST, "it took {took:?}");
    scene.host.sh(&format!("! grep '^ *{uid}:' /proc/key-users")).context("the uid's keyrings are still there")?;
    let trail = scene.trail()?;
    let last = trail.of(draft.grant.session.as_str()).last().context("no record")?;
    ensure!(!trail.has_code("session.remains"), "something was found: {:?}", last.event.details);
    before.looks_the_same(&scene.host)
}

fn uids_never_repeat(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let mut seen = Vec::new();
    let next = |scene: &mut Scene, seen: &mut Vec<u32>| -> Result {
        let (draft, agent) = scene.session()?;
        let uid = uid(scene, &draft)?;
        ensure!(seen.iter().all(|old| *old + 1 < uid), "uid {uid} after {seen:?}");
        seen.push(uid);
        scene.central.note(scene.status()?.feed, uid + 1);
        ensure!(agent.run("true")?.code == 0, "no login");
        scene.wait_gone(draft.grant.session.as_str()).map(drop)
    };
    next(&mut scene, &mut seen)?;
    scene.host.sh("cp -a /var/lib/tether /var/lib/tether.old")?;
    next(&mut scene, &mut seen)?;
    scene.restart_agentd()?;
    next(&mut scene, &mut seen)?;
    scene.host.reboot()?;
    scene.host.wait_ready(Duration::from_secs(60))?;
    scene.resume()?;
    next(&mut scene, &mut seen)?;
    // The disk as it was after the first session; the courier brings the whole feed again.
    let again = scene.central.history();
    scene.host.sh("systemctl stop tether-agentd; rm -r /var/lib/tether; mv /var/lib/tether.old /var/lib/tether")?;
    for (number, text) in again {
        scene.central.drop(&scene.host, &format!("feed-{number}.jws"), &text)?;
    }
    scene.host.sh("systemctl start tether-agentd")?;
    scene.resume()?;
    scene.read()?;
    let status = scene.status()?;
    ensure!(status.sessions.is_empty(), "a restored disk replayed a grant: {status:?}");
    ensure!(scene.trail()?.has_code("grant.replayed"), "the replay is not on record");
    next(&mut scene, &mut seen)
}
