//! Root's eyes, not root's hands: what an agent may do under sudo, and what it gets when it tries for more.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_statement::Revocation;
use tether_testhost::{Storage, Suite};
use tether_tests::agent::{Connection, Ran};
use tether_tests::{Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    an_allowed_command_has_roots_eyes_and_no_hands,
    a_refusal_says_what_instead_and_is_on_record,
    options_and_other_doors_are_shut,
    what_a_command_prints_arrives_whole,
    a_running_command_ends_with_its_session,
    a_plan_is_good_once_and_for_its_own_sudo,
    without_our_lines_sudoers_gives_an_agent_nothing,
    a_flood_of_sudo_delays_nobody,
    a_bundle_that_is_not_the_security_teams_is_not_taken,
);

/// A bundle wide enough to look around with: what the kernel and the launcher hold back is then seen.
const WIDE: &str = r#"
name = "triage"
version = 7
[read]
trees = ["/tmp", "/var/log", "/opt/tools"]
[[rule]]
id = "shell"
program = "/usr/bin/dash"
arguments = "any"
[[rule]]
id = "sleep"
program = "/usr/bin/sleep"
arguments = ["1000"]
[[rule]]
id = "sudo"
program = "/usr/bin/sudo"
arguments = "any"
[[rule]]
id = "tools"
directory = "/opt/tools"
arguments = "any"
"#;

fn wide(suite: Suite) -> anyhow::Result<Scene> {
    let mut scene = Scene::with(suite, Storage::Memory, "")?;
    scene.publish(WIDE)?;
    Ok(scene)
}

fn sudo(connection: &Connection<'_>, command: &str) -> anyhow::Result<Ran> {
    connection.run(&format!("sudo {command}"))
}

fn an_allowed_command_has_roots_eyes_and_no_hands(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    scene.host.sh("mkdir -p /opt/tools && printf '#!/bin/sh\\necho script $1\\n' > /opt/tools/x && chmod 755 /opt/tools/x; echo secret > /var/log/secret && chmod 600 /var/log/secret; echo more > /root/secret; echo evidence > /tmp/evidence")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let uid = scene.status()?.sessions[0].uid + 1;
    let looks = sudo(
        &connection,
        "dash -c 'id -u; grep -E \"^(NoNewPrivs|CapEff|CapBnd|Groups)\" /proc/self/status; cat /var/log/secret /tmp/evidence; pwd; echo $HOME $USER $LD_PRELOAD $FROM_AGENT; cat /proc/self/loginuid; ls /proc/self/fd | wc -l'",
    )?;
    let kept = "0000000400000004";
    let expected = format!(
        "{uid}\nGroups:\t \nCapEff:\t{kept}\nCapBnd:\t{kept}\nNoNewPrivs:\t1\nsecret\nevidence\n/\n/run/tether/home {}\n{}4\n",
        draft.grant.account.read_only(),
        uid - 1
    );
    ensure!(looks.out == expected, "{looks:?}, not {expected:?}");
    for hand in [
        "echo x > /etc/x",
        "echo x > /tmp/x",
        "echo x > /dev/shm/x",
        "rm -f /tmp/evidence",
        "kill -9 1",
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /",
        "chmod 777 /var/log/secret",
        "sudo -n id",
        "su -c id",
        "unshare -m true",
        "nsenter -t 1 -m true",
        "cat /root/secret",
        "cat /etc/shadow",
        "cat /proc/1/maps",
        "cat /proc/1/environ",
        "dd if=/dev/zero of=/etc/passwd count=1 conv=notrunc",
        "systemctl stop ssh",
        "systemd-run true",
        "cat /proc/1/mem",
    ] {
        let ran = sudo(&connection, &format!("dash -c '{hand}'"))?;
        ensure!(ran.code != 0, "`{hand}` was done: {ran:?}");
    }
    ensure!(scene.host.sh("cat /tmp/evidence")? == "evidence\n", "evidence was touched");
    ensure!(sudo(&connection, "/opt/tools/x one")?.out == "script one\n", "a script does not run");
    let signalled = connection
        .run("sudo sleep 1000 & sleep 0.3; pkill -KILL -x sleep -u $USER-ro && echo killed; kill %1; true")?;
    ensure!(!signalled.out.contains("killed"), "the agent signalled its confined command: {signalled:?}");
    let traced = connection.run("FROM_AGENT=1 LD_PRELOAD=/tmp/x.so sudo dash -c 'echo [$FROM_AGENT$LD_PRELOAD]'")?;
    ensure!(traced.out == "[]\n", "the agent's environment went through: {traced:?}");
    Ok(())
}

