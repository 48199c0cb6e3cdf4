//! Server-sent events: what central pushes to a host.

use crate::LinkError;
use std::io::{BufRead, BufReader, Read};

/// The longest line that is read: a bundle's, and its name.
const LINE_MAX: u64 = 9 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub name: String,
    /// Its number or name.
    pub id: String,
    /// What it holds.
    pub data: String,
}

/// The events of one connection, as they come. Ends with the connection.
pub struct Events {
    url: String,
    reader: BufReader<Box<dyn Read + Send>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Events").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(url: String, reader: Box<dyn Read + Send>) -> Self {
        Self { url, reader: BufReader::new(reader) }
    }

    /// The next event; none if the connection was closed.
    pub fn next_event(&mut self) -> Result<Option<Event>, LinkError> {
        let mut event = Event::default();
        loop {
            let mut line = Vec::new();
            let wrong = |why: String| LinkError::Unreachable { url: self.url.clone(), why };
            let read = (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut line);
            if read.map_err(|error| wrong(error.to_string()))? == 0 {
                return Ok(None);
            }
            if line.pop() != Some(b'\n') {
                return Err(wrong("an event was cut off, or is too long".to_owned()));
            }
            let text = std::str::from_utf8(&line).map_err(|_| wrong("an event is not UTF-8".to_owned()))?;
            match text.trim_end_matches('\r').split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("id", id)) => id.clone_into(&mut event.id),
                Some(("data", data)) => data.clone_into(&mut event.data),
                // An empty line ends an event; a comment, or a member that is not ours, says nothing.
                _ if line.is_empty() && !event.name.is_empty() => return Ok(Some(event)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &'static str) -> Events {
        Events::new(String::new(), Box::new(text.as_bytes()))
    }

    #[test]
    fn events_are_read_one_by_one() {
        let mut events = events(": hello\n\nevent: statement\nid: 7\ndata: a.b.c\n\nevent: head\ndata: d\n\n");
        let wanted = Event { name: "statement".into(), id: "7".into(), data: "a.b.c".into() };
        assert_eq!(events.next_event().unwrap(), Some(wanted));
        assert_eq!(events.next_event().unwrap().unwrap().data, "d");
        assert_eq!(events.next_event().unwrap(), None);
    }

    #[test]
    fn half_an_event_is_none() {
        assert!(events("event: statement\nid: 7\ndata: a.b").next_event().is_err());
        assert_eq!(events("event: statement\nid: 7\n").next_event().unwrap(), None);
    }
}
