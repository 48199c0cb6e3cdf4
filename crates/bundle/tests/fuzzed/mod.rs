//! What must hold for any input. The fuzz targets and the ordinary tests run these same bodies.

use tether_bundle::source::{self, compile, print};
use tether_bundle::{Bundle, Command, Decision, Policy};

/// Any text: it compiles or is refused with a place in it; what compiles survives being printed and signed.
pub fn any_source(text: &str) {
    match compile(text) {
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            let lines = text.lines().count().max(1) + 1;
            assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line) && problem.column > 0));
        }
        Ok(bundle) => {
            assert_eq!(compile(&print(&bundle)).as_ref(), Ok(&bundle), "printed and compiled");
            let json = serde_json::to_vec(&bundle).expect("a bundle is JSON");
            any_compiled(&json);
            assert!(serde_json::from_slice::<Bundle>(&json).is_ok_and(|read| read == bundle));
            let _ = source::read(text);
        }
    }
}

/// Any JSON: it is a bundle or not; one that passes its check has an index, a listing and a source.
pub fn any_compiled(bytes: &[u8]) {
    let Ok(bundle) = serde_json::from_slice::<Bundle>(bytes) else { return };
    let Ok(policy) = Policy::new(bundle.clone()) else {
        assert!(bundle.check().is_err(), "what has no index does not pass its check");
        return;
    };
    assert_eq!(compile(&print(&bundle)).as_ref(), Ok(&bundle), "printed and compiled");
    let _ = serde_json::to_string(&policy.commands_json());
    let nothing = Command { program: "relative", sha256: None, argv: &[], cwd: "/" };
    assert!(matches!(policy.decide(&nothing), Decision::Denied(_)));
}

/// A pattern in TOML on the first line, an argument on each further one: a decision is made, the same twice, within
/// its steps; and a path that is handed over lies under its folder and has no `..`.
pub fn any_pattern(text: &str) {
    let Some((pattern, arguments)) = text.split_once('\n') else { return };
    let source =
        format!("name='t'\nversion=1\n[[rule]]\nid='a'\nprogram='/x'\narguments=[{pattern}]\nrest={{anything=true}}");
    let Ok(bundle) = compile(&source) else { return };
    let policy = Policy::new(bundle).expect("what compiles has an index");
    let argv: Vec<String> = arguments.split('\n').map(str::to_owned).collect();
    let command = Command { program: "/x", sha256: None, argv: &argv, cwd: "/var/log" };
    let (decision, steps) = policy.decide_counted(&command);
    assert_eq!((&decision, steps), (&policy.decide_counted(&command).0, policy.decide_counted(&command).1));
    assert!(steps <= tether_bundle::STEPS_MAX);
    let Decision::Allowed { paths, .. } = decision else { return };
    for path in paths {
        // A file's name may have control characters; a bundle's may not.
        let visible: String = path.path.chars().map(|c| if c.is_control() { 'c' } else { c }).collect();
        assert!(tether_bundle::is_plain_absolute(&visible), "{path:?}");
        let below = path.path.strip_prefix(&path.under).expect("it lies under its folder");
        assert!(below.is_empty() || below.starts_with('/'), "{path:?}");
        let typed = argv.get(path.index).expect("an argument that is there");
        assert!(
            typed.is_char_boundary(path.prefix_len) && !typed[path.prefix_len..].split('/').any(|part| part == ".."),
            "{path:?}"
        );
    }
}
