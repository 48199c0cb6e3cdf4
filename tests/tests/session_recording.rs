//! Every channel of a session is recorded before it is shown, by agentd, out of the agent's reach.

use anyhow::Context;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError::Timeout};
use std::time::{Duration, Instant};
use tether_recording::{Kind, Stream};
use tether_testhost::Suite;
use tether_tests::channels::{kinds, until};
use tether_tests::{Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    a_terminal_is_recorded_as_it_was_shown,
    jobs_signals_and_sizes_reach_the_session,
    a_secret_that_is_not_shown_is_not_recorded,
    a_command_is_recorded_with_its_ends,
    channels_of_one_connection_are_recorded_each,
    transfers_work_and_are_recorded,
    sftp_inside_sshd_is_not_served_unrecorded,
    who_kills_its_recorder_ends_its_session,
    an_agent_cannot_look_into_its_recorder,
    sshds_terminal_cannot_be_written_to,
    without_agentd_nothing_is_shown_and_nothing_begins,
    a_recording_goes_on_after_a_restart_of_agentd,
    who_shows_too_much_is_slowed_and_nobody_else,
);

/// How bash asks.
const READY: &str = r"\$ $";

fn a_terminal_is_recorded_as_it_was_shown(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let steps = json!([
        ["size", 91, 23],
        ["want", READY],
        ["send", "stty size; tput cols\n"],
        ["want", READY],
        ["send", "printf '\\303'; sleep 0.2; printf '\\251 \\377\\000\\033[1mbold\\033[0m\\n'\n"],
        ["want", READY],
        ["send", "head -c 300000 /dev/urandom\n"],
        ["want", READY],
        ["send", "tty; [ $SSH_TTY = $(tty) ] && echo same''-tty; sudo -n cat /etc/shadow; exit 3\n"],
    ]);
    let output = agent.at_a_terminal(&steps, &[])?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let recorded = scene.recording(draft.grant.session.as_str())?;
    assert!(recorded.of(Stream::Output) == output.stdout, "not the same: {} {}", output.stdout.len(), recorded.shown());
    let shown = recorded.shown();
    assert!(output.stdout.len() > 300_000 && shown.contains("23 91") && shown.contains("same-tty"), "{shown}");
    assert!(shown.contains("é") && shown.contains("bundle.no_rule") || shown.contains("read.never"), "{shown}");
    let header = &recorded.header;
    assert_eq!((header.kind, header.columns, header.rows, &header.command), (Kind::Tty, 91, 23, &Value::Null));
    assert_eq!((recorded.status, header.host.as_str()), (Some(3 << 8), "web-01.example.org"));
    Ok(())
}

fn jobs_signals_and_sizes_reach_the_session(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let steps = json!([
        ["want", READY],
        // Its own word, not what is typed: by then it has the terminal.
        ["send", "bash -c 'echo u''p; exec sleep 100'\n"],
        ["want", "\rup\r\n"],
        ["send", "\u{3}"],
        ["want", READY],
        ["send", "echo =$?=\n"],
        ["want", "=130="],
        ["want", READY],
        ["send", "cat\n"],
        ["want", "cat\r\n"],
        ["send", "one\n"],
        ["want", "one\r\none"],
        ["send", "\u{1a}"],
        ["want", "Stopped"],
        ["want", READY],
        ["send", "fg\n"],
        ["want", "cat\r\n"],
        ["send", "two\n"],
        ["want", "two\r\ntwo"],
        ["send", "\u{4}"],
        ["want", READY],
        ["send", "trap 'stty size' WINCH\n"],
        ["want", READY],
        ["size", 132, 44],
        ["send", "\n"],
        ["want", "44 132"],
        ["send", "\n"],
        ["want", READY],
        ["send", "kill -HUP $$\n"],
    ]);
    let output = agent.at_a_terminal(&steps, &[])?;
    assert!(output.status.code() != Some(99), "{output:?}");
    let recorded = scene.recording(draft.grant.session.as_str())?;
    assert!(recorded.of(Stream::Output) == output.stdout, "{}", recorded.shown());
    assert_eq!(recorded.of(Stream::Resize), [132, 0, 44, 0]);
    assert_eq!(recorded.status, Some(1), "it died by SIGHUP, and that was handed on");
    Ok(())
}

