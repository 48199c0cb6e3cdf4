//! What teams have already, made into a source.

mod common;

use common::{Desk, Ran};
use serde_json::Value;

const STRUCTURED: &str = r#"{
  "name": "web ops",
  "description": "What web operators run",
  "opt_run_as": "root",
  "opt_no_exec": true,
  "opt_set_env": true,
  "add_env": ["LC_ALL=C", "DISPLAY"],
  "structured_commands": [
    {"command": "/usr/bin/ss", "command_type": "executable", "args_type": "custom", "args": "-tn 'a b'"},
    {"command": "/usr/bin/uptime", "command_type": "executable", "args_type": "none"},
    {"command": "/bin/ps", "command_type": "executable", "args_type": "any"},
    {"command": "/opt/tools/", "command_type": "directory"},
    {"command": "/usr/bin/systemctl status nginx", "command_type": "raw"},
    {"command": "/usr/bin/cat /var/log/*", "command_type": "raw"},
    {"command": "relative", "command_type": "executable", "args_type": "any"},
    {"command": "/usr/bin/x", "command_type": "script"}
  ],
  "colour": "red"
}"#;

fn left(found: &Ran) -> Vec<(u64, String)> {
    let json = found.json();
    let list = json["not_carried_over"].as_array().unwrap();
    list.iter().map(|one| (one["line"].as_u64().unwrap(), one["what"].as_str().unwrap().to_owned())).collect()
}

fn rules(found: &Ran) -> Vec<Value> {
    let desk = Desk::new().with("a.toml", found.json()["source"].as_str().unwrap());
    let built = desk.run("build a.toml");
    assert_eq!(built.code, 0, "what is imported compiles: {built:?}");
    built.json()["rules"].as_array().unwrap().clone()
}

