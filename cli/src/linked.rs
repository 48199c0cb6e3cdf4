//! The records of several chains, central's and hosts', as one story: who, whose agent, since which sign-in; then
//! what, where, when, allowed or not. Colour is never the only sign.

use crate::render::{BOLD, GREEN, PLAIN, RED, clock, list, painted, printable, seconds, summary, text};
use serde_json::{Map, Value};
use std::fmt::Write;
use tether_audit::{Link, Outcome};

/// What central's chain says instead of a host.
const CENTRAL: &str = "central";
const DIM: &str = "\x1b[2m";

/// The story that records tell, in the order of their times.
pub fn linked(links: &[Link], colour: bool) -> String {
    let mut links: Vec<&Link> = links.iter().collect();
    links.sort_by_key(|link| link.time_us);
    let story = Story { sessions: sessions(&links), links, colour };
    let mut out = String::new();
    story.heading(&mut out);
    story.lines(&mut out);
    out
}

/// The sessions, in the order in which they began.
fn sessions<'l>(links: &[&'l Link]) -> Vec<&'l str> {
    let mut found: Vec<&str> = Vec::new();
    for id in links.iter().filter_map(|link| link.event.ids.session.id()) {
        if !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

struct Story<'l> {
    links: Vec<&'l Link>,
    sessions: Vec<&'l str>,
    colour: bool,
}

impl Story<'_> {
    fn heading(&self, out: &mut String) {
        let issued: Vec<&Link> = self.events("token.issued").collect();
        let Some(first) = issued.first() else { return };
        let (ids, about) = (&first.event.ids, &first.event.details);
        let known = |id: Option<&str>| id.map_or_else(|| "unknown".to_owned(), printable);
        self.row(out, "human", &self.bold(&known(ids.human.id())));
        let amr = about.get("amr").map(list).unwrap_or_default();
        let signed_in = seconds(about.get("auth_time").unwrap_or(&Value::Null));
        self.row(out, "", &format!("signed in {signed_in} by {amr}, at {}", get(about, "issuer")));
        let agent = self.bold(&known(ids.agent.id()));
        self.row(out, "agent", &format!("{agent} of {}, {}", get(about, "team"), known(ids.instance.id())));
        for (number, session) in (1..).zip(&self.sessions) {
            let of_it = |link: &&Link| link.event.ids.session.id() == Some(session);
            let token = self.events("token.issued").find(of_it).map(|link| &link.event.details);
            let account = self.events("session.reserved").find(of_it).map(|link| get(&link.event.details, "account"));
            let token = |name: &str| token.map(|about| get(about, name)).unwrap_or_default();
            let account = account.unwrap_or_else(|| "no account".to_owned());
            let what = format!("{session} on {} as {account}, bundle {}", self.bold(&token("host")), token("bundle"));
            self.row(out, &format!("session #{number}"), &what);
        }
        out.push('\n');
    }

    fn lines(&self, out: &mut String) {
        let wide = self.links.iter().map(|link| link.host.chars().count()).max().unwrap_or_default();
        let mut day = String::new();
        for link in &self.links {
            let moment = crate::render::moment(link.time_us);
            let date = moment.split(' ').next().unwrap_or_default();
            if day != date {
                date.clone_into(&mut day);
                let _ = writeln!(out, "{}", painted(&day, BOLD, self.colour));
            }
            self.line(out, link, wide);
        }
    }

    fn line(&self, out: &mut String, link: &Link, wide: usize) {
        let event = &link.event;
        let (mark, paint) = match event.outcome {
            Outcome::Allowed => ("  ok   ", GREEN),
            Outcome::Refused => ("REFUSED", RED),
            Outcome::Error => (" ERROR ", RED),
        };
        let number = self.sessions.iter().position(|id| event.ids.session.id() == Some(id));
        let number = number.map_or_else(|| "- ".to_owned(), |at| format!("#{}", at + 1));
        let code = if event.code.is_empty() { String::new() } else { format!("  [{}]", printable(&event.code)) };
        let _ = writeln!(
            out,
            "{}  {:<wide$}  {number}  {}  {:<19} {}{}",
            painted(&clock(link.time_us), DIM, self.colour),
            printable(&link.host),
            painted(mark, paint, self.colour),
            printable(&event.event),
            told(link),
            painted(&code, paint, self.colour),
        );
    }

    fn events(&self, name: &str) -> impl Iterator<Item = &Link> {
        self.links.iter().copied().filter(move |link| link.event.event == name)
    }

    fn row(&self, out: &mut String, name: &str, value: &str) {
        let _ = writeln!(out, "{}{value}", painted(&format!("{name:<11}"), DIM, self.colour));
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("{BOLD}{text}{PLAIN}") } else { text.to_owned() }
    }
}

