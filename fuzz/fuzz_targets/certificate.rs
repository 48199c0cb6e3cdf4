#![no_main]

use base64ct::{Base64, Encoding};
use libfuzzer_sys::fuzz_target;
use tether_sshcert::SessionCertificate;

fn check(line: &str) {
    if let Ok(read) = SessionCertificate::read(line) {
        assert!(!read.principals().is_empty() && !read.delegation.is_empty());
        assert!(read.verify(&[], 1_800_000_000, 3600).is_err());
        let trusted = [read.ca()];
        let _ = read.verify(&trusted, 1_800_000_000, 3600);
        let _ = (read.source_addresses(), read.key());
    }
    let _ = tether_sshcert::ca_fingerprint(line);
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
    }
    for kind in ["ssh-ed25519", "ecdsa-sha2-nistp256"] {
        check(&format!("{kind}-cert-v01@openssh.com {}", Base64::encode_string(data)));
    }
});
