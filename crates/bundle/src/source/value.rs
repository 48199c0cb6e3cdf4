//! TOML values with their places, read by hand: every mistake is noted, not only the first.

use super::place::{Lines, Place, Problem};
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// Where mistakes are noted.
pub(super) struct Notes<'t> {
    lines: Lines<'t>,
    /// The id of the rule that is being read.
    pub(super) rule: Option<String>,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Notes<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { lines: Lines::new(text), rule: None, problems: Vec::new() }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        self.lines.place(offset)
    }

    pub(super) fn say(&mut self, offset: usize, code: &'static str, text: impl Into<String>) {
        let Place { line, column } = self.place(offset);
        self.problems.push(Problem { line, column, rule: self.rule.clone(), code, text: text.into() });
    }

    fn other_type(&mut self, value: &Value<'_>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.say(value.span().start, "source.type", format!("this must be {wanted}, not {found}"));
    }

    pub(super) fn string(&mut self, value: &Value<'_>) -> Option<String> {
        let found = value.get_ref().as_str().map(str::to_owned);
        if found.is_none() {
            self.other_type(value, "a string");
        }
        found
    }

    pub(super) fn integer(&mut self, value: &Value<'_>) -> Option<i64> {
        let found = value.get_ref().as_integer();
        let found = found.and_then(|found| i64::from_str_radix(found.as_str(), found.radix()).ok());
        if found.is_none() {
            self.other_type(value, "an integer of 64 bits");
        }
        found
    }

    pub(super) fn boolean(&mut self, value: &Value<'_>) -> Option<bool> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.other_type(value, "true or false");
        }
        found
    }

    pub(super) fn array<'v, 'd>(&mut self, value: &'v Value<'d>) -> Option<&'v [Value<'d>]> {
        let found = value.get_ref().as_array();
        if found.is_none() {
            self.other_type(value, "a list");
        }
        found.map(|array| array.iter().as_slice())
    }

    pub(super) fn table<'v, 'd>(&mut self, value: &'v Value<'d>) -> Option<Keys<'v, 'd>> {
        let found = value.get_ref().as_table();
        if found.is_none() {
            self.other_type(value, "a table");
        }
        found.map(|table| Keys::new(table, value.span().start))
    }

    pub(super) fn strings(&mut self, value: &Value<'_>) -> Option<Vec<String>> {
        let found = self.array(value)?;
        Some(found.iter().filter_map(|one| self.string(one)).collect())
    }

    /// One string, or a list of them.
    pub(super) fn string_or_strings(&mut self, value: &Value<'_>) -> Option<Vec<String>> {
        match value.get_ref() {
            DeValue::Array(_) => self.strings(value),
            _ => self.string(value).map(|one| vec![one]),
        }
    }
}

/// The keys of a table, of which each is to be asked for.
pub(super) struct Keys<'v, 'd> {
    table: &'v DeTable<'d>,
    /// Where the table begins.
    pub(super) start: usize,
    asked: BTreeSet<&'static str>,
}

impl<'v, 'd> Keys<'v, 'd> {
    pub(super) fn new(table: &'v DeTable<'d>, start: usize) -> Self {
        Self { table, start, asked: BTreeSet::new() }
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<&'v Value<'d>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    /// Where a key stands; where the table begins if it has none.
    pub(super) fn offset(&self, key: &str) -> usize {
        let found = self.table.get_key_value(key);
        found.map_or(self.start, |(key, _)| key.span().start)
    }

    /// The keys that it has.
    pub(super) fn names(&self) -> impl Iterator<Item = &'v str> + use<'v, 'd> {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    /// Every entry, whatever its key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, usize, &'v Value<'d>)> + use<'v, 'd> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value))
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(self, notes: &mut Notes<'_>) {
        let known: Vec<&str> = self.asked.iter().copied().collect();
        for (key, at, _) in self.entries().filter(|(key, _, _)| !self.asked.contains(key)) {
            let text = format!("{key:?} is no key here; the keys are {}", known.join(", "));
            notes.say(at, "source.key", text);
        }
    }
}
