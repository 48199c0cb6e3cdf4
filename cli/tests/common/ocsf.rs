//! Whether an event is what the published OCSF schema says: its folder as it is published, put together here.
#![allow(dead_code)]

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct Schema {
    folder: PathBuf,
    dictionary: Value,
    classes: BTreeMap<u64, Value>,
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Schema {
    pub fn open(folder: &Path) -> Self {
        let mut schema = Self {
            folder: folder.to_owned(),
            dictionary: read(&folder.join("dictionary.json")),
            classes: BTreeMap::new(),
        };
        for (category, files) in [(3, "iam"), (1, "system")] {
            for entry in std::fs::read_dir(folder.join("events").join(files)).unwrap() {
                let path = entry.unwrap().path();
                let raw = read(&path);
                if let Some(uid) = raw["uid"].as_u64() {
                    let full = schema.event(&path);
                    schema.classes.insert(category * 1000 + uid, full);
                }
            }
        }
        schema
    }

    pub fn version(&self) -> String {
        read(&self.folder.join("version.json"))["version"].as_str().unwrap_or_default().to_owned()
    }

    /// An event class with what it extends and includes.
    fn event(&self, path: &Path) -> Value {
        let raw = read(path);
        let base = match raw["extends"].as_str() {
            Some("base_event") => Some(self.folder.join("events/base_event.json")),
            Some(parent) => Some(path.with_file_name(format!("{parent}.json"))),
            None => None,
        };
        let base = base.map(|path| self.event(&path));
        self.merged(&raw, base)
    }

    fn object(&self, name: &str) -> Value {
        let raw = read(&self.folder.join("objects").join(format!("{name}.json")));
        let base = raw["extends"].as_str().map(|parent| self.object(parent));
        self.merged(&raw, base)
    }

    fn merged(&self, raw: &Value, base: Option<Value>) -> Value {
        let mut attributes = base.as_ref().and_then(|base| base["attributes"].as_object().cloned()).unwrap_or_default();
        let own = raw["attributes"].as_object().cloned().unwrap_or_default();
        for include in own.get("$include").and_then(Value::as_array).into_iter().flatten() {
            let profile = read(&self.folder.join(include.as_str().unwrap()));
            let mut of_profile = profile["attributes"].as_object().cloned().unwrap();
            for attribute in of_profile.values_mut() {
                // What a profile asks for, it asks of events that have the profile.
                attribute["profile"] = profile["name"].clone();
            }
            add(&mut attributes, &of_profile);
        }
        add(&mut attributes, &own);
        let constraints = if raw["constraints"].is_object() {
            raw["constraints"].clone()
        } else {
            base.map_or(Value::Null, |base| base["constraints"].clone())
        };
        serde_json::json!({"attributes": attributes, "constraints": constraints})
    }

    /// Everything that is wrong with an event.
    pub fn faults(&self, event: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let class = event["class_uid"].as_u64().and_then(|uid| self.classes.get(&uid));
        match class {
            None => faults.push(format!("no class {}", event["class_uid"])),
            Some(class) => self.check(class, event, "event", &mut faults),
        }
        faults
    }

    fn check(&self, definition: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let attributes = definition["attributes"].as_object().unwrap();
        let members = value.as_object().unwrap();
        for (name, attribute) in attributes {
            if attribute["requirement"] == "required" && attribute["profile"].is_null() && !members.contains_key(name) {
                faults.push(format!("{at}.{name} is required"));
            }
        }
        if let Some(names) = definition["constraints"]["at_least_one"].as_array()
            && !names.iter().any(|name| members.contains_key(name.as_str().unwrap()))
        {
            faults.push(format!("{at} has none of {names:?}"));
        }
        for (name, value) in members {
            match attributes.get(name) {
                None => faults.push(format!("{at}.{name} is not in the schema")),
                Some(attribute) => self.member(name, attribute, value, &format!("{at}.{name}"), faults),
            }
        }
    }

    fn member(&self, name: &str, attribute: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let entry = &self.dictionary["attributes"][name];
        let is_list = entry["is_array"] == true || attribute["is_array"] == true;
        let items = if is_list { value.as_array().cloned().unwrap_or_default() } else { vec![value.clone()] };
        if is_list != value.is_array() {
            faults.push(format!("{at} is a list, or should be one"));
        }
        let kind = attribute["type"].as_str().or(entry["type"].as_str()).unwrap_or("object").to_owned();
        let mut known = Map::new();
        for source in [&entry["enum"], &attribute["enum"]] {
            known.extend(source.as_object().cloned().unwrap_or_default());
        }
        for item in items {
            let fits = match kind.as_str() {
                "integer_t" | "long_t" | "port_t" | "timestamp_t" => item.is_i64() || item.is_u64(),
                "boolean_t" => item.is_boolean(),
                "object" | "json_t" => true,
                text if text.ends_with("_t") => item.is_string(),
                object => {
                    match item.is_object() {
                        true => self.check(&self.object(object), &item, at, faults),
                        false => faults.push(format!("{at} is no {object}")),
                    }
                    true
                }
            };
            if !fits {
                faults.push(format!("{at} is no {kind}: {item}"));
            }
            // Which category and class there are is said by the classes themselves.
            let named = !matches!(name, "category_uid" | "class_uid" | "type_uid");
            if named && !known.is_empty() && kind == "integer_t" && !known.contains_key(&item.to_string()) {
                faults.push(format!("{at} has no value {item}"));
            }
        }
    }
}

/// What stands nearer holds, member by member.
fn add(to: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        if name.starts_with('$') {
            continue;
        }
        let entry = to.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        if let (Some(entry), Some(value)) = (entry.as_object_mut(), value.as_object()) {
            for (key, value) in value {
                if key == "enum" && entry.contains_key("enum") {
                    let known = value.as_object().cloned().unwrap_or_default();
                    entry["enum"].as_object_mut().unwrap().extend(known);
                } else {
                    entry.insert(key.clone(), value.clone());
                }
            }
        }
    }
}
