//! A provider that does the exchange itself: one token of its own says human, agent and key. What it may not say is
//! refused with a code, changes nothing, and is on record. The tokens are a real provider's, by its own exchange; what is
//! forged is forged with its own key.
#![expect(clippy::unit_arg, reason = "a forgery is one change, and reads best on one line")]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tether_centrallink::wire::Exchanged;
use tether_oauth::{TOKEN_TYPE_ACCESS, TOKEN_TYPE_ID, TOKEN_TYPE_JWT};
use tether_tests::central::now;
use tether_tests::courier::Courier;
use tether_tests::door::Said;
use tether_tests::papers::{AGENT, Papers, World, opened};
use tether_tests::provider::{ALICE, BOB, Provider, TRUST_DELEGATIONS};
use tether_tests::realm::Realm;

type Change = for<'w> fn(&mut Papers<'w>, &'w World) -> Result<()>;
/// What is wrong, our code, and how to make it so. All but `access.none` are `invalid_request`.
type Row = (&'static str, &'static str, Change);

fn headers() -> Vec<Row> {
    vec![
        ("alg none", "subject.algorithm", |p, _| {
            p.subject.head("alg", json!("none"));
            let text = p.subject.text();
            Ok(p.subject.text = text.rsplit_once('.').map(|(signed, _)| format!("{signed}.")))
        }),
        ("HS256 with the public key as secret", "subject.algorithm", |p, _| Ok(p.subject.head("alg", json!("HS256")))),
        ("RS256 with a key of another kind", "delegated.unknown_key", |p, _| Ok(p.subject.head("alg", json!("RS256")))),
        ("ES256 with a key of another kind", "delegated.unknown_key", |p, _| Ok(p.subject.head("alg", json!("ES256")))),
        ("an unknown key", "delegated.unknown_key", |p, _| Ok(p.subject.head("kid", json!("other")))),
        ("the key in the header", "subject.header", |p, w| Ok(p.subject.head("jwk", w.stranger.jwk()))),
        ("the key's address in the header", "subject.header", |p, _| {
            Ok(p.subject.head("jku", json!("https://evil.example/jwks")))
        }),
        ("a critical extension", "subject.header", |p, _| Ok(p.subject.head("crit", json!(["exp"])))),
        ("central's own typ", "delegated.typ", |p, _| Ok(p.subject.head("typ", json!("delegation+jwt")))),
        ("an ID token's typ", "delegated.typ", |p, _| Ok(p.subject.head("typ", json!("JWT")))),
        ("no typ", "delegated.typ", |p, _| Ok(p.subject.head("typ", Value::Null))),
        ("a stranger's signature", "delegated.signature", |p, w| Ok(p.subject.key = &w.stranger)),
        ("the session key's signature", "delegated.signature", |p, w| Ok(p.subject.key = &w.session)),
        ("the agent's signature", "delegated.signature", |p, w| Ok(p.subject.key = &w.agent)),
        ("no signature", "delegated.signature", |p, _| {
            let text = p.subject.text();
            Ok(p.subject.text = text.rsplit_once('.').map(|(signed, _)| format!("{signed}.")))
        }),
        ("an act twice", "subject.malformed", |p, _| {
            let claims = p.subject.claims.to_string().replacen('{', "{\"act\":{\"sub\":\"patch\"},", 1);
            let header = p.subject.header.to_string();
            Ok(p.subject.text = Some(p.subject.key.sign_parts(header.as_bytes(), claims.as_bytes())))
        }),
    ]
}

