//! The host's audit chain on a real host: what each record came of, who may read its files, and what happens to agents
//! when it was put back.

use anyhow::{Context, ensure};
use tether_audit::{Link, Parent};
use tether_testhost::Suite;
use tether_tests::{People, Scene, Trail, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    one_session_is_one_tree,
    the_journal_has_a_copy,
    its_files_are_roots_and_the_couriers,
    a_chain_that_was_put_back_admits_nobody,
);

fn find<'t>(trail: &'t Trail, session: &'t str, event: &str) -> anyhow::Result<&'t Link> {
    trail.of(session).find(|link| link.event.event == event).with_context(|| format!("no {event}"))
}

fn one_session_is_one_tree(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let granted = scene.central.feed.position().number;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");
    // What is known of causes outlives agentd.
    scene.restart_agentd()?;
    ensure!(connection.run("sudo cat /etc/shadow")?.code != 0, "a secret was read");
    // Bytes that are not text: refused, and each on record as it was.
    for byte in ["377", "376"] {
        let ran = connection.run(&format!("sudo ls \"$(printf 'a\\{byte}')\""))?;
        ensure!(ran.err.contains("[sudo.not_utf8]"), "{ran:?}");
    }
    connection.close();
    let session = draft.grant.session.as_str();
    scene.wait_gone(session)?;
    let trail = scene.trail()?;
    let host = find(&trail, session, "login.bound")?.host.clone();
    let under = |event: &str, of: &str| -> Result {
        let (link, of) = (find(&trail, session, event)?, find(&trail, session, of)?);
        let wanted = Some(Parent::record(&host, of.number));
        ensure!(link.event.parent == wanted, "{event} came of {:?}, not of {wanted:?}", link.event.parent);
        Ok(())
    };
    let reserved = find(&trail, session, "session.reserved")?;
    ensure!(reserved.event.parent == Some(Parent::statement(&host, granted)), "{:?}", reserved.event.parent);
    under("login.bound", "session.reserved")?;
    under("sudo.command", "login.bound")?;
    under("sudo.ended", "sudo.command")?;
    under("session.ending", "session.reserved")?;
    under("session.removed", "session.ending")?;
    let login = Some(Parent::record(&host, find(&trail, session, "login.bound")?.number));
    let refused: Vec<&Link> = trail.of(session).filter(|link| !link.event.code.is_empty()).collect();
    ensure!(refused.len() == 3 && refused.iter().all(|link| link.event.parent == login), "{refused:#?}");
    let bytes: Vec<_> = refused.iter().filter(|link| link.event.code == "sudo.not_utf8").collect();
    ensure!(bytes[0].event.details["argv"] != bytes[1].event.details["argv"], "two lines have one record");
    let ended = &find(&trail, session, "sudo.ended")?.event.details;
    ensure!(ended["exit"] == 0 && ended["used"]["user_us"].is_u64(), "{ended:?}");
    Ok(())
}

/// Who looks in the journal finds what the chain says, by human, session or outcome; and nothing of what was hidden.
fn the_journal_has_a_copy(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    ensure!(scene.host.sh("journalctl -q -t tether-audit")?.is_empty(), "a copy that nobody asked for");
    scene.host.sh("printf '[audit]\\njournal = true\\n' >> /etc/tether/host.toml")?;
    scene.restart_agentd()?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo cat /etc/shadow --token=hunter2")?.code != 0, "a secret was read");
    connection.close();
    let session = draft.grant.session.as_str();
    scene.wait_gone(session)?;
    let trail = scene.trail()?;
    let numbers: Vec<u64> = trail.of(session).map(|link| link.number).collect();
    let last = numbers.last().context("no record")?;
    // The copy comes after the record; nobody waits for it, so the test does.
    let follow = format!(
        "timeout 30 journalctl -t tether-audit -n all -f -o cat --output-fields=TETHER_NUMBER | grep -qx {last}"
    );
    scene.host.sh(&follow)?;
    let found = scene.host.sh(&format!("journalctl -o json -t tether-audit TETHER_SESSION={session}"))?;
    let entries: Vec<serde_json::Value> =
        found.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let copied: Vec<u64> = entries.iter().filter_map(|entry| entry["TETHER_NUMBER"].as_str()?.parse().ok()).collect();
    ensure!(copied == numbers, "the journal has {copied:?}, the chain {numbers:?}");
    let refused = scene.host.sh("journalctl -o cat -t tether-audit TETHER_OUTCOME=refused")?;
    ensure!(refused.contains("alice@example.org by triage: sudo.command refused"), "{refused}");
    ensure!(refused.contains("/etc/shadow (hidden)") && !found.contains("hunter2"), "{refused}");
    Ok(())
}

