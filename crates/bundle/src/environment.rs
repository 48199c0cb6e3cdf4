//! Names of variables that a bundle may not set: what a loader, a shell or an interpreter would obey would make
//! another program of the one that the rule names.

/// Every name that begins so.
const PREFIXES: [&str; 22] = [
    "LD_", "DYLD_", "GLIBC_", "MALLOC_", "GCONV", "BASH_", "PYTHON", "PERL", "RUBY", "GEM_", "NODE_", "LUA_", "JAVA_",
    "JDK_", "PHP", "R_", "GUILE_", "TCL", "GIT_", "SUDO_", "SYSTEMD_", "TETHER_",
];

/// These names.
const NAMES: [&str; 44] = [
    "_JAVA_OPTIONS",
    "BASHOPTS",
    "BROWSER",
    "CDPATH",
    "CLASSPATH",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_STARTER_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "EDITOR",
    "ENV",
    "EX_INIT",
    "EXINIT",
    "FCEDIT",
    "FPATH",
    "GETCONF_DIR",
    "GLOBIGNORE",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "LESSCLOSE",
    "LESSKEY",
    "LESSOPEN",
    "LOCALDOMAIN",
    "LOCPATH",
    "MANPAGER",
    "NIS_PATH",
    "NLSPATH",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "RES_OPTIONS",
    "RESOLV_HOST_CONF",
    "SHELL",
    "SHELLOPTS",
    "TERMCAP",
    "TERMINFO",
    "TMPDIR",
    "VISUAL",
    "ZDOTDIR",
];

/// Why a bundle may not set a variable, if it may not.
pub(crate) fn objection(name: &str) -> Option<&'static str> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts_well || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.len() > 64 {
        return Some("a variable's name has 1 to 64 letters, digits and '_', and does not begin with a digit");
    }
    // Some readers take names in any case.
    let upper = name.to_ascii_uppercase();
    let obeyed = PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || NAMES.contains(&upper.as_str());
    obeyed.then_some("loaders, shells, interpreters or libraries obey it: it would change what the program is")
}

#[cfg(test)]
mod tests {
    use super::objection;

    #[test]
    fn what_loaders_and_shells_obey_is_refused() {
        for bad in [
            "LD_PRELOAD",
            "ld_preload",
            "BASH_ENV",
            "ENV",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5LIB",
            "PERL5OPT",
            "NODE_OPTIONS",
            "PATH",
            "IFS",
            "LESSOPEN",
            "GCONV_PATH",
            "PAGER",
            "HOME",
            "TETHER_SESSION",
        ] {
            assert!(objection(bad).is_some(), "{bad}");
        }
        for bad in ["", "1A", "A-B", "A=B", "A B", "Ä", "BASH_FUNC_x%%"] {
            assert!(objection(bad).is_some(), "{bad:?}");
        }
        for good in ["LANG", "LC_ALL", "TZ", "COLUMNS", "TERM", "PS_FORMAT", "_x"] {
            assert!(objection(good).is_none(), "{good}");
        }
    }
}