fn who_acts() -> Vec<Row> {
    vec![
        ("nobody acts", "delegated.act", |p, _| Ok(p.subject.claim("act", Value::Null))),
        ("an empty act", "delegated.act", |p, _| Ok(p.subject.claim("act", json!({})))),
        ("an act without sub", "delegated.act", |p, _| Ok(p.subject.claim("act", json!({"client_id": AGENT})))),
        ("an act with an empty sub", "delegated.act", |p, _| Ok(p.subject.claim("act", json!({"sub": ""})))),
        ("an act whose sub is a list", "delegated.act", |p, _| Ok(p.subject.claim("act", json!({"sub": [AGENT]})))),
        ("an act that is text", "delegated.act", |p, _| Ok(p.subject.claim("act", json!(AGENT)))),
        ("an act that is a list", "delegated.act", |p, _| Ok(p.subject.claim("act", json!([{"sub": AGENT}])))),
        ("an inner act that is text", "delegated.act", |p, _| {
            Ok(p.subject.claim("act", json!({"sub": AGENT, "act": "patch"})))
        }),
        ("an inner act that names nobody", "delegated.act", |p, _| {
            Ok(p.subject.claim("act", json!({"sub": AGENT, "act": {"act": {"sub": "patch"}}})))
        }),
        ("an act that is nested too deep", "delegated.act_depth", |p, _| {
            Ok(p.subject.claim("act", nested(&[AGENT, "b", "c", "d", "e"])))
        }),
        ("the agent further in, somebody else outside", "delegated.client", |p, _| {
            Ok(p.subject.claim("act", nested(&["patch", AGENT])))
        }),
        ("the same, and the token was given to nobody", "delegated.unknown_agent", |p, _| {
            p.subject.claim("client_id", Value::Null);
            Ok(p.subject.claim("act", nested(&["nobody", AGENT])))
        }),
        ("somebody of another issuer", "delegated.act_iss", |p, _| {
            Ok(p.subject.claim("act", json!({"sub": AGENT, "iss": "https://evil.example"})))
        }),
        ("somebody of another issuer further in", "delegated.act_iss", |p, _| {
            Ok(p.subject.claim("act", json!({"sub": AGENT, "act": {"sub": "a", "iss": "https://evil.example"}})))
        }),
        ("another cid", "delegated.client", |p, _| Ok(p.subject.claim("cid", json!("patch")))),
        ("a cid that is none", "delegated.cid", |p, _| Ok(p.subject.claim("cid", json!({"sub": AGENT})))),
        ("another client_id", "delegated.client", |p, _| Ok(p.subject.claim("client_id", json!("patch")))),
        ("another azp", "delegated.client", |p, _| Ok(p.subject.claim("azp", json!("patch")))),
        ("a human who acts", "delegated.unknown_agent", |p, _| Ok(acts(p, "bob@example.org"))),
        ("an agent that nobody registered", "delegated.unknown_agent", |p, _| Ok(acts(p, "nobody"))),
        ("a name that looks like the agent's", "delegated.unknown_agent", |p, _| Ok(acts(p, "triage\u{200b}"))),
        ("the agent in other letters", "delegated.unknown_agent", |p, _| Ok(acts(p, "Triage"))),
        ("an agent that was deactivated", "delegated.unknown_agent", |p, _| Ok(acts(p, "retired"))),
        ("an agent of another team", "delegated.team", |p, _| Ok(acts(p, "payroll"))),
        ("another may act", "delegated.may_act", |p, _| Ok(p.subject.claim("may_act", json!({"sub": "patch"})))),
        ("nobody may act", "delegated.may_act", |p, _| Ok(p.subject.claim("may_act", json!({})))),
        ("an instance that is none", "delegated.instance", |p, _| {
            Ok(p.subject.claim("act", json!({"sub": AGENT, "instance": 7})))
        }),
    ]
}