fn a_secret_that_is_not_shown_is_not_recorded(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let steps = json!([
        ["want", READY],
        ["send", "read -s -p 'Password: ' p\n"],
        ["want", "Password: $"],
        ["send", "hunter2secret\n"],
        ["want", READY],
        ["send", "echo ${#p}\n"],
        ["want", "13"],
        ["want", READY],
        ["send", "read -p 'Name: ' n\n"],
        ["want", "Name: $"],
        ["send", "visible-name\n"],
        ["want", READY],
        ["send", "exit\n"],
    ]);
    let output = agent.at_a_terminal(&steps, &[])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let folder = format!("/var/lib/tether/recordings/{}", draft.grant.session);
    let recorded = scene.recording(draft.grant.session.as_str())?.shown();
    assert!(recorded.contains("visible-name"), "the control: what is shown is there: {recorded}");
    assert!(!recorded.contains("hunter2secret"));
    assert_eq!(scene.host.sh(&format!("grep -rl hunter2secret {folder} /var/lib/tether/audit; true"))?, "");
    Ok(())
}

fn a_command_is_recorded_with_its_ends(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    for (command, code, status) in [
        ("echo out; echo err >&2", 0, 0),
        ("printf '\\377\\000\\303'; exit 1", 1, 1 << 8),
        ("exit 255", 255, 255 << 8),
        ("kill -TERM $$", 255, 15),
        ("(sleep 0.5; echo late) & echo early", 0, 0),
    ] {
        let (draft, agent) = scene.session()?;
        let mut ssh = agent.client("ssh")?;
        let output = ssh.arg(&agent.destination).arg(command).output()?;
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        let recorded = scene.recording(draft.grant.session.as_str())?;
        assert_eq!(recorded.of(Stream::Output), output.stdout, "{command}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let err = String::from_utf8_lossy(&recorded.of(Stream::Error)).into_owned();
        assert!(said.contains(&err) && err.contains("err") == command.contains("err"), "{command}: {said}");
        assert_eq!((recorded.status, recorded.header.kind), (Some(status), Kind::Exec), "{command}");
        assert_eq!(recorded.header.command, json!(command));
        let trail = scene.trail()?;
        let of = |event: &str| trail.of(draft.grant.session.as_str()).filter(|link| link.event.event == event).count();
        assert_eq!((of("recording.started"), of("recording.ended")), (1, 1));
    }
    Ok(())
}

fn channels_of_one_connection_are_recorded_each(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    connection.run("echo 'echo from-the-rc-file' > ~/.bashrc; cp ~/.bashrc ~/.bash_profile")?;
    let second = connection.run("echo only-this")?;
    assert_eq!(second.out, "only-this\n", "nothing ran before it");
    let mut running: Vec<_> = (0..10)
        .map(|number| connection.start(&format!("read line; echo {number}-$line")))
        .collect::<anyhow::Result<_>>()?;
    until("ten recordings at once", || {
        let open =
            scene.host.sh(&format!("ls /var/lib/tether/recordings/{} | grep -c open; true", draft.grant.session))?;
        Ok(open.trim() == "10")
    })?;
    for child in &mut running {
        child.stdin.take().context("it is piped")?.write_all(b"x\n")?;
    }
    for (number, child) in running.into_iter().enumerate() {
        assert_eq!(String::from_utf8(child.wait_with_output()?.stdout)?, format!("{number}-x\n"));
    }
    let all = scene.recordings(draft.grant.session.as_str(), 12)?;
    let mut shown: Vec<String> = all.values().map(|one| one.shown()).collect();
    shown.sort();
    assert_eq!(shown[..4], ["", "0-x\n", "1-x\n", "2-x\n"]);
    assert_eq!(shown[11], "only-this\n");
    Ok(())
}

fn transfers_work_and_are_recorded(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&there, &content)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let control = format!("ControlPath={}", connection.control());
    for program in [&["scp"][..], &["scp", "-O"]] {
        let mut scp = agent.client(program[0])?;
        let remote = format!("{}:report", agent.destination);
        scp.args(&program[1..]).args(["-o", &control]).arg(&there).arg(&remote);
        assert!(scp.status()?.success());
        let mut scp = agent.client(program[0])?;
        scp.args(&program[1..]).args(["-o", &control]).arg(&remote).arg(&back);
        assert!(scp.status()?.success());
        assert!(std::fs::read(&back)? == content);
    }
    let all = scene.recordings(draft.grant.session.as_str(), 4)?;
    assert_eq!(kinds(&all), [Kind::Sftp; 4]);
    let longest = all.values().map(|one| one.of(Stream::Output)).max_by_key(Vec::len).context("none")?;
    assert!(longest.windows(4000).any(|part| part == &content[8_000_000..8_004_000]), "what went out is there");
    Ok(())
}

