//! agentd's audit chain goes to central: from where central says that it has it, in batches, as often as it takes.
//!
//! Nothing is shipped beyond the last signed head: agentd signs what is safe on its disk, and a record that a power cut
//! takes back was nowhere else then. What this reads is agentd's, what it is answered is central's; it believes neither
//! and only compares places.

mod segments;

pub use segments::{Batch, PATIENCE, Place, Segments};

use anyhow::{Result, bail};
use tether_centrallink::wire::Taken;

/// Where agentd writes its chain.
pub const FOLDER: &str = "/var/lib/tether/audit";
/// What enrolment commits to.
pub const START_FILE: &str = "/var/lib/tether/audit/start.json";

/// What central is sent.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'b> {
    /// What the lines follow.
    pub after: Place,
    /// Whether there is nothing beyond them.
    pub end: bool,
    /// Whether what is before them is damaged or missing here: they begin with a signed head.
    pub gap: bool,
    /// The lines.
    pub lines: &'b [u8],
}

impl Ask<'_> {
    /// The path to post to.
    pub fn path(&self) -> String {
        let Place { number, marks } = self.after;
        let end = if self.end { "&end=true" } else { "" };
        let gap = if self.gap { "&gap=true" } else { "" };
        format!("/v1/host/audit?after={number}&lines={marks}{end}{gap}")
    }
}

/// Ships one chain.
#[derive(Debug)]
pub struct Shipper {
    segments: Segments,
    /// Where central is; not known before it was asked.
    at: Option<Place>,
    countersigned: Option<String>,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There may be more.
    Sent,
    /// All that is signed is there.
    Done,
}

impl Shipper {
    /// Of a folder of segments.
    pub fn new(segments: Segments) -> Self {
        Self { segments, at: None, countersigned: None }
    }

    /// Central is asked where it is, before anything else is sent: it may be another one by now.
    pub fn begin_anew(&mut self) {
        self.at = None;
    }

    /// Sends the next batch, if there is one. `place` takes a countersignature that is new.
    pub fn step(
        &mut self,
        send: &mut dyn FnMut(&Ask<'_>) -> Result<Taken>,
        place: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Step> {
        let Some(at) = self.at else {
            let taken = send(&Ask { after: Place::default(), end: false, gap: false, lines: &[] })?;
            self.heard(&taken, place);
            return Ok(Step::Sent);
        };
        let batch = self.segments.next(at)?;
        let less = batch.after < at && batch.lines.is_empty();
        if batch.lines.is_empty() && !less {
            return Ok(Step::Done);
        }
        // Whatever comes of it, central is asked anew where it is.
        self.at = None;
        let taken = send(&Ask { after: batch.after, end: less, gap: false, lines: &batch.lines })?;
        self.heard(&taken, place);
        if let (true, Some(trouble)) = (taken_place(&taken) != batch.next, &taken.trouble) {
            if trouble.state == "broken" && self.send_after_gap(&taken, send, place)? {
                return Ok(Step::Sent);
            }
            self.at = None;
            bail!("central says that the chain is {}: {} [{}]", trouble.state, trouble.why, trouble.code);
        }
        // Else a central that is out of its mind would be sent the same lines as fast as it answers.
        if !batch.lines.is_empty() && taken_place(&taken) <= batch.after {
            self.at = None;
            let Place { number, .. } = batch.after;
            bail!("central says nothing against what follows record {number}, and took none of it [courier.not_taken]");
        }
        if less {
            self.at = None;
            bail!("the chain ends at record {}, before record {} that central has", batch.after.number, at.number);
        }
        Ok(Step::Sent)
    }

    /// Lines that central does not take are on record there and kept aside. They do not hold up what comes after them.
    fn send_after_gap(
        &mut self,
        taken: &Taken,
        send: &mut dyn FnMut(&Ask<'_>) -> Result<Taken>,
        place: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<bool> {
        self.at = None;
        let bad = taken_place(taken);
        let Some(batch) = self.segments.after_gap(bad)? else { return Ok(false) };
        let taken = send(&Ask { after: batch.after, end: false, gap: true, lines: &batch.lines })?;
        if taken_place(&taken) <= bad {
            return Ok(false);
        }
        let (from, to) = (bad.number.saturating_add(1), batch.after.number);
        eprintln!("<4>central does not take record {from} as it is here; it goes on after record {to}");
        self.heard(&taken, place);
        Ok(true)
    }

    fn heard(&mut self, taken: &Taken, place: &mut dyn FnMut(&str) -> Result<()>) {
        self.at = Some(taken_place(taken));
        if let Some(new) = taken.countersignature.as_ref().filter(|new| self.countersigned.as_ref() != Some(new)) {
            // It is brought with the next answer: the chain does not wait for it.
            match place(new) {
                Ok(()) => self.countersigned = Some(new.clone()),
                Err(error) => {
                    eprintln!("<4>tether-courier: central's countersignature waits [courier.inbox]: {error:#}")
                }
            }
        }
    }
}

fn taken_place(taken: &Taken) -> Place {
    Place { number: taken.number, marks: taken.lines }
}

#[cfg(test)]
mod tests;