fn claims() -> Vec<Row> {
    vec![
        ("no audience", "delegated.aud", |p, _| Ok(p.subject.claim("aud", Value::Null))),
        ("for another server", "delegated.aud", |p, _| Ok(p.subject.claim("aud", json!("another")))),
        ("for those who sign in", "delegated.aud", |p, _| Ok(p.subject.claim("aud", json!("tether")))),
        ("for central by its address", "delegated.aud", |p, w| Ok(p.subject.claim("aud", json!(w.door.at(""))))),
        ("for another server too", "delegated.aud", |p, _| {
            Ok(p.subject.claim("aud", json!(["tether-central", "another"])))
        }),
        ("for no server", "delegated.aud", |p, _| Ok(p.subject.claim("aud", json!([])))),
        ("no key", "delegated.cnf", |p, _| Ok(p.subject.claim("cnf", Value::Null))),
        ("an empty cnf", "delegated.cnf", |p, _| Ok(p.subject.claim("cnf", json!({})))),
        ("bound to a certificate", "delegated.cnf", |p, _| Ok(p.subject.claim("cnf", json!({"x5t#S256": "x"})))),
        ("bound to two things", "delegated.cnf", |p, w| {
            Ok(p.subject.claim("cnf", json!({"jkt": w.session.thumbprint(), "kid": "x"})))
        }),
        ("bound to another key", "delegated.cnf", |p, w| {
            Ok(p.subject.claim("cnf", json!({"jkt": w.stranger.thumbprint()})))
        }),
        ("another key's proof", "delegated.cnf", |p, w| {
            let proof = p.proof()?;
            proof.head("jwk", w.stranger.jwk());
            Ok(proof.key = &w.stranger)
        }),
        ("no end", "delegated.exp", |p, _| Ok(p.subject.claim("exp", Value::Null))),
        ("over", "delegated.expired", |p, _| {
            p.subject.claim("iat", json!(now() - 60));
            Ok(p.subject.claim("exp", json!(now() - 1)))
        }),
        ("a long life", "delegated.too_long", |p, _| Ok(p.subject.claim("exp", json!(now() + 3600)))),
        ("issued in the future", "delegated.not_yet", |p, _| {
            p.subject.claim("iat", json!(now() + 200));
            Ok(p.subject.claim("exp", json!(now() + 300)))
        }),
        ("no issue time", "delegated.iat", |p, _| Ok(p.subject.claim("iat", Value::Null))),
        ("no jti", "delegated.jti", |p, _| Ok(p.subject.claim("jti", Value::Null))),
        ("a long jti", "delegated.jti", |p, _| Ok(p.subject.claim("jti", json!("a".repeat(129))))),
        ("no sub", "delegated.sub", |p, _| Ok(p.subject.claim("sub", Value::Null))),
        ("no time of the sign-in", "delegated.auth_time", |p, _| Ok(p.subject.claim("auth_time", Value::Null))),
        ("signed in after it was issued", "delegated.auth_time", |p, _| {
            Ok(p.subject.claim("auth_time", json!(now() + 3600)))
        }),
        ("signed in too long ago", "access.none", |p, _| Ok(p.subject.claim("auth_time", json!(now() - 7200)))),
        ("one factor", "access.none", |p, _| Ok(p.subject.claim("amr", json!(["pwd"])))),
        ("no factors", "access.none", |p, _| Ok(p.subject.claim("amr", Value::Null))),
        ("no groups", "access.none", |p, _| Ok(p.subject.claim("groups", Value::Null))),
        ("an agent that no policy names", "access.none", |p, _| Ok(acts(p, "patch"))),
        ("no name", "delegated.email", |p, _| Ok(p.subject.claim("email", Value::Null))),
        ("an email that was not verified", "delegated.email_verified", |p, _| {
            Ok(p.subject.claim("email_verified", Value::Null))
        }),
        ("a name of another namespace", "delegated.namespace", |p, _| {
            Ok(p.subject.claim("email", json!("alice@example.net")))
        }),
        ("another issuer", "request.subject_token_type", |p, _| {
            Ok(p.subject.claim("iss", json!("https://evil.example")))
        }),
        ("no issuer", "subject.iss", |p, _| Ok(p.subject.claim("iss", Value::Null))),
    ]
}

