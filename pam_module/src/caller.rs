//! Who asks: an agent that runs `su` asks as root, but the kernel remembers who logged in.

use tether_hostlink::paths::{CGROUP, is_agent_uid};

/// Whether this process belongs to an agent's session: by its real uid, by who logged in, or by its cgroup.
///
/// What cannot be read says nothing: a person's login must not hang on it, and an agent's own login is
/// bound by agentd, which reads for itself.
pub fn is_agent() -> bool {
    is_inside_session() || logged_in_as_agent()
}

/// The same without who logged in: pam_loginuid has made that the agent itself once sshd opens its session.
pub fn is_inside_session() -> bool {
    is_agent_uid(rustix::process::getuid().as_raw()) || has_session_cgroup()
}

fn logged_in_as_agent() -> bool {
    let text = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    text.trim().parse().is_ok_and(is_agent_uid)
}

fn has_session_cgroup() -> bool {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("0::")).any(|path| path.split('/').any(|part| part == CGROUP))
}
