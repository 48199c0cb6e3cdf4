//! Giving up root: another uid, two capabilities, and no way to more.
//!
//! The order matters (capabilities(7)): the bounding set and the securebits while CAP_SETPCAP is there, the
//! uids with the permitted set kept, then the sets, then ambient, which is what passes exec for a uid that is
//! not root.

use super::{Refused, Step};
use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set, no_new_privs,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

const CODE: &str = "confine.drop";
/// Root's eyes: reading past permissions, and the kernel's log.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYSLOG);
/// Securebits and the locks of each: none of them can be undone.
const SECURE: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED);

/// Becomes the `-ro` account, and makes sure of it.
pub fn become_read_only(uid: u32) -> Result<(), Refused> {
    limit()?;
    bound()?;
    set_capabilities_secure_bits(SECURE).step(CODE, "securebits")?;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_groups(&[]).step(CODE, "groups")?;
    set_thread_res_gid(group, group, group).step(CODE, "gid")?;
    set_thread_res_uid(user, user, user).step(CODE, "uid")?;
    set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: KEPT })
        .step(CODE, "capabilities")?;
    clear_ambient_capability_set().step(CODE, "ambient capabilities")?;
    for capability in KEPT.iter() {
        configure_capability_in_ambient_set(capability, true).step(CODE, "ambient capabilities")?;
    }
    set_no_new_privs(true).step(CODE, "no_new_privs")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    make_sure(uid)
}

/// A core file would leave the command's memory on the host. The limit is 1, not 0: at 0 a handler that is
/// piped to would still get it (core(5)). What sudo or the host has set lower stays where it cannot be raised.
fn limit() -> Result<(), Refused> {
    for (resource, most) in [(Resource::Core, 1), (Resource::Nproc, 256), (Resource::Fsize, 16 << 20)] {
        let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
        if setrlimit(resource, limit(most)).is_err() {
            let lower = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
            setrlimit(resource, limit(lower)).step(CODE, "limits")?;
        }
    }
    Ok(())
}

fn bound() -> Result<(), Refused> {
    for capability in CapabilitySet::all().iter().filter(|capability| !KEPT.contains(*capability)) {
        // A capability that this kernel does not know cannot be in the set.
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability).step(CODE, "the bounding set")?;
        }
    }
    Ok(())
}

/// Reads back what the kernel has now. What is not as it must be is not run.
fn make_sure(uid: u32) -> Result<(), Refused> {
    let wrong = |what: &str| Err(Refused::new(CODE, format_args!("the kernel did not take {what}")));
    let status = std::fs::read_to_string("/proc/thread-self/status").step(CODE, "/proc/thread-self/status")?;
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let ids = format!("{uid}\t{uid}\t{uid}\t{uid}");
    if line("Uid:") != ids || line("Gid:") != ids || !line("Groups:").is_empty() {
        return wrong("the uid");
    }
    let kept = format!("{:016x}", KEPT.bits());
    if ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].iter().any(|name| line(name) != kept) {
        return wrong("the capabilities");
    }
    let sets = capabilities(None).step(CODE, "capabilities")?;
    if sets.effective != KEPT || !no_new_privs().step(CODE, "no_new_privs")? {
        return wrong("no_new_privs");
    }
    Ok(())
}
