//! `tether_audit`. For an agent it only hears the command line: agentd has written its record before a
//! command runs, and is told of the end by the policy's `close`.

use crate::abi::{API, AUDIT, AuditPlugin, Audited, ErrorText, Opaque, Printf, Texts};
use crate::c;
use crate::entry::agent;
use crate::guard::forwarding;
use crate::side::is_agent;
use crate::stock::{Stock, stock, stock_name};
use libc::{c_char, c_int, c_uint};

/// The audit plugin's struct; `sudo.conf`: `Plugin tether_audit sudo_tether.so`.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut tether_audit: AuditPlugin = AuditPlugin {
    kind: AUDIT,
    version: API,
    open: Some(open),
    close: None,
    accept: Some(accept),
    reject: Some(reject),
    error: Some(error),
    show_version: None,
    register_hooks: Some(register_hooks),
    deregister_hooks: None,
    event_alloc: std::ptr::null(),
};

/// Takes over what sudoers' struct says now, but for the calls that must pass through here.
fn adopt(stock: AuditPlugin) {
    // SAFETY: sudo reads the struct between calls, not during one.
    let ours = unsafe { tether_audit };
    let adopted = AuditPlugin {
        version: ours.version,
        open: ours.open,
        accept: ours.accept,
        reject: ours.reject,
        error: ours.error,
        register_hooks: ours.register_hooks,
        ..stock
    };
    // SAFETY: as above.
    unsafe { tether_audit = adopted };
}

unsafe extern "C" fn open(
    version: c_uint,
    conversation: Opaque,
    printf: Option<Printf>,
    settings: Texts,
    user_info: Texts,
    command_at: c_int,
    argv: Texts,
    environment: Texts,
    options: Texts,
    error: ErrorText,
) -> c_int {
    let forward = || {
        // Without sudoers nothing is audited, and the policy's `open` says so and refuses.
        let Ok(stock) = stock() else { return 1 };
        // SAFETY: sudo wrote it after loading us and does not write again.
        stock.set_event_alloc(unsafe { tether_audit.event_alloc });
        let Some(open) = stock.audit().open else { return -1 };
        // SAFETY: sudo's own arguments, with the settings as sudoers would have got them.
        let result = unsafe {
            let settings = stock.settings(settings);
            open(version, conversation, printf, settings, user_info, command_at, argv, environment, options, error)
        };
        adopt(stock.audit());
        result
    };
    forwarding(forward, || {
        panic_point!(AuditOpen);
        c::remember_printf(printf);
        if !is_agent() {
            return forward();
        }
        // SAFETY: an array of sudo's.
        let argv = unsafe { c::copied(argv) };
        let Some(words) = usize::try_from(command_at).ok().and_then(|end| argv.get(1..end)) else { return -1 };
        agent().submitted(words);
        1
    })
}

unsafe extern "C" fn accept(
    name: *const c_char,
    kind: c_uint,
    info: Texts,
    argv: Texts,
    environment: Texts,
    error: ErrorText,
) -> c_int {
    let forward = || match stock().ok().map(|stock| stock.audit().accept) {
        // SAFETY: sudo's own arguments, with our plugins' names as sudoers knows its own.
        Some(Some(accept)) => unsafe { accept(stock_name(name), kind, info, argv, environment, error) },
        _ => 1,
    };
    forwarding(forward, || {
        panic_point!(AuditAccept);
        if is_agent() { 1 } else { forward() }
    })
}

unsafe extern "C" fn reject(
    name: *const c_char,
    kind: c_uint,
    message: *const c_char,
    info: Texts,
    error: ErrorText,
) -> c_int {
    // SAFETY: sudo's own arguments.
    unsafe { pass_on(|stock| stock.audit().reject, name, kind, message, info, error) }
}

unsafe extern "C" fn error(
    name: *const c_char,
    kind: c_uint,
    message: *const c_char,
    info: Texts,
    error: ErrorText,
) -> c_int {
    // SAFETY: sudo's own arguments.
    unsafe { pass_on(|stock| stock.audit().error, name, kind, message, info, error) }
}

/// # Safety
/// The arguments are sudo's own.
unsafe fn pass_on(
    to: impl Fn(&Stock) -> Audited,
    name: *const c_char,
    kind: c_uint,
    message: *const c_char,
    info: Texts,
    error: ErrorText,
) -> c_int {
    let forward = || match stock().ok().map(&to) {
        // SAFETY: this function's own contract; our plugins' names as sudoers knows its own.
        Some(Some(audited)) => unsafe { audited(stock_name(name), kind, message, info, error) },
        _ => 1,
    };
    forwarding(forward, || {
        panic_point!(AuditReject);
        if is_agent() { 1 } else { forward() }
    })
}

unsafe extern "C" fn register_hooks(version: c_int, register: Opaque) {
    let forward = || {
        if let Some(hooks) = stock().ok().and_then(|stock| stock.audit().register_hooks) {
            // SAFETY: sudo's own arguments.
            unsafe { hooks(version, register) };
        }
        0
    };
    forwarding(forward, || {
        panic_point!(AuditHooks);
        if is_agent() { 0 } else { forward() }
    });
}
