//! Installing, upgrading and removing: people work all the while, a host that does not fit is left alone, and
//! purge leaves what was there before.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tether_testhost::{Host, HostSpec, Image, Lab, Suite};
use tether_tests::agent::Ran;
use tether_tests::scene::{central_package, package};
use tether_tests::snapshot::Snapshot;
use tether_tests::{People, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    people_work_all_the_while,
    purge_leaves_what_was_there,
    ids_and_names_that_are_taken_stop_it,
    a_sudo_that_is_not_stock_is_left_alone,
    a_broken_sudo_plugin_is_taken_out_again,
);

/// What may differ between before an installation and after a purge.
const ALLOWED: &str = include_str!("../purge.txt");

fn bare(suite: Suite) -> anyhow::Result<(Lab, Host)> {
    let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?;
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("web-01", &image))?;
    host.wait_ready(Duration::from_secs(60))?;
    Ok((lab, host))
}

/// sshd listens again after a reload.
fn settled(host: &Host) -> Result {
    host.sh("sleep 0.3")?;
    Ok(host.wait_port(22, Duration::from_secs(10))?)
}

/// Whoever reads the documents on a host finds what they speak of.
#[test]
fn the_documents_of_the_packages_link_to_what_is_there() -> Result {
    for package in [package()?, central_package()?] {
        let place = tempfile::tempdir()?;
        let unpacked = Command::new("dpkg-deb").arg("-x").arg(&package).arg(place.path()).status()?;
        ensure!(unpacked.success(), "{} cannot be unpacked", package.display());
        let (mut documents, mut links) = (0, 0);
        for folder in ["", "docs", "docs/decisions"] {
            let folder = documents_of(place.path())?.join(folder);
            for entry in std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
                let path = entry?.path();
                if path.extension().is_some_and(|kind| kind == "md") {
                    documents += 1;
                    links += links_are_there(&path)?;
                }
            }
        }
        ensure!(documents > 40 && links > 40, "{}: {documents} documents, {links} links", package.display());
    }
    Ok(())
}

/// The one folder of documents that a package has.
fn documents_of(place: &Path) -> anyhow::Result<PathBuf> {
    let mut folders = std::fs::read_dir(place.join("usr/share/doc"))?;
    Ok(folders.next().context("a package without documents")??.path())
}

/// How many links a document has, to other documents.
fn links_are_there(path: &Path) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(path)?;
    let folder = path.parent().context("a folder")?;
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut links = 0;
    for target in targets.filter(|target| !target.starts_with("http") && !target.starts_with('#')) {
        let file = target.split('#').next().unwrap_or_default();
        ensure!(folder.join(file).exists(), "{} links to {file}, which is not there", path.display());
        links += 1;
    }
    Ok(links)
}

fn day(people: &People, host: &Host) -> Result {
    settled(host)?;
    people.day(host).map(drop)
}

fn dpkg(host: &Host, arguments: &[&str]) -> anyhow::Result<Ran> {
    let environment = [("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8")];
    let command = environment.iter().fold(host.command("dpkg"), |command, (name, value)| command.env(name, value));
    let ran = command.args(arguments).output()?.into();
    Ok(ran)
}

fn done(host: &Host, arguments: &[&str]) -> anyhow::Result<Ran> {
    let ran = dpkg(host, arguments)?;
    ensure!(ran.code == 0, "dpkg {arguments:?}: {ran:?}");
    Ok(ran)
}

fn install(host: &Host, package: &Path) -> anyhow::Result<Ran> {
    host.copy_in(package, "/root/tether.deb", 0o644)?;
    dpkg(host, &["-i", "/root/tether.deb"])
}

/// The package with another version, changed by `change` in its unpacked form.
fn repacked(folder: &Path, version: &str, change: impl FnOnce(&Path) -> Result) -> anyhow::Result<PathBuf> {
    let (tree, deb) = (folder.join(format!("tree-{version}")), folder.join(format!("tether-{version}.deb")));
    let run = |command: &mut Command| -> Result {
        let output = command.output()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(Command::new("dpkg-deb").arg("-R").arg(package()?).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control)?;
    let lines = text.lines().map(|line| match line.starts_with("Version: ") {
        true => format!("Version: {version}\n"),
        false => format!("{line}\n"),
    });
    std::fs::write(&control, lines.collect::<String>())?;
    change(&tree)?;
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&deb))?;
    Ok(deb)
}

