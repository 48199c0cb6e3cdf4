//! The fuzz target's body on its seeds and on changes of them: the short form, in every run of the tests.

mod fuzzed;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

use proptest::prelude::*;
use seeds::{changed, seeds};

const WORDS: &[&str] = &["\n\n", "\u{2014} ", "+", "x001/", ".p/", "18446744073709551616", "-1", "\0", "00", "tile/"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn logs(bytes in changed("audit_log", WORDS)) {
        fuzzed::any_log(&bytes);
    }

    #[test]
    fn proofs(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzzed::any_log(&bytes);
    }
}

/// The seeds are what they are meant to be: else the changes of them would all be refused for another reason.
#[test]
fn the_seeds_are_taken() {
    assert!(seeds("audit_log").iter().all(|seed| fuzzed::any_log(seed) > 0));
    let note =
        seeds("audit_log").into_iter().find_map(|seed| String::from_utf8(seed).ok().filter(|t| t.contains("\n\n")));
    let key = fuzzed::signer(7).public();
    assert!(tether_audit::log::Checkpoint::verify(&note.unwrap(), &key).is_ok());
}

/// Writes the seeds; run by hand when the forms change.
#[test]
#[ignore = "it writes the seeds"]
fn write_the_seeds() {
    use tether_audit::log::*;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/audit_log");
    let checkpoint = Checkpoint { origin: "log".to_owned(), size: 70, root: leaf_hash(b"a") };
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("checkpoint", checkpoint.sign(&fuzzed::signer(7)).unwrap().as_bytes());
    write("checkpoint_text", checkpoint.text().as_bytes());
    write("vkey", fuzzed::signer(7).public().to_string().as_bytes());
    write("tile", b"tile/0/x001/234.p/17");
    write("entries", b"tile/entries/000");
    write("bundle", &bundle([b"one".as_slice(), b"", b"three"]).unwrap());
}
