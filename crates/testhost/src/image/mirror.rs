//! The Debian mirror this machine's own apt uses, and how it reaches it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const FALLBACK: &str = "http://deb.debian.org/debian";

/// Settings of the machine's apt that decide whether its mirror can be used at all.
const PASSED_ON: [&str; 5] = [
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::ftp::Proxy",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
];

/// The first Debian archive among the machine's apt sources, or Debian's own.
pub(super) fn find() -> String {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(parts).collect();
    files.sort();
    let found = files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => in_list(&text),
            "sources" => in_sources(&text),
            _ => None,
        }
    });
    found.unwrap_or_else(|| FALLBACK.to_owned())
}

/// apt's settings for it, as mmdebstrap takes them.
pub(super) fn options() -> Vec<String> {
    let Ok(dump) = Command::new("apt-config").arg("dump").output() else {
        return Vec::new();
    };
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let wanted =
        |line: &&str| line.split_once(' ').is_some_and(|(key, value)| PASSED_ON.contains(&key) && value != "\"\";");
    dump.lines().filter(wanted).map(|line| line.trim_end_matches(';').to_owned()).collect()
}

/// One-line format: `deb [options] URL suite components`.
fn in_list(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim().strip_prefix("deb ")?.trim_start();
        let line = if line.starts_with('[') { line.split_once(']')?.1 } else { line };
        let mut words = line.split_whitespace();
        let (url, suite) = (words.next()?, words.next()?);
        is_archive(url, suite).then(|| url.to_owned())
    })
}

/// deb822 format: paragraphs of `Field: values`.
fn in_sources(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|paragraph| {
        let field = |name: &str| {
            let line = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.split_whitespace())
        };
        let mut urls = field("URIs")?;
        let suite = field("Suites")?.next()?;
        urls.find(|url| is_archive(url, suite)).map(str::to_owned)
    })
}

/// Debian's own main archive, wherever it is mirrored; not the security archive, not another vendor's.
fn is_archive(url: &str, suite: &str) -> bool {
    let path = url.trim_end_matches('/');
    let debian = ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"].contains(&suite);
    debian && (path.ends_with("/debian") || path.contains("/archive/debian/"))
}

#[cfg(test)]
mod tests {
    use super::{in_list, in_sources};

    #[test]
    fn reads_both_formats() {
        let list = "# deb http://no/debian bookworm main\ndeb [signed-by=/k.gpg] http://a/debian bookworm main\n";
        assert_eq!(in_list(list).as_deref(), Some("http://a/debian"));
        let sources = "Types: deb\nURIs: http://s/debian-security\nSuites: bookworm-security\n\nTypes: deb\n\
                       URIs: http://b/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(in_sources(sources).as_deref(), Some("http://b/debian"));
    }

    #[test]
    fn passes_other_vendors_over() {
        assert_eq!(in_list("deb https://vendor.example/apt stable main\n"), None);
        assert_eq!(in_list("deb http://archive.ubuntu.com/ubuntu noble main\n"), None);
        assert_eq!(in_list("deb http://security.debian.org/debian-security bookworm-security main\n"), None);
    }
}
