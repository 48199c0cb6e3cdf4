//! Directories: resources, and that taking away reaches everything.

use super::world::{Got, HOST, World, next_second};
use crate::app::Admin;
use crate::clock;
use crate::store::{Provisioned, ScimToken};
use serde_json::{Value, json};
use tether_centrallink::wire::Target;
use tether_scim::{AGENT, PATCH_SCHEMA, USER};

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";

fn user(name: &str) -> Value {
    json!({"schemas": [USER.schema], "userName": name, "externalId": "e-1", "displayName": "Alice"})
}

fn patch(active: bool) -> Value {
    json!({"schemas": [PATCH_SCHEMA], "Operations": [{"op": "Replace", "path": "active", "value": active}]})
}

fn id(got: &Got) -> String {
    got.body["id"].as_str().unwrap_or_else(|| panic!("no id: {got:?}")).to_owned()
}

fn find(world: &World, token: &str, name: &str) -> Vec<Value> {
    let got = world.scim(token, "GET", &format!("/Users?filter=userName%20eq%20%22{name}%22"), None);
    assert_eq!(got.status, 200, "{got:?}");
    got.body["Resources"].as_array().unwrap().clone()
}

fn refused(got: &Got) -> (u16, &str, &str) {
    assert_eq!(got.kind, "application/scim+json", "{got:?}");
    assert_eq!(got.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert_eq!(got.body["status"], got.status.to_string());
    (got.status, got.body["scimType"].as_str().unwrap_or_default(), got.body["tether_code"].as_str().unwrap())
}

#[test]
fn a_users_life() {
    let world = World::new();
    let token = world.directory("okta", false);
    let made = world.scim(&token, "POST", "/Users", Some(user(ALICE)));
    assert_eq!((made.status, made.kind.as_str()), (201, "application/scim+json"), "{made:?}");
    let alice = id(&made);
    assert_eq!(made.location, format!("{}/scim/v2/Users/{alice}", world.url));
    assert_eq!(made.body["meta"]["location"], made.location.as_str());
    assert_eq!((&made.body["active"], &made.body["userName"]), (&json!(true), &json!(ALICE)));
    let again = world.scim(&token, "POST", "/Users", Some(user("ALICE@example.org")));
    assert_eq!(refused(&again), (409, "uniqueness", "scim.taken"));

    assert_eq!(world.scim(&token, "GET", &format!("/Users/{alice}"), None).body, made.body);
    assert_eq!(find(&world, &token, "Alice@Example.org"), std::slice::from_ref(&made.body));
    let by_external = world.scim(&token, "GET", "/Users?filter=externalId%20eq%20%22e-1%22", None);
    assert_eq!(by_external.body["totalResults"], 1);
    for number in 0..4 {
        let other = json!({"schemas": [USER.schema], "userName": format!("u{number}@example.org")});
        assert_eq!(world.scim(&token, "POST", "/Users", Some(other)).status, 201);
    }
    let page = world.scim(&token, "GET", "/Users?startIndex=2&count=2", None).body;
    assert_eq!((&page["totalResults"], &page["itemsPerPage"], &page["startIndex"]), (&json!(5), &json!(2), &json!(2)));
    assert_eq!(page["Resources"][0]["userName"], "u0@example.org");

    let path = format!("/Users/{alice}");
    let put = world.scim(
        &token,
        "PUT",
        &path,
        Some(json!({"schemas": [USER.schema], "userName": ALICE, "externalId": "e-2"})),
    );
    assert_eq!((put.status, &put.body["externalId"], &put.body["active"]), (200, &json!("e-2"), &json!(true)));
    let off = world.scim(&token, "PATCH", &path, Some(patch(false)));
    assert_eq!((off.status, &off.body["active"]), (200, &json!(false)));
    // A replacement that says nothing of it does not let them in again.
    let put = world.scim(&token, "PUT", &path, Some(user(ALICE)));
    assert_eq!((put.status, &put.body["active"]), (200, &json!(false)));

    assert_eq!(world.scim(&token, "DELETE", &path, None).status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(refused(&world.scim(&token, method, &path, None)), (404, "", "scim.unknown"));
    }
    assert_eq!(
        refused(&world.scim(&token, "PATCH", &path, Some(patch(true)))).0,
        404,
        "nor can it come back by its id"
    );
    assert_eq!(find(&world, &token, ALICE), Vec::<Value>::new());
    assert_eq!(world.exchange(ALICE, 5), Err("human.inactive".to_owned()));
    let anew = world.scim(&token, "POST", "/Users", Some(user(ALICE)));
    assert_eq!(anew.status, 201);
    assert_ne!(id(&anew), alice, "another resource");
    assert_eq!(world.exchange(ALICE, 5), Err("human.revoked".to_owned()), "and no old sign-in");

    let by: Vec<Value> = world.trail("scim.user.changed").iter().map(|link| link.event.details["by"].clone()).collect();
    assert_eq!(by, vec![json!("scim:okta"); 3], "every act is on record");
    assert_eq!(world.trail("scim.user.created").len(), 6);
    assert_eq!(world.trail("scim.user.deleted").len(), 1);
    assert_eq!(world.trail("scim.refused").iter().filter(|link| link.event.code == "scim.taken").count(), 1);
}

#[test]
fn bodies_and_lists_that_are_refused() {
    let world = World::new();
    let token = world.directory("okta", false);
    let made = world.scim(&token, "POST", "/Users", Some(user(ALICE)));
    let path = format!("/Users/{}", id(&made));
    let bearer = format!("Bearer {token}");
    let raw = |kind: &str, body: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        world.ask("PATCH", &format!("/scim/v2{path}"), &headers, Some(body.as_bytes()))
    };
    assert_eq!(refused(&raw("text/plain", "{}")), (415, "", "scim.content_type"));
    assert_eq!(refused(&raw("application/scim+json", "{")), (400, "invalidSyntax", "scim.json"));
    let twice = patch(false).to_string().replace("\"value\":", "\"value\":true,\"value\":");
    assert_eq!(refused(&raw("application/json; charset=utf-8", &twice)), (400, "invalidSyntax", "scim.json"));
    for (method, path, body, wanted) in [
        ("GET", "/Users?filter=userName%20co%20%22a%22", None, (400, "invalidFilter", "scim.filter")),
        ("GET", "/Users?count=x", None, (400, "invalidValue", "scim.page")),
        ("GET", "/Users/nobody", None, (404, "", "scim.unknown")),
        ("GET", "/Groups", None, (404, "", "scim.unknown")),
        ("POST", "/Bulk", Some(json!({})), (404, "", "scim.unknown")),
        ("PUT", "/Users", Some(json!({})), (405, "", "scim.method")),
        ("POST", "/Users", Some(json!({"userName": BOB})), (400, "invalidSyntax", "scim.schema")),
        ("POST", "/Users", Some(user("bob@example.net")), (400, "invalidValue", "scim.name")),
        ("POST", "/Users", Some(user("bob\u{202e}@example.org")), (400, "invalidValue", "scim.name")),
        (
            "PATCH",
            path.as_str(),
            Some(json!({"schemas": [PATCH_SCHEMA], "Operations": [{"op": "remove", "path": "userName"}]})),
            (400, "invalidValue", "scim.value"),
        ),
    ] {
        assert_eq!(refused(&world.scim(&token, method, path, body.clone())), wanted, "{method} {path} {body:?}");
    }
    assert_eq!(find(&world, &token, ALICE)[0]["active"], true, "nothing of it had an effect");
}

