//! One guard around every entry: a panic is "error", on which sudo runs nothing.
#![forbid(unsafe_code)]

use libc::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Runs an entry; a panic in it becomes sudo's -1.
pub fn guarded(entry: impl FnOnce() -> c_int) -> c_int {
    // std is linked into this library, so the hook is this library's alone: nothing is printed in sudo.
    static SILENT: Once = Once::new();
    SILENT.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(clippy::panic)]
    fn a_panic_is_an_error() {
        assert_eq!(super::guarded(|| panic!("inside")), -1);
        assert_eq!(super::guarded(|| 1), 1);
    }
}
