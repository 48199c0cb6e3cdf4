//! From root to who the command is. In read-only mode that is the session's own uid with two capabilities: reading
//! past file modes, and the kernel log. Not root without capabilities: many peers (systemd, D-Bus) authorise by uid 0
//! alone. By a write rule it is the account that the rule names, without capabilities; for root with those that
//! writing files needs.
//!
//! The order matters: what needs CAP_SETPCAP comes first, the uid before the last capability set, and
//! ambient capabilities need both permitted and inheritable.
#![forbid(unsafe_code)]

use crate::layers::{Layer, Layers};
use crate::refusal::failed;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_capabilities_secure_bits, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use tether_hostlink::{Identity, Plan, Refusal};

/// All that a read-only command may do beyond its uid.
const READING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYSLOG);
/// All that a write rule's root may do: open, change and give away files. Which, is Landlock's and the mounts' to
/// say. No FSETID and no SETFCAP: it leaves no program behind that makes others root.
const WRITING: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER);

/// Who a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Uid.
    pub uid: u32,
    /// Gid.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities, in all five sets.
    pub kept: CapabilitySet,
}

impl Who {
    /// As the plan says.
    pub fn of(plan: &Plan) -> Self {
        match &plan.confinement.identity {
            Identity::ReadOnly => Self { uid: plan.uid, gid: plan.uid, groups: Vec::new(), kept: READING },
            Identity::RunAs { uid, gid, groups } => {
                let kept = if *uid == 0 { WRITING } else { CapabilitySet::empty() };
                Self { uid: *uid, gid: *gid, groups: groups.clone(), kept }
            }
        }
    }

    /// Gives up everything else.
    pub fn assume(&self, layers: Layers) -> Result<(), Refusal> {
        if layers.has(Layer::Identity) {
            self.become_it().map_err(|(step, errno)| failed("confine.identity", step, errno))?;
        }
        Ok(())
    }

    fn become_it(&self) -> Result<(), (&'static str, Errno)> {
        let step = |what: &'static str| move |errno| (what, errno);
        reduce_bounding_set(self.kept).map_err(step("reducing the bounding set"))?;
        raise_ambient_set(self.kept).map_err(step("raising the ambient set"))?;
        set_capabilities_secure_bits(locked()).map_err(step("locking the secure bits"))?;
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups).map_err(step("changing groups"))?;
        let (user, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_res_gid(group, group, group).map_err(step("changing gid"))?;
        set_thread_res_uid(user, user, user).map_err(step("changing uid"))?;
        let kept = CapabilitySets { effective: self.kept, permitted: self.kept, inheritable: self.kept };
        set_capabilities(None, kept).map_err(step("dropping capabilities"))
    }
}

/// No program gives more than its caller has.
pub fn no_new_privs(layers: Layers) -> Result<(), Refusal> {
    if layers.has(Layer::NoNewPrivs) {
        set_no_new_privs(true).map_err(|errno| failed("confine.identity", "setting no_new_privs", errno))?;
    }
    Ok(())
}

fn reduce_bounding_set(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            Err(Errno::INVAL) => break, // past the last that this kernel knows
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn raise_ambient_set(kept: CapabilitySet) -> Result<(), Errno> {
    let all = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: kept, ..all })?;
    clear_ambient_capability_set()?;
    for capability in kept {
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
