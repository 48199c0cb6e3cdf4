//! What glibc calls: raw pointers come in here and go no further. The contract is that of "NSS Modules
//! Interface" in the glibc manual; glibc keeps it, and every SAFETY comment below rests on it.

use crate::answer::{as_group, as_passwd};
use crate::guard::{Status, guarded};
use crate::space::{Space, TooSmall};
use libc::{c_char, c_int, c_long, gid_t, group, passwd, size_t, uid_t};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use tether_accountfile::{AccountFile, Store};

/// Where a look-up's answer goes.
struct Place<T> {
    result: *mut T,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
}

/// getpwnam(3).
///
/// # Safety
/// As glibc calls it: a C string, a result, a buffer of `length` bytes and a place for errno, all valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_tether_getpwnam_r(
    name: *const c_char,
    result: *mut passwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let place = Place { result, buffer, length, errnop };
    let find = || {
        panic_point!(NssPasswdByName);
        // SAFETY: this function's own contract.
        Store::HOST.by_name(unsafe { bytes(name) })
    };
    // SAFETY: this function's own contract.
    unsafe { answer(place, find, as_passwd) }
}

/// getpwuid(3).
///
/// # Safety
/// As [`_nss_tether_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_tether_getpwuid_r(
    uid: uid_t,
    result: *mut passwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let place = Place { result, buffer, length, errnop };
    let find = || {
        panic_point!(NssPasswdByUid);
        Store::HOST.by_uid(uid)
    };
    // SAFETY: this function's own contract.
    unsafe { answer(place, find, as_passwd) }
}

/// getgrnam(3): every account is its own group.
///
/// # Safety
/// As [`_nss_tether_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_tether_getgrnam_r(
    name: *const c_char,
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let place = Place { result, buffer, length, errnop };
    let find = || {
        panic_point!(NssGroupByName);
        // SAFETY: this function's own contract.
        Store::HOST.by_name(unsafe { bytes(name) })
    };
    // SAFETY: this function's own contract.
    unsafe { answer(place, find, as_group) }
}

/// getgrgid(3).
///
/// # Safety
/// As [`_nss_tether_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_tether_getgrgid_r(
    gid: gid_t,
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let place = Place { result, buffer, length, errnop };
    let find = || {
        panic_point!(NssGroupByGid);
        Store::HOST.by_uid(gid)
    };
    // SAFETY: this function's own contract.
    unsafe { answer(place, find, as_group) }
}

/// initgroups(3). Without it glibc would enumerate every group of every source.
///
/// # Safety
/// As glibc calls it: `*groups` is from malloc and has `*size` places, of which `*start` are filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_tether_initgroups_dyn(
    user: *const c_char,
    _group: gid_t,
    start: *mut c_long,
    size: *mut c_long,
    groups: *mut *mut gid_t,
    limit: c_long,
    errnop: *mut c_int,
) -> Status {
    // SAFETY: this function's own contract.
    let user = unsafe { bytes(user) };
    guarded(errnop, || {
        panic_point!(NssInitgroups);
        match Store::HOST.by_name(user) {
            Ok(None) => (Status::NotFound, 0),
            Err(_) => (Status::Unavailable, 0),
            // SAFETY: this function's own contract.
            Ok(Some(account)) => unsafe { add_group(account.uid, &mut *start, &mut *size, &mut *groups, limit) },
        }
    })
}

/// # Safety
/// `place` is as glibc made it.
unsafe fn answer<T>(
    place: Place<T>,
    find: impl FnOnce() -> io::Result<Option<AccountFile>>,
    lay: impl FnOnce(&AccountFile, &mut Space<'_>) -> Result<T, TooSmall>,
) -> Status {
    guarded(place.errnop, || match find() {
        Ok(None) => (Status::NotFound, 0),
        Err(_) => (Status::Unavailable, 0),
        Ok(Some(account)) => {
            let length = place.length.min(isize::MAX as usize);
            // SAFETY: glibc owns `length` bytes there and does not touch them during the call.
            let buffer = unsafe { std::slice::from_raw_parts_mut(place.buffer.cast::<MaybeUninit<u8>>(), length) };
            match lay(&account, &mut Space::new(buffer)) {
                Err(TooSmall) => (Status::TryAgain, libc::ERANGE),
                Ok(laid) => {
                    // SAFETY: the result is the caller's and valid for one T.
                    unsafe { place.result.write(laid) };
                    (Status::Success, 0)
                }
            }
        }
    })
}

/// # Safety
/// `*groups` is from malloc and has `*size` places, of which `*start` are filled.
unsafe fn add_group(
    gid: gid_t,
    start: &mut c_long,
    size: &mut c_long,
    groups: &mut *mut gid_t,
    limit: c_long,
) -> (Status, c_int) {
    let filled = usize::try_from(*start).unwrap_or(0);
    // SAFETY: `*start` places are filled; the array may be NULL only if none is.
    if filled > 0 && unsafe { std::slice::from_raw_parts(*groups, filled) }.contains(&gid) {
        return (Status::Success, 0);
    }
    if limit > 0 && *start >= limit {
        return (Status::Success, 0); // The caller wants no more; the manual asks to leave the rest out.
    }
    if *start >= *size {
        let grown = (*size).max(8).saturating_mul(2);
        let grown = if limit > 0 { grown.min(limit) } else { grown };
        let bytes = usize::try_from(grown).ok().and_then(|places| places.checked_mul(size_of::<gid_t>()));
        // SAFETY: the array is from malloc, as this function requires.
        let moved = bytes.map_or(std::ptr::null_mut(), |bytes| unsafe { libc::realloc((*groups).cast(), bytes) });
        if moved.is_null() {
            return (Status::TryAgain, libc::ENOMEM);
        }
        (*groups, *size) = (moved.cast(), grown);
    }
    // SAFETY: `*start` < `*size`, so the place exists.
    unsafe { (*groups).add(filled).write(gid) };
    *start += 1;
    (Status::Success, 0)
}

/// The bytes of a name; a NULL pointer is the empty name, which nobody has.
///
/// # Safety
/// `name` is NULL or a C string that lives as long as the result.
unsafe fn bytes<'a>(name: *const c_char) -> &'a [u8] {
    if name.is_null() {
        return b"";
    }
    // SAFETY: this function's own contract; NULL was ruled out.
    unsafe { CStr::from_ptr(name) }.to_bytes()
}
