use super::*;
use tether_statement::digest;

fn bundle(kid: &str, name: &str, version: u64) -> String {
    let source = format!("name='{name}'\nversion={version}\n[[rule]]\nid='a'\nprogram='/usr/bin/ss'\narguments='any'");
    signing(kid).sign(Typ::Bundle, &tether_bundle::source::compile(&source).unwrap()).unwrap()
}

fn name(text: &str) -> tether_identity::Name {
    text.parse().unwrap()
}

#[test]
fn a_bundle_is_taken_when_the_feed_names_it_and_the_security_team_signed_it() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    assert_eq!(code(trust.take_bundle(&text)), "bundle.not_pinned");
    trust.take_statement(&feed.pin("triage", 1, &digest(&text))).unwrap();
    assert!(trust.bundles.get(&name("triage")).is_none(), "named, and not here yet");
    assert!(trust.take_bundle(&text).unwrap() && !trust.take_bundle(&text).unwrap());
    assert_eq!(trust.bundles.get(&name("triage")).unwrap().bundle().version, 1);
    let of_central = bundle("grant", "triage", 2);
    trust.take_statement(&feed.pin("triage", 2, &digest(&of_central))).unwrap();
    assert_eq!(code(trust.take_bundle(&of_central)), "bundle.refused", "central's own key");
    assert!(trust.bundles.get(&name("triage")).is_none(), "the old one is no more what the name means");
}

#[test]
fn a_name_never_goes_back_to_an_older_bundle() {
    let (old, new) = (bundle("bundle", "triage", 1), bundle("bundle", "triage", 2));
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("triage", 2, &digest(&new))).unwrap();
    trust.take_bundle(&new).unwrap();
    trust.take_statement(&feed.pin("triage", 1, &digest(&old))).unwrap();
    assert_eq!(code(trust.take_bundle(&old)), "bundle.not_pinned");
    assert_eq!(trust.bundles.get(&name("triage")).unwrap().bundle().version, 2);
}

#[test]
fn a_bundle_is_kept_across_a_restart() {
    let text = bundle("bundle", "triage", 1);
    let mut trust = resumed(&Position::start());
    trust.take_statement(&Feed::new().pin("triage", 1, &digest(&text))).unwrap();
    trust.take_bundle(&text).unwrap();
    assert!(restored(trust.keep()).bundles.get(&name("triage")).is_some());
}

#[test]
fn central_cannot_give_one_bundle_the_name_of_another() {
    let wide = bundle("bundle", "dba", 1);
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("dba", 1, &digest(&wide))).unwrap();
    trust.take_statement(&feed.pin("triage", 7, &digest(&wide))).unwrap();
    trust.take_bundle(&wide).unwrap();
    assert!(trust.bundles.get(&name("dba")).is_some());
    assert!(trust.bundles.get(&name("triage")).is_none());
}

#[test]
fn a_bundle_is_found_under_its_own_name_whatever_else_points_to_it() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("dba", 1, &digest(&text))).unwrap();
    trust.take_statement(&feed.pin("triage", 1, &digest(&text))).unwrap();
    assert_eq!(code(trust.take_bundle(&text)), "taken");
    assert!(trust.bundles.get(&name("triage")).is_some() && trust.bundles.get(&name("dba")).is_none());
}

#[test]
fn a_bundle_goes_with_the_key_that_signed_it() {
    let text = bundle("bundle", "triage", 1);
    let mut trust = resumed(&Position::start());
    trust.take_statement(&Feed::new().pin("triage", 1, &digest(&text))).unwrap();
    trust.take_bundle(&text).unwrap();
    assert!(trust.take_keys(&keys(4)).unwrap());
    assert!(trust.bundles.get(&name("triage")).is_some(), "its key is still there");
    let rotated = signing("root").sign(Typ::Keys, &key_set(5, "new-bundle-key")).unwrap();
    assert!(trust.take_keys(&rotated).unwrap());
    assert!(trust.bundles.get(&name("triage")).is_none());
}
