//! Audit records in the forms of other programs: OCSF 1.9, one JSON object a line, syslog's RFC 5424, and systemd's
//! journal.
//!
//! Each record becomes one event, and no event is left out: what has no class of its own is a change of an entity.
//! Pure: no I/O, no clock. Memory is bounded by one record.
#![forbid(unsafe_code)]

mod class;
mod journal;
mod ocsf;
mod syslog;
mod time;

pub use class::{Class, class_of};
pub use journal::{IDENTIFIER, journal};
pub use ocsf::{Ocsf, VERSION};
pub use syslog::{ENTERPRISE, syslog};
use tether_audit::{Known, Link};
pub use time::rfc3339;

/// Facility 13, log audit (RFC 5424, 6.2.1).
const FACILITY: u32 = 13;

/// A record that holds, with what its chain says of it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Whose chain.
    pub chain: &'a str,
    /// Its hash there.
    pub hash: &'a str,
    /// The record.
    pub link: &'a Link,
}

impl Record<'_> {
    /// `CHAIN#NUMBER`.
    pub fn name(&self) -> String {
        format!("{}#{}", self.chain, self.link.number)
    }

    /// The ids that are known, with their names.
    fn ids(&self) -> Vec<(&'static str, &str)> {
        let ids = &self.link.event.ids;
        let all = [
            ("human", &ids.human),
            ("agent", &ids.agent),
            ("instance", &ids.instance),
            ("delegation", &ids.delegation),
            ("session", &ids.session),
        ];
        let known = all.into_iter().filter_map(|(name, id)| match id {
            Known::Id(id) => Some((name, id.as_str())),
            _ => None,
        });
        known.collect()
    }

    fn about(&self, name: &str) -> &serde_json::Value {
        self.link.event.details.get(name).unwrap_or(&serde_json::Value::Null)
    }

    /// A detail as text, if it is one.
    fn text(&self, name: &str) -> Option<&str> {
        self.about(name).as_str()
    }
}
