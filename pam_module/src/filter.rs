//! The filter of system calls that every process of a session has, sudo in it included: no user namespaces, no
//! keyrings, none of the kernel's programmable interfaces, no sockets but those that a network namespace holds
//! (`crates/filter` has the policy, and why).
#![allow(unsafe_code)]

use libc::{sock_filter, sock_fprog};
use std::io;

#[cfg(target_arch = "x86_64")]
const STEPS: &[u8] = include_bytes!("filters/x86_64/session.bpf");
#[cfg(target_arch = "aarch64")]
const STEPS: &[u8] = include_bytes!("filters/aarch64/session.bpf");

/// Puts it on this process and all that come of it (seccomp(2)). Needs CAP_SYS_ADMIN, since sudo must go on working:
/// `no_new_privs` is not set.
pub fn put_on() -> io::Result<()> {
    let (steps, _) = STEPS.as_chunks::<8>();
    let mut steps: Vec<sock_filter> = steps.iter().map(step).collect();
    let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its steps outlive the call, and the kernel copies them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const fn step(bytes: &[u8; 8]) -> sock_filter {
    let [code0, code1, jt, jf, k0, k1, k2, k3] = *bytes;
    sock_filter { code: u16::from_le_bytes([code0, code1]), jt, jf, k: u32::from_le_bytes([k0, k1, k2, k3]) }
}
