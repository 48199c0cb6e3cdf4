//! Every way in which a session's certificate may be wrong, and the code that it is refused with.

use proptest::prelude::*;
use ssh_key::PublicKey;
use tether_identity::Thumbprint;
use tether_sshcert::issue::{KeyPair, Request};
use tether_sshcert::{SessionCertificate, ca_fingerprint};

const NOW: u64 = 1_800_000_000;
const MOST: u64 = 3600;
const SESSION: &str = "0123456789abcdef";

fn ca() -> KeyPair {
    KeyPair::from_seed([1; 32])
}

fn session_key() -> KeyPair {
    KeyPair::from_seed([2; 32])
}

fn request() -> Request {
    Request {
        key_id: SESSION.to_owned(),
        serial: 7,
        host_certificate: false,
        principals: vec!["ag-triage-1".to_owned(), "tether://secops/triage/alice@example.org".to_owned()],
        valid_after: NOW - 60,
        valid_before: NOW + 600,
        delegation: Some("a.b.c".to_owned()),
        critical_options: vec![],
        extensions: vec![("permit-pty".to_owned(), String::new())],
    }
}

fn certify(ca: &KeyPair, subject: &PublicKey, request: &Request) -> String {
    ca.certify(subject, request, [9; 16]).unwrap()
}

fn line(change: impl FnOnce(&mut Request)) -> String {
    let mut request = request();
    change(&mut request);
    certify(&ca(), session_key().public(), &request)
}

fn code(line: &str) -> &'static str {
    let trusted = [ca().fingerprint()];
    match SessionCertificate::read(line).and_then(|read| read.verify(&trusted, NOW, MOST)) {
        Ok(()) => "accepted",
        Err(error) => error.code(),
    }
}

#[test]
fn a_true_certificate_tells_what_it_holds() {
    let line = line(|request| request.critical_options.push(("source-address".into(), "10.0.0.0/8,::1".into())));
    assert_eq!(code(&line), "accepted");
    let read = SessionCertificate::read(&format!("{line} a comment\n")).unwrap();
    assert_eq!((read.session.as_str(), read.serial(), read.delegation.as_str()), (SESSION, 7, "a.b.c"));
    assert_eq!(read.principals(), request().principals);
    assert_eq!(read.source_addresses(), ["10.0.0.0/8", "::1"]);
    assert_eq!((read.key(), read.ca()), (session_key().fingerprint(), ca().fingerprint()));
    assert_eq!(ca_fingerprint(&ca().public_line().unwrap()).unwrap(), ca().fingerprint());
    let raw = session_key().public().key_data().ed25519().unwrap().0;
    assert_eq!(read.jkt, Thumbprint::of_ed25519(&raw));
}

#[test]
fn what_a_library_would_accept_is_refused() {
    let option = |name: &str| line(|request| request.critical_options.push((name.into(), "x".into())));
    for (name, text, wanted) in [
        ("a host certificate", line(|request| request.host_certificate = true), "certificate.not_a_user"),
        ("no principals", line(|request| request.principals.clear()), "certificate.no_principals"),
        ("force-command", option("force-command"), "certificate.critical_option"),
        ("verify-required", option("verify-required"), "certificate.critical_option"),
        ("an invented option", option("only-on-sundays@example.org"), "certificate.critical_option"),
        ("an option in capitals", option("Source-Address"), "certificate.critical_option"),
        ("no delegation", line(|request| request.delegation = None), "certificate.no_delegation"),
        ("an empty delegation", line(|request| request.delegation = Some(String::new())), "certificate.no_delegation"),
        ("a key id that is no session", line(|request| request.key_id = "alice".into()), "certificate.key_id"),
        ("an empty key id", line(|request| request.key_id = String::new()), "certificate.key_id"),
        (
            "a key id that is a path",
            line(|request| request.key_id = "../../../../../../etc".into()),
            "certificate.key_id",
        ),
    ] {
        assert_eq!(code(&text), wanted, "{name}");
    }
}

