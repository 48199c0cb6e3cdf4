//! `tether run`: what sudo does for an agent, without sudo. The same decision, the same launcher, the same records.

use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::process::Child;
use std::time::{Duration, Instant};
use tether_statement::Revocation;
use tether_testhost::{Host, Storage, Suite};
use tether_tests::agent::{Connection, Ran};
use tether_tests::snapshot::Snapshot;
use tether_tests::{Draft, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    it_is_as_under_sudo,
    what_it_prints_arrives_whole,
    it_needs_no_sudo,
    only_the_sessions_own_agent_is_served,
    whatever_goes_the_command_goes_too,
    an_end_is_told_to_an_agentd_that_had_no_time,
    what_systemd_moves_back_takes_no_command_with_it,
    a_plan_is_taken_once_in_time_and_by_root,
    a_flood_delays_nobody,
    descriptors_that_take_for_ever_to_close_hold_nobody,
    hostile_sessions_leave_others_a_place,
);

const WIDE: &str = r#"
name = "triage"
version = 7
[[rule]]
id = "shell"
program = "/usr/bin/dash"
arguments = "any"
[[rule]]
id = "load"
program = "/usr/bin/uptime"
arguments = "any"
[[rule]]
id = "cat"
program = "/usr/bin/cat"
arguments = "none"
[[rule]]
id = "python-bookworm"
program = "/usr/bin/python3.11"
arguments = "any"
[[rule]]
id = "python-trixie"
program = "/usr/bin/python3.13"
arguments = "any"
[[rule]]
id = "short"
program = "/usr/bin/sleep"
arguments = ["1000"]
time_limit = "1s"
[[rule]]
id = "little"
program = "/usr/bin/head"
arguments = ["-c", "100000", "/dev/zero"]
output_limit = "1000B"
"#;

/// Asks one question at a socket and prints the answer, and how many descriptors came with it.
const ASK: &str = r#"
import json, os, socket, struct, sys
def ask(path, question):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    b = json.dumps(question).encode()
    s.sendall(b'\x01' + struct.pack('>I', len(b)) + b)
    text, fds, _, _ = socket.recv_fds(s, 65536, 64)
    print(text[5:].decode() or 'nothing', len(fds), flush=True)
if __name__ == '__main__':
    if os.fork() == 0:
        ask(sys.argv[1], json.loads(sys.argv[2]))
        os._exit(0)
    os.wait()
    if len(sys.argv) > 3:
        ask(sys.argv[1], json.loads(sys.argv[2]))
"#;
const COMMANDS: &str = r#"{"ask":"commands"}"#;

fn wide(suite: Suite) -> anyhow::Result<Scene> {
    let mut scene = Scene::with(suite, Storage::Memory, "")?;
    scene.publish(WIDE)?;
    scene.host.write_file("/opt/ask.py", ASK, 0o644)?;
    Ok(scene)
}

fn run(connection: &Connection<'_>, command: &str) -> anyhow::Result<Ran> {
    connection.run(&format!("tether run {command}"))
}

/// Without the bundle's times and numbers, which no two runs share, and the words of ssh.
fn code_in(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(code, _)| code)
}

fn uid(scene: &Scene, draft: &Draft) -> anyhow::Result<u32> {
    let status = scene.status()?;
    let session = status.sessions.iter().find(|s| s.session == draft.grant.session);
    Ok(session.context("the session is not there")?.uid)
}

fn socket(scene: &Scene, draft: &Draft) -> anyhow::Result<String> {
    Ok(format!("/run/tether/run/{}.sock", uid(scene, draft)?))
}

