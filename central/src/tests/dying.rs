//! Central dies at each of its steps: before an act stands, and after it stood and before anybody heard. Whoever it
//! serves goes on with the next central, as couriers and admins do: nothing that was acknowledged is lost, and nothing is
//! there twice.

use super::audit::HostWriter;
use super::recordings::{Side, bytes};
use super::world::{HOST, World};
use crate::app::{Admin, App, Lines, Parts, WhichRecording};
use crate::config::Settings;
use crate::keys::{self, Keys};
use crate::rules::Rules;
use crate::shelf::Shelf;
use crate::store::{self, Act, Delegation, Issued, Place, Sqlite, Store, StoreError, Which};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tether_audit::Link;
use tether_centrallink::wire::Target;
use tether_identity::HostId;

const ALICE: &str = "alice@example.org";
/// More than a revocation's own act writes records of.
const SESSIONS: usize = 70;
const MIB: usize = 1 << 20;

/// How it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    /// The act has not stood.
    Before,
    /// It stands, and nobody was told.
    After,
    /// The control: it was said to stand, and does not. A disk that lies about its flushes does that.
    Lying,
}

/// A store whose process is dead from one of its acts on.
#[derive(Debug)]
struct Dying {
    store: Sqlite,
    /// How many acts there still are.
    left: Mutex<usize>,
    dies: Dies,
}

fn dead() -> StoreError {
    StoreError::Database("central is dead".to_owned())
}

impl Dying {
    fn lose(&self, work: &mut dyn FnMut(&mut dyn Act) -> Result<(), StoreError>) {
        let lost = self.store.act(&mut |act| work(act).and(Err(dead())));
        assert!(lost.is_err());
    }
}

impl Store for Dying {
    fn act(&self, work: &mut dyn FnMut(&mut dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut left = self.left.lock().unwrap();
        match (*left, self.dies) {
            (0, _) => return Err(dead()),
            (1, Dies::Before) => self.lose(work),
            (1, Dies::After) => self.store.act(work)?,
            (1, Dies::Lying) => {
                self.lose(work);
                *left = 0;
                return Ok(());
            }
            _ => {
                self.store.act(work)?;
                *left -= 1;
                return Ok(());
            }
        }
        *left = 0;
        Err(dead())
    }

    fn look(&self, work: &mut dyn FnMut(&dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // What is acknowledged with the last act's answer may look once more.
        if *self.left.lock().unwrap() == 0 && self.dies != Dies::Lying { Err(dead()) } else { self.store.look(work) }
    }

    fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        self.store.back_up(to)
    }
}

/// What is asked of each central, and where it begins.
struct Story {
    world: World,
    image: tempfile::TempDir,
    writer: HostWriter,
    large: Vec<u8>,
    which: WhichRecording,
}

/// What was acknowledged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Heard {
    number: u64,
    bytes: u64,
    revoked: bool,
}

fn host() -> HostId {
    HOST.parse().unwrap()
}

impl Story {
    fn new() -> Self {
        let world = World::new();
        world.exchange(ALICE, 0).unwrap();
        let one = world.live().remove(0);
        let session = one.session.to_string();
        let mut side = Side::new(&world, HOST, 9);
        let large = bytes(2 * MIB + 7);
        side.writer.record("session.reserved", Some(&session)).head();
        side.tell(&session, "sudo-1", &large).writer.head();
        side.writer.record("session.removed", Some(&session)).head();
        let writer = side.writer.clone();
        world.write(|act| {
            for number in 1..SESSIONS {
                let account = format!("ag-{number}").parse().unwrap();
                act.put_delegation(&Delegation {
                    id: format!("jti-{number}").parse().unwrap(),
                    session: format!("session{number:09}").parse().unwrap(),
                    issued: Some(Issued { serial: number as u64, account, statement: 1, certificate: None }),
                    ..one.clone()
                })?;
            }
            Ok(())
        });
        let image = tempfile::tempdir().unwrap();
        world.store.back_up(&image.path().join("central.db")).unwrap();
        let which = WhichRecording::parse(&session, "sudo-1").unwrap();
        Self { world, image, writer, large, which }
    }

    fn open(&self, folder: &Path, store: Arc<dyn Store>) -> anyhow::Result<App> {
        let from = self.world.folder();
        let settings = Settings::load(from)?;
        App::new(Parts {
            keys: Keys::load(&from.join(keys::FOLDER))?,
            rules: Rules::read(from, &settings)?,
            store,
            shelf: Shelf::new(folder.join(crate::shelf::FOLDER)),
            authority: String::new(),
            settings,
        })
    }

    /// What a courier and an admin do, up to the first thing that fails. They begin where central says that it is.
    fn go_on(&self, app: &App, heard: &mut Heard) -> Option<()> {
        let mut at = self.sent(app)?;
        while at < self.writer.lines.len() {
            let to = (at + 3).min(self.writer.lines.len());
            let text: String = self.writer.lines[at..to].iter().map(|line| format!("{line}\n")).collect();
            let lines = Lines { after: self.place(at), end: false, gap: false, text: text.as_bytes() };
            let taken = app.take_lines(&host(), lines).ok()?;
            assert_eq!(taken.trouble, None);
            heard.number = taken.number;
            at = to;
        }
        let mut has = app.look_at_recording(&host(), &self.which).ok()?;
        while let Some(length) = has.next {
            let from = has.bytes as usize;
            let piece = &self.large[from..from + length as usize];
            has = app.take_piece(&host(), &self.which, has.bytes, piece).ok()?;
            heard.bytes = has.bytes;
        }
        let admin = Admin { name: "carol".to_owned() };
        app.revoke(&admin, &Target::Human(ALICE.parse().unwrap())).ok()?;
        heard.revoked = true;
        app.checkpoint().ok().map(drop)
    }

