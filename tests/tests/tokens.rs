//! Bad papers against the running central, over HTTP: each is refused with the standard's error, a code and a status,
//! changes nothing, and is on record. The sign-ins are a real provider's; what is forged is forged with its own key.
#![expect(clippy::unit_arg, reason = "a forgery is one change, and reads best on one line")]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tether_centrallink::wire::Exchanged;
use tether_oauth::{ASSERTION_TYP, TOKEN_TYPE_ACCESS, TOKEN_TYPE_JWT};
use tether_tests::central::now;
use tether_tests::courier::Courier;
use tether_tests::door::Said;
use tether_tests::papers::{CERTIFICATE, Papers, TOKEN, World, opened};
use tether_tests::provider::{ALICE, CAROL, DAVE};
use tether_tests::realm::Realm;

type Change = for<'w> fn(&mut Papers<'w>, &'w World) -> Result<()>;
/// What is wrong, the standard's error, our code, and how to make it so.
type Row = (&'static str, &'static str, &'static str, Change);

const REQUEST: &str = "invalid_request";
const TARGET: &str = "invalid_target";

fn forms() -> Vec<Row> {
    vec![
        ("no grant type", REQUEST, "request.no_grant_type", |p, _| Ok(p.form = vec![("grant_type", None)])),
        ("another grant type", "unsupported_grant_type", "request.grant_type", |p, _| {
            Ok(p.form = vec![("grant_type", Some("client_credentials".to_owned()))])
        }),
        ("no subject token: an agent without a human", REQUEST, "request.no_subject_token", |p, _| {
            Ok(p.form = vec![("subject_token", None)])
        }),
        ("no actor token: a human without an agent", REQUEST, "request.no_actor_token", |p, _| {
            Ok(p.form = vec![("actor_token", None)])
        }),
        ("no type of the subject token", REQUEST, "request.no_subject_token_type", |p, _| {
            Ok(p.form = vec![("subject_token_type", None)])
        }),
        ("no type of the actor token", REQUEST, "request.no_actor_token_type", |p, _| {
            Ok(p.form = vec![("actor_token_type", None)])
        }),
        ("a subject token of an unknown type", REQUEST, "request.subject_token_type", |p, _| {
            Ok(p.form = vec![("subject_token_type", Some(TOKEN_TYPE_JWT.to_owned()))])
        }),
        ("an actor token of an unknown type", REQUEST, "request.actor_token_type", |p, _| {
            Ok(p.form = vec![("actor_token_type", Some(TOKEN_TYPE_ACCESS.to_owned()))])
        }),
        ("another type is wanted", REQUEST, "request.requested_token_type", |p, _| {
            Ok(p.form = vec![("requested_token_type", Some("urn:ietf:params:oauth:token-type:saml2".to_owned()))])
        }),
        ("no host", REQUEST, "request.no_audience", |p, _| Ok(p.form = vec![("audience", None)])),
        (
            "a malformed host",
            TARGET,
            "request.audience",
            |p, _| Ok(p.form = vec![("audience", Some("a b".to_owned()))]),
        ),
        ("an unknown host", TARGET, "host.unknown", |p, _| Ok(p.form = vec![("audience", Some("db-01".to_owned()))])),
        ("two hosts", REQUEST, "request.twice", |p, _| Ok(p.appended = "&audience=web-02".to_owned())),
        ("the host as a resource", TARGET, "request.resource", |p, _| {
            Ok(p.appended = "&resource=https%3A%2F%2Fweb-01".to_owned())
        }),
        ("an unknown scope", "invalid_scope", "request.scope", |p, _| Ok(p.appended = "&scope=admin".to_owned())),
        ("a bundle that is not permitted", "invalid_scope", "access.other_bundle", |p, _| {
            Ok(p.appended = "&scope=bundle%3Aeverything".to_owned())
        }),
        ("no percent-encoding", REQUEST, "request.form", |p, _| Ok(p.appended = "&x=%zz".to_owned())),
    ]
}

fn subject_headers() -> Vec<Row> {
    vec![
        ("alg none", REQUEST, "subject.algorithm", |p, _| {
            p.subject.head("alg", json!("none"));
            let text = p.subject.text();
            Ok(p.subject.text = text.rsplit_once('.').map(|(signed, _)| format!("{signed}.")))
        }),
        ("no alg", REQUEST, "subject.algorithm", |p, _| Ok(p.subject.head("alg", Value::Null))),
        ("HS256 with the public key as secret", REQUEST, "subject.algorithm", |p, _| {
            Ok(p.subject.head("alg", json!("HS256")))
        }),
        ("RS256 with a key of another kind", REQUEST, "subject.unknown_key", |p, _| {
            Ok(p.subject.head("alg", json!("RS256")))
        }),
        ("ES256 with a key of another kind", REQUEST, "subject.unknown_key", |p, _| {
            Ok(p.subject.head("alg", json!("ES256")))
        }),
        ("an unknown key", REQUEST, "subject.unknown_key", |p, _| Ok(p.subject.head("kid", json!("other")))),
        ("a path as the key's name", REQUEST, "subject.unknown_key", |p, _| {
            Ok(p.subject.head("kid", json!("../../dev/null")))
        }),
        ("the key in the header", REQUEST, "subject.header", |p, w| Ok(p.subject.head("jwk", w.stranger.jwk()))),
        ("the key's address in the header", REQUEST, "subject.header", |p, _| {
            Ok(p.subject.head("jku", json!("https://evil.example/jwks")))
        }),
        ("a critical extension", REQUEST, "subject.header", |p, _| Ok(p.subject.head("crit", json!(["exp"])))),
        ("a delegation's typ", REQUEST, "subject.typ", |p, _| Ok(p.subject.head("typ", json!("delegation+jwt")))),
        ("a logout token's typ", REQUEST, "subject.typ", |p, _| Ok(p.subject.head("typ", json!("logout+jwt")))),
        ("an access token as ID token", REQUEST, "subject.typ", |p, _| Ok(p.subject.head("typ", json!("at+jwt")))),
        ("an ID token as access token", REQUEST, "subject.typ", |p, _| {
            Ok(p.form = vec![("subject_token_type", Some(TOKEN_TYPE_ACCESS.to_owned()))])
        }),
        ("a stranger's signature", REQUEST, "subject.signature", |p, w| Ok(p.subject.key = &w.stranger)),
        ("another token's signature", REQUEST, "subject.signature", |p, w| {
            let text = p.subject.text();
            let (signed, _) = text.rsplit_once('.').context("no signature")?;
            let (_, signature) = w.bob.rsplit_once('.').context("no signature")?;
            Ok(p.subject.text = Some(format!("{signed}.{signature}")))
        }),
        ("no signature", REQUEST, "subject.signature", |p, _| {
            let text = p.subject.text();
            Ok(p.subject.text = text.rsplit_once('.').map(|(signed, _)| format!("{signed}.")))
        }),
        ("a part is missing", REQUEST, "subject.malformed", |p, _| {
            let text = p.subject.text();
            Ok(p.subject.text = text.rsplit_once('.').map(|(signed, _)| signed.to_owned()))
        }),
        ("padding", REQUEST, "subject.malformed", |p, _| Ok(p.subject.text = Some(p.subject.text() + "="))),
        ("a claim twice", REQUEST, "subject.malformed", |p, _| {
            let text = p.subject.text();
            let claims = p.subject.claims.to_string().replacen('{', "{\"email\":\"bob@example.org\",", 1);
            let parts: Vec<&str> = text.split('.').collect();
            let encoded = base64(claims.as_bytes());
            Ok(p.subject.text = Some(format!("{}.{encoded}.{}", parts[0], parts[2])))
        }),
    ]
}

fn subject_claims() -> Vec<Row> {
    vec![
        ("no issuer", REQUEST, "subject.iss", |p, _| Ok(p.subject.claim("iss", Value::Null))),
        ("another issuer", REQUEST, "subject.unknown_issuer", |p, _| {
            Ok(p.subject.claim("iss", json!("https://evil.example")))
        }),
        ("central as the issuer", REQUEST, "subject.unknown_issuer", |p, w| {
            Ok(p.subject.claim("iss", json!(w.door.at(""))))
        }),
        ("an issuer that does not answer", "temporarily_unavailable", "provider.unreachable", |p, w| {
            Ok(p.subject.claim("iss", json!(silent_issuer(w))))
        }),
        ("no sub", REQUEST, "subject.sub", |p, _| Ok(p.subject.claim("sub", Value::Null))),
        ("no audience", REQUEST, "subject.aud", |p, _| Ok(p.subject.claim("aud", Value::Null))),
        ("another client's token", REQUEST, "subject.aud", |p, _| Ok(p.subject.claim("aud", json!("another")))),
        ("central as audience", REQUEST, "subject.aud", |p, w| Ok(p.subject.claim("aud", json!(w.door.at(""))))),
        ("two audiences and no azp", REQUEST, "subject.azp", |p, _| {
            Ok(p.subject.claim("aud", json!(["tether", "another"])))
        }),
        ("made for another client", REQUEST, "subject.azp", |p, _| Ok(p.subject.claim("azp", json!("another")))),
        ("no end", REQUEST, "subject.exp", |p, _| Ok(p.subject.claim("exp", Value::Null))),
        ("stale", REQUEST, "subject.expired", |p, _| Ok(p.subject.claim("exp", json!(now() - 1)))),
        ("an end that is text", REQUEST, "subject.exp", |p, _| Ok(p.subject.claim("exp", json!("2000000000")))),
        ("no issue time", REQUEST, "subject.iat", |p, _| Ok(p.subject.claim("iat", Value::Null))),
        ("issued in the future", REQUEST, "subject.not_yet", |p, _| Ok(p.subject.claim("iat", json!(now() + 200)))),
        ("not valid yet", REQUEST, "subject.not_yet", |p, _| Ok(p.subject.claim("nbf", json!(now() + 200)))),
        ("no time of the sign-in", REQUEST, "subject.auth_time", |p, _| Ok(p.subject.claim("auth_time", Value::Null))),
        ("signed in after it was issued", REQUEST, "subject.auth_time", |p, _| {
            Ok(p.subject.claim("auth_time", json!(now() + 3600)))
        }),
        ("signed in too long ago", TARGET, "access.none", |p, _| Ok(p.subject.claim("auth_time", json!(now() - 7200)))),
        ("one factor", TARGET, "access.none", |p, _| Ok(p.subject.claim("amr", json!(["pwd"])))),
        ("no factors", TARGET, "access.none", |p, _| Ok(p.subject.claim("amr", Value::Null))),
        ("factors that are no list", REQUEST, "subject.amr", |p, _| Ok(p.subject.claim("amr", json!("mfa")))),
        ("no groups", TARGET, "access.none", |p, _| Ok(p.subject.claim("groups", Value::Null))),
        ("groups that are no list", REQUEST, "subject.groups", |p, _| Ok(p.subject.claim("groups", json!("analysts")))),
        ("no name", REQUEST, "subject.email", |p, _| Ok(p.subject.claim("email", Value::Null))),
        ("a name of another namespace", REQUEST, "subject.namespace", |p, _| {
            Ok(p.subject.claim("email", json!("alice@example.net")))
        }),
        ("a name that looks like another", REQUEST, "subject.human", |p, _| {
            Ok(p.subject.claim("email", json!("alice\u{202e}@example.org")))
        }),
        ("an email that was not verified", REQUEST, "subject.email_verified", |p, _| {
            Ok(p.subject.claim("email_verified", json!(false)))
        }),
        ("another acts already", REQUEST, "subject.act", |p, _| Ok(p.subject.claim("act", json!({"sub": "triage"})))),
        ("another acts for one who acts", REQUEST, "subject.act", |p, _| {
            Ok(p.subject.claim("act", json!({"sub": "triage", "act": {"sub": "patch"}})))
        }),
        ("an empty act", REQUEST, "subject.act", |p, _| Ok(p.subject.claim("act", json!({})))),
        ("another agent may act", REQUEST, "subject.may_act", |p, _| {
            Ok(p.subject.claim("may_act", json!({"sub": "patch"})))
        }),
        ("nobody may act", REQUEST, "subject.may_act", |p, _| Ok(p.subject.claim("may_act", json!({})))),
        ("bound to another key", REQUEST, "subject.cnf", |p, w| {
            Ok(p.subject.claim("cnf", json!({"jkt": w.stranger.thumbprint()})))
        }),
        ("bound to no key", REQUEST, "subject.cnf", |p, _| Ok(p.subject.claim("cnf", json!({"x5t": "x"})))),
    ]
}

fn actors() -> Vec<Row> {
    vec![
        ("alg none", REQUEST, "actor.algorithm", |p, _| Ok(p.actor.head("alg", json!("none")))),
        ("a key of another kind", REQUEST, "actor.key_kind", |p, _| Ok(p.actor.head("alg", json!("ES256")))),
        ("the key in the header", REQUEST, "actor.header", |p, w| Ok(p.actor.head("jwk", w.stranger.jwk()))),
        ("no typ", REQUEST, "actor.typ", |p, _| Ok(p.actor.head("typ", Value::Null))),
        ("a stranger's signature", REQUEST, "actor.signature", |p, w| Ok(p.actor.key = &w.stranger)),
        ("another agent's signature", REQUEST, "actor.signature", |p, w| Ok(p.actor.key = &w.other_agent)),
        ("the session key's signature", REQUEST, "actor.signature", |p, w| Ok(p.actor.key = &w.session)),
        ("an agent that is not registered", "invalid_client", "actor.unknown", |p, w| {
            p.actor.claim("iss", json!("nobody"));
            p.actor.claim("sub", json!("nobody"));
            Ok(p.actor.key = &w.stranger)
        }),
        ("no issuer", REQUEST, "actor.iss", |p, _| Ok(p.actor.claim("iss", Value::Null))),
        ("another agent's name as sub", REQUEST, "actor.sub", |p, _| Ok(p.actor.claim("sub", json!("patch")))),
        ("a human as sub", REQUEST, "actor.sub", |p, _| Ok(p.actor.claim("sub", json!("alice@example.org")))),
        ("no audience", REQUEST, "actor.aud", |p, _| Ok(p.actor.claim("aud", Value::Null))),
        ("for another server", REQUEST, "actor.aud", |p, _| Ok(p.actor.claim("aud", json!("https://evil.example")))),
        ("for another server too", REQUEST, "actor.aud", |p, w| {
            Ok(p.actor.claim("aud", json!([w.door.at(""), "https://evil.example"])))
        }),
        ("no end", REQUEST, "actor.exp", |p, _| Ok(p.actor.claim("exp", Value::Null))),
        ("stale", REQUEST, "actor.expired", |p, _| {
            p.actor.claim("iat", json!(now() - 60));
            Ok(p.actor.claim("exp", json!(now() - 1)))
        }),
        ("a long life", REQUEST, "actor.too_long", |p, _| Ok(p.actor.claim("exp", json!(now() + 3600)))),
        ("issued in the future", REQUEST, "actor.not_yet", |p, _| {
            p.actor.claim("iat", json!(now() + 100));
            Ok(p.actor.claim("exp", json!(now() + 150)))
        }),
        ("no jti", REQUEST, "actor.jti", |p, _| Ok(p.actor.claim("jti", Value::Null))),
        ("no instance", REQUEST, "actor.instance", |p, _| Ok(p.actor.claim("instance", Value::Null))),
        ("no key", REQUEST, "actor.cnf", |p, _| Ok(p.actor.claim("cnf", Value::Null))),
        ("for another key", REQUEST, "actor.cnf", |p, w| {
            Ok(p.actor.claim("cnf", json!({"jkt": w.stranger.thumbprint()})))
        }),
        ("it speaks for another", REQUEST, "actor.act", |p, _| Ok(p.actor.claim("act", json!({"sub": "patch"})))),
        ("swapped: the human's token as actor", "invalid_client", "actor.unknown", |p, w| {
            // The provider's name is no agent's.
            p.actor.text = Some(w.alice.clone());
            Ok(())
        }),
        ("swapped: the agent's assertion as subject", REQUEST, "subject.unknown_issuer", |p, _| {
            Ok(p.subject.text = Some(p.actor.text()))
        }),
        ("both are the agent's", REQUEST, "subject.unknown_issuer", |p, w| {
            p.subject.text = Some(w.agent.sign(&json!({"alg": "EdDSA", "typ": ASSERTION_TYP}), &p.actor.claims));
            Ok(())
        }),
    ]
}

const PROOF: &str = "invalid_dpop_proof";

fn proofs() -> Vec<Row> {
    vec![
        ("no proof", PROOF, "proof.none", |p, _| Ok(p.proof = None)),
        ("an old nonce", "use_dpop_nonce", "proof.nonce", |p, _| Ok(p.proof()?.claim("nonce", json!("1.AAAA")))),
        ("no nonce", "use_dpop_nonce", "proof.no_nonce", |p, _| Ok(p.proof()?.claim("nonce", Value::Null))),
        ("alg none", PROOF, "proof.algorithm", |p, _| Ok(p.proof()?.head("alg", json!("none")))),
        ("another typ", PROOF, "proof.typ", |p, _| Ok(p.proof()?.head("typ", json!("JWT")))),
        ("no key", PROOF, "proof.jwk", |p, _| Ok(p.proof()?.head("jwk", Value::Null))),
        ("a stranger's signature", PROOF, "proof.signature", |p, w| Ok(p.proof()?.key = &w.stranger)),
        ("another method", PROOF, "proof.htm", |p, _| Ok(p.proof()?.claim("htm", json!("GET")))),
        ("another path", PROOF, "proof.htu", |p, w| Ok(p.proof()?.claim("htu", json!(w.door.at("/oauth/revoke"))))),
        ("for an access token", PROOF, "proof.ath", |p, _| Ok(p.proof()?.claim("ath", json!("AAAA")))),
        ("no jti", PROOF, "proof.jti", |p, _| Ok(p.proof()?.claim("jti", Value::Null))),
        ("another session's key", REQUEST, "actor.cnf", |p, w| {
            let proof = p.proof()?;
            proof.head("jwk", w.stranger.jwk());
            Ok(proof.key = &w.stranger)
        }),
    ]
}

/// An issuer that central trusts and nobody plays.
fn silent_issuer(world: &World) -> String {
    world.door.at("").replace(":8443", ":9")
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    Base64UrlUnpadded::encode_string(bytes)
}

/// Whether an answer is the refusal that it has to be.
fn check(said: &Said, (error, code): (&str, &str)) -> Result<()> {
    let found = (said.problem.error.as_str(), said.problem.code.as_str());
    ensure!(found == (error, code), "refused as {found:?}: {}", said.problem.error_description);
    let status = match error {
        "invalid_client" | "invalid_token" => 401,
        "insufficient_scope" => 403,
        "temporarily_unavailable" => 503,
        _ => 400,
    };
    ensure!(said.status == status, "the status is {}", said.status);
    ensure!(!said.problem.error_description.is_empty(), "no words");
    Ok(())
}

#[test]
fn every_bad_paper_is_refused_changes_nothing_and_is_on_record() -> Result<()> {
    let mut realm = Realm::without_hosts()?;
    trust_a_silent_issuer(&mut realm)?;
    let courier = Courier::admitted(&realm, "web-01")?;
    ensure!(courier.host == "web-01");
    let world = World::new(&realm)?;

    // The control: what all the rows change is taken, as the provider signed it and signed anew.
    let mut papers = Papers::new(&world)?;
    papers.subject.text = Some(world.alice.clone());
    let issued = issued(&papers.send(&world.door)?)?;
    ensure!(Papers::new(&world)?.send(&world.door)?.status == 200, "valid papers are refused");

    let before = realm.central.ledger()?;
    let mut wanted = Vec::new();
    let tables = [("form", forms()), ("subject", subject_headers()), ("subject", subject_claims())];
    let tables = tables.into_iter().chain([("actor", actors()), ("proof", proofs())]);
    let rows: Vec<(&str, Row)> = tables.flat_map(|(of, rows)| rows.into_iter().map(move |row| (of, row))).collect();
    ensure!(rows.len() >= 100, "{} rows", rows.len());
    for (of, (what, error, code, change)) in &rows {
        let mut papers = Papers::new(&world)?;
        change(&mut papers, &world).with_context(|| format!("{of}: {what}"))?;
        let said = papers.send(&world.door)?;
        check(&said, (error, code)).with_context(|| format!("{of}: {what}"))?;
        ensure!(realm.central.ledger()? == before, "{of}: {what}: something was changed");
        // Who has no nonce yet has done nothing wrong.
        if *error != "use_dpop_nonce" {
            wanted.push(code.to_string());
        }
    }
    let more = [
        what_was_used_is_used_up(&world)?,
        a_delegation_is_no_sign_in_and_no_agent(&world, &issued)?,
        who_has_no_business_here(&realm, &world)?,
    ];
    wanted.extend(more.into_iter().flatten());
    let trail = realm.central.trail()?;
    let refused: Vec<&str> =
        trail.iter().filter(|link| link.event.event == "token.refused").map(|link| link.event.code.as_str()).collect();
    // The replays' first use was no refusal; everything else is on record, in order.
    assert_eq!(refused, wanted.iter().map(String::as_str).collect::<Vec<_>>());
    the_delegation_itself(&realm, &world, &issued)
}

/// `[[providers]]` that nobody answers for.
fn trust_a_silent_issuer(realm: &mut Realm) -> Result<()> {
    let path = realm.central.path("central.toml");
    let settings = std::fs::read_to_string(&path)?;
    let issuer = realm.central.url().replace(":8443", ":9");
    let silent = format!(
        "\n[[providers]]\nissuer = \"{issuer}\"\naudiences = [\"tether\"]\nnamespaces = [\"@example.com\"]\n\
         authority = \"{}\"\n",
        realm.provider.authority().display()
    );
    std::fs::write(path, settings + &silent)?;
    realm.central.kill();
    realm.central.serve()
}

fn issued(said: &Said) -> Result<Exchanged> {
    ensure!(said.status == 200, "{said:?}");
    Ok(serde_json::from_slice(&said.body)?)
}

/// Once each: the proof, and the agent's assertion.
fn what_was_used_is_used_up(world: &World) -> Result<Vec<String>> {
    let papers = Papers::new(world)?;
    ensure!(papers.send(&world.door)?.status == 200);
    check(&papers.send(&world.door)?, (PROOF, "proof.replayed"))?;
    let mut again = Papers::new(world)?;
    again.actor.text = Some(papers.actor.text());
    check(&again.send(&world.door)?, (REQUEST, "actor.replayed"))?;
    Ok(vec!["proof.replayed".to_owned(), "actor.replayed".to_owned()])
}

/// What central itself has issued, in every place where something else belongs.
fn a_delegation_is_no_sign_in_and_no_agent(world: &World, issued: &Exchanged) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for kind in ["id_token", "access_token"] {
        let mut papers = Papers::new(world)?;
        papers.subject.text = Some(issued.access_token.clone());
        papers.form = vec![("subject_token_type", Some(format!("urn:ietf:params:oauth:token-type:{kind}")))];
        check(&papers.send(&world.door)?, (REQUEST, "subject.unknown_issuer"))?;
        codes.push("subject.unknown_issuer".to_owned());
    }
    let mut papers = Papers::new(world)?;
    papers.actor.text = Some(issued.access_token.clone());
    check(&papers.send(&world.door)?, ("invalid_client", "actor.unknown"))?;
    codes.push("actor.unknown".to_owned());
    // With the provider's name on it and the provider's own signature it is still no sign-in.
    let (_, mut claims) = opened(&issued.access_token)?;
    let (header, sign_in) = opened(&world.alice)?;
    for name in ["iss", "aud"] {
        claims[name] = sign_in[name].clone();
    }
    let mut papers = Papers::new(world)?;
    papers.subject.text = Some(world.provider.0.sign(&header, &claims));
    check(&papers.send(&world.door)?, (REQUEST, "subject.act"))?;
    codes.push("subject.act".to_owned());
    Ok(codes)
}