fn it_is_as_under_sudo(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let before = Snapshot::take(&scene.host)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    for command in [
        "dash -c 'id; grep -E \"^(NoNewPrivs|Cap|Groups)\" /proc/self/status; env | sort; pwd; umask; ulimit -a; \
         cat /proc/self/loginuid; ls /proc/self/fd; head -c 5 /etc/shadow; grep ^0 /proc/self/cgroup | cut -d/ -f1-3; \
         readlink /proc/self/ns/ipc /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/user /proc/self/ns/pid /proc/self/ns/cgroup; cat /proc/self/oom_score_adj; nice'",
        // Keys outlive a session: add_key, keyctl(KEYCTL_GET_KEYRING_ID of the user's own).
        "python3 -c 'import ctypes; c = ctypes.CDLL(None); print(c.syscall(248, b\"user\", b\"x\", b\"y\", 1, -4), c.syscall(250, 0, -4, 1))'",
        "dash -c 'echo out; echo err >&2; exit 7'",
        "dash -c 'kill -TERM $$'",
        "dash -c 'kill -KILL $$'",
        "dash -c 'echo x > /etc/x'",
        "uptime -s",
        "/usr/bin/no-such",
        "./dash -c id",
        "nosuchprogram",
        "head -c 100000 /dev/zero",
        "sleep 1000",
    ] {
        let (sudo, ran) = (
            connection.run(&format!("cd /var/log; sudo {command}; exit $?"))?,
            connection.run(&format!("cd /var/log; tether run {command}; exit $?"))?,
        );
        ensure!(sudo.out == ran.out, "{command}: {ran:?}, under sudo {sudo:?}");
        // sudo refuses with 1; where the command ran, or the launcher refused, the code is the same.
        let code = if sudo.code == 1 && sudo.err.contains("tether: ") { 126 } else { sudo.code };
        ensure!(ran.code == code, "{command}: {ran:?}, under sudo {sudo:?}");
        ensure!(sudo.code != 1 || code_in(&sudo.err) == code_in(&ran.err), "{command}: {ran:?}, under sudo {sudo:?}");
    }
    let piped = connection.run("echo through | tether run -- cat; tether run cat < /etc/hostname; echo done")?;
    ensure!(piped.out == "through\ndone\n", "{piped:?}");
    let on_a_terminal = connection.run_with(
        &["-tt"],
        "tether run dash -c 'test -t 0 || test -t 1 || test -t 2 || echo none'; stty -a >/dev/null && echo usable",
    )?;
    ensure!(on_a_terminal.out.replace('\r', "") == "none\nusable\n", "{on_a_terminal:?}");
    for (sudo, ours) in
        [("sudo -l", "tether run -l"), ("sudo -l -l", "tether run --list --json"), ("sudo -l", "tether run --list")]
    {
        let (sudo, ran) = (connection.run(sudo)?, connection.run(ours)?);
        ensure!(
            ran.code == 0 && sudo.out == ran.out && ran.out.contains("/usr/bin/uptime"),
            "{ran:?}, by sudo {sudo:?}"
        );
    }
    let trail = scene.trail()?;
    let commands = |by: &str| {
        let of_it = trail.of(draft.grant.session.as_str()).filter(|l| l.event.event == "sudo.command");
        of_it
            .filter(|l| l.event.details["by"] == by)
            .map(|l| (l.event.code.clone(), l.event.details["argv"].clone(), l.event.details["cwd"].clone()))
            .collect::<Vec<_>>()
    };
    ensure!(commands("sudo").len() == 12 && commands("run").len() == 15, "{:?}", (commands("sudo"), commands("run")));
    ensure!(commands("run")[..12] == commands("sudo")[..], "{:?}", (commands("sudo"), commands("run")));
    let ended: Vec<_> = trail.of(draft.grant.session.as_str()).filter(|l| l.event.event == "sudo.ended").collect();
    let last = ended.last().context("no end is on record")?;
    ensure!(
        last.event.details["by"] == "run"
            && last.event.details["tty"].as_str().is_some_and(|tty| tty.starts_with("/dev/pts/")),
        "{last:?}"
    );
    let shown = scene.host.sh(&format!("tether session show {}", draft.grant.session))?;
    ensure!(shown.contains("  sudo uptime -s") && shown.contains("  tether run uptime -s"), "{shown}");
    drop(connection);
    scene.wait_gone(draft.grant.session.as_str())?;
    before.looks_the_same(&scene.host)
}

