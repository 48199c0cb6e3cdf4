//! Bodies as the large directories write them, and those that are refused, each with its `scimType`.

use proptest::prelude::*;
use serde_json::{Value, json};
use tether_scim::{AGENT, Filter, NewAgent, NewUser, PATCH_SCHEMA, Page, Patch, Problem, USER};

fn patch(operations: Value) -> Result<Patch, Problem> {
    Patch::parse(&json!({"schemas": [PATCH_SCHEMA], "Operations": operations}), &USER)
}

fn refused<T: std::fmt::Debug>(done: Result<T, Problem>) -> (u16, &'static str) {
    let problem = done.unwrap_err();
    (problem.status, problem.scim_type.map_or("", |one| one.as_str()))
}

#[test]
fn every_way_to_say_inactive_is_read() {
    let ways = [
        // As the standard has it.
        json!([{"op": "replace", "path": "active", "value": false}]),
        // Entra: the operation in upper case, the value as a text.
        json!([{"op": "Replace", "path": "active", "value": "False"}]),
        json!([{"op": "Add", "path": "active", "value": "false"}]),
        // Okta: an object and no path.
        json!([{"op": "replace", "value": {"active": false}}]),
        json!([{"op": "replace", "value": {"id": "7", "Active": "FALSE", "displayName": "Alice"}}]),
        // With the schema before it; as a list of one; as an object with a value.
        json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false}]),
        json!([{"op": "replace", "value": {"urn:ietf:params:scim:schemas:core:2.0:user:ACTIVE": false}}]),
        json!([{"op": "replace", "path": "active", "value": [{"value": "False"}]}]),
        json!([{"op": "replace", "path": "ACTIVE", "value": {"value": false}}]),
        // Below the schema, as extensions stand, and with the schema alone as the path.
        json!([{"op": "replace", "value": {"urn:ietf:params:scim:schemas:core:2.0:User": {"active": false}}}]),
        json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User", "value": {"active": "False"}}]),
        // Among others that are not kept.
        json!([
            {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@example.org"},
            {"op": "add", "path": "name.givenName", "value": "Alice"},
            {"op": "remove", "path": "title"},
            {"op": "replace", "path": "active", "value": false},
        ]),
        // The last one holds.
        json!([{"op": "replace", "path": "active", "value": true}, {"op": "replace", "value": {"active": false}}]),
    ];
    for way in ways {
        assert_eq!(patch(way.clone()), Ok(Patch { active: Some(false), ..Patch::default() }), "{way}");
    }
    assert_eq!(patch(json!([{"op": "replace", "path": "active", "value": "True"}])).unwrap().active, Some(true));
    assert_eq!(patch(json!([{"op": "replace", "path": "displayName", "value": "A"}])), Ok(Patch::default()));
}

#[test]
fn attributes_below_their_schema_are_the_same_attributes() {
    const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
    let user = |members: Value| {
        let mut body = json!({"schemas": [CORE], "userName": "alice@example.org"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        NewUser::parse(&body)
    };
    assert_eq!(user(json!({})).unwrap().active, None);
    assert_eq!(user(json!({CORE: {"active": false}})).unwrap().active, Some(false));
    assert_eq!(user(json!({format!("{CORE}:active"): "False"})).unwrap().active, Some(false));
    // Said twice, or no object: nobody guesses.
    assert_eq!(refused(user(json!({"active": true, CORE: {"active": false}}))).0, 400);
    assert_eq!(refused(user(json!({CORE: false}))).0, 400);
    let twice = json!([{"op": "replace", "value": {"active": true, CORE: {"Active": false}}}]);
    assert_eq!(refused(patch(twice)).0, 400);
    let no_object = json!([{"op": "replace", "path": CORE, "value": false}]);
    assert_eq!(refused(patch(no_object)).0, 400);
    let removed = json!([{"op": "remove", "path": CORE}]);
    assert_eq!(refused(patch(removed)).0, 400);
    // Another schema's object is another one's attribute.
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    assert_eq!(user(json!({enterprise: {"active": false}})).unwrap().active, None);
}

#[test]
fn other_attributes_are_changed_or_fixed() {
    let changed = patch(json!([
        {"op": "replace", "value": {"userName": "bob@example.org"}}, {"op": "remove", "path": "externalId"},
    ]));
    let texts = changed.unwrap().texts;
    assert_eq!(texts.get("userName"), Some(&Some("bob@example.org".to_owned())));
    assert_eq!(texts.get("externalId"), Some(&None));
    let of_agent = |path: &str| {
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": [{"op": "replace", "path": path, "value": "x"}]});
        refused(Patch::parse(&body, &AGENT))
    };
    for fixed in ["id", "agentName", "team", "owner", "KEY"] {
        assert_eq!(of_agent(fixed), (400, "mutability"), "{fixed}");
    }
}

#[test]
fn a_patch_that_cannot_be_understood_is_refused() {
    let cases = [
        (json!([]), "invalidSyntax"),
        (json!(7), "invalidSyntax"),
        (json!([7]), "invalidSyntax"),
        (json!([{"path": "active", "value": false}]), "invalidSyntax"),
        (json!([{"op": "move", "path": "active", "value": false}]), "invalidSyntax"),
        (json!([{"op": "replace", "OP": "add", "path": "active", "value": false}]), "invalidSyntax"),
        (json!([{"op": "replace", "value": {"active": false, "ACTIVE": true}}]), "invalidSyntax"),
        (
            json!([{"op": "replace", "value": {
                "active": false, "urn:ietf:params:scim:schemas:core:2.0:User:active": true,
            }}]),
            "invalidSyntax",
        ),
        (json!([{"op": "replace", "value": false}]), "invalidSyntax"),
        (json!([{"op": "replace"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "active"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "active", "value": null}]), "invalidValue"),
        (json!([{"op": "replace", "path": "active", "value": 0}]), "invalidValue"),
        (json!([{"op": "replace", "path": "active", "value": "no"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "active", "value": [false, true]}]), "invalidValue"),
        (json!([{"op": "replace", "value": {"active": {}}}]), "invalidValue"),
        (json!([{"op": "remove", "path": "active"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "userName", "value": ""}]), "invalidValue"),
        (json!([{"op": "remove"}]), "noTarget"),
        (json!([{"op": "replace", "path": "", "value": false}]), "invalidPath"),
        (json!([{"op": "replace", "path": 7, "value": false}]), "invalidPath"),
        (json!([{"op": "replace", "path": "active.value", "value": false}]), "invalidPath"),
        (json!([{"op": "replace", "path": "active[value eq true]", "value": false}]), "invalidPath"),
        (json!([{"op": "replace", "path": "active eq true", "value": false}]), "invalidPath"),
        (json!([{"op": "replace", "value": {"active.x": false}}]), "invalidPath"),
        (json!([{"op": "replace", "path": "id", "value": "x"}]), "mutability"),
    ];
    for (operations, wanted) in cases {
        assert_eq!(refused(patch(operations.clone())), (400, wanted), "{operations}");
    }
    let no_schema = json!({"Operations": [{"op": "replace", "path": "active", "value": false}]});
    assert_eq!(refused(Patch::parse(&no_schema, &USER)), (400, "invalidSyntax"));
}

#[test]
fn users_are_read() {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "USERNAME": "alice@example.org", "externalId": "e-1", "active": "True",
        "name": {"givenName": "Alice"}, "emails": [{"value": "alice@example.org", "primary": true}], "groups": [],
    });
    let read = NewUser::parse(&body).unwrap();
    assert_eq!(
        (read.user_name.as_str(), read.external_id.as_deref(), read.active),
        ("alice@example.org", Some("e-1"), Some(true))
    );
    for (name, value, wanted) in [
        ("schemas", json!([]), "invalidSyntax"),
        ("USERNAME", json!(null), "invalidValue"),
        ("USERNAME", json!(7), "invalidValue"),
        ("USERNAME", json!("a\u{0}"), "invalidValue"),
        ("USERNAME", json!("x".repeat(257)), "invalidValue"),
        ("userName", json!("bob@example.org"), "invalidSyntax"),
        ("externalId", json!({}), "invalidValue"),
        ("active", json!("maybe"), "invalidValue"),
    ] {
        let mut body = body.clone();
        body[name] = value.clone();
        assert_eq!(refused(NewUser::parse(&body)), (400, wanted), "{name} = {value}");
    }
    assert_eq!(refused(NewUser::parse(&json!([]))), (400, "invalidSyntax"));
}

