//! What commands show is recorded byte for byte, by nobody whom an agent could stop or read; what cannot be recorded does
//! not run.

use anyhow::{Context, ensure};
use std::process::Output;
use tether_audit::Link;
use tether_hostlink::paths;
use tether_testhost::{Storage, Suite};
use tether_tests::agent::Connection;
use tether_tests::recordings::{Recording, path, wait_for};
use tether_tests::{Agent, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    pipes_are_recorded_byte_for_byte,
    nothing_reaches_the_agent_past_the_recording,
    a_terminal_is_recorded_as_it_showed_and_not_what_was_typed_blindly,
    a_command_never_has_its_recording,
    what_cannot_be_recorded_does_not_run,
    limits_end_what_is_recorded,
    an_agentd_that_is_killed_takes_recordings_up,
    who_is_killed_leaves_a_recording_that_says_so,
    what_root_changes_later_is_found,
    with_recording_off_nothing_is_recorded_and_all_else_is_the_same,
    what_need_not_be_recorded_runs_without_and_that_is_on_record,
);

const WIDE: &str = r#"
name = "triage"
version = 7
[[rule]]
id = "shell"
program = "/usr/bin/dash"
arguments = "any"
[[rule]]
id = "python-bookworm"
program = "/usr/bin/python3.11"
arguments = "any"
[[rule]]
id = "python-trixie"
program = "/usr/bin/python3.13"
arguments = "any"
"#;
const TERMINAL: &str = include_str!("recording_terminal.py");
const BINARY: &str =
    "import os; os.write(1, bytes(range(256)) * 3); os.write(2, b\"\\xff\\x00e\\xc3\"); os.write(1, b\"\\x00end\")";
const SINGLE: &str = "import os; [os.write(1 + n % 2, bytes([n % 256])) for n in range(3000)]";
const LONG: &str = "import os; [os.write(1, os.urandom(1 << 20)) for _ in range(64)]";

fn wide(suite: Suite, settings: &str) -> anyhow::Result<Scene> {
    let mut scene = Scene::with(suite, Storage::Memory, settings)?;
    scene.publish(WIDE)?;
    scene.host.write_file("/opt/terminal.py", TERMINAL, 0o644)?;
    Ok(scene)
}

/// As bytes.
fn raw(agent: &Agent, connection: &Connection<'_>, options: &[&str], command: &str) -> anyhow::Result<Output> {
    let mut ssh = agent.client("ssh")?;
    ssh.args(["-q", "-S", &connection.control(), "-o", "ControlMaster=no"]).args(options);
    ssh.arg(&agent.destination).arg(command).output().context("ssh")
}

fn pipes_are_recorded_byte_for_byte(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    for how in ["sudo", "tether run"] {
        for script in [BINARY, SINGLE, LONG] {
            let ran = raw(&agent, &connection, &[], &format!("{how} python3 -c '{script}'"))?;
            ensure!(ran.status.success(), "{how} {script}: {}", String::from_utf8_lossy(&ran.stderr));
            let recording = Recording::last(&scene, draft.grant.session.as_str())?;
            let shown = recording.shown()?;
            ensure!(
                shown.out == ran.stdout,
                "{how} {script}: another output, {} {}",
                shown.out.len(),
                ran.stdout.len()
            );
            ensure!(shown.err == ran.stderr, "{how} {script}: {:?} {:?}", shown.err, ran.stderr);
            ensure!(!shown.out.is_empty() && shown.end == Some(Some(0)), "{how}: {:?}", shown.end);
            recording.check()?;
            ensure!(recording.ended.event.details["regular"] == true, "{:?}", recording.ended);
            ensure!(recording.name.starts_with(if how == "sudo" { "sudo-" } else { "run-" }), "{}", recording.name);
        }
    }
    let many = scene.trail()?.of(draft.grant.session.as_str()).filter(|l| l.event.event == "recording.chunk").count();
    ensure!(many >= 2, "64 MiB have {many} records of pieces");
    // The command's record names its recording.
    let trail = scene.trail()?;
    let commands = trail.of(draft.grant.session.as_str()).filter(|link| link.event.event == "sudo.command");
    let names: Vec<_> = commands.map(|link| link.event.details["recording"].as_str()).collect();
    ensure!(names.first() == Some(&Some("sudo-1")) && names.len() == 6, "{names:?}");
    // One output for both stays in its order.
    let ran = raw(&agent, &connection, &[], "sudo dash -c 'echo a; echo b >&2; echo c' 2>&1")?;
    let shown = Recording::last(&scene, draft.grant.session.as_str())?.shown()?;
    assert_eq!((ran.stdout.as_slice(), shown.all.as_slice()), (&b"a\nb\nc\n"[..], &b"a\nb\nc\n"[..]));
    // Who wants to see nothing: that is said.
    raw(&agent, &connection, &[], "sudo dash -c 'echo x' > /dev/null 2>&1")?;
    let shown = Recording::last(&scene, draft.grant.session.as_str())?.shown()?;
    assert_eq!((shown.all.len(), shown.gaps.len(), shown.end), (0, 1, Some(None)), "{:?}", shown.gaps);
    Ok(())
}

