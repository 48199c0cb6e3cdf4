//! An event as it will stand in its line: spelled by who has it, before its number and the hash before it are known.

use crate::canonical::{NotCanonical, spell, write_object, write_text};
use crate::record::{Event, Ids, Known, Outcome};

/// The parts of a line that an event has, between those that the chain has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub(crate) before_host: String,
    pub(crate) ids: String,
    pub(crate) before_previous: String,
}

impl Prepared {
    /// Spells it.
    pub fn new(event: &Event) -> Result<Self, NotCanonical> {
        let mut before_host = String::with_capacity(512);
        before_host.push_str("\"code\":");
        write_text(&event.code, &mut before_host);
        before_host.push_str(",\"details\":");
        write_object(&event.details, &mut before_host)?;
        before_host.push_str(",\"event\":");
        write_text(&event.event, &mut before_host);
        let outcome = match event.outcome {
            Outcome::Allowed => "allowed",
            Outcome::Refused => "refused",
            Outcome::Error => "error",
        };
        let parent = event.parent.as_ref().map_or_else(|| "null".to_owned(), |parent| spell(&parent.to_string()));
        let before_previous = format!("\"outcome\":\"{outcome}\",\"parent\":{parent}");
        Ok(Self { before_host, ids: ids(&event.ids), before_previous })
    }

    /// How many bytes its line will have, without those of its numbers and names.
    pub fn len(&self) -> usize {
        self.before_host.len() + self.ids.len() + self.before_previous.len()
    }

    /// Never: it has at least the names of its members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn ids(ids: &Ids) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("\"ids\":{");
    let all = [
        ("\"agent\":", &ids.agent),
        (",\"delegation\":", &ids.delegation),
        (",\"human\":", &ids.human),
        (",\"instance\":", &ids.instance),
        (",\"session\":", &ids.session),
    ];
    for (name, known) in all {
        out.push_str(name);
        match known {
            Known::Id(id) => write_text(id, &mut out),
            Known::Unknown { why, .. } => {
                out.push_str("{\"id\":null,\"why\":");
                write_text(why, &mut out);
                out.push('}');
            }
        }
    }
    out.push('}');
    out
}
