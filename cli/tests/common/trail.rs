//! A believable trail, made with the real chains and signed with real keys: alice signs in, her agent works on two
//! hosts, is refused twice, and everything is cleaned up.
#![allow(dead_code)]

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tether_audit::{
    Chain, Event, HeadAt, HeadSigner, Ids, Known, Outcome, Parent, SignedHead, Verified, countersigned_line,
};
use tether_statement::issue::Signing;
use tether_statement::{Countersignature, Key, KeySet, Role, Typ};

/// 2026-11-28 10:00:00 UTC.
pub const BEGIN_US: u64 = 1_795_860_000_000_000;
pub const S1: &str = "s-4f1c9a7e20";
pub const S2: &str = "s-9b03d5e611";

/// Who writes a chain.
#[derive(Clone)]
pub struct Writer {
    pub name: String,
    pub chain: Chain,
    /// Number and secret of the key for the next head.
    pub signer: Option<(u64, [u8; 32])>,
    head: String,
    /// Segments: the number of the first record, and the lines.
    pub segments: Vec<(u64, Vec<String>)>,
    pub now_us: u64,
}

/// What a record is to say.
pub struct Told<'a> {
    pub event: &'a str,
    pub outcome: Outcome,
    pub code: &'a str,
    pub session: Option<&'a str>,
    pub parent: Option<Parent>,
    pub about: Value,
}

pub fn told<'a>(event: &'a str, session: &'a str, parent: Option<Parent>, about: Value) -> Told<'a> {
    Told { event, outcome: Outcome::Allowed, code: "", session: Some(session), parent, about }
}

pub fn refused<'a>(event: &'a str, code: &'a str, session: &'a str, parent: Option<Parent>, about: Value) -> Told<'a> {
    Told { event, outcome: Outcome::Refused, code, session: Some(session), parent, about }
}

impl Writer {
    pub fn new(name: &str, seed: Option<[u8; 32]>) -> Self {
        Self {
            name: name.to_owned(),
            chain: Chain::after(name, "3f0c1f6e-boot", Verified { records: 0, head: String::new() }),
            signer: seed.map(|seed| (0, seed)),
            head: String::new(),
            segments: vec![(1, Vec::new())],
            now_us: BEGIN_US,
        }
    }

    fn push(&mut self, line: String) {
        self.segments.last_mut().unwrap().1.push(line);
    }

    /// Writes a record; the name by which others call it their cause.
    pub fn write(&mut self, told: Told<'_>) -> Parent {
        let Value::Object(details) = told.about else { panic!("details are an object") };
        let event = Event {
            event: told.event.into(),
            outcome: told.outcome,
            code: told.code.into(),
            ids: ids(told.session),
            parent: told.parent,
            details,
        };
        let next = self.chain.next(event, self.now_us).unwrap();
        self.chain.commit(&next);
        self.push(next.line);
        Parent::record(&self.name, self.chain.number())
    }

    /// Signs how far it goes.
    pub fn head(&mut self) -> SignedHead {
        let (index, seed) = self.signer.expect("this chain has heads");
        let signer = HeadSigner::new(index, seed);
        let at = HeadAt {
            host: &self.name,
            boot: "3f0c1f6e-boot",
            number: self.chain.number(),
            hash: self.chain.head(),
            time_us: self.now_us,
            previous: &self.head,
        };
        let signed = signer.sign(&at).unwrap();
        self.head = signed.head.digest().unwrap();
        self.push(signed.line().unwrap());
        let next = signer.next();
        self.signer = Some((next.index(), *next.seed()));
        signed
    }

    /// Central's mark, put into the chain.
    pub fn countersigned(&mut self, head: &SignedHead) -> String {
        let jws = countersign(head, self.now_us / 1_000_000);
        self.push(countersigned_line(&jws));
        jws
    }

    /// From here on in another file.
    pub fn segment(&mut self) {
        self.segments.push((self.chain.number() + 1, Vec::new()));
    }

    pub fn later(&mut self, millis: u64) -> &mut Self {
        self.now_us += millis * 1000;
        self
    }

    /// Writes its files.
    pub fn put(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for (first, lines) in &self.segments {
            std::fs::write(folder.join(format!("{first:020}.jsonl")), text(lines)).unwrap();
        }
    }
}

pub fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |all, line| all + line + "\n")
}