/// What reached the agent in each of these ways was in no recording, and counted for no limit.
fn nothing_reaches_the_agent_past_the_recording(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let shows = |command: &str| anyhow::Ok(text(&raw(&agent, &connection, &[], command)?.stdout));
    // An input that can be written to.
    let input = |how: &str| format!("{how} dash -c 'echo past >&0' 2>/dev/null 0>&1 | cat");
    // The other end of one, which its owner has opened to everybody.
    let opened = |pipe: &str| {
        let run = "subprocess.run([\"sudo\", \"dash\", \"-c\", \"echo past >/proc/self/fd/0\"], stdin=r, stderr=subprocess.DEVNULL)";
        let read = "os.set_blocking(r, False)\ntry: print(os.read(r, 99))\nexcept BlockingIOError: pass";
        format!("python3 -c 'import os, subprocess\n{pipe}\n{run}\n{read}'")
    };
    let named = "os.mkfifo(\"/tmp/way\")\nw = os.open(\"/tmp/way\", os.O_RDWR)\nos.fchmod(w, 0o666)\nr = os.open(\"/tmp/way\", os.O_RDONLY)";
    // Another terminal of the agent's than the one that sudo stands before.
    let other = "import os, pty\nm, s = os.openpty()\nos.set_blocking(m, False)\n\
                 pty.spawn([\"sh\", \"-c\", \"sudo dash -c \\\"echo past >&0\\\" 2>&1 <>\" + os.ttyname(s)])\n\
                 try: print(os.read(m, 99))\nexcept BlockingIOError: pass";
    // The agent's own terminal.
    let terminal = |line: &str| format!("python3 -c 'import pty; pty.spawn([\"sh\", \"-c\", \"{line}\"])'");
    let ways = [
        input("sudo"),
        input("tether run"),
        opened("r, w = os.pipe()\nos.fchmod(r, 0o666)"),
        opened(named),
        format!("python3 -c '{other}'"),
        terminal("sudo dash -c \\\"echo past >/dev/tty\\\" 2>/dev/null | cat"),
        terminal("sudo dash -c \\\"echo past >/dev/tty\\\" >/dev/null 2>&1"),
    ];
    let mut past = Vec::new();
    for way in &ways {
        let shown = shows(way)?;
        let recorded = Recording::last(&scene, draft.grant.session.as_str())?.shown()?;
        let is_past = shown.contains("past") && !text(&recorded.all).contains("past");
        past.extend(is_past.then_some((way, shown)));
    }
    ensure!(past.is_empty(), "{past:#?}");
    // The controls: what is handed on is, and a terminal of sudo's is recorded.
    assert_eq!(shows("echo in | sudo dash -c cat")?, "in\n");
    assert_eq!(shows(&terminal("sudo dash -c \\\"echo out; echo in >/dev/tty\\\""))?, "out\r\nin\r\n");
    let shown = Recording::last(&scene, draft.grant.session.as_str())?.shown()?;
    assert_eq!(text(&shown.out), "out\r\nin\r\n");
    Ok(())
}