/// What a record says, in one line.
fn told(link: &Link) -> String {
    let about = &link.event.details;
    let get = |name: &str| get(about, name);
    if link.host == CENTRAL {
        return match link.event.event.as_str() {
            "token.issued" => format!(
                "bundle {} on {}, by policy {}",
                get("bundle"),
                get("host"),
                about.get("policies").map(list).unwrap_or_default()
            ),
            "grant.sent" => format!("to {}, as its statement {}", get("host"), get("statement")),
            "certificate.issued" => format!("for {}, serial {}", get("account"), get("serial")),
            _ => get("why"),
        };
    }
    match link.event.event.as_str() {
        "session.removed" if about.get("found").and_then(Value::as_array).is_some_and(Vec::is_empty) => {
            let places = about.get("checked").and_then(Value::as_array).map_or(0, Vec::len);
            format!("nothing is left in {places} kinds of places")
        }
        _ => summary(link),
    }
}

fn get(about: &Map<String, Value>, name: &str) -> String {
    about.get(name).map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn link(host: &str, time_us: u64, event: &str, session: Option<&str>, details: Value) -> Link {
        let session = session.map_or_else(|| json!({"unknown": "refused"}), |id| json!(id));
        let known = session.is_string();
        let mut ids = serde_json::to_value(tether_audit::Ids::unknown("refused")).unwrap();
        for (name, id) in [("human", "alice@example.org"), ("agent", "triage"), ("instance", "run-7")] {
            ids[name] = json!(id);
        }
        if known {
            ids["session"] = session;
        }
        let refused = details.get("code").is_some();
        serde_json::from_value(json!({
            "number": 1, "time_us": time_us, "host": host, "boot": "b", "previous": "", "event": event,
            "outcome": if refused { "refused" } else { "allowed" },
            "code": details.get("code").cloned().unwrap_or_else(|| json!("")), "ids": ids, "parent": null, "details": details,
        }))
        .unwrap()
    }

    #[test]
    fn records_of_several_chains_are_one_story() {
        let token = json!({
            "host": "web-01", "bundle": "triage", "team": "secops", "policies": ["analysts-on-web"],
            "issuer": "https://idp.example.org", "auth_time": 0, "amr": ["pwd", "otp"],
        });
        let records = [
            link(
                "web-01",
                2_000_000,
                "sudo.command",
                Some("S1"),
                json!({"argv": ["cat", "/x\u{1b}[2J"], "code": "c.d"}),
            ),
            link("web-01", 1_500_000, "session.reserved", Some("S1"), json!({"account": "ag-1", "bundle": "triage"})),
            link("web-01", 1_600_000, "recording.started", Some("S1"), json!({"recording": "exec-1", "command": "id"})),
            link("web-01", 1_700_000, "recording.ended", Some("S1"), json!({"recording": "exec-1", "shown": 40})),
            link("central", 1_000_000, "token.issued", Some("S1"), token),
            link("central", 3_000_000, "token.refused", None, json!({"why": "revoked", "code": "human.revoked"})),
        ];
        let wanted = "human      alice@example.org\n           \
            signed in 1970-01-01 00:00:00 by pwd, otp, at https://idp.example.org\n\
            agent      triage of secops, run-7\n\
            session #1 S1 on web-01 as ag-1, bundle triage\n\n\
            1970-01-01\n\
            00:00:01.000  central  #1    ok     token.issued        bundle triage on web-01, by policy analysts-on-web\n\
            00:00:01.500  web-01   #1    ok     session.reserved    account ag-1 with bundle triage\n\
            00:00:01.600  web-01   #1    ok     recording.started   exec-1 id\n\
            00:00:01.700  web-01   #1    ok     recording.ended     exec-1, 40 bytes shown\n\
            00:00:02.000  web-01   #1  REFUSED  sudo.command        sudo cat '/x\u{fffd}[2J'  [c.d]\n\
            00:00:03.000  central  -   REFUSED  token.refused       revoked  [human.revoked]\n";
        assert_eq!(linked(&records, false), wanted);
    }
}