#[test]
fn only_the_trusted_ca_and_its_own_signature_count() {
    let other = KeyPair::from_seed([3; 32]);
    assert_eq!(code(&certify(&other, session_key().public(), &request())), "certificate.unknown_ca");
    assert_eq!(code(&certify(&session_key(), session_key().public(), &request())), "certificate.unknown_ca");
    let read = SessionCertificate::read(&line(|_| ())).unwrap();
    assert_eq!(read.verify(&[], NOW, MOST).unwrap_err().code(), "certificate.unknown_ca");
}

#[test]
fn times_bind_at_both_ends() {
    let times = |after: u64, before: u64| line(|request| (request.valid_after, request.valid_before) = (after, before));
    for (name, text, wanted) in [
        ("from this second", times(NOW, NOW + 1), "accepted"),
        ("as long as may be", times(NOW, NOW + MOST), "accepted"),
        ("expired", times(NOW - 60, NOW - 1), "certificate.time"),
        ("expired this second", times(NOW - 60, NOW), "certificate.time"),
        ("not yet", times(NOW + 1, NOW + 60), "certificate.time"),
        ("too long", times(NOW, NOW + MOST + 1), "certificate.too_long"),
        ("too long, long begun", times(0, NOW + 1), "certificate.too_long"),
        ("for ever, as the library counts", times(0, i64::MAX as u64), "certificate.too_long"),
    ] {
        assert_eq!(code(&text), wanted, "{name}");
    }
}

#[test]
fn a_line_is_one_certificate_of_bounded_length() {
    let good = line(|_| ());
    let (kind, base64) = good.split_once(' ').unwrap();
    let key = session_key().public_line().unwrap();
    for (name, text) in [
        ("nothing", String::new()),
        ("a plain key", key),
        ("no type", base64.to_owned()),
        ("another type", format!("ecdsa-sha2-nistp256-cert-v01@openssh.com {base64}")),
        ("a plain key's type", format!("ssh-ed25519 {base64}")),
        ("cut short", good[..good.len() - 8].to_owned()),
        ("more behind it", format!("{kind} {base64}AAAA")),
        ("options before it", format!("cert-authority {good}")),
        ("not base64", format!("{kind} !!!!")),
        ("48 KiB and one", format!("{good} {}", "x".repeat(48 * 1024 - good.len()))),
    ] {
        assert_eq!(code(&text), "certificate.malformed", "{name}");
    }
    assert_eq!(code(&format!("{good} {}", "x".repeat(48 * 1024 - good.len() - 1))), "accepted");
}

#[test]
fn a_ca_line_that_is_no_key_has_no_fingerprint() {
    for line in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "x"] {
        assert!(ca_fingerprint(line).is_err(), "{line:?}");
    }
}

#[test]
fn length_fields_that_the_library_passes_over_are_read() {
    let good = line(|_| ());
    let mut changed = 0;
    // The length of the session key within the certificate: 56 bytes in, 33 characters of type before.
    for at in 33 + 56 / 3 * 4..33 + 60 / 3 * 4 {
        for to in [b'B', b'z', b'/'] {
            let mut bytes = good.clone().into_bytes();
            if std::mem::replace(&mut bytes[at], to) != to {
                changed += 1;
                assert_ne!(code(&String::from_utf8(bytes).unwrap()), "accepted", "{at}");
            }
        }
    }
    assert!(changed > 12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_single_changed_character_is_refused(at: prop::sample::Index, to in 0x21_u8..0x7f) {
        let good = line(|_| ());
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert_ne!(code(&String::from_utf8(bytes).unwrap()), "accepted");
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}", blob in prop::collection::vec(any::<u8>(), 0..300)) {
        use base64ct::{Base64, Encoding};
        prop_assert_ne!(code(&text), "accepted");
        prop_assert_ne!(code(&format!("ssh-ed25519-cert-v01@openssh.com {}", Base64::encode_string(&blob))), "accepted");
        let _ = ca_fingerprint(&text);
    }
}
