//! The protocol's document, and whether what was recorded is as it says.

use crate::recorder::{Recorded, Side};
use anyhow::{Context, Result, bail, ensure};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// `openapi.json` with its schemas made ready.
pub struct Document {
    document: Value,
    ready: HashMap<String, Validator>,
}

impl Document {
    /// From its text.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self { document: serde_json::from_str(text)?, ready: HashMap::new() })
    }

    /// Whether a request and its answer are as the document says. What was refused as malformed may be malformed.
    pub fn check(&mut self, recorded: &Recorded) -> Result<()> {
        let Recorded { method, path, request, status, answer } = recorded;
        let operation = self.operation(method, path)?;
        if *status == 200
            && let Some(body) = operation.get("requestBody")
        {
            self.check_body(body, request).with_context(|| format!("{method} {path}: the request"))?;
        }
        let described = operation.pointer(&format!("/responses/{status}"));
        let described = self.resolved(described.with_context(|| format!("{method} {path} answers {status}"))?)?;
        self.check_headers(&described, answer).with_context(|| format!("{method} {path}: {status}"))?;
        if answer.media == "text/event-stream" {
            let event = json!({"$ref": "#/components/schemas/FeedEvent"});
            return self
                .validate(&event, &event_of(&answer.body)?)
                .with_context(|| format!("{method} {path}: an event"));
        }
        self.check_body(&described, answer).with_context(|| format!("{method} {path}: the answer, {status}"))
    }

    fn operation(&self, method: &str, path: &str) -> Result<Value> {
        let place = format!("/paths/{}/{}", path.replace('~', "~0").replace('/', "~1"), method.to_lowercase());
        self.document.pointer(&place).cloned().with_context(|| format!("{method} {path} is not described"))
    }

    fn resolved(&self, described: &Value) -> Result<Value> {
        match described.get("$ref").and_then(Value::as_str) {
            Some(place) => self.document.pointer(place.trim_start_matches('#')).cloned().context(place.to_owned()),
            None => Ok(described.clone()),
        }
    }

    fn check_headers(&mut self, described: &Value, answer: &Side) -> Result<()> {
        for (name, about) in described.get("headers").and_then(Value::as_object).unwrap_or(&Map::new()) {
            let found = answer.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
            match found {
                Some((_, value)) => self.validate(&about["schema"], &Value::String(value.clone()))?,
                None => ensure!(about["required"] != true, "{name} is missing"),
            }
        }
        Ok(())
    }

    fn check_body(&mut self, described: &Value, side: &Side) -> Result<()> {
        let place = format!("/content/{}/schema", side.media.replace('/', "~1"));
        let schema = described.pointer(&place).with_context(|| format!("{:?} is not described", side.media))?.clone();
        let value = match side.media.as_str() {
            "application/json" => serde_json::from_str(&side.body)?,
            "application/x-www-form-urlencoded" => form(&side.body)?,
            "text/plain" | "application/jsonl" | "application/octet-stream" => Value::String(side.body.clone()),
            other => bail!("how is {other:?} read?"),
        };
        self.validate(&schema, &value)
    }

    fn validate(&mut self, schema: &Value, value: &Value) -> Result<()> {
        let name = schema.to_string();
        if !self.ready.contains_key(&name) {
            let mut whole = schema.as_object().cloned().context("a schema is an object")?;
            whole.insert("components".to_owned(), self.document["components"].clone());
            let ready =
                jsonschema::draft202012::new(&Value::Object(whole)).map_err(|error| anyhow::anyhow!("{error}"))?;
            self.ready.insert(name.clone(), ready);
        }
        let ready = self.ready.get(&name).context("it was just made")?;
        let problems: Vec<String> =
            ready.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(())
    }
}

/// An event as the feed writes it.
fn event_of(text: &str) -> Result<Value> {
    let member = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.with_context(|| format!("an event without {name}: {text:?}"))
    };
    Ok(json!({"event": member("event")?, "id": member("id")?, "data": member("data")?}))
}

fn form(text: &str) -> Result<Value> {
    let plain = |text: &str| -> Result<String> {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().context("cut")?, rest.next().context("cut")?];
                    u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?
                }
                byte => byte,
            });
        }
        Ok(String::from_utf8(bytes)?)
    };
    let mut members = Map::new();
    for member in text.split('&') {
        let (name, value) = member.split_once('=').context("no form")?;
        members.insert(plain(name)?, Value::String(plain(value)?));
    }
    Ok(Value::Object(members))
}
