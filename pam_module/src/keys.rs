//! No keys for a session: the kernel keeps a uid's keyrings, and what is in them, when its last process is gone,
//! and their owner can shut root out of them.
#![allow(unsafe_code)]

use libc::{c_long, sock_filter, sock_fprog};
use std::io;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// Numbers from here on are x32's, another way to the same calls.
const X32: u32 = 0x4000_0000;

/// Takes the calls for keys away from this process and all that come of it (seccomp(2)). Needs CAP_SYS_ADMIN,
/// since sudo must go on working: `no_new_privs` is not set.
pub fn forbid() -> io::Result<()> {
    let refuse = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    let jump = |test, value, over| step(libc::BPF_JMP | test | libc::BPF_K, value, over, 0);
    let is = |number: c_long, over| jump(libc::BPF_JEQ, number as u32, over);
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let answer = |what| step(libc::BPF_RET | libc::BPF_K, what, 0, 0);
    let mut filter = [
        load(4), // arch
        jump(libc::BPF_JEQ, NATIVE, 1),
        answer(refuse(libc::ENOSYS)),
        load(0),                     // nr
        jump(libc::BPF_JGE, X32, 4), // each goes to the last step if it holds
        is(libc::SYS_add_key, 3),
        is(libc::SYS_request_key, 2),
        is(libc::SYS_keyctl, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(refuse(libc::EPERM)),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its steps outlive the call, and the kernel copies them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
