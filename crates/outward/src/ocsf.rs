//! OCSF 1.9: a record as an event, with the human as the user, the agent as `ai_agent`, and an attestation of its own.
//!
//! The attestation is over the event as it is written here (RFC 8785 without the attestation's fingerprint), and names
//! the event before it of the same chain: that holds an export together. What holds the trail together is Tether's own
//! chain, which `raw_data` has whole. OCSF 1.9 has no delegation: ours is in `unmapped`.

use crate::{Class, Record, class_of};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use tether_audit::{Known, NotCanonical, Outcome, canonical};

/// The version of the schema.
pub const VERSION: &str = "1.9.0";

/// Writes events, one after another.
#[derive(Debug, Default)]
pub struct Ocsf {
    /// The last event of each chain: its id and fingerprint.
    last: HashMap<String, (String, u32, String)>,
}

impl Ocsf {
    /// At the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// One event, as a line without its end.
    pub fn event(&mut self, record: &Record<'_>) -> Result<String, NotCanonical> {
        let class = class_of(&record.link.event.event);
        let mut event = base(record, class);
        let own = match class {
            Class::Authentication(_) => authentication(record),
            Class::AuthorizeSession(_) => authorize(record),
            Class::AccountChange(_) => account(record),
            Class::ProcessActivity(_) => process(record),
            Class::EntityManagement(_) => entity(record),
        };
        if let Value::Object(own) = own {
            event.extend(own);
        }
        // A name that is not ASCII has no canonical form with us, and a null says nothing in OCSF.
        let event = without_nulls(Value::Object(event));
        self.attested(record, class, event)
    }

    fn attested(&mut self, record: &Record<'_>, class: Class, mut event: Value) -> Result<String, NotCanonical> {
        let mut attestation = json!({"uid": record.name(), "chain_uid": record.chain, "authority_uid": record.chain});
        if let Some((uid, type_uid, value)) = self.last.get(record.chain) {
            attestation["prev_event"] = json!({"uid": uid, "type_uid": type_uid, "fingerprint": fingerprint(value)});
        }
        event["attestation_list"] = json!([attestation]);
        let value = Base64UrlUnpadded::encode_string(&Sha256::digest(canonical(&event)?.as_bytes()));
        event["attestation_list"][0]["fingerprint"] = fingerprint(&value);
        self.last.insert(record.chain.to_owned(), (record.name(), type_uid(class), value));
        canonical(&event)
    }
}

fn fingerprint(value: &str) -> Value {
    json!({"algorithm_id": 3, "algorithm": "SHA-256", "encoding_id": 3, "serialization_id": 2, "value": value})
}

fn type_uid(class: Class) -> u32 {
    class.uid() * 100 + class.activity()
}

/// What every event has.
fn base(record: &Record<'_>, class: Class) -> Map<String, Value> {
    let (link, ids) = (record.link, &record.link.event.ids);
    let event = &link.event;
    let (status, severity) = match event.outcome {
        Outcome::Allowed => (1, 1),
        Outcome::Refused => (2, 3),
        Outcome::Error => (2, 4),
    };
    let raw = json!({"hash": record.hash, "record": link});
    let base = json!({
        "activity_id": class.activity(), "category_uid": class.uid() / 1000, "class_uid": class.uid(),
        "class_name": class.name(), "type_uid": type_uid(class), "time": link.time_us / 1000,
        "status_id": status, "status": if status == 1 { "Success" } else { "Failure" }, "severity_id": severity,
        "status_code": (!event.code.is_empty()).then_some(&event.code), "status_detail": record.text("why"),
        "message": message(record),
        "metadata": {
            "version": VERSION, "product": {"name": "Tether", "vendor_name": "Tether"}, "log_name": "audit",
            "uid": record.name(), "sequence": link.number, "event_code": event.event,
            "correlation_uid": ids.session.id(), "profiles": ["ai_operation", "host", "record_integrity"],
        },
        "actor": actor(record), "device": device(record),
        "ai_agent": ids.agent.id().map(|agent| json!({"uid": agent, "name": agent, "instance_uid": ids.instance.id(), "type_id": 0})),
        "raw_data": canonical(&raw).unwrap_or_default(),
        "unmapped": {"tether": {
            "delegation": ids.delegation.id(), "parent": event.parent.as_ref().map(ToString::to_string),
            "hash": record.hash, "previous": link.previous,
        }},
    });
    match base {
        Value::Object(base) => base,
        _ => Map::new(),
    }
}

fn message(record: &Record<'_>) -> String {
    let event = &record.link.event;
    let outcome = match event.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Refused => "refused",
        Outcome::Error => "error",
    };
    let who = |known: &Known| known.id().unwrap_or("unknown").to_owned();
    format!("{} {outcome}: {} for {}", event.event, who(&event.ids.agent), who(&event.ids.human))
}

