//! Many measurements as a few numbers.

use std::fmt;

/// Measurements, smallest first.
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn new(mut values: Vec<f64>) -> Sample {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Sample(values)
    }

    /// The value that so many of a hundred do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }

    pub(crate) fn max(&self) -> f64 {
        self.percentile(100)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One number of several runs: the middle one, and how far the others lie.
pub(crate) struct Spread(Sample);

impl Spread {
    pub(crate) fn of(runs: impl IntoIterator<Item = f64>) -> Spread {
        Spread(Sample::new(runs.into_iter().collect()))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, middle, most) =
            (self.0.percentile(0), self.0.percentile(50), self.0.percentile(100));
        write!(f, "{middle:.2} ({least:.2} to {most:.2})")
    }
}
