//! Programs that are killed before one of their calls, each in its turn: `scenarios/steps/stepper.c` on a host.

use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout};
use tether_testhost::Host;

const STEPPER: &str = "/srv/steps/stepper";
/// Where it writes what it has found in a unit.
const TOLD: &str = "/srv/steps/told";

/// A process that ends with the test, however that ends: a host is not removed while somebody waits for nobody.
pub struct Held(pub Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A call that a program is about to make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Of which thread, in the order of their making.
    pub thread: usize,
    /// The call.
    pub call: String,
    /// What it is about, without what differs from time to time.
    pub what: String,
    /// How often the thread has come by such a one, from 1.
    pub time: usize,
}

impl Step {
    /// Without the number.
    pub fn kind(&self) -> String {
        format!("{} {} {}", self.thread, self.call, self.what)
    }
}

/// Who is stepped.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'w> {
    /// What this process becomes, or starts.
    Of(u32),
    /// What this command becomes or starts; it is root's.
    Command(&'w str),
}

/// What is to be done to whom.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'o> {
    /// The program's name.
    pub name: &'o str,
    /// For so long at most: then a process goes on alone, and a command is killed.
    pub seconds: u32,
    /// Letters, as the stepper explains them.
    pub how: &'o str,
    /// Before which step it is killed; none: it is only watched.
    pub at: Option<&'o Step>,
}

/// One that is at work.
pub struct Stepping {
    child: Held,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Stepped {
    /// What was seen, in its order, if nobody was to be killed.
    pub seen: Vec<Step>,
    /// Whether somebody was killed.
    pub killed: bool,
}

/// Builds the stepper on a host.
pub fn build(host: &Host) -> Result<()> {
    host.sh("mkdir -p /srv/steps")?;
    host.write_file("/srv/steps/stepper.c", include_str!("../scenarios/steps/stepper.c"), 0o644)?;
    host.sh(&format!("gcc -O1 -o {STEPPER} {STEPPER}.c"))?;
    Ok(())
}

/// What the stepper is told.
fn arguments(orders: &Orders<'_>, more: &str) -> [String; 5] {
    let thread = orders.at.map_or(0, |step| step.thread).to_string();
    let at = orders.at.map_or("0".to_owned(), |step| format!("{}:{}:{}", step.call, step.what, step.time));
    [orders.name.to_owned(), thread, at, orders.seconds.to_string(), format!("-{}{more}", orders.how)]
}

/// Writes a script that becomes a program under the stepper, for a unit to start; what comes of it is read by [`told`].
pub fn instead(host: &Host, orders: &Orders<'_>, script: &str, program: &str) -> Result<()> {
    let line = format!("exec {STEPPER} {} {program}\n", arguments(orders, "b").join(" "));
    host.sh(&format!("rm -f {TOLD}"))?;
    Ok(host.write_file(script, line, 0o755)?)
}

/// Waits until the program of [`instead`] is over, or the stepper has let it go.
pub fn told(host: &Host) -> Result<Stepped> {
    let text = host.sh(&format!(
        "timeout 60 sh -c 'until grep -qsE \"^(ended|late)$\" {TOLD}; do sleep 0.01; done'; cat {TOLD}"
    ))?;
    read(text.lines().map(|line| Ok(line.to_owned())))
}

/// Starts it; comes back once it has hold of the process.
pub fn start(host: &Host, orders: &Orders<'_>, whom: Whom<'_>) -> Result<Stepping> {
    let command = host.command(STEPPER).args(&arguments(orders, "").each_ref().map(String::as_str));
    let command = match whom {
        Whom::Of(pid) => command.args(&["-p", &pid.to_string()]),
        Whom::Command(line) => command.args(&["/bin/sh", "-c", line]),
    };
    let mut child = Held(command.spawn()?);
    let mut lines = BufReader::new(child.0.stdout.take().context("no stdout")?).lines();
    let first = lines.next().transpose()?;
    if first.as_deref() != Some("attached") {
        let mut why = String::new();
        std::io::Read::read_to_string(child.0.stderr.as_mut().context("no stderr")?, &mut why)?;
        bail!("the stepper did not get hold of it: {first:?} {why}");
    }
    Ok(Stepping { child, lines })
}

impl Stepping {
    /// Waits until the program is over, or the stepper has let it go.
    pub fn end(mut self) -> Result<Stepped> {
        let stepped = read(self.lines.by_ref())?;
        let ended = self.child.0.wait()?;
        ensure!(ended.success(), "the stepper ended with {ended}");
        Ok(stepped)
    }
}

fn read(lines: impl Iterator<Item = std::io::Result<String>>) -> Result<Stepped> {
    let (mut stepped, mut times) = (Stepped::default(), BTreeMap::<_, usize>::new());
    for line in lines {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let [how @ ("step" | "killed"), _, thread, call, what] = words.as_slice() else { continue };
        let mut step = Step { thread: thread.parse()?, call: (*call).to_owned(), what: kind_of(what), time: 0 };
        let time = times.entry(step.kind()).or_default();
        *time += 1;
        step.time = *time;
        if *how == "killed" { stepped.killed = true } else { stepped.seen.push(step) }
    }
    Ok(stepped)
}

/// A file of the inbox is named by what it is and a number, digest or session.
fn kind_of(what: &str) -> String {
    let (dot, name) = what.strip_prefix('.').map_or(("", what), |name| (".", name));
    let end = name.find(|c: char| c == '-' || c == '.' || c.is_ascii_digit()).unwrap_or(name.len());
    let kind = name.get(..end).filter(|kind| !kind.is_empty());
    kind.map_or_else(|| "-".to_owned(), |kind| format!("{dot}{kind}"))
}

/// Which of those that were seen are tried: of each kind the first three, and so many of the others that it is `most` in
/// all, as far apart as they can be. All of them with `TETHER_TEST_LONG`.
pub fn chosen(seen: &[Step], most: usize) -> Vec<Step> {
    if std::env::var_os("TETHER_TEST_LONG").is_some() {
        return seen.to_vec();
    }
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..seen.len()).partition(|place| seen[*place].time <= FIRST);
    let left = most.saturating_sub(first.len()).min(rest.len());
    let more = (0..left).map(|number| rest[number * rest.len() / left]);
    let places: BTreeSet<usize> = first.iter().copied().chain(more).collect();
    places.into_iter().map(|place| seen[place].clone()).collect()
}

/// So many of each kind are tried whatever there is else.
const FIRST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_what_it_is() {
        for (name, kind) in [
            (".shipped-abc-exec-1.jws", ".shipped"),
            ("feed-12.jws", "feed"),
            ("head.jws", "head"),
            ("socket", "socket"),
            ("-", "-"),
        ] {
            assert_eq!(kind_of(name), kind);
        }
    }

    #[test]
    fn each_kind_is_tried_and_some_more_of_the_many() {
        let mut seen: Vec<Step> = (1..=100)
            .map(|time| Step { thread: 0, call: "write".to_owned(), what: "socket".to_owned(), time })
            .collect();
        seen.push(Step { thread: 0, call: "exit".to_owned(), what: "-".to_owned(), time: 1 });
        if std::env::var_os("TETHER_TEST_LONG").is_some() {
            assert_eq!(chosen(&seen, 10), seen);
            return;
        }
        let tried = chosen(&seen, 10);
        assert_eq!(tried.len(), 10);
        assert!(tried.contains(&seen[0]) && tried.contains(&seen[100]) && tried.contains(&seen[1]));
        assert_eq!(chosen(&seen[..3], 10), seen[..3]);
    }
}
