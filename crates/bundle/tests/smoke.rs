//! No text makes the compiler panic, and no bundle allows what it does not name.

use proptest::prelude::*;
use tether_bundle::source::compile;
use tether_bundle::{Command, Decision, Policy};

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused(text in any::<String>()) {
        let _ = compile(&text);
    }

    #[test]
    fn anything_like_a_bundle_compiles_or_is_refused(
        lines in prop::collection::vec("(name|version|\\[\\[rule\\]\\]|id|program|directory|arguments|about)( = )?('[ -&(-~]{0,12}'|[0-9]{0,3}|\\[('x',? ?){0,3}\\])", 0..12)
    ) {
        if let Ok(bundle) = compile(&lines.join("\n")) {
            prop_assert_eq!(bundle.clone().check(), Ok(bundle));
        }
    }

    #[test]
    fn a_program_that_no_rule_names_is_denied(program in "(/[a-z.]{0,4}){0,5}", argv in prop::collection::vec("\\PC{0,5}", 0..3)) {
        let bundle = compile("name='t'\nversion=1\n[[rule]]\nid='d'\ndirectory='/opt/t'\narguments='any'").unwrap();
        let policy = Policy::new(bundle).unwrap();
        let direct = program.strip_prefix("/opt/t/").is_some_and(|name| !name.is_empty() && !name.contains('/') && !matches!(name, "." | ".."));
        let decision = policy.decide(&Command { program: &program, sha256: None, argv: &argv, cwd: "/" });
        let allowed = matches!(decision, Decision::Allowed { .. });
        prop_assert_eq!(allowed, direct);
    }
}
