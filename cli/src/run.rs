//! `tether run`: an agent's way to run what its bundle allows, where there is no sudo. For agents only, and without
//! root: the session's socket is the agent's own.

use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;
use tether_hostlink::paths::{is_agent_uid, run_socket};
use tether_hostlink::{Answer, Deadline, Link, LinkError, Refusal, Reply, Request, codes};

/// How long agentd may take to take the question, and to answer one that runs nothing.
const ANSWER: Duration = Duration::from_secs(2);
/// As env(1) and shells use it: "it could not be run".
const REFUSED: u8 = 126;

/// What follows `tether run`.
#[derive(Args)]
#[command(after_help = "\
Input is handed on if it is a pipe. Exit code: the command's own, 128 and the signal's number if a signal ended it,
126 if it was refused. A refusal says why, and what is allowed instead.")]
pub struct Arguments {
    /// List what you may run; with --json for a program or a model
    #[arg(short, long)]
    list: bool,
    /// The command and its arguments; a `--` before it may be left out
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required_unless_present = "list")]
    command: Vec<OsString>,
}

/// Runs, or lists.
pub fn run(arguments: Arguments, json: bool) -> ExitCode {
    let done = if arguments.list { list(json) } else { command(arguments.command) };
    done.unwrap_or_else(|refusal| {
        tell(&refusal);
        ExitCode::from(REFUSED)
    })
}

fn command(words: Vec<OsString>) -> Result<ExitCode, Refusal> {
    let argv = words.into_iter().map(text).collect::<Result<_, _>>()?;
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let lent = [input.as_fd(), output.as_fd(), error.as_fd()];
    // A command takes as long as it takes; agentd ends it.
    let asked = link()?.ask_with(&Request::Run { argv }, &lent, Deadline::after(ANSWER), Deadline::never());
    match asked.map_err(|error| no_answer(&error))?.reply {
        Reply::Ran { status, cut } => {
            cut.iter().for_each(tell);
            Ok(ExitCode::from(code(ExitStatus::from_raw(status))))
        }
        Reply::Refused(refusal) => Err(refusal),
        _ => Err(unexpected()),
    }
}

fn list(json: bool) -> Result<ExitCode, Refusal> {
    let deadline = Deadline::after(ANSWER);
    let Answer { reply, .. } = link()?.ask(&Request::Commands, deadline).map_err(|error| no_answer(&error))?;
    match reply {
        Reply::Commands { rules, .. } if json => println!("{rules:#}"),
        Reply::Commands { bundle, commands, left_out, .. } => {
            println!("You may run, by bundle {bundle}:");
            commands.iter().for_each(|line| println!("    {line}"));
            if left_out > 0 {
                println!("    … and {left_out} more");
            }
        }
        Reply::Refused(refusal) => return Err(refusal),
        _ => return Err(unexpected()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The session's own socket.
fn link() -> Result<Link, Refusal> {
    // /proc/self belongs to whoever the process runs as (proc(5)).
    let uid = std::fs::metadata("/proc/self").map(|about| about.uid()).ok().filter(|uid| is_agent_uid(*uid));
    let uid = uid.ok_or_else(|| {
        Refusal::new("run.not_an_agent", "`tether run` is for an agent in its session").hint("use sudo")
    })?;
    Link::open_at(&run_socket(uid)).map_err(|error| {
        Refusal::new(codes::UNREACHABLE, format!("{error}; nothing was run"))
            .hint("tell the human you act for that the host's agentd does not answer")
    })
}

fn no_answer(error: &LinkError) -> Refusal {
    if matches!(error, LinkError::TooLong(_)) {
        return Refusal::new("run.too_long", "the command line is too long to be decided")
            .hint("pass fewer arguments at a time");
    }
    Refusal::new(codes::UNREACHABLE, format!("{error}; the command did not run, or was ended"))
        .hint("agentd was restarted, or very many commands run at once: look at what there is, then try again")
}

fn unexpected() -> Refusal {
    Refusal::new(codes::INTERNAL, "agentd answered something that was not asked")
}

fn text(word: OsString) -> Result<String, Refusal> {
    word.into_string().map_err(|_| Refusal::new("run.not_utf8", "an argument is not UTF-8, so it cannot be recorded"))
}

/// As shells have it (the wait status of a command that stopped or goes on never comes).
fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}

/// In the words of sudo's plugin and the launcher.
fn tell(refusal: &Refusal) {
    let hint = refusal.hint.as_ref().map(|hint| format!("\ntether: hint: {hint}")).unwrap_or_default();
    let text = format!("tether: {refusal}{hint}");
    // What an agent typed is part of it: no control characters reach a terminal.
    let shown: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    // In one piece: what several commands say at once to one file does not mix. Where nobody can be told, nobody is.
    let _ = std::io::stderr().write_all(format!("{shown}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Arguments,
    }

    fn words(line: &str) -> Option<(bool, Vec<OsString>)> {
        let parsed = Line::try_parse_from(std::iter::once("run").chain(line.split_whitespace())).ok()?;
        Some((parsed.run.list, parsed.run.command))
    }

    #[test]
    fn what_follows_the_command_is_the_commands() {
        let of = |line: &str| Some((false, line.split_whitespace().map(OsString::from).collect()));
        assert_eq!(words("ss -tn"), of("ss -tn"));
        assert_eq!(words("-- ss -tn"), of("ss -tn"));
        assert_eq!(words("ls -l --list -- -x"), of("ls -l --list -- -x"));
        assert_eq!(words("-l"), Some((true, vec![])));
        assert_eq!(words("--list"), Some((true, vec![])));
        assert_eq!(words(""), None);
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        for (status, expected) in [(0, 0), (7 << 8, 7), (126 << 8, 126), (15, 143), (9 | 0x80, 137)] {
            assert_eq!(code(ExitStatus::from_raw(status)), expected);
        }
    }
}
