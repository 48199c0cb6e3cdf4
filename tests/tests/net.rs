//! The grant `net`: a command reaches the TCP destinations of its rule, and nothing else that has an address.

use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use tether_statement::Revocation;
use tether_testhost::{Storage, Suite};
use tether_tests::agent::Connection;
use tether_tests::{Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    a_command_reaches_its_destinations_and_nothing_else,
    without_the_grant_there_are_no_sockets,
    what_the_kernel_does_not_hold_is_not_run,
    connections_end_with_their_session,
);

const PROBE: &str = include_str!("net_probe.py");
const SERVER: &str = include_str!("net_server.py");
/// Errors that mean "refused by the programs on the cgroup", and by Landlock where it can tell ports.
const ADDRESS: &[&str] = &["EPERM"];
const PORT: &[&str] = &["EPERM", "EACCES"];
const FAMILY: &[&str] = &["EAFNOSUPPORT"];
const OPTION: &[&str] = &["ENOPROTOOPT"];
/// Python's name for EOPNOTSUPP.
const FAST_OPEN: &[&str] = &["ENOTSUP"];
const DONE: &[&str] = &["done"];

/// What each try of the probe must come to with the grant.
const EXPECTED: &[(&str, &[&str])] = &[
    ("listed lab", DONE),
    ("listed", DONE),
    ("listed six", DONE),
    ("listed mapped", DONE),
    ("usual options", DONE),
    ("port", PORT),
    ("port six", PORT),
    ("port of another", ADDRESS),
    ("port of another six", ADDRESS),
    ("own address", ADDRESS),
    ("lab", ADDRESS),
    ("loopback", ADDRESS),
    ("zero", ADDRESS),
    ("zero six", ADDRESS),
    ("mapped", ADDRESS),
    ("mapped zero", ADDRESS),
    ("child", ADDRESS),
    ("fast open", FAST_OPEN),
    ("fast open listed", FAST_OPEN),
    ("fast open message", FAST_OPEN),
    ("fast open late", OPTION),
    ("send elsewhere", FAST_OPEN),
    ("bind", PORT),
    ("bind zero", PORT),
    ("bind six", PORT),
    ("listen", ADDRESS),
    ("source route", OPTION),
    ("device", OPTION),
    ("datagram", FAMILY),
    ("datagram six", FAMILY),
    ("raw", FAMILY),
    ("packet", FAMILY),
    ("mptcp", FAMILY),
    ("unix", FAMILY),
    ("abstract", FAMILY),
];

/// The same program under rules that differ in their grants.
fn bundle(lab: &str) -> String {
    let net = format!("net = ['{lab}:7001', '127.0.0.1:7002', '[::1]:7003']\n");
    let rule =
        |id: &str, more: &str| format!("[[rule]]\nid = '{id}'\nprogram = '/opt/{id}'\narguments = 'none'\n{more}");
    [
        "name = 'triage'\nversion = 7\n".to_owned(),
        rule("net", &net),
        rule("bus", &format!("grants = ['dbus']\n{net}")),
        rule("write", &format!("mode = 'write'\nrun_as = 'root'\nwrites = ['/srv']\n{net}")),
        rule("none", ""),
        format!("[[rule]]\nid = 'nc'\nprogram = '/usr/bin/nc.openbsd'\narguments = 'any'\n{net}"),
    ]
    .concat()
}

/// A server that is ended with the test.
struct Server(Child, BufReader<ChildStdout>);

impl Server {
    fn start(mut command: Command, names: &[&str]) -> anyhow::Result<Self> {
        let mut child = command.args(["-c", SERVER]).args(names).stdout(Stdio::piped()).spawn()?;
        let said = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut server = Self(child, said);
        ensure!(server.line()? == "ready\n", "the server did not start");
        Ok(server)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host with the probe under every name, and servers on it and beside it.
fn ready(suite: Suite) -> anyhow::Result<(Scene, Server)> {
    let mut scene = Scene::with(suite, Storage::Memory, "")?;
    let lab = scene.lab.client_address().to_string();
    let probe = PROBE.replace("LAB", &lab).replace("HOST", &scene.host.address().to_string());
    for name in ["net", "bus", "write", "none"] {
        scene.host.write_file(format!("/opt/{name}"), probe.clone(), 0o755)?;
    }
    scene.host.write_file("/root/server.py", SERVER, 0o644)?;
    let start = "systemd-run -q --unit=net-test python3 /root/server.py /tmp/net-test.sock @net-test; \
        until journalctl -u net-test | grep -q ready; do sleep 0.05; done";
    scene.host.sh(start)?;
    let beside = Server::start(scene.lab.client_command("/usr/bin/python3")?, &[])?;
    scene.host.write_file("/etc/tether/ceiling.toml", "write_rules = true\n", 0o644)?;
    scene.restart_agentd()?;
    scene.publish(&bundle(&lab))?;
    Ok((scene, beside))
}

fn results(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, came)| (name.into(), came.into())).collect()
}

fn differing(found: &BTreeMap<String, String>, expected: &[(&str, &[&str])]) -> Vec<String> {
    let line = |name: &str| found.get(name).map_or("nothing", String::as_str).to_owned();
    let wrong = expected.iter().filter(|(name, fits)| !fits.contains(&line(name).as_str()));
    wrong.map(|(name, fits)| format!("{name}: {}, not {fits:?}", line(name))).collect()
}

fn sudo(connection: &Connection<'_>, command: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let ran = connection.run(&format!("sudo {command}"))?;
    ensure!(ran.code == 0, "{command}: {ran:?}");
    Ok(results(&ran.out))
}

