//! Resources as they come and as they are shown.

use crate::attributes::{AGENT, Kind, USER, check_schema, member, object, text, truth};
use crate::problem::{Problem, ScimType};
use serde_json::{Map, Value, json};

/// A human as a directory describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Their name, as sign-ins have it.
    pub user_name: String,
    /// The directory's own name for them.
    pub external_id: Option<String>,
    /// Whether they may be acted for, if it says.
    pub active: Option<bool>,
}

/// An agent as a directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAgent {
    /// Its name.
    pub name: String,
    /// The team that owns it.
    pub team: String,
    /// The person who answers for it.
    pub owner: String,
    /// Its public key, a JWK.
    pub key: Value,
    /// Whether it may act, if it says.
    pub active: Option<bool>,
}

fn needed(body: &Map<String, Value>, name: &str) -> Result<String, Problem> {
    let value = member(body, name)?;
    let value = value.ok_or_else(|| Problem::of(ScimType::InvalidValue, "scim.value", format!("{name} is missing")))?;
    text(value, name)
}

fn active(body: &Map<String, Value>) -> Result<Option<bool>, Problem> {
    member(body, "active")?.map(|value| truth(value, "active")).transpose()
}

impl NewUser {
    /// Reads the body that makes or replaces a user.
    pub fn parse(body: &Value) -> Result<Self, Problem> {
        let body = &USER.flat(object(body, "a user")?)?;
        check_schema(body, USER.schema)?;
        Ok(Self {
            user_name: needed(body, "userName")?,
            external_id: member(body, "externalId")?.map(|value| text(value, "externalId")).transpose()?,
            active: active(body)?,
        })
    }
}

impl NewAgent {
    /// Reads the body that makes an agent.
    pub fn parse(body: &Value) -> Result<Self, Problem> {
        let body = &AGENT.flat(object(body, "an agent")?)?;
        check_schema(body, AGENT.schema)?;
        let key = member(body, "key")?.filter(|key| key.is_object());
        let key = key.ok_or_else(|| {
            let why = "key is missing: the agent's public key, a JWK object as `tether-agent keygen` prints it";
            Problem::of(ScimType::InvalidValue, "scim.value", why)
        })?;
        Ok(Self {
            name: needed(body, "agentName")?,
            team: needed(body, "team")?,
            owner: needed(body, "owner")?,
            key: key.clone(),
            active: active(body)?,
        })
    }
}

/// A resource as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub location: String,
    body: Value,
}

impl Shown {
    /// Of a kind, below the base URL, with attributes of its own.
    pub fn new(kind: &Kind, base: &str, id: &str, active: bool, attributes: Value) -> Self {
        let location = format!("{base}{}/{}", kind.path, escaped(id));
        let mut body = json!({
            "schemas": [kind.schema], "id": id, "active": active,
            "meta": {"resourceType": kind.name, "location": location},
        });
        if let (Some(members), Value::Object(own)) = (body.as_object_mut(), attributes) {
            members.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Self { id: id.to_owned(), location, body }
    }

    /// As JSON.
    pub fn body(&self) -> &Value {
        &self.body
    }
}

/// Percent-encoded, as a part of a path.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
