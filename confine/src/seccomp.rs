//! The filter of system calls: made when this was developed, carried as bytes (`crates/filter` has the policy).
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::sys;
use tether_hostlink::Refusal;

macro_rules! carried {
    ($name:literal) => {
        if cfg!(target_arch = "x86_64") {
            include_bytes!(concat!("filters/x86_64/", $name, ".bpf")).as_slice()
        } else {
            include_bytes!(concat!("filters/aarch64/", $name, ".bpf")).as_slice()
        }
    };
}

/// Which filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Reads.
    ReadOnly,
    /// Reads, and asks the system bus.
    ReadOnlyDbus,
    /// Writes what a rule names.
    Write,
    /// The same, and sends no signal: where Landlock does not keep them in, uid 0 could signal all of root's.
    WriteSilent,
}

/// Installs it, last of all: from here on most of what the launcher did is refused to it too.
pub fn install(filter: Filter) -> Result<(), Refusal> {
    let bytes = match filter {
        Filter::ReadOnly => carried!("read-only"),
        Filter::ReadOnlyDbus => carried!("read-only-dbus"),
        Filter::Write => carried!("write"),
        Filter::WriteSilent => carried!("write-silent"),
    };
    let (steps, _) = bytes.as_chunks::<8>();
    sys::seccomp(steps).map_err(|errno| failed("confine.seccomp", "installing the filter of system calls", errno))
}
