//! What sudo is told to run for an agent: the launcher, with agentd's descriptors and nothing of the
//! agent's own environment but its terminal's name and its language.
#![forbid(unsafe_code)]

use rustix::io::{FdFlags, fcntl_setfd};
use std::os::fd::{AsRawFd, OwnedFd};
use tether_hostlink::{DESCRIPTORS_MAX, Refusal, codes, paths::CONFINE};

/// The plan, the program, the host's mount namespace, the host's network namespace; more are what path arguments
/// mean.
const DESCRIPTORS_LEAST: usize = 4;
const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// A run that agentd allowed.
#[derive(Debug)]
pub struct Run {
    /// For sudo: `command_info` of sudo_plugin(5).
    pub info: Vec<String>,
    /// The launcher's argv.
    pub argv: Vec<String>,
    /// The launcher's environment.
    pub environment: Vec<String>,
}

impl Run {
    /// Prepares the descriptors to survive sudo's exec, and describes the run.
    pub fn new(descriptors: &[OwnedFd], caller: &[Vec<u8>]) -> Result<Self, Refusal> {
        let numbers = inherited(descriptors)?;
        let settings = [
            "runas_uid=0",
            "runas_gid=0",
            "runas_groups=0",
            "cwd=/",
            "umask=077",
            "umask_override=true",
            "closefrom=3",
        ];
        let mut info = vec![format!("command={CONFINE}"), format!("preserve_fds={numbers}")];
        info.extend(settings.map(str::to_owned));
        let argv = vec!["tether-confine".to_owned(), format!("--descriptors={numbers}")];
        let mut environment = vec![PATH.to_owned()];
        environment.extend(["TERM", "LANG"].iter().filter_map(|name| plain_variable(caller, name)));
        Ok(Self { info, argv, environment })
    }
}

/// Clears close-on-exec and returns the numbers, separated by commas.
fn inherited(descriptors: &[OwnedFd]) -> Result<String, Refusal> {
    let internal = |text: String| Refusal::new(codes::INTERNAL, text);
    if !(DESCRIPTORS_LEAST..=DESCRIPTORS_MAX).contains(&descriptors.len()) {
        return Err(internal(format!("agentd sent {} descriptors with its plan", descriptors.len())));
    }
    let mut numbers = Vec::new();
    for descriptor in descriptors {
        // sudo opens 0 to 2 at its start, so a lower number means that something is badly wrong.
        if descriptor.as_raw_fd() < 3 {
            return Err(internal("sudo runs without its standard descriptors".to_owned()));
        }
        fcntl_setfd(descriptor, FdFlags::empty())
            .map_err(|errno| internal(format!("a descriptor of the plan cannot be handed on: {errno}")))?;
        numbers.push(descriptor.as_raw_fd().to_string());
    }
    Ok(numbers.join(","))
}

/// `NAME=value` of the caller's environment, if the value is short and plain.
fn plain_variable(caller: &[Vec<u8>], name: &str) -> Option<String> {
    let start = format!("{name}=");
    let value = caller.iter().find_map(|variable| variable.strip_prefix(start.as_bytes()))?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-".contains(byte);
    if !(1..=32).contains(&value.len()) || !value.iter().all(plain) {
        return None;
    }
    Some(start + std::str::from_utf8(value).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    #[test]
    fn only_plain_variables_of_the_terminal_and_language_pass() {
        let caller =
            ["TERM=xterm-256color", "LANG=C.UTF-8", "LD_PRELOAD=/x", "PATH=/evil"].map(|v| v.as_bytes().to_vec());
        let run = Run::new(&descriptors(4), &caller).unwrap();
        assert_eq!(run.environment, [PATH, "TERM=xterm-256color", "LANG=C.UTF-8"]);
        for bad in ["TERM=", "TERM=a/b", "TERM=a b", "TERM=123456789012345678901234567890123", "TERMX=a", "TERM=\u{e9}"]
        {
            assert_eq!(Run::new(&descriptors(4), &[bad.as_bytes().to_vec()]).unwrap().environment, [PATH], "{bad}");
        }
    }

    #[test]
    fn descriptors_are_handed_on_by_number() {
        let held = descriptors(6);
        let run = Run::new(&held, &[]).unwrap();
        let numbers = held.iter().map(|fd| fd.as_raw_fd().to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(run.argv, ["tether-confine".to_owned(), format!("--descriptors={numbers}")]);
        assert!(run.info.contains(&format!("preserve_fds={numbers}")));
        for fd in &held {
            assert!(!rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
        for count in [0, 3, 65] {
            assert_eq!(Run::new(&descriptors(count), &[]).unwrap_err().code, codes::INTERNAL);
        }
    }
}