fn human(record: &Record<'_>) -> Value {
    match record.link.event.ids.human.id() {
        Some(human) => json!({"name": human, "uid": human, "type_id": 1}),
        None => json!({"name": "unknown", "type_id": 0}),
    }
}

fn session(record: &Record<'_>) -> Value {
    let id = record.link.event.ids.session.id();
    id.map_or(Value::Null, |id| {
        json!({
            "uid": id, "issuer": record.text("issuer"), "credential_uid": record.link.event.ids.delegation.id(),
            "expiration_time": record.about("expires_at").as_u64().map(|seconds| seconds * 1000), "is_remote": true,
        })
    })
}

fn actor(record: &Record<'_>) -> Value {
    json!({"user": human(record), "session": session(record), "app_name": record.link.event.ids.agent.id()})
}

/// The host that it is about: central speaks of hosts, a host of itself.
fn device(record: &Record<'_>) -> Value {
    let host = if record.chain == "central" { record.text("host").unwrap_or("central") } else { record.chain };
    json!({"hostname": host, "uid": host, "type_id": 1})
}

fn authentication(record: &Record<'_>) -> Value {
    let address = record.text("connection").and_then(|all| all.split(' ').next()).filter(|text| !text.is_empty());
    let serial = record.about("serial");
    let certificate = (!serial.is_null()).then(|| {
        json!({
            "serial_number": serial.to_string().trim_matches('"'), "issuer": record.text("ca").unwrap_or("unknown"),
            "expiration_time": record.about("valid_before").as_u64().map(|seconds| seconds * 1000),
        })
    });
    let host = device(record);
    json!({
        "user": human(record), "session": session(record), "is_remote": true, "logon_type_id": 3,
        "service": {"name": if record.chain == "central" { "tether-central" } else { "sshd" }},
        "dst_endpoint": {"hostname": host["hostname"]}, "certificate": certificate,
        "src_endpoint": address.map(|address| json!({"ip": address})),
    })
}

fn authorize(record: &Record<'_>) -> Value {
    let bundle = record.text("bundle").map_or_else(|| "bundle:unknown".to_owned(), |bundle| format!("bundle:{bundle}"));
    let host = device(record);
    json!({
        "user": human(record), "session": session(record), "privileges": [bundle],
        "dst_endpoint": {"hostname": host["hostname"]},
    })
}

fn account(record: &Record<'_>) -> Value {
    let uid = record.about("uid").as_u64().map(|uid| uid.to_string());
    let name = record
        .text("account")
        .map(ToOwned::to_owned)
        .or_else(|| record.link.event.ids.session.id().map(|session| format!("account of session {session}")));
    json!({"user": {"name": name.unwrap_or_else(|| "unknown".to_owned()), "uid": uid, "type_id": 99, "type": "Agent"}})
}

fn process(record: &Record<'_>) -> Value {
    let words = record.about("argv");
    let line = words.as_array().map_or_else(
        || words.to_string(),
        |words| {
            words
                .iter()
                .map(|word| word.as_str().map_or_else(|| word.to_string(), quoted))
                .collect::<Vec<_>>()
                .join(" ")
        },
    );
    let program = record.text("program");
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let file = program.map(|path| {
        let hash = record.text("sha256").map(|value| json!([{"algorithm_id": 3, "encoding_id": 1, "value": value}]));
        json!({"path": path, "name": base(path), "type_id": 8, "hashes": hash})
    });
    // An end names the command that it ends.
    let uid = record.link.event.parent.as_ref().filter(|_| record.link.event.event == "sudo.ended");
    let uid = uid.map_or_else(|| record.name(), ToString::to_string);
    let status = record.about("status").as_i64();
    let exit = status.map(|status| if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) });
    json!({
        "process": {
            "uid": uid, "cmd_line": line, "file": file, "name": program.map(base), "working_directory": record.text("cwd"),
            "user": record.about("uid").as_u64().map(|uid| json!({"uid": uid.to_string()})),
        },
        "exit_code": exit, "launch_type_id": (record.link.event.event == "sudo.command").then_some(3),
    })
}

/// So that a shell would read it as it was.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn entity(record: &Record<'_>) -> Value {
    let kind = record.link.event.event.split('.').next().unwrap_or_default();
    let named = ["name", "agent", "recording", "human", "host", "bundle", "account", "session"];
    let name = named.iter().find_map(|name| record.text(name)).or_else(|| record.link.event.ids.session.id());
    json!({"entity": {"name": name.unwrap_or(kind), "type": kind, "type_id": 99, "uid": record.name()}})
}

/// OCSF leaves out what is not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
