//! Attacks that worked once. Each test says what must hold; it failed before its mend.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_statement::issue::Signing;
use tether_statement::{Head, Typ};
use tether_testhost::{Storage, Suite};
use tether_tests::Scene;

type Result = anyhow::Result<()>;

fn scene() -> anyhow::Result<Scene> {
    Scene::with(Suite::Bookworm, Storage::Memory, "")
}

/// A refusal under sudo is the same for what is there and for what is not, where the agent itself cannot look.
#[test]
fn abuse_sudo_tells_nothing_about_roots_files() -> Result {
    let mut scene = scene()?;
    scene.host.sh("mkdir -p /root/deep /srv/elsewhere; echo x > /root/deep/file; ln -s /srv/elsewhere /root/deep/link; cp /bin/true /root/deep/program")?;
    let (_draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let said = |path: &str| -> anyhow::Result<String> {
        let ran = connection.run(&format!("sudo {path}"))?;
        println!("{path}: {}", ran.err);
        Ok(ran.err.replace(path, "PATH"))
    };
    let nothing = said("/root/deep/nothing")?;
    for there in
        ["/root/deep/file", "/root/deep/link", "/root/deep/program", "/root/deep", "/proc/1/cwd", "/proc/1/exe"]
    {
        ensure!(said(there)? == nothing, "{there} is told apart from what is not there");
    }
    Ok(())
}

/// No key of a session outlives it.
#[test]
fn abuse_no_key_outlives_its_session() -> Result {
    let mut scene = scene()?;
    let (draft, agent) = scene.session()?;
    let uid = scene.status()?.sessions[0].uid;
    let connection = agent.connect()?;
    let kept = connection.run(
        r#"python3 - <<'PY'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
kept = libc.syscall(250, 22, -1, -2)
print("persistent", kept > 0, libc.syscall(248, b"user", b"kept", b"payload", 7, kept) > 0)
ring = libc.syscall(250, 0, -4, 1)
print("in mine", libc.syscall(248, b"user", b"mine", b"payload", 7, ring) > 0)
print("perm", libc.syscall(250, 5, ring, 0), ctypes.get_errno())
PY"#,
    )?;
    println!("{kept:?}");
    drop(connection);
    scene.wait_gone(draft.grant.session.as_str())?;
    let left = scene.host.sh(&format!("grep '^ *{uid}:' /proc/key-users || true"))?;
    ensure!(
        left.trim().is_empty(),
        "keys of uid {uid} are still there: {left}; trail says remains: {}",
        scene.trail()?.has_code("session.remains")
    );
    Ok(())
}

/// sudos that an agent stops in the middle of their question: `sudo` runs with its real uid until it was allowed.
const STOPPED_SUDOS: &str = r#"python3 - <<'PY'
import subprocess, time, os, signal, random, sys
null = subprocess.DEVNULL
held = []
end = time.time() + 12
print("go", flush=True)
while time.time() < end and len(held) < 380:
    some = [subprocess.Popen(["sudo", "-n", "id"], stdin=null, stdout=null, stderr=null) for _ in range(24)]
    time.sleep(random.uniform(0.005, 0.05))
    for p in some:
        try: os.kill(p.pid, signal.SIGSTOP)
        except OSError: pass
    time.sleep(0.05)
    for p in some:
        if p.poll() is None: held.append(p)
print("held", len(held), flush=True)
time.sleep(60)
PY"#;

/// An agent's stopped sudos keep neither connections from the admin nor descriptors of agentd.
#[test]
fn abuse_stopped_sudos_hold_nothing_of_agentds() -> Result {
    let mut scene = scene()?;
    let (_draft, agent) = scene.session()?;
    let mut client = agent.start(STOPPED_SUDOS)?;
    let fds = |scene: &Scene| {
        scene.host.sh("ls /proc/$(pidof tether-agentd)/fd | wc -l; grep files /proc/$(pidof tether-agentd)/limits")
    };
    println!("before: {}", fds(&scene)?);
    std::thread::sleep(Duration::from_millis(1500));
    let mut failed = Vec::new();
    let start = Instant::now();
    let mut asked = 0;
    while start.elapsed() < Duration::from_secs(9) {
        let at = Instant::now();
        asked += 1;
        if let Err(error) = scene.host.sh("tether status") {
            failed.push(format!(
                "{:?} after {:?}: {}",
                start.elapsed(),
                at.elapsed(),
                error.to_string().chars().take(200).collect::<String>()
            ));
        }
    }
    std::thread::sleep(Duration::from_secs(6));
    let after = fds(&scene)?;
    println!("after: {after}; the admin asked {asked} times, refused {}: {:?}", failed.len(), failed.first());
    let _ = client.kill();
    client.wait()?;
    let count: u32 = after.lines().next().context("no count")?.trim().parse()?;
    ensure!(count < 90, "agentd holds {count} descriptors");
    ensure!(failed.is_empty(), "the admin was refused {} of {asked} times", failed.len());
    Ok(())
}

/// What the courier drops cannot keep the admin waiting, nor fill the journal.
#[test]
fn abuse_a_courier_cannot_keep_the_admin_out() -> Result {
    let scene = scene()?;
    let before: u64 = scene.host.sh("journalctl -u tether-agentd --no-pager | wc -l")?.trim().parse()?;
    scene.host.sh("cd /var/spool/tether/inbox && setpriv --reuid=tether-courier --regid=tether-courier --clear-groups sh -c 'i=0; while [ $i -lt 1000 ]; do mkdir bundle-$i.jws; i=$((i+1)); done; for i in 1 2 3 4 5 6 7 8 9 10; do echo x > x$i; sleep 0.05; done'")?;
    std::thread::sleep(Duration::from_secs(1));
    let after: u64 = scene.host.sh("journalctl -u tether-agentd --no-pager | wc -l")?.trim().parse()?;
    println!("journal lines: {}", after - before);
    scene.host.sh("cd /var/spool/tether/inbox && rmdir bundle-*.jws; true")?;
    scene.host.sh(r#"cd /var/spool/tether/inbox && setpriv --reuid=tether-courier --regid=tether-courier --clear-groups python3 -c '
import os
for i in range(4000):
    with open(".f%d" % i, "wb") as f: f.truncate(262144)
for i in range(4000): os.rename(".f%d" % i, "bundle-%d.jws" % i)
'"#)?;
    let start = Instant::now();
    let said = scene.host.sh("tether host stop");
    println!("host stop took {:?}: {:?}", start.elapsed(), said.as_ref().err().map(ToString::to_string));
    let took = start.elapsed();
    said?;
    ensure!(took < Duration::from_secs(1), "the admin waited {took:?}");
    ensure!(after - before < 200, "the courier wrote {} lines into the journal", after - before);
    Ok(())
}

/// A stolen feed key does damage while its key set stands, not for ever.
#[test]
fn abuse_a_head_of_the_far_future_does_not_last() -> Result {
    let mut scene = scene()?;
    let head = Head {
        host: tether_tests::central::HOST.parse()?,
        position: scene.central.feed.position().clone(),
        time: scene.central.now() + 100 * 365 * 24 * 3600,
    };
    let forged = scene.central.feed_key.sign(Typ::Head, &head)?;
    scene.central.drop(&scene.host, "head.jws", &forged)?;
    std::thread::sleep(Duration::from_secs(1));
    // The theft is noticed: new feed key, new key set, agentd restarted.
    scene.central.feed_key = Signing::from_seed("feed-2", [77; 32]);
    let keys = scene.central.keys()?;
    scene.central.drop(&scene.host, "keys.jws", &keys)?;
    scene.host.sh("rm -f /var/spool/tether/inbox/head.jws; systemctl restart tether-agentd")?;
    scene.resume().map_err(|error| {
        anyhow::anyhow!("the host takes nothing any more: {}", error.to_string().chars().take(300).collect::<String>())
    })
}

/// An agent cannot make pid 1 write into the journal.
#[test]
fn abuse_pid_1_hears_nothing_from_a_session() -> Result {
    let mut scene = scene()?;
    let (_draft, agent) = scene.session()?;
    let ran = agent.run(
        r#"python3 - <<'PY'
import socket, os
for path, kind in (("/run/systemd/notify", socket.SOCK_DGRAM), ("/run/systemd/io.system.ManagedOOM", socket.SOCK_STREAM), ("/run/systemd/userdb/io.systemd.DynamicUser", socket.SOCK_STREAM)):
    try:
        s = socket.socket(socket.AF_UNIX, kind); s.connect(path); s.send(b"READY=1\n"); print(path, "reached")
    except OSError as e: print(path, e)
PY"#,
    )?;
    println!("{ran:?}\n{}", scene.host.sh("journalctl --no-pager | grep -i notif | tail -3 || true")?);
    ensure!(!ran.out.contains("reached"), "{}", ran.out);
    Ok(())
}

/// A command that an agent may run is not a way to fill the host's disk with records.
#[test]
fn abuse_allowed_commands_cannot_fill_the_disk() -> Result {
    let mut scene = scene()?;
    let (_draft, agent) = scene.session()?;
    let size = |scene: &Scene| -> anyhow::Result<u64> {
        Ok(scene.host.sh("cat /var/lib/tether/audit/*.jsonl | wc -c")?.trim().parse()?)
    };
    let before = size(&scene)?;
    let connection = agent.connect()?;
    let start = Instant::now();
    let ran = connection.run(
        r#"d=/tmp; for i in $(seq 15); do d=$d/$(printf 'é%.0s' $(seq 120)); mkdir -p $d; done; cd $d; end=$(( $(date +%s) + 10 )); n=0
        work() { while [ $(date +%s) -lt $end ]; do sudo -n id >/dev/null 2>&1 && echo x; done; }; (work & work & work & work & wait) | wc -l"#,
    )?;
    let grown = size(&scene)? - before;
    println!(
        "{} commands, {grown} bytes in {:?}: {} MB a day",
        ran.out.trim(),
        start.elapsed(),
        grown as f64 / start.elapsed().as_secs_f64() * 86400.0 / 1e6
    );
    ensure!(grown < 4 << 20, "the chain grew by {grown} bytes in {:?}", start.elapsed());
    Ok(())
}
