//! Whether everything on this host is as it must be, and the mend for what is not.

use crate::{Found, host};
use anyhow::Result;
use serde::Serialize;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use tether_hostlink::paths;

/// One condition.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    found: String,
    mend: &'static str,
}

const AGAIN: &str = "dpkg-reconfigure tether, or: apt-get install --reinstall tether";
const HOST_FILE: &str = "/etc/tether/host.toml";
const NOT_CONFIGURED: &str = "tether enroll --central URL --token-file FILE; or write /etc/tether/host.toml \
    (/usr/share/doc/tether/examples/host.toml), then: systemctl restart tether-agentd";

fn is_configured() -> bool {
    std::path::Path::new(HOST_FILE).exists()
}

pub fn run(json: bool) -> Result<Found> {
    let checks = [
        agentd(),
        audit(),
        nss(),
        pam("common-auth"),
        pam("common-account"),
        pam_session(),
        sshd_drop_in(),
        sshd_effective(),
        sudo_lines(),
        sudo_works(),
        runner(),
        files(),
        names(),
        uids(),
        nscd(),
        sudoers_all(),
        cgroup(),
        confine(),
    ];
    let fine = checks.iter().all(|check| check.ok);
    if json {
        println!("{}", serde_json::json!({"ok": fine, "checks": checks}));
    } else {
        for check in &checks {
            println!("{}  {:<22} {}", if check.ok { "ok  " } else { "BAD " }, check.name, check.found);
            if !check.ok {
                println!("      mend: {}", check.mend);
            }
        }
    }
    Ok(if fine { Found::Fine } else { Found::Something })
}

fn check(name: &'static str, bad: Option<String>, good: &str, mend: &'static str) -> Check {
    Check { name, ok: bad.is_none(), found: bad.unwrap_or_else(|| good.to_owned()), mend }
}

