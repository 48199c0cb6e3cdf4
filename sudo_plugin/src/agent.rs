//! An agent's sudo: everything is agentd's decision, and no answer is a refusal.
#![forbid(unsafe_code)]

use crate::options;
use crate::run::Run;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tether_hostlink::{Answer, CommandLine, Deadline, LinkError, Recorder, Refusal, Reply, Request, Sink, Word, codes};
use tether_recording::Stream;

/// How long agentd may take to decide. A plan is void after the same time.
const DECISION: Duration = Duration::from_secs(2);
/// How long the news of an end may take: agentd sees the end itself, too.
const FAREWELL: Duration = Duration::from_millis(500);
/// The wait status for "the launcher could not be run": exit code 126.
const NOT_RUN: i32 = 126 << 8;

/// What is known of this sudo, from its two `open` calls on.
#[derive(Debug)]
pub struct Agent {
    /// Whether the options passed, as each `open` saw them; none before it was called.
    words: Option<Result<(), Refusal>>,
    settings: Option<Result<(), Refusal>>,
    cwd: Word,
    tty: Option<String>,
    caller: Vec<Vec<u8>>,
    /// Columns and rows of the agent's terminal, if the command gets one of sudo's.
    terminal: Option<[u16; 2]>,
    held: Option<Held>,
}

/// A plan that is being carried out. The descriptors stay open until sudo has handed them to the launcher.
#[derive(Debug)]
struct Held {
    plan: String,
    /// How many bytes it may still print; none once agentd was told that it printed more.
    output_left: Option<u64>,
    /// What its terminal shows is written to it.
    sink: Option<Sink>,
    _descriptors: Vec<OwnedFd>,
}

impl Agent {
    /// Before any `open`: nothing may run. So a sudo.conf that lost one of our lines refuses.
    pub const fn new() -> Self {
        Self {
            words: None,
            settings: None,
            cwd: Word::empty(),
            tty: None,
            caller: Vec::new(),
            terminal: None,
            held: None,
        }
    }

    /// The audit plugin's `open`: the command line up to the command.
    pub fn submitted(&mut self, words: &[Vec<u8>]) {
        self.words = Some(options::check_words(words));
    }

    /// The policy's `open`. `stands_between`: whether sudo can put a terminal of its own before the agent's.
    pub fn opened(
        &mut self,
        settings: &[Vec<u8>],
        user_info: &[Vec<u8>],
        environment: Vec<Vec<u8>>,
        stands_between: bool,
    ) {
        self.settings = Some(options::check_settings(settings));
        self.cwd = Word::from(raw_info(user_info, "cwd=").unwrap_or_default().to_vec());
        self.tty = info(user_info, "tty=");
        let size = |name| info(user_info, name).and_then(|text| text.parse().ok()).unwrap_or(0);
        self.terminal = stands_between.then(|| [size("cols="), size("lines=")]);
        self.caller = environment;
    }

    /// `sudo COMMAND`: asks agentd and prepares the run.
    pub fn check(&mut self, argv: Vec<Vec<u8>>, assigned: &[Vec<u8>], ask: impl Asks) -> Result<Run, Refusal> {
        let read = self.may_ask().and_then(|()| argv.iter().cloned().map(text).collect::<Result<_, _>>());
        let argv = match read {
            Ok(argv) => argv,
            Err(refusal) => {
                let argv = argv.into_iter().map(Word::from).collect();
                // Refused it is, recorded or not.
                let _ = ask(&Request::Report { refusal: refusal.clone(), argv }, Deadline::after(FAREWELL));
                return Err(refusal);
            }
        };
        if !assigned.is_empty() {
            return Err(options::refused("setting of environment variables"));
        }
        let line = CommandLine { argv, cwd: self.cwd.clone(), tty: self.tty.clone(), terminal: self.terminal };
        let Answer { reply, mut descriptors } = answer(ask, &Request::Decide(line), DECISION)?;
        let Reply::Plan { plan, output_limit, recorder } = reply else { return Err(unexpected()) };
        let sink = if recorder == Recorder::Sudo { Some(descriptors.pop().ok_or_else(unexpected)?) } else { None };
        if sink.is_some() && self.terminal.is_none() {
            return Err(unexpected());
        }
        let run = Run::new(&descriptors, &self.caller)?;
        let sink = sink.map(Sink::new);
        self.held = Some(Held { plan, output_left: Some(output_limit), sink, _descriptors: descriptors });
        Ok(run)
    }

    /// Whether the command gets a terminal of sudo's.
    pub const fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// The command's terminal shows this. Once it cannot be written down, agentd ends the command, and nothing more is.
    pub fn shown(&mut self, bytes: &[u8], ask: impl Asks) {
        self.written(|sink| sink.shown(Stream::Output, bytes), ask);
    }

    /// The terminal has another size.
    pub fn resized(&mut self, columns: u16, rows: u16, ask: impl Asks) {
        self.written(|sink| sink.resized(columns, rows), ask);
    }

    fn written(&mut self, write: impl FnOnce(&Sink) -> Result<(), Errno>, ask: impl Asks) {
        let Some(held) = &mut self.held else { return };
        let Some(Err(_)) = held.sink.as_ref().map(write) else { return };
        held.sink = None;
        // agentd sees the recording stop without an end, should this not arrive.
        let _ = ask(&Request::Unrecorded { plan: held.plan.clone() }, Deadline::after(FAREWELL));
    }