/// Real people, whom no policy names, or who signed in otherwise; an agent that was deactivated.
fn who_has_no_business_here(realm: &Realm, world: &World) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for token in
        [realm.provider.sign_in(&DAVE)?, realm.provider.sign_in(&CAROL)?, realm.provider.sign_in_without_code(&ALICE)?]
    {
        let mut papers = Papers::new(world)?;
        papers.subject.text = Some(token);
        check(&papers.send(&world.door)?, (TARGET, "access.none"))?;
        codes.push("access.none".to_owned());
    }
    realm.central.administer(&["revoke", "agent", "patch"])?;
    let mut papers = Papers::new(world)?;
    papers.actor.key = &world.other_agent;
    papers.actor.claim("iss", json!("patch"));
    papers.actor.claim("sub", json!("patch"));
    check(&papers.send(&world.door)?, ("invalid_client", "actor.unknown"))?;
    codes.push("actor.unknown".to_owned());
    Ok(codes)
}

/// Where the delegation is used: no other token, no other key, not after it was taken back.
fn the_delegation_itself(realm: &Realm, world: &World, issued: &Exchanged) -> Result<()> {
    let before = realm.central.ledger()?;
    let token = issued.access_token.as_str();
    let changed = {
        let (header, mut claims) = opened(token)?;
        claims["sub"] = json!("bob@example.org");
        let (_, signature) = token.rsplit_once('.').context("no signature")?;
        format!("{}.{}.{signature}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()))
    };
    let mut codes = Vec::new();
    for (what, token, key, code) in [
        ("no token", None, &world.session, "token.none"),
        ("the human's token", Some(world.alice.as_str()), &world.session, "token.invalid"),
        ("another human in it", Some(changed.as_str()), &world.session, "token.invalid"),
        ("another's key", Some(token), &world.stranger, "token.other_key"),
    ] {
        let said = certificate(world, token, key)?;
        check(&said, ("invalid_token", code)).with_context(|| what.to_owned())?;
        codes.push(code);
    }
    ensure!(realm.central.ledger()? == before, "a refused certificate changed something");
    // An ID token of an analyst is no admin's, and none at all is nobody's.
    let admin = |token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
        world.door.get("/v1/admin/agents", &[("Authorization", &bearer)])
    };
    check(&admin(Some(&world.alice))?, ("insufficient_scope", "admin.not_permitted"))?;
    check(&admin(Some(token))?, ("invalid_token", "subject.unknown_issuer"))?;
    check(&admin(None)?, ("invalid_token", "admin.none"))?;
    // Given back by its holder (RFC 7009), it is void; by a stranger it is not.
    let give_back = |key: &tether_oauth::issue::PrivateKey| {
        let proof = proof(world, "/oauth/revoke", None, key)?;
        world.door.form("/oauth/revoke", Some(&proof), &[("token", token)])
    };
    check(&give_back(&world.stranger)?, ("invalid_token", "token.other_key"))?;
    ensure!(realm.central.ledger()? == before, "a stranger gave a token back");
    ensure!(give_back(&world.session)?.status == 200);
    check(&certificate(world, Some(token), &world.session)?, ("invalid_token", "token.revoked"))?;
    codes.push("token.revoked");
    let trail = realm.central.trail()?;
    let refused = trail.iter().filter(|link| link.event.event == "certificate.refused");
    assert_eq!(refused.map(|link| link.event.code.as_str()).collect::<Vec<_>>(), codes);
    Ok(())
}