fn ids(session: Option<&str>) -> Ids {
    let mut ids = Ids::unknown("of central itself");
    if let Some(session) = session {
        let id = |text: &str| Known::Id(text.to_owned());
        ids.human = id("alice@example.org");
        ids.agent = id("triage");
        ids.instance = id("run-2026-11-28-7");
        ids.delegation = id(if session == S1 { "d-71c0ffee5a" } else { "d-8e21b6f003" });
        ids.session = id(session);
    }
    ids
}

pub fn audit_key() -> Signing {
    Signing::from_seed("audit-2026", [41; 32])
}

pub fn root_key() -> Signing {
    Signing::from_seed("root-2026", [42; 32])
}

pub fn root_text() -> String {
    root_key().public().to_string()
}

pub fn countersign(head: &SignedHead, time: u64) -> String {
    let said = Countersignature {
        host: head.head.host.parse().unwrap(),
        number: head.head.number,
        hash: head.head.hash.clone(),
        head: head.head.digest().unwrap(),
        time,
    };
    audit_key().sign(Typ::Countersignature, &said).unwrap()
}

pub fn keys() -> String {
    let at = BEGIN_US / 1_000_000;
    let set = KeySet {
        version: 3,
        issued_at: at - 1000,
        expires_at: at + 90 * 86_400,
        keys: vec![Key { kid: "audit-2026".into(), role: Role::Audit, x: audit_key().public() }],
        issuers: Vec::new(),
        user_ca: Vec::new(),
    };
    root_key().sign(Typ::Keys, &set).unwrap()
}

pub fn start(seed: [u8; 32]) -> String {
    json!({"number": 0, "hash": "", "key": 0, "public": HeadSigner::new(0, seed).public()}).to_string()
}

pub const WEB_SEED: [u8; 32] = [7; 32];
pub const DB_SEED: [u8; 32] = [8; 32];

/// Central and two hosts.
#[derive(Clone)]
pub struct World {
    pub central: Writer,
    pub web: Writer,
    pub db: Writer,
}

impl World {
    /// As central exports it.
    pub fn export(&self, folder: &Path) {
        self.central.put(&folder.join("central"));
        for (host, seed) in [(&self.web, WEB_SEED), (&self.db, DB_SEED)] {
            let at = folder.join("hosts").join(&host.name);
            host.put(&at);
            std::fs::write(at.join("start.json"), start(seed)).unwrap();
        }
        std::fs::create_dir_all(folder.join("keys")).unwrap();
        std::fs::write(folder.join("keys/3.jws"), keys()).unwrap();
    }

    /// As it lies on the web host.
    pub fn on_host(&self, folder: &Path) -> PathBuf {
        let at = folder.join("audit");
        self.web.put(&at);
        std::fs::write(at.join("start.json"), start(WEB_SEED)).unwrap();
        at
    }
}

/// The log over these lines, as an export has it, signed with the audit key, or another.
pub fn put_log(folder: &Path, lines: &[String], seed: [u8; 32]) {
    use tether_audit::log::{Checkpoint, Edge, NoteSigner, Resource, TileId, bundle};
    let folder = folder.join("log");
    let _ = std::fs::remove_dir_all(&folder);
    let mut edge = Edge::default();
    edge.append(lines.iter().map(|line| line.as_bytes()));
    for (index, part) in (0..).zip(lines.chunks(256)) {
        let tile = TileId::new(0, index, part.len() as u64).unwrap();
        let path = folder.join(Resource::Entries(tile).to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bundle(part.iter().map(|line| line.as_bytes())).unwrap()).unwrap();
    }
    let origin = "central.example.org/audit".to_owned();
    let signer = NoteSigner::new(&origin, &seed).unwrap();
    let checkpoint = Checkpoint { origin, size: lines.len() as u64, root: edge.root() };
    std::fs::write(folder.join("checkpoint"), checkpoint.sign(&signer).unwrap()).unwrap();
}

impl World {
    /// All records in an order that central may have taken them in.
    pub fn records(&self) -> Vec<String> {
        let all = [&self.central, &self.web, &self.db].into_iter().flat_map(|writer| &writer.segments);
        all.flat_map(|(_, lines)| lines).filter(|line| line.starts_with("{\"hash\"")).cloned().collect()
    }
}

