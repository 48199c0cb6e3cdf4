//! One guard around every entry: a panic is "error", on which sudo runs nothing. For a person, whose calls are only
//! forwarded to sudoers, it is the call to sudoers and nothing else.
#![forbid(unsafe_code)]

use crate::side::is_agent;
use libc::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Runs an entry; a panic in it becomes sudo's -1.
pub fn guarded(entry: impl FnOnce() -> c_int) -> c_int {
    silenced();
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or(-1)
}

/// The same for an entry that forwards a person's call, which is the last that it does: after a panic before it the
/// call is forwarded all the same.
pub fn forwarding(forward: impl Fn() -> c_int, entry: impl FnOnce() -> c_int) -> c_int {
    forwarding_for(is_agent, forward, entry)
}

fn forwarding_for(
    is_agent: impl FnOnce() -> bool,
    forward: impl Fn() -> c_int,
    entry: impl FnOnce() -> c_int,
) -> c_int {
    silenced();
    let without_us = |_| guarded(|| if is_agent() { -1 } else { forward() });
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or_else(without_us)
}

/// std is linked into this library, so the hook is this library's alone: nothing is printed in sudo.
fn silenced() {
    static SILENT: Once = Once::new();
    SILENT.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(clippy::panic)]
    fn a_panic_is_an_error() {
        assert_eq!(super::guarded(|| panic!("inside")), -1);
        assert_eq!(super::guarded(|| 1), 1);
    }

    #[test]
    #[allow(clippy::panic)]
    fn a_panic_is_no_persons_loss() {
        assert_eq!(super::forwarding_for(|| false, || 7, || panic!("before")), 7);
        assert_eq!(super::forwarding_for(|| true, || 7, || panic!("before")), -1);
        assert_eq!(super::forwarding_for(|| panic!("whose?"), || 7, || panic!("before")), -1);
        assert_eq!(super::forwarding_for(|| false, || panic!("again"), || panic!("before")), -1);
        assert_eq!(super::forwarding_for(|| panic!("not asked"), || 7, || 1), 1);
    }
}