fn forms() -> Vec<Row> {
    vec![
        ("a human's own token as a delegation", "delegated.typ", |p, w| Ok(p.subject.text = Some(w.alice.clone()))),
        ("the same as an access token", "delegated.typ", |p, w| {
            p.form[0] = ("subject_token_type", Some(TOKEN_TYPE_ACCESS.to_owned()));
            Ok(p.subject.text = Some(w.alice.clone()))
        }),
        ("a human's access token", "delegated.aud", |p, _| {
            p.subject.claim("act", Value::Null);
            Ok(p.subject.claim("aud", json!("tether")))
        }),
        ("a delegation as ID token", "request.no_actor_token", |p, _| {
            Ok(p.form[0] = ("subject_token_type", Some(TOKEN_TYPE_ID.to_owned())))
        }),
        ("a delegation as ID token, and the agent's assertion", "subject.typ", |p, _| {
            Ok(p.form = vec![("subject_token_type", Some(TOKEN_TYPE_ID.to_owned()))])
        }),
        ("an ID token in which somebody acts, and the agent's assertion", "subject.act", |p, w| {
            (p.subject.header, p.subject.claims) = opened(&w.alice)?;
            p.subject.claim("act", json!({"sub": AGENT}));
            Ok(p.form.clear())
        }),
        ("another agent's assertion beside it", "delegated.other_agent", |p, w| {
            p.actor.key = &w.other_agent;
            p.actor.claim("iss", json!("patch"));
            p.actor.claim("sub", json!("patch"));
            Ok(p.form.truncate(1))
        }),
        ("a stranger's assertion beside it", "actor.signature", |p, w| {
            p.actor.key = &w.stranger;
            Ok(p.form.truncate(1))
        }),
        ("an assertion for another key beside it", "actor.cnf", |p, w| {
            p.actor.claim("cnf", json!({"jkt": w.stranger.thumbprint()}));
            Ok(p.form.truncate(1))
        }),
        ("the type of an assertion that is not there", "request.actor_token_type", |p, _| Ok(p.form.truncate(2))),
    ]
}

fn nested(names: &[&str]) -> Value {
    names.iter().rev().fold(Value::Null, |inner, name| match inner {
        Value::Null => json!({"sub": name}),
        inner => json!({"sub": name, "act": inner}),
    })
}

/// Another agent, to whom the provider gave the token.
fn acts(papers: &mut Papers<'_>, name: &str) {
    papers.subject.claim("act", json!({"sub": name}));
    papers.subject.claim("client_id", json!(name));
}

fn check(said: &Said, code: &str) -> Result<()> {
    let error = if code.starts_with("access.") { "invalid_target" } else { "invalid_request" };
    let found = (said.problem.error.as_str(), said.problem.code.as_str());
    ensure!(found == (error, code), "answered {} as {found:?}: {}", said.status, said.problem.error_description);
    ensure!(said.status == 400, "the status is {}", said.status);
    ensure!(!said.problem.error_description.is_empty(), "no words");
    Ok(())
}

fn issued(said: &Said) -> Result<Exchanged> {
    ensure!(said.status == 200, "{said:?}");
    Ok(serde_json::from_slice(&said.body)?)
}

/// A realm whose provider may delegate; a host; agents of which one was deactivated, and one is another team's.
fn realm() -> Result<(Realm, World)> {
    let mut realm = Realm::without_hosts()?;
    realm.central.serve_with(|settings| settings.replace("per_pair = 8\n", "per_pair = 50\n") + TRUST_DELEGATIONS)?;
    Courier::admitted(&realm, "web-01")?;
    let world = World::new(&realm)?;
    for (name, team) in [("retired", "secops"), ("payroll", "finance")] {
        let path = realm.files.path().join(format!("{name}.jwk"));
        let key = tether_oauth::issue::PrivateKey::from_seed(&tether_tests::central::seed()?)?;
        std::fs::write(&path, key.jwk().to_string())?;
        let key = path.display().to_string();
        let owner = "carol@example.org";
        realm.central.administer(&["agents", "register", name, "--team", team, "--owner", owner, "--key", &key])?;
    }
    realm.central.administer(&["revoke", "agent", "retired"])?;
    Ok((realm, world))
}