fn a_terminal_is_recorded_as_it_showed_and_not_what_was_typed_blindly(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let session = draft.grant.session.as_str();
    for script in [
        "test -t 1 && echo one; printf \"a\\303\"; sleep 0.1; printf \"\\244\\n\\000\\377\"; echo err >&2",
        "seq 1 30000",
    ] {
        let ran = raw(&agent, &connection, &["-tt"], &format!("sudo dash -c '{script}'"))?;
        let recording = Recording::last(&scene, session)?;
        recording.check()?;
        let shown = recording.shown()?;
        ensure!(shown.out == ran.stdout, "{:?}\n{:?}", text(&shown.out), text(&ran.stdout));
        ensure!(
            text(&shown.out).starts_with(if script.starts_with("seq") { "1" } else { "one" }),
            "it was no terminal"
        );
        ensure!(shown.end == Some(Some(0)), "{:?}", shown.end);
    }
    let terminal = |actions: &str, command: &str| -> anyhow::Result<(Output, Recording)> {
        let ran = raw(&agent, &connection, &[], &format!("python3 /opt/terminal.py {actions} -- sudo {command}"))?;
        Ok((ran, Recording::last(&scene, session)?))
    };
    let wait = "echo first; while test \"$(stty size)\" != \"50 132\"; do sleep 0.1; done; stty size";
    let (ran, recording) = terminal("size 50 132", &format!("dash -c '{wait}'"))?;
    let shown = recording.shown()?;
    ensure!(shown.sizes.contains(&(132, 50)), "{:?}: {:?} {:?}", shown.sizes, text(&shown.out), text(&ran.stdout));
    ensure!(shown.out == ran.stdout, "{:?}\n{:?}", text(&shown.out), text(&ran.stdout));
    // As it showed: a terminal makes two characters of a newline.
    ensure!(shown.out.starts_with(b"first\r\n"), "{:?}", text(&shown.out));
    // The header has the terminal's first size.
    ensure!(String::from_utf8_lossy(&recording.bytes).contains("\"columns\":80,\"rows\":24"), "no size");

    // What is typed at a prompt that does not show it is in no recording; with echo, as a control, it is.
    let blind = "import termios\na = termios.tcgetattr(0)\nif QUIET:\n  a[3] &= ~termios.ECHO\n  termios.tcsetattr(0, termios.TCSAFLUSH, a)\nprint(\"Password:\", flush=True)\ninput()\nprint(\"done\")";
    for (quiet, expected) in [("True", false), ("False", true)] {
        let script = blind.replace("QUIET", quiet);
        let (ran, recording) = terminal("type hunter2hunter2 Password:", &format!("python3 -c '{script}'"))?;
        let shown = recording.shown()?;
        ensure!(text(&shown.out).contains("done"), "{:?}", text(&ran.stdout));
        let found = recording.bytes.windows(14).any(|part| part == b"hunter2hunter2");
        assert_eq!(found, expected, "quiet: {quiet}: {:?}", text(&shown.out));
    }

    // Half a terminal is none: what goes to it is copied and recorded, and nothing can be typed into the command.
    let ran = raw(
        &agent,
        &connection,
        &[],
        "python3 /opt/terminal.py -- sh -c \"sudo dash -c 'test -t 0 || test -t 1 || echo none' 2>/dev/null\"",
    )?;
    assert_eq!(text(&ran.stdout), "none\r\n");
    assert_eq!(text(&Recording::last(&scene, session)?.shown()?.out), "none\n");
    // Without a controlling terminal sudo makes none, and the agent's own is not handed on.
    let ran = raw(
        &agent,
        &connection,
        &[],
        "python3 /opt/terminal.py -- sh -c \"setsid -w sudo dash -c 'test -t 1 && echo terminal; echo said'\"",
    )?;
    assert_eq!(text(&ran.stdout), "said\r\n");
    assert_eq!(text(&Recording::last(&scene, session)?.shown()?.out), "said\n");
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Prints its own descriptors, and those of every process that it can look at.
const LOOK: &str =
    "for f in /proc/[0-9]*/fd/*; do readlink $f; done; readlink /proc/self/fd/*; cat /var/lib/tether/recordings/*/*";

fn a_command_never_has_its_recording(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    for (options, how) in [(&[][..], "sudo"), (&["-tt"], "sudo"), (&[], "tether run")] {
        let ran = raw(&agent, &connection, options, &format!("{how} dash -c '{LOOK}'"))?;
        let said = text(&[ran.stdout, ran.stderr].concat());
        ensure!(said.contains("/dev/") || said.contains("pipe:"), "{how}: it saw nothing at all: {said}");
        let has = said.lines().any(|line| line.contains(".rec") && !line.contains("Permission denied"));
        ensure!(!has && !said.contains("tether-recording"), "{how} {options:?}: {said}");
        ensure!(said.contains("Permission denied"), "{how}: the files were not tried: {said}");
    }
    // The agent itself sees neither files nor folder.
    let ran = raw(&agent, &connection, &[], "ls /var/lib/tether/recordings; cat /var/lib/tether/recordings/*/*")?;
    ensure!(text(&ran.stderr).contains("Permission denied") && ran.stdout.is_empty(), "{}", text(&ran.stderr));
    // The control: who writes has it while the command runs, and root sees that.
    let mut child = connection.start("sudo dash -c 'echo started; read x'")?;
    wait_for("the keeper has the recording", || {
        Ok(scene.host.sh("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c 'sudo-.*rec' || true")?.trim() != "0")
    })?;
    let holders = scene.host.sh(
        "for p in /proc/[0-9]*; do ls -l $p/fd 2>/dev/null | grep -q 'sudo-.*rec' && cat $p/comm; done | sort -u; true",
    )?;
    ensure!(holders.contains("tether-confine"), "{holders}");
    let command = scene
        .host
        .sh("for p in $(cat /sys/fs/cgroup/tether.sessions/*/run-*/cgroup.procs); do ls -l /proc/$p/fd; done")?;
    ensure!(command.contains("pipe:") && !command.contains(".rec"), "{command}");
    child.kill()?;
    child.wait()?;
    // Whom it is for may read it, and nobody else.
    let modes = scene.host.sh(&format!(
        "stat -c '%a %U:%G' /var/lib/tether /var/lib/tether/recordings /var/lib/tether/recordings/* {}",
        path(draft.grant.session.as_str(), "sudo-1")
    ))?;
    assert_eq!(modes, "711 root:root\n750 root:tether-courier\n750 root:tether-courier\n640 root:tether-courier\n");
    Ok(())
}

fn what_cannot_be_recorded_does_not_run(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo dash -c true")?.code == 0, "the control");
    scene.host.sh("mount -t tmpfs -o size=4k,mode=750 tmpfs /var/lib/tether/recordings; head -c 100000 /dev/zero > /var/lib/tether/recordings/x 2>/dev/null; true")?;
    for how in ["sudo", "tether run"] {
        let ran = connection.run(&format!("{how} dash -c 'echo ran'"))?;
        ensure!(ran.code != 0 && !ran.out.contains("ran") && ran.err.contains("[recording.failed]"), "{how}: {ran:?}");
    }
    // Full in the midst of it: the command ends, with a record that says why.
    scene
        .host
        .sh("umount /var/lib/tether/recordings; mount -t tmpfs -o size=1M,mode=750 tmpfs /var/lib/tether/recordings")?;
    let endless = "dash -c 'while :; do echo 0123456789012345678901234567890123456789; done'";
    for (options, how) in [(&[][..], "sudo"), (&["-tt"], "sudo"), (&[], "tether run")] {
        let (draft, agent) = scene.session()?;
        let connection = agent.connect()?;
        let ran = raw(&agent, &connection, options, &format!("{how} {endless}"))?;
        ensure!(!ran.status.success(), "{how}");
        // What the channel shows cannot be recorded either: whichever of the two meets the full disk first ends what it
        // records, the channel's the whole session.
        wait_for("the end is on record", || {
            let trail = scene.trail()?;
            let says = |link: &Link| ["recording.failed", "recording.lost"].contains(&link.event.code.as_str());
            Ok(trail.of(draft.grant.session.as_str()).any(says))
        })?;
        scene.host.sh("rm -r /var/lib/tether/recordings/*/*.rec")?;
    }
    scene.host.sh("umount /var/lib/tether/recordings")?;
    let (_, agent) = scene.session()?;
    ensure!(agent.run("sudo dash -c true")?.code == 0, "with room it goes on");
    Ok(())
}

fn limits_end_what_is_recorded(suite: Suite) -> Result {
    let settings = "[recording]\ncommand_mib = 2\nsession_mib = 60\nhost_mib = 90\n";
    let mut scene = wide(suite, settings)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let endless = "dash -c 'while :; do echo 0123456789012345678901234567890123456789; done'";
    let ended = |code: &str, times: usize| {
        wait_for(code, || Ok(scene.trail()?.codes().iter().filter(|one| **one == code).count() >= times))
    };
    for (number, how) in ["sudo", "tether run"].iter().enumerate() {
        let ran = connection.run(&format!("{how} {endless}"))?;
        ensure!(ran.code != 0, "{how}");
        ended("recording.limit", number + 1)?;
    }
    // A channel has no limit of its own: all of the session's recordings have one.
    let id = draft.grant.session.as_str();
    for _ in 0..60 {
        if scene.status()?.sessions.iter().all(|session| session.session.as_str() != id) {
            break;
        }
        let _ = connection.run(&format!("sudo {endless}"))?;
    }
    scene.wait_gone(id)?;
    let trail = scene.trail()?;
    let ending = trail.of(draft.grant.session.as_str()).find(|link| link.event.event == "session.ending");
    assert_eq!(ending.context("no end")?.event.details["reason"], "recording");
    // Another session fills what the host may hold.
    let (_, other) = scene.session()?;
    let other = other.connect()?;
    let mut said = String::new();
    for _ in 0..40 {
        said = other.run(&format!("sudo {endless}"))?.err;
        if said.contains("[recording.full]") {
            break;
        }
    }
    ensure!(said.contains("[recording.full]"), "{said}");
    Ok(())
}

fn an_agentd_that_is_killed_takes_recordings_up(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let session = draft.grant.session.to_string();
    let script = "import os,sys\nos.write(1, b\"x\" * 3000000)\nprint(\"started\", flush=True)\nsys.stdin.read(1)\nos.write(1, b\"y\" * 10)";
    let mut child = connection.start(&format!("sudo python3 -c '{script}'"))?;
    let mut out = child.stdout.take().context("no stdout")?;
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut all).map(|_| all)
    });
    wait_for("pieces are on record", || {
        Ok(scene.trail()?.of(&session).any(|link| link.event.event == "recording.chunk"))
    })?;
    scene.host.sh("systemctl kill -s KILL tether-agentd")?;
    scene.resume()?;
    std::io::Write::write_all(child.stdin.as_mut().context("no stdin")?, b"q")?;
    drop(child.stdin.take());
    child.wait()?;
    let out = reader.join().map_err(|_| anyhow::anyhow!("the reader"))??;
    let recording = Recording::named(&scene, &session, "sudo-1")?;
    recording.check()?;
    let shown = recording.shown()?;
    ensure!(shown.out == out, "{} {}", shown.out.len(), out.len());
    ensure!(out.ends_with(b"yyyyyyyyyy"), "it did not run to its end");
    ensure!(recording.ended.event.details["regular"] == true, "{:?}", recording.ended);
    // A name is not used again.
    ensure!(connection.run("sudo dash -c true")?.code == 0, "after the restart");
    assert_eq!(Recording::last(&scene, &session)?.name, "sudo-2");
    Ok(())
}

