//! Attributes: names without regard to case (RFC 7643, 2.1), with or without their schema before them.

use crate::problem::{Problem, ScimType};
use serde_json::{Map, Value};

/// The most characters of a text that is kept.
const TEXT_MAX: usize = 256;

/// A kind of resource: what its attributes are, and which of them are ours to keep.
#[derive(Debug)]
pub struct Kind {
    /// Its schema.
    pub schema: &'static str,
    /// Its name, as the type of a resource.
    pub name: &'static str,
    /// Its path below `/scim/v2`.
    pub path: &'static str,
    /// Texts that may be changed.
    pub(crate) texts: &'static [&'static str],
    /// What may not be changed once it is.
    pub(crate) fixed: &'static [&'static str],
    /// What lists may be filtered by.
    pub(crate) filters: &'static [&'static str],
}

/// A human.
pub const USER: Kind = Kind {
    schema: "urn:ietf:params:scim:schemas:core:2.0:User",
    name: "User",
    path: "/Users",
    texts: &["userName", "externalId"],
    fixed: &["id", "meta", "schemas"],
    filters: &["userName", "externalId", "id"],
};

/// An agent: our own resource type.
pub const AGENT: Kind = Kind {
    schema: "urn:tether:params:scim:schemas:1.0:Agent",
    name: "Agent",
    path: "/Agents",
    texts: &[],
    fixed: &["id", "meta", "schemas", "agentName", "team", "owner", "key"],
    filters: &["agentName", "id"],
};

/// What a name or path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    Active,
    Text(&'static str),
    Fixed(&'static str),
    /// An attribute that is not kept here.
    Other,
}

impl Kind {
    /// What a path means. One that goes into or narrows an attribute which we keep leads nowhere.
    pub(crate) fn meant(&self, path: &str) -> Result<Meant, Problem> {
        if path.is_empty() || path.len() > TEXT_MAX || path.chars().any(char::is_control) {
            let why = "a path has 1 to 256 characters, none of them a control character";
            return Err(Problem::of(ScimType::InvalidPath, "scim.path", why));
        }
        let name = self.without_schema(path.trim());
        let end = name.find(['.', '[', ' ']).unwrap_or(name.len());
        let attribute = name.get(..end).unwrap_or_default();
        let meant = self.attribute(attribute);
        if meant != Meant::Other && end != name.len() {
            let why = format!("{path:?}: {attribute} has no parts and no several values");
            return Err(Problem::of(ScimType::InvalidPath, "scim.path", why));
        }
        Ok(meant)
    }

    /// Whether a path is this kind's own schema.
    pub(crate) fn is_schema(&self, path: &str) -> bool {
        path.trim().eq_ignore_ascii_case(self.schema)
    }

    /// The members of an object by their short names, with those that stand in an object of this kind's own schema, as
    /// if it were an extension's.
    pub(crate) fn flat(&self, members: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
        let mut all = Map::new();
        for (name, value) in members {
            let own = self.is_schema(name);
            let inner = if own && !value.is_null() { object(value, name)?.clone() } else { Map::new() };
            let outer = (!own).then(|| (name.clone(), value.clone()));
            for (name, value) in outer.into_iter().chain(inner) {
                let name = self.without_schema(&name);
                if all.insert(name.to_owned(), value).is_some() {
                    let why = format!("the attribute {name} stands twice");
                    return Err(Problem::of(ScimType::InvalidSyntax, "scim.twice", why));
                }
            }
        }
        Ok(all)
    }

    fn attribute(&self, name: &str) -> Meant {
        let same = |one: &&&'static str| one.eq_ignore_ascii_case(name);
        if name.eq_ignore_ascii_case("active") {
            Meant::Active
        } else if let Some(text) = self.texts.iter().find(same) {
            Meant::Text(text)
        } else if let Some(fixed) = self.fixed.iter().find(same) {
            Meant::Fixed(fixed)
        } else {
            Meant::Other
        }
    }

    /// The name without `urn:…:`, if that is this kind's own schema.
    pub(crate) fn without_schema<'p>(&self, path: &'p str) -> &'p str {
        match path.split_at_checked(self.schema.len()) {
            Some((schema, rest)) if schema.eq_ignore_ascii_case(self.schema) => rest.strip_prefix(':').unwrap_or(path),
            _ => path,
        }
    }
}

/// A member by its name in any case. Two that differ in case only are one too many.
pub(crate) fn member<'o>(object: &'o Map<String, Value>, name: &str) -> Result<Option<&'o Value>, Problem> {
    let mut found = object.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let first = found.next();
    if found.next().is_some() {
        let why = format!("the attribute {name} stands twice");
        return Err(Problem::of(ScimType::InvalidSyntax, "scim.twice", why));
    }
    // An attribute that is null has no value (RFC 7643, 2.5).
    Ok(first.filter(|value| !value.is_null()))
}

pub(crate) fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map<String, Value>, Problem> {
    value
        .as_object()
        .ok_or_else(|| Problem::of(ScimType::InvalidSyntax, "scim.syntax", format!("{what} has to be a JSON object")))
}

/// A truth value. Some directories write it as a text.
pub(crate) fn truth(value: &Value, name: &str) -> Result<bool, Problem> {
    match lone(value) {
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => {
            Err(Problem::of(ScimType::InvalidValue, "scim.value", format!("{name} is true or false, not {other}")))
        }
    }
}

pub(crate) fn text(value: &Value, name: &str) -> Result<String, Problem> {
    let text = lone(value).as_str().filter(|text| !text.is_empty() && text.len() <= TEXT_MAX);
    let text = text.filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        let why = format!("{name} has to be a text of 1 to {TEXT_MAX} bytes without control characters");
        Problem::of(ScimType::InvalidValue, "scim.value", why)
    })
}

/// Some directories write one value as a list of one, or as an object with `value`.
fn lone(value: &Value) -> &Value {
    match value {
        Value::Array(list) => match list.as_slice() {
            [one] => one.get("value").unwrap_or(one),
            _ => value,
        },
        Value::Object(members) => members.get("value").unwrap_or(value),
        _ => value,
    }
}

/// That `schemas` names the one that belongs here (RFC 7643, 3).
pub(crate) fn check_schema(object: &Map<String, Value>, wanted: &str) -> Result<(), Problem> {
    let schemas = member(object, "schemas")?.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if schemas.iter().filter_map(Value::as_str).any(|one| one.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    Err(Problem::of(ScimType::InvalidSyntax, "scim.schema", format!("schemas has to name {wanted}")))
}
