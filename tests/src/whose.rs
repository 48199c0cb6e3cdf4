//! Whose record is it? Looks through chains as they lie in files, with nothing but JSON and what a test has seen itself:
//! its tokens, its accounts, its uids, and a mark of its own in each session's commands.
//!
//! It shares no code with what writes or reads chains, so a mistake there is none here.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The five ids, in the order in which they are told.
const IDS: [&str; 5] = ["human", "agent", "instance", "delegation", "session"];
/// Central's own chain.
const CENTRAL: &str = "central";

/// What a test knows of a session, from elsewhere than a chain.
#[derive(Debug, Clone)]
pub struct Truth {
    /// Where it was.
    pub host: String,
    /// Who signed in.
    pub human: String,
    /// Whose key asked.
    pub agent: String,
    /// What it said to be an instance of.
    pub instance: String,
    /// `jti` of the token that it was given.
    pub delegation: String,
    /// The session, as `tether-agent` told it.
    pub session: String,
    /// The login name.
    pub account: String,
    /// The uids, of the login and of commands, as `id -u` printed them.
    pub uids: [u32; 2],
    /// A word that stands in the arguments of each of its commands, and of nobody else's. Letters and digits.
    pub mark: String,
}

impl Truth {
    fn ids(&self) -> [&str; 5] {
        [&self.human, &self.agent, &self.instance, &self.delegation, &self.session]
    }
}

/// A record as it stands in a chain.
#[derive(Debug, Clone)]
pub struct Told {
    /// Whose chain.
    pub chain: String,
    /// What stands there.
    pub record: Value,
}

impl Told {
    /// `CHAIN#NUMBER`.
    pub fn name(&self) -> String {
        format!("{}#{}", self.chain, self.record["number"])
    }

    /// Its event.
    pub fn event(&self) -> &str {
        self.record["event"].as_str().unwrap_or_default()
    }

    fn id(&self, which: &str) -> Option<&str> {
        self.record["ids"][which].as_str()
    }

    /// The session that it names, if it names one.
    pub fn session(&self) -> Option<&str> {
        self.id("session")
    }
}

/// All records of the `*.jsonl` of a folder.
pub fn read(chain: &str, folder: &Path) -> Result<Vec<Told>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(told(chain, &std::fs::read_to_string(file)?)?);
    }
    Ok(all)
}

/// All records of a chain's lines.
pub fn told(chain: &str, text: &str) -> Result<Vec<Told>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).context("a line of a chain")?;
        if value["record"].is_object() {
            all.push(Told { chain: chain.to_owned(), record: value["record"].take() });
        }
    }
    Ok(all)
}

/// Events of no session, and why their ids may be missing.
const OF_NONE: [(&str, &str); 16] = [
    ("agentd.started", "of the host"),
    ("feed.resumed", "of the host"),
    ("feed.silent", "of the host"),
    ("feed.heard", "of the host"),
    ("feed.refused", "a statement that was not taken"),
    ("central.made", "of central itself"),
    ("central.stopped", "of central itself"),
    ("central.started", "of central itself"),
    ("policies.loaded", "of central itself"),
    ("host.admitted", "an admin's act"),
    ("host.enrolled", "a host enrols"),
    ("audit.begun", "a host enrols"),
    ("agent.registered", "an admin's act"),
    ("bundle.published", "an admin's act"),
    ("bundle.confirmed", "an admin's act"),
    ("admin.break_glass", "an admin without a name"),
];