fn who_is_killed_leaves_a_recording_that_says_so(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    for (number, who) in ["sudo", "tether-confine"].iter().enumerate() {
        let mut child = connection.start("sudo dash -c 'echo started; read x; echo never'")?;
        let name = format!("sudo-{}", number + 1);
        let file = path(draft.grant.session.as_str(), &name);
        wait_for("it is recorded", || {
            Ok(scene.host.sh(&format!("tail -n +3 {file} | grep -ac started; true"))?.trim() == "1")
        })?;
        let killed = scene.host.sh(&format!(
            "n=0; for p in $(cat /sys/fs/cgroup/{}/*/login/cgroup.procs); do test \"$(cat /proc/$p/comm)\" = {who} && kill -9 $p && n=1; done; echo $n",
            paths::CGROUP
        ))?;
        ensure!(killed.trim() == "1", "{who} is not there");
        drop(child.stdin.take());
        child.wait()?;
        let recording = Recording::named(&scene, draft.grant.session.as_str(), &name)?;
        recording.check()?;
        assert_eq!(recording.ended.event.details["regular"], false, "{who}");
        ensure!(recording.shown()?.out == b"started\n", "{who}");
        wait_for("nothing of it is left", || {
            Ok(scene.host.sh(&format!("ls -d /sys/fs/cgroup/{}/*/run-* 2>/dev/null | wc -l", paths::CGROUP))?.trim()
                == "0")
        })?;
    }
    Ok(())
}