fn what_it_prints_arrives_whole(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let script = "head -c 300000 /dev/zero; echo >&2 done";
    for (how, expected) in [
        (format!("tether run dash -c '{script}' 2>/dev/null | (sleep 0.3; wc -c)"), "300000\n"),
        (format!("tether run dash -c '{script}' 2>&1 | (sleep 0.3; wc -c)"), "300005\n"),
        (format!("tether run dash -c '{script}' > ~/out 2>/dev/null; wc -c < ~/out"), "300000\n"),
        (format!("tether run dash -c '{script}' >&- 2>/dev/null; echo $?"), "0\n"),
        (format!("tether run dash -c '{script}' >&- 2>&- <&-; echo $?"), "0\n"),
        (format!("tether run dash -c '{script}' 2>/dev/null | head -c 3 | wc -c"), "3\n"),
    ] {
        let ran = connection.run(&how)?;
        ensure!(ran.out == expected, "`{how}`: {ran:?}");
    }
    let direct = run(&connection, &format!("dash -c '{script}'"))?;
    ensure!(direct.out.len() == 300_000 && direct.err == "done\n", "{} bytes, {:?}", direct.out.len(), direct.err);
    Ok(())
}

fn it_needs_no_sudo(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    scene.host.sh("mv /usr/bin/sudo /root/; rm -f /etc/sudo.conf")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime")?.code == 127, "sudo is still there");
    let start = scene.host.sh("head -c 4 /etc/passwd")?;
    let ran = run(&connection, "-- dash -c 'id -u; head -c 4 /etc/passwd'")?;
    ensure!(ran.code == 0 && ran.out == format!("{}\n{start}", uid(&scene, &draft)? + 1), "{ran:?}");
    let refused = run(&connection, "cat /etc/shadow")?;
    ensure!(refused.code == 126 && refused.out.is_empty() && refused.err.contains("[bundle.arguments]"), "{refused:?}");
    let wrong = run(&connection, "")?;
    ensure!(wrong.code == 2 && wrong.err.contains("COMMAND"), "{wrong:?}");
    let help = run(&connection, "--help")?;
    ensure!(help.code == 0 && help.out.contains("126"), "{help:?}");
    ensure!(scene.trail()?.has_code("bundle.arguments"), "the refusal is not on record");
    // Without a runner it is refused, and says so.
    scene.host.sh("systemctl stop tether-runner.socket")?;
    let ran = run(&connection, "uptime")?;
    ensure!(ran.code == 126 && ran.err.contains("[run.no_runner]"), "{ran:?}");
    scene.host.sh("systemctl start tether-runner.socket")?;
    ensure!(run(&connection, "uptime")?.code == 0);
    // It comes with agentd where somebody stopped both.
    scene.host.sh("systemctl stop tether-runner.socket; systemctl restart tether-agentd")?;
    scene.resume()?;
    ensure!(run(&connection, "uptime")?.code == 0, "after agentd's restart the socket is not served");
    Ok(())
}

/// A command that ends with 7 once it is written to.
fn waiting(connection: &Connection<'_>) -> anyhow::Result<Child> {
    let mut child = connection.start("tether run dash -c 'echo in; read x; exit 7'")?;
    let mut seen = [0; 3];
    child.stdout.as_mut().context("stdout")?.read_exact(&mut seen)?;
    Ok(child)
}

/// systemd puts what it started into its unit's cgroup once more (before version 254), here as late as can be.
fn what_systemd_moves_back_takes_no_command_with_it(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let mut child = waiting(&connection)?;
    scene.host.sh("unit=$(systemctl list-units --plain --no-legend 'tether-runner@*' | cut -d' ' -f1); \
         of() { systemctl show -p $1 --value \"$unit\"; }; \
         group=/sys/fs/cgroup$(of ControlGroup); mkdir -p $group; of MainPID > $group/cgroup.procs")?;
    child.stdin.as_mut().context("stdin")?.write_all(b"\n")?;
    let ran = Ran::from(child.wait_with_output()?);
    ensure!(ran.code == 7 && ran.err.is_empty(), "{ran:?}");
    Ok(())
}