#[test]
fn every_bad_delegation_is_refused_changes_nothing_and_is_on_record() -> Result<()> {
    let (realm, world) = realm()?;
    let delegation = realm.provider.delegation(AGENT, &ALICE, &world.session)?;
    let own = what_is_taken(&realm, &world, &delegation)?;

    let before = realm.central.ledger()?;
    let tables = [headers(), who_acts(), claims(), forms()];
    let rows: Vec<Row> = tables.into_iter().flatten().collect();
    ensure!(rows.len() >= 80, "{} rows", rows.len());
    let mut wanted = Vec::new();
    for (what, code, change) in &rows {
        let mut papers = Papers::delegated(&world, &delegation)?;
        change(&mut papers, &world).with_context(|| what.to_string())?;
        check(&papers.send(&world.door)?, code).with_context(|| what.to_string())?;
        ensure!(realm.central.ledger()? == before, "{what}: something was changed");
        wanted.push(code.to_string());
    }
    wanted.extend(central_s_own_are_none(&world, &own)?);
    ensure!(realm.central.ledger()? == before, "something was changed");
    wanted.extend(each_is_good_once(&world, &delegation)?);
    wanted.extend(what_is_taken_back(&realm, &world, &delegation)?);
    let trail = realm.central.trail()?;
    let refused: Vec<&str> =
        trail.iter().filter(|link| link.event.event == "token.refused").map(|link| link.event.code.as_str()).collect();
    assert_eq!(refused, wanted.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(())
}

/// The controls: as the provider gave it, and with all that it may say besides.
fn what_is_taken(realm: &Realm, world: &World, delegation: &str) -> Result<Exchanged> {
    let mut papers = Papers::delegated(world, delegation)?;
    papers.subject.text = Some(delegation.to_owned());
    let own = issued(&papers.send(&world.door)?)?;
    let (_, claims) = opened(&own.access_token)?;
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!("alice@example.org"), &json!(AGENT)));
    assert_eq!(claims["cid"], json!(AGENT));
    assert_eq!(claims["cnf"], json!({"jkt": world.session.thumbprint()}));
    assert_eq!(claims["amr"], json!(["pwd", "otp"]));
    assert_eq!(claims["evidence"]["iss"], json!(realm.provider.issuer()));
    assert_eq!(claims["act"]["instance"], json!(world.session.thumbprint()), "the key's own instance");

    let good: [(&str, Change); 6] = [
        ("an access token by its kind", |p, _| {
            Ok(p.form[0] = ("subject_token_type", Some(TOKEN_TYPE_ACCESS.to_owned())))
        }),
        ("everybody who names the agent agrees", |p, _| {
            p.subject.claim("cid", json!(AGENT));
            p.subject.claim("may_act", json!({"sub": AGENT}));
            Ok(p.subject.claim("azp", json!(AGENT)))
        }),
        ("four who act, one for another", |p, _| Ok(p.subject.claim("act", nested(&[AGENT, "patch", "nobody", "d"])))),
        ("the issuer is named", |p, _| {
            let issuer = p.subject.claims["iss"].clone();
            Ok(p.subject.claim("act", json!({"sub": AGENT, "iss": issuer, "instance": "run-9"})))
        }),
        ("a list of one audience", |p, _| Ok(p.subject.claim("aud", json!(["tether-central"])))),
        ("the agent's own assertion beside it", |p, _| Ok(p.form.truncate(1))),
    ];
    for (what, change) in good {
        let mut papers = Papers::delegated(world, delegation)?;
        change(&mut papers, world)?;
        issued(&papers.send(&world.door)?).with_context(|| what.to_owned())?;
    }
    let trail = realm.central.trail()?;
    let of: Vec<_> = trail.iter().filter(|link| link.event.event == "token.issued").collect();
    let instances: Vec<_> = of.iter().map(|link| link.event.ids.instance.id().unwrap_or_default()).collect();
    assert_eq!(instances[4..], ["run-9", world.session.thumbprint().as_str(), "run-7"]);
    assert_eq!(of[3].event.details["provider_act"], json!([AGENT, "patch", "nobody", "d"]));
    // The human signs in as ever, with the agent's own proof: that record has no chain of the provider's.
    issued(&Papers::new(world)?.send(&world.door)?)?;
    let trail = realm.central.trail()?;
    let last = trail.iter().rfind(|link| link.event.event == "token.issued").context("no record")?;
    assert_eq!(last.event.details["provider_act"], Value::Null);
    Ok(own)
}

