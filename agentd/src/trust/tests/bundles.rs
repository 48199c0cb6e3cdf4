use super::*;
use tether_statement::{BundleConfirmation, UnixTime, digest};

const WRITES: &str = "mode='write'\nrun_as='root'\nwrites=['/etc/motd']\n";

fn bundle_with(kid: &str, name: &str, version: u64, more: &str) -> String {
    let rule = format!("[[rule]]\nid='a'\nprogram='/usr/bin/tee'\narguments=['/etc/motd']\n{more}");
    let source = format!("name='{name}'\nversion={version}\n{rule}");
    signing(kid).sign(Typ::Bundle, &tether_bundle::source::compile(&source).unwrap()).unwrap()
}

fn bundle(kid: &str, name: &str, version: u64) -> String {
    bundle_with(kid, name, version, "")
}

fn name(text: &str) -> tether_identity::Name {
    text.parse().unwrap()
}

fn confirmation(kid: &str, bundle: &str, named: &str, version: u64, time: UnixTime) -> String {
    let word = BundleConfirmation { name: name(named), version, sha256: digest(bundle), time };
    signing(kid).sign(Typ::Confirmation, &word).unwrap()
}

/// The version that may be used so many seconds after the start, or the code of the refusal.
fn usable(trust: &Trust, named: &str, seconds: u64) -> Result<u64, &'static str> {
    trust.bundle(&name(named), after(seconds)).map(|policy| policy.bundle().version).map_err(|error| error.code())
}

/// A trust that has version 1 of "triage", confirmed at the start.
fn with_triage(feed: &mut Feed, text: &str) -> Trust {
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("triage", 1, &digest(text))).unwrap();
    trust.take_bundle(text).unwrap();
    assert!(trust.take_confirmation(&confirmation("bundle", text, "triage", 1, START), after(0)).unwrap());
    trust
}

#[test]
fn a_bundle_is_taken_when_the_feed_names_it_and_the_security_team_signed_it() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    assert_eq!(code(trust.take_bundle(&text)), "bundle.not_pinned");
    trust.take_statement(&feed.pin("triage", 1, &digest(&text))).unwrap();
    assert_eq!(usable(&trust, "triage", 0), Err("bundle.none"), "named, and not here yet");
    assert!(trust.take_bundle(&text).unwrap() && !trust.take_bundle(&text).unwrap());
    assert_eq!(usable(&trust, "triage", 0), Err("bundle.unconfirmed"));
    let by_central = confirmation("grant", &text, "triage", 1, START);
    assert_eq!(code(trust.take_confirmation(&by_central, after(0))), "bundle.refused");
    trust.take_confirmation(&confirmation("bundle", &text, "triage", 1, START), after(0)).unwrap();
    assert_eq!(usable(&trust, "triage", 0), Ok(1));
}

#[test]
fn a_bad_bundle_never_replaces_the_last_good_one() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = with_triage(&mut feed, &text);
    let of_central = bundle("grant", "triage", 2);
    let no_rules = signing("bundle").sign(Typ::Bundle, &json!({"name": "triage", "version": 3})).unwrap();
    for (version, bad) in [(2, &of_central), (3, &no_rules)] {
        trust.take_statement(&feed.pin("triage", version, &digest(bad))).unwrap();
        assert_eq!(code(trust.take_bundle(bad)), "bundle.refused");
        assert_eq!(usable(&trust, "triage", 0), Ok(1));
    }
    let good = bundle("bundle", "triage", 4);
    trust.take_statement(&feed.pin("triage", 4, &digest(&good))).unwrap();
    trust.take_confirmation(&confirmation("bundle", &good, "triage", 4, START), after(0)).unwrap();
    assert_eq!(usable(&trust, "triage", 0), Ok(1), "the new one has not come");
    trust.take_bundle(&good).unwrap();
    assert_eq!(usable(&trust, "triage", 0), Ok(4));
    assert_eq!(code(trust.take_bundle(&text)), "bundle.not_pinned", "nor does it go back");
}

#[test]
fn a_name_never_goes_back_to_an_older_bundle() {
    let (old, new) = (bundle("bundle", "triage", 1), bundle("bundle", "triage", 2));
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("triage", 2, &digest(&new))).unwrap();
    trust.take_bundle(&new).unwrap();
    trust.take_confirmation(&confirmation("bundle", &new, "triage", 2, START), after(0)).unwrap();
    for (version, text) in [(1, &old), (2, &old), (2, &new)] {
        let taken = trust.take_statement(&feed.pin("triage", version, &digest(text))).unwrap();
        let refused = taken.unheeded.map(|refused| refused.code());
        // To say it again is no offence: a host that enrols anew hears of every bundle.
        assert_eq!(refused, (text == &old).then_some("bundle.old_pin"), "version {version}");
    }
    assert_eq!(code(trust.take_bundle(&old)), "bundle.not_pinned");
    assert_eq!(usable(&trust, "triage", 0), Ok(2));
}

#[test]
fn what_a_stolen_grant_key_said_of_names_ends_with_the_key() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = with_triage(&mut feed, &text);
    trust.take_statement(&feed.pin("triage", u64::MAX, &digest("nothing"))).unwrap();
    let next = bundle("bundle", "triage", 2);
    let taken = trust.take_statement(&feed.pin("triage", 2, &digest(&next))).unwrap();
    assert_eq!(taken.unheeded.map(|refused| refused.code()), Some("bundle.old_pin"), "no version is above the thief's");
    // The same key in a newer set changes nothing, another one does.
    let mut set = key_set(4, "bundle");
    trust.take_keys(&signing("root").sign(Typ::Keys, &set).unwrap()).unwrap();
    assert!(trust.take_statement(&feed.pin("triage", 2, &digest(&next))).unwrap().unheeded.is_some());
    set.version = 5;
    set.keys.retain(|key| key.role != Role::Grant);
    set.keys.push(Key { kid: "grant-2".to_owned(), role: Role::Grant, x: signing("grant-2").public() });
    trust.take_keys(&signing("root").sign(Typ::Keys, &set).unwrap()).unwrap();
    assert_eq!(usable(&trust, "triage", 0), Ok(1), "what the security team signed stays");
    let pin = Body::Pin(BundlePin { name: name("triage"), version: 2, sha256: digest(&next) });
    let (_, statement) = feed.0.append(&signing("grant-2"), &pin, START).unwrap();
    assert!(trust.take_statement(&statement).unwrap().unheeded.is_none());
    trust.take_bundle(&next).unwrap();
}

