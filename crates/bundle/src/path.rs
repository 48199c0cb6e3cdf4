//! Paths as text. Nothing here asks a file system.

/// The most bytes that a path may have (PATH_MAX).
pub(crate) const PATH_MAX: usize = 4096;

/// Whether it is absolute, without `.`, `..`, `//`, a `/` at the end or control characters. `/` alone is not.
pub fn is_plain_absolute(path: &str) -> bool {
    path.len() < PATH_MAX
        && !path.chars().any(char::is_control)
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// The folder that something lies directly in, and its name there; for plain absolute paths.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/').filter(|(folder, name)| !folder.is_empty() && !name.is_empty())
}

/// Whether `path` is `folder` or lies below it. Both are plain.
pub(crate) fn is_under(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a path means as text: seen from `cwd`, without `.` and `//`. None if it has `..` (where that leads, only
/// the file system knows), is empty, too long, or relative while `cwd` is not absolute.
pub(crate) fn lexical(path: &str, cwd: &str) -> Option<String> {
    let from = if path.starts_with('/') { "" } else { cwd };
    let starts_at_root = path.starts_with('/') || cwd.starts_with('/');
    if path.is_empty() || !starts_at_root || from.len() + path.len() >= PATH_MAX {
        return None;
    }
    let mut plain = String::with_capacity(from.len() + path.len() + 1);
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => return None,
            part => {
                plain.push('/');
                plain.push_str(part);
            }
        }
    }
    if plain.is_empty() { Some("/".to_owned()) } else { Some(plain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_absolute_paths() {
        for good in ["/a", "/usr/bin/ss", "/a b", "/…", "/..a", "/a."] {
            assert!(is_plain_absolute(good), "{good}");
        }
        for bad in ["", "/", "a", "a/b", "//a", "/a/", "/a//b", "/./a", "/a/..", "/../a", "/a\nb", "/a\0"] {
            assert!(!is_plain_absolute(bad), "{bad:?}");
        }
        assert!(!is_plain_absolute(&format!("/{}", "a".repeat(PATH_MAX))));
    }

    #[test]
    fn lexical_paths() {
        for (path, cwd, wanted) in [
            ("/var/log/syslog", "/", Some("/var/log/syslog")),
            ("syslog", "/var/log", Some("/var/log/syslog")),
            ("./syslog", "/var/log/", Some("/var/log/syslog")),
            ("/var//log/./syslog/", "/tmp", Some("/var/log/syslog")),
            (".", "/var/log", Some("/var/log")),
            ("/", "/var", Some("/")),
            ("../shadow", "/etc/x", None),
            ("/var/log/../../etc/shadow", "/", None),
            ("a", "relative", None),
            ("a", "/x/../y", None),
            ("", "/", None),
        ] {
            assert_eq!(lexical(path, cwd).as_deref(), wanted, "{path} in {cwd}");
        }
    }

    #[test]
    fn under_means_below_or_itself() {
        assert!(is_under("/var/log", "/var/log"));
        assert!(is_under("/var/log/a", "/var/log"));
        assert!(!is_under("/var/logs", "/var/log"));
        assert!(!is_under("/var", "/var/log"));
    }
}