/// What a person does who is logged in all the while: sudo and a look-up many times a second.
const LOGGED_IN: &str = "n=0; while [ -e ~/go ]; do sudo -n true || echo FAILED sudo $?; id carol >/dev/null || echo FAILED id; \
    n=$((n+1)); sleep 0.01; done; echo $n";

/// Does something while one person is logged in and busy, and others come and go. Nothing of theirs may fail.
fn while_people_work<T>(
    people: &People,
    host: &Host,
    (what, reloads): (&str, u32),
    deed: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    settled(host)?;
    host.sh("touch /home/bob/go")?;
    let mut logged_in = people.client("bob")?.arg(LOGGED_IN).stdout(std::process::Stdio::piped()).spawn()?;
    let (over, failures) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (result, (logins, refused)) = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let (mut logins, mut refused) = (0, 0);
            while !over.load(Ordering::SeqCst) || logins < 2 {
                for (who, command) in [("bob", "sudo -n id -u"), ("carol", "echo rightcarol | sudo -k -S -p '' id -u")]
                {
                    match people.ssh(who, command) {
                        Ok(ran) if turned_away(&ran) => refused += 1,
                        Ok(ran) if ran.out == "0\n" && ran.code == 0 => logins += 1,
                        other => failures.lock().unwrap().push(format!("{who}: {other:?}")),
                    }
                    if failures.lock().unwrap().len() > 5 {
                        return (logins, refused);
                    }
                }
            }
            (logins, refused)
        });
        let result = deed();
        over.store(true, Ordering::SeqCst);
        (result, others.join().unwrap_or_default())
    });
    host.sh("rm -f /home/bob/go")?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut logged_in.stdout.take().context("it is piped")?, &mut said)?;
    logged_in.wait()?;
    let result = result.with_context(|| what.to_owned())?;
    let failures = failures.into_inner().unwrap();
    ensure!(failures.is_empty(), "{what}: people who logged in: {failures:#?}");
    ensure!(refused <= reloads * 5, "{what}: sshd turned {refused} people away in {reloads} reloads");
    let rounds: u32 = said.trim().parse().with_context(|| format!("{what}: the person who was logged in: {said}"))?;
    ensure!(logins >= 2 && rounds >= 3, "{what}: {logins} logins and {rounds} rounds say nothing");
    Ok(result)
}

/// sshd does not listen while it reloads, whoever asks it to: for milliseconds, and only for who comes then.
fn turned_away(ran: &Ran) -> bool {
    ran.code == 255
        && ["Connection refused", "Connection reset", "Connection closed"].iter().any(|w| ran.err.contains(w))
}

