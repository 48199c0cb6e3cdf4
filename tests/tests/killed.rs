//! Central is killed with -9, or its power is cut, at any moment while agents and admins work: what it acknowledged is
//! there afterwards.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tether_audit::Link;
use tether_audit::log::{Checkpoint, Edge, SignedNote};
use tether_central::store::{self, Delegation, Place, Sqlite, Which};
use tether_centrallink::wire::{Certified, Exchanged, Revoked, Target};
use tether_centrallink::{Caller, Central, Credential, Http};
use tether_forgetful::{Fsync, private_mounts};
use tether_oauth::issue::{Assertion, PrivateKey};
use tether_oauth::{GRANT_TYPE, TOKEN_TYPE_ID, TOKEN_TYPE_JWT};
use tether_statement::Position;
use tether_tests::central::{now, random_name, seed};
use tether_tests::chain::ChainWriter;
use tether_tests::courier::Courier;
use tether_tests::papers::{AGENT, HOST, World, opened};
use tether_tests::power::FolderDisk;
use tether_tests::programs::built;
use tether_tests::realm::Realm;

/// How often it is killed.
const KILLS: usize = 20;
/// How often its power is cut.
const CUTS: usize = 20;
/// The first cut of such a disk leaves a part of what was not flushed.
const SEED: u64 = 1;
/// The most clients at a time.
const CLIENTS: usize = 6;

/// What central has said to somebody that it did.
#[derive(Debug, Clone)]
enum Told {
    Delegation { id: String },
    Certificate { id: String, certificate: String },
    Revoked { id: String },
}

/// Clients, and what they were told.
struct Load<'w> {
    world: &'w World,
    url: String,
    authority: Vec<u8>,
    break_glass: String,
    told: Mutex<Vec<Told>>,
    stop: AtomicBool,
    /// How many of the clients work now.
    working: AtomicUsize,
}

