//! What a bundle means: lint, explain, diff.

mod common;

use common::{Desk, Ran, SMALL};
use serde_json::Value;

/// The codes that lint gives to a rule, or to the whole bundle.
fn codes(found: &Ran, rule: Option<&str>) -> Vec<String> {
    let json = found.json();
    let all = json["findings"].as_array().unwrap().iter();
    let mine = all.filter(|finding| finding["rule"].as_str() == rule);
    mine.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

fn lint(text: &str) -> Ran {
    let text = format!("name = 't'\nversion = 1\n[read]\ntrees = ['/usr']\n{text}\n[[test]]\ndeny = '/x'\n");
    Desk::new().with("a.toml", &text).run("lint a.toml --json --no-host")
}

fn lint_rule(rule: &str) -> Vec<String> {
    codes(&lint(&format!("[[rule]]\nid = 'a'\n{rule}")), Some("a"))
}

#[test]
fn a_plain_bundle_has_no_findings() {
    let desk = Desk::new().with("a.toml", SMALL);
    let found = desk.run("lint a.toml --no-host");
    assert_eq!((found.code, found.out.as_str()), (0, ""), "{found:?}");
}

#[test]
fn each_trap_has_its_lint() {
    let write = "mode = 'write'\nrun_as = 'root'\nwrites = ['/srv/x']\n";
    for (rule, code) in [
        ("program = '/usr/bin/python3.11'\narguments = 'any'", "lint.interpreter"),
        ("program = '/usr/bin/awk'\narguments = [{ anything = true }]", "lint.interpreter"),
        ("program = '/usr/bin/find'\nrest = { anything = true }", "lint.starts_programs"),
        ("program = '/usr/bin/kmod'\narguments = ['list']", "lint.many_programs"),
        ("directory = '/usr/bin'\narguments = 'any'", "lint.folder"),
        ("program = '/usr/bin/x'\narguments = [{ regex = '.*' }]", "lint.regex_reach"),
        ("program = '/usr/bin/x'\narguments = [{ regex = '\\S+' }]", "lint.regex_reach"),
        ("program = '/usr/bin/x'\narguments = [{ regex = '[a-z0-9-]{1,20}' }]", "lint.regex_reach"),
        ("program = '/usr/bin/x'\narguments = [{ regex = '/var/log/.+' }]", "lint.regex_reach"),
        ("program = '/usr/bin/x'\narguments = [{ any_of = ['a', { regex = '[^x]*' }] }]", "lint.regex_reach"),
        ("program = '/usr/bin/x'\narguments = [{ regex = 'syslog.1' }]", "lint.regex_dot"),
        ("program = '/usr/bin/x'\narguments = [{ regex = '^a$' }]", "lint.regex_anchor"),
        ("program = '/usr/bin/x'\narguments = ['/var/log/*.log']", "lint.glob"),
        ("program = '/usr/bin/x'\narguments = [{ path = '/var/log', prefix = '--file' }]", "lint.prefix"),
        ("program = '/usr/bin/x'\narguments = [{ path = '/var/log', prefix = '/srv/' }]", "lint.prefix"),
        ("program = '/usr/bin/x'\narguments = [{ path = '/etc' }]", "lint.path_wide"),
        ("program = '/usr/bin/x'\narguments = [{ path = '/etc/ssl/private' }]", "lint.never"),
        ("program = '/usr/bin/x'\narguments = 'none'\ngrants = ['dbus']", "lint.dbus"),
        (&format!("program = '/usr/bin/bash'\narguments = ['/srv/x']\n{write}"), "lint.write_shell"),
        (&format!("program = '/usr/bin/systemd-run'\narguments = ['x']\n{write}"), "lint.write_shell"),
        (&format!("program = '/usr/bin/tee'\narguments = ['/srv/x']\n{write}stdin = true"), "lint.write_stdin"),
        (
            &format!("program = '/usr/bin/tee'\narguments = ['a']\n{}", write.replace("/srv/x", "/etc/cron.d/x")),
            "lint.write_root",
        ),
        (
            &format!("program = '/usr/bin/tee'\narguments = ['a']\n{}", write.replace("/srv/x", "/etc")),
            "lint.write_root",
        ),
        ("program = '/usr/bin/x'\ndeny = true\narguments = ['-rf']", "lint.denial_by_text"),
        ("program = '/usr/bin/x'\ndeny = true\narguments = 'any'", "lint.denial_unused"),
    ] {
        assert!(lint_rule(rule).iter().any(|found| found == code), "{rule}\n{:?}, not {code}", lint_rule(rule));
    }
    for rule in [
        "program = '/usr/bin/x'\narguments = [{ regex = '[a-z0-9][a-z0-9-]{1,20}' }]",
        "program = '/usr/bin/x'\narguments = [{ regex = 'syslog\\.[0-9]' }]",
        "program = '/usr/bin/x'\narguments = [{ path = '/var/log', prefix = '--file=' }]",
        "program = '/usr/bin/python3'\narguments = ['/usr/share/x.py']",
        "program = '/usr/bin/tail'\narguments = 'any'",
    ] {
        let warnings = lint_rule(rule);
        assert!(warnings.iter().all(|code| code == "lint.regex_anchor"), "{rule}: {warnings:?}");
    }
}

#[test]
fn reads_are_looked_at() {
    let text = "name = 't'\nversion = 1\n[read]\ntrees = ['/etc', '/etc/ssh', '/home', '/var/lib/tether']
        named = ['/etc/shadow', '/etc/sudoers']\n[[rule]]\nid = 'a'\nprogram = '/usr/bin/x'\narguments = 'none'\n";
    let found = Desk::new().with("a.toml", text).run("lint a.toml --json --no-host");
    assert_eq!(found.code, 3);
    let codes = codes(&found, None);
    for (code, count) in [("lint.never", 2), ("lint.tree", 1), ("lint.tree_wide", 1), ("lint.no_tests", 1)] {
        assert_eq!(codes.iter().filter(|one| *one == code).count(), count, "{code}: {codes:?}");
    }
}

#[test]
fn rules_that_never_decide_are_named() {
    let rule = |id: &str, text: &str| format!("[[rule]]\nid = '{id}'\n{text}\n");
    let text = [
        rule("any", "program = '/usr/bin/a'\narguments = 'any'"),
        rule("late", "program = '/usr/bin/a'\narguments = ['-x']"),
        rule("late-pattern", "program = '/usr/bin/a'\narguments = [{ integer = [1, 2] }]"),
        rule("folder", "directory = '/opt/t'\narguments = 'any'"),
        rule("in-folder", "program = '/opt/t/x'\narguments = 'none'"),
        rule("range", "program = '/usr/bin/b'\narguments = [{ integer = [1, 9] }]"),
        rule("five", "program = '/usr/bin/b'\narguments = ['5']"),
        rule("twelve", "program = '/usr/bin/b'\narguments = ['12']"),
        rule("twice", "program = '/usr/bin/b'\narguments = [{ integer = [1, 9] }]"),
        rule("gone", "program = '/usr/bin/c'\narguments = [{ regex = 'a' }]"),
        rule("no", "program = '/usr/bin/c'\ndeny = true\narguments = 'any'"),
        rule("exact-gone", "program = '/usr/bin/d'\narguments = ['-k']"),
        rule("no-k", "deny = true\narguments = ['-k']"),
    ]
    .concat();
    let found = lint(&text);
    let shadowed: Vec<Value> = found.json()["findings"].as_array().unwrap().clone();
    let shadowed: Vec<&str> = shadowed
        .iter()
        .filter(|finding| finding["code"] == "lint.shadowed")
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect();
    assert_eq!(shadowed, ["late", "late-pattern", "in-folder", "five", "twice", "gone", "exact-gone"]);
}

#[test]
fn this_hosts_programs_are_looked_at() {
    let desk = Desk::new();
    let folder = desk.path("tools");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/usr/bin/env", folder.join("link")).unwrap();
    std::fs::write(folder.join("mine"), "").unwrap();
    std::fs::set_permissions(folder.join("mine"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let folder = folder.canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    let rule = |id: &str, text: &str| format!("[[rule]]\nid = '{id}'\n{text}\narguments = 'none'\n");
    let text = [
        "name = 't'\nversion = 1\n".to_owned(),
        rule("none", "program = '/usr/bin/no-such-program'"),
        rule("link", &format!("program = '{folder}/link'")),
        rule("mine", &format!("program = '{folder}/mine'")),
        rule("folder", "directory = '/tmp/x'"),
        rule("good", "program = '/usr/bin/env'"),
    ]
    .concat();
    desk.put("a.toml", &text);
    let found = desk.run("lint a.toml --json");
    assert_eq!(codes(&found, Some("none")), ["lint.no_program"]);
    assert_eq!(codes(&found, Some("link")), ["lint.link"]);
    assert_eq!(codes(&found, Some("mine")), ["lint.untrusted"]);
    assert_eq!(codes(&found, Some("folder")), ["lint.folder_writable"]);
    assert!(codes(&found, Some("good")).iter().all(|code| code != "lint.link" && code != "lint.no_program"));
    let place =
        found.json()["findings"].as_array().unwrap().iter().find(|one| one["rule"] == "link").unwrap()["place"].clone();
    assert_eq!(place, "a.toml:7:1");
    assert_eq!(codes(&desk.run("lint a.toml --json --no-host"), Some("link")), [""; 0]);
}

#[test]
fn a_decision_is_explained() {
    let desk = Desk::new().with("a.toml", SMALL);
    let explain = |words: &[&str]| {
        let all: Vec<&str> = ["explain", "a.toml", "--no-host"].iter().chain(words).copied().collect();
        desk.words(&all)
    };
    let allowed = explain(&["--cwd", "/var/log", "--", "/usr/bin/tail", "-n", "5", "syslog"]);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(allowed.out.starts_with("allowed by \"last-lines\": /usr/bin/tail -n 5 syslog\n"), "{allowed:?}");
    assert!(allowed.out.contains("argument 3 is opened below /var/log: /var/log/syslog"), "{allowed:?}");
    let denied = explain(&["--", "/usr/bin/tail", "-n", "500", "/var/log/syslog"]);
    assert_eq!(denied.code, 3);
    assert!(denied.out.contains("a.toml:13:1: rule \"last-lines\": argument 2, 500, is not <1 to 100>"), "{denied:?}");
    let unsure = explain(&["--", "/usr/bin/tail", "-n", "5", "/var/log/../x"]);
    assert!(unsure.out.contains("cannot be told from its text"), "{unsure:?}");
    let few = explain(&["--", "/usr/bin/ss"]);
    assert!(few.out.contains("it takes 1 arguments, these are 0"), "{few:?}");
    let unknown = explain(&["--json", "--", "/usr/bin/id"]);
    assert_eq!((&unknown.json()["code"], unknown.code), (&"bundle.no_rule".into(), 3));
    assert_eq!(unknown.json()["considered"].as_array().unwrap().len(), 0);
    assert_eq!(desk.run("explain a.toml").code, 2, "a command is needed");
}

#[test]
fn a_program_is_found_and_hashed_as_a_host_would() {
    let desk = Desk::new();
    let program = std::fs::canonicalize("/usr/bin/env").unwrap();
    let program = program.to_str().unwrap();
    let zeros = "0".repeat(64);
    let rules =
        format!("name='t'\nversion=1\n[[rule]]\nid='e'\nprogram='{program}'\nsha256='{zeros}'\narguments='none'\n");
    desk.put("a.toml", &rules);
    let other = desk.words(&["explain", "a.toml", "--json", "--", "env"]);
    assert_eq!(other.json()["code"], "bundle.digest", "{other:?}");
    let given = desk.words(&["explain", "a.toml", "--sha256", &zeros, "--", "env"]);
    assert_eq!(given.code, 0, "{given:?}");
}

#[test]
fn a_difference_is_told_rule_by_rule() {
    let desk = Desk::new().with("old.toml", SMALL);
    let new = SMALL
        .replace("version = 3", "version = 4")
        .replace("trees = ['/usr', '/var/log']", "trees = ['/usr/share', '/var/log', '/etc']\nnamed = ['/etc/sudoers']")
        .replace("[1, 100]", "[1, 1000]")
        .replace(
            "id = 'sockets'\nprogram = '/usr/bin/ss'",
            "id = 'ports'\nprogram = '/usr/bin/ss'\ngrants = ['proc-links']",
        )
        .replace("rule = 'sockets'", "rule = 'ports'");
    desk.put("new.toml", &new);
    let same = desk.run("diff old.toml old.toml");
    assert_eq!((same.code, same.out.as_str()), (0, ""));
    let found = desk.run("diff old.toml new.toml");
    assert_eq!(found.code, 3);
    let wanted = "version: 3 -> 4
+ reads /etc
+ reads /etc/sudoers (named)
- reads /usr
+ \"ports\" allows /usr/bin/ss -tn (with proc-links)
- \"sockets\" allows /usr/bin/ss -tn
~ \"last-lines\" arguments: -n <1 to 100> <path under /var/log> -> -n <1 to 1000> <path under /var/log>
";
    assert_eq!(found.out, wanted);
    let json = desk.run("diff old.toml new.toml --json").json();
    assert_eq!(json["reads_added"][0], "/etc");
    assert_eq!(json["changed"][0]["rule"], "last-lines");
    desk.put("stale.toml", &new.replace("version = 4", "version = 3"));
    assert!(desk.run("diff old.toml stale.toml").out.contains("it does not grow"));
    let blocks: Vec<&str> = SMALL.split("[[rule]]").collect();
    let (last, tests) = blocks[2].split_once("[[test]]").unwrap();
    desk.put("turned.toml", &format!("{}[[rule]]{last}[[rule]]{}[[test]]{tests}", blocks[0], blocks[1]));
    assert!(desk.run("diff old.toml turned.toml").out.contains("order of rules"));
}
