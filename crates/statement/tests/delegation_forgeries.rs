//! Every way in which a delegation token may be wrong, and the code that it is refused with.

mod common;

use base64ct::{Base64UrlUnpadded, Encoding};
use common::{FIRST, JKT, LEEWAY, MOST, NOW, SECOND, claims, host, second_token_signer, signer, trusted};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tether_statement::issue::Signing;
use tether_statement::{Delegation, Role, Typ};

type Case = (&'static str, String, &'static str);

fn code(token: &str) -> String {
    match Delegation::verify(token, trusted(), &host(), NOW, MOST, LEEWAY) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.code(),
    }
}

fn check(cases: Vec<Case>) {
    assert_eq!(code(&signed(&claims())), "accepted");
    for (name, token, wanted) in cases {
        assert_eq!(code(&token), wanted, "{name}");
    }
}

fn signed(claims: &Value) -> String {
    signer(Role::Token).sign(Typ::Delegation, claims).unwrap()
}

fn with(member: &str, value: Value) -> String {
    let mut claims = claims();
    claims[member] = value;
    signed(&claims)
}

fn without(member: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    signed(&claims)
}

fn raw(payload: &[u8]) -> String {
    let header = br#"{"alg":"EdDSA","typ":"delegation+jwt","kid":"token"}"#;
    signer(Role::Token).sign_parts(header, payload).unwrap()
}

fn header(text: &str) -> String {
    signer(Role::Token).sign_parts(text.as_bytes(), claims().to_string().as_bytes()).unwrap()
}

fn actors(depth: usize) -> Value {
    let mut actor = json!({"sub": "triage", "instance": "run-7"});
    for _ in 1..depth {
        actor = json!({"sub": "triage", "instance": "run-7", "act": actor});
    }
    actor
}

/// RFC 2104, for keys of no more than 64 bytes.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| (0..64).map(|at| key.get(at).unwrap_or(&0) ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hs256_keyed_with(secret: &[u8]) -> String {
    let encode = Base64UrlUnpadded::encode_string;
    let header = br#"{"alg":"HS256","typ":"delegation+jwt","kid":"token"}"#;
    let text = format!("{}.{}", encode(header), encode(claims().to_string().as_bytes()));
    format!("{text}.{}", encode(&hmac_sha256(secret, text.as_bytes())))
}

#[test]
fn a_true_token_gives_both_identities() {
    let delegation = Delegation::verify(&signed(&claims()), trusted(), &host(), NOW, MOST, LEEWAY).unwrap();
    assert_eq!(delegation.human.as_str(), "alice@example.org");
    assert_eq!((delegation.agent.as_str(), delegation.instance.as_str()), ("triage", "run-7"));
    assert_eq!((delegation.auth_time, delegation.amr.len()), (NOW - 60, 2));
    assert_eq!(code(&with("act", actors(4))), "accepted");
    assert_eq!(code(&with("unknown_claim", json!({"a": [1]}))), "accepted");
}

#[test]
fn both_halves_of_the_pair_must_stand_in_it() {
    check(vec![
        ("no human", without("sub"), "delegation.no_human"),
        ("the human is null", with("sub", Value::Null), "delegation.no_human"),
        ("the human is empty", with("sub", json!("")), "delegation.no_human"),
        ("the human is a number", with("sub", json!(7)), "delegation.payload"),
        ("the human is malformed", with("sub", json!(" alice@example.org")), "delegation.claim.sub"),
        ("no agent", without("act"), "delegation.no_agent"),
        ("the agent is empty", with("act", json!({"sub": "", "instance": "run-7"})), "delegation.no_agent"),
        ("act names nobody", with("act", json!({"instance": "run-7"})), "delegation.payload"),
        ("no instance", with("act", json!({"sub": "triage"})), "delegation.claim.act.instance"),
        (
            "the instance is empty",
            with("act", json!({"sub": "triage", "instance": ""})),
            "delegation.claim.act.instance",
        ),
        ("no client", without("cid"), "delegation.no_agent"),
        ("the client is empty", with("cid", json!("")), "delegation.no_agent"),
        ("the client is another agent", with("cid", json!("deploy")), "delegation.cid_is_not_actor"),
        ("five actors", with("act", actors(5)), "delegation.too_deep"),
        ("a hundred and fifty actors", with("act", actors(150)), "delegation.unknown_key"),
    ]);
}

