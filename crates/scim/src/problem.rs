//! Why a request is refused.

use serde_json::{Value, json};

/// `scimType` (RFC 7644, 3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScimType {
    /// The filter is malformed, or not one of those that are supported.
    InvalidFilter,
    /// The body is malformed.
    InvalidSyntax,
    /// A path is malformed or leads nowhere.
    InvalidPath,
    /// A removal says not of what.
    NoTarget,
    /// A value is missing, of another kind, or not acceptable.
    InvalidValue,
    /// The attribute cannot be changed.
    Mutability,
    /// There is one already.
    Uniqueness,
}

impl ScimType {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::Mutability => "mutability",
            Self::Uniqueness => "uniqueness",
        }
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} [{code}]")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What the standard calls it, where it has a word.
    pub scim_type: Option<ScimType>,
    /// Which rule it broke; stable.
    pub code: String,
    /// In words, for whoever has to mend it.
    pub detail: String,
}

impl Problem {
    /// A refusal.
    pub fn new(status: u16, code: &str, detail: impl std::fmt::Display) -> Self {
        Self { status, scim_type: None, code: code.to_owned(), detail: detail.to_string() }
    }

    /// A refusal that the standard has a word for.
    pub fn of(scim_type: ScimType, code: &str, detail: impl std::fmt::Display) -> Self {
        let status = if scim_type == ScimType::Uniqueness { 409 } else { 400 };
        Self { scim_type: Some(scim_type), ..Self::new(status, code, detail) }
    }

    /// The body (RFC 7644, 3.12), and our code beside it.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.to_string(), "detail": self.detail, "tether_code": self.code,
        });
        if let (Some(members), Some(scim_type)) = (body.as_object_mut(), self.scim_type) {
            members.insert("scimType".to_owned(), scim_type.as_str().into());
        }
        body
    }
}