fn what_root_changes_later_is_found(suite: Suite) -> Result {
    let mut scene = wide(suite, "")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let session = draft.grant.session.to_string();
    let script = "import os; os.write(1, b\"secret\" * 500000)";
    let ran = raw(&agent, &connection, &[], &format!("sudo python3 -c '{script}'"))?;
    ensure!(ran.stdout.len() == 3_000_000, "{}", text(&ran.stderr));
    let file = path(&session, "sudo-1");
    let changes = [
        ("a byte", format!("printf X | dd of={file} bs=1 seek=2500000 conv=notrunc status=none")),
        ("the end", format!("truncate -s -1 {file}")),
        ("more", format!("printf x >> {file}")),
        ("another", format!("head -c 3000300 /dev/urandom > {file}")),
    ];
    Recording::named(&scene, &session, "sudo-1")?.check()?;
    scene.host.sh(&format!("cp {file} /root/kept"))?;
    for (what, change) in changes {
        scene.host.sh(&change)?;
        ensure!(Recording::named(&scene, &session, "sudo-1")?.check().is_err(), "{what} is not found");
        scene.host.sh(&format!("cp /root/kept {file}"))?;
        Recording::named(&scene, &session, "sudo-1")?.check()?;
    }
    // While it is written to: what is recorded ends.
    let mut child = connection.start("sudo dash -c 'echo started; read x'")?;
    let file = path(&session, "sudo-2");
    wait_for("it is recorded", || {
        Ok(scene.host.sh(&format!("tail -n +3 {file} | grep -ac started; true"))?.trim() == "1")
    })?;
    scene.host.sh(&format!("truncate -s 10 {file}"))?;
    wait_for("it is told", || Ok(scene.trail()?.has_code("recording.gap")))?;
    wait_for("it ends", || Ok(scene.trail()?.has_code("recording.failed")))?;
    child.wait()?;
    Ok(())
}

