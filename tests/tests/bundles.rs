//! Bundles on a host: which one is used, what its rules allow, and how commands are bounded.

use anyhow::ensure;
use std::time::{Duration, Instant};
use tether_testhost::{Storage, Suite};
use tether_tests::agent::{Connection, Ran};
use tether_tests::{Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    rules_say_what_arguments_may_be,
    a_path_argument_leads_nowhere_else,
    a_list_is_for_people_and_for_models,
    a_bundle_that_is_not_right_changes_nothing,
    a_bundle_grows_stale,
    the_ceiling_wins_over_any_bundle,
    a_command_has_its_time_and_its_output,
);

const RULES: &str = r#"
name = "triage"
version = 7
about = "Looks at logs"

[read]
trees = ["/usr", "/var/log", "/etc"]

[[rule]]
id = "log"
program = "/usr/bin/cat"
arguments = [{ path = "/var/log/app" }]

[[rule]]
id = "last-lines"
program = "/usr/bin/tail"
arguments = ["-n", { integer = [1, 100] }]
rest = { path = "/var/log/app", min = 1, max = 3 }

[[rule]]
id = "port"
program = "/usr/bin/echo"
arguments = [{ regex = "[a-z]+" }, { one_of = ["ssh", "http"] }]

[[rule]]
id = "no-secrets"
deny = true
program = "/usr/bin/cat"
arguments = [{ path = "/var/log/app/private" }]

[[rule]]
id = "here"
program = "/usr/bin/env"
arguments = "none"
cwd = "/var/log"
environment = { LC_ALL = "C" }
"#;

fn ready(suite: Suite, source: &str) -> anyhow::Result<Scene> {
    let mut scene = Scene::with(suite, Storage::Memory, "")?;
    scene.host.sh("mkdir -p /var/log/app/private /srv/other && echo one > /var/log/app/a.log && echo s > /var/log/app/private/s && echo else > /srv/other/x")?;
    scene.publish(source)?;
    Ok(scene)
}

fn sudo(connection: &Connection<'_>, command: &str) -> anyhow::Result<Ran> {
    connection.run(&format!("sudo {command}"))
}

fn refused(connection: &Connection<'_>, command: &str, code: &str) -> Result {
    let ran = sudo(connection, command)?;
    ensure!(ran.code == 1 && ran.err.contains(&format!("[{code}]")) && ran.out.is_empty(), "{command}: {ran:?}");
    Ok(())
}

fn rules_say_what_arguments_may_be(suite: Suite) -> Result {
    let mut scene = ready(suite, RULES)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    for (command, out) in [
        ("cat /var/log/app/a.log", "one\n"),
        ("tail -n 1 /var/log/app/a.log", "one\n"),
        ("echo port ssh", "port ssh\n"),
    ] {
        let ran = sudo(&connection, command)?;
        ensure!(ran.code == 0 && ran.out == out, "{command}: {ran:?}");
    }
    for (command, code) in [
        ("cat /var/log/app/private/s", "bundle.denied_by_rule"),
        ("cat /var/log/app/a.log /var/log/app/a.log", "bundle.arguments"),
        ("cat /var/log/appx", "bundle.arguments"),
        ("cat /var/log/app/../auth.log", "bundle.denied_by_rule"),
        ("cat /etc/hosts", "bundle.arguments"),
        ("tail -n 101 /var/log/app/a.log", "bundle.arguments"),
        ("tail -n 1", "bundle.arguments"),
        ("tail -n +1 /var/log/app/a.log", "bundle.arguments"),
        ("echo port ssh -n", "bundle.arguments"),
        ("echo Port ssh", "bundle.arguments"),
        ("id", "bundle.no_rule"),
    ] {
        refused(&connection, command, code)?;
    }
    let env = sudo(&connection, "env")?;
    ensure!(env.out.contains("LC_ALL=C\n") && !env.out.contains("SUDO_"), "{env:?}");
    let trail = scene.trail()?;
    let allowed: Vec<_> = trail.of(draft.grant.session.as_str()).filter(|l| l.event.event == "sudo.command").collect();
    let first = allowed.first().map(|link| &link.event.details);
    let reached = first.and_then(|details| details.get("paths")?.get(0)?.as_str());
    ensure!(reached == Some("/var/log/app/a.log"), "the record does not say what was reached: {first:?}");
    Ok(())
}

