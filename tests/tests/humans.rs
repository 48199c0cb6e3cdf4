//! Humans never depend on us: whatever is broken, stopped or gone, they log in, become root and are looked
//! up as ever and as fast; and whatever is broken, an agent's login dies unbound.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_testhost::{HostSpec, Image, Lab, Suite};
use tether_tests::people::as_fast;
use tether_tests::scene::package;
use tether_tests::{Agent, People, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    agentd_is_out,
    a_module_is_broken,
    a_boot_without_us,
    sudoers_gives_an_agent_nothing,
    fifty_uses_of_sudo_print_the_same,
);

/// Something that is broken, and how to mend it.
struct Fault {
    name: String,
    broken_by: String,
    mended_by: String,
    /// agentd was started anew and asks central.
    restarted: bool,
    /// Whether agents may still come in, if agentd gets to them.
    open: bool,
}

fn fault(name: &str, broken_by: &str, mended_by: &str, restarted: bool) -> Fault {
    let [name, broken_by, mended_by] = [name, broken_by, mended_by].map(str::to_owned);
    Fault { name, broken_by, mended_by, restarted, open: false }
}

/// Connects as root often and asks nothing; says when the queues are full.
const CONNECT_MANY: &str = r#"
cat > /root/many.py <<'PY'
import socket, time
kept = []
for path in ("/run/tether/root.sock", "/run/tether/principals.sock"):
    for _ in range(5000):
        s = socket.socket(socket.AF_UNIX); s.setblocking(False)
        try: s.connect(path)
        except BlockingIOError: break
        kept.append(s)
    else: raise SystemExit("the queue was never full")
print("full", flush=True)
time.sleep(600)
PY
systemctl kill -s STOP tether-agentd
systemd-run --quiet --unit=many -p StandardOutput=file:/run/many -p LimitNOFILE=20000 python3 /root/many.py
for i in $(seq 500); do grep -q full /run/many && break; sleep 0.02; done; grep -q full /run/many
"#;

/// Holds as many connections as agentd serves, and takes each one's place when it is thrown out.
const KEEP_BUSY: &str = r#"
cat > /root/busy.py <<'PY'
import select, socket, time
kept = {}
print("busy", flush=True)
while True:
    for path in ("/run/tether/root.sock", "/run/tether/principals.sock"):
        for _ in range(100 - sum(1 for p in kept.values() if p == path)):
            s = socket.socket(socket.AF_UNIX); s.setblocking(False)
            try: s.connect(path)
            except OSError: break
            kept[s] = path
    time.sleep(0.05)
    for s in select.select(list(kept), [], [], 0)[0]:
        del kept[s]; s.close()
PY
systemd-run --quiet --unit=many -p StandardOutput=file:/run/many python3 /root/busy.py
for i in $(seq 500); do grep -q busy /run/many && break; sleep 0.02; done
"#;

fn agentd_is_out(suite: Suite) -> Result {
    let faults = [
        fault("agentd is stopped", "systemctl stop tether-agentd", "systemctl start tether-agentd", true),
        fault("agentd hangs", "systemctl kill -s STOP tether-agentd", "systemctl kill -s CONT tether-agentd", false),
        fault("agentd is killed", "systemctl kill -s KILL tether-agentd", "true", true),
        fault(
            "the queues are full",
            CONNECT_MANY,
            "systemctl stop many; systemctl kill -s CONT tether-agentd; rm /run/many",
            false,
        ),
        Fault {
            open: true,
            ..fault("agentd is as busy as it can be", KEEP_BUSY, "systemctl stop many; rm /run/many", false)
        },
        fault("/run/tether is gone", "mv /run/tether /run/away", "mv /run/away /run/tether", false),
        fault(
            "the sockets are gone",
            "mkdir /run/away; mv /run/tether/*.sock /run/away",
            "mv /run/away/* /run/tether; rmdir /run/away",
            false,
        ),
        fault(
            "agentd does not start",
            "mv /etc/tether/host.toml /etc/tether/away; echo 'host = 1' > /etc/tether/host.toml; systemctl restart tether-agentd || true",
            "mv /etc/tether/away /etc/tether/host.toml; systemctl restart tether-agentd",
            true,
        ),
    ];
    each(&mut Scene::new(suite)?, &faults)
}