fn recorded(trail: &tether_tests::Trail, session: &str) -> Vec<String> {
    let of_it = trail.of(session).filter(|link| link.event.event.starts_with("recording."));
    of_it.map(|link| format!("{} {}", link.event.event, link.event.code).trim().to_owned()).collect()
}

fn with_recording_off_nothing_is_recorded_and_all_else_is_the_same(suite: Suite) -> Result {
    let mut scene = wide(suite, "[recording]\non = false\n")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let session = draft.grant.session.to_string();
    for how in ["", "sudo ", "tether run "] {
        let ran = raw(&agent, &connection, &[], &format!("{how}dash -c 'echo out; echo err >&2; exit 7'"))?;
        assert_eq!((text(&ran.stdout).as_str(), text(&ran.stderr).as_str()), ("out\n", "err\n"), "{how}");
        ensure!(ran.status.code() == Some(7), "{how}: {:?}", ran.status);
    }
    let shown = agent.at_a_terminal(
        &serde_json::json!([["want", "[$] "], ["send", "sudo dash -c 'test -t 1 && echo seen'; exit\r"]]),
        &["-S", &connection.control()],
    )?;
    ensure!(text(&shown.stdout).contains("seen\r\n"), "{shown:?}");
    connection.close();
    scene.wait_gone(&session)?;
    let trail = scene.trail()?;
    ensure!(recorded(&trail, &session).is_empty(), "{:?}", recorded(&trail, &session));
    let files = scene.host.sh("find /var/lib/tether/recordings -type f; true")?;
    ensure!(files.is_empty(), "{files}");
    for event in ["sudo.command", "sudo.ended"] {
        let all: Vec<&Link> = trail.of(&session).filter(|link| link.event.event == event).collect();
        ensure!(all.len() == 3, "{} of {event}", all.len());
        ensure!(
            all.iter().all(|link| link.event.details.get("recording").is_none_or(|name| name.is_null())),
            "{all:?}"
        );
    }
    // The control: the same host records once that is taken out.
    scene.host.sh("sed -i 's/^on = false$/on = true/' /etc/tether/host.toml")?;
    scene.restart_agentd()?;
    let (draft, agent) = scene.session()?;
    ensure!(agent.run("sudo dash -c 'echo out'")?.out == "out\n", "no command");
    let session = draft.grant.session.as_str();
    ensure!(Recording::named(&scene, session, "sudo-1")?.shown()?.out == b"out\n", "it is not recorded");
    Ok(())
}

