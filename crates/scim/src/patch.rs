//! PATCH (RFC 7644, 3.5.2).
//!
//! Directories differ: `op` in any case, `active` as a truth value or as a text, with a path or as an object without
//! one. All of these are read; what would change something that we keep and cannot be read is refused.

use crate::attributes::{Kind, Meant, check_schema, member, object, text, truth};
use crate::problem::{Problem, ScimType};
use serde_json::Value;
use std::collections::BTreeMap;

/// The schema of a patch.
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// The most operations of one patch.
const OPERATIONS_MAX: usize = 100;

/// What a patch changes in the end. All of it holds, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Whether they may act, or be acted for.
    pub active: Option<bool>,
    /// Texts by the attribute's name; none where it is taken away.
    pub texts: BTreeMap<&'static str, Option<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Set,
    Remove,
}

impl Patch {
    /// Reads a body.
    pub fn parse(body: &Value, kind: &Kind) -> Result<Self, Problem> {
        let body = object(body, "a patch")?;
        check_schema(body, PATCH_SCHEMA)?;
        let operations = member(body, "Operations")?.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if operations.is_empty() || operations.len() > OPERATIONS_MAX {
            let why = format!("Operations is a list of 1 to {OPERATIONS_MAX}");
            return Err(Problem::of(ScimType::InvalidSyntax, "scim.syntax", why));
        }
        let mut patch = Self::default();
        for operation in operations {
            patch.add(operation, kind)?;
        }
        Ok(patch)
    }

    fn add(&mut self, operation: &Value, kind: &Kind) -> Result<(), Problem> {
        let members = object(operation, "an operation")?;
        let named = member(members, "op")?.and_then(Value::as_str).unwrap_or_default();
        let operation = match named.to_ascii_lowercase().as_str() {
            "add" | "replace" => Operation::Set,
            "remove" => Operation::Remove,
            _ => {
                let why = format!("op is add, replace or remove, not {named:?}");
                return Err(Problem::of(ScimType::InvalidSyntax, "scim.syntax", why));
            }
        };
        let value = member(members, "value")?;
        match member(members, "path")? {
            // A schema's own name as a path is the whole of it.
            Some(Value::String(path)) if kind.is_schema(path) && operation == Operation::Set => {
                let value = value.ok_or_else(|| no_value("a schema"))?;
                self.set_all(&kind.flat(object(value, "the value of a schema")?)?, kind)
            }
            Some(Value::String(path)) if kind.is_schema(path) => {
                Err(Problem::of(ScimType::NoTarget, "scim.no_target", "a removal needs the path of an attribute"))
            }
            Some(Value::String(path)) => {
                let meant = kind.meant(path)?;
                if let Meant::Fixed(name) = meant {
                    let why = format!("{name} cannot be changed");
                    return Err(Problem::of(ScimType::Mutability, "scim.fixed", why));
                }
                self.change(operation, meant, value)
            }
            Some(_) => Err(Problem::of(ScimType::InvalidPath, "scim.path", "a path is a text")),
            None if operation == Operation::Remove => {
                Err(Problem::of(ScimType::NoTarget, "scim.no_target", "a removal needs a path"))
            }
            None => {
                let value = value.ok_or_else(|| no_value("an operation without a path"))?;
                self.set_all(&kind.flat(object(value, "the value of an operation without a path")?)?, kind)
            }
        }
    }

    fn set_all(&mut self, members: &serde_json::Map<String, Value>, kind: &Kind) -> Result<(), Problem> {
        let mut met = Vec::new();
        for (name, value) in members {
            let meant = kind.meant(name)?;
            if meant != Meant::Other && met.contains(&meant) {
                let why = format!("an attribute stands twice; the second time as {name:?}");
                return Err(Problem::of(ScimType::InvalidSyntax, "scim.twice", why));
            }
            met.push(meant);
            match meant {
                // Directories send the whole resource along; what cannot be changed is not.
                Meant::Fixed(_) => {}
                meant => self.change(Operation::Set, meant, Some(value))?,
            }
        }
        Ok(())
    }

    fn change(&mut self, operation: Operation, meant: Meant, value: Option<&Value>) -> Result<(), Problem> {
        match (meant, operation) {
            (Meant::Active, Operation::Set) => {
                self.active = Some(truth(value.ok_or_else(|| no_value("active"))?, "active")?);
            }
            (Meant::Active, Operation::Remove) => {
                let why = "active cannot be taken away; set it to false";
                return Err(Problem::of(ScimType::InvalidValue, "scim.value", why));
            }
            (Meant::Text(name), Operation::Set) => {
                let value = value.ok_or_else(|| no_value(name))?;
                self.texts.insert(name, Some(text(value, name)?));
            }
            (Meant::Text(name), Operation::Remove) => {
                self.texts.insert(name, None);
            }
            (Meant::Fixed(_) | Meant::Other, _) => {}
        }
        Ok(())
    }
}

fn no_value(what: &str) -> Problem {
    Problem::of(ScimType::InvalidValue, "scim.value", format!("{what} needs a value"))
}
