//! The fuzz targets' bodies, run for a moment with the same inputs each time: the seeds under `fuzz/corpus`, and what
//! becomes of them by a few thousand small changes.

mod fuzzed;

use std::path::Path;

/// How many changed inputs for each seed.
const ROUNDS: usize = 1500;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 2, "seeds in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// xorshift64: always the same numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

fn changed(seed: &[u8], words: &[&[u8]], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(4) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
            1 => {
                let end = (at + numbers.below(12)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let end = (at + numbers.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => {
                bytes.splice(at..at, words[numbers.below(words.len())].iter().copied());
            }
        }
    }
    bytes
}

fn run(target: &str, words: &[&[u8]], body: impl Fn(&[u8])) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for seed in seeds(target) {
        body(&seed);
        for _ in 0..ROUNDS {
            body(&changed(&seed, words, &mut numbers));
        }
    }
}

fn text(body: fn(&str)) -> impl Fn(&[u8]) {
    move |bytes| body(&String::from_utf8_lossy(bytes))
}

#[test]
fn sources() {
    let words: [&[u8]; 8] = [
        b"[[rule]]\n",
        b"deny = true\n",
        b"rest = { anything = true }\n",
        b"'",
        b"../",
        b"[",
        b"\xc3\xa9",
        b"99999999999",
    ];
    run("bundle_source", &words, text(fuzzed::any_source));
}

#[test]
fn compiled_forms() {
    let words: [&[u8]; 6] = [b"\"effect\":\"deny\",", b"null", b"[", b"{\"any_of\":[", b"-1", b"\"..\""];
    run("bundle_compiled", &words, fuzzed::any_compiled);
}

#[test]
fn patterns() {
    let words: [&[u8]; 8] = [b"(a|b)*", b"../", b"\n", b"{1,9}", b"--f=", b"path", b"\\", b"(?x)"];
    run("bundle_pattern", &words, text(fuzzed::any_pattern));
}