/// The module's file: what is in its place, by rename as dpkg does it.
fn a_module_is_broken(suite: Suite) -> Result {
    let mut faults = Vec::new();
    for module in ["/usr/lib/x86_64-linux-gnu/security/pam_tether.so", "/usr/lib/x86_64-linux-gnu/libnss_tether.so.2"] {
        let mended = format!("mv {module}.away {module}");
        let broken = |how: &str| {
            format!("cp -p {module} {module}.away; cp -p {module} {module}.new; {how}; mv -f {module}.new {module}")
        };
        let cases = [
            ("missing", format!("mv {module} {module}.away")),
            ("empty", broken(&format!(": > {module}.new"))),
            ("cut after a page", broken(&format!("truncate -s 4096 {module}.new"))),
            ("cut in the middle", broken(&format!("truncate -s $(($(stat -c %s {module}) / 2)) {module}.new"))),
            ("cut by a byte", broken(&format!("truncate -s -1 {module}.new"))),
            (
                "of another architecture",
                broken(&format!("printf '\\267' | dd of={module}.new bs=1 seek=18 conv=notrunc status=none")),
            ),
            ("text", broken(&format!("echo nonsense > {module}.new"))),
        ];
        let short = module.rsplit('/').next().unwrap_or_default();
        faults.extend(cases.map(|(how, broken)| fault(&format!("{short} is {how}"), &broken, &mended, false)));
    }
    each(&mut Scene::new(suite)?, &faults)
}