fn people_work_all_the_while(suite: Suite) -> Result {
    let (lab, host) = bare(suite)?;
    let folder = tempfile::tempdir()?;
    let people = People::new(&lab, &host)?;
    while_people_work(&people, &host, ("nothing", 0), || Ok(()))?;
    let first = while_people_work(&people, &host, ("install", 1), || install(&host, &package()?))?;
    ensure!(first.code == 0 && !first.err.contains("agents"), "it complained: {first:?}");
    let mut scene = Scene::on(lab, host)?;
    let (_, agent) = scene.session()?;
    ensure!(agent.run("sudo uptime")?.code == 0, "an agent cannot work after a live installation");
    while_people_work(&people, &scene.host, ("reinstall", 0), || done(&scene.host, &["-i", "/root/tether.deb"]))?;
    scene.resume()?;

    let newer = repacked(folder.path(), "9.0.0-1", |_| Ok(()))?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime; echo 1 > ~/kept")?.code == 0, "no session");
    scene.host.copy_in(&newer, "/root/newer.deb", 0o644)?;
    while_people_work(&people, &scene.host, ("upgrade", 0), || done(&scene.host, &["-i", "/root/newer.deb"]))?;
    scene.resume()?;
    ensure!(connection.run("cat ~/kept")?.out == "1\n", "the session did not outlive an upgrade");
    let ran = connection.run("sudo uptime")?;
    ensure!(ran.code == 0, "sudo in a session that outlived an upgrade: {ran:?}");
    let (_, agent) = scene.session()?;
    ensure!(agent.run("sudo uptime")?.code == 0, "an agent cannot work after an upgrade");
    day(&people, &scene.host)?;

    while_people_work(&people, &scene.host, ("remove", 0), || done(&scene.host, &["-r", "tether"]))?;
    ensure!(connection.run("echo in")?.out != "in\n", "a session outlived the package");
    let left = scene.host.sh("ps -eo uid=,args= | awk '$1 >= 65536 && $1 <= 99999'; grep -l tether /etc/sudo.conf /etc/nsswitch.conf /etc/pam.d/*; true")?;
    ensure!(left.is_empty(), "after remove: {left}");
    day(&people, &scene.host)?;
    // Removed and installed again, as when somebody tries whether it helps.
    while_people_work(&people, &scene.host, ("install again", 1), || done(&scene.host, &["-i", "/root/newer.deb"]))?;
    scene.resume()?;
    let (_, agent) = scene.session()?;
    ensure!(agent.run("sudo uptime")?.code == 0, "an agent cannot work after remove and install");
    // Not even with agentd down does a session outlive the package.
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    // ssh says that it is in before sshd has opened the session: the session's own word is waited for.
    let mut waiting = connection.start("echo in; (setsid sleep 1001 &) ; exec sleep 1000")?;
    let mut first = [0; 3];
    std::io::Read::read_exact(waiting.stdout.as_mut().context("it is piped")?, &mut first).context("no session")?;
    scene.host.sh("systemctl stop tether-agentd")?;
    let lives = scene.host.sh("pgrep -c -f '^sleep 100[01]$'")?;
    ensure!(lives.trim() == "2", "the session ended with agentd: {lives}");
    ensure!(connection.run("echo on")?.out.is_empty(), "a channel that nobody records");
    while_people_work(&people, &scene.host, ("purge", 1), || done(&scene.host, &["-P", "tether"]))?;
    waiting.wait()?;
    let left = scene.host.sh(
        "ps -eo uid=,args= | awk '$1 >= 65536 && $1 <= 99999'; ls -d /sys/fs/cgroup/tether.sessions 2>/dev/null; true",
    )?;
    ensure!(left.is_empty(), "after purge: {left}");
    day(&people, &scene.host)
}

/// What an admin wrote: whole files count, not only their sizes.
fn settings(host: &Host) -> anyhow::Result<Vec<String>> {
    let text = host.sh(
        "find /etc -xdev -type f -exec sha256sum {} + | sort -k 2; find /etc -xdev -type l -printf '%p %l\\n' | sort",
    )?;
    Ok(text.lines().filter(|line| !line.contains("/etc/ld.so.cache")).map(str::to_owned).collect())
}

fn purge_leaves_what_was_there(suite: Suite) -> Result {
    let (lab, host) = bare(suite)?;
    let people = People::new(&lab, &host)?;
    day(&people, &host)?;
    host.copy_in(package()?, "/root/tether.deb", 0o644)?;
    if host.sh("sshd -T | grep -c ^persourcepenalties; true")?.trim() != "0" {
        host.write_file("/etc/ssh/sshd_config.d/50-tests.conf", "PerSourcePenalties no\n", 0o644)?;
    }
    host.sh("systemctl restart ssh")?;
    // logind keeps a person's own service manager for some seconds after the last login.
    let people_gone = "systemctl stop 'user@*.service'; until [ -z \"$(ls -A /run/user)\" ]; do sleep 0.05; done";
    host.sh(people_gone)?;
    let (files, before) = (settings(&host)?, Snapshot::take(&host)?);
    done(&host, &["-i", "/root/tether.deb"])?;
    ensure!(!before.differences_but(&Snapshot::take(&host)?, ALLOWED).is_empty(), "an installation is not seen");
    let mut scene = Scene::on(lab, host)?;
    let (_, agent) = scene.session()?;
    ensure!(agent.run("sudo uptime; touch ~/x /tmp/x")?.code == 0, "no session");
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    scene.session()?;
    done(&scene.host, &["-P", "tether"])?;
    drop(connection);
    std::thread::sleep(Duration::from_secs(1));
    scene.host.sh(people_gone)?;
    let after = Snapshot::take(&scene.host)?;
    let differences = before.differences_but(&after, ALLOWED);
    ensure!(differences.is_empty(), "purge leaves: {differences:#?}");
    let now = settings(&scene.host)?;
    let differ: Vec<_> = now
        .iter()
        .filter(|line| !files.contains(line))
        .chain(files.iter().filter(|line| !now.contains(line)))
        .collect();
    // The user database's own backups, and its order of writing, are shadow's matter.
    let differ: Vec<_> = differ.into_iter().filter(|line| !line.ends_with('-')).collect();
    ensure!(differ.is_empty(), "purge leaves other settings: {differ:#?}");
    day(&people, &scene.host)
}

