//! `tether audit export`: records in the forms of other programs, one a line, as they are read.

use super::filter::Filter;
use super::proof;
use crate::Found;
use crate::central::Who;
use crate::out::Out;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use tether_outward::{Ocsf, Record, syslog};

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// OCSF 1.9, one event a line
    Ocsf,
    /// Syslog as RFC 5424 has it, one message a line
    Rfc5424,
    /// The records' own lines, as they stand in their chains
    Jsonl,
}

#[derive(Args)]
pub struct Arguments {
    /// In which form
    #[arg(long, value_enum)]
    format: Format,
    /// To a file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
}

impl Arguments {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self, who: &Who) -> bool {
        self.filter.is_of_host(who)
    }
}

/// Runs it.
pub fn run(who: &Who, arguments: &Arguments) -> Result<Found> {
    let out: Box<dyn Write> = match &arguments.out {
        Some(path) => {
            Box::new(std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(Out::new()),
    };
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut ocsf = Ocsf::new();
    let sums = arguments.filter.read(who, &mut |seen| {
        let record = Record { chain: seen.chain, hash: seen.hash, link: seen.link };
        let line = match arguments.format {
            Format::Ocsf => ocsf.event(&record)?,
            Format::Rfc5424 => syslog(&record),
            Format::Jsonl => tether_audit::canonical(&serde_json::json!({"hash": seen.hash, "record": seen.link}))?,
        };
        writeln!(out, "{line}")?;
        Ok(true)
    })?;
    out.flush()?;
    let holds = proof::holds(&sums);
    if !holds {
        eprintln!("the chain does NOT hold, and what comes after a first bad line was left out: tether audit verify");
    }
    Ok(if holds { Found::Fine } else { Found::Something })
}
