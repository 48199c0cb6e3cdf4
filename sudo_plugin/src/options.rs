//! Which of sudo's options an agent may use: an allow-list, twice. The command line shows what sudo keeps to
//! itself (`-b`); the settings show what it understood. Both must pass.
#![forbid(unsafe_code)]

use tether_hostlink::Refusal;

/// The stable code of every refusal here.
pub const CODE: &str = "sudo.option_not_for_agents";

/// `-l`, `-n`, `-k`, `-K`, `-v`, `-V`: they list, forget, or change nothing.
const LETTERS: &[u8] = b"lnkKvV";
const WORDS: &[&[u8]] =
    &[b"--", b"--list", b"--non-interactive", b"--reset-timestamp", b"--remove-timestamp", b"--validate", b"--version"];

/// What sudo 1.9.4 to 1.9.18 say of themselves and of the options above. Anything else stands for an option
/// that was not allowed, or for one that a later sudo adds.
const SETTINGS: &[&str] = &[
    "debug_flags",
    "ignore_ticket",
    "intercept_ptrace",
    "intercept_setid",
    "max_groups",
    "network_addrs",
    "noninteractive",
    "plugin_dir",
    "plugin_path",
    "update_ticket",
];

/// Looks at what stands before the command on the command line.
pub fn check_words(words: &[Vec<u8>]) -> Result<(), Refusal> {
    for word in words {
        if WORDS.contains(&word.as_slice()) {
            continue;
        }
        match word.strip_prefix(b"-") {
            None => return Err(refused(&format!("variable `{}`", String::from_utf8_lossy(word)))),
            Some(long) if long.starts_with(b"-") => {
                return Err(refused(&format!("option `{}`", String::from_utf8_lossy(word))));
            }
            Some(letters) => check_letters(letters)?,
        }
    }
    Ok(())
}

fn check_letters(letters: &[u8]) -> Result<(), Refusal> {
    match letters.iter().find(|letter| !LETTERS.contains(letter)) {
        None if letters.is_empty() => Err(refused("option `-`")),
        None => Ok(()),
        Some(letter) => Err(refused(&format!("option `-{}`", letter.escape_ascii()))),
    }
}

/// Looks at the settings that sudo passes to its plugins, `name=value`.
pub fn check_settings(settings: &[Vec<u8>]) -> Result<(), Refusal> {
    for setting in settings {
        let setting = String::from_utf8_lossy(setting);
        let (name, value) = setting.split_once('=').unwrap_or((&setting, ""));
        let allowed = SETTINGS.contains(&name) || (name, value) == ("progname", "sudo");
        if !allowed {
            return Err(refused(&format!("setting `{name}`")));
        }
    }
    Ok(())
}

/// The refusal of one option, setting or assignment.
pub fn refused(what: &str) -> Refusal {
    Refusal::new(CODE, format!("sudo's {what} is not available to agents"))
        .hint("write `sudo COMMAND ARGUMENTS`; `sudo -l` shows what you may run")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn plain_runs_and_lists_pass() {
        for line in ["", "-n", "-l", "-ll", "-nl", "-k", "-K", "-v", "-V", "--", "-n --", "--list", "--non-interactive"]
        {
            assert_eq!(check_words(&words(line)), Ok(()), "{line}");
        }
        let settings = "plugin_path=/x progname=sudo network_addrs=a noninteractive=true plugin_dir=/ \
                        intercept_setid=true intercept_ptrace=true update_ticket=true";
        assert_eq!(check_settings(&words(settings)), Ok(()));
    }

    #[test]
    fn every_other_option_is_refused() {
        let lines = "-A -a -B -b -C -c -D -E -e -g -H -h -i -N -P -p -R -r -S -s -T -t -U -u -nu -nb -lU - -é --user \
                     --background --edit --shell --login --stdin --lis --preserve-env=X --host=h A=b LD_PRELOAD=x root";
        for line in words(lines) {
            assert_eq!(check_words(std::slice::from_ref(&line)).unwrap_err().code, CODE, "{line:?}");
        }
    }

    #[test]
    fn every_other_setting_is_refused() {
        let settings = "runas_user=root runas_group=g run_shell=true implied_shell=true login_shell=true \
                        sudoedit=true progname=sudoedit preserve_environment=true closefrom=9 cmnd_chroot=/x \
                        cmnd_cwd=/ remote_host=h askpass=true set_home=true preserve_groups=true prompt=x \
                        selinux_role=r selinux_type=t timeout=5 bsdauth_type=x login_class=c apparmor_profile=p new=1 x";
        for setting in words(settings) {
            assert!(check_settings(std::slice::from_ref(&setting)).is_err(), "{setting:?}");
        }
    }
}
