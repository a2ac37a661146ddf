//! A histogram of times. The library's own takes a lock that all requests of an app would share.

use std::array;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds, in microseconds. A page from the own network takes some milliseconds; the default
/// `response_timeout` is a minute.
const BOUNDS: [u32; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// The last one is for what is above all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Latency {
    pub(crate) fn note(&self, time: Duration) {
        let within = |&bound: &u32| time <= Duration::from_micros(bound.into());
        let bucket = BOUNDS.iter().position(within).unwrap_or(BOUNDS.len());
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed); // wraps after 584 years
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self
            .0
            .counts
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let buckets: [(f64, u64); BOUNDS.len() + 1] = array::from_fn(|n| {
            let bound = BOUNDS.get(n).map(|&bound| f64::from(bound) / 1e6);
            (bound.unwrap_or(f64::INFINITY), counts[n])
        });
        let sum = Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed));
        let count = counts.iter().sum(); // so that it is what the buckets say
        encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        for (microseconds, bucket) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_500, 1),
            (60_000_000, 14),
            (60_000_001, 15),
            (u64::MAX, 15),
        ] {
            let latency = Latency::default();
            latency.clone().note(Duration::from_micros(microseconds));
            let counts = latency
                .0
                .counts
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed));
            assert_eq!(counts[bucket], 1, "{microseconds}");
            assert_eq!(counts.iter().sum::<u64>(), 1, "{microseconds}");
        }
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
