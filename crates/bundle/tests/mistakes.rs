//! Mistakes in a source: each is named, with its line and column, and all of them at once.

use tether_bundle::source::{Problem, compile};

/// The problems of a bundle whose first rule, beginning on line 3, has these lines; without its id.
fn problems(rule: &str) -> Vec<String> {
    short(&format!("name = 't'\nversion = 1\n[[rule]]\nid = 'a'\n{rule}"))
}

fn short(text: &str) -> Vec<String> {
    let short = |problem: &Problem| format!("{}:{} {}", problem.line, problem.column, problem.code);
    compile(text).unwrap_err().iter().map(short).collect()
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    let program = "program = '/x'\n";
    for (rule, wanted) in [
        ("arguments = 'any'", "3:1 rule.program"),
        ("program = 'ss'\narguments = 'any'", "5:1 rule.program"),
        ("program = '/usr/../x'\narguments = 'any'", "5:1 rule.program"),
        ("program = '/x'\ndirectory = '/y'\narguments = 'any'", "3:1 rule.program"),
        ("programs = ['/x', 'y']\narguments = 'any'", "5:19 rule.program"),
        ("programs = []\narguments = 'any'", "5:1 rule.program"),
        ("directory = '/y'\nsha256 = 'ab'\narguments = 'any'", "6:1 rule.sha256"),
        ("program = '/x'\nsha256 = 'AB'\narguments = 'any'", "6:1 rule.sha256"),
        ("program = '/x'\nsha256 = []\narguments = 'any'", "6:1 rule.sha256"),
        ("program = 7\narguments = 'any'", "5:11 source.type"),
        ("program = '/x'", "3:1 source.missing"),
        ("program = '/x'\narguments = 'some'", "6:13 rule.arguments"),
        ("program = '/x'\narguments = []", "6:1 rule.arguments"),
        ("program = '/x'\narguments = ['a', 7]", "6:19 source.type"),
        ("program = '/x'\narguments = ['a', '…']", "6:19 rule.arguments"),
        ("program = '/x'\narguments = [{}]", "6:14 rule.pattern"),
        ("program = '/x'\narguments = [{ regex = 'a', exact = 'b' }]", "6:14 rule.pattern"),
        ("program = '/x'\narguments = ['a', { regex = '(' }]", "6:19 rule.regex"),
        ("program = '/x'\narguments = [{ integer = [1] }]", "6:26 rule.integer"),
        ("program = '/x'\narguments = [{ integer = [9, 1] }]", "6:14 rule.integer"),
        ("program = '/x'\narguments = [{ integer = ['1', 2] }]", "6:27 source.type"),
        ("program = '/x'\narguments = [{ prefix = 'a', exact = 'b' }]", "6:16 rule.path"),
        ("program = '/x'\narguments = [{ anything = false }]", "6:27 rule.pattern"),
        ("program = '/x'\narguments = [{ globs = '*' }]", "6:16 source.key"),
        ("program = '/x'\narguments = 'any'\nrest = { anything = true }", "6:13 rule.rest"),
        ("program = '/x'\nrest = { anything = true, max = -1 }", "6:33 rule.rest"),
        ("program = '/x'\nrest = { anything = true, min = 3, max = 2 }", "6:1 rule.rest"),
        ("program = '/x'\narguments = 'any'\nrunas = 'root'", "7:1 source.key"),
        ("program = '/x'\narguments = 'any'\nrun_as = 'root'", "7:1 rule.write"),
        ("program = '/x'\narguments = 'none'\nmode = 'write'\nrun_as = 'root'", "7:1 rule.write"),
        ("program = '/x'\narguments = 'none'\nmode = 'rw'", "7:1 rule.write"),
        ("program = '/x'\narguments = 'any'\nmode = 'write'\nrun_as = 'root'\nwrites = ['/y']", "6:1 rule.write"),
        ("program = '/x'\narguments = 'any'\ngrants = ['net']", "7:11 rule.grants"),
        ("program = '/x'\narguments = 'any'\ngrants = ['dbus', 'dbus']", "7:1 rule.grants"),
        ("program = '/x'\narguments = 'any'\nnet = ['example.org:443']", "7:8 rule.net"),
        ("program = '/x'\narguments = 'any'\ntime_limit = '5 minutes'", "7:14 rule.limits"),
        ("program = '/x'\narguments = 'any'\ntime_limit = '25h'", "7:1 rule.limits"),
        ("program = '/x'\narguments = 'any'\noutput_limit = '1MB'", "7:16 rule.limits"),
        ("program = '/x'\narguments = 'any'\ncwd = 'tmp'", "7:1 rule.cwd"),
        ("program = '/x'\narguments = 'any'\nenvironment = { LD_PRELOAD = 'x' }", "7:1 rule.environment"),
        ("program = '/x'\narguments = 'any'\ndeny = 'yes'", "7:8 source.type"),
        ("program = '/x'\narguments = 'any'\ndeny = true\ngrants = ['dbus']", "7:1 rule.deny"),
    ] {
        assert!(problems(rule).iter().any(|found| found == wanted), "{rule}\n{:?}, not {wanted}", problems(rule));
    }
    let twice = format!("{program}arguments = 'any'\n[[rule]]\nid = 'a'\nprogram = '/y'\narguments = 'any'");
    assert_eq!(problems(&twice), ["8:1 rule.id"]);
}

