//! One host's keys and the second within which everything is valid.

use std::sync::LazyLock;
use tether_statement::issue::Signing;
use tether_statement::{Issuer, Key, KeySet, Role, TrustedKeys, Typ};

pub const NOW: u64 = 1_800_000_000;

pub fn token_key() -> Signing {
    Signing::from_seed("token", [6; 32])
}

pub fn trusted() -> &'static TrustedKeys {
    static TRUSTED: LazyLock<TrustedKeys> = LazyLock::new(|| {
        let root = Signing::from_seed("root", [1; 32]);
        let set = KeySet {
            version: 1,
            issued_at: NOW,
            expires_at: NOW + 1000,
            keys: vec![Key { kid: "token".to_owned(), role: Role::Token, x: token_key().public() }],
            issuers: vec![Issuer {
                iss: "https://idp.example.org".to_owned(),
                namespaces: vec!["@example.org".to_owned()],
                kids: vec!["token".to_owned()],
            }],
            user_ca: vec![],
        };
        let roots = [("root".to_owned(), root.public())].into();
        TrustedKeys::verify(&root.sign(Typ::Keys, &set).unwrap(), &roots).unwrap()
    });
    &TRUSTED
}