fn allowed(found: &Ran) -> Vec<String> {
    let desk = Desk::new().with("a.toml", found.json()["source"].as_str().unwrap());
    let out = desk.run("check a.toml").out;
    out.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_structured_bundle_is_carried_over_and_the_rest_is_reported() {
    let desk = Desk::new().with("b.json", STRUCTURED);
    let found = desk.run("import b.json --json --name web");
    assert_eq!(found.code, 3);
    let wanted = [
        "/usr/bin/ss -tn 'a b'",
        "/usr/bin/uptime",
        "/usr/bin/ps …",
        "/opt/tools/* …",
        "/usr/bin/systemctl status nginx",
    ];
    assert_eq!(allowed(&found), wanted);
    assert!(rules(&found).iter().all(|rule| rule["run"]["environment"]["LC_ALL"] == "C"));
    let left = left(&found);
    for (line, what) in [
        (14, "/usr/bin/cat /var/log/*"),
        (15, "relative"),
        (16, "/usr/bin/x"),
        (1, "set-env"),
        (1, "add_env DISPLAY"),
        (1, "colour"),
    ] {
        assert!(left.iter().any(|(at, found)| *at == line && found == what), "{line} {what}: {left:?}");
    }
    let words = desk.run("import b.json --name web -o out.toml");
    assert!(words.out.is_empty() && desk.read("out.toml").contains("name = \"web\""));
    assert!(words.err.contains("b.json:14:17: not carried over: /usr/bin/cat /var/log/*: wildcards"), "{words:?}");
    assert!(words.err.contains("note: no-exec: not needed"), "{words:?}");
}

#[test]
fn a_structured_bundle_may_be_toml() {
    let text = "name = 'ops'\n[[commands]]\ncommand = '/usr/bin/id'\ncommand_type = 'executable'\nargs_type = 'none'\n";
    let found = Desk::new().with("b.toml", text).run("import b.toml --json");
    assert_eq!((found.code, allowed(&found)), (0, vec!["/usr/bin/id".to_owned()]), "{found:?}");
}

const SUDOERS: &str = r#"# What operators may do
Defaults env_reset
User_Alias OPS = alice, %wheel
Cmnd_Alias LOGS = /usr/bin/tail -n 50 /var/log/syslog, \
                  /usr/bin/journalctl ""  # none
Cmnd_Alias ALLOF = LOGS, /bin/df : SHELLS = /bin/sh, /bin/bash
OPS web1, web2 = (root) NOPASSWD: ALLOF, !SHELLS, /opt/tools/
bob ALL = (postgres) NOEXEC: /usr/bin/psql -c select\ 1, sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa /opt/x \: y
carol ALL = /usr/bin/cat /var/log/*, sudoedit /etc/motd, NOWHERE, /usr/bin/systemctl ^status .*$, CWD=/srv /usr/bin/ls
dave ALL = (ALL) ALL
@include /etc/sudoers.local
"#;

#[test]
fn sudoers_are_carried_over_and_the_rest_is_reported() {
    let desk = Desk::new().with("sudoers", SUDOERS);
    let found = desk.run("import sudoers --json --name ops");
    assert_eq!(found.code, 3, "{found:?}");
    let wanted = [
        "/usr/bin/tail -n 50 /var/log/syslog",
        "/usr/bin/journalctl",
        "/usr/bin/df …",
        "/opt/tools/* …",
        "/usr/bin/psql -c 'select 1'",
        "/opt/x : y",
        "/usr/bin/ls …",
    ];
    assert_eq!(allowed(&found), wanted);
    let rules = rules(&found);
    let denied: Vec<&Value> = rules.iter().filter(|rule| rule["effect"] == "deny").collect();
    assert_eq!(denied.len(), 2, "{denied:?}");
    assert_eq!(denied[0]["target"]["program"]["path"], "/usr/bin/sh");
    let pinned = rules.iter().find(|rule| rule["target"]["program"]["path"] == "/opt/x").unwrap();
    assert_eq!(pinned["target"]["program"]["sha256"][0], "a".repeat(64));
    assert!(rules.iter().any(|rule| rule["run"]["cwd"] == "/srv"));
    let wanted = [
        (9, "/usr/bin/cat /var/log/*"),
        (9, "sudoedit /etc/motd"),
        (9, "NOWHERE"),
        (9, "/usr/bin/systemctl ^status .*$"),
        (10, "ALL"),
        (11, "@include /etc/sudoers.local"),
    ];
    let mut left = left(&found);
    left.sort();
    let mut wanted: Vec<(u64, String)> = wanted.iter().map(|(line, what)| (*line, (*what).to_owned())).collect();
    wanted.sort();
    assert_eq!(left, wanted);
}

#[test]
fn only_what_a_user_may_run_is_asked_for() {
    let desk = Desk::new().with("sudoers", SUDOERS);
    let of = |user: &str| allowed(&desk.run(&format!("import sudoers --json --user {user}")));
    assert_eq!(of("bob"), ["/usr/bin/psql -c 'select 1'", "/opt/x : y"]);
    assert_eq!(of("alice"), of("%wheel"));
    assert_eq!(of("alice").len(), 4);
    let nobody = desk.run("import sudoers --json --user nobody");
    assert_eq!((nobody.code, allowed(&nobody).len()), (3, 0), "{nobody:?}");
}

#[test]
fn a_file_of_aliases_alone_is_a_list_too() {
    let text = "Cmnd_Alias A = /usr/bin/id, sha512:abc /usr/bin/w\nCmnd_Alias B = A, B\n";
    let found = Desk::new().with("sudoers", text).run("import sudoers --json");
    assert_eq!(allowed(&found), ["/usr/bin/id …", "/usr/bin/w …"]);
    let rules = rules(&found);
    assert_eq!(rules[1]["target"]["program"]["sha256"][0], "0".repeat(64), "a digest is not dropped");
    assert!(left(&found).iter().any(|(_, what)| what.starts_with("sha512")), "{found:?}");
    assert!(left(&found).iter().any(|(_, what)| what == "B"), "an alias in itself ends");
}

#[test]
fn the_spellings_of_sudoers() {
    let a = "a".repeat(64);
    let b = "B".repeat(64);
    for (line, wanted) in [
        ("alice ALL=(ALL:ALL) NOPASSWD:/usr/bin/ls,/usr/bin/df -h", vec!["/usr/bin/ls …", "/usr/bin/df -h"]),
        ("alice, bob web1,web2=/usr/bin/id \"\"", vec!["/usr/bin/id"]),
        ("alice A = /usr/bin/ls : B = /usr/bin/df", vec!["/usr/bin/ls …", "/usr/bin/df …"]),
        ("#1000 ALL = NOPASSWD: NOEXEC: /usr/bin/w # at night", vec!["/usr/bin/w …"]),
        ("\"DOM\\user name\" ALL=/usr/bin/w", vec!["/usr/bin/w …"]),
        ("alice ALL = TIMEOUT=30s CWD=/srv /usr/bin/w -h", vec!["/usr/bin/w -h"]),
        ("alice ALL = /usr/bin/printf a\\,b\\=c\\\\d", vec!["/usr/bin/printf 'a,b=c\\d'"]),
        ("alice ALL = /usr/bin/echo what\\*", vec!["/usr/bin/echo 'what*'"]),
        (&format!("alice ALL = sha256:{a}, sha256:{b} /usr/bin/w"), vec!["/usr/bin/w …"]),
        ("alice ALL = !!/usr/bin/w", vec!["/usr/bin/w …"]),
    ] {
        let found = Desk::new().with("sudoers", line).run("import --from sudoers sudoers --json");
        assert_eq!((found.code, allowed(&found)), (0, wanted.iter().map(|one| (*one).to_owned()).collect()), "{line}");
        if line.contains("sha256") {
            let digests = rules(&found)[0]["target"]["program"]["sha256"].clone();
            assert_eq!(digests, serde_json::json!([a, b.to_lowercase()]));
        }
    }
}

#[test]
fn nothing_is_an_error() {
    let desk = Desk::new().with("empty", "# nothing\n");
    assert_eq!(desk.run("import empty").code, 1);
    let desk = Desk::new().with("bad.json", "{\"commands\": 1");
    assert_eq!(desk.run("import --from structured bad.json").code, 1);
}

/// No text makes the importer panic; what it makes compiles.
#[test]
fn any_text_is_imported_or_refused() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut number = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap() % limit
    };
    let pieces = [
        "Cmnd_Alias ",
        "A",
        " = ",
        ",",
        ":",
        "!",
        "\\",
        "\n",
        "\"",
        "(",
        ")",
        "ALL",
        "/usr/bin/x",
        " -a",
        "#",
        "sha256:",
        "*",
        "é",
        "NOPASSWD:",
        "CWD=",
        " ",
    ];
    let desk = Desk::new();
    for _ in 0..60 {
        let text: String = (0..number(40)).map(|_| pieces[number(pieces.len())]).collect();
        desk.put("sudoers", &text);
        let found = desk.run("import --from sudoers sudoers");
        assert!([0, 1, 3].contains(&found.code), "{text:?}: {found:?}");
        if found.code != 1 {
            desk.put("out.toml", &found.out);
            assert_eq!(desk.run("check out.toml").code, 0, "{text:?}");
        }
    }
}
