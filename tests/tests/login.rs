//! One agent logs in with a certificate that names it and its human, in every way that ssh has.

use std::io::Write;
use std::process::Stdio;
use tether_testhost::Suite;
use tether_tests::{Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    a_command_runs_in_the_session_and_leaves_nothing,
    a_shell_with_a_terminal,
    files_by_sftp_and_scp,
    three_commands_share_one_connection,
    the_account_is_found_by_name_and_by_uid,
    nothing_is_forwarded,
    a_second_connection_is_refused_with_its_hint,
    ansible_pings_through_one_connection,
);

fn a_command_runs_in_the_session_and_leaves_nothing(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let session = draft.grant.session.as_str();
    let ran = agent.run("echo $TETHER_SESSION; pwd; tail -1 /proc/self/cgroup; touch ~/a /tmp/b /var/tmp/c /dev/shm/d && ls ~ /tmp /var/tmp; touch /etc/x")?;
    let expected = format!(
        "{session}\n/run/tether/home\n0::/tether.sessions/{session}/login\n/run/tether/home:\na\n\n/tmp:\nb\n\n/var/tmp:\nc\n"
    );
    assert_eq!(ran.out, expected);
    assert!(ran.err.contains("cannot touch '/etc/x': Read-only file system"), "{ran:?}");
    scene.wait_gone(session)?;
    let left = scene.host.sh(&format!(
        "getent passwd {0} {0}-ro; ls /run/tether/home; find /tmp /var/tmp /dev/shm -uid +65535; ls /sys/fs/cgroup/tether.sessions | grep -v '\\.' ; true",
        draft.login
    ))?;
    assert!(!left.contains("ag-") && !left.contains(session), "{left}");
    let trail = scene.trail()?;
    let events: Vec<&str> = trail.of(session).map(|link| link.event.event.as_str()).collect();
    // When a recording is finished beside the session's end is not told.
    let (recorded, events): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.starts_with("recording."));
    assert_eq!(events, ["session.reserved", "login.bound", "session.ending", "session.removed"]);
    assert_eq!(recorded, ["recording.started", "recording.ended"]);
    for link in trail.of(session) {
        let ids = &link.event.ids;
        let all = [&ids.human, &ids.agent, &ids.instance, &ids.delegation, &ids.session].map(|id| id.id());
        let delegation = draft.grant.delegation.as_str();
        assert_eq!(all, [Some("alice@example.org"), Some("triage"), Some("run-7"), Some(delegation), Some(session)]);
    }
    Ok(())
}

fn a_shell_with_a_terminal(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let mut ssh = agent.client("ssh")?;
    ssh.args(["-tt", &agent.destination]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn()?;
    let typed = "tty; stat -c '%U %a' $(tty); echo up=$((6*7)); exit 3\n";
    child.stdin.take().expect("it is piped").write_all(typed.as_bytes())?;
    let output = child.wait_with_output()?;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("/dev/pts/") && shown.contains("up=42"), "{shown}");
    assert!(shown.contains(&format!("{} 620", draft.login)), "the terminal is not the agent's: {shown}");
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}

