//! Client addresses against CIDR ranges.

use std::net::IpAddr;

/// Whether a range such as `10.0.0.0/8` or a single address covers an address. A malformed range covers none.
pub fn covers(range: &str, address: IpAddr) -> bool {
    let (network, bits) = match range.split_once('/') {
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
        None => (range, Some(if range.contains(':') { 128 } else { 32 })),
    };
    match (network.parse(), address.to_canonical(), bits) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address), Some(bits @ 0..=32)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address), Some(bits @ 0..=128)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn ranges_cover_what_they_say() {
        let covers = |range, address: &str| covers(range, address.parse().unwrap());
        assert!(covers("10.0.0.0/8", "10.1.2.3"));
        assert!(covers("10.1.2.3", "10.1.2.3"));
        assert!(covers("0.0.0.0/0", "10.1.2.3"));
        assert!(covers("10.1.2.3", "::ffff:10.1.2.3"));
        assert!(covers("fd00::/8", "fd12::1"));
        for range in ["10.0.0.0/33", "10.0.0.0/x", "11.0.0.0/8", "10.1.2.4", "::/0", "", "x"] {
            assert!(!covers(range, "10.1.2.3"), "{range}");
        }
    }
}
