//! `tether session show`.

use super::check::{Seen, Summary};
use super::page::cast::{Cast, Pictured, Room};
use super::recordings::{HERE as RECORDINGS, is_name};
use super::source::{Chains, Trust, from_central, place_words};
use super::story::{Rec, Story};
use super::tree::Look;
use super::{page, proof, tree};
use crate::Found;
use crate::central::{Link as CentralLink, Who};
use crate::render::printable;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use tether_audit::Parent;
use tether_recording::{Checked, Told};

/// How many times causes' causes are looked for.
const STEPS: usize = 16;

#[derive(Args)]
pub struct Arguments {
    /// The session, or as much of its id as is enough; from central, the whole id
    session: String,
    /// From files: a folder of segments, an export of central's, or one file. Else from central if one is named, else
    /// this host's chain
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// Write it as a page of its own, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A folder with recordings (NAME.rec or SESSION/NAME.rec, as hosts keep them; or NAME.cast), to be played in the
    /// page; else those of central, of the export, or of this host
    #[arg(long, value_name = "DIR", requires = "html")]
    recordings: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

impl Arguments {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self, who: &Who) -> bool {
        self.from.is_none() && !who.is_named()
    }
}

/// Runs it.
pub fn run(who: &Who, arguments: &Arguments, json: bool) -> Result<Found> {
    let link = if arguments.from.is_none() && who.is_named() { Some(CentralLink::open(who)?) } else { None };
    let (story, sums, far) = match (&link, &arguments.from) {
        (Some(link), _) => (far(link, &arguments.session)?, Vec::new(), true),
        (None, from) => {
            let chains = match from {
                Some(path) => Chains::at(path, &arguments.trust)?,
                None => Chains::of_host(&arguments.trust)?,
            };
            let (story, mut sums) = near(&chains, &arguments.session)?;
            // What holds this story up, and whatever is wrong.
            sums.retain(|sum| !sum.findings.is_empty() || story.records.iter().any(|record| record.chain == sum.chain));
            (story, sums, false)
        }
    };
    let mut all = true;
    if json {
        println!("{}", as_json(&story, &sums, far));
    } else if let Some(file) = &arguments.html {
        let mut reel = Reel { room: Room::new(), casts: Vec::new(), all: true };
        match (&link, &arguments.recordings, &arguments.from) {
            (_, Some(folder), _) => {
                ensure!(folder.is_dir(), "{} is no folder of recordings", folder.display());
                casts(&story, folder, true, &mut reel);
            }
            (Some(link), None, _) => far_casts(link, &story.session, &mut reel)?,
            (None, None, Some(from)) => casts(&story, &from.join("recordings"), false, &mut reel),
            (None, None, None) => casts(&story, Path::new(RECORDINGS), false, &mut reel),
        }
        all = reel.all;
        let page = page::page(&story, &sums, far, &reel.casts);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("{} is written", file.display());
    } else {
        print!("{}", tree::tree(&story, &sums, far, look()));
    }
    Ok(if all && proof::holds(&sums) { Found::Fine } else { Found::Something })
}

/// As wide as the terminal, in colour if it is one.
pub fn look() -> Look {
    let out = std::io::stdout();
    let terminal = out.is_terminal();
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let size = rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|wide| *wide > 0);
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    Look { width: size.or(asked).unwrap_or(120).clamp(60, 200), colour }
}

fn rec(seen: &Seen<'_>) -> Rec {
    Rec {
        chain: seen.chain.to_owned(),
        hash: seen.hash.to_owned(),
        place: seen.place.map(place_words),
        link: seen.link.clone(),
    }
}

fn far(link: &CentralLink, session: &str) -> Result<Story> {
    let mut records = Vec::new();
    let encoded = session.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', "");
    ensure!(encoded == session, "{session:?} is no session's id");
    from_central(link, &format!("/v1/sessions/{session}/trail"), &[], &mut |seen| {
        records.push(rec(&seen));
        true
    })?;
    ensure!(!records.is_empty(), "central knows no session {session}");
    Ok(Story::new(session, records))
}

/// The recordings of a page. One that cannot be shown is said, and not in it.
struct Reel {
    room: Room,
    casts: Vec<Pictured>,
    /// Whether all are.
    all: bool,
}

impl Reel {
    fn add(&mut self, name: &str, read: impl FnOnce() -> Result<Cast>) {
        if self.room.is_full() {
            eprintln!("tether: {name} is not in the page, which has as much as it may; `tether session play` has it");
            self.all = false;
            return;
        }
        match read().and_then(|cast| cast.pictured(&mut self.room)) {
            Ok(pictured) => self.casts.push(pictured),
            Err(error) => {
                eprintln!("tether: {error:#}");
                self.all = false;
            }
        }
    }
}

/// The recordings that central has.
fn far_casts(link: &CentralLink, session: &str, reel: &mut Reel) -> Result<()> {
    let recordings = super::shipped::Recordings::of(link, session)?;
    for one in &recordings.all {
        let name = printable(&one.name);
        reel.add(&name, || recordings.fetch(one).and_then(|fetched| Cast::read_as(&one.name, &fetched.path())));
    }
    Ok(())
}

