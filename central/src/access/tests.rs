use super::*;

const POLICIES: &str = r#"
@id("analysts-web") @bundle("triage") @minutes("30")
permit (principal == Agent::"triage", action == Action::"connect", resource)
when { resource.labels.contains("role=web") && context.human in Group::"analysts" && context.multi_factor
       && context.signed_in < 3600 };
@id("long") @bundle("triage") @minutes("60")
permit (principal, action == Action::"connect", resource) when { resource.labels.contains("role=lab") };
@id("dba") @bundle("dba") @minutes("10")
permit (principal, action == Action::"connect", resource) when { resource.labels.contains("role=lab") };
@id("frozen")
forbid (principal, action, resource) when { resource has labels && resource.labels.contains("frozen=yes") };
@id("admins")
permit (principal in Group::"tether-admins", action == Action::"administer", resource) when { context.multi_factor };
"#;

fn agent() -> Agent {
    Agent {
        name: "triage".parse().unwrap(),
        team: "secops".parse().unwrap(),
        owner: "carol@example.org".to_owned(),
        key: serde_json::Value::Null,
        active: true,
        generation: 0,
        since: 0,
        void_until: 0,
        held: false,
        deleted: false,
    }
}

fn host(labels: &[&str]) -> Host {
    Host {
        id: "web-01".parse().unwrap(),
        address: None,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        key: None,
        active: true,
        enrolled_at: 0,
        revoked_at: 0,
    }
}

struct Case<'c> {
    groups: &'c [&'c str],
    amr: &'c [&'c str],
    age: u64,
    labels: &'c [&'c str],
    bundle: Option<&'c str>,
}

const GOOD: Case<'_> =
    Case { groups: &["analysts"], amr: &["pwd", "otp"], age: 60, labels: &["role=web"], bundle: None };

fn ask(case: &Case<'_>) -> Answer {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<String>>();
    let (groups, amr, now) = (owned(case.groups).into_iter().collect(), owned(case.amr), 1_700_000_000);
    let bundle = case.bundle.map(|name| name.parse().unwrap());
    let sign_in =
        SignIn { human: "alice@example.org", groups: &groups, auth_time: now - case.age, amr: &amr, acr: None };
    let (agent, host) = (agent(), host(case.labels));
    let question = Question { agent: &agent, sign_in, host: &host, bundle: bundle.as_ref(), gateway: false, now };
    Access::parse(POLICIES).unwrap().decide(&question).unwrap()
}

#[test]
fn every_condition_counts() {
    let permitted = |answer: Answer| match answer {
        Answer::Permitted(it) => (it.bundle.to_string(), it.minutes, it.policies.join(",")),
        other => panic!("{other:?}"),
    };
    assert_eq!(permitted(ask(&GOOD)), ("triage".to_owned(), 30, "analysts-web".to_owned()));
    assert_eq!(ask(&Case { groups: &["sales"], ..GOOD }), Answer::Silent);
    assert_eq!(ask(&Case { amr: &["pwd"], ..GOOD }), Answer::Silent);
    assert_eq!(ask(&Case { age: 3600, ..GOOD }), Answer::Silent);
    assert_eq!(ask(&Case { labels: &["role=db"], ..GOOD }), Answer::Silent);
    let frozen = ask(&Case { labels: &["role=web", "frozen=yes"], ..GOOD });
    assert_eq!(frozen, Answer::Forbidden(vec!["frozen".to_owned()]));
}

#[test]
fn the_bundle_is_named_when_there_are_several() {
    let lab = Case { labels: &["role=lab"], ..GOOD };
    assert_eq!(ask(&lab).code(), Some("access.several_bundles"));
    assert!(matches!(ask(&Case { bundle: Some("dba"), ..lab }), Answer::Permitted(it) if it.minutes == 10));
    let lab = Case { labels: &["role=lab"], ..GOOD };
    assert_eq!(ask(&Case { bundle: Some("root"), ..lab }).code(), Some("access.other_bundle"));
    let both = Case { labels: &["role=lab", "role=web"], bundle: Some("triage"), ..GOOD };
    assert!(matches!(ask(&both), Answer::Permitted(it) if it.minutes == 30), "the shortest holds");
}

#[test]
fn admins_are_humans_with_a_role() {
    let access = Access::parse(POLICIES).unwrap();
    let may = |group: &str, amr: &[&str]| {
        let groups = BTreeSet::from([group.to_owned()]);
        let amr: Vec<String> = amr.iter().map(|&one| one.to_owned()).collect();
        let sign_in = SignIn { human: "c@example.org", groups: &groups, auth_time: 0, amr: &amr, acr: None };
        access.may("administer", &sign_in, 10).unwrap()
    };
    assert!(may("tether-admins", &["pwd", "otp"]));
    assert!(!may("tether-admins", &["pwd"]));
    assert!(!may("analysts", &["pwd", "otp"]));
}

#[test]
fn mistakes_in_policies_are_found_before_they_are_used() {
    for (text, words) in [
        ("permit (principal, action, resource);", "@id"),
        ("@id(\"a\") permit (principal, action == Action::\"connect\", resource);", "@bundle"),
        ("@id(\"a\") @bundle(\"t\") permit (principal, action == Action::\"connect\", resource);", "@minutes"),
        (
            "@id(\"a\") @bundle(\"t\") @minutes(\"9999\") permit (principal, action == Action::\"connect\", resource);",
            "@minutes",
        ),
        (
            "@id(\"a\") @bundle(\"t\") @minutes(\"5\") permit (principal, action == Action::\"connect\", resource) \
             when { context.mfa };",
            "mfa",
        ),
        ("@id(\"a\") forbid (principal, action, resource); @id(\"a\") forbid (principal, action, resource);", "two"),
        ("permit (", "unexpected"),
    ] {
        let error = Access::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}
