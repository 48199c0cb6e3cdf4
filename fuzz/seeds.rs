//! The short form of fuzzing, which every run of the tests includes: a target's seeds, and changes of them. Each crate's
//! `tests/fuzz.rs` has it by its path.

use proptest::prelude::*;
use std::path::Path;

/// All seeds of a target. What a run of cargo-fuzz found lies beside them, named by its hash: it is another thing each time.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut above =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("fuzz/corpus").join(target));
    let folder = above.find(|folder| folder.is_dir()).unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().len() != 40);
    paths.sort();
    assert!(paths.len() >= 2, "seeds in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A seed with a few pieces of it replaced, by bytes or by one of these words.
pub fn changed(target: &str, words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let pieces = proptest::collection::vec(any::<u8>(), 0..8).boxed();
    let words = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()).boxed();
    let edit = (any::<prop::sample::Index>(), 0usize..12, prop_oneof![pieces, words]);
    (prop::sample::select(seeds(target)), proptest::collection::vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
        for (at, length, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, piece);
        }
        bytes
    })
}