#[test]
fn no_claim_may_be_empty_or_missing() {
    for (member, wanted) in [
        ("iss", "delegation.unknown_issuer"),
        ("aud", "delegation.other_host"),
        ("jti", "delegation.claim.jti"),
        ("session", "delegation.claim.session"),
        ("team", "delegation.claim.team"),
        ("bundle", "delegation.claim.bundle"),
    ] {
        assert_eq!(code(&with(member, json!(""))), wanted, "{member} is empty");
    }
    assert_eq!(code(&without("iss")), "delegation.unknown_key");
    for member in ["aud", "exp", "iat", "jti", "cnf", "auth_time", "amr", "session", "team", "bundle"] {
        assert_eq!(code(&without(member)), "delegation.payload", "without {member}");
    }
}

#[test]
fn an_issuer_speaks_only_for_its_own_humans_with_its_own_key() {
    let second = |claims: &Value| second_token_signer().sign(Typ::Delegation, claims).unwrap();
    let mut of_second = claims();
    of_second["iss"] = json!(SECOND);
    let same_human = second(&of_second);
    of_second["sub"] = json!("bob@second.example");
    assert_eq!(code(&second(&of_second)), "accepted");
    let stolen_name = Signing::from_seed("token", [7; 32]).sign(Typ::Delegation, &claims()).unwrap();
    check(vec![
        ("a namespace that nobody owns", with("sub", json!("alice@other.org")), "delegation.namespace"),
        ("no namespace", with("sub", json!("alice")), "delegation.namespace"),
        ("a namespace below", with("sub", json!("alice@eu.example.org")), "delegation.namespace"),
        ("the same human from the second issuer", same_human, "delegation.namespace"),
        ("an unknown issuer", with("iss", json!("https://evil.example")), "delegation.unknown_issuer"),
        ("the first issuer's name under the second's kid", second(&claims()), "delegation.unknown_key"),
        ("the second issuer's name under the first's kid", signed(&of_second), "delegation.unknown_key"),
        ("the first issuer's kid over the second's key", stolen_name, "delegation.signature"),
    ]);
}