/// It ended, and was not killed, whoever had no time to hear so.
fn an_end_is_told_to_an_agentd_that_had_no_time(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let mut child = waiting(&connection)?;
    let host = &scene.host;
    let runner = host.sh("pgrep -n -x tether-runner")?;
    host.sh("pid=$(systemctl show -p MainPID --value tether-agentd); kill -STOP $pid; \
         while grep -q '^State:.[^T]' /proc/$pid/task/*/status; do sleep 0.01; done")?;
    child.stdin.as_mut().context("stdin")?.write_all(b"\n")?;
    host.sh("timeout 10 sh -c 'while pgrep -x tether-confine >/dev/null; do sleep 0.01; done'")?;
    // For longer than it waits for one answer.
    let waits = host.sh(&format!("timeout 3 tail --pid={} -f /dev/null; echo $?", runner.trim()))?;
    host.sh("systemctl kill -s CONT tether-agentd")?;
    ensure!(waits == "124\n", "its runner did not wait for agentd: {waits}");
    let ran = Ran::from(child.wait_with_output()?);
    ensure!(ran.code == 7 && ran.err.is_empty(), "{ran:?}");
    ensure!(run(&connection, "uptime")?.code == 0, "the session does not go on");
    Ok(())
}

/// A process of root's that becomes what `setpriv` and more make of it: in the session's cgroup, with its loginuid, or
/// without one of them.
fn asks_as(host: &Host, place: &str, loginuid: u32, become_it: &str, socket: &str) -> anyhow::Result<String> {
    let moved = if place.is_empty() {
        String::new()
    } else {
        format!("echo $$ > /sys/fs/cgroup/tether.sessions/{place}/login/cgroup.procs; ")
    };
    host.sh(&format!(
        "sh -c 'echo {loginuid} > /proc/self/loginuid; {moved}exec {become_it} python3 /opt/ask.py {socket} \"$0\"' '{COMMANDS}' 2>&1; true"
    ))
    .map_err(Into::into)
}

fn only_the_sessions_own_agent_is_served(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    scene.host.sh("useradd -m carol")?;
    let (draft, agent) = scene.session()?;
    let (other, stranger) = scene.session()?;
    let (connection, strange) = (agent.connect()?, stranger.connect()?);
    let (login, own) = (uid(&scene, &draft)?, socket(&scene, &draft)?);
    let (ours, place) = (format!("python3 /opt/ask.py {own} '{COMMANDS}'"), draft.grant.session.as_str());
    // The control: the agent itself; and a process of root's that became it whole.
    let itself = connection.run(&ours)?;
    ensure!(itself.out.contains("\"answer\":\"commands\""), "{itself:?}");
    let as_login = format!("setpriv --reuid {login} --regid {login} --clear-groups");
    let whole = asks_as(&scene.host, place, login, &as_login, &own)?;
    ensure!(whole.contains("\"answer\":\"commands\""), "{whole}");
    // The file's mode.
    let mode = scene.host.sh(&format!("stat -c '%a %u' {own} /run/tether/run"))?;
    ensure!(mode == format!("600 {login}\n711 0\n"), "{mode}");
    let person = scene.host.command("python3").args(&["/opt/ask.py", &own, COMMANDS]).user("carol").output()?;
    ensure!(String::from_utf8_lossy(&person.stderr).contains("PermissionError"), "{person:?}");
    ensure!(strange.run(&ours)?.err.contains("PermissionError"), "another session's agent is let in");
    let read_only = login + 1;
    let as_read_only = format!("setpriv --reuid {read_only} --regid {read_only} --clear-groups");
    let asked = asks_as(&scene.host, place, login, &as_read_only, &own)?;
    ensure!(asked.contains("PermissionError"), "the confined uid is let in: {asked}");
    // The kernel's word, one thing wrong at a time.
    let elsewhere = other.grant.session.as_str();
    let as_root = "env";
    for (what, place, loginuid, become_it) in [
        ("root", "", 0, as_root),
        ("root in the session", place, login, as_root),
        ("outside of the session's cgroup", "", login, as_login.as_str()),
        ("in another session's cgroup", elsewhere, login, as_login.as_str()),
        ("another login", place, login + 2, as_login.as_str()),
        ("another user namespace", place, login, &format!("{as_login} unshare -U")),
        ("root of a user namespace", place, login, &format!("{as_login} unshare -Ur")),
    ] {
        let asked = asks_as(&scene.host, place, loginuid, become_it, &own)?;
        ensure!(asked.contains("request.not_yours"), "{what}: {asked}");
    }
    // It is nobody's way to anything else, and its descriptors are no others'.
    for question in [
        r#"{"ask":"take","plan":"x"}"#,
        r#"{"ask":"status"}"#,
        r#"{"ask":"begin","plan":"x"}"#,
        r#"{"ask":"decide","argv":["id"],"cwd":"/","tty":null}"#,
    ] {
        let asked = connection.run(&format!("python3 /opt/ask.py {own} '{question}'"))?;
        ensure!(asked.out.contains("request.not_yours") && asked.out.ends_with(" 0\n"), "{question}: {asked:?}");
    }
    let bare = connection.run(&format!("python3 /opt/ask.py {own} '{{\"ask\":\"run\",\"argv\":[\"uptime\"]}}'"))?;
    ensure!(bare.out.contains("run.descriptors"), "{bare:?}");
    let human = scene.host.command("tether").args(&["run", "uptime"]).user("carol").output()?;
    ensure!(
        human.status.code() == Some(126) && String::from_utf8_lossy(&human.stderr).contains("run.not_an_agent"),
        "{human:?}"
    );
    ensure!(
        connection
            .run("python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('/run/tether/runner.sock')\"")?
            .err
            .contains("PermissionError")
    );
    Ok(())
}

