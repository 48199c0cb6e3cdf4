//! What came of all of it, by function.

use super::data::{Choice, Payload};
use super::run::Outcome;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Payloads by their names, one line each.
#[derive(Debug)]
pub struct Listed<'p>(pub Vec<(&'p Payload, &'p Outcome)>);

impl<'p> Listed<'p> {
    /// Those of a run for which this holds.
    pub fn of(payloads: &'p [Payload], outcomes: &'p [Outcome], which: impl Fn(&Outcome) -> bool) -> Self {
        Self(payloads.iter().zip(outcomes).filter(|(_, outcome)| which(outcome)).collect())
    }

    /// Nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (payload, outcome) in &self.0 {
            let shown: String = outcome.out.chars().rev().take(160).collect::<Vec<_>>().into_iter().rev().collect();
            writeln!(f, "  {}: {}; {shown:?}", payload.name, outcome.harm)?;
        }
        Ok(())
    }
}

/// A table by function: how many GTFOBins has, how many were run, did harm as plain root, did harm confined, and
/// reached a shell confined.
pub fn score(choice: &Choice, root: &[Outcome], confined: &[Outcome]) -> String {
    let mut rows: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    let lists = [&choice.run, &choice.no_package, &choice.excluded, &choice.inherited];
    for payload in lists.into_iter().flatten() {
        rows.entry(&payload.class).or_default()[0] += 1;
    }
    for ((payload, as_root), as_agent) in choice.run.iter().zip(root).zip(confined) {
        let row = rows.entry(&payload.class).or_default();
        row[1] += 1;
        row[2] += usize::from(!as_root.harm.is_empty());
        row[3] += usize::from(!as_agent.harm.is_empty());
        row[4] += usize::from(as_agent.reached);
    }
    let mut text = "| function | payloads | run | harm as plain root | harm confined | a shell confined |\n\
                    |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let mut sums = [0; 5];
    for (class, row) in &rows {
        let _ = writeln!(text, "| {class} | {} |", row.map(|n| n.to_string()).join(" | "));
        sums.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
    }
    let _ = writeln!(text, "| all | {} |", sums.map(|n| n.to_string()).join(" | "));
    let _ = writeln!(
        text,
        "\nNot run: {} without a program in Debian bookworm (or only with hundreds of further packages), {} not safe on a shared \
         kernel, {} that only start another program of the list.",
        choice.no_package.len(),
        choice.excluded.len(),
        choice.inherited.len(),
    );
    text
}