    /// The line that central wants next.
    fn sent(&self, app: &App) -> Option<usize> {
        let lines = Lines { after: Place::default(), end: false, gap: false, text: b"" };
        let taken = app.take_lines(&host(), lines).ok()?;
        let wanted = (taken.number, taken.lines);
        (0..=self.writer.lines.len()).find(|at| (self.place(*at).number, self.place(*at).marks) == wanted)
    }

    fn place(&self, at: usize) -> Place {
        let lines = &self.writer.lines[..at];
        let is_record = |line: &&String| line.starts_with("{\"hash\"");
        let marks = lines.iter().rev().take_while(|line| !is_record(line)).count();
        Place { number: lines.iter().filter(is_record).count() as u64, marks: marks as u64 }
    }

    /// One central that dies, and the next one. Whether the first came to its end before; what of it is wrong.
    fn live(&self, left: usize, dies: Dies) -> (bool, Result<(), String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("central.db");
        std::fs::copy(self.image.path().join("central.db"), &path).unwrap();
        let mut heard = Heard::default();
        let store = Arc::new(Dying { store: Sqlite::open(&path).unwrap(), left: Mutex::new(left), dies });
        let first = self.open(folder.path(), Arc::clone(&store) as Arc<dyn Store>);
        let ended = first.ok().and_then(|app| self.go_on(&app, &mut heard)).is_some();
        drop(store);
        let next = self.open(folder.path(), Arc::new(Sqlite::open(&path).unwrap())).unwrap();
        let found = self.is_there(&next, &path, heard);
        next.settle().unwrap();
        self.go_on(&next, &mut Heard::default()).unwrap();
        next.settle().unwrap();
        next.checkpoint().unwrap();
        (ended, found.and_then(|()| self.is_whole(&next, &path, folder.path())))
    }

    /// What was acknowledged.
    fn is_there(&self, app: &App, path: &Path, heard: Heard) -> Result<(), String> {
        let at = self.sent(app).ok_or("the chain has a place that was never")?;
        let has = app.look_at_recording(&host(), &self.which).map_or(0, |has| has.bytes);
        let live = live(&Sqlite::open(path).unwrap());
        let now = Heard { number: self.place(at).number, bytes: has, revoked: live == 0 };
        let lost = now.number < heard.number || now.bytes < heard.bytes || (heard.revoked && !now.revoked);
        if lost { Err(format!("{heard:?} was acknowledged, and {now:?} is there")) } else { Ok(()) }
    }

    /// All of it, each once.
    fn is_whole(&self, app: &App, path: &Path, folder: &Path) -> Result<(), String> {
        let store = Sqlite::open(path).unwrap();
        let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        ensure(store.check().unwrap() == "ok", "the store is damaged")?;
        let read = |act: &dyn Act| act.lines(HOST, 0, Place::default(), 1000);
        let kept: Vec<String> = store::look(&store, read).unwrap().into_iter().map(|(_, line)| line).collect();
        ensure(kept == self.writer.lines, "the host's chain is another")?;
        let file = folder.join(format!("recordings/{}/sudo-1.rec", self.which.session));
        ensure(std::fs::read(file).is_ok_and(|found| found == self.large), "the recording is another")?;
        ensure(live(&store) == 0, "something is not revoked")?;
        let lines = store::look(&store, |act| -> Result<_, StoreError> { act.audit(0, 10_000) }).unwrap();
        let mut links: Vec<Link> = Vec::new();
        tether_audit::verify(lines.iter().map(String::as_str), |link| links.push(link.clone()))
            .map_err(|error| error.to_string())?;
        let revoked: Vec<String> = links
            .iter()
            .filter(|link| link.event.event == "session.revoked")
            .map(|link| format!("{:?}", link.event.ids.session))
            .collect();
        let once: std::collections::BTreeSet<&String> = revoked.iter().collect();
        ensure((revoked.len(), once.len()) == (SESSIONS, SESSIONS), "a session's record is missing, or there twice")?;
        ensure(!links.iter().any(|link| link.event.event.contains("alarm")), "an honest host has an alarm")?;
        app.check_log().map(drop).map_err(|error| error.to_string())
    }
}

fn live(store: &Sqlite) -> usize {
    let which = Which { live_at: Some(crate::clock::now()), ..Which::default() };
    store::look(store, |act| act.delegations(&which, 1000)).unwrap().len()
}

#[test]
fn at_each_step() {
    let story = Story::new();
    for dies in [Dies::Before, Dies::After] {
        let mut steps = 0;
        for left in 1.. {
            let (ended, found) = story.live(left, dies);
            assert_eq!(found, Ok(()), "{dies:?} act {left}");
            if ended {
                break;
            }
            steps = left;
        }
        assert!(steps >= 12, "{steps} steps: what is done takes more");
    }
}

/// The same checks find it if an act is lost that was said to stand.
#[test]
fn a_store_that_lies_is_found_out() {
    let story = Story::new();
    let found = (1..20).filter(|left| story.live(*left, Dies::Lying).1.is_err()).count();
    assert!(found >= 4, "{found} losses were found");
}
