//! Statements that were signed with a key which is not named any more.
//!
//! A feed is a chain: a host that cannot check one statement can read none after it. So a key set that drops a key is
//! taken only when every host has read what that key signed; and a host that begins anew, as after it was set up
//! again, gets its feed from the beginning, signed with the keys of today. Its numbers stay, so what the host has
//! once acknowledged opens no session again (decision 8).

use super::{App, Failed, fault};
use crate::store::Act;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use tether_identity::HostId;
use tether_oauth::{Refusal, Standard};
use tether_statement::issue::FeedWriter;
use tether_statement::{Body, FeedStatement, Position, TrustedKeys, Typ};

/// The most hosts that a refusal names.
const NAMED_MAX: usize = 5;

/// Whether every host that takes part could go on reading with that key set.
pub(super) fn all_can_read_on(act: &dyn Act, keys: &TrustedKeys) -> Result<(), Failed> {
    let mut behind = Vec::new();
    for host in act.hosts()?.into_iter().filter(|host| host.active && host.key.is_some()) {
        if !can_read_on(act, keys, &host.id)? {
            behind.push(host.id.to_string());
        }
    }
    if behind.is_empty() {
        return Ok(());
    }
    let (count, named) = (behind.len(), behind.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", "));
    let why = format!(
        "{count} hosts have not read all that was signed with keys that this set drops ({named}): wait for them, or \
         take them out with `tether revoke host`"
    );
    Err(Refusal::new(Standard::InvalidRequest, "keys.hosts_behind", why).into())
}

fn can_read_on(act: &dyn Act, keys: &TrustedKeys, host: &HostId) -> Result<bool, Failed> {
    let number = act.seen(host)?.number;
    let hash = if number == 0 { Some(String::new()) } else { act.hash_at(host, number)? };
    let mut at = Position { number, hash: hash.unwrap_or_default() };
    for (_, text) in act.statements(host, number, usize::MAX)? {
        match FeedStatement::verify(&text, keys, host, &at) {
            Ok(statement) => at = statement.position,
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

impl App {
    /// A host begins anew: if its feed cannot be read with the keys of today, it is signed with them.
    pub(super) fn resign(&self, act: &mut dyn Act, host: &HostId) -> Result<(), Failed> {
        let trusted = self.trusted();
        let texts = act.statements(host, 0, usize::MAX)?;
        let mut at = Position::start();
        let whole = texts.iter().all(|(_, text)| match FeedStatement::verify(text, &trusted, host, &at) {
            Ok(statement) => {
                at = statement.position;
                true
            }
            Err(_) => false,
        });
        if whole {
            return Ok(());
        }
        let mut feed = FeedWriter::new(host.clone());
        for (number, text) in texts {
            let said = said(&text).ok_or_else(|| fault("statement.read", format_args!("{host} {number}")))?;
            let (_, text) = feed
                .append(self.key_for(&said.body), &said.body, said.issued_at)
                .map_err(|error| fault("statement.sign", error))?;
            act.replace_statement(host, number, &text)?;
        }
        Ok(())
    }
}

/// What a statement of ours says.
struct Said {
    issued_at: u64,
    body: Body,
}

/// It was checked when it was written, by us: its signature is not what is asked for here.
fn said(text: &str) -> Option<Said> {
    let mut parts = text.split('.').map(|part| {
        let bytes = Base64UrlUnpadded::decode_vec(part).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    });
    let (header, mut payload) = (parts.next()??, parts.next()??);
    let typ = header.get("typ")?.as_str()?;
    let body = payload.get_mut("body")?.take();
    let body = match typ {
        _ if typ == Typ::Grant.as_str() => Body::Grant(serde_json::from_value(body).ok()?),
        _ if typ == Typ::Revocation.as_str() => Body::Revocation(serde_json::from_value(body).ok()?),
        _ if typ == Typ::Pin.as_str() => Body::Pin(serde_json::from_value(body).ok()?),
        _ => return None,
    };
    Some(Said { issued_at: payload.get("issued_at")?.as_u64()?, body })
}