fn a_refusal_says_what_instead_and_is_on_record(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let list = sudo(&connection, "-l")?;
    ensure!(
        list.code == 0 && list.out.contains("/usr/bin/ss -tn") && list.out.contains("triage version 1"),
        "{list:?}"
    );
    for (command, code) in [
        ("cat /etc/shadow", "bundle.no_rule"),
        ("ss -tnp", "bundle.arguments"),
        ("ss", "bundle.arguments"),
        ("uptime -p", "bundle.arguments"),
        ("./ss -tn", "program.relative"),
        ("nosuchprogram", "program.not_found"),
        ("/etc/passwd", "bundle.no_rule"),
        ("/tmp/../usr/bin/cat /etc/shadow", "bundle.no_rule"),
        ("/run/tether/home/ss -tn", "bundle.no_rule"),
    ] {
        let ran = sudo(&connection, command)?;
        ensure!(ran.code == 1 && ran.out.is_empty() && ran.err.contains(&format!("[{code}]")), "{command}: {ran:?}");
    }
    let hinted = sudo(&connection, "ss -tnp")?;
    ensure!(hinted.err.contains("/usr/bin/ss -tn;") || hinted.err.contains("/usr/bin/ss -tn"), "{hinted:?}");
    let copy = connection.run("cp /usr/bin/dash ~/ss && sudo ~/ss -c id")?;
    ensure!(copy.code != 0 && copy.out.is_empty(), "the agent's own program ran: {copy:?}");
    let trail = scene.trail()?;
    let session = draft.grant.session.as_str();
    let refused = trail.of(session).filter(|l| l.event.event == "sudo.command" && !l.event.code.is_empty()).count();
    ensure!(refused >= 10, "only {refused} refusals are on record");
    ensure!(sudo(&connection, "uptime")?.code == 0);
    let trail = scene.trail()?;
    // Recordings end beside it, when is not told.
    let own = || trail.of(session).filter(|l| !l.event.event.starts_with("recording."));
    let events: Vec<_> = own().map(|l| (l.event.event.as_str(), l.event.code.as_str())).collect();
    ensure!(events.ends_with(&[("sudo.command", ""), ("sudo.ended", "")]), "{events:?}");
    let last = own().last().context("no record")?;
    ensure!(last.event.details["status"] == 0 && last.event.details["rule"] == "load", "{last:?}");
    Ok(())
}