fn what_need_not_be_recorded_runs_without_and_that_is_on_record(suite: Suite) -> Result {
    let mut scene = wide(suite, "[recording]\nrequired = false\n")?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let session = draft.grant.session.to_string();
    // While it can be recorded it is.
    ensure!(connection.run("sudo dash -c 'echo out'")?.out == "out\n", "no command");
    ensure!(Recording::named(&scene, &session, "sudo-1")?.shown()?.out == b"out\n", "it is not recorded");
    let before = recorded(&scene.trail()?, &session);
    ensure!(!before.iter().any(|event| event.starts_with("recording.gap")), "{before:?}");
    scene.host.sh("mount -t tmpfs -o size=4k,mode=750 tmpfs /var/lib/tether/recordings; head -c 100000 /dev/zero > /var/lib/tether/recordings/x 2>/dev/null; true")?;
    for (number, how) in ["sudo ", "tether run "].iter().enumerate() {
        let ran = raw(&agent, &connection, &[], &format!("{how}dash -c 'echo {number}; echo err >&2; exit 7'"))?;
        assert_eq!((text(&ran.stdout), text(&ran.stderr).as_str()), (format!("{number}\n"), "err\n"), "{how}");
        ensure!(ran.status.code() == Some(7), "{how}: {:?}", ran.status);
    }
    // Each of the four, two channels and their commands, has its own record of why, with all five ids and what it was.
    let trail = scene.trail()?;
    let gaps: Vec<&Link> = trail.of(&session).filter(|link| link.event.event == "recording.gap").collect();
    ensure!(gaps.len() == 4, "{gaps:#?}");
    for gap in &gaps {
        let ids = &gap.event.ids;
        let all = [&ids.human, &ids.agent, &ids.instance, &ids.delegation, &ids.session];
        ensure!(all.iter().all(|id| id.id().is_some()) && gap.event.code == "recording.failed", "{gap:?}");
        ensure!(gap.event.details["recording"].is_null() && gap.event.details["why"].is_string(), "{gap:?}");
    }
    let kinds: std::collections::BTreeSet<_> = gaps.iter().map(|gap| gap.event.details["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("exec"), Some("run"), Some("sudo")].into());
    scene.host.sh("umount /var/lib/tether/recordings")?;
    ensure!(connection.run("sudo dash -c 'echo again'")?.out == "again\n", "no command");
    ensure!(Recording::last(&scene, &session)?.shown()?.out == b"again\n", "it is recorded no more");
    Ok(())
}
