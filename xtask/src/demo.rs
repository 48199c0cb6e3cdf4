//! The demo: builds what it needs, then tells the story step by step, and the trail that is left of it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tether::linked::linked;
use tether_testhost::{Image, Suite};
use tether_tests::demo::{self, Kept, Told};

use crate::run::{self, cargo, say};
use crate::{deb, setup};

/// The widest line of what a step shows.
const WIDE: usize = 150;

pub(crate) fn run(suite: Suite, json: bool, keep: Option<&Path>) -> Result<ExitCode> {
    let folder = keep.map(empty).transpose()?;
    setup::ensure()?;
    setup::provider()?;
    let package = deb::package()?;
    say("building central and the agent's tool");
    run::run(&mut cargo(&["build", "--quiet", "--locked", "--package", "tether-tests", "--bins"]))?;
    Image::ensure(suite, &mut |line| say(line))?;
    // The attacker's host.
    Image::ensure(Suite::Bookworm, &mut |line| say(line))?;
    eprintln!();
    let story = demo::run_with(suite, &package, folder.as_deref(), &mut show)?;
    if json {
        println!("{}", serde_json::to_string(&story)?);
    } else {
        let total: u64 = story.steps.iter().map(|step| step.milliseconds).sum();
        let seconds = total as f64 / 1000.0;
        eprintln!("{seconds:>7.1} s   {} steps\n", story.steps.len());
        print!("{}", linked(&story.events, std::io::stdout().is_terminal()));
        if let Some(kept) = &story.kept {
            eprint!("{}", next(kept));
        }
    }
    Ok(if story.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Made before anything is built: an hour later it would be a pity.
fn empty(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    ensure!(std::fs::read_dir(folder)?.next().is_none(), "{} is not empty", folder.display());
    Ok(folder.canonicalize()?)
}

/// What to do with what was kept.
fn next(kept: &Kept) -> String {
    let folder = kept.folder.display();
    let roots: String = kept.roots.iter().map(|root| format!(" --root {root}")).collect();
    let session = kept.sessions.first().map_or("SESSION", String::as_str);
    format!(
        "\nTo look at it (docs/audit.md), with target/debug/tether of cargo build --package tether:\n\
         \x20 cd {folder}\n\
         \x20 tether session show {session} --from export{roots}\n\
         \x20 tether session show {session} --from export{roots} --html page.html\n\
         \x20 tether session play export/recordings/{session}/sudo-1.rec\n\
         \x20 tether audit search --from export --outcome refused\n\
         \x20 tether audit verify --export export --recordings export/recordings{roots}\n"
    )
}

/// On a terminal a step is there as soon as it begins, and its line is written anew when it is done.
fn show(told: Told<'_>) {
    let mut err = std::io::stderr().lock();
    let colour = err.is_terminal();
    // Nobody reads on if stderr is gone; the story goes on for its outcome.
    let _ = match told {
        Told::Begun(name) if colour => write!(err, "    ...    {name}").and_then(|()| err.flush()),
        Told::Begun(_) => Ok(()),
        Told::Done(step, shown) => {
            let (start, bold, dim, plain) =
                if colour { ("\r\x1b[K", "\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "", "") };
            let head = writeln!(err, "{start}{:>6} ms  {bold}{}{plain}", step.milliseconds, step.name);
            shown.trim_end().lines().fold(head, |done, line| {
                let line: String = line.chars().filter(|c| !c.is_control()).take(WIDE).collect();
                done.and_then(|()| writeln!(err, "           {dim}{line}{plain}"))
            })
        }
    };
}