#[test]
fn a_directorys_token_opens_scim_and_nothing_else() {
    let world = World::new();
    let token = world.directory("okta", false);
    assert_eq!(world.scim(&token, "GET", "/Users", None).status, 200);
    let about = world.scim(&token, "GET", "/ServiceProviderConfig", None);
    assert_eq!((about.status, &about.body["patch"]["supported"]), (200, &json!(true)));
    for (path, number) in [("/ResourceTypes", 2), ("/Schemas", 2)] {
        assert_eq!(world.scim(&token, "GET", path, None).body["totalResults"], number, "{path}");
    }
    assert_eq!(world.scim(&token, "GET", &format!("/Schemas/{}", AGENT.schema), None).body["name"], "Agent");
    assert_eq!(world.scim(&token, "GET", "/ResourceTypes/User", None).body["endpoint"], "/Users");
    let bearer = format!("Bearer {token}");
    for path in ["/v1/admin/agents", "/v1/admin/hosts", "/v1/admin/sessions"] {
        assert_eq!(world.ask("GET", path, &[("authorization", &bearer)], None).status, 401, "{path}");
    }
    // The reverse: an admin's token, a stranger's, none, one that was revoked.
    let carol = world.admin_token(&world.claims("carol@example.org", &["admins"], 5));
    assert_eq!(
        world.ask("GET", "/v1/admin/agents", &[("authorization", &format!("Bearer {carol}"))], None).status,
        200
    );
    for bad in [carol.as_str(), "scim-stranger", ""] {
        assert_eq!(refused(&world.scim(bad, "GET", "/Users", None)), (401, "", "scim.token"), "{bad:?}");
    }
    assert_eq!(world.ask("GET", "/scim/v2/Users", &[], None).status, 401);
    let known = world.read(|act| act.scim_tokens()).remove(0);
    world.write(|act| act.put_scim_token(&ScimToken { revoked: Some(clock::now()), ..known.clone() }));
    assert_eq!(refused(&world.scim(&token, "GET", "/Users", None)), (401, "", "scim.token"));
    assert!(world.trail("scim.refused").len() >= 5);
}

