//! Programs by what an argument can make of them. Names are those of files, without folder and version.

/// They run what they are given: a rule that lets an agent choose the text lets it choose the program.
const INTERPRETERS: &[&str] = &[
    "ash", "awk", "bash", "bc", "busybox", "csh", "dash", "dc", "ed", "elvish", "emacs", "expect", "fish", "gawk",
    "gdb", "ghci", "gnuplot", "guile", "irb", "jjs", "js", "jshell", "julia", "ksh", "lua", "luajit", "m4", "make",
    "mawk", "mksh", "nawk", "node", "nodejs", "ocaml", "octave", "perl", "php", "pwsh", "python", "pypy", "R",
    "Rscript", "rbash", "ruby", "scheme", "sed", "sh", "sqlite3", "tclsh", "tcsh", "wish", "yash", "zsh",
];

/// They start other programs: as a command to run, a pager, an editor, a hook or an option.
const STARTERS: &[&str] = &[
    "ansible",
    "ansible-playbook",
    "apt",
    "apt-cache",
    "apt-get",
    "aptitude",
    "at",
    "batch",
    "byobu",
    "cargo",
    "chroot",
    "command",
    "composer",
    "cpan",
    "cpulimit",
    "crontab",
    "dialog",
    "dmesg",
    "dnf",
    "docker",
    "dpkg",
    "dpkg-reconfigure",
    "env",
    "ex",
    "find",
    "flock",
    "ftp",
    "gem",
    "gcc",
    "git",
    "info",
    "ionice",
    "ip",
    "journalctl",
    "knife",
    "kubectl",
    "ld.so",
    "less",
    "ltrace",
    "machinectl",
    "mail",
    "man",
    "mc",
    "more",
    "most",
    "mount",
    "mutt",
    "mysql",
    "nano",
    "nc",
    "ncat",
    "nice",
    "nmap",
    "nohup",
    "nsenter",
    "npm",
    "nvim",
    "openvpn",
    "parallel",
    "pdb",
    "pg",
    "pic",
    "pico",
    "pip",
    "pkexec",
    "podman",
    "psql",
    "rake",
    "rg",
    "rlwrap",
    "rpm",
    "rsync",
    "run-parts",
    "runuser",
    "rview",
    "rvim",
    "scp",
    "screen",
    "script",
    "service",
    "setarch",
    "setsid",
    "sftp",
    "snap",
    "socat",
    "split",
    "ssh",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemctl",
    "systemd-run",
    "tar",
    "task",
    "taskset",
    "tcpdump",
    "telnet",
    "time",
    "timeout",
    "tmux",
    "top",
    "unshare",
    "vi",
    "view",
    "vim",
    "vimdiff",
    "visudo",
    "w3m",
    "watch",
    "wget",
    "xargs",
    "xdotool",
    "yum",
    "zip",
    "zypper",
];

/// They write a file of the agent's choice, or change who may.
const WRITERS: &[&str] = &[
    "chattr", "chgrp", "chmod", "chown", "cp", "cpio", "curl", "dd", "dos2unix", "gunzip", "gzip", "install", "ln",
    "mv", "openssl", "patch", "rsync", "setcap", "setfacl", "shred", "sort", "tee", "truncate", "unzip", "useradd",
    "usermod", "wget", "xz",
];

/// Several programs in one file: the name under which it is typed says which.
const MANY: &[&str] = &[
    "bsdtar",
    "busybox",
    "bzip2",
    "coreutils",
    "dropbearmulti",
    "exim4",
    "gpg",
    "gzip",
    "killall5",
    "kmod",
    "last",
    "lvm",
    "lz4",
    "mtools",
    "pg_wrapper",
    "pgrep",
    "resolvectl",
    "sendmail",
    "sudo",
    "systemctl",
    "toybox",
    "unzip",
    "xtables-legacy-multi",
    "xtables-nft-multi",
    "xz",
    "zstd",
];

/// Whether it is several programs.
pub fn is_many(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    MANY.contains(&name) || name.starts_with("vim.")
}

/// What an argument can make of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It runs its argument.
    Interprets,
    /// It starts other programs.
    Starts,
    /// It writes files.
    Writes,
}

/// By a program's path: the most that is known of its name.
pub fn power(path: &str) -> Option<Power> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let known = |list: &[&str]| list.contains(&name) || list.contains(&without_version(name));
    if known(INTERPRETERS) {
        Some(Power::Interprets)
    } else if known(STARTERS) {
        Some(Power::Starts)
    } else if known(WRITERS) {
        Some(Power::Writes)
    } else {
        None
    }
}

/// `python3.11` is python, `vim.basic` is vim.
fn without_version(name: &str) -> &str {
    let stem = name.split('.').next().unwrap_or(name);
    stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_name_whatever_their_version() {
        for path in ["/usr/bin/python3.11", "/usr/bin/perl5.36", "/bin/sh", "/usr/bin/lua5.4", "/usr/bin/sqlite3"] {
            assert_eq!(power(path), Some(Power::Interprets), "{path}");
        }
        assert_eq!(power("/usr/bin/vim.basic"), Some(Power::Starts));
        assert_eq!(power("/usr/bin/systemd-run"), Some(Power::Starts));
        assert_eq!(power("/usr/bin/tee"), Some(Power::Writes));
        assert_eq!(power("/usr/bin/ss"), None);
        assert_eq!(power("/usr/bin/md5sum"), None);
        assert!(is_many("/usr/bin/kmod") && is_many("/usr/bin/vim.basic") && !is_many("/usr/bin/ss"));
    }
}
