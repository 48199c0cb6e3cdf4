//! From a source to a signed bundle: check, build, sign, verify, test.

mod common;

use common::{Desk, SMALL};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// RFC 8410, 10.3: a private key in PKCS#8. The public half as RFC 8410, 10.1 has it.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
const OTHER: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\n";

fn desk() -> Desk {
    let desk = Desk::new().with("a.toml", SMALL).with("key.pem", PRIVATE).with("pub.pem", PUBLIC).with("other", OTHER);
    std::fs::set_permissions(desk.path("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    desk
}

#[test]
fn check_prints_what_is_allowed_or_all_that_is_wrong() {
    let desk =
        desk().with("bad.toml", "name = 't'\nversion = 1\n[[rule]]\nid = 'a'\nprogram = 'ss'\narguments = 'some'\n");
    let good = desk.run("check a.toml");
    assert_eq!(good.code, 0);
    assert_eq!(
        good.out,
        "small version 3: Looks\n  /usr/bin/ss -tn\n  /usr/bin/tail -n <1 to 100> <path under /var/log>\n"
    );
    assert_eq!(desk.run("check a.toml --json").json()["allowed"][0]["rule"], "sockets");
    let bad = desk.run("check bad.toml");
    assert_eq!(bad.code, 3, "{bad:?}");
    assert!(bad.out.contains("bad.toml:6:13: rule \"a\": arguments are"), "{bad:?}");
    let json = desk.run("check bad.toml --json").json();
    let codes = [0, 1].map(|at| format!("{} {}", json["problems"][at]["line"], json["problems"][at]["code"]));
    assert_eq!(codes, ["5 \"rule.program\"", "6 \"rule.arguments\""]);
    assert_eq!(desk.run("check none.toml").code, 1);
    assert_eq!(desk.run("check").code, 2);
    assert_eq!(desk.run("check a.toml --what").code, 2);
}

#[test]
fn what_is_built_is_what_is_signed_and_verified() {
    let desk = desk();
    let built = desk.run("build a.toml");
    assert_eq!(built.code, 0);
    assert_eq!(built.json()["rules"][0]["id"], "sockets");
    assert!(!built.out.contains("[[test]]") && !built.out.contains("shadow"), "cases stay in the source");
    assert_eq!(desk.run("build a.toml -o a.json").out, "");
    assert_eq!(desk.read("a.json"), built.out);

    let signed = desk.run("sign a.json --key key.pem --kid bundles -o a.jws");
    assert_eq!((signed.code, signed.out.as_str()), (0, ""), "{signed:?}");
    assert!(!signed.err.contains("hint"), "{signed:?}");
    let held = desk.run("verify a.jws --key pub.pem");
    assert_eq!(held.code, 0, "{held:?}");
    assert!(held.out.starts_with("a.jws holds: small version 3, 2 rules, signed by bundles, digest "), "{held:?}");
    let json = desk.run("verify a.jws --key pub.pem --json").json();
    assert_eq!((&json["holds"], &json["kid"], &json["version"]), (&true.into(), &"bundles".into(), &3.into()));
    assert!(signed.err.contains(json["sha256"].as_str().unwrap()), "the pin's digest is told when it is signed");
    // A signed bundle is a bundle for everything else.
    assert_eq!(desk.run("check a.jws").out, desk.run("check a.toml").out);

    assert_eq!(desk.run("verify a.jws --key other").code, 3, "another key");
    let changed = desk.read("a.jws").replacen('.', ".e", 1);
    desk.put("changed.jws", &changed);
    let refused = desk.run("verify changed.jws --key pub.pem --json");
    assert_eq!((refused.code, &refused.json()["holds"]), (3, &false.into()));
}

#[test]
fn a_key_has_a_name_of_its_own_and_a_bad_one_is_refused() {
    let desk =
        desk().with("seed", "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842\n").with("no", "x\n");
    let by_pem = desk.run("sign a.toml --key key.pem");
    let by_seed = desk.run("sign a.toml --key seed");
    assert_eq!(by_pem.code, 0);
    assert_eq!(by_pem.out, by_seed.out, "the same key in another form");
    assert!(by_seed.err.contains("chmod 600"), "{by_seed:?}");
    assert_eq!(desk.run("sign a.toml --key no").code, 1);
    assert_eq!(desk.run("sign a.toml --key pub.pem").code, 1);
    desk.put("bad.toml", "name = 't'\nversion = 0\n");
    let bad = desk.run("sign bad.toml --key key.pem");
    assert_eq!((bad.code, bad.out.as_str()), (1, ""), "what no host takes is not signed");
}

/// openssl(1) is not everywhere; where it is, its keys are read.
#[test]
fn keys_of_openssl_are_read() {
    let desk = desk();
    let openssl = |line: &str| {
        Command::new("openssl").args(line.split(' ')).current_dir(desk.path("")).stderr(Stdio::null()).status()
    };
    match openssl("genpkey -algorithm ed25519 -out new.pem") {
        Ok(status) if status.success() => {}
        _ => return,
    }
    assert!(openssl("pkey -in new.pem -pubout -out new.pub").unwrap().success());
    assert_eq!(desk.run("sign a.toml --key new.pem -o new.jws").code, 0);
    assert_eq!(desk.run("verify new.jws --key new.pub").code, 0);
    assert_eq!(desk.run("verify new.jws --key pub.pem").code, 3);
}

#[test]
fn the_cases_of_a_source_are_run() {
    let desk = desk();
    let good = desk.run("test a.toml");
    assert_eq!((good.code, good.out.as_str()), (0, ""), "{good:?}");
    assert!(good.err.contains("2 cases, 0 failed"));
    let more = "
[[test]]
allow = '/usr/bin/ss -K'
[[test]]
deny = '/usr/bin/ss -tn'
[[test]]
allow = '/usr/bin/ss -tn'
rule = 'last-lines'
[[test]]
deny = '/usr/bin/id'
code = 'bundle.arguments'
[[test]]
allow = '/usr/bin/tail -n 5 syslog'
cwd = '/var/log'
";
    desk.put("b.toml", &format!("{SMALL}{more}"));
    let bad = desk.run("test b.toml");
    assert_eq!(bad.code, 3);
    let lines: Vec<&str> = bad.out.lines().collect();
    assert_eq!(lines.len(), 4, "{bad:?}");
    assert!(lines[0].starts_with("b.toml:26:1: /usr/bin/ss -K: must be allowed, is denied"), "{bad:?}");
    assert!(lines[1].ends_with("must be denied, is allowed by \"sockets\""), "{bad:?}");
    assert!(lines[2].contains("must be decided by \"last-lines\""), "{bad:?}");
    assert!(lines[3].ends_with("must be refused with bundle.arguments, is denied [bundle.no_rule]"), "{bad:?}");
    assert_eq!(desk.run("test b.toml --json").json()["failed"].as_array().unwrap().len(), 4);
    desk.put("none.toml", "name = 't'\nversion = 1\n");
    assert_eq!(desk.run("test none.toml").code, 1, "no cases are no success");
}

#[test]
fn who_signed_a_bundle_confirms_it_and_nobody_else() {
    let desk = desk();
    assert_eq!(desk.run("sign a.toml --key key.pem -o a.jws").code, 0);
    let confirmed = desk.run("confirm a.jws --key key.pem");
    assert_eq!(confirmed.code, 0, "{confirmed:?}");
    let payload = confirmed.out.split('.').nth(1).unwrap();
    let word: serde_json::Value =
        serde_json::from_slice(&<base64ct::Base64UrlUnpadded as base64ct::Encoding>::decode_vec(payload).unwrap())
            .unwrap();
    assert_eq!((&word["name"], &word["version"]), (&"small".into(), &3.into()));
    let digest = tether_statement::digest(desk.read("a.jws").trim_end());
    assert_eq!(word["sha256"], digest.as_str());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(word["time"].as_u64().is_some_and(|time| time.abs_diff(now) < 60));
    desk.run("sign a.toml --key key.pem --kid bundles-2026 -o named.jws");
    let named = desk.run("confirm named.jws --key key.pem").out;
    let header = <base64ct::Base64UrlUnpadded as base64ct::Encoding>::decode_vec(named.split('.').next().unwrap());
    let header = String::from_utf8(header.unwrap()).unwrap();
    assert!(header.contains("bundles-2026"), "the key is named as the bundle names it: {header}");
    let stranger = desk.with("stranger", OTHER).run("confirm a.jws --key stranger");
    assert_eq!((stranger.code, stranger.out.as_str()), (1, ""));
    assert!(stranger.err.contains("only who signed"), "{stranger:?}");
}