/// What central has issued, as it is and under the provider's name.
fn central_s_own_are_none(world: &World, own: &Exchanged) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for (kind, code) in [(TOKEN_TYPE_JWT, "request.subject_token_type"), (TOKEN_TYPE_ACCESS, "subject.unknown_issuer")]
    {
        let mut papers = Papers::delegated(world, &own.access_token)?;
        papers.form[0] = ("subject_token_type", Some(kind.to_owned()));
        papers.subject.text = Some(own.access_token.clone());
        check(&papers.send(&world.door)?, code)?;
        codes.push(code.to_owned());
    }
    let mut papers = Papers::delegated(world, &own.access_token)?;
    let (header, sign_in) = opened(&world.alice)?;
    for name in ["iss", "email", "email_verified"] {
        papers.subject.claim(name, sign_in[name].clone());
    }
    papers.subject.claim("aud", json!("tether-central"));
    papers.subject.head("kid", header["kid"].clone());
    check(&papers.send(&world.door)?, "delegated.typ")?;
    codes.push("delegated.typ".to_owned());
    Ok(codes)
}

/// A second request with the same delegation, whatever else is new.
fn each_is_good_once(world: &World, delegation: &str) -> Result<Vec<String>> {
    let papers = Papers::delegated(world, delegation)?;
    issued(&papers.send(&world.door)?)?;
    let mut again = Papers::delegated(world, delegation)?;
    again.subject.text = Some(papers.subject.text());
    check(&again.send(&world.door)?, "delegated.replayed")?;
    // Nor with the agent's own assertion beside it, which is new.
    again = Papers::delegated(world, delegation)?;
    again.form.truncate(1);
    again.subject.text = Some(papers.subject.text());
    check(&again.send(&world.door)?, "delegated.replayed")?;
    Ok(vec!["delegated.replayed".to_owned(); 2])
}

/// Pair, human and agent, each taken back; and each may act again by what is new.
fn what_is_taken_back(realm: &Realm, world: &World, delegation: &str) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    let mut refused = |code: &str, token: &str| -> Result<()> {
        check(&Papers::delegated(world, token)?.send(&world.door)?, code)?;
        codes.push(code.to_owned());
        Ok(())
    };
    let bob = realm.provider.delegation(AGENT, &BOB, &world.session)?;
    realm.central.administer(&["revoke", "pair", AGENT, "alice@example.org"])?;
    refused("pair.revoked", delegation)?;
    issued(&Papers::delegated(world, &bob)?.send(&world.door)?).context("another human's")?;
    realm.central.administer(&["revoke", "human", "bob@example.org"])?;
    refused("human.revoked", &bob)?;
    // Signed in anew, in another second.
    wait_past(now())?;
    let fresh = realm.provider.delegation(AGENT, &BOB, &world.session)?;
    issued(&Papers::delegated(world, &fresh)?.send(&world.door)?).context("a new sign-in")?;
    let asserted = Papers::new(world)?;
    wait_past(now())?;
    realm.central.administer(&["revoke", "agent", AGENT])?;
    refused("delegated.unknown_agent", &fresh)?;
    // Letting it act again revives neither the provider's token nor its own assertion.
    realm.central.administer(&["agents", "activate", AGENT])?;
    refused("delegated.void", &fresh)?;
    wait_past(now())?;
    let anew = realm.provider.delegation(AGENT, &BOB, &world.session)?;
    issued(&Papers::delegated(world, &anew)?.send(&world.door)?).context("activated")?;
    check(&asserted.send(&world.door)?, "actor.void")?;
    codes.push("actor.void".to_owned());
    Ok(codes)
}