fn sftp_inside_sshd_is_not_served_unrecorded(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.host.sh("sed -i 's,^Subsystem.*,Subsystem sftp internal-sftp,' /etc/ssh/sshd_config && grep -q internal-sftp /etc/ssh/sshd_config && systemctl restart ssh")?;
    let (draft, agent) = scene.session()?;
    let mut sftp = agent.client("sftp")?;
    let mut child = sftp.args(["-b", "-", &agent.destination]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("it is piped")?.write_all(b"get /etc/hostname /dev/null\n")?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    let recorded = scene.recording(draft.grant.session.as_str())?;
    assert_eq!(recorded.header.kind, Kind::Sftp);
    assert!(recorded.shown().contains("web-01\n"));
    let doctor = scene.host.sh("tether doctor; true")?;
    assert!(doctor.lines().any(|line| line.contains("sshd -T") && line.contains("ok")), "{doctor}");
    scene.host.sh("sed -i '/ForceCommand/d' /etc/ssh/sshd_config.d/00-tether.conf")?;
    let doctor = scene.host.sh("tether doctor 2>&1; true")?;
    assert!(doctor.lines().any(|line| line.contains("ForceCommand") || line.contains("recorded")), "{doctor}");
    Ok(())
}

fn who_kills_its_recorder_ends_its_session(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let session = draft.grant.session.as_str();
    let mut child = agent.start("setsid sleep 1000 & kill -9 $PPID; sleep 1000")?;
    scene.wait_gone(session)?;
    child.wait()?;
    let trail = scene.trail()?;
    let ending = trail.of(session).find(|link| link.event.event == "session.ending").context("no end")?;
    assert_eq!(ending.event.details["reason"], "recorder");
    assert!(trail.has_code("recording.lost"));
    assert_eq!(scene.host.sh("pgrep -x sleep; true")?, "", "all of it is gone");
    let gap = String::from_utf8(scene.recording(session)?.of(Stream::Gap))?;
    assert!(gap.starts_with("the recorder is gone"), "{gap}");
    Ok(())
}

/// Each is tried on the recorder and, as the control, on a process of the agent's own.
const LOOKS: &str = r#"python3 - <<'PY'
import ctypes, os, signal, subprocess
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
shell = os.getppid()
recorder = int(open(f"/proc/{shell}/stat").read().rsplit(")", 1)[1].split()[1])
own = subprocess.Popen(["sleep", "100"]).pid
class Part(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("length", ctypes.c_size_t)]
def code(result):
    return "done" if result >= 0 else os.strerror(ctypes.get_errno())
def opened(path):
    def look(pid):
        try:
            os.close(os.open(path.format(pid), os.O_RDONLY))
            return "done"
        except OSError as error:
            return os.strerror(error.errno)
    return look
def attach(pid):
    result = code(libc.ptrace(16, pid, None, None))
    if result == "done":
        os.waitpid(pid, 0)
        libc.ptrace(17, pid, None, None)
    return result
def readv(pid):
    address = 0
    try:
        address = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
    except OSError:
        address = 0x400000
    space = ctypes.create_string_buffer(16)
    here, there = Part(ctypes.addressof(space), 16), Part(address, 16)
    return code(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
def getfd(pid):
    handle = libc.syscall(434, pid, 0)
    return code(libc.syscall(438, handle, 1, 0))
def listed(pid):
    try:
        return "done" if os.listdir(f"/proc/{pid}/fd") else "none"
    except OSError as error:
        return os.strerror(error.errno)
looks = {"mem": opened("/proc/{}/mem"), "environ": opened("/proc/{}/environ"), "fd": listed, "fd1": opened("/proc/{}/fd/1"),
         "ptrace": attach, "readv": readv, "getfd": getfd}
for name, look in looks.items():
    print(name, "|", look(own), "|", look(recorder))
os.kill(own, 9)
PY"#;

fn an_agent_cannot_look_into_its_recorder(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let ran = agent.run(LOOKS)?;
    assert_eq!(ran.out.lines().count(), 7, "{ran:?}");
    for line in ran.out.lines() {
        let parts: Vec<&str> = line.split(" | ").collect();
        assert_eq!(parts[1], "done", "the control: {line}");
        assert!(["Permission denied", "Operation not permitted"].contains(&parts[2]), "{line}");
    }
    let (_, agent) = scene.session()?;
    let folder = format!("/var/lib/tether/recordings/{}", draft.grant.session);
    let ran = agent.run(&format!("cat {folder}/*; ls {folder}; rm -rf {folder}; echo x >> {folder}/exec-1.rec"))?;
    assert!(ran.out.is_empty() && ran.err.matches("Permission denied").count() >= 3, "{ran:?}");
    assert!(scene.recording(draft.grant.session.as_str()).is_ok());
    Ok(())
}

fn sshds_terminal_cannot_be_written_to(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let steps = json!([
        ["want", READY],
        ["send", "sleep 1; for t in /dev/pts/[0-9]*; do echo unrecorded-$((6*7)) > $t; done; ls /dev/pts\n"],
        ["want", READY],
        ["send", "exit\n"],
    ]);
    let output = agent.at_a_terminal(&steps, &[])?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(shown.matches("unrecorded-42").count(), 1, "only to its own: {shown}");
    let recorded = scene.recording(draft.grant.session.as_str())?;
    assert!(recorded.of(Stream::Output) == output.stdout, "{shown}");
    Ok(())
}

fn without_agentd_nothing_is_shown_and_nothing_begins(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let mut running = connection.start("while read line; do echo =$line=; done")?;
    let mut typed = running.stdin.take().context("it is piped")?;
    let lines = lines_of(running.stdout.take().context("it is piped")?);
    typed.write_all(b"one\n")?;
    assert_eq!(lines.recv_timeout(Duration::from_secs(10))?, "=one=");
    let pid = scene.host.sh("systemctl show -p MainPID --value tether-agentd")?;
    let pid = pid.trim();
    // All its threads: the signal is one thread's to hand on, when it gets to run.
    let stopped = "while grep -q '^State:.[^T]' /proc/$pid/task/*/status; do sleep 0.01; done";
    scene.host.sh(&format!("pid={pid}; kill -STOP $pid; {stopped}"))?;
    typed.write_all(b"two\n")?;
    assert_eq!(lines.recv_timeout(Duration::from_secs(2)), Err(Timeout), "it was shown and is not recorded");
    let asked = Instant::now();
    assert_eq!(scene.host.sh("su - nobody -s /bin/sh -c 'echo people'")?, "people\n");
    assert!(asked.elapsed() < Duration::from_secs(1), "people waited");
    let refused = connection.run("touch ~/ran; echo ran")?;
    assert!(refused.out.is_empty() && refused.err.contains("recording.refused") && refused.code == 126, "{refused:?}");
    scene.host.sh(&format!("kill -CONT {pid}"))?;
    assert_eq!(lines.recv_timeout(Duration::from_secs(10))?, "=two=");
    assert_ne!(connection.run("ls ~/ran")?.code, 0, "nothing of it ran");
    drop(typed);
    assert_eq!(running.wait()?.code(), Some(0));
    Ok(())
}

fn a_recording_goes_on_after_a_restart_of_agentd(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let session = draft.grant.session.to_string();
    let connection = agent.connect()?;
    let mut running = connection.start("while read line; do echo =$line=; done; exit 7")?;
    let mut typed = running.stdin.take().context("it is piped")?;
    let lines = lines_of(running.stdout.take().context("it is piped")?);
    typed.write_all(b"one\n")?;
    assert_eq!(lines.recv_timeout(Duration::from_secs(10))?, "=one=");
    scene.host.sh("systemctl kill -s KILL tether-agentd")?;
    typed.write_all(b"two\n")?;
    assert_eq!(lines.recv_timeout(Duration::from_secs(20))?, "=two=");
    scene.resume()?;
    drop(typed);
    assert_eq!(running.wait()?.code(), Some(7));
    let all = scene.recordings(&session, 2)?;
    assert_eq!((all["exec-1"].shown().as_str(), all["exec-1"].status), ("=one=\n", None));
    assert_eq!((all["exec-2"].shown().as_str(), all["exec-2"].status), ("=two=\n", Some(7 << 8)));
    let gap = String::from_utf8(all["exec-2"].of(Stream::Gap))?;
    assert_eq!(gap, "agentd was restarted: this goes on from exec-1 after 6 bytes of output");
    assert_eq!(connection.run("echo on")?.out, "on\n", "the session goes on");
    // Killed while agentd is away: nobody comes back for it.
    let mut killed = connection.start("echo $PPID; sleep 1000")?;
    let recorder = lines_of(killed.stdout.take().context("it is piped")?).recv_timeout(Duration::from_secs(10))?;
    scene.host.sh(&format!(
        "systemctl kill -s STOP tether-agentd; kill -9 {recorder}; systemctl kill -s KILL tether-agentd"
    ))?;
    killed.wait()?;
    scene.resume()?;
    let start = Instant::now();
    while scene.status()?.sessions.iter().any(|one| one.session.as_str() == session) {
        assert!(start.elapsed() < Duration::from_secs(60), "the session goes on unrecorded");
        std::thread::sleep(Duration::from_millis(100));
    }
    let trail = scene.trail()?;
    let ending = trail.of(&session).find(|link| link.event.event == "session.ending").context("no end")?;
    assert_eq!(ending.event.details["reason"], "recorder");
    Ok(())
}

/// Its lines, as they come.
fn lines_of(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(std::io::Result::ok).try_for_each(|text| line.send(text))
    });
    lines
}