fn each(scene: &mut Scene, faults: &[Fault]) -> Result {
    let people = People::new(&scene.lab, &scene.host)?;
    let before = people.day(&scene.host).context("before anything is broken")?;
    let mut wrong = Vec::new();
    for fault in faults {
        if let Err(error) = survives(scene, &people, &before, fault) {
            wrong.push(format!("{}: {error:#}", fault.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    people.day(&scene.host).context("after all is mended").map(drop)
}

fn survives(scene: &mut Scene, people: &People, before: &tether_tests::people::Times, fault: &Fault) -> Result {
    let (draft, agent) = scene.session()?;
    scene.host.sh(&fault.broken_by).context("breaking it")?;
    let checked = (|| {
        let now = people.day(&scene.host).context("people")?;
        // A machine that is busy with something else is slow now and then; a time-out of ours is one each time.
        let again = || as_fast(before, &people.day(&scene.host)?);
        as_fast(before, &now).or_else(|_| again()).or_else(|_| again())?;
        if fault.open { Ok(()) } else { dies_unbound(scene, &agent) }
    })();
    scene.host.sh(&fault.mended_by).context("mending it")?;
    if fault.restarted {
        scene.resume()?;
    }
    checked?;
    // The papers were good: only what was broken kept the agent out.
    scene.central.head(&scene.host)?;
    let ran = agent.run("echo in")?;
    ensure!(ran.out == "in\n", "mended, and the agent does not come in: {ran:?}");
    scene.wait_gone(draft.grant.session.as_str()).map(drop)
}

/// Neither a command, nor files, nor a connection without a command: and nothing of it keeps running.
fn dies_unbound(scene: &Scene, agent: &Agent) -> Result {
    let ran = agent.run("echo in")?;
    ensure!(ran.code != 0 && !ran.out.contains("in"), "an agent came in: {ran:?}");
    let mut sftp = agent.client("sftp")?;
    let output = sftp.args(["-b", "/dev/null", &agent.destination]).output()?;
    ensure!(!output.status.success(), "sftp came in");
    let mut waiting = agent.client("ssh")?.args(["-N", &agent.destination]).spawn()?;
    let left = nothing_runs(scene);
    waiting.kill()?;
    waiting.wait()?;
    left?;
    nothing_runs(scene)
}

/// No process of an agent's uid, and no sshd that serves an agent, for long.
fn nothing_runs(scene: &Scene) -> Result {
    let look = "ps -eo uid=,pid=,args= | awk '($1 >= 65536 && $1 <= 99999) || /sshd[^ ]*: ag-/'";
    let start = Instant::now();
    // A connection that is still being refused is no remainder: twice in a row there must be nothing.
    let mut clean = 0;
    loop {
        let left = scene.host.sh(look)?.lines().filter(|line| !line.contains("awk")).collect::<Vec<_>>().join("\n");
        clean = if left.is_empty() { clean + 1 } else { 0 };
        if clean > 3 {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(15), "this keeps running:\n{left}");
        std::thread::sleep(Duration::from_millis(150));
    }
}

fn a_boot_without_us(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    let start = Instant::now();
    scene.host.reboot()?;
    scene.host.wait_port(22, Duration::from_secs(60))?;
    let before = start.elapsed();
    let faults = [
        (
            "agentd hangs at its start",
            "mkdir -p /etc/systemd/system/tether-agentd.service.d; printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/tether-agentd.service.d/test.conf",
        ),
        (
            "agentd fails",
            "printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > /etc/systemd/system/tether-agentd.service.d/test.conf",
        ),
        (
            "agentd, PAM and NSS modules are gone",
            "rm /usr/libexec/tether/* /usr/lib/x86_64-linux-gnu/security/pam_tether.so /usr/lib/x86_64-linux-gnu/libnss_tether.so.2; rm -r /etc/systemd/system/tether-agentd.service.d",
        ),
        ("the state is gone too", "rm -r /var/lib/tether /etc/tether; sync"),
    ];
    for (name, broken_by) in faults {
        scene.host.sh(broken_by)?;
        let start = Instant::now();
        scene.host.reboot()?;
        scene.host.wait_port(22, Duration::from_secs(60)).context(name)?;
        let took = start.elapsed();
        ensure!(took < before * 2 + Duration::from_secs(3), "{name}: sshd was there after {took:?}, before {before:?}");
        let start = Instant::now();
        while people.ssh("bob", "id -un")?.out != "bob\n" {
            ensure!(start.elapsed() < Duration::from_secs(5), "{name}: bob cannot log in");
        }
        people.day(&scene.host).context(name)?;
    }
    Ok(())
}

fn sudoers_gives_an_agent_nothing(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    scene.host.sh(
        "useradd -m dave; echo 'ALL ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/all; chmod 440 /etc/sudoers.d/all",
    )?;
    let dave = |scene: &Scene| -> anyhow::Result<String> {
        let output = scene.host.command("sudo").args(&["-n", "id", "-u"]).user("dave").output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let tries = [
        "sudo -n id -u",
        "sudo id -u",
        "sudo -n -s id -u",
        "sudo -n -i id -u",
        "sudo -n -u '#0' id -u",
        "sudo -n -b id -u; sleep 1",
        "echo x | sudo -S id -u",
        "sudo -e /etc/x",
        "sudo -n -g root id -g",
    ];
    let gets_nothing = |what: &str| -> Result {
        for command in tries {
            let ran = connection.run(command)?;
            ensure!(ran.out.is_empty(), "{what}: {command}: {ran:?}");
        }
        Ok(())
    };
    ensure!(dave(&scene)? == "0\n", "the rule gives dave nothing");
    gets_nothing("with our lines")?;
    scene.host.sh("sed -i '/^# tether begin/,/^# tether end/d' /etc/sudo.conf; ! grep -q tether /etc/sudo.conf")?;
    ensure!(dave(&scene)? == "0\n", "the rule gives dave nothing without our lines");
    gets_nothing("without our lines")?;
    people.times(&scene.host)?;
    // Without our lines in PAM as well the rule is the agent's too: they are what kept it out.
    scene.host.sh("sed -i '/pam_tether.so/d; /ag-/d' /etc/pam.d/common-account")?;
    let ran = connection.run("sudo -n id -u")?;
    ensure!(ran.out == "0\n", "the attack is none: {ran:?}");
    Ok(())
}

fn fifty_uses_of_sudo_print_the_same(suite: Suite) -> Result {
    let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?;
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("web-01", &image))?;
    host.wait_ready(Duration::from_secs(60))?;
    host.write_file("/root/human_sudo.sh", include_str!("../scenarios/human_sudo.sh"), 0o755)?;
    let battery = || -> anyhow::Result<String> {
        let output = host.command("/root/human_sudo.sh").timeout(Duration::from_secs(300)).output()?;
        ensure!(output.status.success(), "the battery: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Some cases watch the clock, and a busy machine may make a run differ from the next.
    let same_as = |expected: &str| -> Result {
        let mut differ = Vec::new();
        for _ in 0..3 {
            let now = battery()?;
            if now == expected {
                return Ok(());
            }
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            differ = lines(expected).into_iter().zip(lines(&now)).filter(|(a, b)| a != b).take(20).collect();
        }
        anyhow::bail!("three runs print something else: {differ:#?}")
    };
    // What two runs in a row print; the first on a busy machine may be an odd one.
    let mut before = battery()?;
    for _ in 0..4 {
        let next = battery()?;
        if next == before {
            break;
        }
        before = next;
    }
    ensure!(before.matches("=== ").count() > 50, "the battery has too few cases:\n{before}");
    same_as(&before).context("without us, twice")?;
    host.copy_in(package()?, "/root/tether.deb", 0o644)?;
    host.sh("dpkg -i /root/tether.deb; grep -q tether_policy /etc/sudo.conf")?;
    same_as(&before).context("with us")
}
