//! Strangers: people with ids of their own, other user namespaces, a hostile courier, floods. Each attack is also
//! made where nothing defends, so that it is known to be one.

use anyhow::{Context, ensure};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tether_testhost::{Host, Suite};
use tether_tests::agent::Ran;
use tether_tests::{People, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    a_person_with_ids_of_their_own,
    another_user_namespace_is_not_this_one,
    the_sockets_are_not_everybodys,
    a_hostile_inbox_does_no_harm,
    a_courier_who_never_stops_delays_nobody,
    a_flood_of_one_socket_delays_not_the_other,
    a_hundred_connections_bind_once,
    a_certificate_without_its_key,
);

/// Connects to a socket and says how that went.
const CONNECT: &str = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ntry:\n    s.connect(sys.argv[1])\n    print('connected')\nexcept OSError as error:\n    print(type(error).__name__)\n";
const SOCKETS: [&str; 2] = ["/run/tether/root.sock", "/run/tether/principals.sock"];

fn records(scene: &Scene) -> anyhow::Result<usize> {
    Ok(scene.trail()?.0.len())
}

/// Runs shell text as a user; another exit status than 0 is no error.
fn as_user(host: &Host, user: &str, text: &str) -> anyhow::Result<Ran> {
    Ok(host.command("sh").args(&["-c", text]).user(user).output()?.into())
}

/// A new session comes in, and not late.
fn one_comes_in(scene: &mut Scene) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let (draft, agent) = scene.session()?;
    let ran = agent.run("echo in")?;
    ensure!(ran.out == "in\n", "an agent with good papers is not let in: {ran:?}");
    let took = start.elapsed();
    scene.wait_gone(draft.grant.session.as_str())?;
    Ok(took)
}

fn a_person_with_ids_of_their_own(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    People::new(&scene.lab, &scene.host)?;
    ensure!(scene.host.sh("cat /etc/subuid")?.contains("bob:100000:65536"), "bob has no ids");
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let mut running = connection.start("exec sleep 1001")?;
    let uid = scene.status()?.sessions[0].uid;
    // A container of bob's: its root is bob, its other users are bob's own ids.
    let inside = "unshare --user --map-root-user --map-auto";
    let container = format!("{inside} sh -c 'setpriv --reuid 7 --regid 7 --clear-groups sleep 1002 & wait'");
    let mut held = scene.host.command("sh").args(&["-c", &container]).user("bob").spawn()?;
    let look = "ps -eo uid=,args= | awk '$2 == \"sleep\" && $3 == 1002'";
    wait_until("bob's container", || Ok(!scene.host.sh(look)?.is_empty()))?;
    let its_uid: u32 = scene.host.sh(look)?.split_whitespace().next().unwrap_or_default().parse()?;
    ensure!(its_uid > 100_000, "the container's user is no id of bob's: {its_uid}");

    for socket in SOCKETS {
        for uid in ["0", "7"] {
            let text =
                format!("{inside} setpriv --reuid {uid} --regid {uid} --clear-groups python3 -c \"$0\" {socket}");
            let output = scene.host.command("sh").args(&["-c", &text, CONNECT]).user("bob").output()?;
            let ran = Ran::from(output);
            ensure!(ran.out == "PermissionError\n", "a container's uid {uid} and {socket}: {ran:?}");
        }
    }
    let pid = scene.host.sh("pgrep -xf 'sleep 1001'")?;
    let pid = pid.trim();
    for (what, text) in [
        ("kills", format!("{inside} kill -9 {pid}")),
        ("looks into", format!("{inside} ls /proc/{pid}/root/")),
        ("enters", format!("{inside} nsenter -t {pid} -m true")),
        ("becomes", format!("unshare --user --map-users={uid},0,1 id -u")),
        ("reads the accounts", "ls /run/tether/accounts/name".to_owned()),
    ] {
        let ran = as_user(&scene.host, "bob", &text)?;
        ensure!(ran.code != 0, "bob {what} the agent: {ran:?}");
    }
    let maps = format!("unshare --user sleep 1003 & sleep 0.3; newuidmap $! 0 {uid} 1; code=$?; kill $!; exit $code");
    let ran = as_user(&scene.host, "bob", &maps)?;
    ensure!(ran.code != 0 && ran.err.contains("not allowed"), "newuidmap gave an agent's uid: {ran:?}");

    // The session ends, all sessions end: bob's container goes on.
    ensure!(running.try_wait()?.is_none(), "the agent's process was touched");
    drop(connection);
    scene.wait_gone(draft.grant.session.as_str())?;
    scene.host.sh("tether host stop; tether host start; systemctl restart tether-agentd")?;
    scene.resume()?;
    one_comes_in(&mut scene)?;
    ensure!(!scene.host.sh(look)?.is_empty(), "bob's container was killed");
    end(&mut held)?;
    end(&mut running)?;

    // With an agent's ids given to bob the same would work: that is why the package refuses such a host.
    scene.host.sh(&format!("echo bob:{uid}:1 >> /etc/subuid"))?;
    let ran = as_user(&scene.host, "bob", &maps)?;
    ensure!(ran.code == 0, "the attack is none: {ran:?}");
    Ok(())
}

