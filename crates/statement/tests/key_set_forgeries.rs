//! The key set: signed by a root, each key in one role, each namespace with one owner.

mod common;

use base64ct::{Base64, Encoding};
use common::{FIRST, NOW, ONLINE, key, key_set, root, roots, signer, trusted};
use serde_json::json;
use tether_statement::issue::Signing;
use tether_statement::{Issuer, KeySet, Role, TrustedKeys, Typ};

fn refusal(change: impl FnOnce(&mut KeySet)) -> String {
    let mut set = key_set();
    change(&mut set);
    let text = root().sign(Typ::Keys, &set).unwrap();
    TrustedKeys::verify(&text, &roots()).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

fn issuer(iss: &str, namespace: &str) -> Issuer {
    Issuer { iss: iss.to_owned(), namespaces: vec![namespace.to_owned()], kids: vec![] }
}

#[test]
fn a_true_set_is_accepted_and_ends_when_it_says() {
    assert_eq!(refusal(|_| ()), "accepted");
    let set = trusted();
    assert!(set.is_valid_at(NOW) && !set.is_valid_at(key_set().expires_at));
}

#[test]
fn only_a_root_signs_it() {
    let text = signer(Role::Feed).sign(Typ::Keys, &key_set()).unwrap();
    assert_eq!(TrustedKeys::verify(&text, &roots()).unwrap_err().code(), "unknown_key");
    let text = Signing::from_seed("root", [9; 32]).sign(Typ::Keys, &key_set()).unwrap();
    assert_eq!(TrustedKeys::verify(&text, &roots()).unwrap_err().code(), "signature");
}

#[test]
fn a_key_has_one_role_and_a_kid_one_key() {
    let two_roles = refusal(|set| set.keys.push(key(Role::Bundle, &Signing::from_seed("b2", [3; 32]))));
    assert!(two_roles.contains("stands in two roles"), "{two_roles}");
    let twice = refusal(|set| set.keys.push(key(Role::Grant, &Signing::from_seed("g2", [3; 32]))));
    assert!(twice.contains("stands in two roles"), "{twice}");
    let kid = refusal(|set| set.keys.push(key(Role::Grant, &Signing::from_seed("grant", [9; 32]))));
    assert!(kid.contains("two keys have the kid"), "{kid}");
}

#[test]
fn it_cannot_name_root_keys() {
    let named = refusal(|set| set.keys.push(key(Role::Root, &Signing::from_seed("root-2", [9; 32]))));
    assert!(named.contains("cannot name root keys"), "{named}");
}

#[test]
fn a_namespace_has_one_owner_and_an_issuer_one_entry() {
    let both = refusal(|set| set.issuers.push(issuer("https://third.example", "@example.org")));
    assert!(both.contains("both own"), "{both}");
    let twice = refusal(|set| set.issuers.push(issuer(FIRST, "@third.example")));
    assert!(twice.contains("stands twice"), "{twice}");
    for namespace in ["", "@", "example.org", "*", "*@example.org"] {
        let refused = refusal(|set| set.issuers.push(issuer("https://third.example", namespace)));
        assert!(refused.contains("does not start with '@'"), "{namespace:?}: {refused}");
    }
}

#[test]
fn malformed_keys_and_unknown_members_are_refused() {
    let read = |value: &serde_json::Value| TrustedKeys::verify(&root().sign(Typ::Keys, value).unwrap(), &roots());
    let set = || serde_json::to_value(key_set()).unwrap();
    assert!(read(&set()).is_ok());
    for x in ["", "AA", &"A".repeat(43), "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "not base64"] {
        let mut value = set();
        value["keys"][0]["x"] = json!(x);
        assert_eq!(read(&value).unwrap_err().code(), "payload", "{x:?}");
    }
    let mut value = set();
    value["keys"][0]["role"] = json!("admin");
    assert_eq!(read(&value).unwrap_err().code(), "payload");
    let mut value = set();
    value["extra"] = json!(1);
    assert_eq!(read(&value).unwrap_err().code(), "payload");
}

#[test]
fn a_root_key_cannot_have_an_online_role() {
    let reused = refusal(|set| set.keys.push(key(Role::Bundle, &Signing::from_seed("b2", [1; 32]))));
    assert!(reused.contains("is a root key"), "{reused}");
}

#[test]
fn an_issuers_kids_are_token_keys_and_its_alone() {
    let kids = |kid: &str| {
        refusal(|set| {
            set.issuers.push(Issuer { kids: vec![kid.to_owned()], ..issuer("https://third.example", "@third.example") })
        })
    };
    for (kid, why) in [("token", "both use the kid"), ("grant", "is no token key"), ("nothing", "is no token key")] {
        let refused = kids(kid);
        assert!(refused.contains(why), "{kid}: {refused}");
    }
    let unowned = refusal(|set| set.keys.push(key(Role::Token, &Signing::from_seed("spare", [9; 32]))));
    assert_eq!(unowned, "accepted");
}

#[test]
fn names_in_it_are_not_empty() {
    assert_ne!(refusal(|set| set.issuers.push(issuer("", "@third.example"))), "accepted");
    assert_ne!(refusal(|set| set.keys.push(key(Role::Token, &Signing::from_seed("", [9; 32])))), "accepted");
}

#[test]
fn namespaces_that_differ_only_in_case_are_one() {
    let both = refusal(|set| set.issuers.push(issuer("https://third.example", "@Example.ORG")));
    assert!(both.contains("both own"), "{both}");
}

#[test]
fn a_ca_key_is_one_line_and_has_no_other_role() {
    let blob = |key: &[u8]| {
        let mut bytes = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        bytes.extend_from_slice(key);
        format!("ssh-ed25519 {}", Base64::encode_string(&bytes))
    };
    let ca = blob(Signing::from_seed("", [8; 32]).public().as_bytes());
    assert_eq!(refusal(|set| set.user_ca.push(ca.clone())), "accepted");
    for role in ONLINE.into_iter().chain([Role::Root]) {
        let reused = refusal(|set| set.user_ca.push(blob(signer(role).public().as_bytes())));
        assert!(reused.contains("has another role"), "{role:?}: {reused}");
    }
    for line in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !",
        &format!("{ca}\n{ca}"),
        &format!("cert-authority {ca}"),
        &format!("{ca} x"),
        &format!("{ca} "),
    ] {
        let refused = refusal(|set| set.user_ca.push(line.to_owned()));
        assert!(refused.contains("is not TYPE BASE64"), "{line:?}: {refused}");
    }
}
