//! A mistake in one of our modules: it panics where it is entered. The program that loaded it lives, nothing is
//! printed by the panic, people get what they would get without us, and an agent is refused.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_faults::{FOLDER, Panic};
use tether_testhost::Suite;
use tether_tests::agent::Ran;
use tether_tests::scene::faulty;
use tether_tests::{People, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(look_ups_that_panic, gates_that_panic, a_sudo_plugin_that_panics);

/// The modules as they are built for this, and as the package puts them.
const MODULES: [(&str, &str); 3] = [
    ("libnss_tether.so", "/usr/lib/x86_64-linux-gnu/libnss_tether.so.2"),
    ("libpam_tether.so", "/usr/lib/x86_64-linux-gnu/security/pam_tether.so"),
    ("libsudo_tether.so", "/usr/libexec/sudo/sudo_tether.so"),
];

/// A host with the modules that can panic, and people on it.
fn host(suite: Suite) -> anyhow::Result<(Scene, People)> {
    let scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    for (built, installed) in MODULES {
        scene.host.copy_in(faulty(built)?, installed, 0o644)?;
    }
    // As an agent's processes see it: everybody may look, nobody but root may arm.
    scene.host.sh(&format!("mkdir -m 755 {FOLDER}"))?;
    Ok((scene, people))
}

/// Only agents come by these, for whom all is read-only where the mark would be; what they get shows it.
const AGENTS_ONLY: [Panic; 4] = [Panic::SudoList, Panic::SudoValidate, Panic::SudoVersion, Panic::SudoClose];

/// With one place armed, does and looks; then nothing that was running has died.
fn armed(scene: &mut Scene, at: Panic, deed: impl FnOnce(&mut Scene) -> Result) -> Result {
    let sshd = scene.host.sh("systemctl show -p MainPID -p NRestarts ssh")?;
    scene.host.write_file(at.path(), "", 0o644)?;
    let done = deed(scene);
    let reached = scene.host.exec(&["rm", &at.reached().display().to_string()])?.status.success();
    scene.host.sh(&format!("rm {}", at.path().display()))?;
    done.with_context(|| format!("{at:?}"))?;
    ensure!(reached || AGENTS_ONLY.contains(&at), "{at:?}: nobody came by");
    ensure!(scene.host.sh("systemctl show -p MainPID -p NRestarts ssh")? == sshd, "{at:?}: sshd is another");
    let died = scene.host.sh("journalctl -q -b | grep -iE 'panicked|core-dump|dumped core|SIGABRT|SIGSEGV'; true")?;
    ensure!(died.is_empty(), "{at:?}: something died, or said too much:\n{died}");
    Ok(())
}

fn run(scene: &Scene, text: &str) -> anyhow::Result<Ran> {
    let ran = Ran::from(scene.host.exec(&["sh", "-c", text])?);
    ensure!((0..128).contains(&ran.code), "{text}: it died: {ran:?}");
    ensure!(!ran.err.contains("panicked"), "{text}: {ran:?}");
    Ok(ran)
}

fn people_work(scene: &Scene, people: &People) -> Result {
    let bob = people.ssh("bob", "sudo -n id -u")?;
    ensure!(bob.out == "0\n", "bob: {bob:?}");
    let carol = people.ssh("carol", "echo rightcarol | sudo -k -S -p '' id -u")?;
    ensure!(carol.out == "0\n", "carol: {carol:?}");
    let su = scene.host.sh("su - bob -c 'id -un'")?;
    ensure!(su == "bob\n", "su: {su}");
    Ok(())
}

fn look_ups_that_panic(suite: Suite) -> Result {
    let (mut scene, people) = host(suite)?;
    let (draft, _) = scene.session()?;
    let uid = scene.host.sh(&format!("id -u {}", draft.login))?.trim().to_owned();
    let name = &draft.login;
    let asked = [
        (Panic::NssPasswdByName, format!("getent passwd {name}")),
        (Panic::NssPasswdByUid, format!("getent passwd {uid}")),
        (Panic::NssGroupByName, format!("getent group {name}")),
        (Panic::NssGroupByGid, format!("getent group {uid}")),
    ];
    for (at, _) in &asked {
        armed(&mut scene, *at, |scene| {
            for (of, look_up) in &asked {
                let ran = run(scene, look_up)?;
                let expected = if of == at { 2 } else { 0 };
                ensure!(ran.code == expected && ran.err.is_empty(), "{look_up}: {ran:?}");
            }
            for text in [&format!("id {name}"), &format!("id {uid}"), "ls -ld /root", "ps aux", "getent passwd bob"] {
                run(scene, text)?;
            }
            people_work(scene, &people)
        })?;
    }
    armed(&mut scene, Panic::NssInitgroups, |scene| {
        // glibc goes on to the next source, which has no group of the agent's either.
        ensure!(run(scene, &format!("id -G {name}"))?.out.trim() == uid, "another group");
        people_work(scene, &people)
    })?;
    armed(&mut scene, Panic::NssPasswdByName, |scene| {
        let (_, agent) = scene.session()?;
        let ran = agent.run("echo in")?;
        ensure!(ran.code == 255 && ran.out.is_empty(), "whom nobody knows came in: {ran:?}");
        Ok(())
    })?;
    comes_in(&mut scene)?;
    people.day(&scene.host).map(drop)
}

/// Positive control: with nothing armed the same modules let an agent in, to work and to leave.
fn comes_in(scene: &mut Scene) -> Result {
    let (draft, agent) = scene.session()?;
    let ran = agent.run("sudo uptime >/dev/null && echo in")?;
    ensure!(ran.out == "in\n", "with nothing armed an agent cannot work: {ran:?}");
    scene.wait_gone(draft.grant.session.as_str()).map(drop)
}

/// The profile has no password phase: this puts the module into the service that a person's new password goes by.
const PASSWORD: &str = "sed -i '1i password [success=ok ignore=ignore module_unknown=ignore default=die] pam_tether.so' /etc/pam.d/chpasswd";

fn gates_that_panic(suite: Suite) -> Result {
    let (mut scene, people) = host(suite)?;
    comes_in(&mut scene)?;
    for at in [Panic::PamAccount, Panic::PamOpen, Panic::PamSetcred] {
        armed(&mut scene, at, |scene| {
            let (draft, agent) = scene.session()?;
            let ran = agent.run("echo in")?;
            ensure!(ran.code != 0 && ran.out.is_empty(), "an agent came in: {ran:?}");
            scene.host.sh(&format!("tether session end {}; true", draft.grant.session))?;
            scene.wait_gone(draft.grant.session.as_str())?;
            people_work(scene, &people)
        })?;
    }
    armed(&mut scene, Panic::PamAuthenticate, |scene| {
        let (draft, _) = scene.session()?;
        let su = scene.host.command("su").args(&["-c", "echo in", &draft.login]).user("bob").stdin("x\n").output()?;
        ensure!(!su.status.success() && su.stdout.is_empty(), "su to an agent: {su:?}");
        people_work(scene, &people)
    })?;
    armed(&mut scene, Panic::PamClose, |scene| {
        // It changes nothing: the monitor's end is what counts.
        comes_in(scene)?;
        people_work(scene, &people)
    })?;
    scene.host.sh(PASSWORD)?;
    armed(&mut scene, Panic::PamPassword, |scene| {
        let (draft, _) = scene.session()?;
        let ran = run(scene, &format!("echo {}:new | chpasswd", draft.login))?;
        ensure!(ran.code != 0, "an agent has a password: {ran:?}");
        scene.host.sh("echo carol:other | chpasswd; echo carol:rightcarol | chpasswd")?;
        people_work(scene, &people)
    })?;
    comes_in(&mut scene)?;
    people.day(&scene.host).map(drop)
}

/// What an agent asks sudo, and whether it may get an answer while one place panics.
struct Asked {
    at: Panic,
    command: &'static str,
    /// Refused, with another exit status than 0 and nothing on stdout; else as without.
    refused: bool,
}

const ASKED: [Asked; 13] = {
    use Panic::*;
    const fn asked(at: Panic, command: &'static str, refused: bool) -> Asked {
        Asked { at, command, refused }
    }
    [
        asked(SudoOpen, "sudo uptime", true),
        asked(SudoCheck, "sudo uptime", true),
        asked(SudoList, "sudo -l", true),
        asked(SudoValidate, "sudo -v", true),
        asked(SudoVersion, "sudo -V | grep 'Tether policy'", true),
        // agentd sees sudo's end by itself.
        asked(SudoClose, "sudo uptime", false),
        // An agent has no hooks.
        asked(SudoHooks, "sudo uptime", false),
        asked(AuditOpen, "sudo uptime", true),
        asked(AuditAccept, "sudo uptime", true),
        asked(AuditReject, "sudo bash", true),
        asked(AuditHooks, "sudo uptime", false),
        asked(IoOpen, "sudo uptime", true),
        asked(IoHooks, "sudo uptime", false),
    ]
};

/// sudo did not say how the command ended, so agentd saw sudo's own end, and the record has no exit status.
fn sudos_end_was_seen(scene: &Scene) -> Result {
    let start = Instant::now();
    loop {
        let trail = scene.trail()?;
        let ended = trail.0.iter().rfind(|link| link.event.event == "sudo.ended").context("no command ended")?;
        if ended.event.details.get("status").is_some_and(serde_json::Value::is_null) {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(5), "sudo told its end: {:?}", ended.event.details);
    }
}

fn a_sudo_plugin_that_panics(suite: Suite) -> Result {
    let (mut scene, people) = host(suite)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let ask = |command: &str| -> anyhow::Result<Ran> {
        let ran = connection.run(&format!("{command}; echo \"code $?\" >&2"))?;
        ensure!(ran.code == 0, "the shell: {ran:?}");
        Ok(ran)
    };
    for Asked { at, command, refused } in &ASKED {
        let without = ask(command)?;
        ensure!(without.err.contains("code 0") || *at == Panic::AuditReject, "{command}: {without:?}");
        armed(&mut scene, *at, |scene| {
            let ran = ask(command)?;
            let code = ran.err.lines().find_map(|line| line.strip_prefix("code ")).unwrap_or_default().to_owned();
            ensure!(code.parse::<u32>().is_ok_and(|code| code < 128), "sudo died: {ran:?}");
            ensure!((code != "0" && ran.out.is_empty()) == *refused, "{command}: {ran:?}");
            if *at == Panic::SudoClose {
                sudos_end_was_seen(scene)?;
            }
            // A person's sudo: run, refused, listed, validated, asked for its version and its password.
            people_work(scene, &people)?;
            for (who, command, expected) in [
                ("bob", "sudo -n -l >/dev/null && sudo -n -v && sudo -V >/dev/null && sudo -k && echo fine", "fine\n"),
                ("bob", "sudo -n -u carol id -un", "carol\n"),
                ("carol", "sudo -n id -u 2>&1", "sudo: a password is required\n"),
            ] {
                let ran = people.ssh(who, command)?;
                ensure!(ran.out == expected, "{who}: {command}: {ran:?}");
            }
            Ok(())
        })?;
    }
    ensure!(ASKED.len() + 11 == Panic::ALL.len(), "a place where a module is entered has no test here");
    drop(connection);
    scene.wait("the session's end", |status| status.sessions.is_empty())?;
    comes_in(&mut scene)?;
    people.day(&scene.host).map(drop)
}
