//! Randomness from the operating system, by way of the one provider of cryptography.

use crate::LinkError;

/// 32 random bytes.
pub fn seed() -> Result<[u8; 32], LinkError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| LinkError::Random)?;
    Ok(bytes)
}

/// Random text of `length` (at most 32) characters of `a-z` and `2-7`: 5 bits each.
pub fn name(length: usize) -> Result<String, LinkError> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letter = |byte: u8| LETTERS.get(usize::from(byte & 31)).copied().map_or('a', char::from);
    Ok(seed()?.into_iter().take(length).map(letter).collect())
}