/// Sign-ins are told apart by seconds.
fn wait_past(second: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    while now() <= second {
        ensure!(begun.elapsed().as_secs() < 5, "the clock stands");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}

/// Two providers, of which one may not: its own exchange is of no use here. And the settings: names, algorithms.
#[test]
fn only_a_provider_that_was_given_the_right_delegates_and_only_as_it_was_given() -> Result<()> {
    let (mut realm, mut world) = realm()?;
    let second = Provider::start(&realm.lab, 9444, "EdDSA")?;
    let delegation = realm.provider.delegation(AGENT, &ALICE, &world.session)?;
    let strange = second.delegation(AGENT, &ALICE, &world.session)?;
    let unknown = Papers::delegated(&world, &strange)?;
    check(&unknown.send(&world.door)?, "request.subject_token_type")?;
    realm.central.serve_with(|settings| {
        format!(
            "{settings}\n[[providers]]\nissuer = \"{}\"\naudiences = [\"tether\", \"old\"]\n\
             namespaces = [\"@example.net\"]\nauthority = \"{}\"\n",
            second.issuer(),
            second.authority().display()
        )
    })?;
    world = world_anew(&realm, world)?;
    issued(&Papers::delegated(&world, &delegation)?.send(&world.door)?).context("the one that may")?;
    let (first_key, name) = std::mem::replace(&mut world.provider, second.signing_key()?);
    check(&Papers::delegated(&world, &strange)?.send(&world.door)?, "request.subject_token_type")?;
    let as_access =
        |papers: &mut Papers<'_>| papers.form[0] = ("subject_token_type", Some(TOKEN_TYPE_ACCESS.to_owned()));
    let mut papers = Papers::delegated(&world, &strange)?;
    as_access(&mut papers);
    check(&papers.send(&world.door)?, "subject.aud")?;
    papers = Papers::delegated(&world, &strange)?;
    as_access(&mut papers);
    papers.subject.claim("aud", json!("tether"));
    papers.subject.claim("email", json!("alice@example.net"));
    check(&papers.send(&world.door)?, "subject.act")?;
    // Nor for the other one: under its name, with the own key.
    papers = Papers::delegated(&world, &delegation)?;
    check(&papers.send(&world.door)?, "delegated.signature")?;
    // The provider's names for agents, and what it signs with.
    world.provider = (first_key, name);
    realm.central.serve_with(|settings| {
        settings.replace("teams = [\"secops\"]\n", "teams = [\"secops\"]\nagents = { svc-7 = \"triage\" }\n")
    })?;
    world = world_anew(&realm, world)?;
    let named = realm.provider.delegation("svc-7", &ALICE, &world.session)?;
    let own = issued(&Papers::delegated(&world, &named)?.send(&world.door)?)?;
    assert_eq!(opened(&own.access_token)?.1["act"]["sub"], json!(AGENT));
    check(&Papers::delegated(&world, &delegation)?.send(&world.door)?, "delegated.unknown_agent")?;
    realm.central.serve_with(|settings| {
        settings.replace("teams = [\"secops\"]\n", "teams = [\"secops\"]\nalgorithms = [\"RS256\"]\n")
    })?;
    world = world_anew(&realm, world)?;
    check(&Papers::delegated(&world, &named)?.send(&world.door)?, "delegated.algorithm")
}

/// Central has begun anew: its nonces of before are worth nothing.
fn world_anew(realm: &Realm, world: World) -> Result<World> {
    Ok(World { door: tether_tests::door::Door::of(realm)?, ..world })
}

/// The provider's own exchange is a real one: no proof, no agent's secret or no human's token, no delegation.
#[test]
fn the_providers_exchange_asks_for_all_three() -> Result<()> {
    let (realm, world) = realm()?;
    let request = |url: &str| -> Result<String> {
        let request = tether_oauth::ProofRequest { method: "POST", url, access_token: None };
        Ok(world.session.proof(request, None, &tether_tests::central::random_name(26)?, now()))
    };
    let url = realm.provider.token_endpoint();
    let human = realm.provider.access_token(&ALICE)?;
    assert_eq!(realm.provider.exchange(AGENT, &human, &request(&url)?)?.0, 200);
    assert_eq!(realm.provider.exchange(AGENT, &human, "")?.0, 400);
    assert_eq!(realm.provider.exchange(AGENT, &human, &request("https://evil.example/token")?)?.0, 400);
    assert_eq!(realm.provider.exchange(AGENT, &world.alice, &request(&url)?)?.0, 400);
    assert_eq!(realm.provider.exchange("nobody", &human, &request(&url)?)?.0, 401);
    Ok(())
}
