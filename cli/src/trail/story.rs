//! One session's records as one tree, from the sign-in to the removal. Pure.
//!
//! A record hangs below what it came of (`parent`); one that names no cause, or one that is not here, below its
//! session's beginning on its host. What a cycle would hide hangs at the top: every record stands in the tree once.

use super::source::CENTRAL;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tether_audit::{Link, Parent};

/// The most that a record may hang below others.
const DEEPEST: usize = 24;

/// A record, and where it was found.
#[derive(Debug, Clone)]
pub struct Rec {
    /// Whose chain.
    pub chain: String,
    /// Its hash.
    pub hash: String,
    /// Where it stands: file and line; none if it came from central.
    pub place: Option<String>,
    /// The record.
    pub link: Link,
}

impl Rec {
    /// `CHAIN#NUMBER`.
    pub fn name(&self) -> Parent {
        Parent::record(&self.chain, self.link.number)
    }

    /// What it says.
    pub fn about(&self, name: &str) -> &Value {
        self.link.event.details.get(name).unwrap_or(&Value::Null)
    }

    /// Which event.
    pub fn event(&self) -> &str {
        &self.link.event.event
    }
}

/// A record in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which of the story's records.
    pub at: usize,
    /// What came of it, in the order of time.
    pub children: Vec<Node>,
}

/// The story.
#[derive(Debug, Clone)]
pub struct Story {
    /// The session.
    pub session: String,
    /// All records, in the order of time.
    pub records: Vec<Rec>,
    /// The tree.
    pub roots: Vec<Node>,
    /// The host that it is on: by central's word, where that is here.
    host: Option<String>,
}

impl Story {
    /// Puts a session's records together.
    pub fn new(session: &str, mut records: Vec<Rec>) -> Self {
        records
            .sort_by(|a, b| (a.link.time_us, &a.chain, a.link.number).cmp(&(b.link.time_us, &b.chain, b.link.number)));
        records.dedup_by(|a, b| a.chain == b.chain && a.link.number == b.link.number && a.hash == b.hash);
        let parents = parents(session, &records);
        let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (at, parent) in parents.iter().enumerate() {
            children.entry(*parent).or_default().push(at);
        }
        let roots = grow(&children, None);
        let host = host_of(session, &records);
        Self { session: session.to_owned(), records, roots, host }
    }

    /// Records of this event, by whoever is to be believed about it.
    pub fn of(&self, event: &str) -> impl Iterator<Item = &Rec> {
        self.records.iter().filter(move |record| record.event() == event && !self.is_strange(record))
    }

    /// The first of them.
    pub fn first(&self, event: &str) -> Option<&Rec> {
        self.of(event).next()
    }

    /// Whose session it is: central knows, and else the host.
    pub fn whose(&self) -> Option<&Rec> {
        let own = || self.records.iter().filter(|record| of(record, &self.session) && !self.is_strange(record));
        let central = own().find(|record| record.chain == CENTRAL);
        central.or_else(|| own().next()).or_else(|| self.records.first())
    }

    /// From when to when it went, microseconds since 1970.
    pub fn times(&self) -> (u64, u64) {
        let own = || self.records.iter().filter(|record| !self.is_strange(record)).map(|record| record.link.time_us);
        (own().next().unwrap_or_default(), own().next_back().unwrap_or_default())
    }

    /// Whether whoever wrote it has nothing to say of this: a host about another host's session, or in central's stead.
    pub fn is_strange(&self, record: &Rec) -> bool {
        if record.chain == CENTRAL {
            return false;
        }
        let elsewhere = self.host.as_ref().is_some_and(|host| *host != record.chain) && of(record, &self.session);
        elsewhere || OF_CENTRAL.contains(&record.event())
    }
}

/// What central alone does.
const OF_CENTRAL: [&str; 4] = ["token.issued", "grant.sent", "certificate.issued", "session.revoked"];

/// The host of the session: where central has sent it. Without central's records the chain that has reserved it.
fn host_of(session: &str, records: &[Rec]) -> Option<String> {
    let sent = |record: &&Rec| {
        record.chain == CENTRAL && matches!(record.event(), "token.issued" | "grant.sent") && of(record, session)
    };
    let named = |record: &Rec| record.about("host").as_str().map(ToOwned::to_owned);
    let reserved = |record: &&Rec| record.event() == "session.reserved" && of(record, session);
    let told = records.iter().filter(sent).find_map(named);
    told.or_else(|| records.iter().find(reserved).map(|record| record.chain.clone()))
}

fn grow(children: &BTreeMap<Option<usize>, Vec<usize>>, of: Option<usize>) -> Vec<Node> {
    let below = children.get(&of).map(Vec::as_slice).unwrap_or_default();
    below.iter().map(|at| Node { at: *at, children: grow(children, Some(*at)) }).collect()
}