fn certificate(world: &World, token: Option<&str>, key: &tether_oauth::issue::PrivateKey) -> Result<Said> {
    let proof = proof(world, CERTIFICATE, token, key)?;
    let mut headers = vec![("DPoP", proof.as_str()), ("Content-Type", "application/json")];
    let bearer = token.map(|token| format!("DPoP {token}"));
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    world.door.post(CERTIFICATE, &headers, b"{}")
}

fn proof(world: &World, path: &str, token: Option<&str>, key: &tether_oauth::issue::PrivateKey) -> Result<String> {
    let url = world.door.at(path);
    let request = tether_oauth::ProofRequest { method: "POST", url: &url, access_token: token };
    let jti = tether_tests::central::random_name(26)?;
    Ok(key.proof(request, Some(&world.door.nonce()?), &jti, now()))
}

/// A form that is no form, and a body that is too long: before anybody looks at what is in it.
#[test]
fn what_is_no_request_is_refused_as_one() -> Result<()> {
    let realm = Realm::without_hosts()?;
    Courier::admitted(&realm, "web-01")?;
    let world = World::new(&realm)?;
    let mut papers = Papers::new(&world)?;
    papers.content_type = "application/json";
    check(&papers.send(&world.door)?, (REQUEST, "request.content_type"))?;
    papers.content_type = "application/x-www-form-urlencoded";
    papers.appended = format!("&x={}", "a".repeat(80_000));
    ensure!(papers.send(&world.door)?.status == 413);
    ensure!(world.door.get(TOKEN, &[])?.status == 405);
    papers.appended.clear();
    ensure!(papers.send(&world.door)?.status == 200, "the same papers in a form");
    Ok(())
}
