//! Every construct of the language, from its source to what it decides.

use tether_bundle::source::{compile, read};
use tether_bundle::{
    Arguments, Bundle, Command, Decision, Effect, Grant, Mode, PATTERN_RULES_MAX, PathArgument, Pattern, Policy, Rest,
    Rule, Run, Target, Verdict, split_words,
};

fn policy(rules: &str) -> Policy {
    let text = format!("name = 't'\nversion = 1\n{rules}");
    Policy::new(compile(&text).unwrap_or_else(|problems| panic!("{problems:#?}"))).unwrap()
}

/// What a policy says to a line typed in /var/log: the rule's id, or the code and the rule that it names.
fn says(policy: &Policy, line: &str) -> String {
    let words = split_words(line).unwrap();
    let (program, argv) = words.split_first().unwrap();
    match policy.decide(&Command { program, sha256: None, argv, cwd: "/var/log" }) {
        Decision::Allowed { rule, .. } => rule.id.clone(),
        Decision::Denied(denied) => match denied.rule {
            Some(rule) => format!("{} {rule}", denied.code),
            None => denied.code.to_owned(),
        },
    }
}

fn table(policy: &Policy, cases: &[(&str, &str)]) {
    for (line, wanted) in cases {
        assert_eq!(says(policy, line), *wanted, "{line}");
    }
}

#[test]
fn any_none_and_exact_arguments() {
    let policy = policy(
        "[[rule]]\nid='ss'\nprogram='/usr/bin/ss'\narguments=['-tn']
         [[rule]]\nid='uptime'\nprogram='/usr/bin/uptime'\narguments='none'
         [[rule]]\nid='ps'\nprogram='/usr/bin/ps'\narguments='any'
         [[rule]]\nid='tools'\ndirectory='/opt/tools'\narguments='any'",
    );
    table(
        &policy,
        &[
            ("/usr/bin/ss -tn", "ss"),
            ("/usr/bin/uptime", "uptime"),
            ("/usr/bin/ps aux", "ps"),
            ("/usr/bin/ps", "ps"),
            ("/opt/tools/x -y", "tools"),
            ("/usr/bin/ss", "bundle.arguments"),
            ("/usr/bin/ss -t", "bundle.arguments"),
            ("/usr/bin/ss '-tn '", "bundle.arguments"),
            ("/usr/bin/ss -tn -K", "bundle.arguments"),
            ("/usr/bin/uptime ''", "bundle.arguments"),
            ("/usr/bin/cat /etc/shadow", "bundle.no_rule"),
            ("/opt/tools/sub/x", "bundle.no_rule"),
            ("/opt/tools/", "bundle.no_rule"),
            ("/opt/tools", "bundle.no_rule"),
            ("/opt/toolsx", "bundle.no_rule"),
            ("/opt/tools/..", "bundle.no_rule"),
            ("/opt/tools/.", "bundle.no_rule"),
            ("ss -tn", "bundle.no_rule"),
            ("/usr/bin/../bin/ss -tn", "bundle.no_rule"),
            ("//usr/bin/ss -tn", "bundle.no_rule"),
        ],
    );
}