#[test]
fn no_other_algorithm_or_header_is_accepted() {
    let none = header(r#"{"alg":"none","typ":"delegation+jwt"}"#);
    let bare = format!("{}.", none.rsplit_once('.').unwrap().0);
    let public = signer(Role::Token).public();
    let with_member =
        |member: &str| header(&format!(r#"{{"alg":"EdDSA","typ":"delegation+jwt","kid":"token",{member}}}"#));
    let with_typ = |typ: &str| header(&format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"token"}}"#));
    check(vec![
        ("no algorithm, signed", none, "delegation.algorithm"),
        ("no algorithm, not signed", bare, "delegation.algorithm"),
        ("HS256 keyed with the public key's bytes", hs256_keyed_with(public.as_bytes()), "delegation.algorithm"),
        (
            "HS256 keyed with the public key's text",
            hs256_keyed_with(public.to_string().as_bytes()),
            "delegation.algorithm",
        ),
        ("ES256", header(r#"{"alg":"ES256","typ":"delegation+jwt","kid":"token"}"#), "delegation.algorithm"),
        (
            "the algorithm in lower case",
            header(r#"{"alg":"eddsa","typ":"delegation+jwt","kid":"token"}"#),
            "delegation.algorithm",
        ),
        ("no typ", header(r#"{"alg":"EdDSA","kid":"token"}"#), "delegation.typ"),
        ("a plain JWT", with_typ("JWT"), "delegation.typ"),
        ("an access token", with_typ("at+jwt"), "delegation.typ"),
        ("a grant's typ", with_typ(Typ::Grant.as_str()), "delegation.typ"),
        ("no kid", header(r#"{"alg":"EdDSA","typ":"delegation+jwt"}"#), "delegation.header"),
        ("a key of its own", with_member(r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}"#), "delegation.header"),
        ("a critical member", with_member(r#""crit":["b64"]"#), "delegation.header"),
        ("a payload that is not encoded", with_member(r#""b64":false"#), "delegation.header"),
        ("kid twice", with_member(r#""kid":"token-2""#), "delegation.header"),
        ("alg twice", with_member(r#""alg":"EdDSA""#), "delegation.header"),
        ("a header that is no object", header(r#"["EdDSA","delegation+jwt","token"]"#), "delegation.algorithm"),
        ("a header that is no JSON", header("x"), "delegation.header"),
    ]);
}

#[test]
fn a_signature_by_any_other_key_is_refused() {
    let other = Signing::from_seed("token", [9; 32]).sign(Typ::Delegation, &claims()).unwrap();
    let token = signed(&claims());
    let (text, _) = token.rsplit_once('.').unwrap();
    let of_another = signed(&json!({"iss": FIRST}));
    check(vec![
        ("an unknown key under a known kid", other, "delegation.signature"),
        (
            "the signature of another token",
            format!("{text}.{}", of_another.rsplit_once('.').unwrap().1),
            "delegation.signature",
        ),
        ("a signature of zeros", format!("{text}.{}", "A".repeat(86)), "delegation.signature"),
        ("no signature", format!("{text}."), "delegation.malformed"),
        ("half a signature", format!("{text}.{}", "A".repeat(43)), "delegation.malformed"),
    ]);
}

#[test]
fn times_bind_at_both_ends() {
    let times = |iat: u64, exp: u64| {
        let mut claims = claims();
        (claims["iat"], claims["exp"]) = (json!(iat), json!(exp));
        signed(&claims)
    };
    assert_eq!(code(&times(NOW + LEEWAY, NOW + 60)), "accepted");
    assert_eq!(code(&times(NOW, NOW + MOST)), "accepted");
    check(vec![
        ("expired", with("exp", json!(NOW - 1)), "delegation.expired"),
        ("expired this second", with("exp", json!(NOW)), "delegation.expired"),
        ("issued later", times(NOW + LEEWAY + 1, NOW + 60), "delegation.not_yet"),
        ("not before later", with("nbf", json!(NOW + LEEWAY + 1)), "delegation.not_yet"),
        ("too long-lived", times(NOW, NOW + MOST + 1), "delegation.too_long"),
        ("too long-lived with a late nbf", with("exp", json!(NOW + MOST)), "delegation.too_long"),
        ("for ever", times(0, u64::MAX), "delegation.too_long"),
        ("a negative time", with("iat", json!(-1)), "delegation.payload"),
        ("a time with a fraction", with("exp", json!(1_800_000_600.5)), "delegation.payload"),
        ("a time as text", with("exp", json!("1800000600")), "delegation.payload"),
    ]);
}

#[test]
fn it_is_for_one_host_and_one_key() {
    check(vec![
        ("another host", with("aud", json!("web-02")), "delegation.other_host"),
        ("a longer name", with("aud", json!("web-01.example.org")), "delegation.other_host"),
        ("the name in capitals", with("aud", json!("WEB-01")), "delegation.other_host"),
        ("two hosts", with("aud", json!(["web-01", "web-02"])), "delegation.payload"),
        ("a second member in cnf", with("cnf", json!({"jkt": JKT, "kid": "x"})), "delegation.payload"),
        ("the whole key in cnf", with("cnf", json!({"jwk": {"kty": "OKP"}})), "delegation.payload"),
        ("an empty cnf", with("cnf", json!({})), "delegation.payload"),
        ("an empty thumbprint", with("cnf", json!({"jkt": ""})), "delegation.claim.cnf"),
        (
            "a fingerprint as ssh prints it",
            with("cnf", json!({"jkt": "SHA256:uNiVztksCsDhcc0u9e8BrNw8Z2mCPmYEEu5RxlNVGQ0"})),
            "delegation.claim.cnf",
        ),
        ("a thumbprint with padding", with("cnf", json!({"jkt": format!("{JKT}=")})), "delegation.claim.cnf"),
    ]);
}

#[test]
fn what_is_not_one_compact_jws_is_refused() {
    let token = signed(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let mut not_utf8 = claims().to_string().into_bytes();
    let at = not_utf8.iter().position(|byte| *byte == b'r').unwrap();
    not_utf8[at] = 0xff;
    let twice = |member: &str| raw(claims().to_string().replacen('{', &format!("{{{member},"), 1).as_bytes());
    let trailing = raw(format!("{} x", claims()).as_bytes());
    check(vec![
        ("a payload that is not UTF-8", raw(&not_utf8), "delegation.unknown_key"),
        ("sub twice", twice(r#""sub":"mallory@example.org""#), "delegation.payload"),
        ("iss twice", twice(r#""iss":"https://idp.second.example""#), "delegation.payload"),
        ("exp twice", twice(r#""exp":1"#), "delegation.payload"),
        ("cnf twice", twice(r#""cnf":{"jkt":"x"}"#), "delegation.payload"),
        ("padding after the signature", format!("{token}="), "delegation.malformed"),
        ("padding after the header", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), "delegation.malformed"),
        ("padding after the payload", format!("{}.{}=.{}", parts[0], parts[1], parts[2]), "delegation.unknown_key"),
        (
            "the other base64 alphabet",
            format!("{}.{}.+/{}", parts[0], parts[1], &parts[2][2..]),
            "delegation.malformed",
        ),
        ("a newline at the end", format!("{token}\n"), "delegation.malformed"),
        ("a blank in front", format!(" {token}"), "delegation.malformed"),
        ("a fourth part", format!("{token}.AA"), "delegation.malformed"),
        ("garbage behind the payload's JSON", trailing, "delegation.unknown_key"),
        ("two parts", format!("{}.{}", parts[0], parts[1]), "delegation.malformed"),
        ("nothing", String::new(), "delegation.malformed"),
        ("dots", "..".to_owned(), "delegation.header"),
        (
            "the JSON form",
            format!(r#"{{"payload":"{}","protected":"{}","signature":"{}"}}"#, parts[1], parts[0], parts[2]),
            "delegation.malformed",
        ),
        ("300 KiB", with("padding", json!("a".repeat(300 * 1024))), "delegation.malformed"),
    ]);
}

#[test]
fn a_list_is_never_read_as_an_object() {
    check(vec![
        ("cnf as a list", with("cnf", json!([JKT])), "delegation.payload"),
        ("act as a list", with("act", json!(["triage", "run-7"])), "delegation.payload"),
        (
            "an inner act as a list",
            with("act", json!({"sub": "triage", "instance": "run-7", "act": ["a", "b"]})),
            "delegation.payload",
        ),
    ]);
}

#[test]
fn a_token_that_ends_before_it_begins_is_refused() {
    let times = |iat: u64, exp: u64| {
        let mut claims = claims();
        (claims["iat"], claims["exp"]) = (json!(iat), json!(exp));
        signed(&claims)
    };
    check(vec![
        ("exp before iat", times(NOW + 20, NOW + 10), "delegation.claim.exp"),
        ("exp is iat", times(NOW + 20, NOW + 20), "delegation.claim.exp"),
        (
            "exp before nbf",
            {
                let mut claims = claims();
                (claims["nbf"], claims["exp"]) = (json!(NOW + 20), json!(NOW + 10));
                signed(&claims)
            },
            "delegation.claim.exp",
        ),
    ]);
}

#[test]
fn nobody_signs_in_after_the_token_was_issued() {
    assert_eq!(code(&with("auth_time", json!(NOW - 10 + LEEWAY))), "accepted");
    assert_eq!(code(&with("auth_time", json!(NOW - 9 + LEEWAY))), "delegation.claim.auth_time");
}
