//! Median and 99th percentile.

use serde::Serialize;

/// What is said of a set of samples.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// The median.
    pub median: f64,
    /// The 99th percentile (of few samples: the greatest).
    pub p99: f64,
    /// How many samples.
    pub n: usize,
}

impl Figures {
    /// Of samples; of none, all is zero.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = (part * samples.len().saturating_sub(1) as f64).round();
            samples.get(index as usize).copied().unwrap_or_default()
        };
        let round = |value: f64| (value * 100.0).round() / 100.0;
        Self { median: round(at(0.5)), p99: round(at(0.99)), n: samples.len() }
    }
}

/// Numbers, one per line, divided.
pub fn parse(text: &str, divisor: f64) -> Vec<f64> {
    text.lines().filter_map(|line| line.trim().parse::<f64>().ok()).map(|nanos| nanos / divisor).collect()
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn the_median_is_in_the_middle() {
        let figures = Figures::of((1..=101).map(f64::from).collect());
        assert_eq!((figures.median, figures.p99, figures.n), (51.0, 100.0, 101));
        assert_eq!(Figures::of(Vec::new()).n, 0);
    }
}