/// Ignores what can be ignored, and leaves its process group.
const STUBBORN: &str = "tether run dash -c 'trap \"\" TERM HUP INT; (setsid sleep 1234 &); sleep 1235'";

fn whatever_goes_the_command_goes_too(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let session = draft.grant.session.as_str();
    let runs = "until [ $(pgrep -c -f '^sleep 123[45]') = 2 ]; do sleep 0.01; done";
    let over = "timeout 2 sh -c 'while pgrep -f \"^sleep 123[45]\" >/dev/null || pgrep -x tether-confine >/dev/null || pgrep -x tether-runner >/dev/null; do sleep 0.01; done'";
    for (what, deed, silent) in [
        ("the client", "pkill -KILL -x tether", ""),
        ("the runner", "pkill -KILL -x tether-runner", ""),
        ("what systemd started", "pkill -KILL -o -x tether-runner", ""),
        ("the client, without a keeper", "pkill -KILL -x tether", " >/dev/null 2>&1"),
        ("the runner, without a keeper", "pkill -KILL -x tether-runner", " >/dev/null 2>&1"),
    ] {
        let client = connection.start(&format!("{STUBBORN}{silent}; echo $?"))?;
        scene.host.sh(runs)?;
        scene.host.sh(deed)?;
        scene.host.sh(over).with_context(|| format!("the command outlived {what}"))?;
        let ran = Ran::from(client.wait_with_output()?);
        ensure!(ran.out == "137\n", "{what}: {ran:?}");
        scene.wait("the record", |_| {
            let ended = |trail: &tether_tests::trail::Trail, event: &str| {
                trail.of(session).filter(|l| l.event.event == event).count()
            };
            scene.trail().is_ok_and(|trail| ended(&trail, "sudo.ended") == ended(&trail, "sudo.command"))
        })?;
    }
    for silent in ["", " >/dev/null 2>&1"] {
        let client = connection.start(&format!("{STUBBORN}{silent}; echo $?"))?;
        scene.host.sh(runs)?;
        scene.host.sh("systemctl kill --signal=KILL tether-agentd")?;
        scene.host.sh(over).context("the command outlived agentd")?;
        let ran = Ran::from(client.wait_with_output()?);
        ensure!(ran.out == "126\n", "{ran:?}");
        scene.resume()?;
        ensure!(run(&connection, "uptime")?.code == 0, "after agentd's restart it does not run");
    }
    let mut client = connection.start(STUBBORN)?;
    scene.host.sh(runs)?;
    let start = Instant::now();
    scene.central.revoke(&scene.host, Revocation::Session(draft.grant.session.clone()))?;
    scene.wait_gone(session)?;
    ensure!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    scene.host.sh(over).context("the command outlived its session")?;
    ensure!(scene.host.sh("ls -A /run/tether/run")?.is_empty(), "its socket is still there");
    let _ = client.kill();
    client.wait()?;
    Ok(())
}

