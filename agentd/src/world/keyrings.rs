//! Keyrings of a uid: the one thing of a session that the kernel keeps when its last process is gone.

use super::sys::invalidate_user_keyrings;
use rustix::fs::Uid;
use rustix::thread::set_thread_res_uid;
use std::time::{Duration, Instant};

/// How long the kernel may take to collect them.
const COLLECTED: Duration = Duration::from_millis(500);

/// Drops the keyrings of a uid, in a thread that becomes that uid and then ends. `false` if they are still there.
pub fn drop_of(uid: u32) -> bool {
    if !exist(uid) {
        return true;
    }
    let as_uid = move || {
        let uid = Uid::from_raw(uid);
        if set_thread_res_uid(uid, uid, uid).is_ok() {
            invalidate_user_keyrings();
        }
    };
    let ended =
        std::thread::Builder::new().name("keyrings".to_owned()).spawn(as_uid).map(std::thread::JoinHandle::join);
    if !matches!(ended, Ok(Ok(()))) {
        return false;
    }
    let start = Instant::now();
    while exist(uid) {
        if start.elapsed() > COLLECTED {
            return false;
        }
        // The kernel's collector runs when it likes and tells nobody.
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// `/proc/key-users` has a line for each uid that owns a key (proc(5)).
fn exist(uid: u32) -> bool {
    let text = std::fs::read_to_string("/proc/key-users").unwrap_or_default();
    text.lines().any(|line| line.split(':').next().is_some_and(|field| field.trim() == uid.to_string()))
}
