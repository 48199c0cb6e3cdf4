//! Policies and providers read anew: a good file is in force and on record, a bad one changes nothing and says so.

use super::{made, open, trail};
use crate::access::SignIn;
use crate::app::hash;
use crate::rules::POLICIES;
use std::collections::BTreeSet;
use std::path::Path;

const ADMINS: &str = "@id(\"a\") permit (principal in Group::\"admins\", action == Action::\"administer\", resource);";
const OTHERS: &str = "@id(\"b\") permit (principal in Group::\"others\", action == Action::\"administer\", resource);";

fn may(app: &crate::app::App, group: &str) -> bool {
    let groups = BTreeSet::from([group.to_owned()]);
    let sign_in = SignIn { human: "carol@example.org", groups: &groups, auth_time: 1, amr: &[], acr: None };
    app.access().may("administer", &sign_in, 2).unwrap()
}

fn events(folder: &Path, event: &str) -> Vec<serde_json::Value> {
    let found = trail(folder).into_iter().filter(|link| link.event.event == event);
    found.map(|link| serde_json::Value::Object(link.event.details)).collect()
}

fn gauge(app: &crate::app::App) -> String {
    let text = app.metrics_text().unwrap();
    text.lines().find(|line| line.starts_with("tether_policies_current")).unwrap().to_owned()
}

#[test]
fn a_good_file_is_in_force_and_a_bad_one_changes_nothing() {
    let folder = made("127.0.0.1:1".parse().unwrap());
    let folder = folder.path();
    std::fs::write(folder.join(POLICIES), ADMINS).unwrap();
    let app = open(folder, |_| {});
    assert!(may(&app, "admins") && !may(&app, "others"));
    assert_eq!(events(folder, "policies.loaded").len(), 1, "at start");

    std::fs::write(folder.join(POLICIES), OTHERS).unwrap();
    assert!(app.reload(folder));
    assert!(!may(&app, "admins") && may(&app, "others"));
    assert_eq!(events(folder, "policies.loaded")[1]["policies"], hash(OTHERS));
    assert_eq!(gauge(&app), "tether_policies_current 1");

    for bad in [
        "permit (",
        "permit (principal, action, resource);",
        "@id(\"c\") permit (principal == Nobody::\"x\", action, resource);",
    ] {
        std::fs::write(folder.join(POLICIES), bad).unwrap();
        assert!(!app.reload(folder), "{bad}");
        assert!(may(&app, "others"), "{bad}: the old ones stay");
        assert_eq!(gauge(&app), "tether_policies_current 0");
    }
    let refused = events(folder, "policies.refused");
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|one| one["in_force"] == hash(OTHERS) && one["why"].is_string()), "{refused:?}");
    assert!(
        trail(folder)
            .iter()
            .filter(|link| link.event.event == "policies.refused")
            .all(|link| link.event.code == "policies.refused")
    );
    std::fs::write(folder.join(POLICIES), ADMINS).unwrap();
    assert!(app.reload(folder) && may(&app, "admins"));
}

#[test]
fn providers_and_policies_change_together_or_not_at_all() {
    let folder = made("127.0.0.1:1".parse().unwrap());
    let folder = folder.path();
    std::fs::write(folder.join(POLICIES), ADMINS).unwrap();
    let app = open(folder, |_| {});
    let settings = std::fs::read_to_string(folder.join("central.toml")).unwrap();
    let provider = |authority: &str| {
        format!(
            "{settings}\n[[providers]]\nissuer = \"https://idp.example.org\"\naudiences = [\"tether\"]\n\
             namespaces = [\"@example.org\"]\nauthority = \"{authority}\"\n"
        )
    };
    std::fs::write(folder.join(POLICIES), OTHERS).unwrap();
    std::fs::write(folder.join("central.toml"), provider("tls/none.pem")).unwrap();
    assert!(!app.reload(folder), "the provider's authority is not there");
    assert!(may(&app, "admins"), "so the good policies beside it are not taken either");
    std::fs::write(folder.join("central.toml"), provider("tls/authority.pem")).unwrap();
    assert!(app.reload(folder) && may(&app, "others"));
    assert_eq!(events(folder, "policies.loaded").last().unwrap()["providers"][0], "https://idp.example.org");
}