impl Load<'_> {
    fn tell(&self, told: Told) {
        if let Ok(mut all) = self.told.lock() {
            all.push(told);
        }
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().map(|told| told.clone()).unwrap_or_default()
    }

    fn client(&self, number: usize) -> Result<()> {
        let central = Central::new(&self.url, &self.authority)?;
        let mut turn = number;
        while !self.stop.load(Ordering::SeqCst) {
            turn += 1;
            let works = number < self.working.load(Ordering::SeqCst);
            // While central is down nobody is answered, and nobody minds.
            if !works || self.one_session(&central, turn).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// Exchange, certificate; every other session is taken back, by an admin or by its holder.
    fn one_session(&self, central: &Central, turn: usize) -> Result<()> {
        let session = PrivateKey::from_seed(&seed()?)?;
        let bare = Credential::Key(Caller { key: &session, token: None });
        let (subject, actor) = self.signed(central, &session)?;
        let form = [
            ("grant_type", GRANT_TYPE),
            ("subject_token", subject.as_str()),
            ("subject_token_type", TOKEN_TYPE_ID),
            ("actor_token", actor.as_str()),
            ("actor_token_type", TOKEN_TYPE_JWT),
            ("audience", HOST),
        ];
        let issued: Exchanged = central.form("/oauth/token", &form, bare)?;
        let id = opened(&issued.access_token)?.1["jti"].as_str().context("no jti")?.to_owned();
        self.tell(Told::Delegation { id: id.clone() });
        let bound = Credential::Key(Caller { key: &session, token: Some(&issued.access_token) });
        let certified: Certified = central.post("/v1/certificate", &json!({}), bound)?;
        self.tell(Told::Certificate { id: id.clone(), certificate: certified.certificate });
        match turn % 4 {
            0 => {
                let target = Target::Session(certified.session);
                let admin = Credential::Bearer(&self.break_glass);
                let revoked: Revoked = central.post("/v1/admin/revoke", &target, admin)?;
                ensure!(revoked.sessions.len() == 1, "{revoked:?}");
            }
            1 => central.form("/oauth/revoke", &[("token", issued.access_token.as_str())], bare)?,
            _ => return Ok(()),
        }
        self.tell(Told::Revoked { id });
        Ok(())
    }

    /// A sign-in of another human each time, by the provider's own key, and the agent's assertion.
    fn signed(&self, central: &Central, session: &PrivateKey) -> Result<(String, String)> {
        let (header, mut claims) = opened(&self.world.alice)?;
        claims["email"] = json!(format!("{}@example.org", random_name(16)?));
        let actor = self.world.agent.assertion(&Assertion {
            agent: &AGENT.parse()?,
            instance: &"run-7".parse()?,
            audience: central.url(),
            session: &session.thumbprint(),
            jti: &random_name(26)?,
            now: now(),
        });
        Ok((self.world.provider.0.sign(&header, &claims), actor))
    }
}

#[test]
fn what_was_acknowledged_survives_every_kill() -> Result<()> {
    survives(Realm::without_hosts()?, KILLS, |realm| {
        realm.central.kill();
        Ok(())
    })
}

/// The same with central's folder on a disk that forgets what was not flushed.
#[test]
fn what_was_acknowledged_survives_every_power_cut() -> Result<()> {
    private_mounts()?;
    let mut realm = Realm::without_hosts()?;
    let mut disk = on_a_forgetful_disk(&mut realm)?;
    survives(realm, CUTS, move |realm| {
        disk.cut();
        realm.central.kill();
        disk.mount()
    })
}

/// The control: a disk whose flushes do nothing.
#[test]
fn without_fsync_loss_is_found() -> Result<()> {
    private_mounts()?;
    let mut realm = Realm::without_hosts()?;
    let mut disk = on_a_forgetful_disk(&mut realm)?;
    disk.disk.set_fsync(Fsync::Lies);
    let chain = ChainWriter::new(HOST, seed()?);
    let courier = Courier::admitted_with(&realm, HOST, Some(chain.start()))?;
    let world = World::new(&realm)?;
    let load = load(&realm, &world)?;
    load.working.store(CLIENTS, Ordering::SeqCst);
    let (sent, _) = work(&load, &mut realm, &courier, chain, |realm| {
        std::thread::sleep(Duration::from_secs(1));
        disk.cut();
        realm.central.kill();
        Ok(())
    })?;
    disk.mount()?;
    ensure!(load.told().len() > CLIENTS && sent.1.acknowledged > 10, "too little was done for this to mean anything");
    let lost = everything_is_there(&load.told(), &realm.central.path("central.db"), &[], None).err();
    eprintln!("without fsync: {:#}", lost.context("a loss is not noticed")?);
    let lost = log_is_there(&sent.1, &realm.central.path("central.db")).err();
    eprintln!("and of its log: {:#}", lost.context("lost lines of a host's chain are not noticed")?);
    Ok(())
}

/// What `init` has printed a token for is there whatever happens then; the control is the same with an fsync that lies.
#[test]
fn what_init_made_survives_a_power_cut() -> Result<()> {
    private_mounts()?;
    let lost = |fsync: Fsync, seed: u64| -> Result<bool> {
        let folder = tempfile::tempdir()?;
        let mut disk = FolderDisk::under(folder.path(), seed)?;
        disk.disk.set_fsync(fsync);
        let init = ["init", "--url", "https://central.example.org:8443", "--namespace", "@example.org"];
        let central = |arguments: &[&str]| {
            let mut command = std::process::Command::new(built("test-central")?);
            Ok::<_, anyhow::Error>(command.arg("--folder").arg(folder.path().join("c")).args(arguments).output()?)
        };
        let made = central(&init)?;
        ensure!(made.status.success(), "{made:?}");
        let before = files(&folder.path().join("c"))?;
        ensure!(before.len() > 10, "{before:?}");
        disk.cut();
        disk.mount()?;
        let after = files(&folder.path().join("c")).unwrap_or_default();
        Ok(after != before || !central(&["check"])?.status.success())
    };
    for seed in 0..12 {
        ensure!(!lost(Fsync::Works, seed)?, "something is lost with seed {seed}");
    }
    ensure!(lost(Fsync::Lies, SEED)?, "a loss is not noticed");
    Ok(())
}

/// Every file but those that SQLite makes anew, with its bytes and mode.
fn files(folder: &Path) -> Result<BTreeMap<std::path::PathBuf, (u32, Vec<u8>)>> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if !path.display().to_string().contains("central.db-") {
            found.insert(path.clone(), (path.metadata()?.mode(), std::fs::read(&path)?));
        }
    }
    Ok(found)
}

