//! The escape battery: what does harm as plain root does none confined, and each layer holds something.

use anyhow::ensure;
use tether_testhost::Suite;
use tether_tests::attacker::{Confined, PlainRoot};
use tether_tests::battery::{self, Verdict};
use tether_tests::on_both_suites;

type Result = anyhow::Result<()>;

on_both_suites!(what_harms_as_root_harms_nobody_confined, a_launch_while_passwords_change_shows_none);

/// The fewest probes that the battery must have shown to be harmful.
const LEAST: usize = 150;

fn what_harms_as_root_harms_nobody_confined(suite: Suite) -> Result {
    let (scene, agent) = battery::scene(suite)?;
    let connection = agent.connect()?;
    let probes = battery::install(&scene.host)?;
    let mut login = battery::login(&scene, &connection)?;
    let confined = scene.with_heads(|| battery::run(&scene.host, &Confined(&connection), &probes, &[]))?;
    // Afterwards: it leaves the host in pieces.
    let root = battery::run(&scene.host, &PlainRoot(&scene.host), &probes, &[])?;
    let _ = login.kill();
    login.wait()?;
    println!("{}", battery::table(&root, &confined));
    let harmless: Vec<&Verdict> = root.iter().filter(|v| !v.harm && v.impossible.is_empty()).collect();
    let harmful: Vec<&Verdict> = confined.iter().filter(|v| v.harm).collect();
    println!("harm confined:\n{}", battery::describe(harmful.iter().copied()));
    println!("no harm as root:\n{}", battery::describe(harmless.iter().copied()));
    ensure!(harmless.is_empty(), "{} probes prove nothing: plain root does no harm by them", harmless.len());
    ensure!(root.iter().filter(|v| v.harm).count() >= LEAST, "too few probes");
    ensure!(harmful.is_empty(), "{} probes do harm confined", harmful.len());
    Ok(())
}

/// What each layer holds: with it left out, one of these at least must do harm. The second list is of layers that
/// are left out all the time: they would hold the same.
const HOLDS: &[(&str, &[&str], &[&str])] = &[
    (
        "landlock",
        &[],
        &[
            "read_etc_shadow",
            "read_tls_key",
            "read_unlisted_etc",
            "hard_link_share",
            "bind_mount_folder",
            "container_overlay",
            "environ_of_sibling",
            "fifo_in_run",
            "agentd_state",
        ],
    ),
    (
        "seccomp",
        &[],
        &[
            "by_handle",
            "uring_setup",
            "namespace_user",
            "unix_of_all",
            "unix_abstract",
            "tcp_loopback",
            "vsock",
            "lock_exclusive",
            "lock_record",
            "log_read",
            "personality",
        ],
    ),
    ("mounts", &[], &["access_time", "access_time_folder"]),
    ("devices", &[], &["kernel_symbols", "terminal_make", "terminal_write", "terminal_read"]),
    (
        "identity",
        &[],
        &["more_in_capeff", "is_root", "environ_of_root", "maps_of_root", "limit", "priority", "affinity", "chmod"],
    ),
    ("descriptors", &[], &["more_descriptors", "descriptor_out_by_stdin", "folder_as_stdin", "file_as_stdin"]),
    ("no_new_privs", &["seccomp"], &["new_privileges"]),
    ("no_new_privs", &["seccomp", "mounts"], &["setuid_program", "setgid_program", "capable_program"]),
    ("limits", &[], &["many_processes", "core_allowed", "large_file", "much_scratch", "many_files"]),
];

#[test]
fn ablation() -> Result {
    // First: a host whose central says nothing for so long as a build takes admits nobody.
    let launcher = battery::ablation()?;
    let (scene, agent) = battery::scene(Suite::Bookworm)?;
    scene.host.copy_in(&launcher, "/usr/libexec/tether/tether-confine", 0o755)?;
    let connection = agent.connect()?;
    let probes = battery::install(&scene.host)?;
    let mut login = battery::login(&scene, &connection)?;
    let attacker = Confined(&connection);
    let long = std::env::var_os("TETHER_TEST_LONG").is_some();
    let mut decoration = Vec::new();
    for (layer, beside, holds) in HOLDS {
        battery::leave_out(&scene.host, &beside.join(","))?;
        let whole = scene.with_heads(|| battery::run(&scene.host, &attacker, &probes, holds))?;
        let leaks: Vec<_> = whole.iter().filter(|v| v.harm).collect();
        ensure!(leaks.is_empty(), "with {layer}, without {beside:?}:\n{}", battery::describe(leaks));
        battery::leave_out(&scene.host, &[beside, &[*layer][..]].concat().join(","))?;
        let all: &[&str] = &[];
        let verdicts =
            scene.with_heads(|| battery::run(&scene.host, &attacker, &probes, if long { all } else { holds }))?;
        let found: Vec<&Verdict> = verdicts.iter().filter(|v| v.harm).collect();
        println!("without {layer} and {beside:?}: {}\n{}", found.len(), battery::describe(found.iter().copied()));
        if !found.iter().any(|v| holds.contains(&v.name.as_str())) {
            decoration.push(*layer);
        }
    }
    let _ = login.kill();
    login.wait()?;
    ensure!(decoration.is_empty(), "nothing is found with these left out: {decoration:?}");
    Ok(())
}

/// The launcher lists /etc while the host's own tools lock, write beside, and rename there.
fn a_launch_while_passwords_change_shows_none(suite: Suite) -> Result {
    let (scene, agent) = battery::scene(suite)?;
    let connection = agent.connect()?;
    scene.host.sh("useradd -M battery")?;
    let change = "while :; do echo battery:CANARY | chpasswd -e; usermod -p CANARYY battery; groupadd extra; groupdel extra; done";
    let mut changing = scene.host.command("/bin/sh").args(&["-c", change]).spawn()?;
    scene.host.sh(
        "timeout 20 sh -c 'until grep -q CANARY /etc/shadow && grep -q CANARY /etc/shadow-; do sleep 0.01; done'",
    )?;
    let look = "i=0; while [ $i -lt 20 ]; do cat /etc/shadow /etc/shadow- /etc/shadow+ /etc/gshadow /etc/gshadow- /etc/nshadow 2>/dev/null; i=$((i+1)); done; echo done";
    let launches = if std::env::var_os("TETHER_TEST_LONG").is_some() { 300 } else { 30 };
    let mut seen = Vec::new();
    for launch in 0..launches {
        scene.central.head(&scene.host)?;
        let ran = connection.run(&format!("sudo dash -c '{look}'"))?;
        ensure!(ran.out.contains("done"), "launch {launch} did not look: {ran:?}");
        if ran.out.contains("CANARY") || ran.out.contains("root:") {
            seen.push(launch);
        }
    }
    // The positive control: there was something to see.
    let root = scene.host.sh(look)?;
    changing.kill()?;
    changing.wait()?;
    ensure!(root.contains("CANARY"), "root does not see it either");
    ensure!(seen.is_empty(), "{} of {launches} launches saw password hashes: {seen:?}", seen.len());
    Ok(())
}
