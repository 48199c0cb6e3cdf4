//! Who administers: a human whom a policy lets, by a sign-in as the policy wants it.

use super::world::World;
use serde_json::{Value, json};

const CAROL: &str = "carol@example.org";

fn register(world: &World, token: &str, name: &str) -> (u16, String) {
    let body = json!({"name": name, "team": "secops", "owner": CAROL, "key": world.provider.jwk()}).to_string();
    let bearer = format!("Bearer {token}");
    let got = world.ask("POST", "/v1/admin/agents", &[("authorization", &bearer)], Some(body.as_bytes()));
    (got.status, got.body["tether_code"].as_str().unwrap_or_default().to_owned())
}

fn look(world: &World, token: &str) -> u16 {
    world.ask("GET", "/v1/admin/agents", &[("authorization", &format!("Bearer {token}"))], None).status
}

#[test]
fn conditions_of_an_admins_sign_in_hold() {
    let world = World::new();
    let with = |groups: &[&str], ago: u64, amr: &[&str]| {
        let mut claims = world.claims(CAROL, groups, ago);
        claims["amr"] = json!(amr);
        world.admin_token(&claims)
    };
    let factors = ["pwd", "otp"];
    assert_eq!(register(&world, &with(&["admins"], 5, &factors), "one"), (200, String::new()));
    let no = |code: &str| (403, code.to_owned());
    for (token, why) in [
        (with(&["admins"], 5, &["pwd"]), "one factor"),
        (with(&["admins"], 601, &factors), "an old sign-in"),
        (with(&["analysts"], 5, &factors), "another group"),
        (with(&["auditors"], 5, &factors), "an auditor looks only"),
    ] {
        assert_eq!(register(&world, &token, "two"), no("admin.not_permitted"), "{why}");
    }
    let handed_on = world.id_token(&world.claims(CAROL, &["admins"], 5));
    assert_eq!(register(&world, &handed_on, "two"), (401, "subject.aud".to_owned()), "what an agent has of an admin");
    assert_eq!(look(&world, &with(&["auditors"], 5, &["pwd"])), 200);
    assert_eq!(look(&world, &with(&["analysts"], 5, &factors)), 403);
    assert_eq!(look(&world, &with(&["admins"], 5, &factors)), 200, "who administers may look");
    let names: Vec<Value> =
        world.trail("agent.registered").iter().map(|one| one.event.details["agent"].clone()).collect();
    assert_eq!(names, ["one"]);
    assert_eq!(world.trail("agent.registered")[0].event.details["by"], CAROL);
}

#[test]
fn an_admin_who_was_taken_back_is_none() {
    let world = World::new();
    let token = world.admin_token(&world.claims(CAROL, &["admins"], 5));
    assert_eq!(look(&world, &token), 200);
    let directory = world.directory("okta", false);
    let new = json!({"schemas": [tether_scim::USER.schema], "userName": "Carol@example.org", "active": "False"});
    assert_eq!(world.scim(&directory, "POST", "/Users", Some(new)).status, 201);
    assert_eq!(register(&world, &token, "one"), (401, "human.inactive".to_owned()));
    assert_eq!(look(&world, &token), 401);
}

#[test]
fn break_glass_is_on_record() {
    let world = World::new();
    world.write(|act| act.set_meta(crate::app::META_BREAK_GLASS, &crate::app::hash("break-glass-x")));
    assert_eq!(register(&world, "break-glass-x", "one"), (200, String::new()));
    assert_eq!(look(&world, "break-glass-x"), 200);
    assert_eq!(look(&world, "break-glass-y"), 401);
    assert_eq!(world.trail("agent.registered")[0].event.details["by"], "break-glass");
    let used: Vec<Value> =
        world.trail("admin.break_glass").iter().map(|one| one.event.details["action"].clone()).collect();
    assert_eq!(used, ["administer", "audit"], "each use, looking too");
}

#[test]
fn another_key_of_an_agent_ends_what_the_old_one_was_issued_for() {
    let world = World::new();
    let token = world.exchange("alice@example.org", 0).unwrap();
    world.grant(&token);
    let (live, said) = (world.live().len(), world.said());
    assert_eq!(live, 1);
    let admin = world.admin_token(&world.claims(CAROL, &["admins"], 5));
    assert_eq!(register(&world, &admin, "another").0, 200, "another agent is not concerned");
    assert_eq!((world.live().len(), world.said()), (live, said));
    assert_eq!(register(&world, &admin, "triage").0, 200);
    assert_eq!((world.live().len(), world.said()), (0, said + 1), "and the host is told");
    assert_eq!(world.trail("session.revoked").len(), 1);
    assert_ne!(world.certificate(&token), "", "the old token gets nothing");
}

#[test]
fn an_address_is_an_address() {
    use crate::app::Admin;
    use tether_centrallink::wire::NewHost;
    let world = World::new();
    let admit = |host: &str, address: Option<&str>| {
        let new = NewHost { host: host.parse().unwrap(), address: address.map(str::to_owned), labels: Vec::new() };
        world.app.admit_host(&Admin { name: "carol".to_owned() }, &new).map(drop).map_err(|refusal| refusal.code)
    };
    for bad in ["-oProxyCommand=id", "a;id", "a b", "$(id)", "host:22", "", "a\nb"] {
        assert_eq!(admit("web-02", Some(bad)), Err("host.address".to_owned()), "{bad:?}");
    }
    // Without one agents connect to the id.
    assert_eq!(admit("$(id)", None), Err("host.address".to_owned()));
    for good in ["web-02.example.org", "192.0.2.7", "2001:db8::7"] {
        assert_eq!(admit("$(id)", Some(good)), Ok(()));
    }
    assert_eq!(admit("web-02", None), Ok(()));
}