#[test]
fn all_mistakes_come_at_once_and_in_order() {
    let text = "name = 't'\nversion = 1\ncolour = 'red'\n[read]\ntrees = ['etc']\n
[[rule]]\nid = 'a'\nprogram = 'x'\narguments = [{ regex = '[' }]\n
[[rule]]\nid = 'b'\nprogram = '/y'\narguments = [1]\ngrants = ['root']\n
[[test]]\nallow = '/y'\ndeny = '/y'\n";
    let wanted = [
        "3:1 source.key",
        "5:1 bundle.read",
        "9:1 rule.program",
        "10:14 rule.regex",
        "15:14 source.type",
        "16:11 rule.grants",
        "18:1 source.test",
    ];
    assert_eq!(short(text), wanted);
}

#[test]
fn one_mistake_of_a_rule_hides_no_other() {
    let rule = "program = '/x'
arguments = [{ paht = '/var' }, { integer = [9, 1] }, { any_of = [7, { regex = '(' }] }]
time_limit = '5 minutes'
cwd = 'tmp'
mode = 'rw'";
    let wanted = [
        "6:16 source.key",
        "6:33 rule.integer",
        "6:55 rule.regex",
        "6:67 source.type",
        "7:14 rule.limits",
        "8:1 rule.cwd",
        "9:1 rule.write",
    ];
    assert_eq!(problems(rule), wanted);
    assert_eq!(
        short("name = 't'\nversion = 1\n[[rule]]\nprogram = 'x'\narguments = 'none'"),
        ["3:1 source.missing", "4:1 rule.program"]
    );
}

#[test]
fn a_problem_reads_as_a_compilers_does() {
    let problem =
        &compile("name = 't'\nversion = 1\n[[rule]]\nid = 'a'\nprogram = 'ss'\narguments = 'any'").unwrap_err()[0];
    assert_eq!(problem.to_string().split(" a path is").next(), Some("5:1: rule \"a\": \"ss\":"));
    assert!(problem.to_string().ends_with("[rule.program]"));
}

#[test]
fn text_that_is_not_toml_is_named_where_it_breaks() {
    assert_eq!(short("name = 't'\nversion = = 1")[0], "2:11 source.syntax");
    assert!(short("[[rule]\n").iter().all(|found| found.ends_with("source.syntax")));
    assert_eq!(short("name = ''\nversion = 1"), ["1:8 bundle.name"]);
    assert_eq!(short(""), ["1:1 source.missing", "1:1 source.missing"]);
    assert_eq!(short("name = 't'\nversion = 0"), ["2:1 bundle.version"]);
    assert_eq!(short("name = 't'\nversion = -1"), ["2:11 bundle.version"]);
    assert_eq!(short("name = 't'\nversion = 1\nrule = 3"), ["3:8 source.type"]);
    assert_eq!(short("name = 't'\nversion = 1\n[[test]]\nallow = '\"'"), ["3:1 source.test"]);
    let deep = format!("name = 't'\nversion = 1\nx = {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(compile(&deep).is_err(), "nested deeper than a stack is not read");
    assert_eq!(short(&" ".repeat(9 << 20)), ["1:1 source.too_long"]);
}
