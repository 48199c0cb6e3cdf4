//! What central has of recordings, in SQLite.

use super::trail::entry;
use super::{Inside, doc, integer, natural};
use crate::store::{Entry, OfHost, Recording, Recordings, StoreError, Use};
use rusqlite::params;
use tether_identity::{HostId, SessionId};
use tether_statement::UnixTime;

/// Its tables. `recording_use` is kept with each change: adding up all recordings for each piece would take ever longer.
pub(super) const TABLES: &str = "
    CREATE TABLE recordings (
        session TEXT, name TEXT, host TEXT NOT NULL, bytes INTEGER NOT NULL, taken INTEGER NOT NULL,
        differs INTEGER NOT NULL, doc TEXT NOT NULL,
        PRIMARY KEY (session, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX recordings_by_time ON recordings (taken) WHERE bytes > 0;
    CREATE INDEX recordings_that_differ ON recordings (host) WHERE differs = 1;
    CREATE TABLE recording_use (host TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_of_recordings ON entries (session, json_extract(line, '$.record.details.recording'))
        WHERE event IN ('recording.started', 'recording.chunk', 'recording.ended');
";

/// By host, too: another one may have written as many as it likes about the session.
pub(super) const BY_HOST: &str = "
    DROP INDEX entries_of_recordings;
    CREATE INDEX entries_of_recordings ON entries (session, chain, json_extract(line, '$.record.details.recording'))
        WHERE event IN ('recording.started', 'recording.chunk', 'recording.ended');
";

impl Recordings for Inside<'_> {
    fn recording(&self, session: &SessionId, name: &str) -> Result<Option<Recording>, StoreError> {
        self.one("recordings", "SELECT doc FROM recordings WHERE session = ?1 AND name = ?2", [session.as_str(), name])
    }

    fn recordings(&self, session: &SessionId) -> Result<Vec<Recording>, StoreError> {
        self.all("recordings", "SELECT doc FROM recordings WHERE session = ?1 ORDER BY name", [session.as_str()])
    }

    fn all_recordings(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<Recording>, StoreError> {
        let query = "SELECT doc FROM recordings WHERE bytes > 0 AND (session, name) > (?1, ?2)
            ORDER BY session, name LIMIT ?3";
        let (session, name) = after.unwrap_or_default();
        self.all("recordings", query, params![session, name, integer(most as u64)])
    }

    fn old_recordings(&self, before: UnixTime, most: usize) -> Result<Vec<Recording>, StoreError> {
        let query = "SELECT doc FROM recordings WHERE bytes > 0 AND taken < ?1 ORDER BY taken LIMIT ?2";
        self.all("recordings", query, params![integer(before), integer(most as u64)])
    }

    fn put_recording(&mut self, one: &Recording) -> Result<(), StoreError> {
        let before = self.recording(&one.session, &one.name)?;
        let before = before.map_or(0, |before| integer(before.bytes));
        let values = params![
            one.session.as_str(),
            one.name,
            one.host.as_str(),
            integer(one.bytes),
            integer(one.taken),
            one.aside.is_some() && one.receipt.is_none(),
            doc(one)?
        ];
        self.write("INSERT OR REPLACE INTO recordings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", values)?;
        let query = "INSERT INTO recording_use VALUES (?1, ?2)
            ON CONFLICT (host) DO UPDATE SET bytes = bytes + excluded.bytes";
        self.write(query, params![one.host.as_str(), integer(one.bytes) - before]).map(drop)
    }

    fn recordings_use(&self, host: Option<&HostId>) -> Result<Use, StoreError> {
        let query = "SELECT coalesce(sum(iif(host = ?1, bytes, 0)), 0), coalesce(sum(bytes), 0) FROM recording_use";
        let row = |row: &rusqlite::Row<'_>| Ok(Use { host: natural(row.get(0)?), total: natural(row.get(1)?) });
        Ok(self.0.prepare_cached(query)?.query_row([host.map(HostId::as_str)], row)?)
    }

    fn recordings_of_host(&self, host: &HostId) -> Result<OfHost, StoreError> {
        let query = "SELECT count(*) FROM recordings WHERE host = ?1 AND differs = 1";
        let differ: i64 = self.0.prepare_cached(query)?.query_row([host.as_str()], |row| row.get(0))?;
        Ok(OfHost { bytes: self.recordings_use(Some(host))?.host, differ: natural(differ) })
    }

    fn told_of_recordings(
        &self,
        host: &HostId,
        session: &SessionId,
        name: Option<&str>,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let wanted =
            if name.is_some() { "json_extract(line, '$.record.details.recording') = ?2" } else { "?2 IS NULL" };
        // The events as the index has them, else it is not used.
        let query = format!(
            "SELECT id, chain, generation, number, line FROM entries
            WHERE session = ?1 AND {wanted} AND event IN ('recording.started', 'recording.chunk', 'recording.ended')
            AND chain = ?4 AND id > ?5 ORDER BY id LIMIT ?3"
        );
        let values = params![session.as_str(), name, integer(most as u64), host.as_str(), integer(from)];
        self.rows(&query, values, entry)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Sqlite;

    #[test]
    fn one_recordings_records_are_found_by_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("central.db")).unwrap();
        let connection = store.lock().unwrap();
        let plan: Vec<String> = connection
            .prepare(
                "EXPLAIN QUERY PLAN SELECT id FROM entries WHERE session = ?1
                AND json_extract(line, '$.record.details.recording') = ?2
                AND event IN ('recording.started', 'recording.chunk', 'recording.ended') AND chain = 'h'
                AND id > 7 ORDER BY id LIMIT 9",
            )
            .unwrap()
            .query_map(["s", "n"], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let found = plan.iter().any(|step| step.contains("entries_of_recordings (session=? AND chain=? AND <expr>=? AND rowid>?)"));
        assert!(found, "{plan:?}");
    }
}