fn a_command_reaches_its_destinations_and_nothing_else(suite: Suite) -> Result {
    let (mut scene, _beside) = ready(suite)?;
    let plain = results(&scene.host.sh("/opt/net")?);
    let all: Vec<(&str, &[&str])> = EXPECTED.iter().map(|(name, _)| (*name, DONE)).collect();
    ensure!(differing(&plain, &all).is_empty(), "plain root could not: {:?}", differing(&plain, &all));
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let held = sudo(&connection, "/opt/net")?;
    ensure!(differing(&held, EXPECTED).is_empty(), "{:#?}", differing(&held, EXPECTED));
    ensure!(held.len() == EXPECTED.len(), "{held:?}");
    let written = sudo(&connection, "/opt/write")?;
    ensure!(differing(&written, EXPECTED).is_empty(), "a write rule: {:#?}", differing(&written, EXPECTED));
    // With the bus there are Unix sockets; what the host has of them stays out of reach as without `net`.
    let mut with_bus = EXPECTED.to_vec();
    with_bus.retain(|(name, _)| !["unix", "abstract"].contains(name));
    with_bus.push(("abstract", &["EPERM"]));
    let bus = sudo(&connection, "/opt/bus")?;
    ensure!(differing(&bus, &with_bus).is_empty(), "with the bus: {:#?}", differing(&bus, &with_bus));
    let said = connection.run("tether run /opt/net")?;
    ensure!(differing(&results(&said.out), EXPECTED).is_empty(), "tether run: {said:?}");
    let nc = connection.run("sudo nc.openbsd -N -w 5 127.0.0.1 7002")?;
    ensure!(nc.out == "hello\n", "{nc:?}");
    let nc = connection.run("sudo nc.openbsd -N -w 5 127.0.0.1 7004")?;
    ensure!(nc.out.is_empty() && nc.code != 0, "{nc:?}");
    Ok(())
}

fn without_the_grant_there_are_no_sockets(suite: Suite) -> Result {
    let (mut scene, _beside) = ready(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let none = sudo(&connection, "/opt/none")?;
    let no_family: Vec<(&str, &[&str])> = EXPECTED.iter().map(|(name, _)| (*name, FAMILY)).collect();
    ensure!(differing(&none, &no_family).is_empty(), "{:#?}", differing(&none, &no_family));
    // Programs of one command are not another's: beside it the next has its own.
    ensure!(sudo(&connection, "/opt/net")?["listed"] == "done", "the grant is there all the same");
    drop(connection);
    scene.host.write_file("/etc/tether/ceiling.toml", "grants = ['dbus', 'proc-links']\n", 0o644)?;
    scene.restart_agentd()?;
    let (_, agent) = scene.session()?;
    let refused = agent.run("sudo /opt/net")?;
    ensure!(refused.code != 0 && refused.err.contains("ceiling.grants"), "{refused:?}");
    Ok(())
}

/// agentd cannot attach: the command is not run without.
fn what_the_kernel_does_not_hold_is_not_run(suite: Suite) -> Result {
    let (mut scene, _beside) = ready(suite)?;
    let doctor = scene.host.sh("tether --json doctor confine")?;
    ensure!(doctor.contains("\"address_programs\":true"), "{doctor}");
    let folder = "/etc/systemd/system/tether-agentd.service.d";
    scene.host.sh(&format!("mkdir -p {folder}; printf '[Service]\\nSystemCallFilter=~bpf\\n' > {folder}/no-bpf.conf; systemctl daemon-reload"))?;
    scene.restart_agentd()?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let refused = connection.run("sudo /opt/net")?;
    ensure!(refused.code == 126 && refused.out.is_empty() && refused.err.contains("host.net"), "{refused:?}");
    ensure!(scene.trail()?.has_code("host.net"), "{:?}", scene.trail()?.codes());
    ensure!(
        scene.host.sh("find /sys/fs/cgroup -path '*tether.sessions*' -name 'run-*' | wc -l")?.trim() == "0",
        "a cgroup is left"
    );
    ensure!(connection.run("sudo /opt/none")?.code == 0, "what needs no destinations runs");
    Ok(())
}

fn connections_end_with_their_session(suite: Suite) -> Result {
    let (mut scene, mut beside) = ready(suite)?;
    let lab = scene.lab.client_address();
    let (draft, agent) = scene.session()?;
    let mut client = agent.client("ssh")?;
    let mut client = client
        .args(["-tt", &agent.destination, &format!("sudo nc.openbsd -d {lab} 7001")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    BufReader::new(client.stdout.take().context("no stdout")?).read_line(&mut said)?;
    ensure!(said.trim() == "hello", "{said:?}");
    let open = || scene.host.sh("ss -Htn state established dport = :7001");
    ensure!(open()?.lines().count() == 1, "it is connected");
    let cgroups = || scene.host.sh("find /sys/fs/cgroup -path '*tether.sessions*' -name 'run-*' | wc -l");
    ensure!(cgroups()?.trim() == "1", "it has a cgroup");
    scene.central.revoke(&scene.host, Revocation::Session(draft.grant.session.clone()))?;
    ensure!(beside.line()? == "closed\n", "the other end is told");
    scene.wait_gone(draft.grant.session.as_str())?;
    ensure!(scene.host.sh("ss -Htn state established dport = :7001")?.is_empty(), "something is still connected");
    ensure!(
        scene.host.sh("find /sys/fs/cgroup -path '*tether.sessions*' -name 'run-*' | wc -l")?.trim() == "0",
        "a cgroup is left"
    );
    let _ = client.kill();
    client.wait()?;
    Ok(())
}