fn a_path_argument_leads_nowhere_else(suite: Suite) -> Result {
    let mut scene = ready(suite, RULES)?;
    scene.host.sh("cd /var/log/app && ln -s /etc/hostname out && ln -s ../../../etc/hostname up && ln -s a.log in && ln -s /proc/self/root/etc root && ln -s /srv/other other")?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(sudo(&connection, "cat /var/log/app/in")?.out == "one\n", "a link inside does not work");
    for path in ["out", "up", "root/hostname", "other/x"] {
        refused(&connection, &format!("cat /var/log/app/{path}"), "bundle.path")?;
    }
    let none = sudo(&connection, "cat /var/log/app/none")?;
    ensure!(none.code == 1 && none.err.contains("No such file"), "{none:?}");
    let relative = connection.run("cd /var/log/app && sudo cat a.log")?;
    ensure!(relative.out == "one\n", "a relative path does not work: {relative:?}");
    Ok(())
}

fn a_list_is_for_people_and_for_models(suite: Suite) -> Result {
    let mut scene = ready(suite, RULES)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let list = sudo(&connection, "-l")?;
    ensure!(list.code == 0 && list.out.starts_with("You may run, by bundle triage version 7:\n"), "{list:?}");
    ensure!(list.out.contains("/usr/bin/tail -n"), "{list:?}");
    let data = sudo(&connection, "-l -l")?;
    let json: serde_json::Value = serde_json::from_str(&data.out)?;
    ensure!(json["bundle"] == "triage" && json["version"] == 7 && json["about"] == "Looks at logs", "{json}");
    let rules: Vec<_> = json["allowed"].as_array().into_iter().flatten().map(|rule| &rule["rule"]).collect();
    ensure!(rules == ["log", "last-lines", "port", "here"], "{json}");
    ensure!(json["denied"][0]["rule"] == "no-secrets", "{json}");
    Ok(())
}

fn a_bundle_that_is_not_right_changes_nothing(suite: Suite) -> Result {
    let mut scene = ready(suite, RULES)?;
    let (good, text) = scene.central.sign_bundle(&RULES.replace("version = 7", "version = 8"))?;
    let huge = "a".repeat(9 << 20);
    let unsigned = text.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap_or_default();
    let of_central = scene.central.grant_key.sign(tether_statement::Typ::Bundle, &good)?;
    let malformed =
        scene.central.bundle_key.sign(tether_statement::Typ::Bundle, &serde_json::json!({"name": "triage"}))?;
    scene.central.deliver_bundle(&scene.host, &text)?;
    scene.wait("the foreign bundle's refusal", |_| scene.trail().is_ok_and(|t| t.has_code("bundle.not_pinned")))?;
    scene.central.drop(&scene.host, "bundle-huge.jws", &huge)?;
    scene.wait("the huge bundle's refusal", |_| scene.trail().is_ok_and(|t| t.has_code("inbox.unreadable")))?;
    let mut version = 8;
    for bad in [&unsigned, &of_central, &malformed] {
        version += 1;
        let mut named = good.clone();
        named.version = version;
        let before = refusals(&scene)?;
        scene.central.pin(&scene.host, &named, bad)?;
        scene.central.deliver_bundle(&scene.host, bad)?;
        scene.wait("its refusal", |_| refusals(&scene).is_ok_and(|now| now > before))?;
        let status = scene.status()?;
        let here = status.bundles.first();
        let stays = here.is_some_and(|b| b.version == Some(7) && b.named == version && b.state == "usable");
        ensure!(stays, "the last good bundle does not stay: {here:?}");
    }
    scene.restart_agentd()?;
    let (_, agent) = scene.session()?;
    let ran = sudo(&agent.connect()?, "cat /var/log/app/a.log")?;
    ensure!(ran.out == "one\n", "after a restart: {ran:?}");
    Ok(())
}

/// How many bundles were refused so far, those that were only counted included.
fn refusals(scene: &Scene) -> anyhow::Result<usize> {
    let journal = scene.host.journal("tether-agentd")?;
    Ok(journal.matches("[bundle.refused]").count())
}

