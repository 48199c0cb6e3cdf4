//! Texts that stand in files: what a change of them means is to be looked at. `TETHER_GOLDEN=write` writes them anew.
#![allow(dead_code)]

use std::path::Path;

/// Compares with the file of that name, and says where the first difference is.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TETHER_GOLDEN").is_some_and(|word| word == "write") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    for (number, (found, wanted)) in (1..).zip(text.lines().zip(wanted.lines())) {
        assert_eq!(found, wanted, "{name}, line {number}");
    }
    assert_eq!(text.lines().count(), wanted.lines().count(), "{name}: lines");
}
