//! `tether_policy`.

use crate::abi::{API, ErrorText, Opaque, POLICY, PolicyPlugin, Printf, Texts, TextsOut, is_supported};
use crate::c;
use crate::entry::agent;
use crate::guard::{forwarding, guarded};
use crate::side::is_agent;
use crate::stock::stock;
use libc::{c_char, c_int, c_uint};
use rustix::fs::{Mode, OFlags};
use rustix::stdio::{stderr, stdout};
use rustix::termios::isatty;
use tether_hostlink::ask;

/// The policy plugin's struct; `sudo.conf`: `Plugin tether_policy sudo_tether.so`.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut tether_policy: PolicyPlugin = PolicyPlugin {
    kind: POLICY,
    version: API,
    open: Some(open),
    close: Some(close),
    show_version: Some(show_version),
    check_policy: Some(check_policy),
    list: Some(list),
    validate: Some(validate),
    invalidate: Some(invalidate),
    init_session: None,
    register_hooks: Some(register_hooks),
    deregister_hooks: None,
    event_alloc: std::ptr::null(),
};

/// Takes over what sudoers' struct says now, but for the calls that must pass through here.
fn adopt(stock: PolicyPlugin) {
    // SAFETY: sudo reads the struct between calls, not during one.
    let ours = unsafe { tether_policy };
    let adopted = PolicyPlugin {
        version: ours.version,
        open: ours.open,
        check_policy: ours.check_policy,
        register_hooks: ours.register_hooks,
        ..stock
    };
    // SAFETY: as above.
    unsafe { tether_policy = adopted };
}

unsafe extern "C" fn open(
    version: c_uint,
    conversation: Opaque,
    printf: Option<Printf>,
    settings: Texts,
    user_info: Texts,
    user_env: Texts,
    options: Texts,
    error: ErrorText,
) -> c_int {
    let forward = || {
        let stock = match stock() {
            Ok(stock) => stock,
            Err(refusal) => {
                // SAFETY: sudo's place for an error text; before API 1.15 there is none.
                unsafe { c::refuse(&refusal, if is_supported(version) { error } else { std::ptr::null_mut() }) };
                return -1;
            }
        };
        // SAFETY: sudo wrote it after loading us and does not write again.
        stock.set_event_alloc(unsafe { tether_policy.event_alloc });
        let Some(open) = stock.policy().open else { return -1 };
        // SAFETY: sudo's own arguments, with the settings as sudoers would have got them.
        let result = unsafe {
            open(version, conversation, printf, stock.settings(settings), user_info, user_env, options, error)
        };
        adopt(stock.policy());
        result
    };
    forwarding(forward, || {
        panic_point!(SudoOpen);
        c::remember_printf(printf);
        if !is_agent() {
            return forward();
        }
        // SAFETY: arrays of sudo's.
        let (settings, user_info, user_env) =
            unsafe { (c::copied(settings), c::copied(user_info), c::copied(user_env)) };
        agent().opened(&settings, &user_info, user_env, stands_between());
        if is_supported(version) { 1 } else { -1 }
    })
}

unsafe extern "C" fn check_policy(
    argc: c_int,
    argv: Texts,
    env_add: TextsOut,
    info_out: *mut TextsOut,
    argv_out: *mut TextsOut,
    env_out: *mut TextsOut,
    error: ErrorText,
) -> c_int {
    let forward = || {
        let Ok(stock) = stock() else { return -1 };
        let Some(check_policy) = stock.policy().check_policy else { return -1 };
        // SAFETY: sudo's own arguments.
        let result = unsafe { check_policy(argc, argv, env_add, info_out, argv_out, env_out, error) };
        adopt(stock.policy());
        result
    };
    forwarding(forward, || {
        panic_point!(SudoCheck);
        if !is_agent() {
            return forward();
        }
        // SAFETY: arrays of sudo's.
        let (argv, assigned) = unsafe { (c::copied(argv), c::copied(env_add.cast())) };
        match agent().check(argv, &assigned, ask) {
            Ok(run) => {
                // SAFETY: sudo's places for the three arrays.
                unsafe {
                    info_out.write(c::given(&run.info));
                    argv_out.write(c::given(&run.argv));
                    env_out.write(c::given(&run.environment));
                }
                1
            }
            Err(refusal) => {
                // SAFETY: sudo's place for an error text; `open` refused a sudo that has none.
                unsafe { c::refuse(&refusal, error) };
                0
            }
        }
    })
}

/// Whether sudo will put a terminal of its own between the command and the agent's: both outputs are terminals, and there
/// is a controlling one, which sudo needs for that. Without, the launcher copies, and the command has no terminal.
fn stands_between() -> bool {
    let own = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    isatty(stdout()) && isatty(stderr()) && own.is_ok()
}

// From here on: an agent's alone. A human's calls go straight to sudoers, since `adopt` put its functions
// into the struct when it was opened.

unsafe extern "C" fn list(argc: c_int, argv: Texts, verbose: c_int, user: *const c_char, error: ErrorText) -> c_int {
    guarded(|| {
        panic_point!(SudoList);
        // SAFETY: an array of sudo's; it has `argc` texts, none if that is 0.
        let argv = if argc > 0 { unsafe { c::copied(argv) } } else { Vec::new() };
        match agent().list(argv, verbose != 0, !user.is_null(), ask) {
            Ok(text) => {
                c::say(&text);
                1
            }
            Err(refusal) => {
                // SAFETY: sudo's place for an error text.
                unsafe { c::refuse(&refusal, error) };
                0
            }
        }
    })
}

unsafe extern "C" fn validate(error: ErrorText) -> c_int {
    guarded(|| {
        panic_point!(SudoValidate);
        match agent().validate() {
            Ok(()) => 1,
            Err(refusal) => {
                // SAFETY: sudo's place for an error text.
                unsafe { c::refuse(&refusal, error) };
                0
            }
        }
    })
}

/// `sudo -k`, `sudo -K`: an agent has no ticket to forget.
unsafe extern "C" fn invalidate(_: c_int) {}

unsafe extern "C" fn show_version(_: c_int) -> c_int {
    guarded(|| {
        panic_point!(SudoVersion);
        c::say(concat!("Tether policy plugin version ", env!("CARGO_PKG_VERSION"), "\n"));
        1
    })
}

unsafe extern "C" fn close(status: c_int, errno: c_int) {
    guarded(|| {
        panic_point!(SudoClose);
        agent().closed(status, errno, ask);
        0
    });
}

unsafe extern "C" fn register_hooks(version: c_int, register: Opaque) {
    let forward = || {
        if let Some(hooks) = stock().ok().and_then(|stock| stock.policy().register_hooks) {
            // SAFETY: sudo's own arguments.
            unsafe { hooks(version, register) };
        }
        0
    };
    forwarding(forward, || {
        panic_point!(SudoHooks);
        if is_agent() { 0 } else { forward() }
    });
}