#[test]
fn deactivated_means_taken_back_and_nothing_comes_back() {
    let world = World::new();
    let directory = world.directory("okta", false);
    let sign_in = world.id_token(&world.claims(ALICE, &["analysts"], 5));
    let (first, second) = (world.exchange_token(&sign_in).unwrap(), world.exchange(BOB, 5).unwrap());
    world.grant(&first);
    world.grant(&second);
    let said = world.said();
    // Seen when they signed in: the directory finds the same record, and takes it over.
    let [seen] = find(&world, &directory, ALICE).try_into().unwrap();
    let made = world.scim(&directory, "POST", "/Users", Some(user(ALICE)));
    assert_eq!((made.status, &made.body["id"]), (201, &seen["id"]));
    assert_eq!(world.live().len(), 2, "provisioned is not taken back");

    let path = format!("/Users/{}", id(&made));
    assert_eq!(world.scim(&directory, "PATCH", &path, Some(patch(false))).status, 200);
    let left: Vec<String> = world.live().iter().map(|one| one.human.to_string()).collect();
    assert_eq!(left, [BOB]);
    assert_eq!(world.said(), said + 1, "the host was told once");
    assert_eq!(world.exchange(ALICE, 0), Err("human.inactive".to_owned()));
    assert_eq!(world.certificate(&first), "token.revoked");
    // Once more: no act, no statement.
    assert_eq!(world.scim(&directory, "PATCH", &path, Some(patch(false))).status, 200);
    assert_eq!(world.said(), said + 1);
    let during = world.id_token(&world.claims(ALICE, &["analysts"], 0));

    let on = world.scim(&directory, "PATCH", &path, Some(patch(true)));
    assert_eq!((on.status, &on.body["active"]), (200, &json!(true)));
    assert_eq!(world.certificate(&first), "token.revoked", "the old token is not revived");
    for old in [&sign_in, &during] {
        assert_eq!(world.exchange_token(old), Err("human.revoked".to_owned()), "nor an old sign-in");
    }
    next_second();
    let fresh = world.id_token(&world.claims(ALICE, &["analysts"], 0));
    assert!(world.exchange_token(&fresh).is_ok());
    assert_eq!(world.live().len(), 2);
    // Active already: saying so again does not touch anything.
    assert_eq!(world.scim(&directory, "PATCH", &path, Some(patch(true))).status, 200);
    assert!(world.exchange_token(&fresh).is_ok());
    assert_eq!(world.trail("session.revoked").len(), 1);
    assert_eq!(world.trail("revoked")[0].event.details["by"], "scim:okta");
}

#[test]
fn another_spelling_is_no_way_around() {
    let world = World::new();
    let directory = world.directory("entra", false);
    world.exchange(ALICE, 5).unwrap();
    let made = world.scim(&directory, "POST", "/Users", Some(user("Alice@Example.org")));
    assert_eq!(made.status, 201);
    assert_eq!(world.scim(&directory, "GET", "/Users", None).body["totalResults"], 1, "one record");
    let path = format!("/Users/{}", id(&made));
    assert_eq!(world.scim(&directory, "PATCH", &path, Some(patch(false))).status, 200);
    assert_eq!(world.live(), []);
    for name in [ALICE, "ALICE@example.org"] {
        assert_eq!(world.exchange(name, 0), Err("human.inactive".to_owned()), "{name}");
    }
    // First by the directory, then by a sign-in with other letters.
    let made = world.scim(&directory, "POST", "/Users", Some(user("Bob@example.org")));
    world.exchange(BOB, 0).unwrap();
    world.scim(&directory, "DELETE", &format!("/Users/{}", id(&made)), None);
    assert_eq!(world.live(), []);
    assert_eq!(world.exchange(BOB, 0), Err("human.inactive".to_owned()));
}

