//! The rounds: in each, every contestant does every measure once, in an order drawn anew, so that no
//! contestant always runs after the same other one and a disturbance meets all alike.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::arguments::Options;
use crate::bundle::Bundles;
use crate::contestant::Contestant;
use crate::measure::{Measure, peak_memory};
use crate::statistics::Sample;
use crate::workshop::Workshop;

/// Runs for the peak memory, which hardly varies.
const MEMORY_ROUNDS: usize = 5;

/// All figures of one contestant.
pub struct Figures {
    /// The name of the contestant.
    pub name: String,
    /// Its times in ms, by measure; empty where it does not take part.
    pub times: Vec<(Measure, Sample)>,
    /// Its peak memory in KiB.
    pub peak: Sample,
}

impl Figures {
    /// The times of one measure, where it was taken.
    pub fn of(&self, measure: Measure) -> Option<&Sample> {
        self.times.iter().find(|(taken, _)| *taken == measure).map(|(_, sample)| sample)
    }
}

/// All rounds.
pub fn measure(
    options: &Options,
    contestants: &[Contestant],
    bundles: &Bundles,
    workshop: &Workshop,
) -> Result<Vec<Figures>> {
    let mut figures: Vec<Figures> = contestants.iter().map(|contestant| empty(contestant, bundles)).collect();
    let mut turns: Vec<(usize, usize)> = Vec::new();
    for (who, figure) in figures.iter().enumerate() {
        turns.extend((0..figure.times.len()).map(|what| (who, what)));
    }
    let mut random = Random::new();
    for round in 0..options.warmup + options.rounds {
        random.shuffle(&mut turns);
        for &(who, what) in &turns {
            let (measure, sample) = &mut figures[who].times[what];
            let took = measure.take(&contestants[who], bundles, workshop)?;
            if round >= options.warmup {
                sample.add(took.as_secs_f64() * 1000.0);
            }
        }
    }
    for _ in 0..MEMORY_ROUNDS {
        for (contestant, figure) in contestants.iter().zip(&mut figures) {
            let kib = peak_memory(contestant, bundles, workshop)?;
            figure.peak.add(f64::from(u32::try_from(kib)?));
        }
    }
    Ok(figures)
}

fn empty(contestant: &Contestant, bundles: &Bundles) -> Figures {
    let measures = Measure::ALL.into_iter().filter(|measure| measure.suits(contestant, bundles));
    Figures {
        name: contestant.name.clone(),
        times: measures.map(|measure| (measure, Sample::default())).collect(),
        peak: Sample::default(),
    }
}

/// Good enough for an order (xorshift64).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::from(now.subsec_nanos()) << 32 | u64::from(std::process::id()) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        let mut left = 0_u64;
        for last in 0..list.len() {
            left += 1;
            let chosen = usize::try_from(self.next() % left).unwrap_or(last);
            list.swap(last, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_keeps_everything_and_reaches_every_order() {
        let mut random = Random::new();
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut list = [1, 2, 3];
            random.shuffle(&mut list);
            orders.insert(list);
        }
        assert_eq!(orders.len(), 6);
        assert!(orders.iter().all(|order| order.iter().sum::<i32>() == 6 && order.contains(&2)));
    }
}
