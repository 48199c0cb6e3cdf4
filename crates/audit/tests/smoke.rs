//! No bytes make the check of a chain panic, and nothing that is not a chain passes for one.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sha2::Digest;
use tether_audit::{Chain, Event, Ids, Outcome, Verified, canonical, verify};

fn chain(details: Map<String, Value>) -> String {
    let chain = Chain::after("web-01", "boot", Verified { records: 0, head: String::new() });
    let event = Event {
        event: "e".into(),
        outcome: Outcome::Allowed,
        code: String::new(),
        ids: Ids::unknown("x"),
        parent: None,
        details,
    };
    chain.next(event, 1).unwrap().line
}

/// A line with the right hash over whatever stands in it.
fn hashed(record: &Value) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let body = canonical(record).unwrap();
    let hash = sha2::Sha256::digest([b"tether audit record v1\0", body.as_bytes()].concat());
    format!("{{\"hash\":\"{}\",\"record\":{body}}}", Base64UrlUnpadded::encode_string(&hash))
}

fn record() -> Value {
    serde_json::from_str::<Value>(&chain(Map::new())).unwrap()["record"].clone()
}

fn holds(line: &str) -> bool {
    verify([line].into_iter(), |_| {}).is_ok()
}

#[test]
fn a_record_with_a_true_hash_and_another_form_is_refused() {
    assert!(holds(&hashed(&record())));
    let with = |member: &str, value: Value| {
        let mut changed = record();
        changed[member] = value;
        hashed(&changed)
    };
    assert!(!holds(&with("extra", json!(1))), "an unknown member");
    assert!(!holds(&with("outcome", json!("perhaps"))));
    assert!(!holds(&with("number", json!(2))));
    assert!(!holds(&with("previous", json!("x"))));
    let mut ids = record()["ids"].clone();
    ids["human"]["name"] = json!("alice");
    assert!(!holds(&with("ids", ids)), "an unknown member within");
}

proptest! {
    #[test]
    fn any_text_is_no_chain(text in any::<String>(), nested in 0_usize..300) {
        prop_assert!(!holds(&text), "arbitrary text");
        let deep = format!("{{\"hash\":\"\",\"record\":{}1{}}}", "[".repeat(nested), "]".repeat(nested));
        prop_assert!(!holds(&deep), "nested lists");
    }

    #[test]
    fn whatever_is_recorded_verifies(key in "[ -~]{1,12}", text in any::<String>(), number in any::<u64>(), less in any::<i64>()) {
        let mut details = Map::new();
        details.insert(key, json!({"text": text, "number": number, "list": [less, null, true]}));
        prop_assert!(holds(&chain(details)));
    }
}
