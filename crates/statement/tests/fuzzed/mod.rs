//! What must hold for any input. The fuzz target and the ordinary tests run this same body.

use std::sync::LazyLock;
use tether_identity::HostId;
use tether_statement::issue::Signing;
use tether_statement::{
    Body, BundleConfirmation, FeedStatement, Head, Key, KeySet, Position, PublicKey, Resume, Role, TrustedKeys, Typ,
    digest,
};

const TYPS: [Typ; 7] = [Typ::Keys, Typ::Grant, Typ::Revocation, Typ::Pin, Typ::Head, Typ::Resume, Typ::Confirmation];

fn signer(role: Role) -> Signing {
    Signing::from_seed("key", [role as u8 + 1; 32])
}

fn roots() -> std::collections::BTreeMap<String, PublicKey> {
    [("key".to_owned(), signer(Role::Root).public())].into()
}

fn trusted() -> &'static TrustedKeys {
    static TRUSTED: LazyLock<TrustedKeys> = LazyLock::new(|| {
        let key = |role| Key { kid: format!("{role:?}"), role, x: signer(role).public() };
        let set = KeySet {
            version: 1,
            issued_at: 0,
            expires_at: 2_000_000_000,
            keys: [Role::Feed, Role::Grant, Role::Revocation, Role::Bundle].map(key).to_vec(),
            issuers: vec![],
            user_ca: vec![],
        };
        TrustedKeys::verify(&signer(Role::Root).sign(Typ::Keys, &set).expect("JSON"), &roots()).expect("a key set")
    });
    &TRUSTED
}

/// As how many things bytes are taken: as a compact JWS; or as a payload, which the key of each role signs as what it may sign: what is taken as one thing is
/// nothing else, is for this host, and stands where the feed stands.
pub fn any_statement(bytes: &[u8]) -> usize {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(taken(text, None), 0, "nobody signed this");
    }
    let mut all = 0;
    for typ in TYPS {
        let kid = if typ == Typ::Keys { "key".to_owned() } else { format!("{:?}", typ.role()) };
        let header = serde_json::json!({"alg": "EdDSA", "typ": typ.as_str(), "kid": kid}).to_string();
        let text = signer(typ.role()).sign_parts(header.as_bytes(), bytes).expect("two parts");
        let count = taken(&text, Some(typ));
        assert!(count <= 1, "one text is two things");
        all += count;
    }
    all
}

/// As how many things a text is taken.
fn taken(text: &str, typ: Option<Typ>) -> usize {
    let (host, start) = ("web-01".parse::<HostId>().expect("a host"), Position::start());
    let statement = FeedStatement::verify(text, trusted(), &host, &start).ok();
    if let Some(statement) = &statement {
        assert_eq!(statement.position, Position { number: 1, hash: digest(text) });
        let fits = match statement.body {
            Body::Grant(_) => Typ::Grant,
            Body::Revocation(_) => Typ::Revocation,
            Body::Pin(_) => Typ::Pin,
        };
        assert_eq!(Some(fits), typ);
    }
    let head = Head::verify(text, trusted(), &host).ok();
    assert!(head.as_ref().is_none_or(|head| head.host == host && typ == Some(Typ::Head)));
    let resume = Resume::verify(text, trusted(), &host).ok();
    assert!(resume.as_ref().is_none_or(|resume| resume.host == host && typ == Some(Typ::Resume)));
    let word = trusted().verify_statement::<BundleConfirmation>(text, Typ::Confirmation).ok();
    assert!(word.is_none() || typ == Some(Typ::Confirmation));
    let keys = TrustedKeys::verify(text, &roots()).ok();
    assert!(keys.is_none() || typ == Some(Typ::Keys));
    [statement.is_some(), head.is_some(), resume.is_some(), word.is_some(), keys.is_some()]
        .into_iter()
        .filter(|taken| *taken)
        .count()
}