/// A runner that says which plan it was called for, and takes nothing.
const FALSE_RUNNER: &str = r#"
import os, socket
s = socket.socket(socket.AF_UNIX)
s.bind('/run/tether/runner.sock')
s.listen()
while True:
    c, _ = s.accept()
    with open('/root/plan.new', 'w') as f: f.write(c.recv(64).decode())
    os.rename('/root/plan.new', '/root/plan')
"#;

fn a_plan_is_taken_once_in_time_and_by_root(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let login = uid(&scene, &draft)?;
    scene.host.write_file("/opt/runner.py", FALSE_RUNNER, 0o644)?;
    scene.host.sh("systemctl stop tether-runner.socket; systemd-run -q --unit false-runner python3 /opt/runner.py; until [ -e /run/tether/runner.sock ]; do sleep 0.01; done")?;
    let called = |scene: &Scene| -> anyhow::Result<(std::process::Child, String)> {
        scene.host.sh("rm -f /root/plan")?;
        let client = connection.start("tether run uptime")?;
        let name = scene.host.sh("until [ -e /root/plan ]; do sleep 0.01; done; cat /root/plan")?;
        Ok((client, name))
    };
    let take = |scene: &Scene, before: &str, name: &str, more: &str| {
        let question = format!("{{\"ask\":\"take\",\"plan\":\"{name}\"}}");
        scene
            .host
            .sh(&format!("sh -c '{before}exec python3 /opt/ask.py /run/tether/root.sock \"$0\" {more}' '{question}'"))
    };
    // Root in the session is the agent, and gets nothing; root outside gets all eleven descriptors, once.
    let (client, name) = called(&scene)?;
    let inside = format!(
        "echo {login} > /proc/self/loginuid; echo $$ > /sys/fs/cgroup/tether.sessions/{}/login/cgroup.procs; ",
        draft.grant.session
    );
    let from_inside = take(&scene, &inside, &name, "")?;
    ensure!(from_inside.contains("request.not_yours") && from_inside.ends_with(" 0\n"), "{from_inside}");
    let wrong = take(&scene, "", &"0".repeat(32), "")?;
    ensure!(wrong.contains("plan.void") && wrong.ends_with(" 0\n"), "{wrong}");
    let twice = take(&scene, "", &name, "again")?;
    let (first, second) = twice.split_once('\n').context("one answer only")?;
    ensure!(first.contains("\"answer\":\"taken\"") && first.ends_with(" 11"), "{twice}");
    ensure!(second.contains("plan.void") && second.ends_with(" 0\n"), "{twice}");
    // Who took it is gone without having run anything.
    let ran = Ran::from(client.wait_with_output()?);
    ensure!(ran.code == 126 && ran.out.is_empty() && ran.err.contains("[plan.not_begun]"), "{ran:?}");
    // A host under load: systemd takes longer than a plan is good for. The plan's time begins when it is taken.
    let (client, name) = called(&scene)?;
    let slow = take(&scene, "sleep 2.5; ", &name, "")?;
    ensure!(slow.contains("\"answer\":\"taken\"") && slow.ends_with(" 11\n"), "{slow}");
    ensure!(Ran::from(client.wait_with_output()?).err.contains("[plan.not_begun]"), "nothing ran");
    // Late: the runner's time is over for its client as for whoever takes the plan.
    let (client, name) = called(&scene)?;
    let ran = Ran::from(client.wait_with_output()?);
    ensure!(ran.code == 126 && ran.err.contains("[plan.not_begun]"), "{ran:?}");
    let late = take(&scene, "", &name, "")?;
    ensure!(late.contains("plan.void") && late.ends_with(" 0\n"), "{late}");
    // Another version of the bundle came in between: what the older one allowed is not run by it.
    let (client, name) = called(&scene)?;
    scene.publish(&WIDE.replace("version = 7\n", "version = 8\n"))?;
    let older = take(&scene, "", &name, "")?;
    ensure!(older.contains("plan.void") && older.contains("another version") && older.ends_with(" 0\n"), "{older}");
    ensure!(Ran::from(client.wait_with_output()?).err.contains("[plan.not_begun]"), "something ran");
    // A plan of sudo's is nobody's to take: no runner is called for it, and its name is not told.
    let codes = scene.trail()?.codes().iter().filter(|code| **code == "plan.not_begun").count();
    ensure!(codes == 4, "{codes} are on record");
    scene
        .host
        .sh("systemctl stop false-runner; rm -f /run/tether/runner.sock; systemctl start tether-runner.socket")?;
    ensure!(run(&connection, "uptime")?.code == 0, "with the real runner it does not run");
    // The runner itself, called by root with what is no plan, does nothing.
    let runner = scene.host.sh("for text in '' x ../../../../../../../etc/passwdd 00000000000000000000000000000000; do printf %s $text | /usr/libexec/tether/tether-runner 2>&1; echo $?; done")?;
    ensure!(
        runner.matches("126\n").count() == 4
            && runner.matches("[run.plan]").count() == 3
            && runner.contains("[plan.void]"),
        "{runner}"
    );
    // By its socket: systemd starts it, and the journal has why it did not begin.
    let call = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/tether/runner.sock'); s.send(b'x')";
    scene.host.sh(&format!("python3 -c \"{call}\""))?;
    scene
        .host
        .sh("timeout 10 sh -c 'until journalctl -q -t tether-runner | grep -qF [run.plan]; do sleep 0.01; done'")?;
    Ok(())
}