#[test]
fn a_pattern_for_each_argument_and_for_the_rest() {
    let policy = policy(
        "[[rule]]\nid='tail'\nprogram='/usr/bin/tail'\narguments=['-n', { integer = [1, 1000] }, { path = '/var/log' }]
         [[rule]]\nid='grep'\nprogram='/usr/bin/grep'\narguments=[{ one_of = ['-i', '-c'] }, { regex = '[a-z ]+' }]
         rest = { path = ['/var/log', '/etc/ssh'], min = 1, max = 2 }
         [[rule]]\nid='stat'\nprogram='/usr/bin/stat'\nrest = { anything = true, max = 2 }
         [[rule]]\nid='ip'\nprogram='/usr/sbin/ip'\narguments=[{ any_of = ['a', { exact = '…' }, { integer = [4, 6] }] }]
         [[rule]]\nid='find'\nprogram='/usr/bin/find'\narguments=[{ path = '/var/log', prefix = '--in=' }]",
    );
    table(
        &policy,
        &[
            ("/usr/bin/tail -n 50 /var/log/syslog", "tail"),
            ("/usr/bin/tail -n 50 syslog", "tail"),
            ("/usr/bin/tail -n 0 /var/log/syslog", "bundle.arguments"),
            ("/usr/bin/tail -n 050 /var/log/syslog", "bundle.arguments"),
            ("/usr/bin/tail -n 50 /var/log/../../etc/shadow", "bundle.arguments"),
            ("/usr/bin/tail -n 50 ../lib/x", "bundle.arguments"),
            ("/usr/bin/tail -n 50 --follow", "bundle.arguments"),
            ("/usr/bin/tail -n 50", "bundle.arguments"),
            ("/usr/bin/grep -i 'failed password' auth.log", "grep"),
            ("/usr/bin/grep -c x /var/log/a /etc/ssh/sshd_config", "grep"),
            ("/usr/bin/grep -c x", "bundle.arguments"),
            ("/usr/bin/grep -c x a b c", "bundle.arguments"),
            ("/usr/bin/grep -r x a", "bundle.arguments"),
            ("/usr/bin/grep -i X a", "bundle.arguments"),
            ("/usr/bin/grep -i x /etc/shadow", "bundle.arguments"),
            ("/usr/bin/stat", "stat"),
            ("/usr/bin/stat -c '%n'", "stat"),
            ("/usr/bin/stat a b c", "bundle.arguments"),
            ("/usr/sbin/ip a", "ip"),
            ("/usr/sbin/ip 5", "ip"),
            ("/usr/sbin/ip …", "ip"),
            ("/usr/sbin/ip 7", "bundle.arguments"),
            ("/usr/bin/find --in=/var/log/x", "find"),
            ("/usr/bin/find /var/log/x", "bundle.arguments"),
            ("/usr/bin/find --in=/var/logs", "bundle.arguments"),
        ],
    );
}

#[test]
fn a_denial_wins_whatever_the_order_and_however_wide_it_is() {
    let policy = policy(
        "[[rule]]\nid='any'\nprogram='/usr/bin/cat'\narguments='any'
         [[rule]]\nid='no-secrets'\ndeny=true\nprogram='/usr/bin/cat'\nrest={ any_of=[{path='/srv/secret'}], min=1, max=9 }
         [[rule]]\nid='tools'\ndirectory='/opt/tools'\narguments='any'
         [[rule]]\nid='no-x'\ndeny=true\nprogram='/opt/tools/x'\narguments='any'
         [[rule]]\nid='no-bin'\ndeny=true\ndirectory='/opt/bin'\narguments='none'
         [[rule]]\nid='never'\ndeny=true\narguments=['--write']",
    );
    table(
        &policy,
        &[
            ("/usr/bin/cat /etc/hosts", "any"),
            ("/usr/bin/cat", "any"),
            ("/usr/bin/cat /srv/secret/x", "bundle.denied_by_rule no-secrets"),
            ("/usr/bin/cat /srv/x/../secret/y", "bundle.denied_by_rule no-secrets"),
            ("/usr/bin/cat --write", "bundle.denied_by_rule no-secrets"),
            ("/opt/tools/y", "tools"),
            ("/opt/tools/y --write", "bundle.denied_by_rule never"),
            ("/opt/tools/x", "bundle.denied_by_rule no-x"),
            ("/opt/bin/x", "bundle.no_rule"),
            ("/usr/bin/none --write", "bundle.no_rule"),
        ],
    );
    assert!(!policy.has_rule_for("/opt/bin/x"), "a denial alone makes no program known");
}

