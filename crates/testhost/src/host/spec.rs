//! What a host is to be.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::Image;

/// How a host keeps what changes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// In memory: fast, and fsync does nothing.
    Memory,
    /// On the file system of the image cache, with a real fsync: for tests of durability and for measurements.
    Disk,
}

/// What host to boot.
#[derive(Clone, Copy, Debug)]
pub struct HostSpec<'a> {
    /// Its name: small letters, digits and `-`, one host of that name a lab.
    pub name: &'a str,
    /// What it boots from.
    pub image: &'a Image,
    /// Where its changes go.
    pub storage: Storage,
}

impl<'a> HostSpec<'a> {
    /// A host with its changes in memory.
    pub fn new(name: &'a str, image: &'a Image) -> Self {
        HostSpec { name, image, storage: Storage::Memory }
    }

    /// The same with its changes kept elsewhere.
    pub fn storage(self, storage: Storage) -> Self {
        HostSpec { storage, ..self }
    }
}

/// The name, if it can be a host's.
pub(super) fn check_name(name: &str) -> Result<&str> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=32).contains(&name.len()) && name.bytes().all(good) && !name.starts_with('-') {
        true => Ok(name),
        false => Err(Error::Request(format!("{name:?} cannot name a host: use a-z, 0-9 and -, at most 32"))),
    }
}