#[test]
fn another_name_is_another_principal() {
    let world = World::new();
    let directory = world.directory("okta", false);
    let made = world.scim(&directory, "POST", "/Users", Some(user(ALICE)));
    let path = format!("/Users/{}", id(&made));
    world.exchange(ALICE, 0).unwrap();
    world.exchange(BOB, 0).unwrap();
    let rename = |name: &str| {
        let body =
            json!({"schemas": [PATCH_SCHEMA], "Operations": [{"op": "replace", "path": "userName", "value": name}]});
        world.scim(&directory, "PATCH", &path, Some(body))
    };
    let renamed = rename("alice.smith@example.org");
    assert_eq!((renamed.status, &renamed.body["userName"]), (200, &json!("alice.smith@example.org")), "{renamed:?}");
    assert_eq!((&renamed.body["id"], &renamed.body["externalId"]), (&made.body["id"], &json!("e-1")));
    assert_eq!(world.live().iter().map(|one| one.human.to_string()).collect::<Vec<_>>(), [BOB]);
    assert_eq!(world.exchange(ALICE, 0), Err("human.inactive".to_owned()), "nobody signs in by the old name");
    next_second();
    assert!(world.exchange("alice.smith@example.org", 0).is_ok());
    // The id reaches who is meant now.
    assert_eq!(world.scim(&directory, "PATCH", &path, Some(patch(false))).status, 200);
    assert_eq!(world.exchange("alice.smith@example.org", 0), Err("human.inactive".to_owned()));
    // To a name that somebody has signed in by: deactivated they stay, and that somebody is.
    assert_eq!(rename(BOB).body["active"], false);
    assert_eq!(world.live(), []);
    let other = world.scim(&directory, "POST", "/Users", Some(user("carol@example.org")));
    assert_eq!(other.status, 201);
    assert_eq!(refused(&rename("carol@example.org")), (409, "uniqueness", "scim.taken"));
    assert_eq!(refused(&rename("alice@example.net")), (400, "invalidValue", "scim.name"));
}

#[test]
fn a_directory_speaks_for_its_own_provider() {
    let world = World::new();
    let directory = world.directory("okta", false);
    let stranger = crate::store::Human {
        name: "eve@example.net".parse().unwrap(),
        id: "h-eve".to_owned(),
        external_id: None,
        provisioned: Provisioned::No,
        issuer: String::new(),
        sub: String::new(),
        groups: std::collections::BTreeSet::new(),
        active: true,
        signed_in_after: 0,
        seen: 1,
    };
    world.write(|act| act.put_human(&stranger));
    assert_eq!(find(&world, &directory, "eve@example.net"), Vec::<Value>::new());
    for (method, body) in [("GET", None), ("DELETE", None), ("PATCH", Some(patch(false)))] {
        assert_eq!(refused(&world.scim(&directory, method, "/Users/h-eve", body)).0, 404, "{method}");
    }
    assert_eq!(world.read(|act| act.human(&stranger.name)), Some(stranger));
}

