//! `tether_io`. For an agent whose output is a terminal it has functions for output: with them sudo puts a terminal
//! of its own between the command and the agent's. For any other output it has none: sudo's pipes lose what is left
//! in them when the command has ended and the reader is slow, and the launcher has better ones. It never has one for
//! stdin: `log_stdin` would make sudo swallow what the caller still wants to read.

use crate::abi::{API, ErrorText, IO, IoPlugin, Log, Opaque, Printf, Texts};
use crate::c;
use crate::entry::agent;
use crate::guard::{forwarding, guarded};
use crate::side::is_agent;
use crate::stock::stock;
use libc::{c_char, c_int, c_uint};
use tether_hostlink::ask;

/// The I/O plugin's struct; `sudo.conf`: `Plugin tether_io sudo_tether.so`.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut tether_io: IoPlugin = IoPlugin {
    kind: IO,
    version: API,
    open: Some(open),
    close: None,
    show_version: None,
    log_ttyin: None,
    log_ttyout: None,
    log_stdin: None,
    log_stdout: None,
    log_stderr: None,
    register_hooks: Some(register_hooks),
    deregister_hooks: None,
    change_winsize: None,
    log_suspend: None,
    event_alloc: std::ptr::null(),
};

/// Takes over what sudoers' struct says now, but for the calls that must pass through here.
fn adopt(stock: IoPlugin) {
    // SAFETY: sudo reads the struct between calls, not during one.
    let ours = unsafe { tether_io };
    let adopted = IoPlugin { version: ours.version, open: ours.open, register_hooks: ours.register_hooks, ..stock };
    // SAFETY: as above.
    unsafe { tether_io = adopted };
}

/// From here on sudo copies a terminal's output and input itself.
fn stand_between_terminals() {
    // SAFETY: sudo reads the struct between calls, not during one.
    let ours = unsafe { tether_io };
    let (pass, keep): (Log, Log) = (Some(pass), Some(keep));
    let ours = IoPlugin { log_ttyin: pass, log_ttyout: keep, change_winsize: Some(resized), ..ours };
    // SAFETY: as above.
    unsafe { tether_io = ours };
}

/// 1: go on. (0 would end the command, and leave sudo waiting for ever where there is no terminal.)
unsafe extern "C" fn pass(_bytes: *const c_char, _length: c_uint, _error: ErrorText) -> c_int {
    1
}

/// The same for output, which is recorded, and has a limit. What was typed is never looked at: a password at a prompt
/// that does not show it is in no recording.
unsafe extern "C" fn keep(bytes: *const c_char, length: c_uint, _error: ErrorText) -> c_int {
    guarded(|| {
        // SAFETY: sudo's buffer, as long as it says, for the time of this call.
        let bytes = unsafe { c::bytes(bytes, length) };
        agent().shown(bytes, ask);
        agent().printed(length.into(), ask);
        1
    });
    1
}

/// The terminal's size: lines, then columns.
unsafe extern "C" fn resized(lines: c_uint, columns: c_uint, _error: ErrorText) -> c_int {
    guarded(|| {
        let short = |number: c_uint| u16::try_from(number).unwrap_or(u16::MAX);
        agent().resized(short(columns), short(lines), ask);
        1
    });
    1
}

unsafe extern "C" fn open(
    version: c_uint,
    conversation: Opaque,
    printf: Option<Printf>,
    settings: Texts,
    user_info: Texts,
    info: Texts,
    argc: c_int,
    argv: Texts,
    environment: Texts,
    options: Texts,
    error: ErrorText,
) -> c_int {
    let forward = || {
        let Ok(stock) = stock() else { return -1 };
        // SAFETY: sudo wrote it after loading us and does not write again.
        stock.set_event_alloc(unsafe { tether_io.event_alloc });
        let Some(open) = stock.io().open else { return -1 };
        // SAFETY: sudo's own arguments, with the settings as sudoers would have got them.
        let result = unsafe {
            let settings = stock.settings(settings);
            open(version, conversation, printf, settings, user_info, info, argc, argv, environment, options, error)
        };
        adopt(stock.io());
        result
    };
    forwarding(forward, || {
        panic_point!(IoOpen);
        c::remember_printf(printf);
        if !is_agent() {
            return forward();
        }
        if agent().has_terminal() {
            stand_between_terminals();
        }
        1
    })
}

unsafe extern "C" fn register_hooks(version: c_int, register: Opaque) {
    let forward = || {
        if let Some(hooks) = stock().ok().and_then(|stock| stock.io().register_hooks) {
            // SAFETY: sudo's own arguments.
            unsafe { hooks(version, register) };
        }
        0
    };
    forwarding(forward, || {
        panic_point!(IoHooks);
        if is_agent() { 0 } else { forward() }
    });
}