    /// The command printed so many bytes. Beyond its limit agentd ends it: refusing the bytes here would leave sudo
    /// waiting for ever where there is no terminal.
    pub fn printed(&mut self, bytes: u64, ask: impl Asks) {
        let Some(held) = &mut self.held else { return };
        let Some(left) = held.output_left else { return };
        held.output_left = left.checked_sub(bytes);
        if held.output_left.is_none() {
            // Its time limit ends it too, should this not arrive.
            let _ = ask(&Request::Exceeded { plan: held.plan.clone() }, Deadline::after(FAREWELL));
        }
    }

    /// `sudo -l`, `sudo -l COMMAND`: the lines to print. `sudo -l -l`: JSON.
    pub fn list(&self, argv: Vec<Vec<u8>>, as_data: bool, of_another: bool, ask: impl Asks) -> Result<String, Refusal> {
        self.may_ask()?;
        if of_another {
            return Err(options::refused("option `-U`"));
        }
        let Answer { reply, .. } = answer(ask, &Request::Commands, DECISION)?;
        let Reply::Commands { bundle, mut commands, left_out, rules } = reply else { return Err(unexpected()) };
        if as_data {
            return Ok(format!("{rules:#}\n"));
        }
        if left_out > 0 {
            commands.push(format!("… and {left_out} more"));
        }
        match argv.into_iter().next().map(text).transpose()? {
            None => Ok(lines(&format!("You may run, by bundle {bundle}:"), &commands)),
            Some(program) => naming(&program, &bundle, &commands),
        }
    }

    /// `sudo -v`: there is no password to refresh; only the options are looked at.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.may_ask()
    }

    /// The policy's `close`, after the command or instead of it.
    pub fn closed(&mut self, status: i32, error: i32, ask: impl Asks) {
        if let Some(Held { plan, sink, .. }) = self.held.take() {
            let status = if error == 0 { status } else { NOT_RUN };
            // A recording without its end is told as such.
            let _ = sink.map(|sink| sink.end(Some(status)));
            // agentd watches the command itself, so news that does not arrive is not lost.
            let _ = ask(&Request::Ended { plan, status }, Deadline::after(FAREWELL));
        }
    }

    fn may_ask(&self) -> Result<(), Refusal> {
        let (Some(words), Some(settings)) = (&self.words, &self.settings) else {
            return Err(Refusal::new("sudo.not_set_up", "sudo.conf names only some of tether's plugins").hint(
                "an administrator: /etc/sudo.conf needs the lines for tether_policy, tether_audit and tether_io",
            ));
        };
        words.clone()?;
        settings.clone()
    }
}

/// How agentd is asked; tests answer themselves.
pub trait Asks: FnOnce(&Request, Deadline) -> Result<Answer, LinkError> {}
impl<F: FnOnce(&Request, Deadline) -> Result<Answer, LinkError>> Asks for F {}

/// The answer, unless it is a refusal or none.
fn answer(ask: impl Asks, request: &Request, span: Duration) -> Result<Answer, Refusal> {
    match ask(request, Deadline::after(span)) {
        Ok(Answer { reply: Reply::Refused(refusal), .. }) => Err(refusal),
        Ok(answer) => Ok(answer),
        Err(LinkError::TooLong(_)) => Err(Refusal::new("sudo.too_long", "the command line is too long to be decided")
            .hint("pass fewer arguments at a time")),
        Err(error) => Err(Refusal::new(codes::UNREACHABLE, error.to_string())
            .hint("nothing was run; tell the human you act for that the host's agentd does not answer")),
    }
}

fn unexpected() -> Refusal {
    Refusal::new(codes::INTERNAL, "agentd answered something that was not asked")
}

/// The lines for one program, by its name or path. Whether the arguments fit is decided when it is run.
fn naming(program: &str, bundle: &str, commands: &[String]) -> Result<String, Refusal> {
    let is_named = |line: &&String| {
        let first = line.split(' ').next().unwrap_or_default();
        first == program || first.rsplit('/').next() == Some(program)
    };
    let named: Vec<_> = commands.iter().filter(is_named).cloned().collect();
    if named.is_empty() {
        return Err(Refusal::new("bundle.no_rule", format!("bundle {bundle} has no rule for {program}"))
            .hint("`sudo -l` shows what you may run"));
    }
    Ok(lines(&format!("Bundle {bundle} has for {program}:"), &named))
}

fn lines(title: &str, commands: &[String]) -> String {
    commands.iter().fold(format!("{title}\n"), |text, line| text + "    " + line + "\n")
}

fn text(bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes)
        .map_err(|_| Refusal::new("sudo.not_utf8", "an argument is not UTF-8, and no rule can be about it"))
}

fn info(user_info: &[Vec<u8>], start: &str) -> Option<String> {
    raw_info(user_info, start).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn raw_info<'i>(user_info: &'i [Vec<u8>], start: &str) -> Option<&'i [u8]> {
    user_info.iter().find_map(|line| line.strip_prefix(start.as_bytes()))
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
