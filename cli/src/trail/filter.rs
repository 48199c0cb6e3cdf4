//! Which records are wanted, from where. Records pass one by one: nothing is kept.

use super::check::{Seen, Summary};
use super::source::{Chains, Trust, from_central};
use crate::central::{Link as CentralLink, Who};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tether_audit::{Known, Outcome};

/// How a record came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Came {
    /// It was allowed, or it happened.
    Allowed,
    /// It was refused.
    Refused,
    /// Something went wrong.
    Error,
}

impl Came {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }
}

/// Which records.
#[derive(Args, Debug)]
pub struct Filter {
    /// Of this human
    #[arg(long)]
    human: Option<String>,
    /// Of this agent
    #[arg(long)]
    agent: Option<String>,
    /// Of this host's chain, or of central's about this host
    #[arg(long)]
    host: Option<String>,
    /// Commands of this program: its path, or the last part of it
    #[arg(long)]
    program: Option<String>,
    /// Of this session: its id, or as much of it as is enough; from central, the whole id
    #[arg(long)]
    session: Option<String>,
    /// Of this event, as --json and docs/audit.md name it, such as sudo.command, login.bound or token.issued
    #[arg(long)]
    event: Option<String>,
    /// With this outcome
    #[arg(long, value_enum)]
    outcome: Option<Came>,
    /// With this code of a refusal or error, or codes that begin so, such as bundle.
    #[arg(long)]
    code: Option<String>,
    /// Not before: 2026-11-28, "2026-11-28 10:00:00" (UTC), or so long ago: 90m, 12h, 7d
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// Before, in the same forms
    #[arg(long, value_parser = moment)]
    until: Option<u64>,
    /// From files: a folder of segments, an export of central's, or one file. Else from central if one is named, else
    /// this host's chain
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

impl Filter {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self, who: &Who) -> bool {
        self.from.is_none() && !who.is_named()
    }

    /// Every record that fits. `each` says whether to go on; what is read of files is checked to the end all the same.
    pub fn read(&self, who: &Who, each: &mut dyn FnMut(Seen<'_>) -> Result<bool>) -> Result<Vec<Summary>> {
        let mut trouble = None;
        let mut goes_on = true;
        let mut take = |seen: Seen<'_>| {
            if goes_on && self.fits(&seen) {
                goes_on = each(seen).unwrap_or_else(|error| {
                    trouble = Some(error);
                    false
                });
            }
            goes_on
        };
        let sums = match &self.from {
            None if who.is_named() => {
                self.ask_central(who, &mut take)?;
                Vec::new()
            }
            from => {
                let chains = match from {
                    Some(path) => Chains::at(path, &self.trust)?,
                    None => Chains::of_host(&self.trust)?,
                };
                chains.read(&mut |seen| {
                    take(seen);
                })?
            }
        };
        trouble.map_or(Ok(sums), Err)
    }

    fn ask_central(&self, who: &Who, take: &mut dyn FnMut(Seen<'_>) -> bool) -> Result<()> {
        let seconds = |micros: Option<u64>| micros.map(|micros| (micros / 1_000_000).to_string());
        // Whole seconds: central may say more than was asked for, and what it says is looked at again.
        let (from, to) = (seconds(self.since), seconds(self.until.map(|until| until.saturating_add(999_999))));
        let members = [
            ("human", self.human.as_deref()),
            ("agent", self.agent.as_deref()),
            ("host", self.host.as_deref()),
            ("program", self.program.as_deref().filter(|program| program.starts_with('/'))),
            ("session", self.session.as_deref()),
            ("event", self.event.as_deref()),
            ("outcome", self.outcome.map(Came::as_str)),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
        ];
        from_central(&CentralLink::open(who)?, "/v1/audit", &members, take)
    }

    fn fits(&self, seen: &Seen<'_>) -> bool {
        let (link, event) = (seen.link, &seen.link.event);
        let is = |wanted: &Option<String>, id: &Known| wanted.as_deref().is_none_or(|wanted| id.id() == Some(wanted));
        let about = |name: &str| event.details.get(name).and_then(Value::as_str);
        let outcome = match event.outcome {
            Outcome::Allowed => Came::Allowed,
            Outcome::Refused => Came::Refused,
            Outcome::Error => Came::Error,
        };
        let host = |host: &String| seen.chain == host || about("host") == Some(host);
        let program = |wanted: &String| {
            let argument = event.details.get("argv").and_then(|argv| argv.get(0)).and_then(Value::as_str);
            let named = |path: &str| path == wanted || path.rsplit('/').next() == Some(wanted);
            about("program").or(argument).is_some_and(named)
        };
        is(&self.human, &event.ids.human)
            && is(&self.agent, &event.ids.agent)
            && self
                .session
                .as_ref()
                .is_none_or(|wanted| event.ids.session.id().is_some_and(|id| id.starts_with(wanted)))
            && self.host.as_ref().is_none_or(host)
            && self.program.as_ref().is_none_or(program)
            && self.event.as_ref().is_none_or(|wanted| *wanted == event.event)
            && self.outcome.is_none_or(|wanted| wanted == outcome)
            && self.code.as_ref().is_none_or(|wanted| !event.code.is_empty() && event.code.starts_with(wanted.as_str()))
            && self.since.is_none_or(|since| link.time_us >= since)
            && self.until.is_none_or(|until| link.time_us < until)
    }
}

/// A moment in microseconds since 1970: a date, a date and a time, or how long ago.
pub fn moment(text: &str) -> Result<u64> {
    if let Some((number, unit)) = text.split_at_checked(text.len().saturating_sub(1))
        && let (Ok(number), Some(seconds)) = (number.parse::<u64>(), unit_seconds(unit))
    {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs();
        return Ok(now.saturating_sub(number.saturating_mul(seconds)).saturating_mul(1_000_000));
    }
    let text = text.trim_end_matches('Z');
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, between: char| {
        text.split(between).map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()
    };
    let (date, time) = (numbers(date, '-'), numbers(time, ':'));
    match (date.as_deref(), time.as_deref()) {
        (
            Some([year @ 1970..=9999, month @ 1..=12, day @ 1..=31]),
            Some([hour @ 0..=23, minute @ 0..=59, rest @ ..]),
        ) => {
            let second = match rest {
                [] => 0,
                [second @ 0..=60] => *second,
                _ => bail!("{text:?} is no time"),
            };
            Ok((days(*year, *month, *day) * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000)
        }
        _ => bail!("{text:?} is no date, no date and time, and no time ago such as 12h"),
    }
}

fn unit_seconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    })
}

/// Days since 1970, with years that begin in March, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + (153 * month + 2) / 5 + day - 1;
    year / 400 * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_three_forms() {
        let words = |text: &str| crate::render::moment(moment(text).unwrap());
        assert_eq!(words("2026-11-28"), "2026-11-28 00:00:00");
        assert_eq!(words("2024-02-29T23:59:07Z"), "2024-02-29 23:59:07");
        assert_eq!(words("1970-01-01 00:01"), "1970-01-01 00:01:00");
        assert!(moment("2h").unwrap() < moment("1h").unwrap());
        for wrong in ["", "h", "2026", "2026-13-01", "2026-01-01 25:00", "2026-01-01 10:00:00:00", "-1h", "é"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