#[test]
fn an_agents_life() {
    let world = World::new();
    let humans_only = world.directory("hr", false);
    let token = world.directory("okta", true);
    for (method, path, body) in [
        ("GET", "/Agents", None),
        ("GET", "/Agents/triage", None),
        ("PATCH", "/Agents/triage", Some(patch(false))),
        ("DELETE", "/Agents/triage", None),
    ] {
        assert_eq!(
            refused(&world.scim(&humans_only, method, path, body)),
            (403, "", "scim.no_agents"),
            "{method} {path}"
        );
    }
    let listed = world.scim(&token, "GET", "/Agents?filter=agentName%20eq%20%22triage%22", None).body;
    assert_eq!((&listed["totalResults"], &listed["Resources"][0]["team"]), (&json!(1), &json!("secops")));
    let delegation = world.exchange(ALICE, 0).unwrap();
    world.grant(&delegation);
    let off = world.scim(&token, "PATCH", "/Agents/triage", Some(patch(false)));
    assert_eq!((off.status, &off.body["active"]), (200, &json!(false)));
    assert_eq!(world.live(), []);
    assert_eq!(world.exchange(ALICE, 0), Err("actor.unknown".to_owned()));
    assert_eq!(world.scim(&token, "PATCH", "/Agents/triage", Some(patch(true))).status, 200);
    assert_eq!(world.certificate(&delegation), "token.revoked", "nothing is revived");
    assert!(world.exchange(ALICE, 0).is_ok());

    let new = |name: &str, key: Value| json!({"schemas": [AGENT.schema], "agentName": name, "team": "secops", "owner": "carol@example.org", "key": key});
    let key = world.provider.jwk();
    let made = world.scim(&token, "POST", "/Agents", Some(new("patch", key.clone())));
    assert_eq!((made.status, made.location), (201, format!("{}/scim/v2/Agents/patch", world.url)));
    assert_eq!(
        refused(&world.scim(&token, "POST", "/Agents", Some(new("x", json!({"kty": "oct"}))))).1,
        "invalidValue"
    );
    assert_eq!(
        refused(&world.scim(&token, "POST", "/Agents", Some(new("triage", key.clone())))),
        (409, "uniqueness", "scim.taken")
    );

    assert_eq!(world.scim(&token, "DELETE", "/Agents/triage", None).status, 204);
    assert_eq!(world.live(), []);
    assert_eq!(refused(&world.scim(&token, "GET", "/Agents/triage", None)).0, 404);
    // Its name does not go to whoever has the directory's token: that would be another's key under its name.
    assert_eq!(
        refused(&world.scim(&token, "POST", "/Agents", Some(new("triage", key)))),
        (409, "uniqueness", "scim.taken")
    );
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let body = json!({"name": "triage"}).to_string();
    let activated = world.ask("POST", "/v1/admin/agents/activate", &[("authorization", &carol)], Some(body.as_bytes()));
    assert_eq!((activated.status, &activated.body["tether_code"]), (400, &json!("agent.unknown")));
    assert_eq!(world.exchange(ALICE, 0), Err("actor.unknown".to_owned()));
    for event in ["scim.agent.created", "scim.agent.deleted"] {
        assert_eq!(world.trail(event).len(), 1, "{event}");
    }
    assert_eq!(HOST, "web-01");
}

#[test]
fn an_admins_word_about_an_agent_holds_against_a_directory() {
    let world = World::new();
    let token = world.directory("okta", true);
    let (admin, triage) = (Admin { name: "carol".to_owned() }, "triage".parse().unwrap());
    world.app.revoke(&admin, &Target::Agent(triage)).unwrap();
    let on = world.scim(&token, "PATCH", "/Agents/triage", Some(patch(true)));
    assert_eq!((on.status, refused(&on).2), (409, "scim.held"));
    assert_eq!(world.exchange(ALICE, 0), Err("actor.unknown".to_owned()));
    assert_eq!(world.scim(&token, "PATCH", "/Agents/triage", Some(patch(false))).status, 200, "once more is no harm");
    assert_eq!(world.scim(&token, "PATCH", "/Agents/triage", Some(patch(true))).status, 409);
    world.app.activate(&admin, &"triage".parse().unwrap()).unwrap();
    assert!(world.exchange(ALICE, 0).is_ok());
}

#[test]
fn a_pair_is_revoked_in_every_spelling_of_its_human() {
    let world = World::new();
    let admin = Admin { name: "carol".to_owned() };
    let pair = |agent: &str, human: &str| Target::Pair { agent: agent.parse().unwrap(), human: human.parse().unwrap() };
    world.grant(&world.exchange(ALICE, 5).unwrap());
    assert_eq!(world.app.revoke(&admin, &pair("nobody", ALICE)).unwrap_err().code, "revoke.unknown");
    world.app.revoke(&admin, &pair("triage", "bob@example.org")).unwrap();
    assert_eq!(world.live().len(), 1, "another pair is not concerned");
    world.app.revoke(&admin, &pair("triage", "Alice@example.org")).unwrap();
    assert_eq!(world.live(), []);
    assert!(world.exchange(ALICE, 5).is_err(), "nor is an old sign-in good for it");
}