fn options_and_other_doors_are_shut(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    scene.host.sh("useradd -m bob; echo root:secret | chpasswd")?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    for options in [
        "-u bob",
        "-u root",
        "-g root",
        "-i",
        "-s",
        "-E",
        "-e /etc/passwd",
        "-b",
        "-C 5",
        "-D /tmp",
        "-R /tmp",
        "-h other",
        "-H",
        "-P",
        "-T 5",
        "-A",
        "FOO=bar",
        "--preserve-env=FOO",
    ] {
        let ran = sudo(&connection, &format!("{options} dash -c id"))?;
        ensure!(ran.code == 1 && !ran.out.contains("uid="), "sudo {options}: {ran:?}");
    }
    let recorded = scene.trail()?.codes().iter().filter(|code| **code == "sudo.option_not_for_agents").count();
    ensure!(recorded >= 10, "only {recorded} refused options are on record");
    let su = connection.run("echo secret | su -c id; echo secret | su - bob -c id")?;
    ensure!(!su.out.contains("uid="), "su with root's own password: {su:?}");
    ensure!(scene.trail()?.has_code("pam.asked_by_agent"), "su is not on record");
    scene.host.sh("passwd -d bob; echo 'auth sufficient pam_permit.so' > /etc/pam.d/su.d 2>/dev/null; true")?;
    let su = connection.run("su bob -c id; su bob -s /bin/sh -c id")?;
    ensure!(!su.out.contains("uid="), "su to a user without a password: {su:?}");
    for door in [
        "crontab -l; echo '* * * * * id' | crontab -",
        "echo id | at now",
        "systemd-run --user true",
        "loginctl enable-linger",
        "newgrp sudo </dev/null",
    ] {
        let ran = connection.run(door)?;
        ensure!(ran.code != 0, "{door}: {ran:?}");
    }
    // The positive control: su with that password does work, for a person.
    scene.host.sh("useradd -m carol")?;
    let person = scene.host.command("/bin/sh").args(&["-c", "echo secret | su -c id"]).user("carol").output()?;
    ensure!(String::from_utf8_lossy(&person.stdout).contains("uid=0"), "su does not work at all: {person:?}");
    Ok(())
}

/// The reader is slow and the command is quick: what sudo itself would have dropped.
fn what_a_command_prints_arrives_whole(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let script = "head -c 300000 /dev/zero; echo >&2 done";
    for (how, expected) in [
        (format!("sudo dash -c '{script}' 2>/dev/null | (sleep 0.3; wc -c)"), "300000\n"),
        (format!("sudo dash -c '{script}' 2>&1 | (sleep 0.3; wc -c)"), "300005\n"),
        (format!("sudo dash -c '{script}' > ~/out 2>/dev/null; wc -c < ~/out"), "300000\n"),
    ] {
        let ran = connection.run(&how)?;
        ensure!(ran.out == expected, "`{how}`: {ran:?}");
    }
    let direct = sudo(&connection, &format!("dash -c '{script}'"))?;
    ensure!(direct.out.len() == 300_000 && direct.err == "done\n", "{} bytes, {:?}", direct.out.len(), direct.err);
    let on_a_terminal = connection.run_with(&["-tt"], "sudo dash -c 'test -t 1 && echo terminal'")?;
    ensure!(on_a_terminal.out.trim() == "terminal", "{on_a_terminal:?}");
    Ok(())
}

fn a_running_command_ends_with_its_session(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    for tty in ["", "-tt"] {
        let (draft, agent) = scene.session()?;
        let mut ssh = agent.client("ssh")?;
        ssh.args(if tty.is_empty() { vec![] } else { vec![tty] });
        let command = "sudo dash -c 'trap \"\" TERM HUP INT; (setsid sleep 1234 &); sleep 1235'";
        let mut client = ssh
            .arg(&agent.destination)
            .arg(command)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()?;
        scene.host.sh("until [ $(pgrep -c -f '^sleep 123[45]') = 2 ]; do sleep 0.01; done")?;
        let start = Instant::now();
        scene.central.revoke(&scene.host, Revocation::Session(draft.grant.session.clone()))?;
        scene.wait_gone(draft.grant.session.as_str())?;
        ensure!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
        ensure!(
            scene.host.sh("pgrep -c -f '^sleep 123[45]'; true")?.trim() == "0",
            "a confined command outlived its session"
        );
        let _ = client.kill();
        client.wait()?;
    }
    // sudo killed: the command it asked for dies too.
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let mut command = connection.start("sudo sleep 1000")?;
    scene.host.sh("until pgrep -f '^sleep 1000' >/dev/null; do sleep 0.01; done; pkill -KILL -x sudo")?;
    scene
        .host
        .sh("timeout 2 sh -c 'while pgrep -f \"^sleep 1000\" >/dev/null; do sleep 0.01; done'")
        .context("the command outlived its sudo")?;
    let _ = command.kill();
    command.wait()?;
    Ok(())
}