fn ids_and_names_that_are_taken_stop_it(suite: Suite) -> Result {
    let (lab, host) = bare(suite)?;
    let people = People::new(&lab, &host)?;
    let cases = [
        ("useradd ag-ops", "userdel ag-ops", "ag-ops"),
        ("groupadd ag-x", "groupdel ag-x", "ag-x"),
        ("useradd -u 70000 zoe", "userdel zoe", "zoe=70000"),
        ("useradd -u 65536 zoe", "userdel zoe", "zoe=65536"),
        ("groupadd -g 99999 zoe", "groupdel zoe", "zoe=99999"),
        (
            "echo bob:70000:1000 >> /etc/subuid",
            "sed -i /:70000:/d /etc/subuid",
            "/etc/subuid gives ids between 65536 and 99999 to: bob",
        ),
        (
            "echo carol:60000:5537 >> /etc/subgid",
            "sed -i /:60000:/d /etc/subgid",
            "/etc/subgid gives ids between 65536 and 99999 to: carol",
        ),
        ("echo bob:1:4294967294 >> /etc/subuid", "sed -i /:1:/d /etc/subuid", "/etc/subuid gives ids"),
    ];
    for (taken, freed, words) in cases {
        host.sh(taken)?;
        let files = settings(&host)?;
        let ran = install(&host, &package()?)?;
        ensure!(ran.code != 0, "{taken}: it was installed");
        ensure!(ran.err.contains(words) && ran.err.contains("nothing was installed"), "{taken}: unclear: {}", ran.err);
        let status = host.sh("dpkg-query -W -f '${Status}' tether 2>/dev/null; ls -d /usr/libexec/tether /run/tether /var/lib/tether /usr/share/tether 2>/dev/null; true")?;
        ensure!(
            !status.contains("installed ") && !status.contains('/') && !status.ends_with("ok installed"),
            "{taken}: left: {status}"
        );
        ensure!(settings(&host)? == files, "{taken}: settings were changed");
        host.sh(freed)?;
    }
    // What every fresh Debian gives to its first users is no obstacle.
    let ranges = host.sh("cat /etc/subuid")?;
    ensure!(ranges.contains("bob:100000:65536"), "bob has no ids of his own: {ranges}");
    let ran = install(&host, &package()?)?;
    ensure!(ran.code == 0, "with all freed: {ran:?}");
    // Who takes such a name later stops the next version as well, and this one goes on.
    host.sh("useradd --badname ag-ops || useradd ag-ops")?;
    let folder = tempfile::tempdir()?;
    let ran = install(&host, &repacked(folder.path(), "9.0.0-1", |_| Ok(()))?)?;
    ensure!(ran.code != 0 && ran.err.contains("ag-ops"), "the upgrade went on: {ran:?}");
    let status = host.sh("dpkg-query -W -f '${Status} ${Version}' tether")?;
    ensure!(status.starts_with("install ok installed 0."), "a stopped upgrade left: {status}");
    day(&people, &host)
}