fn its_files_are_roots_and_the_couriers(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.session()?;
    let reads = |user: &str, what: &str| -> anyhow::Result<bool> {
        let done =
            scene.host.exec(&["setpriv", "--reuid", user, "--regid", user, "--init-groups", "sh", "-c", what])?;
        Ok(done.status.success())
    };
    ensure!(reads("tether-courier", "cat /var/lib/tether/audit/*.jsonl >/dev/null")?, "the courier cannot read it");
    ensure!(reads("tether-courier", "cat /var/lib/tether/audit/start.json >/dev/null")?, "nor what it begins with");
    for file in ["audit/key", "trust.json", "spent.jsonl", "uids", "bundles.json"] {
        scene.host.sh(&format!("test -f /var/lib/tether/{file}"))?;
        for user in ["tether-courier", "nobody"] {
            let user = if user == "nobody" { "tether-principals" } else { user };
            ensure!(!reads(user, &format!("cat /var/lib/tether/{file}"))?, "{user} reads {file}");
        }
    }
    for what in ["ls /var/lib/tether", "ls /var/lib/tether/sessions"] {
        ensure!(!reads("tether-courier", what)?, "the courier may {what}");
    }
    ensure!(!reads("tether-courier", "echo >> /var/lib/tether/audit/00000000000000000001.jsonl")?, "it may write");
    ensure!(!reads("tether-principals", "ls /var/lib/tether/audit")?, "others look into the chain's folder");
    let modes = "find /var/lib/tether -mindepth 1 -perm /o+rwx ! -name start.json ! -type l; true";
    let open = scene.host.sh(modes)?;
    ensure!(open.is_empty(), "open to everybody:\n{open}");
    // An orderly stop signs a last head over all that there is.
    scene.host.sh("systemctl stop tether-agentd")?;
    let text = Trail::text(&scene.host)?;
    ensure!(text.lines().last().is_some_and(|line| line.starts_with("{\"head\"")), "no last head");
    Ok(())
}

fn a_chain_that_was_put_back_admits_nobody(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    scene
        .host
        .sh("systemctl stop tether-agentd; cp -a /var/lib/tether/audit /root/old; systemctl start tether-agentd")?;
    scene.resume()?;
    let (draft, agent) = scene.session()?;
    ensure!(agent.run("echo in")?.out == "in\n", "control: nobody is let in");
    scene.wait_gone(draft.grant.session.as_str())?;
    let (_, waits) = scene.session()?;
    scene.host.sh(
        "systemctl stop tether-agentd; cd /var/lib/tether/audit; rm *.jsonl; cp -a /root/old/*.jsonl .; systemctl start tether-agentd",
    )?;
    scene.answer()?;
    scene.wait("that the chain was cut", |status| status.state == "audit.cut")?;
    let ran = waits.run("echo in")?;
    ensure!(ran.code != 0 && ran.out.is_empty(), "an agent is let in: {ran:?}");
    ensure!(scene.host.journal("tether-agentd")?.contains("[audit.cut]"), "nobody is told");
    people.day(&scene.host).context("people, beside a chain that was put back").map(drop)
}