/// The whole story.
pub fn believable() -> World {
    let central = Writer::new("central", None);
    let mut world =
        World { central, web: Writer::new("web-01", Some(WEB_SEED)), db: Writer::new("db-01", Some(DB_SEED)) };
    let of_itself =
        |event, about| Told { event, outcome: Outcome::Allowed, code: "", session: None, parent: None, about };
    world.central.write(of_itself("central.started", json!({"version": "0.1.0"})));
    world.web.write(of_itself("agentd.started", json!({"version": "0.1.0"})));
    world.web.head();
    on_web(&mut world);
    on_db(&mut world);
    world
}

fn papers(world: &mut World, host: &str, session: &str, statement: u64) -> (Parent, Parent) {
    let at = world.central.now_us / 1_000_000;
    let account = if host == "web-01" { "ag-triage-7k2m" } else { "ag-triage-q9xd" };
    let token = json!({
        "host": host, "bundle": "triage", "team": "secops", "policies": ["analysts-on-web"], "expires_at": at + 900,
        "issuer": "https://idp.example.org", "auth_time": at - 95, "amr": ["pwd", "otp"],
        "subject_token": {"iss": "https://idp.example.org", "sha256": "pQ3uZ2yJ8m0s1x7VbTq4cWn5rLk9dEa6fGh2iJo3kXw"},
        "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    });
    let token = world.central.write(told("token.issued", session, None, token));
    let grant = json!({"host": host, "account": account, "serial": 1000 + statement, "statement": statement, "bundle": "triage"});
    world.central.later(140);
    let grant = world.central.write(told("grant.sent", session, Some(token), grant));
    let writer = if host == "web-01" { &mut world.web } else { &mut world.db };
    writer.now_us = world.central.now_us + 90_000;
    let reserved = json!({
        "account": account, "uid": 70_004, "principal": "secops.triage.alice@example.org", "issuer": "https://central.example.org:8443",
        "bundle": "triage", "expires_at": at + 900, "auth_time": at - 95, "amr": ["pwd", "otp"],
    });
    let reserved = writer.write(told("session.reserved", session, Some(Parent::statement(host, statement)), reserved));
    world.central.later(210);
    let certificate = json!({
        "host": host, "account": account, "serial": 1000 + statement, "valid_before": at + 300,
        "ca": "SHA256:yZ0bq8Hn3mVx6cT1pLk4wRf7sJd2uGe9oAiXhCvBnM5",
    });
    let certificate = world.central.write(told("certificate.issued", session, Some(grant), certificate));
    (reserved, certificate)
}

pub fn run(writer: &mut Writer, session: &str, login: &Parent, argv: Value, millis: u64, status: i64) {
    let about = json!({
        "argv": argv, "program": "/usr/bin/journalctl", "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "rule": "journal", "bundle": "triage", "version": 12, "cwd": "/home/ag-triage-7k2m", "tty": "/dev/pts/0", "uid": 70_005, "by": "sudo",
    });
    let command = writer.write(told("sudo.command", session, Some(login.clone()), about.clone()));
    let Value::Object(mut ended) = about else { unreachable!() };
    ended.insert("status".into(), status.into());
    ended.insert("cpu_us".into(), (millis * 700).into());
    ended.insert("memory_bytes".into(), 3_250_586.into());
    writer.later(millis);
    writer.write(told("sudo.ended", session, Some(command), Value::Object(ended)));
}

fn on_web(world: &mut World) {
    world.central.later(2000);
    let (reserved, certificate) = papers(world, "web-01", S1, 17);
    let web = &mut world.web;
    web.later(420);
    let login = json!({"connection": "192.0.2.40 51622 192.0.2.10 22", "serial": 1017, "ca": "SHA256:yZ0bq8Hn3mVx6cT1pLk4wRf7sJd2uGe9oAiXhCvBnM5", "monitor": 4121});
    let login = web.write(told("login.bound", S1, Some(certificate), login));
    let recording = json!({"recording": "r-5be2", "kind": "session", "channel": "tty", "columns": 80, "rows": 24});
    let recording = web.write(told("recording.started", S1, Some(login.clone()), recording));
    web.later(1310);
    run(web, S1, &login, json!(["journalctl", "-u", "nginx", "--since", "-1h", "-n", "200"]), 212, 0);
    let head = web.head();
    web.later(3_000);
    web.countersigned(&head);
    web.segment();
    web.later(4_100);
    let about = json!({"argv": ["cat", "/etc/shadow"], "cwd": "/home/ag-triage-7k2m", "tty": "/dev/pts/0", "by": "sudo",
        "why": "/usr/bin/cat may not be run with these arguments (bundle triage, version 12)"});
    web.write(refused("sudo.command", "bundle.arguments", S1, Some(login.clone()), about));
    web.later(2_700);
    run(web, S1, &login, json!(["ss", "-tnp"]), 38, 0);
    web.head();
    web.later(9_000);
    run(web, S1, &login, json!(["grep", "-r", "it's\u{1b}[2J \u{202e}odd", "/var/log/nginx"]), 4_870, 256);
    web.later(3_000);
    run(web, S1, &login, json!(["tail", "-F", "/var/log/nginx/error.log"]), 61_400, 9);
    let head = web.head();
    web.countersigned(&head);
    web.later(1_000);
    web.write(told(
        "recording.ended",
        S1,
        Some(recording),
        json!({"recording": "r-5be2", "bytes": 48_231, "chunks": 31, "seconds": 90}),
    ));
    let ending = web.write(told(
        "session.ending",
        S1,
        Some(login),
        json!({"reason": "last connection closed", "connections": 0}),
    ));
    web.later(260);
    let about = json!({"checked": ["processes", "account", "linger", "crontab", "mail", "at", "run-user", "files"], "found": [], "kept": "audit"});
    web.write(told("session.removed", S1, Some(ending), about));
    web.head();
    let _ = reserved;
}

fn on_db(world: &mut World) {
    world.central.later(40_000);
    let (_, certificate) = papers(world, "db-01", S2, 4);
    let db = &mut world.db;
    db.later(380);
    let login = json!({"connection": "192.0.2.40 51640 192.0.2.11 22", "serial": 1004, "ca": "SHA256:yZ0bq8Hn3mVx6cT1pLk4wRf7sJd2uGe9oAiXhCvBnM5", "monitor": 977});
    let login = db.write(told("login.bound", S2, Some(certificate), login));
    db.later(900);
    run(db, S2, &login, json!(["uptime"]), 9, 0);
    let head = db.head();
    db.countersigned(&head);
    world.central.later(9_000);
    let revoked = json!({"by": "bob@example.org", "why": "the right was taken back", "sessions": 1});
    let revoked = world.central.write(told("session.revoked", S2, None, revoked));
    let db = &mut world.db;
    db.now_us = world.central.now_us + 120_000;
    let ending = db.write(told("session.ending", S2, Some(revoked), json!({"reason": "revoked", "connections": 1})));
    db.later(190);
    let about = json!({"checked": ["processes", "account", "linger"], "found": [], "kept": "audit"});
    db.write(told("session.removed", S2, Some(ending), about));
    db.head();
}

/// Two bursts of output, with colour and a line that is drawn anew.
pub fn cast() -> String {
    let header = json!({"version": 2, "width": 80, "height": 24, "timestamp": BEGIN_US / 1_000_000, "title": "web-01"});
    let events = [
        json!([0.12, "o", "\u{1b}[1;32mag-triage-7k2m@web-01\u{1b}[0m:\u{1b}[1;34m~\u{1b}[0m$ "]),
        json!([1.31, "o", "sudo journalctl -u nginx --since -1h -n 200\r\n"]),
        json!([
            1.52,
            "o",
            "Nov 28 09:41:02 web-01 nginx[811]: \u{1b}[31mupstream timed out\u{1b}[0m (110) while reading\r\nNov 28 09:41:09 web-01 nginx[811]: \u{1b}[33mworker 4 exited\u{1b}[0m, respawning\r\n"
        ]),
        json!([1.6, "o", "\u{1b}[1;32mag-triage-7k2m@web-01\u{1b}[0m:\u{1b}[1;34m~\u{1b}[0m$ "]),
        json!([
            5.7,
            "o",
            "sudo cat /etc/shadow\r\n\u{1b}[31mtether: /usr/bin/cat may not be run with these arguments\u{1b}[0m [bundle.arguments]\r\n"
        ]),
        json!([6.0, "o", "scanning   0%"]),
        json!([6.5, "o", "\rscanning  50%"]),
        json!([7.0, "o", "\rscanning 100%\r\n</script><script>alert(1)</script>\r\n"]),
    ];
    let mut text = header.to_string();
    for event in events {
        text += "\n";
        text += &event.to_string();
    }
    text + "\n"
}

pub fn no_details() -> Value {
    Value::Object(Map::new())
}