#[test]
fn an_agent_needs_a_key() {
    let body = json!({
        "schemas": [AGENT.schema], "agentName": "triage", "team": "secops", "owner": "carol@example.org",
        "key": {"kty": "OKP"},
    });
    assert_eq!(NewAgent::parse(&body).unwrap().name, "triage");
    for name in ["agentName", "team", "owner", "key"] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove(name);
        assert_eq!(refused(NewAgent::parse(&body)), (400, "invalidValue"), "{name}");
    }
}

#[test]
fn filters_are_equalities() {
    for (text, attribute, value) in [
        (r#"userName eq "alice@example.org""#, "userName", "alice@example.org"),
        (r#"USERNAME EQ "a b \"c\"""#, "userName", "a b \"c\""),
        (r#" externalId eq  "x" "#, "externalId", "x"),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "x""#, "userName", "x"),
        (r#"id eq "7""#, "id", "7"),
    ] {
        let read = Filter::parse(text, &USER).unwrap();
        assert_eq!((read.attribute, read.value.as_str()), (attribute, value), "{text}");
    }
    for bad in [
        "",
        "userName",
        "userName eq",
        "userName eq x",
        "userName eq 7",
        r#"userName co "x""#,
        r#"userName eq "x" or id eq "y""#,
        r#"(userName eq "x")"#,
        r#"not (userName eq "x")"#,
        r#"displayName eq "x""#,
        r#"active eq "true""#,
        r#"emails[type eq "work"]"#,
    ] {
        assert_eq!(refused(Filter::parse(bad, &USER)), (400, "invalidFilter"), "{bad}");
    }
    assert!(Filter::parse(r#"agentName eq "triage""#, &AGENT).is_ok());
}

#[test]
fn pages_have_bounds() {
    let page = |start, count| Page::parse(start, count).map(|page| (page.start, page.count));
    assert_eq!(page(None, None), Ok((1, 200)));
    assert_eq!(page(Some("0"), Some("-5")), Ok((1, 0)));
    assert_eq!(page(Some("11"), Some("100000")), Ok((11, 200)));
    assert_eq!(refused(Page::parse(Some("x"), None)), (400, "invalidValue"));
}

proptest! {
    /// The body of the fuzz target `scim_body`, for a short while.
    #[test]
    fn any_operation_is_read_or_refused(op in "[a-zA-Z]{0,8}", path in "\\PC{0,40}", value in "\\PC{0,20}") {
        let patch = patch(json!([{"op": op, "path": path, "value": value}]));
        if let Ok(patch) = patch {
            prop_assert!(patch.texts.values().flatten().all(|text| text.len() <= 256));
            let about_active = path.trim().to_lowercase().ends_with("active") && !path.contains(['.', '[']);
            if path.trim().eq_ignore_ascii_case("active") && about_active {
                prop_assert!(patch.active.is_some());
            }
        }
        let _ = Filter::parse(&path, &USER);
    }
}
