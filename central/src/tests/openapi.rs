//! The document names every route, and no other. Whether answers are as it says is checked with recorded ones
//! (`tests/tests/central.rs`).

use crate::http;
use std::collections::BTreeSet;

#[test]
fn the_document_and_the_routes_are_the_same() {
    let document: serde_json::Value = serde_json::from_str(http::DOCUMENT).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let served: BTreeSet<(String, String)> =
        http::routes().iter().map(|route| (route.path.to_owned(), route.method.to_owned())).collect();
    assert_eq!(
        described.difference(&served).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "described, not served"
    );
    assert_eq!(
        served.difference(&described).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "served, not described"
    );
}

#[test]
fn no_route_is_made_but_in_the_table() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        // The metrics' listener is another one; what directories ask is compared below.
        let allowed = matches!(name.as_str(), "routes.rs" | "metrics.rs" | "scim.rs");
        assert!(allowed || !text.contains(".route("), "{name} makes a route of its own: put it into routes.rs");
        read += 1;
    }
    assert!(read > 8, "only {read} files were looked at");
}

#[test]
fn every_reference_leads_somewhere() {
    let document: serde_json::Value = serde_json::from_str(http::DOCUMENT).unwrap();
    let mut waiting = vec![&document];
    let mut found = 0;
    while let Some(value) = waiting.pop() {
        if let Some(place) = value.get("$ref").and_then(serde_json::Value::as_str) {
            assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place} leads nowhere");
            found += 1;
        }
        match value {
            serde_json::Value::Object(members) => waiting.extend(members.values()),
            serde_json::Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    assert!(found > 50, "only {found} references");
}

#[test]
fn what_directories_ask_is_in_the_table() {
    let text = include_str!("../http/scim.rs");
    let mut made = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
        let (path, handlers) = line.split_once('"').unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                made.insert((format!("/scim/v2{path}"), method.to_uppercase()));
            }
        }
    }
    let routes = http::routes();
    let listed = routes.iter().filter(|route| route.path.starts_with("/scim/"));
    let listed: BTreeSet<(String, String)> = listed.map(|one| (one.path.to_owned(), one.method.to_owned())).collect();
    assert_eq!(made, listed);
    assert!(made.len() > 10, "{made:?}");
}