fn end(child: &mut Child) -> Result {
    let _ = child.kill();
    child.wait()?;
    Ok(())
}

fn wait_until(what: &str, until: impl Fn() -> anyhow::Result<bool>) -> Result {
    let start = Instant::now();
    while !until()? {
        ensure!(start.elapsed() < Duration::from_secs(10), "waited 10 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `python3 -c MAPPED OUTER COUNT COMMAND…`: as uid and gid 0 of a new user namespace, which are OUTER outside.
const MAPPED: &str = r#"
import ctypes, os, sys
outer, count, ready, go = int(sys.argv[1]), int(sys.argv[2]), os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    if ctypes.CDLL(None).unshare(0x10000000) != 0: os._exit(99)
    os.write(ready[1], b"x"); os.read(go[0], 1)
    os.setgroups([]); os.setresgid(0, 0, 0); os.setresuid(0, 0, 0)
    os.execvp(sys.argv[3], sys.argv[3:])
os.read(ready[0], 1)
for what in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{what}", "w") as f: f.write(f"0 {outer} {count}\n")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
"#;

fn another_user_namespace_is_not_this_one(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.host.write_file("/root/mapped.py", MAPPED, 0o755)?;
    scene.host.write_file("/usr/local/bin/connect.py", CONNECT, 0o755)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime")?.code == 0, "the agent cannot work");
    let uid = scene.status()?.sessions[0].uid;
    let run = |text: &str| -> anyhow::Result<Ran> { Ok(scene.host.command("sh").args(&["-c", text]).output()?.into()) };
    let ran = run("tether --json status")?;
    ensure!(ran.code == 0, "root is refused: {ran:?}");
    // In its session an agent makes none; the same call outside succeeds.
    ensure!(run("unshare --user true")?.code == 0, "this host has no user namespaces");
    let ran = connection.run("unshare --user true; python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); l.unshare(0x10000000); l.perror(b\"x\"); exit(1)'")?;
    ensure!(ran.code != 0 && ran.err.matches("Operation not permitted").count() == 2, "a user namespace: {ran:?}");
    // Root outside, root inside: the kernel says uid 0 of it.
    for inside in ["unshare --user --map-root-user", "python3 /root/mapped.py 0 70000"] {
        let ran = run(&format!("{inside} sh -c 'id -u; python3 /usr/local/bin/connect.py {}'", SOCKETS[0]))?;
        ensure!(ran.out == "0\nconnected\n", "{inside}: {ran:?}");
        for ask in ["status", "host stop", "session end aaaaaaaaaaaaaaaaaaaa"] {
            let ran = run(&format!("{inside} tether {ask}"))?;
            ensure!(ran.code != 0 && ran.err.contains("request.not_yours"), "{inside} tether {ask}: {ran:?}");
        }
    }
    // The agent's uid outside of its session, in this namespace and in another.
    let as_agent = format!("setpriv --reuid {uid} --regid {uid} --clear-groups");
    let mapped = format!("python3 /root/mapped.py {uid} 1");
    for (who, prefix) in [("its uid", as_agent), ("its uid, mapped", mapped)] {
        let ran = run(&format!("{prefix} sh -c 'sleep 1 & ps -o uid= -p $!'"))?;
        ensure!(ran.code == 0 && ["0", &uid.to_string()].contains(&ran.out.trim()), "{who}: {ran:?}");
        for command in
            ["sudo -n uptime", "sudo -n -l", "/usr/libexec/tether/tether-shell -c 'echo in'", "tether status"]
        {
            let ran = run(&format!("{prefix} {command}"))?;
            ensure!(ran.code != 0 && ran.out.is_empty(), "{who}: {command}: {ran:?}");
        }
        for socket in SOCKETS {
            let ran = run(&format!("{prefix} python3 /usr/local/bin/connect.py {socket}"))?;
            ensure!(ran.out == "PermissionError\n", "{who}: {socket}: {ran:?}");
        }
    }
    ensure!(connection.run("sudo uptime")?.code == 0, "the agent cannot work any more");
    Ok(())
}

fn the_sockets_are_not_everybodys(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    People::new(&scene.lab, &scene.host)?;
    let connect = |user: &str, socket: &str| -> anyhow::Result<String> {
        let output = scene.host.command("python3").args(&["-c", CONNECT, socket]).user(user).output()?;
        Ok(Ran::from(output).out)
    };
    for socket in SOCKETS {
        ensure!(connect("root", socket)? == "connected\n", "root cannot connect to {socket}");
        for user in ["bob", "nobody", "tether-courier", "sshd"] {
            let said = connect(user, socket)?;
            ensure!(said == "PermissionError\n", "{user} and {socket}: {said}");
        }
    }
    ensure!(connect("tether-principals", SOCKETS[1])? == "connected\n", "the principals command cannot connect");
    ensure!(connect("tether-principals", SOCKETS[0])? == "PermissionError\n", "the principals command reaches root's");
    // Both may ask one thing only, there.
    let ran = as_user(&scene.host, "tether-principals", "tether status")?;
    ensure!(ran.code != 0, "{ran:?}");
    let (_, agent) = scene.session()?;
    let ran = agent.run(&format!("for s in {} {}; do python3 -c \"{CONNECT}\" $s; done", SOCKETS[0], SOCKETS[1]))?;
    ensure!(!ran.out.contains("connected") && ran.out.lines().count() == 2, "an agent connects: {ran:?}");
    Ok(())
}

/// All that a courier could put there, and what root could be led to put there for it.
const JUNK: &str = r#"
cd /var/spool/tether/inbox; umask 077
for i in $(seq 5000); do echo x; done | awk '{ f = "junk-" NR; print "x" > f; close(f) }'
for i in $(seq 500); do echo x; done | awk '{ f = "feed-" (900000 + NR) ".jws"; print "a.b.c" > f; close(f); g = "bundle-" NR ".jws"; print "a.b.c" > g; close(g) }'
for name in feed-800001 bundle-link; do ln -s /root/precious $name.jws; done
ln -s /dev/zero feed-800002.jws; ln -s /var/lib/tether/trust.json feed-800003.jws; ln -s . feed-800004.jws
mkfifo feed-800005.jws bundle-fifo.jws
mkdir -p feed-800006.jws/deep bundle-folder.jws; echo x > feed-800006.jws/deep/file
for i in $(seq 100); do mkdir -p feed-$((810000 + i)).jws/deep; done
truncate -s 1T feed-800007.jws; head -c 3000000 /dev/urandom > feed-800008.jws; head -c 260000 /dev/zero > feed-800009.jws
python3 -c "
import os, socket
socket.socket(socket.AF_UNIX).bind('feed-800010.jws')
os.makedirs('feed-18446744073709551616.jws', exist_ok=True)
open(b'feed-\xff\xfe.jws', 'w').write('x'); open('feed-1\n.jws', 'w').write('x'); open('feed--1.jws', 'w').write('x')
open('n' * 255, 'w').write('x')
"
chmod 000 feed-800009.jws || true
"#;

fn a_hostile_inbox_does_no_harm(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    one_comes_in(&mut scene)?;
    let before = records(&scene)?;
    scene
        .host
        .sh("echo precious > /root/precious; chmod 600 /root/precious; touch -d '2001-01-01' -a /root/precious")?;
    let precious = "stat -c '%i %h %s %U %a' /root/precious; cat /root/precious";
    let was = scene.host.sh(precious)?;
    let ran = as_user(&scene.host, "tether-courier", JUNK)?;
    ensure!(ran.code == 0, "the courier could not: {ran:?}");
    scene.host.sh("ln /root/precious /var/spool/tether/inbox/feed-800020.jws; ln /root/precious /var/spool/tether/inbox/bundle-hard.jws")?;
    let took = one_comes_in(&mut scene)?;
    ensure!(took < Duration::from_secs(8), "a statement was taken only after {took:?}");
    // And again after a restart, with all of it there from the start.
    let ran = as_user(&scene.host, "tether-courier", JUNK)?;
    ensure!(ran.code == 0 || ran.err.contains("File exists"), "the courier could not: {ran:?}");
    scene.restart_agentd()?;
    one_comes_in(&mut scene)?;
    let (_, agent) = scene.session()?;
    ensure!(agent.run("sudo uptime")?.code == 0, "the bundle is not in force any more");
    // The hard links in the inbox may go; the file itself is as it was.
    scene.host.sh("rm -f /var/spool/tether/inbox/feed-800020.jws /var/spool/tether/inbox/bundle-hard.jws")?;
    ensure!(scene.host.sh(precious)? == was, "a file outside was touched");
    ensure!(
        scene.host.sh("ls -d /var/lib/tether/trust.json /dev/zero | wc -l")? == "2\n",
        "a link's target was removed"
    );
    let chain = tether_tests::Trail::text(&scene.host)?;
    ensure!(!chain.contains("precious"), "a file outside was read");
    let grown = records(&scene)? - before;
    ensure!(grown < 200, "{grown} records of junk");
    ensure!(scene.trail()?.has_code("inbox.unreadable"), "nothing of it is on record");
    Ok(())
}

/// Rewrites what the real courier brings, for ever.
const REWRITE: &str = r#"
import os, time
os.chdir("/var/spool/tether/inbox")
n = 0
while True:
    n += 1
    for name in ("head.jws", "feed-900000.jws", "bundle-x.jws", "resume.jws", f"feed-{n}.jws.part", "feed-%d.jws" % (900000 + n % 50)):
        try:
            with open("." + name, "w") as f: f.write("eyJ.a.b" + "x" * 200000)
            os.rename("." + name, name)
        except OSError: pass
    try: os.symlink("/etc/passwd", "feed-%d.jws" % (910000 + n % 50))
    except OSError: pass
    time.sleep(0.002)
"#;

fn a_courier_who_never_stops_delays_nobody(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let quiet = one_comes_in(&mut scene)?;
    let before = records(&scene)?;
    let mut rewriting = scene.host.command("python3").args(&["-c", REWRITE]).user("tether-courier").spawn()?;
    let checked = (|| -> Result {
        std::thread::sleep(Duration::from_secs(2));
        for _ in 0..3 {
            let took = one_comes_in(&mut scene)?;
            ensure!(took < quiet + Duration::from_secs(5), "an agent came in after {took:?}, before {quiet:?}");
            let start = Instant::now();
            scene.status()?;
            ensure!(start.elapsed() < Duration::from_secs(1), "root was answered after {:?}", start.elapsed());
        }
        Ok(())
    })();
    ensure!(rewriting.try_wait()?.is_none(), "the courier stopped by itself");
    let sound = scene.host.sh("pkill -u tether-courier; true");
    end(&mut rewriting)?;
    checked?;
    sound?;
    let grown = records(&scene)? - before;
    ensure!(grown < 200, "{grown} records");
    Ok(())
}

/// Keeps as many connections as there can be, asking nothing.
const HOLD: &str = r#"
import select, socket, time
kept = []
while True:
    while len(kept) < 300:
        s = socket.socket(socket.AF_UNIX); s.setblocking(False)
        try: s.connect("/run/tether/principals.sock")
        except OSError: break
        kept.append(s)
    time.sleep(0.005)
    for s in select.select(kept, [], [], 0)[0]:
        kept.remove(s); s.close()
"#;

fn a_flood_of_one_socket_delays_not_the_other(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime")?.code == 0, "the agent cannot work");
    let ask = "/usr/libexec/tether/tether-principals ag-x SHA256:x x 1 SHA256:x";
    let ran = as_user(&scene.host, "tether-principals", ask)?;
    ensure!(ran.err.contains("grant.none"), "no answer without a flood: {ran:?}");
    let mut flood = scene.host.command("python3").args(&["-c", HOLD]).user("tether-principals").spawn()?;
    std::thread::sleep(Duration::from_secs(1));
    let checked = (|| -> Result {
        let mut unanswered = 0;
        for _ in 0..20 {
            let start = Instant::now();
            scene.status()?;
            ensure!(start.elapsed() < Duration::from_millis(700), "root was answered after {:?}", start.elapsed());
            let ran = as_user(&scene.host, "tether-principals", ask)?;
            unanswered += usize::from(!ran.err.contains("grant.none"));
        }
        ensure!(connection.run("sudo uptime")?.code == 0, "the agent's sudo is not answered");
        ensure!(unanswered > 10, "the flood is none: {unanswered} of 20 were not answered");
        Ok(())
    })();
    end(&mut flood)?;
    scene.host.sh("pkill -u tether-principals; true")?;
    checked?;
    std::thread::sleep(Duration::from_secs(3));
    one_comes_in(&mut scene).map(drop)
}

fn a_hundred_connections_bind_once(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    // Else sshd drops most of them before they have said who they are.
    scene.host.write_file("/etc/ssh/sshd_config.d/60-many.conf", "MaxStartups 200\n", 0o644)?;
    scene.host.sh("systemctl restart ssh")?;
    let (draft, agent) = scene.session()?;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut ssh = agent.client("ssh")?;
        ssh.args(["-o", "ConnectTimeout=100", &agent.destination, "echo in; exec sleep 60"]);
        clients.push(ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    }
    let start = Instant::now();
    let left = |clients: &mut Vec<Child>| -> anyhow::Result<usize> {
        let mut running = 0;
        for client in clients {
            running += usize::from(client.try_wait()?.is_none());
        }
        Ok(running)
    };
    while left(&mut clients)? > 1 {
        ensure!(start.elapsed() < Duration::from_secs(100), "{} connections still stand", left(&mut clients)?);
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(left(&mut clients)? == 1, "none is left: all were refused, or the session ended");
    let session = draft.grant.session.as_str();
    let bound = scene.trail()?.of(session).filter(|link| link.event.event == "login.bound").count();
    ensure!(bound == 1, "{bound} were bound");
    scene.host.sh(&format!("tether session end {session}"))?;
    scene.wait_gone(session)?;
    let mut inside = 0;
    let mut refused = 0;
    for client in clients {
        let ran = Ran::from(client.wait_with_output()?);
        inside += ran.out.matches("in\n").count();
        refused += usize::from(ran.err.contains("session.already_bound"));
    }
    ensure!(inside == 1, "{inside} came in");
    ensure!(refused > 50, "only {refused} reached the gate");
    wait_until("the last of it", || {
        let look = "ps -eo uid=,args= | awk '($1 >= 65536 && $1 <= 99999) || /sshd[^ ]*: ag-/' | grep -v awk; true";
        Ok(scene.host.sh(look)?.is_empty())
    })?;
    let ran = agent.run("echo in")?;
    ensure!(ran.code == 255, "the same papers came in again: {ran:?}");
    one_comes_in(&mut scene).map(drop)
}

fn a_certificate_without_its_key(suite: Suite) -> Result {
    let attempts = if std::env::var_os("TETHER_TEST_LONG").is_some_and(|v| v == "1") { 100_000 } else { 2000 };
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let (_, thief) = scene.session()?;
    thief.lose_key()?;
    let before = (records(&scene)?, chain_bytes(&scene)?);
    // What sshd asks when somebody shows a certificate, with papers that are right and with papers that are not.
    let grant = &draft.grant;
    let (account, key, serial, ca) = (grant.account.as_str(), &grant.key, grant.serial, &grant.ca);
    let flood = format!(
        "i=0; while [ $i -lt {} ]; do i=$((i + 2)); \
         /usr/libexec/tether/tether-principals {account} {key} {} {serial} {ca} >/dev/null || echo refused; \
         /usr/libexec/tether/tether-principals ag-$i {key} x $i {ca} 2>/dev/null && echo let in; done; true",
        attempts, grant.session
    );
    let limit = Duration::from_secs(60 + attempts / 50);
    let start = Instant::now();
    let tries = std::thread::scope(|scope| -> anyhow::Result<Vec<Ran>> {
        let asking = scope
            .spawn(|| scene.host.command("sh").args(&["-c", &flood]).user("tether-principals").timeout(limit).output());
        // The same through sshd, which asks before it wants a signature.
        let mut tries = Vec::new();
        for _ in 0..30 {
            tries.push(thief.run("echo in")?);
        }
        // Central is heard meanwhile, however long it takes.
        while !asking.is_finished() {
            scene.central.head(&scene.host)?;
            std::thread::sleep(Duration::from_millis(500));
        }
        let ran = Ran::from(asking.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??);
        ensure!(ran.out.is_empty() && ran.code == 0, "the flood: {ran:?}");
        Ok(tries)
    })?;
    for ran in &tries {
        ensure!(ran.code == 255 && ran.out.is_empty(), "without the key: {ran:?}");
    }
    scene.sshd_says(&["authenticating user ag-", "[preauth]"], 30)?;
    let ran = agent.run("echo in")?;
    ensure!(ran.out == "in\n", "the certificate's owner is kept out: {ran:?}");
    let grown = (records(&scene)? - before.0, chain_bytes(&scene)? - before.1);
    eprintln!("{}: {attempts} attempts in {:?} left {grown:?} records and bytes", suite.name(), start.elapsed());
    ensure!(grown.0 < 24 && grown.1 < 64 * 1024, "{attempts} attempts left {} records, {} bytes", grown.0, grown.1);
    Ok(())
}

fn chain_bytes(scene: &Scene) -> anyhow::Result<usize> {
    Ok(tether_tests::Trail::text(&scene.host).context("the chain")?.len())
}