fn a_bundle_grows_stale(suite: Suite) -> Result {
    let mut scene = ready(suite, RULES)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let confirmed = |scene: &mut Scene, version: u64, ago: u64, more: &str| -> anyhow::Result<()> {
        let source = RULES.replace("version = 7", &format!("version = {version}")) + more;
        let (bundle, text) = scene.central.sign_bundle(&source)?;
        scene.central.pin(&scene.host, &bundle, &text)?;
        scene.central.deliver_bundle(&scene.host, &text)?;
        scene.central.confirm(&scene.host, &bundle, &text, scene.central.now() - ago)?;
        scene.wait("the bundle", |status| {
            status.bundles.iter().any(|b| b.version == Some(version) && b.state != "bundle.unconfirmed")
        })
    };
    confirmed(&mut scene, 8, 24 * 3600 - 60, "")?;
    ensure!(sudo(&connection, "cat /var/log/app/a.log")?.code == 0, "a day is not over");
    confirmed(&mut scene, 9, 24 * 3600 + 60, "")?;
    refused(&connection, "cat /var/log/app/a.log", "bundle.stale")?;
    let writes = "[[rule]]\nid = 'w'\nprogram = '/usr/bin/tee'\narguments = ['/etc/motd']\nmode = 'write'\nrun_as = 'root'\nwrites = ['/etc/motd']\n";
    confirmed(&mut scene, 10, 3600 - 60, writes)?;
    ensure!(sudo(&connection, "cat /var/log/app/a.log")?.code == 0, "an hour is not over");
    confirmed(&mut scene, 11, 3600 + 60, writes)?;
    refused(&connection, "cat /var/log/app/a.log", "bundle.stale")
}

fn the_ceiling_wins_over_any_bundle(suite: Suite) -> Result {
    let mut scene = ready(suite, RULES)?;
    let more = "[[rule]]\nid = 'w'\nprogram = '/usr/bin/tee'\narguments = ['/etc/motd']\nmode = 'write'\nrun_as = 'root'\nwrites = ['/etc/motd']\n\
        [[rule]]\nid = 'p'\nprogram = '/usr/bin/ss'\narguments = 'none'\ngrants = ['proc-links']\n";
    scene.publish(&(RULES.replace("version = 7", "version = 8") + more))?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    refused(&connection, "tee /etc/motd", "ceiling.write_rules")?;
    drop(connection);
    scene.host.write_file("/etc/tether/ceiling.toml", "grants = ['dbus']\n", 0o644)?;
    scene.restart_agentd()?;
    let (_, agent) = scene.session()?;
    refused(&agent.connect()?, "ss", "ceiling.grants")?;
    scene.host.write_file("/etc/tether/ceiling.toml", "grants = ['root']\n", 0o644)?;
    let failed = scene.host.sh("systemctl restart tether-agentd; sleep 0.1; journalctl -u tether-agentd -n 5")?;
    ensure!(failed.contains("grants: \"root\" is none of"), "{failed}");
    Ok(())
}

const BOUNDED: &str = r#"
name = "triage"
version = 7
[[rule]]
id = "sleep"
program = "/usr/bin/sleep"
arguments = ["1000"]
time_limit = "1s"
[[rule]]
id = "yes"
program = "/usr/bin/yes"
arguments = "none"
output_limit = "1MiB"
"#;

fn a_command_has_its_time_and_its_output(suite: Suite) -> Result {
    let mut scene = ready(suite, BOUNDED)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let start = Instant::now();
    let slept = sudo(&connection, "sleep 1000")?;
    let took = start.elapsed();
    ensure!(
        slept.code != 0 && took > Duration::from_millis(900) && took < Duration::from_secs(10),
        "{slept:?} {took:?}"
    );
    let yes = connection.run("sudo yes | wc -c")?;
    let printed: u64 = yes.out.trim().parse()?;
    // Up to what the pipes on the way hold may come after the limit.
    ensure!((1 << 20..8 << 20).contains(&printed), "{printed} bytes");
    let trail = scene.trail()?;
    ensure!(trail.has_code("command.time_limit") && trail.has_code("command.output_limit"), "{:?}", trail.codes());
    ensure!(scene.host.sh("pgrep -xc 'yes|sleep'; true")?.trim() == "0", "something still runs");
    Ok(())
}
