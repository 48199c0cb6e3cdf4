//! Makes a shared object that is cut short be noticed when it is opened.
//!
//! The loader maps what the program headers say and looks at no file's length: a module that lost its end, by a
//! full disk or a crash, kills the program that loaded it by SIGBUS, and every person's login with it. The program
//! headers stand at the file's start, before anything that could be missing. A copy of them at the very end, which
//! the ELF header names instead, cannot be read from a file that lost a byte: the loader then says "cannot read
//! file data", and the module counts as missing.

use anyhow::{Context, Result, ensure};
use std::path::Path;

/// Where the ELF header says where the program headers are, how long each is, and how many (elf(5), 64 bit).
const OFFSET: usize = 0x20;
const SIZE: usize = 0x36;
const COUNT: usize = 0x38;

/// Seals a file in place, by rename; a sealed file stays as it is.
pub(crate) fn seal(path: &Path) -> Result<()> {
    let name = || path.display().to_string();
    let file = std::fs::read(path).with_context(name)?;
    if let Some(sealed) = sealed(&file).with_context(name)? {
        let new = path.with_extension("sealed");
        std::fs::write(&new, sealed).with_context(name)?;
        std::fs::set_permissions(&new, std::fs::metadata(path)?.permissions()).with_context(name)?;
        std::fs::rename(&new, path).with_context(name)?;
    }
    Ok(())
}

fn sealed(file: &[u8]) -> Result<Option<Vec<u8>>> {
    ensure!(file.starts_with(b"\x7fELF\x02\x01\x01"), "not a 64 bit little-endian ELF file");
    let start = usize::try_from(u64::from_le_bytes(field(file, OFFSET)?))?;
    let size = usize::from(u16::from_le_bytes(field(file, SIZE)?));
    let count = usize::from(u16::from_le_bytes(field(file, COUNT)?));
    let headers = file.get(start..start + size * count).context("the program headers are not in the file")?;
    if start + headers.len() == file.len() {
        return Ok(None);
    }
    let mut sealed = file.to_vec();
    sealed.resize(file.len().next_multiple_of(8), 0);
    let moved = (sealed.len() as u64).to_le_bytes();
    sealed.extend_from_slice(headers);
    sealed.get_mut(OFFSET..OFFSET + moved.len()).context("the file ends in its header")?.copy_from_slice(&moved);
    Ok(Some(sealed))
}

fn field<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N]> {
    Ok(file.get(at..at + N).context("the file ends in its header")?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, two program headers of 56 bytes, and a body.
    fn object() -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[OFFSET] = 64;
        file[SIZE] = 56;
        file[COUNT] = 2;
        file.extend(1..=112);
        file.extend([200; 13]);
        file
    }

    #[test]
    fn the_headers_stand_at_the_end_and_only_once() {
        let file = object();
        let once = sealed(&file).unwrap().unwrap();
        assert_eq!(once.len(), 192 + 112);
        assert_eq!(once[OFFSET..OFFSET + 8], 192_u64.to_le_bytes());
        assert_eq!(once[192..], file[64..176]);
        assert_eq!(once[64..189], file[64..], "nothing else is changed");
        assert_eq!(sealed(&once).unwrap(), None);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for file in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF\x02\x01\x01", &object()[..100]] {
            assert!(sealed(file).is_err());
        }
    }
}
