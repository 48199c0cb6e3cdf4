//! One guard around every entry: what is left of a panic is "unavailable", and errno is the caller's again.

use libc::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a look-up says to glibc (`enum nss_status` of nss.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Ask again with a larger buffer (errno ERANGE), or there is no memory (ENOMEM).
    TryAgain = -2,
    /// The answer cannot be known now.
    Unavailable = -1,
    /// There is no such entry here.
    NotFound = 0,
    /// Answered.
    Success = 1,
}

/// Runs a look-up. `errnop` gets a value only together with [`Status::TryAgain`].
pub(crate) fn guarded(errnop: *mut c_int, look_up: impl FnOnce() -> (Status, c_int)) -> Status {
    keep_panics_silent();
    let errno = errno_place();
    // SAFETY: errno is this thread's own for as long as the thread runs.
    let callers = unsafe { errno.read() };
    let (status, code) = catch_unwind(AssertUnwindSafe(look_up)).unwrap_or((Status::Unavailable, 0));
    // SAFETY: as above.
    unsafe { errno.write(callers) };
    // After errno, since glibc passes errno's own address.
    if status == Status::TryAgain && !errnop.is_null() {
        // SAFETY: glibc passes a valid place for errno; NULL was ruled out.
        unsafe { errnop.write(code) };
    }
    status
}

fn errno_place() -> *mut c_int {
    // SAFETY: it has no preconditions.
    unsafe { libc::__errno_location() }
}

/// A caught panic would still print on the host program's stderr. std is linked into this library, so the
/// hook is this library's alone. Set once, before anything can panic.
fn keep_panics_silent() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.load(Ordering::Relaxed) && !DONE.swap(true, Ordering::Relaxed) {
        std::panic::set_hook(Box::new(|_| {}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_unavailable_and_errno_stays() {
        let mut errnop = 7;
        // SAFETY: errno is this thread's own.
        unsafe { errno_place().write(42) };
        #[allow(clippy::panic)]
        let status = guarded(&raw mut errnop, || panic!("inside"));
        // SAFETY: as above.
        assert_eq!((status, errnop, unsafe { errno_place().read() }), (Status::Unavailable, 7, 42));
    }
}