fn agentd() -> Check {
    let bad = match host::fetch() {
        Ok(status) if status.version != env!("CARGO_PKG_VERSION") => {
            Some(format!("agentd is version {}, this command {}", status.version, env!("CARGO_PKG_VERSION")))
        }
        Ok(status) if status.state == "stale" => {
            let age = status.head_age_s.unwrap_or_default();
            Some(format!("agentd is stale: the feed was last known to be whole {age} s ago; agents are refused"))
        }
        Ok(status) if status.state != "admitting" => Some(format!("agentd is {}", status.state)),
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    let mend = match &bad {
        _ if !is_configured() => NOT_CONFIGURED,
        Some(why) if why.ends_with("stopped") => "an admin stopped all agents; `tether host start` admits them again",
        Some(why) if why.ends_with("starting") => {
            "central has to answer /run/tether/resume-request.json; is the courier running?"
        }
        Some(why) if why.contains("stale") => {
            "systemctl status tether-courier; journalctl -u tether-courier; is central up, and is the network?"
        }
        _ => "systemctl status tether-agentd; journalctl -u tether-agentd",
    };
    check("agentd", bad, "answers, and admits sessions", mend)
}

/// How far the audit chain goes, and how far central has it.
fn audit() -> Check {
    const BEHIND: u64 = 10_000;
    let (bad, good) = match host::fetch() {
        Ok(status) => {
            let audit = status.audit;
            let found = format!(
                "{} records, signed up to {}, countersigned up to {}, {} KiB",
                audit.records,
                audit.signed,
                audit.countersigned,
                audit.bytes / 1024
            );
            let behind = audit.countersigned > 0 && audit.records - audit.countersigned > BEHIND;
            (audit.closed.or(behind.then(|| format!("central is far behind: {found}"))), found)
        }
        Err(error) => (Some(format!("{error:#}")), String::new()),
    };
    let mend = "journalctl -u tether-agentd says why; docs/codes.md has audit.cut, audit.broken and audit.full";
    check("audit chain", bad, &good, mend)
}

fn confine() -> Check {
    let bad = match crate::confine::Report::ask() {
        Ok(report) => report.refuses_everything().map(str::to_owned),
        Err(error) => Some(format!("{error:#}")),
    };
    check("confinement", bad, "this kernel has what commands need", "tether doctor confine")
}

fn nss() -> Check {
    let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let missing: Vec<&str> =
        ["passwd", "group"].into_iter().filter(|database| !has_us_after_files(&text, database)).collect();
    let bad =
        (!missing.is_empty()).then(|| format!("/etc/nsswitch.conf: no tether after files in {}", missing.join(", ")));
    check("nsswitch", bad, "tether stands after files", AGAIN)
}

fn has_us_after_files(text: &str, database: &str) -> bool {
    let line = text.lines().find_map(|line| line.strip_prefix(database)?.strip_prefix(':'));
    let sources: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let place = |name: &str| sources.iter().position(|source| *source == name);
    matches!((place("files").or(place("compat")), place("tether")), (Some(files), Some(tether)) if files < tether)
}

fn pam(stack: &'static str) -> Check {
    let lines = pam_lines(stack);
    let ours = lines.iter().find(|line| line.contains("pam_tether.so"));
    let bad = match ours {
        None => Some(format!("/etc/pam.d/{stack} has no line of ours")),
        Some(line) if !line.contains("module_unknown=ignore") || !line.contains("default=die") => {
            Some(format!("/etc/pam.d/{stack}: {line}"))
        }
        // Without this line a module that cannot be loaded would let an agent through the account gate.
        Some(_) if stack == "common-account" && !lines.iter().any(|line| line.contains("user =~ ag-*")) => {
            Some("/etc/pam.d/common-account has no line that refuses agents when our module is missing".to_owned())
        }
        Some(_) => None,
    };
    check(if stack == "common-auth" { "PAM auth" } else { "PAM account" }, bad, "our line is there", AGAIN)
}

/// The jump must go over pam_systemd and nothing else.
fn pam_session() -> Check {
    let lines = pam_lines("common-session");
    let at = lines.iter().position(|line| line.contains("pam_tether.so"));
    let next = at.and_then(|at| lines.get(at + 1));
    let bad = match (at, next) {
        (None, _) => Some("/etc/pam.d/common-session has no line of ours".to_owned()),
        (Some(_), Some(next)) if next.contains("pam_systemd.so") => None,
        (Some(_), next) => {
            Some(format!("/etc/pam.d/common-session: after our line comes {next:?}, not pam_systemd.so"))
        }
    };
    check(
        "PAM session",
        bad,
        "our line jumps over pam_systemd",
        "pam-auth-update --package; then look at the order in /etc/pam.d/common-session",
    )
}

fn pam_lines(stack: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/etc/pam.d/{stack}")).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-tether.conf";

fn sshd_drop_in() -> Check {
    let first = fs::read_dir("/etc/ssh/sshd_config.d").map(|entries| {
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| n.ends_with(".conf"))
            .collect();
        names.sort();
        names.into_iter().next()
    });
    let bad = match first {
        Ok(Some(name)) if name == "00-tether.conf" => None,
        Ok(other) => Some(format!("the first file of /etc/ssh/sshd_config.d is {other:?}")),
        Err(error) => Some(format!("/etc/ssh/sshd_config.d: {error}")),
    };
    check("sshd drop-in", bad, "is there and sorts first", "rename the files that sort before 00-tether.conf")
}

/// What sshd would really do for an agent, and that it does none of it for a person.
fn sshd_effective() -> Check {
    let settings = |user: &str| effective(user);
    let bad = match (settings("ag-doctor"), settings("doctor")) {
        (Ok(agent), Ok(person)) => differs_from_drop_in(&agent)
            .or_else(|| serves_by_itself(&agent))
            .or_else(|| person.contains("/usr/libexec/tether/").then(|| "our settings apply to people too".to_owned())),
        (Err(error), _) | (_, Err(error)) => Some(error),
    };
    check(
        "sshd -T",
        bad,
        "agents' settings are effective, and only theirs",
        "sshd -T -C user=ag-x,host=h,addr=127.0.0.1 and compare with 00-tether.conf",
    )
}

fn effective(user: &str) -> Result<String, String> {
    let connection = format!("user={user},host=localhost,addr=127.0.0.1");
    let output =
        Command::new("sshd").args(["-T", "-C", &connection]).output().map_err(|error| format!("sshd -T: {error}"))?;
    if !output.status.success() {
        return Err(format!("sshd -T: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Without this line sshd serves `internal-sftp` by itself, and nobody records it: whatever the drop-in says, it must be
/// there.
fn serves_by_itself(effective: &str) -> Option<String> {
    let forced = effective.lines().any(|line| line.eq_ignore_ascii_case("forcecommand tether-session"));
    (!forced).then(|| "ForceCommand is not tether-session: sftp inside sshd would not be recorded".to_owned())
}

/// The first line of the drop-in whose value sshd does not have.
fn differs_from_drop_in(effective: &str) -> Option<String> {
    let text = fs::read_to_string(DROP_IN).ok()?;
    let wanted =
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with("Match"));
    for line in wanted {
        let (name, value) = line.split_once(' ')?;
        let name = name.to_lowercase();
        let found = effective.lines().find_map(|l| l.strip_prefix(&name)?.strip_prefix(' '));
        // sshd -T leaves some settings out where they are "none", or where it was built without them.
        if found.is_some_and(|found| !found.eq_ignore_ascii_case(value))
            || (found.is_none() && value != "none" && value != "no")
        {
            return Some(format!("{name} is {found:?}, not {value:?}"));
        }
    }
    None
}

fn sudo_lines() -> Check {
    let text = fs::read_to_string("/etc/sudo.conf").unwrap_or_default();
    let wanted = ["tether_policy", "tether_audit", "tether_io"];
    let plugins: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("Plugin ")).collect();
    let ours = plugins
        .iter()
        .zip(wanted)
        .filter(|(line, name)| line.contains(name) && line.contains("sudo_tether.so"))
        .count();
    let bad = (plugins.len() != 3 || ours != 3).then(|| format!("/etc/sudo.conf has the plugins {plugins:?}"));
    check("sudo.conf", bad, "our three lines are there, and no others", AGAIN)
}

fn sudo_works() -> Check {
    let output = Command::new("sudo").args(["-n", "true"]).output();
    let bad = match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    check(
        "sudo",
        bad,
        "loads the plugin and runs a command for root",
        "as root: edit /etc/sudo.conf and take the lines between \"# tether begin\" and \"# tether end\" out",
    )
}

/// Without it `tether run` is refused; nothing else needs it.
fn runner() -> Check {
    let unit = "tether-runner.socket";
    let output = Command::new("systemctl").args(["is-active", unit]).output();
    let bad = match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("{unit} is {}", String::from_utf8_lossy(&output.stdout).trim())),
        Err(error) => Some(format!("systemctl: {error}")),
    };
    check("tether run", bad, "its runner can be called", "systemctl enable --now tether-runner.socket")
}

fn files() -> Check {
    let wanted = [
        paths::CONFINE,
        paths::RUNNER,
        paths::SHELL,
        "/usr/libexec/tether/tether-principals",
        "/usr/libexec/sudo/sudo_tether.so",
        HOST_FILE,
    ];
    let bad = wanted.into_iter().find_map(|path| match fs::metadata(path) {
        Ok(about) if about.uid() == 0 && about.mode() & 0o022 == 0 => None,
        Ok(_) => Some(format!("{path} could be changed by somebody else than root")),
        Err(error) => Some(format!("{path}: {error}")),
    });
    check("files", bad, "are root's", if is_configured() { AGAIN } else { NOT_CONFIGURED })
}

fn names() -> Check {
    let text = ["/etc/passwd", "/etc/group"].map(|path| fs::read_to_string(path).unwrap_or_default()).concat();
    let taken: Vec<&str> =
        text.lines().filter_map(|line| line.split(':').next()).filter(|name| name.starts_with("ag-")).collect();
    let bad = (!taken.is_empty()).then(|| format!("these are not agents: {taken:?}"));
    check("prefix ag-", bad, "no user or group has it", "usermod -l NEW OLD; groupmod -n NEW OLD")
}

fn uids() -> Check {
    let mut taken = Vec::new();
    for (path, column, count) in
        [("/etc/passwd", 2, None), ("/etc/group", 2, None), ("/etc/subuid", 1, Some(2)), ("/etc/subgid", 1, Some(2))]
    {
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let number = |index: usize| fields.get(index).and_then(|text| text.parse::<u32>().ok());
            let Some(first) = number(column) else { continue };
            let last = first.saturating_add(count.map_or(0, |index| number(index).unwrap_or(1).saturating_sub(1)));
            if last >= paths::UID_FIRST && first <= paths::UID_LAST {
                taken.push(format!("{path}: {line}"));
            }
        }
    }
    let sessions_a_day = (paths::UID_LAST - paths::UID_FIRST).div_ceil(2) / 7;
    let good = format!("{}-{} are free: {sessions_a_day} sessions a day", paths::UID_FIRST, paths::UID_LAST);
    check(
        "uids",
        (!taken.is_empty()).then(|| taken.join("; ")),
        &good,
        "give these users other ids; humans' subordinate ids start at 100000",
    )
}