struct Witness<'t> {
    truths: &'t [Truth],
    /// Which session a word belongs to: its mark, account, token, instance, id.
    words: BTreeMap<&'t str, usize>,
    uids: BTreeMap<(&'t str, u64), usize>,
    plans: BTreeMap<String, usize>,
    /// Each record's place by its name, and by the statement that central sent with it.
    names: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

/// Everything that is wrong about whose records these are; empty if each is whose it says.
pub fn wrong(truths: &[Truth], all: &[Told]) -> Vec<String> {
    let mut witness = Witness {
        truths,
        words: BTreeMap::new(),
        uids: BTreeMap::new(),
        plans: BTreeMap::new(),
        names: BTreeMap::new(),
        wrong: Vec::new(),
    };
    for (at, truth) in truths.iter().enumerate() {
        for word in [&truth.mark, &truth.account, &truth.delegation, &truth.instance, &truth.session] {
            if witness.words.insert(word, at).is_some() {
                witness.wrong.push(format!("the test gave {word} to two sessions"));
            }
        }
        for uid in truth.uids {
            if witness.uids.insert((&truth.host, u64::from(uid)), at).is_some() {
                witness.wrong.push(format!("{} gave uid {uid} to two sessions", truth.host));
            }
        }
    }
    witness.name(all);
    for told in all {
        witness.look(told);
    }
    witness.trees(all);
    witness.wrong
}

impl<'t> Witness<'t> {
    fn say(&mut self, told: &Told, what: &str) {
        self.wrong.push(format!("{} {}: {what}: {}", told.name(), told.event(), told.record));
    }

    /// What records are called.
    fn name(&mut self, all: &[Told]) {
        for (at, told) in all.iter().enumerate() {
            self.names.insert(told.name(), at);
            let about = &told.record["details"];
            if let (CENTRAL, Some(host), Some(statement)) =
                (told.chain.as_str(), about["host"].as_str(), about["statement"].as_u64())
            {
                self.names.insert(format!("{host}@{statement}"), at);
            }
        }
    }

    /// One record on its own.
    fn look(&mut self, told: &Told) {
        let Some(session) = told.session() else { return self.of_none(told) };
        let Some(at) = self.words.get(session).copied() else {
            return self.say(told, "nobody opened this session");
        };
        let truth = &self.truths[at];
        for (which, id) in IDS.iter().zip(truth.ids()) {
            if told.id(which) != Some(id) {
                self.say(told, &format!("its {which} is not {id}"));
            }
        }
        if told.chain != CENTRAL && told.chain != truth.host {
            self.say(told, "the session was on another host");
        }
        for whose in self.named(told) {
            if whose != at {
                let other = self.truths[whose].session.clone();
                self.say(told, &format!("it has something of session {other}"));
            }
        }
    }

    /// A record that names no session has nothing of one, and says why.
    fn of_none(&mut self, told: &Told) {
        let why: BTreeSet<&str> = IDS.iter().filter_map(|which| told.record["ids"][which]["why"].as_str()).collect();
        let is_right = OF_NONE.iter().any(|(event, wanted)| *event == told.event() && why == BTreeSet::from([*wanted]));
        if !is_right || IDS.iter().any(|which| told.id(which).is_some()) {
            self.say(told, "it names no session");
        }
        if let Some(whose) = self.named(told).first() {
            let session = self.truths[*whose].session.clone();
            self.say(told, &format!("it names no session, and has something of {session}"));
        }
    }

    /// The sessions of which something stands anywhere in a record.
    fn named(&mut self, told: &Told) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let text = told.record.to_string();
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        for word in text.split(|c| !is_of_word(c)) {
            // The account that runs commands has the name of the login, and an ending.
            let word = word.strip_suffix("-ro").unwrap_or(word);
            found.extend(self.words.get(word));
        }
        let about = &told.record["details"];
        for uid in ["uid", "login_uid", "command_uid"] {
            let uid = about[uid].as_u64();
            found.extend(uid.and_then(|uid| self.uids.get(&(told.chain.as_str(), uid))));
        }
        // A plan is whose command is: the command's arguments have told.
        if let Some(plan) = about["plan"].as_str() {
            let plan = format!("{} {plan}", told.chain);
            match (self.plans.get(&plan), told.session()) {
                (Some(whose), _) => drop(found.insert(*whose)),
                (None, Some(session)) => {
                    let whose = self.words.get(session);
                    self.plans.extend(whose.map(|whose| (plan, *whose)));
                }
                (None, None) => {}
            }
        }
        found
    }

    /// Each session is one tree: every cause is a record of its own, and what has none is the token that was issued.
    fn trees(&mut self, all: &[Told]) {
        let mut roots: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        for told in all {
            let Some(session) = told.session() else { continue };
            match told.record["parent"].as_str() {
                None => roots.entry(session).or_default().push(told),
                Some(parent) => match self.names.get(parent).map(|at| &all[*at]) {
                    None => self.say(told, "what it came of is nowhere"),
                    Some(cause) if cause.session() != Some(session) => self.say(told, "it came of another session's"),
                    Some(_) => self.depth(told, all),
                },
            }
        }
        for truth in self.truths {
            let roots = roots.get(truth.session.as_str()).map(Vec::as_slice).unwrap_or_default();
            if !matches!(roots, [one] if one.event() == "token.issued" && one.chain == CENTRAL) {
                let named: Vec<String> = roots.iter().map(|told| format!("{} {}", told.name(), told.event())).collect();
                self.wrong.push(format!("session {} has not one root, but {named:?}", truth.session));
            }
        }
    }

    /// No cause comes of what it caused.
    fn depth(&mut self, told: &Told, all: &[Told]) {
        let mut at = told;
        for _ in 0..12 {
            let Some(parent) = at.record["parent"].as_str() else { return };
            let Some(next) = self.names.get(parent) else { return };
            at = &all[*next];
        }
        self.say(told, "its causes have no end");
    }
}

/// Each chain's numbers go up by one, so none is missing.
fn numbers(all: &[Told]) -> Vec<String> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for told in all {
        let number = told.record["number"].as_u64().unwrap_or_default();
        let before = last.insert(&told.chain, number).unwrap_or_default();
        if number != before + 1 {
            wrong.push(format!("{} comes after {before}", told.name()));
        }
    }
    wrong
}

/// Fails with the first of what is wrong.
pub fn check(truths: &[Truth], all: &[Told]) -> Result<()> {
    let wrong = [numbers(all), wrong(truths, all)].concat();
    ensure!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    Ok(())
}