#[test]
#[ignore = "figures: `cargo xtask bench channels`"]
fn figures() -> Result {
    let table = tether_tests::bench::channels(Suite::Bookworm, &mut |row| println!("{row:?}"))?;
    assert_eq!(table.rows.len(), 3);
    Ok(())
}

/// Five MiB at one MiB a second, of which one at once; nothing is lost, and another session's channel does not wait.
fn who_shows_too_much_is_slowed_and_nobody_else(suite: Suite) -> Result {
    const MIB: usize = 1 << 20;
    let mut scene = Scene::new(suite)?;
    let shows = "head -c 5242880 /dev/zero";
    let slowed = |scene: &Scene| -> anyhow::Result<Vec<Option<String>>> {
        let found = scene.trail()?.0.into_iter().filter(|link| link.event.event == "recording.slowed");
        Ok(found.map(|link| link.event.ids.session.id().map(str::to_owned)).collect())
    };
    let (_, control) = scene.session()?;
    assert_eq!(control.run(shows)?.out.len(), 5 * MIB);
    assert_eq!(slowed(&scene)?, [], "the control: without a limit nobody waits");
    scene.host.sh("printf '[recording]\\nrate_mib = 1\\n' >> /etc/tether/host.toml")?;
    scene.restart_agentd()?;
    let ((draft, fast), (_, other)) = (scene.session()?, scene.session()?);
    let fast = std::thread::spawn(move || {
        let begun = Instant::now();
        let ran = fast.run(shows);
        (begun.elapsed(), ran)
    });
    // Short ones meanwhile: each within its own burst.
    let connection = other.connect()?;
    for _ in 0..3 {
        assert_eq!(connection.run("echo hi")?.out, "hi\n");
    }
    let (took, ran) = fast.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
    assert_eq!(ran?.out.len(), 5 * MIB);
    // Less what was left at once, and the last part, after which nothing comes.
    assert!(took >= Duration::from_millis(3500), "it took {took:?}");
    let recorded = scene.recording(draft.grant.session.as_str())?;
    assert_eq!(recorded.of(Stream::Output).len(), 5 * MIB);
    assert_eq!(slowed(&scene)?, [Some(draft.grant.session.to_string())]);
    Ok(())
}
