//! The stock sudoers plugin beside this file, to which everything of a human goes.
//!
//! Forwarding keeps what sudoers does to its own structs: after `open` (and for the policy after
//! `check_policy` too) its function pointers, NULLs included, are copied into ours, because sudoers NULLs
//! them to let sudo exec directly or skip a pty, and sudo looks at ours. Names are mapped, since sudoers'
//! audit skips events of plugins named `sudoers_…`: it has logged those itself.

use crate::abi::{AuditPlugin, IoPlugin, Opaque, PolicyPlugin, Texts, is_supported};
use crate::c;
use libc::{c_char, c_void};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::OnceLock;
use tether_hostlink::Refusal;

const FILE: &str = "sudoers.so";

/// The loaded plugin.
pub struct Stock {
    /// What `plugin_path` must say for sudoers to find its own debug settings.
    path_setting: CString,
    policy: NonNull<PolicyPlugin>,
    audit: NonNull<AuditPlugin>,
    io: NonNull<IoPlugin>,
}

// SAFETY: sudo is single-threaded while plugins are called, and so is this one.
unsafe impl Send for Stock {}
// SAFETY: as above.
unsafe impl Sync for Stock {}

/// The stock plugin, loaded on the first call.
pub fn stock() -> Result<&'static Stock, Refusal> {
    static STOCK: OnceLock<Result<Stock, String>> = OnceLock::new();
    let loaded = STOCK.get_or_init(|| Stock::load().ok_or_else(why));
    loaded.as_ref().map_err(|why| {
        Refusal::new("sudo.no_sudoers", format!("the stock plugin {FILE} cannot be used: {why}"))
            .hint("an administrator: take the `tether` lines out of /etc/sudo.conf, or install sudo again")
    })
}

impl Stock {
    fn load() -> Option<Self> {
        let path = beside_this_file()?;
        // SAFETY: the path is a C string; sudoers' constructors are what sudo itself would run. As sudo does.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_GLOBAL) };
        let handle = NonNull::new(handle)?;
        let stock = Self {
            path_setting: CString::new([b"plugin_path=", path.as_bytes()].concat()).ok()?,
            policy: symbol(handle, c"sudoers_policy")?.cast(),
            audit: symbol(handle, c"sudoers_audit")?.cast(),
            io: symbol(handle, c"sudoers_io")?.cast(),
        };
        let versions = [stock.policy().version, stock.audit().version, stock.io().version];
        versions.into_iter().all(is_supported).then_some(stock)
    }

    /// What the policy's struct holds now.
    pub fn policy(&self) -> PolicyPlugin {
        // SAFETY: the symbol is sudoers' static; `load` saw that it has every field.
        unsafe { self.policy.read() }
    }

    /// What the audit plugin's struct holds now.
    pub fn audit(&self) -> AuditPlugin {
        // SAFETY: as `policy`.
        unsafe { self.audit.read() }
    }

    /// What the I/O plugin's struct holds now.
    pub fn io(&self) -> IoPlugin {
        // SAFETY: as `policy`.
        unsafe { self.io.read() }
    }

    /// Hands on what sudo wrote into our structs after it had loaded us: the maker of events.
    pub fn set_event_alloc(&self, event_alloc: Opaque) {
        // SAFETY: sudo writes the same fields when sudoers.so is loaded directly, so they are writable.
        unsafe {
            (&raw mut (*self.policy.as_ptr()).event_alloc).write(event_alloc);
            (&raw mut (*self.audit.as_ptr()).event_alloc).write(event_alloc);
            (&raw mut (*self.io.as_ptr()).event_alloc).write(event_alloc);
        }
    }

    /// sudo's settings as sudoers would have got them.
    ///
    /// # Safety
    /// `settings` is an array of sudo's.
    pub unsafe fn settings(&self, settings: Texts) -> Texts {
        // SAFETY: this function's own contract.
        unsafe { c::with_replaced(settings, b"plugin_path=", &self.path_setting) }
    }
}

/// Our plugins' names as sudoers knows its own; other plugins' names stay.
///
/// # Safety
/// `name` is NULL or a C string.
pub unsafe fn stock_name(name: *const c_char) -> *const c_char {
    // SAFETY: this function's own contract.
    match (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes()) {
        Some(b"tether_policy") => c"sudoers_policy".as_ptr(),
        Some(b"tether_audit") => c"sudoers_audit".as_ptr(),
        Some(b"tether_io") => c"sudoers_io".as_ptr(),
        _ => name,
    }
}

/// sudoers.so in the folder that this library was loaded from: no setting names it before `open`.
fn beside_this_file() -> Option<CString> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let here = (stock as *const ()).cast::<c_void>();
    // SAFETY: the address is in this library, the place is valid; zero means it was not filled.
    if unsafe { libc::dladdr(here, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr filled it, and the name is the loader's for as long as this library is loaded.
    let file = unsafe { CStr::from_ptr(info.assume_init().dli_fname) };
    let folder = Path::new(std::ffi::OsStr::from_bytes(file.to_bytes())).parent()?;
    CString::new(folder.join(FILE).as_os_str().as_bytes()).ok()
}

fn symbol(handle: NonNull<c_void>, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the handle is open and never closed.
    NonNull::new(unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) })
}

/// What the loader says, or that the version did not fit.
fn why() -> String {
    // SAFETY: sudo is single-threaded, so the text stays until it is copied.
    let text = unsafe { libc::dlerror().as_ref() };
    // SAFETY: dlerror's text is a C string.
    let text = text.map(|text| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned());
    text.unwrap_or_else(|| "it is older than sudo 1.9.4 or newer than this plugin knows".to_owned())
}
