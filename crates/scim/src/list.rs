//! Lists: what they are asked for, and how they are answered (RFC 7644, 3.4.2).

use crate::attributes::Kind;
use crate::problem::{Problem, ScimType};
use serde_json::{Value, json};

/// The most resources of one answer.
pub const PAGE_MAX: usize = 200;
/// The most bytes of a filter.
const FILTER_MAX: usize = 1024;

/// `ATTRIBUTE eq "VALUE"`: the only kind of filter that is supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Which attribute, spelled as the schema has it.
    pub attribute: &'static str,
    /// What it has to be.
    pub value: String,
}

impl Filter {
    /// Reads one.
    pub fn parse(text: &str, kind: &Kind) -> Result<Self, Problem> {
        let wrong = |why: String| Problem::of(ScimType::InvalidFilter, "scim.filter", why);
        if text.len() > FILTER_MAX {
            return Err(wrong(format!("a filter has at most {FILTER_MAX} bytes")));
        }
        let only = || wrong(format!("only ATTRIBUTE eq \"VALUE\" is supported, with one of {:?}", kind.filters));
        let mut words = text.trim().splitn(3, ' ');
        let (Some(name), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(only());
        };
        let name = kind.without_schema(name);
        let attribute = kind.filters.iter().find(|one| one.eq_ignore_ascii_case(name)).ok_or_else(only)?;
        if !operator.eq_ignore_ascii_case("eq") {
            return Err(only());
        }
        // The value is a JSON string (RFC 7644, 3.4.2.2), and nothing comes after it.
        let value: String = serde_json::from_str(value.trim()).map_err(|_| only())?;
        Ok(Self { attribute, value })
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The number of the first one; 1 is the first of all.
    pub start: usize,
    /// How many.
    pub count: usize,
}

impl Page {
    /// From the parameters. Below the least they count as the least (RFC 7644, 3.4.2.4).
    pub fn parse(start: Option<&str>, count: Option<&str>) -> Result<Self, Problem> {
        let number = |name: &str, text: Option<&str>, missing: usize, least: usize| match text {
            None => Ok(missing),
            Some(text) => {
                let number: i64 = text.trim().parse().map_err(|_| {
                    let why = format!("{name} is a whole number, not {text:?}");
                    Problem::of(ScimType::InvalidValue, "scim.page", why)
                })?;
                Ok(usize::try_from(number).unwrap_or(0).max(least))
            }
        };
        Ok(Self {
            start: number("startIndex", start, 1, 1)?,
            count: number("count", count, PAGE_MAX, 0)?.min(PAGE_MAX),
        })
    }

    /// How many are passed over.
    pub fn offset(&self) -> usize {
        self.start.saturating_sub(1)
    }
}

/// The answer to a list.
pub fn list(total: usize, page: Page, resources: &[Value]) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total, "startIndex": page.start, "itemsPerPage": resources.len(), "Resources": resources,
    })
}
