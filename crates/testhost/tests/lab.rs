//! Labs: several at once, and nothing left of them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tether_testhost::{HostSpec, Image, Lab, Result, Storage, Suite};

const READY: Duration = Duration::from_secs(60);

/// Set for the process that is to be killed.
const VICTIM: &str = "TETHER_TESTHOST_VICTIM";

fn image() -> Result<Image> {
    Image::ensure(Suite::Bookworm, &mut |line| eprintln!("{line}"))
}

/// What of the labs of process `pid` is on the machine: mounts, folders, cgroups, processes.
fn traces(pid: u32) -> Vec<String> {
    let name = format!("tether-testhost-{pid}-");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    let mut found: Vec<String> = mounts.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect();
    let mut folders = vec![PathBuf::from("/run/tether-testhost"), PathBuf::from("/var/cache/tether-testhost/disks")];
    folders.extend(
        mounts
            .lines()
            .filter(|line| line.contains(" - cgroup"))
            .filter_map(|line| line.split(' ').nth(4))
            .map(PathBuf::from),
    );
    for entry in folders.iter().flat_map(std::fs::read_dir).flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            found.push(entry.path().display().to_string());
        }
    }
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        if std::fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|cgroup| cgroup.contains(&name)) {
            found.push(format!("process {}", entry.path().display()));
        }
    }
    found
}

fn network_namespaces() -> usize {
    let output = Command::new("lsns").args(["--type", "net", "--noheadings", "--output", "NS"]).output().expect("lsns");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[test]
fn hosts_of_a_lab_meet_and_labs_do_not() -> Result<()> {
    let (one, two) = (Lab::new()?, Lab::new()?);
    let image = image()?;
    let (a, b) = (one.boot(HostSpec::new("a", &image))?, one.boot(HostSpec::new("b", &image))?);
    let other = two.boot(HostSpec::new("a", &image).storage(Storage::Disk))?;
    for host in [&a, &b, &other] {
        host.wait_ready(READY)?;
    }
    assert_eq!(a.address(), other.address());
    a.sh(&format!("nc -z {} 22", b.address()))?;
    assert!(other.sh(&format!("nc -z -w 1 {} 22", b.address())).is_err());
    assert!(one.boot(HostSpec::new("a", &image)).is_err(), "two hosts of one name");
    assert_eq!(one.hosts()?, ["a", "b"]);
    b.stop()?;
    assert_eq!(one.hosts()?, ["a"]);
    let again = one.boot(HostSpec::new("b", &image))?;
    again.wait_ready(READY)?;
    a.sh(&format!("nc -z {} 22", again.address()))?;
    Ok(())
}

/// A process of its own, so that other tests' labs are not in the way; killed, it is swept by the next lab.
#[test]
fn nothing_is_left_behind() -> Result<()> {
    image()?;
    let mut victim = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim starts");
    let mut says = BufReader::new(victim.stdout.take().expect("stdout")).lines().map_while(std::io::Result::ok);
    let mut next = |word: &str| {
        let line = says.find(|line| line.contains(word)).expect("the victim speaks");
        line.rsplit(' ').next().and_then(|pid| pid.parse::<i32>().ok()).expect("a pid")
    };
    // It drops its first lab itself.
    next("dropped");
    assert_eq!(traces(victim.id()), Vec::<String>::new());
    victim.stdin.as_mut().expect("stdin").write_all(b"go on\n").expect("the victim listens");
    // It is killed with its second lab up: the host dies with it, the rest goes when somebody makes a lab.
    let pid1 = next("booted");
    assert!(!traces(victim.id()).is_empty());
    victim.kill().expect("it is killed");
    victim.wait().expect("it ends");
    wait_until(|| !Path::new(&format!("/proc/{pid1}")).exists());
    let before = network_namespaces();
    drop(Lab::new()?);
    assert_eq!(traces(victim.id()), Vec::<String>::new());
    assert!(network_namespaces() <= before);
    Ok(())
}

/// Not a test by itself: what `nothing_is_left_behind` kills.
#[test]
fn victim() -> Result<()> {
    if std::env::var_os(VICTIM).is_none() {
        return Ok(());
    }
    let image = image()?;
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("one", &image).storage(Storage::Disk))?;
    host.wait_ready(READY)?;
    drop(lab);
    host.sh("setsid sleep 1000 >/dev/null 2>&1 &")?;
    drop(host);
    say("dropped 0");
    std::io::stdin().read_line(&mut String::new()).expect("stdin");
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("two", &image))?;
    say(&format!("booted {}", host.pid1()?));
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("stdout");
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "the host outlives its process");
        std::thread::sleep(Duration::from_millis(5));
    }
}