fn on_a_forgetful_disk(realm: &mut Realm) -> Result<FolderDisk> {
    realm.central.stop()?;
    let disk = FolderDisk::under(&realm.central.path(""), SEED)?;
    realm.central.serve()?;
    Ok(disk)
}

fn load<'w>(realm: &Realm, world: &'w World) -> Result<Load<'w>> {
    Ok(Load {
        world,
        url: realm.central.url(),
        authority: std::fs::read(realm.central.authority())?,
        break_glass: realm.central.break_glass().to_owned(),
        told: Mutex::default(),
        stop: AtomicBool::new(false),
        working: AtomicUsize::new(0),
    })
}

/// `die` ends central in one way or another; what it leaves is what the next one finds.
fn survives(mut realm: Realm, kills: usize, mut die: impl FnMut(&mut Realm) -> Result<()> + Send) -> Result<()> {
    let chain = ChainWriter::new(HOST, seed()?);
    let courier = Courier::admitted_with(&realm, HOST, Some(chain.start()))?;
    let world = World::new(&realm)?;
    let kills = if std::env::var_os("TETHER_TEST_LONG").is_some() { 10 * kills } else { kills };
    let load = load(&realm, &world)?;
    let (early, read, sent) = kill_under(&load, &mut realm, &courier, chain, kills, &mut die)?;
    let told = load.told();
    let mut counts = [0; 3];
    for told in &told {
        let at = match told {
            Told::Delegation { .. } => 0,
            Told::Certificate { .. } => 1,
            Told::Revoked { .. } => 2,
        };
        counts[at] += 1;
    }
    eprintln!("{kills} kills; delegations, certificates, revocations that were acknowledged: {counts:?}");
    ensure!(counts.iter().all(|count| *count >= kills), "too little was done for this to mean anything: {counts:?}");

    everything_is_there(&told, &realm.central.path("central.db"), &realm.central.trail()?, Some(&read))?;
    let checkpoints = sent.checkpoints.len();
    eprintln!("{} lines of a host's chain acknowledged, {checkpoints} checkpoints seen", sent.acknowledged);
    ensure!(sent.acknowledged > 10 * kills && checkpoints > 3, "too few for this to mean anything");
    log_is_there(&sent, &realm.central.path("central.db"))?;
    // The control: the store as it was before the last kill. A central that acknowledged what it did not yet keep
    // would come back with such a one.
    let (copy, trail) = early;
    let lost = everything_is_there(&told, &copy, &trail, None).err().context("a loss is not noticed")?;
    eprintln!("an older store is found out: {lost:#}");
    let lost = log_is_there(&sent, &copy).err().context("lost lines of a host's chain are not noticed")?;
    eprintln!("and its log: {lost:#}");
    Ok(())
}

type Read = Vec<(u64, String)>;

/// Kills central again and again while clients work, each time at another moment and under another load. A copy of the
/// store of before the last kill with its trail, and what the courier has read.
fn kill_under(
    load: &Load<'_>,
    realm: &mut Realm,
    courier: &Courier,
    chain: ChainWriter,
    kills: usize,
    die: &mut (dyn FnMut(&mut Realm) -> Result<()> + Send),
) -> Result<((std::path::PathBuf, Vec<Link>), Read, Sent)> {
    let copy = realm.files.path().join("early.db");
    let mut trail = Vec::new();
    let (sent, ()) = work(load, realm, courier, chain, |realm| {
        for kill in 0..kills {
            load.working.store(1 + kill % CLIENTS, Ordering::SeqCst);
            if kill + 1 == kills {
                realm.central.command(&["backup", &copy.display().to_string()])?;
                trail = realm.central.trail()?;
            }
            let random = u64::from(u16::from_le_bytes(seed()?[..2].try_into()?));
            std::thread::sleep(Duration::from_millis(60) + Duration::from_micros(random * 6));
            die(realm)?;
            // Whoever was not answered tries again; six of them would only make the start slow.
            load.working.store(1, Ordering::SeqCst);
            realm.central.serve()?;
        }
        // The last life ends without a kill: the courier hears of everything.
        load.working.store(0, Ordering::SeqCst);
        wait_for_the_courier(realm)
    })?;
    Ok(((copy, trail), sent.0, sent.1))
}