fn a_plan_is_good_once_and_for_its_own_sudo(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let direct = connection.run("/usr/libexec/tether/tether-confine --descriptors=3,4,5,6")?;
    ensure!(direct.code == 126 && direct.err.contains("confine.not_root"), "{direct:?}");
    // Root asking from outside a session gets nothing of an agent's, and an agent cannot reach the socket.
    let outside = scene.host.sh("python3 - <<'P'\nimport json,socket,struct\nfor ask in ({'ask':'begin','plan':'x'},{'ask':'decide','argv':['id'],'cwd':'/','tty':None},{'ask':'commands'},{'ask':'open','account':'ag-x','certificate':'','connection':''},{'ask':'enter','account':'ag-x'}):\n s=socket.socket(socket.AF_UNIX); s.connect('/run/tether/root.sock'); b=json.dumps(ask).encode(); s.sendall(b'\\x01'+struct.pack('>I',len(b))+b); print(s.recv(65536)[5:].decode())\nP")?;
    ensure!(outside.lines().all(|line| line.contains("request.not_yours")), "{outside}");
    let inside = connection
        .run("python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('/run/tether/root.sock')\"")?;
    ensure!(inside.err.contains("PermissionError"), "{inside:?}");
    Ok(())
}

fn without_our_lines_sudoers_gives_an_agent_nothing(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.host.sh("echo 'ALL ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/all; chmod 440 /etc/sudoers.d/all; sed -i '/tether/d' /etc/sudo.conf; useradd -m carol")?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    for command in ["-n id", "-n -l", "-n -v", "-n uptime"] {
        let ran = sudo(&connection, command)?;
        ensure!(ran.code != 0 && !ran.out.contains("uid=0"), "{command}: {ran:?}");
    }
    let person = scene.host.command("sudo").args(&["-n", "id"]).user("carol").output()?;
    ensure!(String::from_utf8_lossy(&person.stdout).contains("uid=0"), "the rule does not work at all: {person:?}");
    Ok(())
}

fn a_flood_of_sudo_delays_nobody(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (_, flooder) = scene.session()?;
    let flood = flooder.connect()?;
    let mut flooding =
        flood.start("while :; do for i in 1 2 3 4; do sudo cat /etc/shadow 2>/dev/null & done; wait; done")?;
    scene.wait("the flood", |_| scene.trail().is_ok_and(|trail| trail.has_code("bundle.no_rule")))?;
    let start = Instant::now();
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(sudo(&connection, "uptime")?.code == 0);
    ensure!(start.elapsed() < Duration::from_secs(5), "another agent waited {:?}", start.elapsed());
    let start = Instant::now();
    ensure!(scene.host.exec(&["sudo", "-n", "true"])?.status.success());
    ensure!(start.elapsed() < Duration::from_secs(2), "a person waited {:?}", start.elapsed());
    flooding.kill()?;
    flooding.wait()?;
    Ok(())
}

fn a_bundle_that_is_not_the_security_teams_is_not_taken(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    // Central's own keys cannot sign a bundle, not even one that central's feed names.
    scene.central.bundle_key = scene.central.grant_key.clone();
    scene.central.publish(&scene.host, WIDE)?;
    scene.wait("the refusal", |_| scene.trail().is_ok_and(|trail| trail.has_code("bundle.refused")))?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let ran = sudo(&connection, "dash -c id")?;
    ensure!(ran.code == 1 && ran.err.contains("[bundle.no_rule]"), "{ran:?}");
    let ran = sudo(&connection, "uptime")?;
    ensure!(ran.code == 0, "the last good bundle does not stay: {ran:?}");
    Ok(())
}
