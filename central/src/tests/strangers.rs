//! Who has no name here is on record, and cannot fill the chain.

use super::world::World;
use crate::app::{ENROL_PATH, FEED_PATH, REPORT_PATH};

#[test]
fn unknown_keys_and_bad_proofs_are_on_record_once_a_minute() {
    let world = World::new();
    let ask = |method: &str, path: &str, proof: &str| {
        let body = (method == "POST").then_some(b"{}".as_slice());
        let path = if method == "GET" { format!("{path}?after=0") } else { path.to_owned() };
        world.ask(method, &path, &[("dpop", proof)], body).body["tether_code"].as_str().unwrap_or_default().to_owned()
    };
    for _ in 0..5 {
        assert_eq!(ask("POST", REPORT_PATH, &world.proof(REPORT_PATH, None)), "host.unknown_key");
        assert_eq!(ask("GET", FEED_PATH, "no proof"), "proof.malformed");
        assert_eq!(ask("POST", ENROL_PATH, "no proof"), "proof.malformed");
    }
    for (event, code) in [
        ("report.refused", "host.unknown_key"),
        ("feed.refused", "proof.malformed"),
        ("enrol.refused", "proof.malformed"),
    ] {
        let trail = world.trail(event);
        assert_eq!(trail.len(), 1, "{event}");
        assert_eq!((trail[0].event.code.as_str(), &trail[0].event.details["count"]), (code, &1.into()), "{event}");
    }
    // Who has no nonce yet has done nothing wrong.
    assert_eq!(world.trail("rate.limited").len(), 0);
}