const FLOOD: &str = "import os, socket\nheld = []\nprint('ready', flush=True)\nwhile True:\n s = socket.socket(socket.AF_UNIX)\n try: s.connect(f'/run/tether/run/{os.getuid()}.sock')\n except OSError: continue\n held.append(s)\n if len(held) > 200: held.clear()\n";

fn a_flood_delays_nobody(suite: Suite) -> Result {
    use std::io::BufRead;
    let mut scene = wide(suite)?;
    let (_, flooder) = scene.session()?;
    let flood = flooder.connect()?;
    scene.host.write_file("/opt/flood.py", FLOOD, 0o644)?;
    let mut flooding = flood.start("python3 /opt/flood.py")?;
    let mut line = String::new();
    std::io::BufReader::new(flooding.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "ready\n", "no flood: {line:?}");
    for _ in 0..3 {
        let start = Instant::now();
        let (_, agent) = scene.session()?;
        let connection = agent.connect()?;
        ensure!(start.elapsed() < Duration::from_secs(5), "another agent's login waited {:?}", start.elapsed());
        let start = Instant::now();
        let ran = run(&connection, "uptime")?;
        ensure!(ran.code == 0, "{ran:?}");
        ensure!(start.elapsed() < Duration::from_secs(5), "another agent waited {:?}", start.elapsed());
        let start = Instant::now();
        ensure!(connection.run("sudo uptime")?.code == 0);
        ensure!(start.elapsed() < Duration::from_secs(5), "another agent's sudo waited {:?}", start.elapsed());
        let start = Instant::now();
        ensure!(scene.host.exec(&["sudo", "-n", "true"])?.status.success());
        ensure!(start.elapsed() < Duration::from_secs(2), "a person waited {:?}", start.elapsed());
    }
    // Its own is what it loses: each of its commands may find all places taken.
    ensure!(flooding.try_wait()?.is_none(), "the flood ended by itself");
    flooding.kill()?;
    flooding.wait()?;
    // Its commands beyond its share wait for a place, and none is lost; others' do not wait with them.
    let many = flood.start("pkill -x python3; for i in $(seq 24); do (tether run sleep 1000 2>>~/err; echo $? >> ~/codes) & done; wait; sort ~/codes | uniq -c | tr -s ' '; grep -c command.time_limit ~/err")?;
    scene.host.sh("until [ $(pgrep -cx tether) = 24 ]; do sleep 0.01; done")?;
    let start = Instant::now();
    let (_, agent) = scene.session()?;
    ensure!(agent.run("tether run uptime")?.code == 0);
    ensure!(start.elapsed() < Duration::from_secs(5), "another agent waited {:?}", start.elapsed());
    let many = Ran::from(many.wait_with_output()?);
    ensure!(many.out == " 24 137\n24\n", "{many:?}");
    Ok(())
}

