//! Enrolment and feeds against the running central: a token is for one host, once, in time; a key is for one feed.

use anyhow::{Context, Result, ensure};
use tether_central::app::hash;
use tether_central::store::{self, Sqlite};
use tether_centrallink::wire::EnrolToken;
use tether_oauth::ProofRequest;
use tether_oauth::issue::PrivateKey;
use tether_statement::Position;
use tether_tests::central::{now, random_name, seed};
use tether_tests::courier::Courier;
use tether_tests::door::{Door, Said};
use tether_tests::realm::Realm;

const ENROL: &str = "/v1/host/enrol";

#[test]
fn a_token_is_for_one_host_once_and_in_time() -> Result<()> {
    let realm = Realm::without_hosts()?;
    let door = Door::of(&realm)?;
    let token = realm.central.admit("web-01", "192.0.2.1", "role=web")?;
    let secret = EnrolToken::parse(&token).context("no token")?.secret;
    let [first, second] = [PrivateKey::from_seed(&seed()?)?, PrivateKey::from_seed(&seed()?)?];

    for (what, secret, code) in [
        ("a token that nobody made", "A".repeat(secret.len()), "enrol.unknown"),
        ("half of it", secret[..secret.len() / 2].to_owned(), "enrol.unknown"),
        ("none", String::new(), "enrol.unknown"),
    ] {
        let said = enrol(&door, &secret, &first)?;
        ensure!((said.status, said.problem.code.as_str()) == (400, code), "{what}: {said:?}");
    }
    let unproved = door.post(ENROL, &[("Content-Type", "application/json")], body(&secret).as_bytes())?;
    ensure!(unproved.problem.code == "proof.none", "without a key: {unproved:?}");

    // Two hosts have it, and are there at the same moment: one of them is the host.
    let both = std::thread::scope(|scope| {
        let tries = [&first, &second].map(|key| scope.spawn(|| enrol(&door, &secret, key)));
        tries.map(|one| one.join())
    });
    let mut codes = Vec::new();
    for said in both {
        let said = said.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        codes.push((said.status, said.problem.code));
    }
    codes.sort();
    ensure!(codes == [(200, String::new()), (400, "enrol.used".to_owned())], "{codes:?}");
    let used = enrol(&door, &secret, &PrivateKey::from_seed(&seed()?)?)?;
    ensure!(used.problem.code == "enrol.used", "{used:?}");

    // A key that is one host's cannot become another's, and the token that was tried with it is still good.
    let other = EnrolToken::parse(&realm.central.admit("web-02", "192.0.2.2", "role=web")?).context("no token")?.secret;
    let taken = if enrol(&door, &other, &first)?.problem.code == "enrol.key_in_use" { &first } else { &second };
    let said = enrol(&door, &other, taken)?;
    ensure!(said.problem.code == "enrol.key_in_use", "{said:?}");
    let third = PrivateKey::from_seed(&seed()?)?;
    let last = enrol(&door, &other, &third)?;
    ensure!(last.status == 200 || last.problem.code == "enrol.used", "{last:?}");

    // Good in time only: this one's hour is set to be over.
    let late = EnrolToken::parse(&realm.central.admit("web-03", "192.0.2.3", "role=web")?).context("no token")?.secret;
    set_expiry(&realm, &late, now() - 1)?;
    let fourth = PrivateKey::from_seed(&seed()?)?;
    let said = enrol(&door, &late, &fourth)?;
    ensure!((said.status, said.problem.code.as_str()) == (400, "enrol.expired"), "{said:?}");
    set_expiry(&realm, &late, now() + 60)?;
    ensure!(enrol(&door, &late, &fourth)?.status == 200, "in time it is good");

    let refused: Vec<String> = realm
        .central
        .trail()?
        .into_iter()
        .filter(|link| link.event.event == "enrol.refused")
        .map(|link| link.event.code)
        .collect();
    for code in ["enrol.unknown", "enrol.used", "enrol.key_in_use", "enrol.expired"] {
        ensure!(refused.iter().any(|other| other == code), "{code} is not on record: {refused:?}");
    }
    Ok(())
}

/// A courier's key is its host's: what it asks for is its own feed, and what it reports is about its own host.
#[test]
fn a_key_has_its_own_hosts_feed_and_no_other() -> Result<()> {
    let realm = Realm::without_hosts()?;
    let door = Door::of(&realm)?;
    let [one, two] = [Courier::admitted(&realm, "web-01")?, Courier::admitted(&realm, "web-02")?];
    let stranger = PrivateKey::from_seed(&seed()?)?;

    let said = feed(&door, "/v1/host/feed?after=0", &stranger)?;
    ensure!((said.status, said.problem.code.as_str()) == (401, "host.unknown_key"), "{said:?}");
    for path in
        ["/v1/host/feed?after=0&host=web-02", "/v1/host/feed?host=web-02", "/v1/host/feed?after=-1", "/v1/host/feed"]
    {
        let said = feed(&door, path, &one.key)?;
        ensure!((said.status, said.problem.code.as_str()) == (400, "request.query"), "{path}: {said:?}");
    }
    let said = door.get("/v1/host/feed?after=0", &[])?;
    ensure!(said.problem.code == "proof.none", "{said:?}");

    // In the other's name, of statements that are not its own, with another's words.
    let mut as_two = one;
    as_two.host = "web-02".to_owned();
    let refused = realm.lab.on_switch(|| as_two.report(&Position::start()))?.err().context("another host's report")?;
    ensure!(refused.to_string().contains("[report.other_host]"), "{refused}");
    as_two.host = "web-01".to_owned();
    let ahead = Position { number: 7, hash: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU".to_owned() };
    let refused = realm.lab.on_switch(|| as_two.report(&ahead))?.err().context("a report of what was never said")?;
    ensure!(refused.to_string().contains("[report.fork]"), "{refused}");
    // The control: each for itself.
    for courier in [&as_two, &two] {
        realm.lab.on_switch(|| courier.report(&Position::start()))??;
    }
    let trail = realm.central.trail()?;
    for code in ["report.other_host", "report.fork"] {
        ensure!(trail.iter().any(|link| link.event.code == code), "{code} is not on record");
    }
    Ok(())
}

/// Central's clock cannot be set; what it compares with it can.
fn set_expiry(realm: &Realm, secret: &str, at: u64) -> Result<()> {
    let store = Sqlite::open(&realm.central.path("central.db"))?;
    store::act(&store, |act| {
        let mut enrolment = act.enrolment(&hash(secret))?.context("central does not know the token")?;
        enrolment.expires_at = at;
        Ok(act.put_enrolment(&enrolment)?)
    })
}

fn body(secret: &str) -> String {
    serde_json::json!({ "secret": secret }).to_string()
}

fn enrol(door: &Door, secret: &str, key: &PrivateKey) -> Result<Said> {
    let proof = proof(door, "POST", ENROL, key)?;
    door.post(ENROL, &[("DPoP", &proof), ("Content-Type", "application/json")], body(secret).as_bytes())
}

fn feed(door: &Door, path: &str, key: &PrivateKey) -> Result<Said> {
    let proof = proof(door, "GET", "/v1/host/feed", key)?;
    door.get(path, &[("DPoP", &proof)])
}

fn proof(door: &Door, method: &str, path: &str, key: &PrivateKey) -> Result<String> {
    let url = door.at(path);
    let request = ProofRequest { method, url: &url, access_token: None };
    Ok(key.proof(request, Some(&door.nonce()?), &random_name(26)?, now()))
}