#[test]
fn a_digest_is_asked_for_only_where_it_stands() {
    let [one, other] = ["a", "b"].map(|digit| digit.repeat(64));
    let rules = format!(
        "[[rule]]\nid='pinned'\nprogram='/opt/x'\nsha256='{one}'\narguments='any'
         [[rule]]\nid='old'\ndeny=true\nprogram='/opt/y'\nsha256=['{one}']\narguments='any'
         [[rule]]\nid='y'\nprogram='/opt/y'\narguments='none'"
    );
    let policy = policy(&rules);
    let decide = |program, sha256| match policy.decide(&Command { program, sha256, argv: &[], cwd: "/" }) {
        Decision::Allowed { rule, .. } => rule.id.clone(),
        Decision::Denied(denied) => format!("{} {}", denied.code, denied.rule.unwrap_or("-")),
    };
    assert_eq!(decide("/opt/x", Some(&one)), "pinned");
    assert_eq!(decide("/opt/x", Some(&other)), "bundle.digest pinned");
    assert_eq!(decide("/opt/x", None), "bundle.digest pinned");
    assert_eq!(decide("/opt/y", Some(&other)), "y");
    assert_eq!(decide("/opt/y", Some(&one)), "bundle.denied_by_rule old");
    assert_eq!(decide("/opt/y", None), "bundle.denied_by_rule old", "a denial that cannot be excluded holds");
}

#[test]
fn the_first_rule_that_fits_is_the_one_named() {
    let policy = policy(
        "[[rule]]\nid='folder'\ndirectory='/usr/bin'\narguments=[{ regex = 'a+' }]
         [[rule]]\nid='program'\nprogram='/usr/bin/x'\narguments=['aa']
         [[rule]]\nid='again'\nprogram='/usr/bin/x'\narguments=['aa']
         [[rule]]\nid='b'\nprogram='/usr/bin/x'\narguments=['b']
         [[rule]]\nid='late'\ndirectory='/usr/bin'\narguments='any'",
    );
    table(&policy, &[("/usr/bin/x aa", "folder"), ("/usr/bin/x b", "b"), ("/usr/bin/x c", "late")]);
}

#[test]
fn path_arguments_are_handed_over_as_they_lie() {
    let policy = policy(
        "[[rule]]\nid='cmp'\nprogram='/usr/bin/cmp'\narguments=['-s', { path = '/var/log' }]
         rest = { path = ['/srv', '/etc/ssh'], prefix = '--to=', max = 1 }",
    );
    let argv = ["-s", "./a//b", "--to=/etc/ssh/c/"].map(str::to_owned);
    let decision = policy.decide(&Command { program: "/usr/bin/cmp", sha256: None, argv: &argv, cwd: "/var/log" });
    let Decision::Allowed { paths, .. } = decision else { panic!("{decision:?}") };
    let first = PathArgument { index: 1, prefix_len: 0, path: "/var/log/a/b".into(), under: "/var/log".into() };
    let second = PathArgument { index: 2, prefix_len: 5, path: "/etc/ssh/c".into(), under: "/etc/ssh".into() };
    assert_eq!(paths, [first, second]);
}

#[test]
fn a_refusal_says_how_the_program_may_be_run() {
    let mut rules = String::from("[[rule]]\nid='d'\ndirectory='/usr/bin'\narguments=['--version']\n");
    for number in 0..20 {
        rules += &format!("[[rule]]\nid='{number}'\nprogram='/usr/bin/ss'\narguments=['-{number} x']\n");
    }
    let policy = policy(&rules);
    let decision = policy.decide(&Command { program: "/usr/bin/ss", sha256: None, argv: &[], cwd: "/" });
    let Decision::Denied(denied) = decision else { panic!("{decision:?}") };
    assert_eq!(denied.code, "bundle.arguments");
    assert_eq!(denied.instead.len(), 8, "a model reads a few, not all");
    assert_eq!(denied.instead[0], "/usr/bin/ss '-0 x'");
}

