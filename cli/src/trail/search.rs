//! `tether audit search`.

use super::check::Seen;
use super::filter::Filter;
use super::story::Rec;
use super::words::{label, told};
use super::{proof, show};
use crate::Found;
use crate::central::Who;
use crate::out::Out;
use crate::render::{RED, moment, painted, printable};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::io::{BufWriter, Write};
use tether_audit::Outcome;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// No more than so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
}

impl Arguments {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self, who: &Who) -> bool {
        self.filter.is_of_host(who)
    }
}

/// Runs it. With `--json` a line for each record, as it is found.
pub fn run(who: &Who, arguments: &Arguments, json: bool) -> Result<Found> {
    let look = show::look();
    let mut out = BufWriter::new(Out::new());
    let mut found = 0_u64;
    let sums = arguments.filter.read(who, &mut |seen| {
        if json {
            let id = format!("{}#{}", seen.chain, seen.link.number);
            writeln!(out, "{}", json!({"id": id, "chain": seen.chain, "hash": seen.hash, "record": seen.link}))?;
        } else {
            if found == 0 {
                writeln!(
                    out,
                    "{:<19}   {:<24} {:<12} {:<8} {:<17} WHAT",
                    "TIME (UTC)", "FOR", "AGENT", "SESSION", "EVENT"
                )?;
            }
            line(&mut out, &seen, look.colour)?;
        }
        found += 1;
        Ok(arguments.limit.is_none_or(|limit| found < limit))
    })?;
    out.flush()?;
    if found == 0 {
        eprintln!("nothing was found");
    }
    let holds = proof::holds(&sums);
    if !holds {
        eprintln!(
            "the chain does NOT hold, and what comes after a first bad line was not looked at: tether audit verify"
        );
    }
    Ok(if holds { Found::Fine } else { Found::Something })
}

fn line(out: &mut impl Write, seen: &Seen<'_>, colour: bool) -> std::io::Result<()> {
    let record = Rec { chain: seen.chain.to_owned(), hash: seen.hash.to_owned(), place: None, link: seen.link.clone() };
    let event = &seen.link.event;
    let (mark, paint) = match event.outcome {
        Outcome::Allowed => (" ", ""),
        Outcome::Refused => ("✗", RED),
        Outcome::Error => ("!", RED),
    };
    let id = |known: &tether_audit::Known| known.id().map_or_else(|| "-".to_owned(), printable);
    let code = if event.code.is_empty() { String::new() } else { format!("  [{}]", printable(&event.code)) };
    let paint = |text: &str| if paint.is_empty() { text.to_owned() } else { painted(text, paint, colour) };
    writeln!(
        out,
        "{} {} {:<24} {:<12} {:<8} {:<17} {}{}  {}#{}",
        moment(seen.link.time_us),
        paint(mark),
        id(&event.ids.human),
        id(&event.ids.agent),
        // As much of it as `session show` needs.
        id(&event.ids.session).chars().take(8).collect::<String>(),
        label(&event.event),
        told(&record),
        paint(&code),
        printable(seen.chain),
        seen.link.number,
    )
}
