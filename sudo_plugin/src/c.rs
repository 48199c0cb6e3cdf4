//! C's arrays and texts: sudo's to Rust, ours to sudo, and sudo's printf.
//!
//! What is handed to sudo is never freed: it must outlive the plugin's calls, and sudo runs one command.

use crate::abi::{ERROR_MESSAGE, ErrorText, INFO_MESSAGE, Printf, Texts, TextsOut};
use libc::{c_char, c_int, c_uint};
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use tether_hostlink::Refusal;

static PRINTF: OnceLock<Printf> = OnceLock::new();

/// Notes sudo's printf, the only way that anything is printed. Every `open` brings the same one.
pub fn remember_printf(printf: Option<Printf>) {
    if let Some(printf) = printf {
        PRINTF.get_or_init(|| printf);
    }
}

/// Prints lines on sudo's standard output.
pub fn say(text: &str) {
    print(INFO_MESSAGE, text);
}

/// Prints a refusal for its reader, and leaves it where other audit plugins see it. sudo does not print that.
///
/// # Safety
/// `error` is NULL or sudo's place for an error text.
pub unsafe fn refuse(refusal: &Refusal, error: ErrorText) {
    let mut text = format!("tether: {refusal}\n");
    if let Some(hint) = &refusal.hint {
        text.push_str(&format!("tether: hint: {hint}\n"));
    }
    print(ERROR_MESSAGE, &text);
    if !error.is_null() {
        // SAFETY: this function's own contract; the text is never freed.
        unsafe { error.write(owned(&refusal.to_string()).cast_const()) };
    }
}

fn print(kind: c_int, text: &str) {
    // What an agent typed is part of it: no control characters reach a human's terminal.
    let shown: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    if let (Some(printf), Ok(shown)) = (PRINTF.get(), CString::new(shown)) {
        // SAFETY: sudo's printf lives as long as sudo; the format takes exactly one C string.
        unsafe { printf(kind, c"%s".as_ptr(), shown.as_ptr()) };
    }
}

/// A buffer of sudo's.
///
/// # Safety
/// `bytes` is NULL or a buffer of that many bytes, which nobody writes to in `'b`.
pub unsafe fn bytes<'b>(bytes: *const c_char, length: c_uint) -> &'b [u8] {
    if bytes.is_null() {
        return &[];
    }
    // SAFETY: this function's own contract; a C unsigned int fits into a usize here.
    unsafe { std::slice::from_raw_parts(bytes.cast(), length as usize) }
}

/// Copies a NULL-terminated array. NULL is the empty array.
///
/// # Safety
/// `texts` is NULL or an array of C strings that ends in NULL, as sudo passes it.
pub unsafe fn copied(texts: Texts) -> Vec<Vec<u8>> {
    // SAFETY: this function's own contract.
    let pointers = unsafe { pointers(texts) };
    // SAFETY: each is a C string of sudo's.
    pointers.into_iter().map(|text| unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()).collect()
}

/// The same array with one text replaced, found by how it starts.
///
/// # Safety
/// As [`copied`].
pub unsafe fn with_replaced(texts: Texts, start: &[u8], by: &CStr) -> Texts {
    // SAFETY: this function's own contract.
    let mut array = unsafe { pointers(texts) };
    for text in &mut array {
        // SAFETY: each is a C string of sudo's.
        if unsafe { CStr::from_ptr(*text) }.to_bytes().starts_with(start) {
            *text = by.as_ptr();
        }
    }
    array.push(std::ptr::null());
    array.leak().as_ptr()
}

/// An array for sudo.
pub fn given(texts: &[String]) -> TextsOut {
    let mut array: Vec<*mut c_char> = texts.iter().map(|text| owned(text)).collect();
    array.push(std::ptr::null_mut());
    array.leak().as_mut_ptr()
}

/// A C string that is never freed, cut at a NUL byte if there is one.
fn owned(text: &str) -> *mut c_char {
    let clean = text.split('\0').next().unwrap_or_default();
    CString::new(clean).unwrap_or_default().into_raw()
}

/// # Safety
/// As [`copied`].
unsafe fn pointers(texts: Texts) -> Vec<*const c_char> {
    let mut found = Vec::new();
    let mut place = texts;
    // SAFETY: the array goes on until the NULL that ends it, and the walk stops there.
    while let Some(text) = unsafe { place.as_ref() }.filter(|text| !text.is_null()) {
        found.push(*text);
        // SAFETY: the NULL has not been met, so there is a next place.
        place = unsafe { place.add(1) };
    }
    found
}
