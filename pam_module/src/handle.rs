//! libpam's C interface, as much of it as this module needs (pam(3), `<security/pam_modules.h>`).
#![allow(unsafe_code)]

use crate::gate::{Kept, Transaction};
use libc::{c_char, c_int, c_void};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;

pub const PAM_SUCCESS: c_int = 0;
const PAM_SERVICE: c_int = 1;
const PAM_USER: c_int = 2;
const PAM_RHOST: c_int = 4;
const PAM_CONV: c_int = 5;
const PAM_ERROR_MSG: c_int = 3;
const DATA: &CStr = c"tether";

/// `pam_handle_t`.
#[repr(C)]
pub struct RawHandle {
    private: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    retcode: c_int,
}

#[repr(C)]
struct Conversation {
    call: Option<unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int>,
    data: *mut c_void,
}

type Cleanup = unsafe extern "C" fn(*mut RawHandle, *mut c_void, c_int);

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_item(handle: *const RawHandle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_getenv(handle: *mut RawHandle, name: *const c_char) -> *const c_char;
    fn pam_get_data(handle: *const RawHandle, name: *const c_char, data: *mut *const c_void) -> c_int;
    fn pam_set_data(handle: *mut RawHandle, name: *const c_char, data: *mut c_void, cleanup: Option<Cleanup>) -> c_int;
    fn pam_syslog(handle: *const RawHandle, priority: c_int, format: *const c_char, ...);
}

/// libpam's handle, for the time of one call into this module.
pub struct Handle<'call> {
    raw: *mut RawHandle,
    call: PhantomData<&'call RawHandle>,
}

impl Handle<'_> {
    /// # Safety
    /// `raw` is what libpam passed to the entry function that is running now.
    pub unsafe fn new(raw: *mut RawHandle) -> Option<Self> {
        (!raw.is_null()).then_some(Self { raw, call: PhantomData })
    }

    /// Tells the person or program at the other end, and the system log.
    pub fn tell(&self, text: &str) {
        let Ok(text) = CString::new(text.replace('\0', " ")) else { return };
        // SAFETY: the handle is libpam's for this call, and both texts are NUL-terminated; "%s" takes one.
        unsafe { pam_syslog(self.raw, libc::LOG_NOTICE, c"%s".as_ptr(), text.as_ptr()) };
        let Some(conversation) = self.item(PAM_CONV) else { return };
        let message = Message { style: PAM_ERROR_MSG, text: text.as_ptr() };
        let mut messages = ptr::from_ref(&message);
        let mut response: *mut Response = ptr::null_mut();
        // SAFETY: PAM_CONV's value is a `struct pam_conv` that the application keeps alive with the handle.
        let conversation = unsafe { &*conversation.cast::<Conversation>() };
        let Some(call) = conversation.call else { return };
        // SAFETY: one message is passed and counted as one, and all pointers outlive the call (pam_conv(3)).
        let result = unsafe { call(1, &raw mut messages, &raw mut response, conversation.data) };
        if result == PAM_SUCCESS && !response.is_null() {
            // SAFETY: pam_conv(3) gives the array and its text, from malloc, to the caller; free takes NULL.
            unsafe {
                libc::free((*response).text.cast());
                libc::free(response.cast());
            }
        }
    }

    fn item(&self, item: c_int) -> Option<*const c_void> {
        let mut value = ptr::null();
        // SAFETY: the handle is libpam's for this call; `value` is written with a pointer that libpam owns.
        let result = unsafe { pam_get_item(self.raw, item, &raw mut value) };
        (result == PAM_SUCCESS && !value.is_null()).then_some(value)
    }

    fn text(&self, item: c_int) -> Option<String> {
        let value = self.item(item)?;
        // SAFETY: the items that are asked for here are NUL-terminated strings that live with the handle
        // (pam_get_item(3)); the copy is made before anything else is called.
        unsafe { CStr::from_ptr(value.cast()) }.to_str().ok().map(str::to_owned)
    }
}

impl Transaction for Handle<'_> {
    fn user(&self) -> Option<String> {
        self.text(PAM_USER)
    }

    fn service(&self) -> Option<String> {
        self.text(PAM_SERVICE)
    }

    fn rhost(&self) -> Option<String> {
        self.text(PAM_RHOST)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle is libpam's for this call, the name is NUL-terminated.
        let value = unsafe { pam_getenv(self.raw, name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: pam_getenv(3) returns a NUL-terminated string that libpam keeps; it is copied at once.
        unsafe { CStr::from_ptr(value) }.to_str().ok().map(str::to_owned)
    }

    fn kept(&self) -> Option<&Kept> {
        let mut data = ptr::null();
        // SAFETY: the handle is libpam's for this call; the name is the one that `keep` uses.
        let result = unsafe { pam_get_data(self.raw, DATA.as_ptr(), &raw mut data) };
        if result != PAM_SUCCESS || data.is_null() {
            return None;
        }
        // SAFETY: only `keep` sets data under this name, always a Box<Kept>, which libpam drops through
        // `drop_kept` when it is replaced or the handle ends, neither of which happens while `self` is borrowed.
        Some(unsafe { &*data.cast::<Kept>() })
    }

    fn keep(&self, kept: Kept) -> bool {
        let data = Box::into_raw(Box::new(kept));
        // SAFETY: libpam owns the box from here on and gives it to `drop_kept` once (pam_set_data(3)).
        let result = unsafe { pam_set_data(self.raw, DATA.as_ptr(), data.cast(), Some(drop_kept)) };
        if result != PAM_SUCCESS {
            // SAFETY: libpam did not take it, so it is still ours alone.
            drop(unsafe { Box::from_raw(data) });
        }
        result == PAM_SUCCESS
    }
}

/// Dropping closes descriptors and frees memory: nothing in it can panic.
unsafe extern "C" fn drop_kept(_handle: *mut RawHandle, data: *mut c_void, _status: c_int) {
    if !data.is_null() {
        // SAFETY: libpam passes back the pointer that `keep` made with Box::into_raw, once.
        drop(unsafe { Box::from_raw(data.cast::<Kept>()) });
    }
}
