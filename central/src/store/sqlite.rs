//! SQLite: one file, write-ahead log, flushed at every commit.
//!
//! Who looks has a connection of its own and waits for no flush: it sees what stood when it began.

mod recordings;
mod trail;

use super::{
    Act, Agent, BundleText, Delegation, Enrolment, Found, Host, Human, NewEntry, Pair, ScimToken, Seen, Store,
    StoreError, Trail, Which,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tether_identity::{DelegationId, HostId, Human as HumanName, Name, SessionId, Thumbprint};
use tether_statement::{Position, UnixTime, digest};

/// What brings the schema from one version to the next. Never changed, only added to.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE agents (name TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE humans (name TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE pairs (agent TEXT, human TEXT, doc TEXT NOT NULL, PRIMARY KEY (agent, human)) STRICT, WITHOUT ROWID;
    CREATE TABLE hosts (id TEXT PRIMARY KEY, jkt TEXT UNIQUE, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE seen (host TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE enrolments (hash TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE delegations (
        id TEXT PRIMARY KEY, session TEXT NOT NULL UNIQUE, serial TEXT UNIQUE, human TEXT NOT NULL, agent TEXT NOT NULL,
        host TEXT NOT NULL, issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, revoked INTEGER NOT NULL,
        doc TEXT NOT NULL
    ) STRICT;
    CREATE INDEX delegations_by_expiry ON delegations (expires_at) WHERE revoked = 0;
    CREATE INDEX delegations_by_human ON delegations (human, issued_at);
    CREATE INDEX delegations_by_agent ON delegations (agent, issued_at);
    CREATE INDEX delegations_by_host ON delegations (host, issued_at);
    CREATE TABLE spent (kind TEXT, id TEXT, until INTEGER NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
    CREATE INDEX spent_by_time ON spent (until);
    CREATE TABLE statements (
        host TEXT, number INTEGER, text TEXT NOT NULL, PRIMARY KEY (host, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE bundles (name TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, line TEXT NOT NULL) STRICT;
",
    "
    ALTER TABLE humans ADD COLUMN id TEXT;
    ALTER TABLE humans ADD COLUMN alike TEXT;
    ALTER TABLE humans ADD COLUMN external_id TEXT;
    ALTER TABLE humans ADD COLUMN issuer TEXT;
    ALTER TABLE humans ADD COLUMN sub TEXT;
    UPDATE humans SET id = lower(hex(randomblob(13)));
    UPDATE humans SET doc = json_set(doc, '$.id', id), alike = lower(name), issuer = json_extract(doc, '$.issuer'),
        sub = json_extract(doc, '$.sub');
    CREATE UNIQUE INDEX humans_by_id ON humans (id);
    CREATE INDEX humans_by_alike ON humans (alike);
    CREATE INDEX humans_by_external_id ON humans (external_id);
    CREATE INDEX humans_by_sub ON humans (issuer, sub);
    CREATE TABLE void_subs (
        issuer TEXT, sub TEXT, until INTEGER NOT NULL, PRIMARY KEY (issuer, sub)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE scim_tokens (hash TEXT PRIMARY KEY, name TEXT NOT NULL, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
",
    trail::TABLES,
    "
    CREATE TABLE subs (
        issuer TEXT, sub TEXT, human TEXT, PRIMARY KEY (issuer, sub, human)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO subs SELECT issuer, sub, name FROM humans WHERE issuer <> '';
",
    recordings::TABLES,
    recordings::BY_HOST,
];

/// How long an act waits for another process (a backup, an admin's `audit`) that holds the file.
const BUSY: Duration = Duration::from_secs(10);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// How many pages the log may have before an act moves them into the file (32 MiB): a revocation that ends thousands of
/// sessions writes some 20 MiB, and hosts are told only after it stands.
const WAL_PAGES: u32 = 8192;
/// How many look at a time.
const READERS: usize = 4;

/// A store in one file.
#[derive(Debug)]
pub struct Sqlite {
    readers: Vec<Mutex<Connection>>,
    /// Whose turn it is if all readers are busy.
    turn: AtomicUsize,
    /// Last, so that it is closed last: who only reads leaves the log beside the file, and nothing could be restored.
    writer: Mutex<Connection>,
}

impl Sqlite {
    /// Opens the file, or makes it, and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        migrate(&mut connection)?;
        let readers = (0..READERS).map(|_| Ok(Mutex::new(read_only(path)?))).collect::<Result<_, StoreError>>()?;
        Ok(Self { writer: Mutex::new(connection), readers, turn: AtomicUsize::new(0) })
    }

    /// Opens a file that is only read, such as a backup.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { writer: Mutex::new(read_only(path)?), readers: Vec::new(), turn: AtomicUsize::new(0) })
    }

    /// SQLite's own check of the file: `ok`, or what is wrong.
    pub fn check(&self) -> Result<String, StoreError> {
        Ok(self.lock()?.query_row("PRAGMA integrity_check", [], |row| row.get(0))?)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Connection>, StoreError> {
        self.writer.lock().map_err(|_| StoreError::Poisoned)
    }

    /// A connection to look with: one that is free, else the next in turn. A look that panicked has undone itself.
    fn reader(&self) -> Result<MutexGuard<'_, Connection>, StoreError> {
        if let Some(free) = self.readers.iter().find_map(|reader| reader.try_lock().ok()) {
            return Ok(free);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
        match self.readers.get(turn) {
            Some(reader) => Ok(reader.lock().unwrap_or_else(PoisonError::into_inner)),
            None => self.lock(),
        }
    }
}

fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let act = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = act.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let done = usize::try_from(found).unwrap_or_default();
    for step in MIGRATIONS.iter().skip(done) {
        act.execute_batch(step)?;
    }
    act.pragma_update(None, "user_version", known)?;
    act.commit()?;
    Ok(())
}

impl Store for Sqlite {
    fn act(&self, work: &mut dyn FnMut(&mut dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut connection = self.lock()?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Dropped without a commit it is undone.
        work(&mut Inside(&transaction))?;
        transaction.commit()?;
        Ok(())
    }

    fn look(&self, work: &mut dyn FnMut(&dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut connection = self.reader()?;
        let transaction = connection.transaction()?;
        work(&Inside(&transaction))
    }

    fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        let connection = self.lock()?;
        let mut copy = Connection::open(to)?;
        let backup = rusqlite::backup::Backup::new(&connection, &mut copy)?;
        backup.run_to_completion(1024, Duration::ZERO, None)?;
        Ok(())
    }
}

struct Inside<'c>(&'c Connection);

impl Inside<'_> {
    fn one<T: DeserializeOwned>(
        &self,
        table: &'static str,
        query: &str,
        values: impl Params,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.0.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?;
        text.map(|text| read(table, &text)).transpose()
    }

    fn all<T: DeserializeOwned>(
        &self,
        table: &'static str,
        query: &str,
        values: impl Params,
    ) -> Result<Vec<T>, StoreError> {
        let texts: Vec<String> = self.rows(query, values, |row| row.get(0))?;
        texts.iter().map(|text| read(table, text)).collect()
    }

    fn rows<T>(
        &self,
        query: &str,
        values: impl Params,
        each: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(query)?;
        let rows = statement.query_map(values, each)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn write(&self, query: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.0.prepare_cached(query)?.execute(values)?)
    }
}

fn read<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged { table, why: error.to_string() })
}

fn doc(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| StoreError::Database(error.to_string()))
}

/// SQLite's integers are signed; times and numbers here stay far below their end.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl Act for Inside<'_> {
    fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT value FROM meta WHERE name = ?1";
        Ok(self.0.prepare_cached(query)?.query_row([name], |row| row.get(0)).optional()?)
    }

    fn set_meta(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, value]).map(drop)
    }

    fn agent(&self, name: &Name) -> Result<Option<Agent>, StoreError> {
        self.one("agents", "SELECT doc FROM agents WHERE name = ?1", [name.as_str()])
    }

    fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        self.all("agents", "SELECT doc FROM agents ORDER BY name", [])
    }

    fn put_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        let values = [agent.name.as_str(), &doc(agent)?];
        self.write("INSERT OR REPLACE INTO agents VALUES (?1, ?2)", values).map(drop)
    }

    fn human(&self, name: &HumanName) -> Result<Option<Human>, StoreError> {
        self.one("humans", "SELECT doc FROM humans WHERE name = ?1", [name.as_str()])
    }

    fn humans(&self) -> Result<Vec<Human>, StoreError> {
        self.all("humans", "SELECT doc FROM humans ORDER BY name", [])
    }

    fn human_of_id(&self, id: &str) -> Result<Option<Human>, StoreError> {
        self.one("humans", "SELECT doc FROM humans WHERE id = ?1", [id])
    }

    fn humans_of_external(&self, external_id: &str) -> Result<Vec<Human>, StoreError> {
        self.all("humans", "SELECT doc FROM humans WHERE external_id = ?1 ORDER BY name", [external_id])
    }

    fn humans_of_sub(&self, issuer: &str, sub: &str) -> Result<Vec<Human>, StoreError> {
        let query = "SELECT doc FROM humans JOIN subs ON subs.human = humans.name
            WHERE subs.issuer = ?1 AND subs.sub = ?2 ORDER BY name";
        self.all("humans", query, [issuer, sub])
    }

    fn humans_alike(&self, name: &HumanName) -> Result<Vec<Human>, StoreError> {
        self.all("humans", "SELECT doc FROM humans WHERE alike = ?1 ORDER BY name", [name.as_str().to_lowercase()])
    }

    fn void_until(&self, issuer: &str, sub: &str) -> Result<UnixTime, StoreError> {
        let query = "SELECT until FROM void_subs WHERE issuer = ?1 AND sub = ?2";
        let found = self.0.prepare_cached(query)?.query_row([issuer, sub], |row| row.get(0)).optional()?;
        Ok(found.map_or(0, natural))
    }

    fn set_void_until(&mut self, issuer: &str, sub: &str, time: UnixTime) -> Result<(), StoreError> {
        let values = params![issuer, sub, integer(time)];
        self.write("INSERT OR REPLACE INTO void_subs VALUES (?1, ?2, ?3)", values).map(drop)
    }

    fn put_human(&mut self, human: &Human) -> Result<(), StoreError> {
        // Not OR REPLACE: an id that another human has must be an error, not that human's end.
        let query = "INSERT INTO humans (name, doc, id, alike, external_id, issuer, sub)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, id = excluded.id,
                external_id = excluded.external_id, issuer = excluded.issuer, sub = excluded.sub";
        let alike = human.name.as_str().to_lowercase();
        let Human { name, id, external_id, issuer, sub, .. } = human;
        self.write(query, params![name.as_str(), doc(human)?, id, alike, external_id, issuer, sub])?;
        if !issuer.is_empty() {
            self.write("INSERT OR IGNORE INTO subs VALUES (?1, ?2, ?3)", [issuer, sub, name.as_str()])?;
        }
        Ok(())
    }

    fn pair(&self, agent: &Name, human: &HumanName) -> Result<Option<Pair>, StoreError> {
        let values = [agent.as_str(), human.as_str()];
        self.one("pairs", "SELECT doc FROM pairs WHERE agent = ?1 AND human = ?2", values)
    }

    fn put_pair(&mut self, pair: &Pair) -> Result<(), StoreError> {
        let values = [pair.agent.as_str(), pair.human.as_str(), &doc(pair)?];
        self.write("INSERT OR REPLACE INTO pairs VALUES (?1, ?2, ?3)", values).map(drop)
    }

    fn host(&self, id: &HostId) -> Result<Option<Host>, StoreError> {
        self.one("hosts", "SELECT doc FROM hosts WHERE id = ?1", [id.as_str()])
    }

    fn host_of_key(&self, key: &Thumbprint) -> Result<Option<Host>, StoreError> {
        self.one("hosts", "SELECT doc FROM hosts WHERE jkt = ?1", [key.as_str()])
    }

    fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        self.all("hosts", "SELECT doc FROM hosts ORDER BY id", [])
    }

    fn put_host(&mut self, host: &Host) -> Result<(), StoreError> {
        // Not OR REPLACE: a key that another host has must be an error, not that host's end.
        let query = "INSERT INTO hosts VALUES (?1, ?2, ?3)
            ON CONFLICT (id) DO UPDATE SET jkt = excluded.jkt, doc = excluded.doc";
        let jkt = host.key.as_ref().map(|key| key.jkt.as_str());
        self.write(query, params![host.id.as_str(), jkt, doc(host)?]).map(drop)
    }

    fn seen(&self, host: &HostId) -> Result<Seen, StoreError> {
        let found = self.one("seen", "SELECT doc FROM seen WHERE host = ?1", [host.as_str()])?;
        Ok(found.unwrap_or_default())
    }

    fn put_seen(&mut self, host: &HostId, seen: &Seen) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO seen VALUES (?1, ?2)", [host.as_str(), &doc(seen)?]).map(drop)
    }

    fn scim_token(&self, hash: &str) -> Result<Option<ScimToken>, StoreError> {
        self.one("scim_tokens", "SELECT doc FROM scim_tokens WHERE hash = ?1", [hash])
    }

    fn scim_tokens(&self) -> Result<Vec<ScimToken>, StoreError> {
        self.all("scim_tokens", "SELECT doc FROM scim_tokens ORDER BY name, hash", [])
    }

    fn put_scim_token(&mut self, token: &ScimToken) -> Result<(), StoreError> {
        let values = [&token.hash, &token.name, &doc(token)?];
        self.write("INSERT OR REPLACE INTO scim_tokens VALUES (?1, ?2, ?3)", values).map(drop)
    }

    fn enrolment(&self, hash: &str) -> Result<Option<Enrolment>, StoreError> {
        self.one("enrolments", "SELECT doc FROM enrolments WHERE hash = ?1", [hash])
    }

    fn put_enrolment(&mut self, enrolment: &Enrolment) -> Result<(), StoreError> {
        let values = [&enrolment.hash, &doc(enrolment)?];
        self.write("INSERT OR REPLACE INTO enrolments VALUES (?1, ?2)", values).map(drop)
    }

    fn delegation(&self, id: &DelegationId) -> Result<Option<Delegation>, StoreError> {
        self.one("delegations", "SELECT doc FROM delegations WHERE id = ?1", [id.as_str()])
    }

    fn delegation_of(&self, session: &SessionId) -> Result<Option<Delegation>, StoreError> {
        self.one("delegations", "SELECT doc FROM delegations WHERE session = ?1", [session.as_str()])
    }

    fn delegation_of_serial(&self, serial: u64) -> Result<Option<Delegation>, StoreError> {
        self.one("delegations", "SELECT doc FROM delegations WHERE serial = ?1", [serial.to_string()])
    }

    fn delegations(&self, which: &Which, most: usize) -> Result<Vec<Delegation>, StoreError> {
        let query = "SELECT doc FROM delegations
            WHERE (?1 IS NULL OR agent = ?1) AND (?2 IS NULL OR human = ?2) AND (?3 IS NULL OR host = ?3)
              AND (?4 IS NULL OR (expires_at > ?4 AND revoked = 0))
            ORDER BY issued_at DESC, id LIMIT ?5";
        let values = params![
            which.agent.as_ref().map(Name::as_str),
            which.human.as_ref().map(HumanName::as_str),
            which.host.as_ref().map(HostId::as_str),
            which.live_at.map(integer),
            i64::try_from(most).unwrap_or(i64::MAX),
        ];
        self.all("delegations", query, values)
    }

    fn put_delegation(&mut self, one: &Delegation) -> Result<(), StoreError> {
        let query = "INSERT INTO delegations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            ON CONFLICT (id) DO UPDATE SET serial = excluded.serial, revoked = excluded.revoked, doc = excluded.doc";
        let values = params![
            one.id.as_str(),
            one.session.as_str(),
            one.issued.as_ref().map(|issued| issued.serial.to_string()),
            one.human.as_str(),
            one.agent.as_str(),
            one.host.as_str(),
            integer(one.issued_at),
            integer(one.expires_at),
            one.revoked.is_some(),
            doc(one)?,
        ];
        self.write(query, values).map(drop)
    }

    fn spend(&mut self, kind: &str, id: &str, until: UnixTime, now: UnixTime) -> Result<bool, StoreError> {
        self.write("DELETE FROM spent WHERE until < ?1", [integer(now)])?;
        let values = params![kind, id, integer(until)];
        Ok(self.write("INSERT OR IGNORE INTO spent VALUES (?1, ?2, ?3)", values)? == 1)
    }

    fn position(&self, host: &HostId) -> Result<Position, StoreError> {
        let query = "SELECT number, text FROM statements WHERE host = ?1 ORDER BY number DESC LIMIT 1";
        let last: Option<(i64, String)> = self
            .0
            .prepare_cached(query)?
            .query_row([host.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(last.map_or_else(Position::start, |(number, text)| Position::after(natural(number), &text)))
    }

    fn hash_at(&self, host: &HostId, number: u64) -> Result<Option<String>, StoreError> {
        let query = "SELECT text FROM statements WHERE host = ?1 AND number = ?2";
        let values = params![host.as_str(), integer(number)];
        let text: Option<String> = self.0.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?;
        Ok(text.map(|text| digest(&text)))
    }

    fn statements(&self, host: &HostId, after: u64, most: usize) -> Result<Vec<(u64, String)>, StoreError> {
        let query = "SELECT number, text FROM statements WHERE host = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        let values = params![host.as_str(), integer(after), i64::try_from(most).unwrap_or(i64::MAX)];
        self.rows(query, values, |row| Ok((natural(row.get(0)?), row.get(1)?)))
    }

    fn append(&mut self, host: &HostId, position: &Position, text: &str) -> Result<(), StoreError> {
        let values = params![host.as_str(), integer(position.number), text];
        self.write("INSERT INTO statements VALUES (?1, ?2, ?3)", values).map(drop)
    }

    fn replace_statement(&mut self, host: &HostId, number: u64, text: &str) -> Result<(), StoreError> {
        let query = "UPDATE statements SET text = ?3 WHERE host = ?1 AND number = ?2";
        match self.write(query, params![host.as_str(), integer(number), text])? {
            1 => Ok(()),
            _ => Err(StoreError::Database(format!("{host} has no statement {number}"))),
        }
    }

    fn bundles(&self) -> Result<Vec<BundleText>, StoreError> {
        self.all("bundles", "SELECT doc FROM bundles ORDER BY name", [])
    }

    fn put_bundle(&mut self, bundle: &BundleText) -> Result<(), StoreError> {
        let values = [bundle.name.as_str(), &doc(bundle)?];
        self.write("INSERT OR REPLACE INTO bundles VALUES (?1, ?2)", values).map(drop)
    }

    fn audit_end(&self) -> Result<(u64, String), StoreError> {
        let query = "SELECT number, hash FROM entries WHERE chain = 'central' AND generation = 0
            ORDER BY number DESC LIMIT 1";
        let last: Option<(i64, String)> =
            self.0.prepare_cached(query)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(last.map_or_else(|| (0, String::new()), |(number, hash)| (natural(number), hash)))
    }

    fn append_audit(&mut self, number: u64, hash: &str, line: &str) -> Result<(), StoreError> {
        let found = Found::of_line(line);
        let new = NewEntry { chain: crate::audit::HOST, generation: 0, number, hash, found: &found, line };
        self.append_entry(&new).map(drop)
    }

    fn audit(&self, after: u64, most: usize) -> Result<Vec<String>, StoreError> {
        let query = "SELECT line FROM entries WHERE chain = 'central' AND generation = 0 AND number > ?1
            ORDER BY number LIMIT ?2";
        self.rows(query, params![integer(after), i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    /// A store of the first schema: its humans get ids and are found by everything.
    #[test]
    fn an_older_store_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        for name in ["alice@example.org", "Bob@example.org"] {
            let doc = serde_json::json!({
                "name": name, "issuer": "https://idp", "sub": format!("u-{name}"), "groups": ["g"], "active": true,
                "signed_in_after": 3, "seen": 4,
            });
            old.execute("INSERT INTO humans VALUES (?1, ?2)", [name, &doc.to_string()]).unwrap();
        }
        let mut chain =
            tether_audit::Chain::after("central", "i", tether_audit::Verified { records: 0, head: String::new() });
        let lines: Vec<String> = ["a", "b"]
            .map(|name| {
                let ids = tether_audit::Ids {
                    session: tether_audit::Known::Id(format!("session-{name}")),
                    ..tether_audit::Ids::unknown("a test")
                };
                let event = tether_audit::Event {
                    event: name.to_owned(),
                    outcome: tether_audit::Outcome::Allowed,
                    code: String::new(),
                    ids,
                    parent: None,
                    details: serde_json::Map::new(),
                };
                let next = chain.next(event, 7).unwrap();
                chain.commit(&next);
                old.execute(
                    "INSERT INTO audit VALUES (?1, ?2, ?3)",
                    params![integer(chain.number()), next.hash(), &next.line],
                )
                .unwrap();
                next.line
            })
            .to_vec();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let store = Sqlite::open(&path).unwrap();
        let (audit, end, found) = store::look(&store, |act| -> Result<_, StoreError> {
            let search = store::Search { session: Some("session-b".to_owned()), ..store::Search::default() };
            Ok((act.audit(0, 9)?, act.audit_end()?, act.search(&search, 9)?.lines))
        })
        .unwrap();
        assert_eq!((audit, end), (lines.clone(), (2, chain.head().to_owned())));
        assert_eq!(found.iter().map(|one| (one.index, &one.line)).collect::<Vec<_>>(), [(1, &lines[1])]);
        let humans: Vec<Human> = store::look(&store, |act| -> Result<_, StoreError> { act.humans() }).unwrap();
        let [bob, alice] = humans.as_slice() else { panic!("{humans:?}") };
        assert_eq!((alice.groups.len(), alice.signed_in_after, alice.provisioned), (1, 3, store::Provisioned::No));
        assert!(alice.id.len() == 26 && alice.id != bob.id);
        let found = store::look(&store, |act| -> Result<_, StoreError> {
            let by_sub = act.humans_of_sub("https://idp", "u-alice@example.org")?;
            Ok((act.human_of_id(&alice.id)?, by_sub, act.humans_alike(&"bob@example.org".parse().unwrap())?))
        });
        assert_eq!(found.unwrap(), (Some(alice.clone()), vec![alice.clone()], vec![bob.clone()]));
    }
}
