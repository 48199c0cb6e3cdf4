//! The log in SQLite.

use super::{Inside, doc, integer, natural, read};
use crate::store::{Entry, Hits, HostChain, NewEntry, Place, Search, StoreError, Trail};
use rusqlite::{OptionalExtension, Row, params};
use tether_identity::{HostId, SessionId};
use tether_statement::UnixTime;

/// How many records are looked at for one answer, where no index helps: others wait for the store meanwhile.
const WINDOW: u64 = 50_000;

/// Its tables. `entries.id` is the place in the log plus one; nothing is ever removed there, so it has no gaps.
pub(super) const TABLES: &str = "
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY, chain TEXT NOT NULL, generation INTEGER NOT NULL, number INTEGER NOT NULL,
        hash TEXT NOT NULL, session TEXT, human TEXT, agent TEXT, host TEXT, program TEXT, event TEXT NOT NULL,
        outcome TEXT NOT NULL, time_us INTEGER NOT NULL, line TEXT NOT NULL
    ) STRICT;
    INSERT INTO entries
        SELECT number, 'central', 0, number, hash,
            iif(json_type(line, '$.record.ids.session') = 'text', json_extract(line, '$.record.ids.session'), NULL),
            iif(json_type(line, '$.record.ids.human') = 'text', json_extract(line, '$.record.ids.human'), NULL),
            iif(json_type(line, '$.record.ids.agent') = 'text', json_extract(line, '$.record.ids.agent'), NULL),
            json_extract(line, '$.record.details.host'), NULL, json_extract(line, '$.record.event'),
            json_extract(line, '$.record.outcome'), json_extract(line, '$.record.time_us'), line
        FROM audit ORDER BY number;
    DROP TABLE audit;
    CREATE UNIQUE INDEX entries_by_number ON entries (chain, generation, number);
    CREATE INDEX entries_by_session ON entries (session) WHERE session IS NOT NULL;
    CREATE INDEX entries_by_human ON entries (human) WHERE human IS NOT NULL;
    CREATE INDEX entries_by_agent ON entries (agent) WHERE agent IS NOT NULL;
    CREATE TABLE marks (
        chain TEXT, generation INTEGER, number INTEGER, place INTEGER, head INTEGER NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY (chain, generation, number, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE host_chains (host TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE evidence (
        id INTEGER PRIMARY KEY, host TEXT NOT NULL, generation INTEGER NOT NULL, time INTEGER NOT NULL, text TEXT NOT NULL
    ) STRICT;
    CREATE TABLE log_tiles (
        level INTEGER, place INTEGER, hashes BLOB NOT NULL, PRIMARY KEY (level, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE checkpoints (
        origin TEXT, size INTEGER, text TEXT NOT NULL, PRIMARY KEY (origin, size)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE key_sets (version INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
";

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        index: natural(row.get::<_, i64>(0)? - 1),
        chain: row.get(1)?,
        generation: natural(row.get(2)?),
        number: natural(row.get(3)?),
        line: row.get(4)?,
    })
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

impl Trail for Inside<'_> {
    fn host_chain(&self, host: &HostId) -> Result<Option<HostChain>, StoreError> {
        self.one("host_chains", "SELECT doc FROM host_chains WHERE host = ?1", [host.as_str()])
    }

    fn host_chains(&self) -> Result<Vec<(HostId, HostChain)>, StoreError> {
        let query = "SELECT host, doc FROM host_chains ORDER BY host";
        let rows: Vec<(String, String)> = self.rows(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let damaged =
            |error: tether_identity::Malformed| StoreError::Damaged { table: "host_chains", why: error.to_string() };
        rows.into_iter().map(|(host, text)| Ok((host.parse().map_err(damaged)?, read("host_chains", &text)?))).collect()
    }

    fn put_host_chain(&mut self, host: &HostId, chain: &HostChain) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO host_chains VALUES (?1, ?2)", [host.as_str(), &doc(chain)?]).map(drop)
    }

    fn append_entry(&mut self, new: &NewEntry<'_>) -> Result<u64, StoreError> {
        let query = "INSERT INTO entries VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let found = new.found;
        let values = params![
            new.chain,
            integer(new.generation),
            integer(new.number),
            new.hash,
            found.session,
            found.human,
            found.agent,
            found.host,
            found.program,
            found.event,
            found.outcome,
            integer(found.time_us),
            new.line,
        ];
        self.write(query, values)?;
        Ok(natural(self.0.last_insert_rowid() - 1))
    }

    fn append_mark(
        &mut self,
        chain: &str,
        generation: u64,
        place: Place,
        head: bool,
        line: &str,
    ) -> Result<(), StoreError> {
        let values = params![chain, integer(generation), integer(place.number), integer(place.marks), head, line];
        self.write("INSERT INTO marks VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values).map(drop)
    }

    fn lines(
        &self,
        chain: &str,
        generation: u64,
        after: Place,
        most: usize,
    ) -> Result<Vec<(Option<u64>, String)>, StoreError> {
        let query = "SELECT number, place, line FROM marks WHERE chain = ?1 AND generation = ?2
            AND (number, place) >= (?3, ?4) ORDER BY number, place LIMIT ?5";
        let values = params![chain, integer(generation), integer(after.number), integer(after.marks), limit(most)];
        let marks: Vec<(u64, u64, String)> =
            self.rows(query, values, |row| Ok((natural(row.get(0)?), natural(row.get(1)?) + 1, row.get(2)?)))?;
        let query = "SELECT number, line FROM entries WHERE chain = ?1 AND generation = ?2 AND number > ?3
            ORDER BY number LIMIT ?4";
        let values = params![chain, integer(generation), integer(after.number), limit(most)];
        let records: Vec<(u64, String)> = self.rows(query, values, |row| Ok((natural(row.get(0)?), row.get(1)?)))?;
        // A record comes before the lines that follow it, whose places count from one.
        let mut all: Vec<(u64, u64, String)> =
            records.into_iter().map(|(number, line)| (number, 0, line)).chain(marks).collect();
        all.sort_unstable_by_key(|(number, place, _)| (*number, *place));
        all.truncate(most);
        Ok(all.into_iter().map(|(number, place, line)| ((place == 0).then_some(number), line)).collect())
    }

    fn head_before(&self, chain: &str, generation: u64, place: Place) -> Result<Option<String>, StoreError> {
        let query = "SELECT line FROM marks WHERE chain = ?1 AND generation = ?2 AND head = 1
            AND (number, place) < (?3, ?4) ORDER BY number DESC, place DESC LIMIT 1";
        let values = params![chain, integer(generation), integer(place.number), integer(place.marks)];
        Ok(self.0.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?)
    }

    fn record_hash(&self, chain: &str, generation: u64, number: u64) -> Result<Option<String>, StoreError> {
        let query = "SELECT hash FROM entries WHERE chain = ?1 AND generation = ?2 AND number = ?3";
        let values = params![chain, integer(generation), integer(number)];
        Ok(self.0.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?)
    }

    fn own_record(&self, session: &SessionId, event: &str) -> Result<Option<u64>, StoreError> {
        let query = "SELECT min(number) FROM entries WHERE session = ?1 AND chain = 'central' AND event = ?2";
        let found: Option<i64> =
            self.0.prepare_cached(query)?.query_row([session.as_str(), event], |row| row.get(0))?;
        Ok(found.map(natural))
    }

    fn put_evidence(&mut self, host: &HostId, generation: u64, time: UnixTime, text: &str) -> Result<(), StoreError> {
        let values = params![host.as_str(), integer(generation), integer(time), text];
        self.write("INSERT INTO evidence VALUES (NULL, ?1, ?2, ?3, ?4)", values).map(drop)
    }

    fn evidence(&self) -> Result<Vec<(String, u64, UnixTime, String)>, StoreError> {
        let query = "SELECT host, generation, time, text FROM evidence ORDER BY id";
        self.rows(query, [], |row| Ok((row.get(0)?, natural(row.get(1)?), natural(row.get(2)?), row.get(3)?)))
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        let last: Option<i64> =
            self.0.prepare_cached("SELECT max(id) FROM entries")?.query_row([], |row| row.get(0))?;
        Ok(last.map_or(0, natural))
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let query = "SELECT id, chain, generation, number, line FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.rows(query, params![integer(from), limit(most)], entry)
    }

    fn search(&self, search: &Search, most: usize) -> Result<Hits, StoreError> {
        let indexed = search.session.is_some() || search.human.is_some() || search.agent.is_some();
        let end = self.log_end()?;
        let to = if indexed { end } else { end.min(search.after.saturating_add(WINDOW)) };
        let seconds = |time: Option<UnixTime>| time.map(|time| integer(time.saturating_mul(1_000_000)));
        // Only what is asked for stands in the text, so that an index is used where there is one.
        let mut query = "SELECT id, chain, generation, number, line FROM entries WHERE id > ?1 AND id <= ?2".to_owned();
        let wanted = [
            ("session", &search.session),
            ("human", &search.human),
            ("agent", &search.agent),
            ("host", &search.host),
            ("program", &search.program),
            ("event", &search.event),
            ("outcome", &search.outcome),
        ];
        for (at, (column, _)) in wanted.iter().enumerate().filter(|(_, (_, value))| value.is_some()) {
            query.push_str(&format!(" AND {column} = ?{}", at + 6));
        }
        query.push_str(" AND (?3 IS NULL OR time_us >= ?3) AND (?4 IS NULL OR time_us < ?4) ORDER BY id LIMIT ?5");
        let mut statement = self.0.prepare_cached(&query)?;
        statement.raw_bind_parameter(1, integer(search.after))?;
        statement.raw_bind_parameter(2, integer(to))?;
        statement.raw_bind_parameter(3, seconds(search.from))?;
        statement.raw_bind_parameter(4, seconds(search.to))?;
        statement.raw_bind_parameter(5, limit(most))?;
        for (at, (_, value)) in wanted.iter().enumerate() {
            if let Some(value) = value {
                statement.raw_bind_parameter(at + 6, value)?;
            }
        }
        let mut rows = statement.raw_query();
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(entry(row)?);
        }
        let cut = records.len() >= most;
        let next = records.last().filter(|_| cut).map_or(to, |last| last.index + 1);
        Ok(Hits { lines: records, next: (next < end).then_some(next) })
    }

    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let query = "SELECT hashes FROM log_tiles WHERE level = ?1 AND place = ?2";
        let values = params![level, integer(index)];
        Ok(self.0.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?)
    }

    fn put_tile(&mut self, level: u8, index: u64, hashes: &[u8]) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO log_tiles VALUES (?1, ?2, ?3)", params![level, integer(index), hashes])
            .map(drop)
    }

    fn checkpoint(&self, origin: &str) -> Result<Option<(u64, String)>, StoreError> {
        let query = "SELECT size, text FROM checkpoints WHERE origin = ?1 ORDER BY size DESC LIMIT 1";
        let found = self.0.prepare_cached(query)?;
        let mut found = found;
        Ok(found.query_row([origin], |row| Ok((natural(row.get(0)?), row.get(1)?))).optional()?)
    }

    fn put_checkpoint(&mut self, origin: &str, size: u64, text: &str) -> Result<(), StoreError> {
        self.write("INSERT INTO checkpoints VALUES (?1, ?2, ?3)", params![origin, integer(size), text]).map(drop)
    }

    fn key_sets(&self) -> Result<Vec<(u64, String)>, StoreError> {
        let query = "SELECT version, text FROM key_sets ORDER BY version";
        self.rows(query, [], |row| Ok((natural(row.get(0)?), row.get(1)?)))
    }

    fn put_key_set(&mut self, version: u64, text: &str) -> Result<(), StoreError> {
        self.write("INSERT OR IGNORE INTO key_sets VALUES (?1, ?2)", params![integer(version), text]).map(drop)
    }
}
