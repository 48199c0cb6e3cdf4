//! It is still useful: what an analyst runs shows the host, confined as to plain root.

use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use tether_testhost::Suite;
use tether_tests::agent::Connection;
use tether_tests::useful::{self, Output};
use tether_tests::{Scene, more};

type Result = anyhow::Result<()>;

/// Where the table stands.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/useful.md");
const BEGIN: &str = "<!-- the table: `TETHER_WRITE_DOCS=1 cargo test -p tether-tests --test useful docs` -->\n";

/// Of all commands: as many must be like root's.
const PERCENT: usize = 90;

/// What there is to find: an implant in the host's own /tmp, logs, samples of archives, scripts.
const PLANT: &str = r#"
cp /usr/bin/id /tmp/implant; echo secret > /root/notes; chmod 600 /root/notes
mkdir -p /root/.ssh; echo key > /root/.ssh/id_rsa; chmod 600 /root/.ssh/id_rsa
printf 'Failed password for root\nAccepted publickey for alice\nFailed password for bob\nsession opened\n' > /var/log/auth-sample.log
chmod 640 /var/log/auth-sample.log; chgrp adm /var/log/auth-sample.log
gzip -c /var/log/auth-sample.log > /var/log/auth-sample.log.1.gz; chmod 640 /var/log/auth-sample.log.1.gz
mkdir -p /etc/battery; echo 'battery: yes' > /etc/battery/open; echo 'battery: no' > /etc/battery/closed; chmod 600 /etc/battery/closed
echo '17 3 * * * root true' | crontab -u root -
tar cf /var/cache/sample.tar -C / etc/passwd; cd /etc && zip -q /var/cache/sample.zip passwd
xz -c /etc/passwd > /var/cache/sample.xz; bzip2 -c /etc/passwd > /var/cache/sample.bz2
echo '{"a": "b"}' > /var/cache/sample.json; sqlite3 /var/cache/sample.db 'create table t (a)'
cd /usr/local/share
echo 'import os,hashlib; print(sorted(os.listdir("/tmp")), hashlib.sha256(open("/tmp/implant","rb").read()).hexdigest())' > look.py
echo 'opendir D, "/tmp"; print join(" ", sort readdir D), "\n"; open F, "/etc/passwd"; print scalar(<F>)' > look.pl
echo 'for f in /tmp/*; do sha256sum "$f"; done; read line < /etc/passwd; echo "$line"' > look.sh
echo 'for line in io.lines("/etc/passwd") do print(line) end' > look.lua
printf '#!/bin/sh\nls /tmp; cat /var/log/auth-sample.log\n' > /usr/local/bin/look; chmod 755 /usr/local/bin/look
"#;

#[test]
fn bookworm() -> Result {
    compare(Suite::Bookworm)
}

#[test]
fn trixie() -> Result {
    if std::env::var_os("TETHER_TEST_LONG").is_none() {
        println!("only with TETHER_TEST_LONG: bookworm has the same commands and more");
        return Ok(());
    }
    compare(Suite::Trixie)
}

fn compare(suite: Suite) -> Result {
    let mut scene = Scene::with_packages(suite, &more::packages(suite))?;
    scene.host.sh(PLANT)?;
    let commands = useful::commands()?;
    let mut resolved = BTreeMap::new();
    for (_, line, _) in &commands {
        let program = line.split(' ').next().unwrap_or_default();
        let path = scene.host.sh(&format!("readlink -f \"$(command -v {program})\"; true"))?;
        resolved.insert(program.to_owned(), path.trim().to_owned());
    }
    scene.publish(&useful::bundle(&resolved)?)?;
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let (mut alike, mut all, mut wrong) = (0, 0, String::new());
    for (class, line, command) in &commands {
        if command.only.as_deref().is_some_and(|only| only != suite.name()) {
            continue;
        }
        all += 1;
        scene.central.head(&scene.host)?;
        let same = |root: &Output, confined: &Output| useful::is_same(command.compare, line, root, confined);
        let (mut root, mut confined) = (as_root(&scene, line)?, as_agent(&connection, line)?);
        // The host lives: what changed between the two is looked at once more.
        if command.refused.is_none() && !same(&root, &confined.0) {
            (root, confined) = (as_root(&scene, line)?, as_agent(&connection, line)?);
        }
        let is_alike = same(&root, &confined.0);
        let as_said = match command.refused {
            Some(_) => confined.0.code != 0 || !is_alike,
            None => is_alike && root.code != 127,
        };
        alike += usize::from(is_alike && command.refused.is_none());
        if !as_said {
            let short = |text: &str| text.chars().take(400).collect::<String>();
            wrong += &format!(
                "{class}: {line}\n  root {}: {:?}\n  confined {}: {:?}\n  {:?}\n",
                root.code,
                short(&root.out),
                confined.0.code,
                short(&confined.0.out),
                short(&confined.1)
            );
        }
    }
    println!("{alike} of {all} are like root's ({} %)\n{wrong}", alike * 100 / all);
    ensure!(wrong.is_empty(), "some are not as the table says:\n{wrong}");
    ensure!(alike * 100 >= all * PERCENT, "{alike} of {all} are like root's");
    Ok(())
}

fn as_root(scene: &Scene, line: &str) -> anyhow::Result<Output> {
    let words: Vec<_> = line.split(' ').collect();
    let (program, arguments) = words.split_first().context("no command")?;
    let command = scene.host.command("/usr/bin/env").args(&[
        "-i",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
    ]);
    let output = command.arg(program).args(arguments).output()?;
    Ok(Output { code: output.status.code().unwrap_or(-1), out: String::from_utf8_lossy(&output.stdout).into_owned() })
}

fn as_agent(connection: &Connection<'_>, line: &str) -> anyhow::Result<(Output, String)> {
    let words: Vec<_> = line.split(' ').map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let ran = connection.run(&format!("sudo {}", words.join(" ")))?;
    Ok((Output { code: ran.code, out: ran.out }, ran.err))
}

/// The table in the docs is this list's.
#[test]
fn docs() -> Result {
    let page = std::fs::read_to_string(DOCS).context(DOCS)?;
    let (head, _) = page.split_once(BEGIN).context("docs/useful.md has no table")?;
    let wanted = format!("{head}{BEGIN}{}", useful::table()?);
    if std::env::var_os("TETHER_WRITE_DOCS").is_some() {
        std::fs::write(DOCS, &wanted)?;
        return Ok(());
    }
    ensure!(
        page == wanted,
        "docs/useful.md is not what tests/useful.toml says: TETHER_WRITE_DOCS=1 cargo test -p tether-tests --test useful docs"
    );
    Ok(())
}
