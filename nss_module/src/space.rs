//! The caller's buffer: texts and a pointer array are laid into it one after the other.
#![forbid(unsafe_code)]

use libc::c_char;
use std::mem::{MaybeUninit, align_of, size_of};

/// The caller's buffer cannot hold the answer; glibc then asks again with a larger one.
#[derive(Debug, PartialEq, Eq)]
pub struct TooSmall;

/// What is left of the caller's buffer. It may be uninitialised and is never read.
pub struct Space<'a>(&'a mut [MaybeUninit<u8>]);

impl<'a> Space<'a> {
    /// The whole buffer.
    pub fn new(buffer: &'a mut [MaybeUninit<u8>]) -> Self {
        Self(buffer)
    }

    /// Lays a text down as a C string and returns where it starts.
    pub fn text(&mut self, text: &str) -> Result<*mut c_char, TooSmall> {
        let place = self.take(text.len() + 1)?;
        for (slot, byte) in place.iter_mut().zip(text.bytes().chain([0])) {
            slot.write(byte);
        }
        Ok(place.as_mut_ptr().cast())
    }

    /// Lays down an empty, NULL-terminated array of pointers, aligned as the caller will read it.
    pub fn no_texts(&mut self) -> Result<*mut *mut c_char, TooSmall> {
        let skip = self.0.as_ptr().addr().wrapping_neg() % align_of::<*mut c_char>();
        self.take(skip)?;
        let place = self.take(size_of::<*mut c_char>())?;
        place.fill(MaybeUninit::new(0)); // On every target of glibc a NULL pointer is all zero bytes.
        Ok(place.as_mut_ptr().cast())
    }

    fn take(&mut self, length: usize) -> Result<&'a mut [MaybeUninit<u8>], TooSmall> {
        let whole = std::mem::take(&mut self.0);
        let (place, rest) = whole.split_at_mut_checked(length).ok_or(TooSmall)?;
        self.0 = rest;
        Ok(place)
    }
}