#[test]
fn an_explanation_says_of_each_rule_what_does_not_fit() {
    let policy = policy(
        "[[rule]]\nid='one'\nprogram='/usr/bin/tail'\narguments=['-n', { integer = [1, 9] }]
         [[rule]]\nid='folder'\ndirectory='/usr/bin'\narguments='none'
         [[rule]]\nid='paths'\nprogram='/usr/bin/tail'\nrest={ path='/var/log', max=9 }
         [[rule]]\nid='other'\nprogram='/usr/bin/head'\narguments='any'
         [[rule]]\nid='fits'\nprogram='/usr/bin/tail'\narguments=['-n', { anything = true }]",
    );
    let argv = ["-n", "50"].map(str::to_owned);
    let explained = policy.explain(&Command { program: "/usr/bin/tail", sha256: None, argv: &argv, cwd: "/" });
    let found: Vec<(&str, &Verdict)> =
        explained.considered.iter().map(|one| (one.rule.id.as_str(), &one.verdict)).collect();
    let wanted = [
        ("one", &Verdict::Argument { index: 1, wanted: "<1 to 9>".into(), unsure: false }),
        ("folder", &Verdict::Count { found: 2, min: 0, max: 0 }),
        ("paths", &Verdict::Argument { index: 0, wanted: "<path under /var/log>".into(), unsure: false }),
        ("fits", &Verdict::Fits),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn everything_that_a_rule_can_say_is_compiled() {
    let source = "name = 'whole'\nversion = 7\nabout = 'All of it'
        [read]\ntrees = ['/var/log', '/usr']\nnamed = ['/etc/sudoers']
        [[rule]]\nid = 'sockets'\nprogram = '/usr/bin/ss'\narguments = ['-tlnp']\ngrants = ['dbus', 'proc-links']
        net = ['10.0.0.1:443', '[fe80::1]:22']\ncwd = '/var'\nenvironment = { TZ = 'UTC', LC_ALL = 'C' }
        time_limit = '30s'\noutput_limit = '1MiB'
        [[rule]]\nid = 'motd'\nprogram = '/usr/bin/tee'\narguments = ['/etc/motd']\nmode = 'write'\nrun_as = 'root'
        writes = ['/etc/motd']\nstdin = true
        [[rule]]\nid = 'read'\nprograms = ['/usr/bin/cat', '/usr/bin/head']\nmode = 'read-only'\narguments = [{ path = '/var/log' }]";
    let bundle = compile(source).unwrap();
    let program = |path: &str| Target::Program { path: path.into(), sha256: vec![] };
    let exact = |text: &str| Pattern::Exact(text.into());
    let each = |first| Arguments::Each { first, rest: None };
    let logs = || each(vec![Pattern::Path { under: vec!["/var/log".into()], prefix: String::new() }]);
    let net = ["10.0.0.1:443", "[fe80::1]:22"].map(|one| one.parse().unwrap()).to_vec();
    let rule = |id: &str, target, arguments, run| Rule { id: id.into(), effect: Effect::Allow, target, arguments, run };
    let sockets = Run {
        mode: Mode::ReadOnly,
        grants: vec![Grant::ProcLinks, Grant::Dbus, Grant::Net(net)],
        cwd: Some("/var".into()),
        environment: [("LC_ALL", "C"), ("TZ", "UTC")].map(|(name, value)| (name.into(), value.into())).into(),
        time_limit_s: Some(30),
        output_limit: Some(1 << 20),
    };
    let motd = Mode::Write { run_as: "root".into(), paths: vec!["/etc/motd".into()], stdin: true };
    let wanted = vec![
        rule("sockets", program("/usr/bin/ss"), each(vec![exact("-tlnp")]), sockets),
        rule("motd", program("/usr/bin/tee"), each(vec![exact("/etc/motd")]), Run { mode: motd, ..Run::default() }),
        rule("read/cat", program("/usr/bin/cat"), logs(), Run::default()),
        rule("read/head", program("/usr/bin/head"), logs(), Run::default()),
    ];
    assert_eq!(bundle.rules, wanted);
    assert_eq!(bundle.read.trees, ["/var/log", "/usr"]);
    assert_eq!(bundle.read.named, ["/etc/sudoers"]);
}

#[test]
fn tests_stay_in_the_source() {
    let source = "name='t'\nversion=1\n[[rule]]\nid='a'\nprogram='/x'\narguments='any'\n
        [[test]]\nallow='/x \"a b\"'\nrule='a'\ncwd='/srv'\n[[test]]\ndeny='/y'\ncode='bundle.no_rule'";
    let source = read(source).unwrap();
    assert_eq!(source.cases.len(), 2);
    assert_eq!(source.cases[0].words, ["/x", "a b"]);
    assert_eq!((source.cases[0].allow, source.cases[0].cwd.as_str(), source.cases[0].place.line), (true, "/srv", 8));
    assert_eq!(source.cases[1].code.as_deref(), Some("bundle.no_rule"));
    assert!(!serde_json::to_string(&source.bundle).unwrap().contains("no_rule"));
    assert_eq!(source.places[0].line, 3);
}

#[test]
fn a_listing_tells_people_and_models_what_to_type() {
    let policy = policy(
        "[[rule]]\nid='tail'\nprogram='/usr/bin/tail'\narguments=['-n', {integer=[1,9]}, {path='/var/log', prefix='-f'}]
         time_limit='5s'
         [[rule]]\nid='grep'\nprogram='/usr/bin/grep'\narguments=[{one_of=['-i','a b']}, {regex='x+'}]\nrest={anything=true,max=3}
         [[rule]]\nid='any'\ndirectory='/opt/t'\narguments='any'\ngrants=['dbus']\nnet=['10.0.0.1:443']
         [[rule]]\nid='no'\ndeny=true\nprogram='/opt/t/x'\narguments='none'
         [[rule]]\nid='w'\nprogram='/usr/bin/tee'\narguments=['/etc/motd']\nmode='write'\nrun_as='root'\nwrites=['/etc/motd']",
    );
    let lines = [
        "/usr/bin/tail -n <1 to 9> -f<path under /var/log>",
        "/usr/bin/grep {-i|'a b'} <like /x+/> [<anything>, up to 3]",
        "/opt/t/* …",
        "/usr/bin/tee /etc/motd",
    ];
    assert_eq!(policy.commands(), lines);
    let json = serde_json::to_value(policy.commands_json()).unwrap();
    assert_eq!(json["allowed"][0]["time_limit_s"], 5);
    assert_eq!(json["allowed"][2]["net"][0], "10.0.0.1:443");
    assert_eq!(json["allowed"][2]["grants"][0], "dbus");
    assert_eq!(json["allowed"][3]["writes"][0], "/etc/motd");
    assert_eq!(json["allowed"][3]["run_as"], "root");
    assert_eq!(json["denied"][0]["rule"], "no");
    assert!(json["allowed"][1].get("writes").is_none(), "what is nothing is left out");
}

#[test]
fn a_line_shortens_long_lists_and_a_listing_does_not() {
    let words: Vec<String> = (0..12).map(|number| format!("'-{number}'")).collect();
    let policy = policy(&format!("[[rule]]\nid='a'\nprogram='/x'\narguments=[{{ one_of = [{}] }}]", words.join(",")));
    assert_eq!(policy.commands(), ["/x {-0|-1|-2|-3|-4|-5|-6|-7|4 more}"]);
    let json = serde_json::to_value(policy.commands_json()).unwrap();
    assert_eq!(json["allowed"][0]["arguments"], "{-0|-1|-2|-3|-4|-5|-6|-7|-8|-9|-10|-11}");
}

#[test]
fn the_compiled_form_is_short_and_strict() {
    let bundle = compile("name='t'\nversion=1\n[[rule]]\nid='a'\nprogram='/x'\narguments='none'").unwrap();
    let text = serde_json::to_string(&bundle).unwrap();
    let wanted = r#"{"name":"t","version":1,"rules":[{"id":"a","effect":"allow","target":{"program":{"path":"/x"}},"arguments":"none"}]}"#;
    assert_eq!(text, wanted);
    assert_eq!(serde_json::from_str::<Bundle>(&text).unwrap(), bundle);
    for changed in [
        text.replace(r#""effect":"allow","#, ""),
        text.replace(r#""arguments":"none""#, r#""arguments":"some""#),
        text.replace(r#""id":"a","#, r#""id":"a","sudo":true,"#),
        text.replace(r#""id":"a","#, r#""id":"a","id":"b","#),
        text.replace(r#","arguments":"none""#, ""),
        text.replace(r#""version":1"#, r#""version":-1"#),
    ] {
        assert_ne!(changed, text);
        assert!(serde_json::from_str::<Bundle>(&changed).is_err(), "{changed}");
    }
}

#[test]
fn what_was_signed_is_checked_as_a_source_is() {
    let good = compile("name='t'\nversion=1\n[[rule]]\nid='a'\nprogram='/x'\narguments='any'").unwrap();
    let code = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        Policy::new(bundle).map(|_| ()).map_err(|error| error.code())
    };
    let arguments = |patterns: Vec<Pattern>| {
        move |bundle: &mut Bundle| bundle.rules[0].arguments = Arguments::Each { first: patterns.clone(), rest: None }
    };
    assert_eq!(code(&|_| {}), Ok(()));
    assert_eq!(code(&|bundle| bundle.version = 0), Err("bundle.version"));
    assert_eq!(code(&|bundle| bundle.read.trees = vec!["etc".into()]), Err("bundle.read"));
    assert_eq!(code(&|bundle| bundle.read.named = vec!["/etc/../x".into()]), Err("bundle.read"));
    assert_eq!(code(&|bundle| bundle.read.trees = vec!["/".into()]), Err("bundle.read"));
    assert_eq!(code(&|bundle| bundle.rules.push(bundle.rules[0].clone())), Err("rule.id"));
    assert_eq!(code(&|bundle| bundle.rules[0].target = Target::Every), Err("rule.program"));
    assert_eq!(code(&|bundle| bundle.rules[0].target = Target::Directory("/x/".into())), Err("rule.directory"));
    assert_eq!(code(&arguments(vec![])), Err("rule.arguments"));
    assert_eq!(code(&arguments(vec![Pattern::Regex("(".into())])), Err("rule.regex"));
    assert_eq!(code(&arguments(vec![Pattern::OneOf(vec![])])), Err("rule.arguments"));
    assert_eq!(code(&arguments(vec![Pattern::Integer { min: 2, max: 1 }])), Err("rule.integer"));
    assert_eq!(code(&arguments(vec![Pattern::Exact("a\0".into())])), Err("rule.arguments"));
    let deep = (0..5).fold(Pattern::Anything, |inner, _| Pattern::AnyOf(vec![inner]));
    assert_eq!(code(&arguments(vec![deep])), Err("rule.any_of"));
    let relative = Pattern::Path { under: vec!["log".into()], prefix: String::new() };
    assert_eq!(code(&arguments(vec![relative])), Err("rule.path"));
    let many = Pattern::AnyOf(vec![Pattern::AnyOf(vec![Pattern::Anything; 200]); 6]);
    assert_eq!(code(&arguments(vec![many])), Err("rule.pattern"));
    assert_eq!(code(&|bundle| bundle.rules[0].run.grants = vec![Grant::Dbus, Grant::ProcLinks]), Err("rule.grants"));
    assert_eq!(code(&|bundle| bundle.rules[0].run.grants = vec![Grant::Net(vec![])]), Err("rule.net"));
    let nowhere = Grant::Net(vec!["0.0.0.0:443".parse().unwrap()]);
    assert_eq!(code(&|bundle| bundle.rules[0].run.grants = vec![nowhere.clone()]), Err("rule.net"));
    assert_eq!(code(&|bundle| bundle.rules[0].run.time_limit_s = Some(0)), Err("rule.limits"));
    assert_eq!(code(&|bundle| bundle.rules[0].run.output_limit = Some(u64::MAX)), Err("rule.limits"));
    let preload = [("LD_PRELOAD".to_owned(), "/tmp/x.so".to_owned())];
    assert_eq!(code(&|bundle| bundle.rules[0].run.environment = preload.clone().into()), Err("rule.environment"));
    assert_eq!(code(&|bundle| bundle.rules[0].run.cwd = Some("tmp".into())), Err("rule.cwd"));
    let write = |run_as: &str, paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let mode = Mode::Write { run_as: run_as.into(), paths, stdin: false };
        move |bundle: &mut Bundle| {
            bundle.rules[0].arguments = Arguments::None;
            bundle.rules[0].run.mode = mode.clone();
        }
    };
    assert_eq!(code(&write("root", &["/etc/motd"])), Ok(()));
    assert_eq!(code(&write("", &["/etc/motd"])), Err("rule.write"));
    assert_eq!(code(&write("root;x", &["/etc/motd"])), Err("rule.write"));
    assert_eq!(code(&write("root", &[])), Err("rule.write"));
    assert_eq!(code(&write("root", &["/"])), Err("rule.write"));
    let wide = |bundle: &mut Bundle| {
        write("root", &["/etc/motd"])(bundle);
        bundle.rules[0].arguments = Arguments::Any;
    };
    assert_eq!(code(&wide), Err("rule.write"), "a write rule has exact arguments");
    let folder = |bundle: &mut Bundle| {
        write("root", &["/etc/motd"])(bundle);
        bundle.rules[0].target = Target::Directory("/opt".into());
    };
    assert_eq!(code(&folder), Err("rule.write"));
    let denial = |bundle: &mut Bundle| {
        write("root", &["/etc/motd"])(bundle);
        bundle.rules[0].effect = Effect::Deny;
    };
    assert_eq!(code(&denial), Err("rule.deny"));
    let rest = |min, max| {
        let rest = Some(Rest { pattern: Pattern::Anything, min, max });
        move |bundle: &mut Bundle| bundle.rules[0].arguments = Arguments::Each { first: vec![], rest: rest.clone() }
    };
    assert_eq!(code(&rest(0, 1024)), Ok(()));
    for (min, max) in [(2, 1), (0, 0), (0, 1025)] {
        assert_eq!(code(&rest(min, max)), Err("rule.rest"));
    }
}

#[test]
fn rules_that_are_tried_one_by_one_are_few() {
    let rules = |count: usize, arguments: &dyn Fn(usize) -> String| {
        let rule = |number| format!("[[rule]]\nid='{number}'\nprogram='/x'\narguments={}\n", arguments(number));
        let text: String = (0..count).map(rule).collect();
        compile(&format!("name='t'\nversion=1\n{text}")).map(|_| ()).map_err(|problems| problems[0].code)
    };
    let pattern = |number: usize| format!("[{{ regex = 'a{number}' }}]");
    assert_eq!(rules(PATTERN_RULES_MAX, &pattern), Ok(()));
    assert_eq!(rules(PATTERN_RULES_MAX + 1, &pattern), Err("rule.crowd"));
    assert_eq!(rules(PATTERN_RULES_MAX + 1, &|_| "['same']".into()), Err("rule.crowd"));
    assert_eq!(rules(5000, &|number| format!("['{number}']")), Ok(()), "exact lists are looked up");
}

#[test]
fn expressions_are_bounded_and_the_same_one_counts_once() {
    let rules = |regex: &dyn Fn(usize) -> String| {
        let rule = |number| {
            format!("[[rule]]\nid='{number}'\nprogram='/x{number}'\narguments=[{{ regex = '{}' }}]\n", regex(number))
        };
        let text: String = (0..5000).map(rule).collect();
        compile(&format!("name='t'\nversion=1\n{text}"))
            .map(|_| ())
            .map_err(|problems| (problems.len(), problems[0].code))
    };
    assert_eq!(rules(&|_| "[a-z]+".into()), Ok(()));
    assert_eq!(rules(&|number| format!("[a-z]+{number}")), Err((1, "rule.regex")));
}
