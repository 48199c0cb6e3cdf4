//! Reads back what was set, from the kernel: a step that silently did nothing ends here.
#![forbid(unsafe_code)]

use crate::identity::KEPT;
use crate::refusal::failed;
use tether_hostlink::Refusal;

/// Checks ids, capabilities and no_new_privs, and that no mount is writable.
pub fn check(uid: u32) -> Result<(), Refusal> {
    let wrong = |what: &str| failed("confine.proof", "the confinement does not hold", what);
    let status = read("/proc/self/status").map_err(|error| wrong(&error.to_string()))?;
    if let Some(line) = differing_line(&status, uid) {
        return Err(wrong(&line));
    }
    let mounts = read("/proc/self/mountinfo").map_err(|error| wrong(&error.to_string()))?;
    match writable_mount(&mounts) {
        Some(line) => Err(wrong(&format!("a mount is writable: {line}"))),
        None => Ok(()),
    }
}

fn read(path: &str) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The first expectation that /proc/self/status does not meet.
fn differing_line(status: &str, uid: u32) -> Option<String> {
    let ids = [uid.to_string(), uid.to_string(), uid.to_string(), uid.to_string()].join("\t");
    let kept = format!("{:016x}", KEPT.bits());
    let expected = [
        ("Uid", ids.as_str()),
        ("Gid", &ids),
        ("Groups", ""),
        ("CapInh", &kept),
        ("CapPrm", &kept),
        ("CapEff", &kept),
        ("CapBnd", &kept),
        ("CapAmb", &kept),
        ("NoNewPrivs", "1"),
        ("Threads", "1"),
    ];
    let found = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mut unmet = expected.into_iter().filter(|(name, value)| found(name) != Some(value));
    unmet.next().map(|(name, value)| format!("{name} is {}, not {value}", found(name).unwrap_or("missing")))
}

/// The first mount whose own options (the sixth field of proc(5)'s mountinfo) do not start with "ro".
fn writable_mount(mounts: &str) -> Option<&str> {
    let is_read_only = |line: &&str| {
        let options = line.split(' ').nth(5).unwrap_or_default();
        options.split(',').next() == Some("ro")
    };
    if mounts.is_empty() { Some("none is listed") } else { mounts.lines().find(|line| !is_read_only(line)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t65537\t65537\t65537\t65537\nGid:\t65537\t65537\t65537\t65537\nGroups:\t \n\
        Threads:\t1\nCapInh:\t0000000400000004\nCapPrm:\t0000000400000004\nCapEff:\t0000000400000004\n\
        CapBnd:\t0000000400000004\nCapAmb:\t0000000400000004\nNoNewPrivs:\t1\n";

    #[test]
    fn what_was_meant_passes() {
        assert_eq!(differing_line(STATUS, 65537), None);
    }

    #[test]
    fn any_other_line_is_found() {
        for (from, to) in [
            ("65537\nGid", "0\nGid"),
            ("Gid:\t65537", "Gid:\t0"),
            ("Groups:\t ", "Groups:\t4 "),
            ("CapInh:\t0000000400000004", "CapInh:\t0000000000000004"),
            ("CapPrm:\t0000000400000004", "CapPrm:\t0000000400000006"),
            ("CapEff:\t0000000400000004", "CapEff:\t000001ffffffffff"),
            ("CapBnd:\t0000000400000004", "CapBnd:\t000001ffffffffff"),
            ("CapAmb:\t0000000400000004", "CapAmb:\t0000000000000000"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Threads:\t1", "Threads:\t2"),
            ("Threads:\t1\n", ""),
        ] {
            let changed = STATUS.replacen(from, to, 1);
            assert_ne!(changed, STATUS);
            assert!(differing_line(&changed, 65537).is_some(), "{from} to {to}");
        }
    }

    #[test]
    fn a_writable_mount_is_found() {
        let read_only = "24 1 0:22 / / ro,nosuid,relatime - ext4 /dev/vda rw\n25 24 0:5 / /dev ro - tmpfs t rw\n";
        assert_eq!(writable_mount(read_only), None);
        let one = "26 24 0:6 / /x rw,nosuid - tmpfs t ro\n";
        assert_eq!(writable_mount(&format!("{read_only}{one}")), Some(one.trim_end()));
        assert!(writable_mount("").is_some());
        assert!(writable_mount("broken\n").is_some());
    }
}