#[test]
fn what_the_security_team_no_longer_confirms_is_used_no_more() {
    const HOUR: u64 = 3600;
    for (more, hours) in [("", 24), (WRITES, 1)] {
        let text = bundle_with("bundle", "triage", 1, more);
        let mut trust = with_triage(&mut Feed::new(), &text);
        assert_eq!(usable(&trust, "triage", hours * HOUR), Ok(1));
        assert_eq!(usable(&trust, "triage", hours * HOUR + 1), Err("bundle.stale"));
        let later = after(hours * HOUR);
        let again = confirmation("bundle", &text, "triage", 1, START + 100);
        assert!(trust.take_confirmation(&again, later).unwrap() && !trust.take_confirmation(&again, later).unwrap());
        assert_eq!(usable(&trust, "triage", hours * HOUR + 100), Ok(1));
        let older = confirmation("bundle", &text, "triage", 1, START + 99);
        assert!(!trust.take_confirmation(&older, later).unwrap(), "an older word moves nothing");
    }
}

#[test]
fn a_confirmation_counts_for_one_bundle_and_not_ahead_of_its_time() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = with_triage(&mut feed, &text);
    let ahead = confirmation("bundle", &text, "triage", 1, START + 3600);
    assert_eq!(code(trust.take_confirmation(&ahead, after(0))), "bundle.confirmed_ahead");
    assert_eq!(code(trust.take_confirmation(&ahead, after(3600))), "taken");
    let other = bundle("bundle", "triage", 2);
    let of_other = confirmation("bundle", &other, "triage", 2, START);
    assert_eq!(code(trust.take_confirmation(&of_other, after(0))), "bundle.not_pinned");
    // The right name and version, and another text: the digest is what counts.
    let wide = bundle_with("bundle", "triage", 2, "time_limit='9s'\n");
    trust.take_statement(&feed.pin("triage", 2, &digest(&other))).unwrap();
    let of_wide = confirmation("bundle", &wide, "triage", 2, START);
    assert_eq!(code(trust.take_confirmation(&of_wide, after(0))), "bundle.not_pinned");
    let bare = asking().take_confirmation(&ahead, after(0));
    assert_eq!(code(bare), "feed.not_resumed", "without central's time nothing is known to be young");
}

#[test]
fn a_bundle_and_its_confirmation_are_kept_across_a_restart() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = with_triage(&mut feed, &text);
    // The name has moved on; the last good one is kept all the same.
    trust.take_statement(&feed.pin("triage", 2, "somewhere-else")).unwrap();
    let (kept, texts) = (trust.keep(), trust.bundles.texts());
    let mut again = Trust::restore(&settings(), kept, texts, NONCE.to_owned(), after(0));
    again.take_resume(&resume(NONCE, trust.position(), 0, START)).unwrap();
    assert_eq!(usable(&again, "triage", 0), Ok(1));
    let summary = &again.bundle_summaries(after(0))[0];
    assert_eq!((summary.version, summary.named, summary.state.as_str()), (Some(1), 2, "usable"));
}

#[test]
fn central_cannot_give_one_bundle_the_name_of_another() {
    let wide = bundle("bundle", "dba", 1);
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("dba", 1, &digest(&wide))).unwrap();
    trust.take_statement(&feed.pin("triage", 7, &digest(&wide))).unwrap();
    trust.take_bundle(&wide).unwrap();
    trust.take_confirmation(&confirmation("bundle", &wide, "dba", 1, START), after(0)).unwrap();
    assert_eq!((usable(&trust, "dba", 0), usable(&trust, "triage", 0)), (Ok(1), Err("bundle.none")));
}

#[test]
fn a_bundle_is_found_under_its_own_name_whatever_else_points_to_it() {
    let text = bundle("bundle", "triage", 1);
    let mut feed = Feed::new();
    let mut trust = resumed(&Position::start());
    trust.take_statement(&feed.pin("dba", 1, &digest(&text))).unwrap();
    trust.take_statement(&feed.pin("triage", 1, &digest(&text))).unwrap();
    assert_eq!(code(trust.take_bundle(&text)), "taken");
    trust.take_confirmation(&confirmation("bundle", &text, "triage", 1, START), after(0)).unwrap();
    assert_eq!((usable(&trust, "triage", 0), usable(&trust, "dba", 0)), (Ok(1), Err("bundle.none")));
}

#[test]
fn a_bundle_goes_with_the_key_that_signed_it() {
    let text = bundle("bundle", "triage", 1);
    let mut trust = with_triage(&mut Feed::new(), &text);
    assert!(trust.take_keys(&keys(4)).unwrap());
    assert_eq!(usable(&trust, "triage", 0), Ok(1), "its key is still there");
    let rotated = signing("root").sign(Typ::Keys, &key_set(5, "new-bundle-key")).unwrap();
    assert!(trust.take_keys(&rotated).unwrap());
    assert_eq!(usable(&trust, "triage", 0), Err("bundle.none"));
}