fn nscd() -> Check {
    let runs = ["/run/nscd/socket", "/var/run/nscd/socket"].iter().any(|path| fs::symlink_metadata(path).is_ok());
    check(
        "nscd",
        runs.then(|| "nscd runs: it remembers that an account was not there".to_owned()),
        "is not there",
        "apt-get remove nscd",
    )
}

/// Such a rule gives an agent nothing while PAM refuses it, but it should not hang on that alone.
fn sudoers_all() -> Check {
    let mut found = Vec::new();
    let mut files = vec!["/etc/sudoers".to_owned()];
    files
        .extend(fs::read_dir("/etc/sudoers.d").into_iter().flatten().flatten().map(|e| e.path().display().to_string()));
    for file in files {
        for line in fs::read_to_string(&file).unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("ALL") && line.contains('=') {
                found.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    check(
        "sudoers",
        (!found.is_empty()).then(|| found.join("; ")),
        "has no rule for ALL users",
        "name users or groups in these rules instead of ALL",
    )
}

fn cgroup() -> Check {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let there = text.lines().any(|line| line.contains(" - cgroup2 "));
    check(
        "cgroup v2",
        (!there).then(|| "is not mounted".to_owned()),
        "is mounted",
        "boot with systemd.unified_cgroup_hierarchy=1",
    )
}
