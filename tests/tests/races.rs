//! Races: what was decided about is what runs and what is read, whoever swaps names meanwhile; and what is stopped,
//! killed or used again between decision and exec runs nothing.

use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout};
use tether_statement::Revocation;
use tether_testhost::{Host, Suite};
use tether_tests::agent::Connection;
use tether_tests::{Scene, on_both_suites};

type Result<T = ()> = anyhow::Result<T>;

on_both_suites!(
    a_swapped_program_is_not_run,
    a_swapped_path_component_is_not_followed,
    a_swapped_read_target_is_not_read,
    stopped_at_every_step_and_revoked_nothing_runs,
    sudo_killed_at_every_step_leaves_nothing,
    a_plan_is_good_once_in_time_and_for_one,
);

fn is_long() -> bool {
    std::env::var_os("TETHER_TEST_LONG").is_some()
}

/// Decisions and swaps that a race must have had.
fn enough() -> (usize, usize) {
    if is_long() { (5_000, 1_000_000) } else { (120, 100_000) }
}

/// Programs that say which they are; a folder of each; a secret outside of what may be read.
const STAGE: &str = r#"
set -e
mkdir -p /opt/race/real /opt/race/false /var/log/race /srv/race
for which in real false; do
    printf '#include <unistd.h>\nint main(void) { return write(1, "%s\\n", %d) < 0; }\n' "ran-$which" $((5 + ${#which})) > /srv/race/$which.c
    gcc -O1 -static -o /opt/race/$which/tool /srv/race/$which.c
    cp /opt/race/$which/tool /opt/race/tool-$which
done
cp /opt/race/tool-real /srv/race/real
ln -s real /opt/race/way; ln -s false /opt/race/other
echo harmless > /var/log/race/file; echo CANARY-SECRET > /srv/race/secret; ln -s /srv/race/secret /var/log/race/link
gcc -O1 -o /srv/race/racer /srv/race/racer.c
gcc -O1 -o /srv/race/naive /srv/race/naive.c
gcc -O1 -o /srv/race/tracer /srv/race/tracer.c
sha256sum /opt/race/tool-real | cut -d' ' -f1
"#;

struct Stage {
    scene: Scene,
}

impl Stage {
    fn new(suite: Suite) -> Result<Self> {
        let mut scene = Scene::new(suite)?;
        for (name, text) in [
            ("racer.c", include_str!("../scenarios/races/racer.c")),
            ("naive.c", include_str!("../scenarios/races/naive.c")),
            ("tracer.c", include_str!("../scenarios/races/tracer.c")),
            ("again.py", include_str!("../scenarios/races/again.py")),
        ] {
            scene.host.write_file(format!("/srv/race/{name}"), text, 0o644)?;
        }
        let sha256 = scene.host.sh(STAGE)?;
        let bundle = format!(
            "name = \"triage\"\nversion = 7\n\
             [[rule]]\nid = \"pinned\"\nprogram = \"/opt/race/tool-real\"\narguments = \"none\"\nsha256 = \"{}\"\n\
             [[rule]]\nid = \"placed\"\nprogram = \"/opt/race/real/tool\"\narguments = \"none\"\n\
             [[rule]]\nid = \"read\"\nprogram = \"/usr/bin/cat\"\narguments = [{{ path = \"/var/log/race\" }}]\n\
             [[rule]]\nid = \"sleep\"\nprogram = \"/usr/bin/sleep\"\narguments = [\"1234\"]\n",
            sha256.trim()
        );
        scene.publish(&bundle)?;
        Ok(Self { scene })
    }

    /// Swaps two names while `decide` is run as often as must be; what all of it printed, and how many swaps there were.
    fn race(&mut self, one: &str, other: &str, command: &str) -> Result<(String, usize)> {
        let (decisions, swaps) = enough();
        let (_, agent) = self.scene.session()?;
        let connection = agent.connect()?;
        let mut printed = String::new();
        let racer = Racer::start(&self.scene.host, one, other, swaps)?;
        let mut left = decisions;
        while left > 0 {
            let now = left.min(500);
            self.scene.central.head(&self.scene.host)?;
            let ran =
                connection.run(&format!("i=0; while [ $i -lt {now} ]; do sudo {command} 2>&1; i=$((i+1)); done"))?;
            printed.push_str(&ran.out);
            left -= now;
        }
        let made = racer.end()?;
        Ok((printed, made))
    }

    /// The same race against one who looks at a path and uses it again, until the racer has won once.
    fn naive(&self, one: &str, other: &str, how: &str, evil: &str) -> Result<usize> {
        let racer = Racer::start(&self.scene.host, one, other, 1)?;
        let mut won = 0;
        for _ in 0..20 {
            won += self.scene.host.sh(&format!("/srv/race/naive {how}"))?.matches(evil).count();
            if won > 0 {
                break;
            }
        }
        racer.end()?;
        Ok(won)
    }
}

struct Racer<'h> {
    host: &'h Host,
    child: Child,
}

impl<'h> Racer<'h> {
    fn start(host: &'h Host, one: &str, other: &str, least: usize) -> Result<Self> {
        host.sh("rm -f /srv/race/swaps")?;
        let child =
            host.command("/srv/race/racer").args(&[one, other, "/srv/race/swaps", &least.to_string()]).spawn()?;
        Ok(Self { host, child })
    }

    /// Ends it, not before it has made enough swaps; how many it made.
    fn end(mut self) -> Result<usize> {
        self.host.sh("pkill -TERM -x racer")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the racer failed: {status}");
        Ok(self.host.sh("cat /srv/race/swaps")?.trim().parse()?)
    }
}

fn judge(printed: &str, swaps: usize, good: &str, evil: &str, naive: usize) -> Result {
    let (decisions, least) = enough();
    let (won, lost) = (printed.matches(evil).count(), printed.matches(good).count());
    println!("{swaps} swaps, {decisions} decisions: {lost} as decided, {won} won; the naive one lost {naive} times");
    ensure!(swaps >= least, "only {swaps} swaps");
    ensure!(won == 0, "the racer won {won} times: {}", printed.chars().take(600).collect::<String>());
    ensure!(lost > 0, "nothing ran at all: {}", printed.chars().take(600).collect::<String>());
    ensure!(naive > 0, "the racer cannot even win against a path-based exec: it proves nothing");
    Ok(())
}

fn a_swapped_program_is_not_run(suite: Suite) -> Result {
    let mut stage = Stage::new(suite)?;
    let (one, other) = ("/opt/race/tool-real", "/opt/race/tool-false");
    let naive = stage.naive(one, other, "program /opt/race/tool-real /srv/race/real 3000", "ran-false")?;
    let (printed, swaps) = stage.race(one, other, one)?;
    judge(&printed, swaps, "ran-real", "ran-false", naive)
}

fn a_swapped_path_component_is_not_followed(suite: Suite) -> Result {
    let mut stage = Stage::new(suite)?;
    // By a link that leads to another folder, and by the folders themselves under a digest.
    let naive = stage.naive(
        "/opt/race/way",
        "/opt/race/other",
        "resolve /opt/race/way/tool /opt/race/real/tool 20000",
        "ran-false",
    )?;
    let (printed, swaps) = stage.race("/opt/race/way", "/opt/race/other", "/opt/race/way/tool")?;
    judge(&printed, swaps, "ran-real", "ran-false", naive)
}

fn a_swapped_read_target_is_not_read(suite: Suite) -> Result {
    let mut stage = Stage::new(suite)?;
    let (one, other) = ("/var/log/race/file", "/var/log/race/link");
    let naive = stage.naive(one, other, "read /var/log/race/file /var/log/race 200000", "CANARY-SECRET")?;
    let (printed, swaps) = stage.race(one, other, "cat /var/log/race/file")?;
    judge(&printed, swaps, "harmless", "CANARY-SECRET", naive)
}

/// A process that ends with the test, however that ends: a host is not removed while somebody waits for nobody.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that is stopped at a step between decision and exec.
struct Stopped {
    command: Held,
    lines: BufReader<ChildStdout>,
    pids: Vec<u32>,
    steps: usize,
    launcher: usize,
}

/// Starts `sudo sleep` and stops it at a step; at 0 lets it run and counts.
fn stop_at(stage: &Stage, connection: &Connection<'_>, step: usize) -> Result<Stopped> {
    let host = &stage.scene.host;
    let mut command = Held(connection.start("echo $$; read go; exec sudo sleep 1234")?);
    let mut lines = BufReader::new(command.0.stdout.take().context("no stdout")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    // The shell sees its number in the host's process namespace, which the session shares.
    let mut tracer = Held(host.command("/srv/race/tracer").args(&[first.trim(), &step.to_string()]).spawn()?);
    let mut told = BufReader::new(tracer.0.stdout.take().context("no stdout")?).lines();
    ensure!(told.next().transpose()?.as_deref() == Some("attached"), "the tracer did not attach");
    command.0.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
    let (mut pids, mut steps, mut launcher) = (Vec::new(), 0, 0);
    for line in told {
        let line = line?;
        if let Some(count) = line.strip_prefix("steps ").or_else(|| line.strip_prefix("stopped at ")) {
            steps = count.parse()?;
            break;
        }
        if let Some(first) = line.strip_prefix("launcher ") {
            launcher = first.parse()?;
            continue;
        }
        pids.push(line.parse()?);
    }
    ensure!(steps > 0 && (step == 0 || !pids.is_empty()), "the command ended before step {step}");
    Ok(Stopped { command, lines, pids, steps, launcher })
}

/// Which steps are tried, and which is the launcher's first.
fn steps(stage: &mut Stage) -> Result<(Vec<usize>, usize)> {
    let (_, agent) = stage.scene.session()?;
    let connection = agent.connect()?;
    let whole = stop_at(stage, &connection, 0)?;
    stage
        .scene
        .host
        .sh("timeout 5 sh -c 'until pgrep -f \"^sleep 1234\" >/dev/null; do sleep 0.01; done'")
        .context("the positive control: traced and not stopped, the command does not run")?;
    drop(whole.command);
    // And so does one that was stopped on its way and let go at once.
    let (_, agent) = stage.scene.session()?;
    let connection = agent.connect()?;
    stage
        .scene
        .host
        .sh("pkill -KILL -x sudo; timeout 5 sh -c 'while pgrep -f \"^sleep 1234\" >/dev/null; do sleep 0.01; done'")?;
    let halfway = stop_at(stage, &connection, whole.steps / 2)?;
    for pid in &halfway.pids {
        stage.scene.host.sh(&format!("kill -CONT {pid}"))?;
    }
    stage
        .scene
        .host
        .sh("timeout 5 sh -c 'until pgrep -f \"^sleep 1234\" >/dev/null; do sleep 0.01; done'")
        .context("the positive control: stopped and let go, the command does not run")?;
    stage
        .scene
        .host
        .sh("pkill -KILL -x sudo; timeout 5 sh -c 'while pgrep -f \"^sleep 1234\" >/dev/null; do sleep 0.01; done'")?;
    let tried = if is_long() { 150 } else { 8 };
    println!("{} steps between decision and exec, {tried} are tried", whole.steps);
    // Up to some calls before the exec itself: how many there are differs by a few.
    let last = whole.steps - 10;
    Ok(((0..tried).map(|number| 1 + number * (last - 1) / (tried - 1)).collect(), whole.launcher))
}

fn runs(host: &Host) -> Result<bool> {
    Ok(host.sh("pgrep -c -f '^sleep 1234'; true")?.trim() != "0")
}

fn stopped_at_every_step_and_revoked_nothing_runs(suite: Suite) -> Result {
    let mut stage = Stage::new(suite)?;
    for step in steps(&mut stage)?.0 {
        let (draft, agent) = stage.scene.session()?;
        let session = draft.grant.session.clone();
        let connection = agent.connect()?;
        let mut stopped = stop_at(&stage, &connection, step)?;
        stage.scene.central.revoke(&stage.scene.host, Revocation::Session(session.clone()))?;
        stage.scene.wait_gone(session.as_str())?;
        for pid in &stopped.pids {
            // Most are gone already: an end does not wait for who is stopped.
            stage.scene.host.sh(&format!("kill -CONT {pid} 2>/dev/null; true"))?;
        }
        let mut rest = String::new();
        stopped.lines.read_line(&mut rest)?;
        drop(stopped.command);
        ensure!(!runs(&stage.scene.host)?, "stopped at {step}, revoked, let go: the command runs");
        for pid in &stopped.pids {
            let there = stage.scene.host.sh(&format!("cat /proc/{pid}/comm 2>/dev/null; true"))?;
            ensure!(there.is_empty(), "stopped at {step}, revoked, let go: {there} is still there");
        }
    }
    Ok(())
}

fn sudo_killed_at_every_step_leaves_nothing(suite: Suite) -> Result {
    let mut stage = Stage::new(suite)?;
    let (steps, _) = steps(&mut stage)?;
    let (_, agent) = stage.scene.session()?;
    let connection = agent.connect()?;
    for step in steps {
        stage.scene.central.head(&stage.scene.host)?;
        let mut stopped = stop_at(&stage, &connection, step)?;
        let sudo = stopped.pids.first().context("nothing was stopped")?;
        stage.scene.host.sh(&format!("kill -KILL {sudo}"))?;
        for pid in &stopped.pids {
            stage.scene.host.sh(&format!("kill -CONT {pid} 2>/dev/null; true"))?;
        }
        stopped.command.0.wait()?;
        stage
            .scene
            .host
            .sh("timeout 3 sh -c 'while pgrep -f \"^sleep 1234\" >/dev/null || pgrep -x tether-confine >/dev/null; do sleep 0.01; done'")
            .with_context(|| format!("sudo was killed at step {step}: its command or launcher lives on"))?;
    }
    Ok(())
}

/// At one of the launcher's first steps: sudo has handed the plan on, and nothing of it is closed yet. How many steps sudo
/// takes before differs by a few: then a little later.
fn stop_in_launcher(stage: &Stage, connection: &Connection<'_>, step: usize) -> Result<Stopped> {
    for later in 0..8 {
        let stopped = stop_at(stage, connection, step + 4 * later)?;
        if stopped.launcher > 0 {
            return Ok(stopped);
        }
        for pid in &stopped.pids {
            stage.scene.host.sh(&format!("kill -KILL {pid} 2>/dev/null; true"))?;
        }
    }
    bail!("no launcher had begun at step {step}, nor 28 later");
}

fn a_plan_is_good_once_in_time_and_for_one(suite: Suite) -> Result {
    let mut stage = Stage::new(suite)?;
    let (_, launcher) = steps(&mut stage)?;
    let (_, agent) = stage.scene.session()?;
    let connection = agent.connect()?;
    // How long the second waits; less than 0: it goes first, and is a stranger.
    for (wait, codes) in [
        ("0", ["plan.void", "request.not_yours"]),
        ("3", ["confine.expired", "plan.void"]),
        ("-1", ["plan.void", "request.not_yours"]),
    ] {
        let stopped = stop_in_launcher(&stage, &connection, launcher + 8)?;
        let find = "for p in $(pgrep -x tether-confine); do grep -q descriptors= /proc/$p/cmdline && echo $p; done";
        let pids = stage.scene.host.sh(find)?;
        let launcher = pids.split_whitespace().last().context("no launcher is stopped")?.to_owned();
        let again = stage.scene.host.command("python3").args(&["-B", "/srv/race/again.py", &launcher, wait]).spawn()?;
        let mut again = Held(again);
        let mut told = BufReader::new(again.0.stdout.take().context("no stdout")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        if line != "taken\n" {
            let mut why = String::new();
            std::io::Read::read_to_string(again.0.stderr.as_mut().context("no stderr")?, &mut why)?;
            bail!("the plan was not taken: {line}{why}");
        }
        if wait != "-1" {
            // The positive control: the first use is good.
            for pid in &stopped.pids {
                stage.scene.host.sh(&format!("kill -CONT {pid}"))?;
            }
            let wait = "timeout 5 sh -c 'until pgrep -f \"^sleep 1234\" >/dev/null; do sleep 0.01; done'";
            stage.scene.host.sh(wait).context("the first use did not run")?;
            again.0.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
        }
        line.clear();
        std::io::Read::read_to_string(&mut told, &mut line)?;
        again.0.wait()?;
        println!("used again after {wait} s: {line}");
        ensure!(line.starts_with("126 ") && codes.iter().any(|code| line.contains(code)), "used again: {line}");
        let many = stage.scene.host.sh("pgrep -c -f '^sleep 1234'; true")?;
        ensure!(many.trim().parse::<u32>()? <= 1, "the plan was used twice");
        drop(stopped.command);
        stage.scene.host.sh(
            "pkill -KILL -x sudo; timeout 3 sh -c 'while pgrep -f \"^sleep 1234\" >/dev/null; do sleep 0.01; done'",
        )?;
    }
    Ok(())
}
