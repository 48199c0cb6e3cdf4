//! A booted host: what runs on it, its files, its reboot, and what it may not do to the machine.

use std::time::{Duration, Instant};

use tether_testhost::{Error, Host, HostSpec, Image, Lab, Result, Storage, Suite};

const READY: Duration = Duration::from_secs(60);

fn boot(lab: &Lab, name: &str, suite: Suite) -> Result<Host> {
    let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?;
    let start = Instant::now();
    let host = lab.boot(HostSpec::new(name, &image))?;
    host.wait_ready(READY)?;
    eprintln!("{name}: {} ready after {:?}", suite.name(), start.elapsed());
    Ok(host)
}

#[test]
fn every_suite_boots_whole() -> Result<()> {
    for suite in Suite::ALL {
        let lab = Lab::new()?;
        let host = boot(&lab, "web1", suite)?;
        assert_eq!(host.sh("hostname; cat /proc/1/comm; id -un")?, "web1\nsystemd\nroot\n");
        assert!(host.sh("cat /etc/os-release")?.contains(suite.name()));
        assert_eq!(host.sh("systemctl --failed --no-legend")?, "");
        assert_eq!(host.sh("systemctl is-active ssh cron systemd-logind")?, "active\nactive\nactive\n");
        assert!(host.journal("ssh")?.contains("Server listening"));
    }
    Ok(())
}

#[test]
fn commands_take_input_environment_user_and_time() -> Result<()> {
    let lab = Lab::new()?;
    let host = boot(&lab, "cmd", Suite::Bookworm)?;
    let cat = host.command("cat").stdin("some text").output()?;
    assert_eq!(cat.stdout, b"some text");
    let env =
        host.command("sh").args(&["-c", "echo $COLOUR $PWD"]).env("COLOUR", "blue").current_dir("/etc").output()?;
    assert_eq!(env.stdout, b"blue /etc\n");
    host.sh("useradd -m -G adm alice")?;
    let alice = host.command("sh").args(&["-c", "id -un; id -Gn; echo $HOME"]).user("alice").output()?;
    assert_eq!(String::from_utf8_lossy(&alice.stdout), "alice\nalice adm\n/home/alice\n");
    assert_eq!(host.exec(&["sh", "-c", "exit 7"])?.status.code(), Some(7));
    assert!(matches!(host.sh("echo out; echo err >&2; exit 7"),
        Err(Error::Command { stdout, stderr, .. }) if stdout == "out\n" && stderr == "err\n"));
    let slow = host.command("sh").args(&["-c", "echo begun; sleep 60"]).timeout(Duration::from_millis(300)).output();
    assert!(matches!(slow, Err(Error::Timeout { detail, .. }) if detail.contains("begun")));
    assert_eq!(host.sh("cat /proc/self/cgroup | grep ^0")?, "0::/init.scope\n");
    let mut child = host.command("cat").spawn().expect("cat starts");
    drop(child.stdin.take());
    assert!(child.wait().expect("cat ends").success());
    Ok(())
}

#[test]
fn files_stay_inside_the_host() -> Result<()> {
    let lab = Lab::new()?;
    let host = boot(&lab, "files", Suite::Bookworm)?;
    host.write_file("/etc/deep/er/file", "text", 0o640)?;
    assert_eq!(host.sh("stat -c '%a %U' /etc/deep/er/file; cat /etc/deep/er/file")?, "640 root\ntext");
    host.sh("ln -s /etc/deep /srv/link")?;
    assert_eq!(host.read_file("/srv/link/er/file")?, b"text");
    host.copy_in("/proc/self/exe", "/usr/local/bin/me", 0o755)?;
    assert_eq!(host.sh("stat -c %a /usr/local/bin/me")?, "755\n");
    assert!(host.root()?.join("etc/deep/er/file").exists());
    Ok(())
}

#[test]
fn a_reboot_keeps_the_disk_and_nothing_else() -> Result<()> {
    let lab = Lab::new()?;
    for storage in [Storage::Memory, Storage::Disk] {
        let image = Image::ensure(Suite::Bookworm, &mut |_| {})?;
        let mut host = lab.boot(HostSpec::new("re", &image).storage(storage))?;
        host.wait_ready(READY)?;
        let boot_id = host.sh("cat /proc/sys/kernel/random/boot_id")?;
        let (machine_id, pid1) = (host.sh("cat /etc/machine-id")?, host.pid1()?);
        host.sh("echo kept > /root/kept; echo gone > /run/gone; echo gone > /tmp/gone; sync")?;
        host.reboot()?;
        host.wait_ready(READY)?;
        assert_eq!(host.sh("cat /root/kept; ls /run/gone /tmp/gone 2>/dev/null || true")?, "kept\n");
        assert_ne!(host.sh("cat /proc/sys/kernel/random/boot_id")?, boot_id);
        assert_ne!(host.pid1()?, pid1);
        assert_eq!(host.sh("cat /etc/machine-id")?, machine_id);
        assert_eq!(host.sh("journalctl --list-boots --no-pager --quiet | wc -l")?.trim(), "2");
    }
    Ok(())
}

#[test]
fn the_machine_is_out_of_reach() -> Result<()> {
    let lab = Lab::new()?;
    let host = boot(&lab, "jail", Suite::Bookworm)?;
    let machine_boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    assert_ne!(host.sh("cat /proc/sys/kernel/random/boot_id")?, machine_boot_id);
    for attempt in [
        "echo 1 > /proc/sys/kernel/printk",
        "echo x > /proc/sys/kernel/hostname",
        "echo h > /proc/sysrq-trigger",
        "mkdir /sys/fs/x",
        "date --set=2001-01-01",
    ] {
        assert!(host.sh(attempt).is_err(), "{attempt} worked");
    }
    assert_eq!(host.sh("ls -d /.old /oldroot 2>/dev/null; grep -c . /proc/self/mountinfo")?.lines().count(), 1);
    Ok(())
}