/// A session's records and what they came of, from chains in files.
fn near(chains: &Chains, wanted: &str) -> Result<(Story, Vec<Summary>)> {
    let mut records = Vec::new();
    let sums = chains.read(&mut |seen| {
        if seen.link.event.ids.session.id().is_some_and(|id| id.starts_with(wanted)) {
            records.push(rec(&seen));
        }
    })?;
    let named: BTreeSet<&str> = records.iter().filter_map(|record: &Rec| record.link.event.ids.session.id()).collect();
    let session = match Vec::from_iter(named).as_slice() {
        [one] => (*one).to_owned(),
        // Whoever writes a chain may write ids that begin like another.
        several if several.contains(&wanted) => wanted.to_owned(),
        [] => bail!("the audit chain knows no session {wanted}"),
        _ => bail!("more than one session begins with {wanted}; give more of its id"),
    };
    records.retain(|record| record.link.event.ids.session.id() == Some(session.as_str()));
    causes(chains, &mut records)?;
    Ok((Story::new(&session, records), sums))
}

/// What these came of, up to where it began.
fn causes(chains: &Chains, records: &mut Vec<Rec>) -> Result<()> {
    for _ in 0..STEPS {
        let known: BTreeSet<Parent> = records.iter().flat_map(names).collect();
        let causes = records.iter().filter_map(|record| record.link.event.parent.clone());
        let missing: BTreeSet<Parent> = causes.filter(|cause| !known.contains(cause)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let before = records.len();
        chains.read(&mut |seen| {
            let found = rec(&seen);
            if names(&found).iter().any(|name| missing.contains(name)) {
                records.push(found);
            }
        })?;
        if records.len() == before {
            return Ok(());
        }
    }
    Ok(())
}

/// A record's names: its own, and the statement's that it is about.
fn names(record: &Rec) -> Vec<Parent> {
    let mut names = vec![record.name()];
    if let (Some(host), Some(number)) = (record.about("host").as_str(), record.about("statement").as_u64()) {
        names.push(Parent::statement(host, number));
    }
    names
}

/// The recordings that the story names and the folder has. A name is no path: what has a '/' is none.
/// Those of a folder: a session's, or that of all sessions'. A recording as hosts keep it is shown only if it is what
/// the chain says; an asciicast has no digest there.
fn casts(story: &Story, folder: &Path, asked: bool, reel: &mut Reel) {
    let mut told: BTreeMap<&str, Told> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    for record in story.records.iter().filter(|record| !story.is_strange(record)) {
        if let Some(name) = record.about("recording").as_str().filter(|name| is_name(name)) {
            told.entry(name).or_default().take(record.event(), &record.link.event.details);
            removed.extend((record.event() == "recording.removed").then_some(name));
        }
    }
    let within = folder.join(&story.session);
    for (name, told) in &told {
        let places = [folder.join(format!("{name}.cast")), folder.join(format!("{name}.rec")), folder.join(name)];
        let found = places.into_iter().chain([within.join(format!("{name}.rec"))]).find(|path| path.is_file());
        match found {
            Some(path) => reel.add(name, || compared(name, &path, told)),
            None if removed.contains(name) || !asked => {}
            None => {
                eprintln!("tether: {name} is not in {}", folder.display());
                reel.all = false;
            }
        }
    }
}

fn compared(name: &str, path: &Path, told: &Told) -> Result<Cast> {
    if path.extension().is_none_or(|ending| ending != "rec") {
        return Cast::read(path);
    }
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let known = match told.check(&mut file)? {
        Checked::Whole => told.length(),
        Checked::Begun { to } if to < told.length() => {
            bail!("{name} ends at byte {to}, and the audit chain has {}: it was cut. It is not shown", told.length())
        }
        Checked::Begun { to } => {
            eprintln!("tether: of {name} only the first {to} bytes are on record so far, and shown");
            to
        }
        Checked::Differ { from } => bail!(
            "{name} is not what the audit chain says: it differs from byte {from} on. It is not shown; \
             tether session play {} plays it all the same",
            path.display()
        ),
        Checked::Untold => bail!("the audit chain has no digest of {name} so far; it is not shown"),
    };
    let more = file.metadata()?.len() > known;
    ensure!(
        !(more && told.end().is_some_and(|end| end.regular)),
        "{name} has more bytes than at its end: it was changed"
    );
    // What lies behind what was compared is nobody's word.
    Cast::read_as_far(name, &PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), known)
}

/// The stable shape of `--json`: docs/audit.md has it.
fn as_json(story: &Story, sums: &[Summary], far: bool) -> Value {
    let mut parents = vec![None; story.records.len()];
    note_parents(&story.roots, None, &mut parents);
    let name = |at: usize| story.records.get(at).map(|record| record.name().to_string());
    let one = |(at, record): (usize, &Rec)| {
        let parent = parents.get(at).copied().flatten().and_then(name);
        json!({
            "id": record.name().to_string(), "under": parent, "chain": record.chain, "hash": record.hash,
            "place": record.place, "record": record.link, "strange": story.is_strange(record),
        })
    };
    let records: Vec<Value> = story.records.iter().enumerate().map(one).collect();
    let checked =
        json!({"by": if far { "central" } else { "files" }, "holds": proof::holds(sums), "chains": proof::json(sums)});
    json!({"session": story.session, "records": records, "checked": checked})
}

fn note_parents(nodes: &[super::story::Node], parent: Option<usize>, parents: &mut [Option<usize>]) {
    for node in nodes {
        if let Some(entry) = parents.get_mut(node.at) {
            *entry = parent;
        }
        note_parents(&node.children, Some(node.at), parents);
    }
}