fn a_sudo_that_is_not_stock_is_left_alone(suite: Suite) -> Result {
    let (lab, host) = bare(suite)?;
    let people = People::new(&lab, &host)?;
    let conf = |host: &Host| host.sh("sha256sum /etc/sudo.conf; stat -c '%a %U %G' /etc/sudo.conf");
    host.sh("printf 'Plugin sudoers_policy sudoers.so\\nPlugin sudoers_io sudoers.so\\n' >> /etc/sudo.conf")?;
    let before = conf(&host)?;
    let ran = install(&host, &package()?)?;
    ensure!(ran.code == 0 && ran.err.contains("names a plugin already; agents get no sudo"), "{ran:?}");
    ensure!(conf(&host)? == before, "sudo.conf was changed");
    day(&people, &host)?;
    done(&host, &["-P", "tether"])?;
    ensure!(conf(&host)? == before, "sudo.conf was changed by purge");
    host.sh("sed -i '/^Plugin/d' /etc/sudo.conf; mv /usr/libexec/sudo/sudoers.so /root")?;
    let before = conf(&host)?;
    let ran = install(&host, &package()?)?;
    ensure!(ran.code == 0 && ran.err.contains("sudoers.so is not there"), "{ran:?}");
    ensure!(conf(&host)? == before, "sudo.conf was changed");
    // Put right, and the package configured anew: agents get sudo.
    host.sh("mv /root/sudoers.so /usr/libexec/sudo/")?;
    done(&host, &["-i", "/root/tether.deb"])?;
    ensure!(host.sh("grep -c ^Plugin /etc/sudo.conf")? == "3\n", "the lines are not there");
    day(&people, &host)?;
    // A host without the file gets one, and loses it again.
    done(&host, &["-P", "tether"])?;
    host.sh("mv /etc/sudo.conf /root/")?;
    done(&host, &["-i", "/root/tether.deb"])?;
    ensure!(host.sh("stat -c '%a %U %G' /etc/sudo.conf")? == "644 root root\n", "mode or owner of a new sudo.conf");
    day(&people, &host)?;
    done(&host, &["-P", "tether"])?;
    ensure!(host.exec(&["test", "-e", "/etc/sudo.conf"])?.status.code() == Some(1), "an empty sudo.conf is left");
    day(&people, &host)
}

fn a_broken_sudo_plugin_is_taken_out_again(suite: Suite) -> Result {
    let (lab, host) = bare(suite)?;
    let people = People::new(&lab, &host)?;
    let folder = tempfile::tempdir()?;
    let plugin = |tree: &Path| tree.join("usr/libexec/sudo/sudo_tether.so");
    let cut = repacked(folder.path(), "8.0.0-1", |tree| {
        let bytes = std::fs::read(plugin(tree))?;
        Ok(std::fs::write(plugin(tree), &bytes[..bytes.len() / 2])?)
    })?;
    let other = repacked(folder.path(), "9.0.0-1", |tree| {
        let mut bytes = std::fs::read(plugin(tree))?;
        bytes[18] = 183;
        Ok(std::fs::write(plugin(tree), bytes)?)
    })?;
    for package in [&cut, &other] {
        let ran = while_people_work(&people, &host, ("a broken plugin, new", 1), || install(&host, package))?;
        ensure!(ran.code == 0 && ran.err.contains("so it was left out"), "it was not noticed: {ran:?}");
        ensure!(
            host.exec(&["grep", "-q", "tether", "/etc/sudo.conf"])?.status.code() == Some(1),
            "the lines are there"
        );
        day(&people, &host)?;
        // Positive control: with the lines sudo is nobody's any more.
        host.sh("cp /etc/sudo.conf /root/; printf 'Plugin tether_policy sudo_tether.so\\n' >> /etc/sudo.conf")?;
        ensure!(people.ssh("bob", "sudo -n id -u")?.code != 0, "the plugin is not broken");
        host.sh("mv /root/sudo.conf /etc/")?;
        done(&host, &["-P", "tether"])?;
    }
    for broken in [&cut, &other] {
        let ran = install(&host, &package()?)?;
        ensure!(ran.code == 0 && host.sh("grep -c ^Plugin /etc/sudo.conf")? == "3\n", "{ran:?}");
        let ran = while_people_work(&people, &host, ("a broken plugin, upgrade", 0), || install(&host, broken))?;
        ensure!(ran.code == 0 && ran.err.contains("so it was left out"), "an upgrade did not notice it: {ran:?}");
        day(&people, &host)?;
        // And back to one that works.
        let ran = install(&host, &package()?)?;
        ensure!(ran.code == 0 && host.sh("grep -c ^Plugin /etc/sudo.conf")? == "3\n", "{ran:?}");
        day(&people, &host)?;
    }
    Ok(())
}