/// What each record hangs below.
fn parents(session: &str, records: &[Rec]) -> Vec<Option<usize>> {
    let mut named: HashMap<Parent, usize> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        named.entry(record.name()).or_insert(at);
        if let (Some(host), Some(number)) = (record.about("host").as_str(), record.about("statement").as_u64())
            && record.chain == CENTRAL
        {
            named.entry(Parent::statement(host, number)).or_insert(at);
        }
    }
    let mut begun: HashMap<&str, usize> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        if record.event() == "session.reserved" && of(record, session) {
            begun.entry(&record.chain).or_insert(at);
        }
    }
    let mut found: Vec<Option<usize>> = Vec::with_capacity(records.len());
    for (at, record) in records.iter().enumerate() {
        let cause = record.link.event.parent.as_ref().and_then(|parent| named.get(parent)).copied();
        let cause = cause.or_else(|| begun.get(record.chain.as_str()).copied()).filter(|cause| *cause != at);
        found.push(cause);
    }
    uncycle(&mut found);
    for at in 0..found.len() {
        if is_deep(&found, at)
            && let Some(parent) = found.get_mut(at)
        {
            *parent = None;
        }
    }
    found
}

/// Causes are deeper than a session's life has steps: whoever wrote the chain made a ladder of them.
fn is_deep(parents: &[Option<usize>], at: usize) -> bool {
    let up = std::iter::successors(Some(at), |at| parents.get(*at).copied().flatten());
    up.take(DEEPEST + 1).count() > DEEPEST
}

fn of(record: &Rec, session: &str) -> bool {
    record.link.event.ids.session.id() == Some(session)
}

/// Whoever wrote a chain may have made records each other's cause.
fn uncycle(parents: &mut [Option<usize>]) {
    // 0: not seen; otherwise by the walk that saw it.
    let mut seen = vec![0_usize; parents.len()];
    for start in 0..parents.len() {
        let mut at = start;
        loop {
            if let Some(mark) = seen.get_mut(at) {
                *mark = start + 1;
            }
            let Some(next) = parents.get(at).copied().flatten() else { break };
            match seen.get(next).copied() {
                Some(mark) if mark == start + 1 => {
                    if let Some(parent) = parents.get_mut(at) {
                        *parent = None;
                    }
                    break;
                }
                Some(0) => at = next,
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rec(chain: &str, number: u64, event: &str, parent: Option<&str>, details: Value) -> Rec {
        let mut ids = serde_json::to_value(tether_audit::Ids::unknown("x")).unwrap();
        ids["session"] = json!("S1");
        let link = json!({
            "number": number, "time_us": number, "host": chain, "boot": "b", "previous": "", "event": event,
            "outcome": "allowed", "code": "", "ids": ids, "parent": parent, "details": details,
        });
        Rec { chain: chain.into(), hash: String::new(), place: None, link: serde_json::from_value(link).unwrap() }
    }

    fn shape(nodes: &[Node], records: &[Rec]) -> String {
        let one = |node: &Node| {
            let name = records[node.at].event();
            if node.children.is_empty() {
                name.to_owned()
            } else {
                format!("{name}({})", shape(&node.children, records))
            }
        };
        nodes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_session_is_one_tree() {
        let records = vec![
            rec("central", 1, "token.issued", None, json!({})),
            rec("central", 2, "grant.sent", Some("central#1"), json!({"host": "web", "statement": 7})),
            rec("web", 3, "session.reserved", Some("web@7"), json!({})),
            rec("web", 4, "sudo.command", Some("web#3"), json!({})),
            rec("web", 5, "sudo.ended", Some("web#4"), json!({})),
            rec("web", 6, "recording.gap", None, json!({})),
            rec("web", 7, "session.removed", Some("web#99"), json!({})),
        ];
        let story = Story::new("S1", records);
        let wanted =
            "token.issued(grant.sent(session.reserved(sudo.command(sudo.ended) recording.gap session.removed)))";
        assert_eq!(shape(&story.roots, &story.records), wanted);
    }

    /// A host's statement is believed from central alone, and causes that go in a circle hide nothing.
    #[test]
    fn hostile_parents_hide_no_record() {
        let records = vec![
            rec("web", 1, "a", Some("web#3"), json!({"host": "web", "statement": 9})),
            rec("web", 2, "b", Some("web#1"), json!({})),
            rec("web", 3, "c", Some("web#2"), json!({})),
            rec("web", 4, "d", Some("web#4"), json!({})),
            rec("web", 5, "e", Some("web@9"), json!({})),
        ];
        let story = Story::new("S1", records);
        assert_eq!(shape(&story.roots, &story.records).matches(['a', 'b', 'c', 'd', 'e']).count(), 5);
        assert!(story.roots.len() >= 3);
    }
}