fn files_by_sftp_and_scp(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    std::fs::write(&there, "evidence")?;
    let (_, agent) = scene.session()?;
    let mut scp = agent.client("scp")?;
    let status = scp.arg(&there).arg(format!("{}:report", agent.destination)).status()?;
    assert!(status.success());
    let (_, agent) = scene.session()?;
    let mut sftp = agent.client("sftp")?;
    let batch = format!(
        "put {} report\nget report {}\nget /etc/hostname {}\nput {} /etc/report\n",
        there.display(),
        back.display(),
        folder.path().join("name").display(),
        there.display()
    );
    let mut child = sftp
        .args(["-b", "-", &agent.destination])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("it is piped").write_all(batch.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(std::fs::read_to_string(&back)?, "evidence", "{said}");
    assert_eq!(std::fs::read_to_string(folder.path().join("name"))?, "web-01\n");
    assert!(!output.status.success(), "a file was written into /etc: {said}");
    assert!(scene.host.exec(&["test", "-e", "/etc/report"])?.status.code() == Some(1));
    Ok(())
}

fn three_commands_share_one_connection(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    assert_eq!(connection.run("echo 1 > ~/kept")?.code, 0);
    assert_eq!(connection.run("cat ~/kept")?.out, "1\n");
    assert_eq!(connection.run("readlink /proc/self/ns/mnt")?.out, connection.run("readlink /proc/self/ns/mnt")?.out);
    let status = scene.status()?;
    assert_eq!(status.sessions[0].state, "open");
    connection.close();
    scene.wait_gone(draft.grant.session.as_str())?;
    Ok(())
}

fn the_account_is_found_by_name_and_by_uid(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let name = &draft.login;
    let uid = scene.status()?.sessions[0].uid;
    let line = format!(
        "{name}:*:{uid}:{uid}:agent triage of alice@example.org:/run/tether/home:/usr/libexec/tether/tether-shell"
    );
    assert_eq!(scene.host.sh(&format!("getent passwd {name}; getent passwd {uid}"))?, format!("{line}\n{line}\n"));
    assert_eq!(
        scene.host.sh(&format!("getent group {name}; getent group {uid}"))?,
        format!("{name}:*:{uid}:\n{name}:*:{uid}:\n")
    );
    assert_eq!(
        scene.host.sh(&format!("getent passwd {}", uid + 1))?.split(':').next(),
        Some(format!("{name}-ro").as_str())
    );
    assert!(!scene.host.sh("getent passwd; getent group")?.contains("ag-"), "accounts are found, not listed");
    let ran = agent.run("id; whoami")?;
    assert_eq!(ran.out, format!("uid={uid}({name}) gid={uid}({name}) groups={uid}({name})\n{name}\n"));
    Ok(())
}

fn nothing_is_forwarded(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (_, agent) = scene.session_with(|draft| {
        draft.certificate.extensions = [
            "permit-pty",
            "permit-port-forwarding",
            "permit-agent-forwarding",
            "permit-X11-forwarding",
            "permit-user-rc",
        ]
        .map(|name| (name.to_owned(), String::new()))
        .to_vec()
    })?;
    let connection = agent.connect()?;
    let port = connection.run_with(&["-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:22"], "")?;
    assert!(port.err.contains("prohibited") || port.err.contains("refused") || port.code != 0, "{port:?}");
    assert!(!port.out.contains("SSH-2.0"), "a port was forwarded: {port:?}");
    for forward in ["-R127.0.0.1:7777:127.0.0.1:22", "-R/run/tether/home/s:127.0.0.1:22"] {
        let mut ssh = agent.client("ssh")?;
        let control = ["-O", "forward", forward];
        let output = ssh.args(["-S", &connection.control()]).args(control).arg(&agent.destination).output()?;
        assert!(!output.status.success(), "{forward} was granted");
    }
    let inside = connection.run("echo agent=$SSH_AUTH_SOCK display=$DISPLAY; ls -a ~")?;
    assert!(inside.out.starts_with("agent= display=\n"), "{inside:?}");
    connection.close();
    let (_, agent) = scene.session()?;
    let ran = agent.run_with(&["-A", "-X"], "echo agent=$SSH_AUTH_SOCK display=$DISPLAY")?;
    assert_eq!(ran.out, "agent= display=\n");
    Ok(())
}

fn a_second_connection_is_refused_with_its_hint(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let second = agent.run("true")?;
    assert_eq!(second.code, 255);
    assert!(second.err.contains("session.already_bound") && second.err.contains("ControlMaster"), "{second:?}");
    assert_eq!(connection.run("echo on")?.out, "on\n", "the first goes on");
    assert!(scene.trail()?.has_code("session.already_bound"));
    connection.close();
    let (_, agent) = scene.session_with(|draft| draft.grant.connections = 2)?;
    let _first = agent.connect()?;
    assert_eq!(agent.run("echo two")?.out, "two\n", "two are granted, two may be had");
    Ok(())
}

fn ansible_pings_through_one_connection(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let folder = tempfile::tempdir()?;
    let options = agent.options().join(" ");
    let inventory = format!(
        "{} ansible_user={} ansible_python_interpreter=/usr/bin/python3 ansible_ssh_args='{options} -S {}'\n",
        scene.host.address(),
        agent.account,
        connection.control()
    );
    std::fs::write(folder.path().join("hosts"), inventory)?;
    let mut ansible = scene.lab.client_command("ansible")?;
    ansible.env("ANSIBLE_HOME", folder.path()).env("ANSIBLE_LOCAL_TEMP", folder.path()).env("LC_ALL", "C.UTF-8");
    let output = ansible.args(["all", "-m", "ping", "-i"]).arg(folder.path().join("hosts")).output()?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && shown.contains("\"ping\": \"pong\""), "{shown}");
    Ok(())
}