/// Does something to central while clients work, a courier listens and a host's chain comes in. What the courier has
/// read, and what was sent.
fn work<T: Send>(
    load: &Load<'_>,
    realm: &mut Realm,
    courier: &Courier,
    chain: ChainWriter,
    deed: impl FnOnce(&mut Realm) -> Result<T> + Send,
) -> Result<((Read, Sent), T)> {
    let lab = realm.lab.clone();
    lab.on_switch(move || {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || load.client(number))).collect();
            let listener = scope.spawn(|| courier.carry(&load.stop));
            let sender = scope.spawn(|| send_chain(load, courier, chain));
            let done = deed(realm);
            load.stop.store(true, Ordering::SeqCst);
            // Its connection ends, so that it looks whether it may stop.
            realm.central.kill();
            let read = listener.join().map_err(|_| anyhow::anyhow!("the courier panicked"))?;
            let sent = sender.join().map_err(|_| anyhow::anyhow!("who sends the chain panicked"))??;
            for client in clients {
                client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            }
            Ok(((read, sent), done?))
        })
    })?
}

/// A host's chain, as far as it was sent, and what central has signed of its log meanwhile.
struct Sent {
    lines: Vec<String>,
    /// How many of them central has said that it has.
    acknowledged: usize,
    checkpoints: Vec<String>,
}

