//! A sample of figures and what it says. Medians, because a few runs are always disturbed; the 10th and 90th
//! percentile beside them, to show how far.

/// Figures of one kind.
#[derive(Default, Clone)]
pub struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// One more figure.
    pub fn add(&mut self, figure: f64) {
        let place = self.sorted.partition_point(|other| *other < figure);
        self.sorted.insert(place, figure);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The figure below which `percent` of all lie (the nearest one); NaN where there is none.
    pub fn percentile(&self, percent: usize) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last * percent + 50) / 100).copied().unwrap_or(f64::NAN)
    }

    /// The median; of an even number, the mean of the middle two.
    pub fn median(&self) -> f64 {
        let (low, high) = (self.sorted.len().saturating_sub(1) / 2, self.sorted.len() / 2);
        match (self.sorted.get(low), self.sorted.get(high)) {
            (Some(low), Some(high)) => low.midpoint(*high),
            _ => f64::NAN,
        }
    }

    /// How much the sample varies: the 90th percentile over the 10th.
    pub fn noise(&self) -> f64 {
        self.percentile(90) / self.percentile(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(figures: &[f64]) -> Sample {
        let mut sample = Sample::default();
        figures.iter().for_each(|figure| sample.add(*figure));
        sample
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "these values are exact")]
    fn medians_and_percentiles() {
        let even = sample(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(even.median(), 2.5);
        let odd = sample(&[5.0, 1.0, 3.0]);
        assert_eq!(odd.median(), 3.0);
        let hundred = sample(&(0..=100).map(f64::from).collect::<Vec<_>>());
        assert_eq!((hundred.percentile(10), hundred.percentile(90)), (10.0, 90.0));
        assert_eq!(hundred.noise(), 9.0);
        assert!(sample(&[]).median().is_nan());
    }
}