/// Three sessions that run as much as they can, and more: every other has its first place.
fn hostile_sessions_leave_others_a_place(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    let mut hostile = Vec::new();
    for _ in 0..4 {
        hostile.push(scene.session()?.1);
    }
    let connections = hostile.iter().map(|agent| agent.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let start = "for i in $(seq 20); do tether run dash -c 'sleep 1000; :' & done; wait";
    let mut running = Vec::new();
    for connection in &connections {
        running.push(connection.start(start)?);
    }
    // The fourth's are what the limit of all leaves: one of its own, and those that the first three do not take.
    scene.host.sh("until [ $(pgrep -fc '^dash -c sleep 1000') -ge 49 ]; do sleep 0.05; done")?;
    for _ in 0..2 {
        let (_, agent) = scene.session()?;
        let connection = agent.connect()?;
        let start = Instant::now();
        ensure!(run(&connection, "uptime")?.code == 0 && run(&connection, "uptime")?.code == 0);
        ensure!(start.elapsed() < Duration::from_secs(10), "another agent waited {:?}", start.elapsed());
    }
    for mut one in running {
        one.kill()?;
        one.wait()?;
    }
    Ok(())
}

/// Who is held is held for an hour; less is other load.
const HELD: Duration = Duration::from_secs(20);

/// Sends descriptors whose closing waits for an hour (socket(7), `SO_LINGER`), and prints how long one of two seconds
/// takes by itself.
const LINGER: &str = r#"
import ctypes, fcntl, os, socket, struct, sys, time
if ctypes.CDLL(None).unshare(0x10000000 | 0x40000000): sys.exit('no namespaces')
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, struct.pack('16sh14x', b'lo', 0x41))
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
server.bind(('127.0.0.1', 0))
server.listen()
def pair(seconds):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    one.connect(server.getsockname())
    other, _ = server.accept()
    one.setblocking(False)
    try:
        while True: one.send(b'x' * 65536)
    except BlockingIOError: pass
    one.setblocking(True)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, seconds))
    return one, other
one, other = pair(2)
start = time.monotonic()
one.close()
print('alone', time.monotonic() - start > 1.5, flush=True)
for _ in range(40):
    # Whoever closes its copy last waits; both ends lie in one message, so neither goes before.
    one, other = pair(3600)
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    socket.send_fds(s, [b'\x01'], [one.fileno(), other.fileno()])
    one.close()
    other.close()
    s.close()
print('sent', flush=True)
time.sleep(1000)
"#;

fn descriptors_that_take_for_ever_to_close_hold_nobody(suite: Suite) -> Result {
    let mut scene = wide(suite)?;
    scene.host.write_file("/opt/linger.py", LINGER, 0o644)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let (login, own) = (uid(&scene, &draft)?, socket(&scene, &draft)?);
    // As root made it, it is not under the session's own filter, which may forbid such namespaces.
    scene.host.sh(&format!(
        "systemd-run -q --unit linger sh -c 'echo {login} > /proc/self/loginuid; \
         echo $$ > /sys/fs/cgroup/tether.sessions/{}/login/cgroup.procs; \
         exec setpriv --reuid {login} --regid {login} --clear-groups python3 /opt/linger.py {own} > /tmp/linger 2>&1'; \
         until grep -qE 'sent|Error|no name' /tmp/linger; do sleep 0.01; done",
        draft.grant.session
    ))?;
    let said = scene.host.sh("cat /tmp/linger")?;
    ensure!(said == "alone True\nsent\n", "{said}");
    let others = |scene: &mut Scene| -> Result {
        let start = Instant::now();
        scene.status()?;
        ensure!(start.elapsed() < HELD, "agentd waited {:?}", start.elapsed());
        let (_, other) = scene.session()?;
        let ran = other.run("tether run uptime")?;
        ensure!(ran.code == 0, "{ran:?}");
        ensure!(start.elapsed() < HELD, "another agent waited {:?}", start.elapsed());
        Ok(())
    };
    others(&mut scene)?;
    let start = Instant::now();
    scene.central.revoke(&scene.host, Revocation::Session(draft.grant.session.clone()))?;
    scene.wait_gone(draft.grant.session.as_str())?;
    ensure!(start.elapsed() < HELD, "its end took {:?}", start.elapsed());
    drop(connection);
    others(&mut scene)
}