/// Sends a chain as a courier does: from where central says that it is, at least once; looks at the log now and then.
fn send_chain(load: &Load<'_>, courier: &Courier, mut chain: ChainWriter) -> Result<Sent> {
    let mut sent = Sent { lines: Vec::new(), acknowledged: 0, checkpoints: Vec::new() };
    // Where each line leads to.
    let mut places = vec![(0, 0)];
    let http = Http::new(&load.authority, Duration::from_secs(10))?;
    let (url, bearer) = (format!("{}/log/checkpoint", load.url), format!("Bearer {}", load.break_glass));
    while !load.stop.load(Ordering::SeqCst) {
        for _ in 0..5 {
            sent.lines.push(chain.record()?);
            places.push((chain.number(), 0));
        }
        sent.lines.push(chain.head()?);
        places.push((chain.number(), 1));
        let text: String = sent.lines[sent.acknowledged..].iter().map(|line| format!("{line}\n")).collect();
        match courier.send_lines(places[sent.acknowledged], text.as_bytes()) {
            Ok(taken) => {
                ensure!(taken.trouble.is_none(), "{taken:?}");
                let at = places.iter().position(|place| *place == (taken.number, taken.lines));
                sent.acknowledged = at.with_context(|| format!("a place that no line has: {taken:?}"))?;
            }
            // Killed, or not back yet: what it has taken it gets again.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
        if let Ok(answer) = http.get(&url, &[("Authorization", &bearer)])
            && answer.status == 200
        {
            let text = String::from_utf8(answer.body)?;
            if sent.checkpoints.last() != Some(&text) {
                sent.checkpoints.push(text);
            }
        }
    }
    Ok(sent)
}

/// Whether a store has all lines that were acknowledged, as they were, and a log that grew from every checkpoint that
/// anybody has seen.
fn log_is_there(sent: &Sent, store: &Path) -> Result<()> {
    let store = Sqlite::open_to_read(store)?;
    let (lines, entries) = store::look(&store, |act| {
        let lines = act.lines(HOST, 0, Place::default(), usize::MAX)?;
        Ok::<_, anyhow::Error>((lines, act.entries(0, usize::MAX)?))
    })?;
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    ensure!(lines.len() >= sent.acknowledged, "{} lines of {} that were acknowledged", lines.len(), sent.acknowledged);
    ensure!(lines.iter().zip(&sent.lines).all(|(kept, sent)| kept == sent), "another line than was sent");
    let mut roots = BTreeMap::new();
    for text in &sent.checkpoints {
        let note = SignedNote::parse(text)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        let root = roots.entry(checkpoint.size).or_insert(checkpoint.root);
        ensure!(*root == checkpoint.root, "two trees of {} records were signed", checkpoint.size);
    }
    // From the records alone, not from the tiles that central has made.
    let mut edge = Edge::default();
    for entry in &entries {
        if let Some(root) = roots.remove(&edge.size()) {
            ensure!(edge.root() == root, "the tree of {} records is another than was signed", edge.size());
        }
        edge.append([entry.line.as_bytes()]);
    }
    if let Some(root) = roots.remove(&edge.size()) {
        ensure!(edge.root() == root, "the whole tree is another than was signed");
    }
    ensure!(roots.is_empty(), "signed trees that are larger than the log: {:?}", roots.keys());
    Ok(())
}

/// Until the host has acknowledged its whole feed.
fn wait_for_the_courier(realm: &Realm) -> Result<()> {
    let begun = Instant::now();
    loop {
        let hosts = realm.central.administer(&["hosts", "list"])?;
        let host = &hosts[0];
        if host["feed"] == host["read"] && host["listening"] == true {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(30), "the courier does not come to the end: {host}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a store holds all that was acknowledged, in its tables, in its audit chain (which was checked) and in what
/// the host was told.
fn everything_is_there(told: &[Told], store: &Path, trail: &[Link], read: Option<&Read>) -> Result<()> {
    let store = Sqlite::open_to_read(store)?;
    ensure!(store.check()? == "ok", "SQLite: {}", store.check()?);
    let (delegations, position) = store::look(&store, |act| {
        let delegations = act.delegations(&Which::default(), usize::MAX)?;
        Ok::<_, anyhow::Error>((delegations, act.position(&HOST.parse()?)?))
    })?;
    let delegations: BTreeMap<&str, &Delegation> = delegations.iter().map(|one| (one.id.as_str(), one)).collect();
    let recorded = |event: &str| -> BTreeSet<&str> {
        trail
            .iter()
            .filter(|link| link.event.event == event)
            .filter_map(|link| link.event.ids.delegation.id())
            .collect()
    };
    let (issued, certified) = (recorded("token.issued"), recorded("certificate.issued"));
    let (granted, revoked) = (recorded("grant.sent"), recorded("session.revoked"));
    for told in told {
        let (Told::Delegation { id } | Told::Certificate { id, .. } | Told::Revoked { id }) = told;
        let one = delegations.get(id.as_str()).with_context(|| format!("{told:?} is lost"))?;
        ensure!(issued.contains(id.as_str()), "{told:?}: no record");
        match told {
            Told::Delegation { .. } => {}
            Told::Certificate { certificate, .. } => {
                let kept = one.issued.as_ref().and_then(|issued| issued.certificate.as_ref());
                ensure!(kept == Some(certificate), "{told:?} is lost");
                ensure!(granted.contains(id.as_str()) && certified.contains(id.as_str()), "{told:?}: no record");
            }
            Told::Revoked { .. } => {
                ensure!(one.revoked.is_some(), "{told:?} is lost");
                ensure!(revoked.contains(id.as_str()), "{told:?}: no record");
            }
        }
    }
    let Some(read) = read else { return Ok(()) };
    // The host was told one feed, and all of it.
    let last = read.last().map_or_else(Position::start, |(number, text)| Position::after(*number, text));
    ensure!(last == position, "the courier has read up to {last:?}, the store has {position:?}");
    Ok(())
}
