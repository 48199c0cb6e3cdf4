//! The same checks against certificates that OpenSSH's own ssh-keygen made.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tether_identity::Thumbprint;
use tether_sshcert::{SessionCertificate, ca_fingerprint};

const SESSION: &str = "0123456789abcdef";
const MOST: u64 = 3600;
const PRINCIPALS: &str = "ag-triage-1,tether://secops/triage/alice@example.org";

struct Keys(TempDir);

impl Keys {
    /// `None`, with a word about it, on a machine that has no ssh-keygen.
    fn make() -> Option<Self> {
        if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_err() {
            eprintln!("skipped: ssh-keygen is not installed (package openssh-client)");
            return None;
        }
        let keys = Self(tempfile::tempdir().unwrap());
        for (name, kind) in [("ca", "ed25519"), ("other-ca", "ed25519"), ("user", "ed25519")] {
            keys.generate(name, &["-t", kind]);
        }
        Some(keys)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn generate(&self, name: &str, kind: &[&str]) {
        run(Command::new("ssh-keygen").args(kind).args(["-q", "-N", "", "-C", "", "-f", &self.path(name)]));
    }

    fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    fn certify(&self, ca: &str, subject: &str, arguments: &[&str]) -> String {
        run(Command::new("ssh-keygen")
            .args(["-q", "-s", &self.path(ca), "-z", "7"])
            .args(arguments)
            .arg(self.path(&format!("{subject}.pub"))));
        std::fs::read_to_string(Path::new(&self.path(&format!("{subject}-cert.pub")))).unwrap()
    }

    /// As central would make it, with some arguments more.
    fn session(&self, more: &[&str]) -> String {
        let usual = ["-I", SESSION, "-n", PRINCIPALS, "-V", "-1m:+10m", "-O", "extension:delegation@tether=a.b.c"];
        self.certify("ca", "user", &[&usual, more].concat())
    }

    fn code(&self, line: &str) -> &'static str {
        let trusted = [ca_fingerprint(&self.public("ca")).unwrap()];
        match SessionCertificate::read(line).and_then(|read| read.verify(&trusted, now(), MOST)) {
            Ok(()) => "accepted",
            Err(error) => error.code(),
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn fingerprint(path: &str) -> String {
    let output = Command::new("ssh-keygen").args(["-l", "-f", path]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_certificate_of_ssh_keygen_is_read_as_ssh_keygen_means_it() {
    let Some(keys) = Keys::make() else { return };
    let line = keys.session(&["-O", "source-address=10.0.0.0/8"]);
    assert_eq!(keys.code(&line), "accepted");
    let read = SessionCertificate::read(&line).unwrap();
    assert_eq!((read.session.as_str(), read.serial(), read.delegation.as_str()), (SESSION, 7, "a.b.c"));
    assert_eq!(read.principals().join(","), PRINCIPALS);
    assert_eq!(read.source_addresses(), ["10.0.0.0/8"]);
    assert_eq!(read.key(), fingerprint(&keys.path("user.pub")));
    assert_eq!(read.ca(), fingerprint(&keys.path("ca.pub")));
}

#[test]
fn forms_that_ssh_keygen_makes_and_no_session_has_are_refused() {
    let Some(keys) = Keys::make() else { return };
    let token = "extension:delegation@tether=a.b.c";
    let certify = |arguments: &[&str]| keys.certify("ca", "user", arguments);
    for (name, line, wanted) in [
        ("a host certificate", certify(&["-h", "-I", SESSION, "-n", "web-01", "-V", "+5m"]), "certificate.not_a_user"),
        ("no principals", certify(&["-I", SESSION, "-V", "+5m", "-O", token]), "certificate.no_principals"),
        ("force-command", keys.session(&["-O", "force-command=/bin/true"]), "certificate.critical_option"),
        ("verify-required", keys.session(&["-O", "verify-required"]), "certificate.critical_option"),
        ("an invented option", keys.session(&["-O", "critical:x@example.org=1"]), "certificate.critical_option"),
        (
            "an invented option without value",
            keys.session(&["-O", "critical:x@example.org"]),
            "certificate.critical_option",
        ),
        ("no delegation", certify(&["-I", SESSION, "-n", PRINCIPALS, "-V", "+5m"]), "certificate.no_delegation"),
        (
            "a key id that is no session",
            certify(&["-I", "alice", "-n", PRINCIPALS, "-V", "+5m", "-O", token]),
            "certificate.key_id",
        ),
    ] {
        assert_eq!(keys.code(&line), wanted, "{name}");
    }
}

#[test]
fn another_ca_is_refused_and_so_are_wrong_times() {
    let Some(keys) = Keys::make() else { return };
    let usual = ["-I", SESSION, "-n", PRINCIPALS, "-O", "extension:delegation@tether=a.b.c", "-V"];
    let times = |ca: &str, times: &str| keys.certify(ca, "user", &[&usual[..], &[times]].concat());
    for (name, line, wanted) in [
        ("from another CA", times("other-ca", "+5m"), "certificate.unknown_ca"),
        ("expired", times("ca", "-2h:-1h"), "certificate.time"),
        ("not yet", times("ca", "+1h:+2h"), "certificate.time"),
        ("too long", times("ca", "-1m:+2h"), "certificate.too_long"),
        ("for ever", times("ca", "always:forever"), "certificate.malformed"),
    ] {
        assert_eq!(keys.code(&line), wanted, "{name}");
    }
}

#[test]
fn a_changed_byte_breaks_the_signature() {
    let Some(keys) = Keys::make() else { return };
    let line = keys.session(&[]);
    let changed = |from: &[u8], to: &[u8]| {
        use base64ct::{Base64, Encoding};
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut blob = Base64::decode_vec(words[1]).unwrap();
        let at = blob.windows(from.len()).rposition(|window| window == from).unwrap();
        blob[at..at + to.len()].copy_from_slice(to);
        format!("{} {}", words[0], Base64::encode_string(&blob))
    };
    assert_eq!(keys.code(&changed(b"a.b.c", b"a.b.d")), "certificate.signature");
    assert_eq!(keys.code(&changed(b"alice@", b"blice@")), "certificate.signature");
    assert_eq!(keys.code(&changed(SESSION.as_bytes(), b"1123456789abcdef")), "certificate.signature");
    assert_eq!(keys.code(&changed(b"permit-pty", b"permit-ptz")), "certificate.signature");
}

#[test]
fn session_keys_are_ed25519_or_p256_and_nothing_else() {
    let Some(keys) = Keys::make() else { return };
    let usual = ["-I", SESSION, "-n", PRINCIPALS, "-V", "+5m", "-O", "extension:delegation@tether=a.b.c"];
    for (name, kind, wanted) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..], "certificate.key_type"),
        ("p384", &["-t", "ecdsa", "-b", "384"], "certificate.key_type"),
        ("p256", &["-t", "ecdsa", "-b", "256"], "accepted"),
    ] {
        keys.generate(name, kind);
        assert_eq!(keys.code(&keys.certify("ca", name, &usual)), wanted, "{name}");
    }
}

#[test]
fn the_thumbprint_of_a_p256_key_is_that_of_its_two_coordinates() {
    use base64ct::{Base64, Encoding};
    let Some(keys) = Keys::make() else { return };
    keys.generate("p256", &["-t", "ecdsa", "-b", "256"]);
    let line =
        keys.certify("ca", "p256", &["-I", SESSION, "-n", "x", "-V", "+5m", "-O", "extension:delegation@tether=t"]);
    let blob = Base64::decode_vec(keys.public("p256").split(' ').nth(1).unwrap()).unwrap();
    let (x, y) = blob[blob.len() - 64..].split_at(32);
    let wanted = Thumbprint::of_p256(x.try_into().unwrap(), y.try_into().unwrap());
    assert_eq!(SessionCertificate::read(&line).unwrap().jkt, wanted);
}

#[test]
fn a_ca_of_another_kind_is_judged_by_its_signature() {
    let Some(keys) = Keys::make() else { return };
    for (name, kind, wanted) in [
        ("rsa-ca", &["-t", "rsa", "-b", "2048"][..], "certificate.signature"),
        ("p256-ca", &["-t", "ecdsa", "-b", "256"], "accepted"),
    ] {
        keys.generate(name, kind);
        let line =
            keys.certify(name, "user", &["-I", SESSION, "-n", "x", "-V", "+5m", "-O", "extension:delegation@tether=t"]);
        let trusted = [ca_fingerprint(&keys.public(name)).unwrap()];
        let checked = SessionCertificate::read(&line).unwrap().verify(&trusted, now(), MOST);
        assert_eq!(checked.map_or_else(|error| error.code(), |()| "accepted"), wanted, "{name}");
    }
}
