//! `tether audit verify`: from files alone.

use super::check::{Seen, Summary};
use super::copy::Copy;
use super::files::Files;
use super::finding::{Finding, What};
use super::keys::in_export;
use super::recordings::{HERE as RECORDINGS, Held, Recordings};
use super::source::{Chains, Trust};
use super::{proof, show};
use crate::Found;
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct Arguments {
    /// A host's folder of segments, or a copy of it; this host's if nothing is named
    #[arg(long, conflicts_with = "file", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One file, which may be a part of a chain
    #[arg(long, conflicts_with = "export", value_name = "FILE")]
    file: Option<PathBuf>,
    /// An export of central's: all chains, and the log. With --dir, the host's chain is compared with central's copy
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Recordings too: a folder with SESSION/NAME.rec, this host's if none is named. Each is read whole and held against
    /// what the chains say of it
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = RECORDINGS)]
    recordings: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

impl Arguments {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self) -> bool {
        let here = |folder: &PathBuf| folder.as_os_str() == RECORDINGS;
        let chain = self.dir.is_none() && self.file.is_none() && self.export.is_none();
        chain || self.recordings.as_ref().is_some_and(here)
    }
}

/// Runs it.
pub fn run(arguments: &Arguments, json: bool) -> Result<Found> {
    let mut sums = Vec::new();
    let mut log = None;
    let export = arguments.export.as_ref().map(|folder| {
        let trust =
            Trust { keys: arguments.trust.keys.clone(), root: arguments.trust.root.clone(), ..Trust::default() };
        Chains::of_export(folder, &trust)
    });
    let export = export.transpose()?;
    let mut trust = arguments.trust.clone();
    if let Some(folder) = arguments.export.as_ref().filter(|_| trust.keys.is_empty() && !trust.root.is_empty()) {
        trust.keys = in_export(folder)?;
    }
    let of_dir = match (&arguments.dir, &arguments.file) {
        (Some(path), _) | (None, Some(path)) => Some(Chains::at(path, &trust)?),
        (None, None) if export.is_some() => None,
        (None, None) => Some(Chains::of_host(&trust)?),
    };
    let mut recordings = arguments.recordings.as_deref().map(Recordings::of).transpose()?;
    let mut told = |seen: &Seen<'_>| recordings.iter_mut().for_each(|recordings| recordings.take(seen));
    // A folder of recordings is that of the host whose chain is named beside it.
    let whose: Vec<String> = of_dir.iter().flat_map(|chains| &chains.all).filter_map(Files::claimed).collect();
    if let Some(chains) = &export {
        let is_told = |seen: &Seen<'_>| of_dir.is_none() || whose.iter().any(|chain| chain == seen.chain);
        sums.extend(chains.read(&mut |seen| {
            if is_told(&seen) {
                told(&seen)
            }
        })?);
        log = super::log::check(chains, &sums)?;
    }
    if let Some(chains) = &of_dir {
        for files in &chains.all {
            sums.push(compared(chains, files, export.as_ref(), &mut told)?);
        }
    }
    let held = recordings.map(|recordings| recordings.check()).transpose()?;
    Ok(report(&sums, log.as_ref(), held.as_ref(), json))
}

/// A host's chain, and central's copy of it beside.
fn compared(
    chains: &Chains,
    files: &Files,
    export: Option<&Chains>,
    told: &mut dyn FnMut(&Seen<'_>),
) -> Result<Summary> {
    let Some(export) = export else { return chains.read_one(files, &mut |seen| told(&seen)) };
    let mut copy: Option<Copy> = None;
    let mut fork: Option<Finding> = None;
    let mut trouble = None;
    let mut sum = chains.read_one(files, &mut |seen| {
        told(&seen);
        if copy.is_none() {
            copy = export.all.iter().find(|files| files.chain.as_deref() == Some(seen.chain)).map(Copy::of);
        }
        let Some(copy) = &mut copy else { return };
        match differs(copy, &seen) {
            Ok(Some(finding)) => fork = fork.take().or(Some(finding)),
            Ok(None) => {}
            Err(error) => trouble = Some(error),
        }
    })?;
    if let Some(error) = trouble {
        return Err(error);
    }
    ensure!(copy.is_some() || sum.last == 0, "the export has no chain of {}", sum.chain);
    (sum.whose, sum.compared) = (", compared with central's copy", true);
    // Where a line does not hold, reading ended, and not the chain.
    let is_cut = fork.is_none() && sum.findings.iter().all(|finding| finding.what == What::Clock);
    sum.findings.extend(fork);
    let last = copy.map_or(Ok(0), |mut copy| copy.last())?;
    if is_cut && last > sum.last {
        let why = format!(
            "central has records up to {last}, here the chain ends with {}: it was cut, or put back to an older state",
            sum.last
        );
        sum.findings.push(Finding {
            what: What::Cut,
            chain: sum.chain.clone(),
            number: Some(sum.last + 1),
            place: None,
            why,
        });
    }
    Ok(sum)
}

fn differs(copy: &mut Copy<'_>, seen: &Seen<'_>) -> Result<Option<Finding>> {
    let other = copy.hash_of(seen.link.number)?.filter(|hash| *hash != seen.hash);
    Ok(other.map(|_| {
        let why = "central has another record of this number: this is another history".to_owned();
        let (chain, number) = (seen.chain.to_owned(), Some(seen.link.number));
        Finding { what: What::Forked, chain, number, place: seen.place.cloned(), why }
    }))
}

fn report(sums: &[Summary], log: Option<&super::log::Proven>, held: Option<&Held>, json: bool) -> Found {
    let holds = proof::holds(sums) && log.is_none_or(|log| log.findings.is_empty()) && held.is_none_or(Held::holds);
    if json {
        let (log, held) = (log.map(super::log::Proven::json), held.map(Held::json));
        println!("{}", json!({"holds": holds, "chains": proof::json(sums), "log": log, "recordings": held}));
    } else {
        let look = show::look();
        println!("{}", if holds { "Everything that is here holds." } else { "It does NOT hold." });
        print!("{}", proof::words(sums, false, look));
        if let Some(log) = log {
            print!("{}", log.words(look));
        }
        if let Some(held) = held {
            print!("{}", held.words(look));
        }
        if !holds {
            eprintln!("hint: what comes after a first bad line cannot be trusted; keep the files as evidence");
        }
    }
    if holds { Found::Fine } else { Found::Something }
}
