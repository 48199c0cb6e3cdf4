//! Durations and sizes as people write them.

/// Seconds of `30s`, `5m`, `2h`.
pub fn duration(text: &str) -> Option<u32> {
    scaled(text, &[("s", 1), ("m", 60), ("h", 3600)]).and_then(|seconds| u32::try_from(seconds).ok())
}

/// Bytes of `512B`, `64KiB`, `1MiB`, `1GiB`.
pub fn size(text: &str) -> Option<u64> {
    // "B" last: the others end with it.
    scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)])
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, scale) =
        units.iter().find_map(|(unit, scale)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), *scale)))?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

/// The same the other way: the greatest unit that loses nothing.
pub(super) fn duration_text(seconds: u32) -> String {
    text(u64::from(seconds), &[("h", 3600), ("m", 60), ("s", 1)])
}

/// The same the other way: the greatest unit that loses nothing.
pub(super) fn size_text(bytes: u64) -> String {
    text(bytes, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)])
}

fn text(value: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, scale)| value > 0 && value.is_multiple_of(*scale));
    fits.or(units.last()).map(|(unit, scale)| format!("{}{unit}", value / scale)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(["30s", "5m", "2h", "0s"].map(duration), [Some(30), Some(300), Some(7200), Some(0)]);
        assert_eq!(["1MiB", "64KiB", "3B", "2 GiB"].map(size), [Some(1 << 20), Some(65_536), Some(3), Some(2 << 30)]);
        for bad in ["", "s", "30", "-1s", "1.5m", "1d", "99999999999s", "99999999999999999999s", "+1s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for bad in ["", "B", "1", "1MB", "1kB", "99999999999GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for value in [0, 1, 59, 60, 61, 3600, 86_400, u32::MAX] {
            assert_eq!(duration(&duration_text(value)), Some(value));
            assert_eq!(size(&size_text(u64::from(value) << 10)), Some(u64::from(value) << 10));
        }
    }
}
