//! From root to the session's read-only uid with two capabilities: reading past file modes, and the kernel
//! log. Not root without capabilities: many peers (systemd, D-Bus) authorise by uid 0 alone.
//!
//! The order matters: what needs CAP_SETPCAP comes first, the uid before the last capability set, and
//! ambient capabilities need both permitted and inheritable.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_capabilities_secure_bits, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use tether_hostlink::Refusal;

/// All that a confined command may do beyond its uid.
pub const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYSLOG);

/// Gives up everything else.
pub fn assume(uid: u32) -> Result<(), Refusal> {
    drop_to(uid).map_err(|(step, errno)| failed("confine.identity", step, errno))
}

fn drop_to(uid: u32) -> Result<(), (&'static str, Errno)> {
    let step = |what: &'static str| move |errno| (what, errno);
    set_no_new_privs(true).map_err(step("setting no_new_privs"))?;
    reduce_bounding_set().map_err(step("reducing the bounding set"))?;
    raise_ambient_set().map_err(step("raising the ambient set"))?;
    set_capabilities_secure_bits(locked()).map_err(step("locking the secure bits"))?;
    set_thread_groups(&[]).map_err(step("dropping groups"))?;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_res_gid(group, group, group).map_err(step("changing gid"))?;
    set_thread_res_uid(user, user, user).map_err(step("changing uid"))?;
    let kept = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: KEPT };
    set_capabilities(None, kept).map_err(step("dropping capabilities"))
}

fn reduce_bounding_set() -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !KEPT.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            Err(Errno::INVAL) => break, // past the last that this kernel knows
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn raise_ambient_set() -> Result<(), Errno> {
    let all = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: KEPT, ..all })?;
    clear_ambient_capability_set()?;
    for capability in KEPT {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Root means nothing by itself, changing the uid changes no capability, nothing can be raised again; and
/// none of it can be undone.
fn locked() -> CapabilitiesSecureBits {
    use CapabilitiesSecureBits as Bits;
    Bits::NO_ROOT
        | Bits::NO_ROOT_LOCKED
        | Bits::NO_SETUID_FIXUP
        | Bits::NO_SETUID_FIXUP_LOCKED
        | Bits::KEEP_CAPS_LOCKED
        | Bits::NO_CAP_AMBIENT_RAISE
        | Bits::NO_CAP_AMBIENT_RAISE_LOCKED
}
