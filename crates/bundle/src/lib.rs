//! Command bundles: which programs an agent may run under sudo, with which arguments, and what they may read.
//!
//! A bundle is written in TOML ([`source`]), checked and compiled to [`Bundle`], and signed by the security team's
//! key. A host makes a [`Policy`] of it: [`Policy::decide`] is the whole decision. A denial wins, silence denies, and
//! the time it takes does not depend on how many rules there are. Pure: which file a name resolves to, and who
//! owns it, is found out by the caller before it asks.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod check;
mod decide;
mod environment;
mod explain;
mod listing;
mod model;
mod path;
mod pattern;
pub mod source;
mod words;

pub use check::{
    ARGUMENTS_MAX, BundleError, DEPTH_MAX, EXPRESSIONS_MAX, LIST_MAX, OUTPUT_MAX, PATTERN_RULES_MAX, PATTERNS_MAX,
    REST_MAX, RULES_MAX, TEXT_MAX, TIME_MAX_S,
};
pub use decide::{Command, Decision, Denied, PathArgument, Policy};
pub use explain::{Considered, Explanation, Verdict};
pub use listing::{ListedRule, Listing};
pub use model::{Arguments, Bundle, Effect, Grant, Mode, Pattern, Reads, Rest, Rule, Run, Target};
pub use path::is_plain_absolute;
pub use pattern::{REGEX_ARGUMENT_MAX, STEPS_MAX};
pub use words::{pattern_in_words, quoted, split_words};
