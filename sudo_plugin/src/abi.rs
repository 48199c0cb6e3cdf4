//! `sudo_plugin.h` as Rust types, API 1.22. Fields are only ever appended to these structs, and none has
//! been since 1.17 (sudo 1.9.4), the oldest that is supported.
#![forbid(unsafe_code)]

use libc::{c_char, c_int, c_uint, c_void, passwd};

/// `SUDO_API_VERSION`: what these types describe.
pub const API: c_uint = api(1, 22);
/// The oldest API that has every field below.
pub const API_OLDEST: c_uint = api(1, 17);
/// Plugin types, first field of every struct.
pub const POLICY: c_uint = 1;
pub const IO: c_uint = 2;
pub const AUDIT: c_uint = 3;
/// Message types of sudo's printf.
pub const ERROR_MESSAGE: c_int = 3;
pub const INFO_MESSAGE: c_int = 4;

/// `SUDO_API_MKVERSION`.
pub const fn api(major: c_uint, minor: c_uint) -> c_uint {
    major << 16 | minor
}

/// Whether the other side speaks an API that these types describe.
pub const fn is_supported(version: c_uint) -> bool {
    version >> 16 == API >> 16 && version >= API_OLDEST
}

/// `char * const []`, NULL-terminated.
pub type Texts = *const *const c_char;
/// `char *[]`, NULL-terminated.
pub type TextsOut = *mut *mut c_char;
/// `const char **errstr`: sudo hands it to the audit plugins and does not print it.
pub type ErrorText = *mut *const c_char;
/// Functions of sudo's that are only ever passed on.
pub type Opaque = *const c_void;
/// `sudo_printf_t`.
pub type Printf = unsafe extern "C" fn(c_int, *const c_char, ...) -> c_int;

pub type Close = Option<unsafe extern "C" fn(c_int, c_int)>;
pub type ShowVersion = Option<unsafe extern "C" fn(c_int) -> c_int>;
pub type Hooks = Option<unsafe extern "C" fn(c_int, Opaque)>;
pub type Log = Option<unsafe extern "C" fn(*const c_char, c_uint, ErrorText) -> c_int>;
pub type Audited = Option<unsafe extern "C" fn(*const c_char, c_uint, *const c_char, Texts, ErrorText) -> c_int>;
type Accept = unsafe extern "C" fn(*const c_char, c_uint, Texts, Texts, Texts, ErrorText) -> c_int;
type Check =
    unsafe extern "C" fn(c_int, Texts, TextsOut, *mut TextsOut, *mut TextsOut, *mut TextsOut, ErrorText) -> c_int;
type PolicyOpen = unsafe extern "C" fn(c_uint, Opaque, Option<Printf>, Texts, Texts, Texts, Texts, ErrorText) -> c_int;
#[rustfmt::skip]
type AuditOpen = unsafe extern "C" fn(
    c_uint, Opaque, Option<Printf>, Texts, Texts, c_int, Texts, Texts, Texts, ErrorText,
) -> c_int;
#[rustfmt::skip]
type IoOpen = unsafe extern "C" fn(
    c_uint, Opaque, Option<Printf>, Texts, Texts, Texts, c_int, Texts, Texts, Texts, ErrorText,
) -> c_int;

/// `struct policy_plugin`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PolicyPlugin {
    pub kind: c_uint,
    pub version: c_uint,
    pub open: Option<PolicyOpen>,
    pub close: Close,
    pub show_version: ShowVersion,
    pub check_policy: Option<Check>,
    pub list: Option<unsafe extern "C" fn(c_int, Texts, c_int, *const c_char, ErrorText) -> c_int>,
    pub validate: Option<unsafe extern "C" fn(ErrorText) -> c_int>,
    pub invalidate: Option<unsafe extern "C" fn(c_int)>,
    pub init_session: Option<unsafe extern "C" fn(*mut passwd, *mut TextsOut, ErrorText) -> c_int>,
    pub register_hooks: Hooks,
    pub deregister_hooks: Hooks,
    pub event_alloc: Opaque,
}

/// `struct io_plugin`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct IoPlugin {
    pub kind: c_uint,
    pub version: c_uint,
    pub open: Option<IoOpen>,
    pub close: Close,
    pub show_version: ShowVersion,
    pub log_ttyin: Log,
    pub log_ttyout: Log,
    pub log_stdin: Log,
    pub log_stdout: Log,
    pub log_stderr: Log,
    pub register_hooks: Hooks,
    pub deregister_hooks: Hooks,
    pub change_winsize: Option<unsafe extern "C" fn(c_uint, c_uint, ErrorText) -> c_int>,
    pub log_suspend: Option<unsafe extern "C" fn(c_int, ErrorText) -> c_int>,
    pub event_alloc: Opaque,
}

/// `struct audit_plugin`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AuditPlugin {
    pub kind: c_uint,
    pub version: c_uint,
    pub open: Option<AuditOpen>,
    pub close: Close,
    pub accept: Option<Accept>,
    pub reject: Audited,
    pub error: Audited,
    pub show_version: ShowVersion,
    pub register_hooks: Hooks,
    pub deregister_hooks: Hooks,
    pub event_alloc: Opaque,
}
