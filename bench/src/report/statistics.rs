//! Medians and ranges, and ratios of the same round.

use crate::peers::{self, Peer};
use crate::record::{Figure, Records};
use crate::work::Work;

/// Of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&low, &high) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, low, high })
    }

    pub(super) fn divided(self, by: f64) -> Self {
        let [median, low, high] = [self.median, self.low, self.high].map(|value| value / by);
        Self { median, low, high }
    }
}

impl Records {
    /// The peers that were measured, the one that the others are compared with first.
    pub(super) fn peers(&self) -> Vec<&'static Peer> {
        let measured = |peer: &&Peer| self.figures.iter().any(|figure| figure.peer == peer.name);
        let mut measured: Vec<_> = peers::ALL.iter().filter(measured).collect();
        measured.sort_by_key(|peer| peer.name != self.header.reference);
        measured
    }

    /// What the others are compared with.
    pub(super) fn reference(&self) -> Option<&'static Peer> {
        let first = self.peers().first().copied()?;
        (first.name == self.header.reference).then_some(first)
    }

    fn figures_of(&self, peer: &Peer, work: Work) -> impl Iterator<Item = &Figure> {
        let figures = self.figures.iter();
        figures.filter(move |figure| figure.peer == peer.name && figure.work == work)
    }

    /// Of a peer's values, each divided by that of the reference in the same round.
    pub(super) fn ratio(&self, peer: &Peer, work: Work) -> Option<Spread> {
        let reference = self.reference()?;
        let ratios = self.figures_of(peer, work).filter_map(|figure| {
            let mut same = self.figures_of(reference, work);
            let one = same.find(|one| one.round == figure.round)?.value;
            (one > 0.0).then(|| figure.value / one)
        });
        Spread::of(ratios.collect())
    }

    pub(super) fn value(&self, peer: &Peer, work: Work) -> Option<Spread> {
        self.other(peer, work, |figure| Some(figure.value))
    }

    /// The same for something beside the value.
    pub(super) fn other(
        &self,
        peer: &Peer,
        work: Work,
        field: impl Fn(&Figure) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.figures_of(peer, work).filter_map(field).collect())
    }

    pub(super) fn has(&self, work: Work) -> bool {
        self.figures.iter().any(|figure| figure.work == work)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two rounds in which nothing is twice as slow.
    pub(in crate::report) const SAMPLE: &str = r#"{"date":"2026-01-02","rounds":2,"seconds":3.0,"workers":2,"idle_connections":2000,"reference":"nginx","machine":{"cpu":"a <CPU>","cores":2,"memory_gib":4,"system":"Debian","kernel":"6.1"},"versions":{"nginx":"1.22.1","haproxy":"2.6","vestibule":"0.1.0"}}
{"round":1,"peer":"nginx","work":"http1","value":20.0,"rate":30000,"p50":1500,"p99":8000,"others":0.0,"stolen":0.0}
{"round":1,"peer":"vestibule","work":"http1","value":24.0,"rate":28000,"p50":1600,"p99":7000,"others":0.0,"stolen":0.0}
{"round":2,"peer":"vestibule","work":"http1","value":42.0,"rate":20000,"p50":2600,"p99":9000,"others":0.2,"stolen":0.0}
{"round":2,"peer":"nginx","work":"http1","value":30.0,"rate":22000,"p50":2500,"p99":8800,"others":0.0,"stolen":0.0}
{"round":1,"peer":"haproxy","work":"http1","value":200.0,"rate":22000,"p50":2500,"p99":8800,"others":0.0,"stolen":0.0}
"#;

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let records = Records::parse(SAMPLE).unwrap();
        let names: Vec<_> = records.peers().iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["nginx", "haproxy", "vestibule"]);
        let ratio = records.ratio(records.peers()[2], Work::Http1).unwrap();
        assert_eq!((ratio.low, ratio.high), (1.2, 1.4));
        assert!((ratio.median - 1.3).abs() < 1e-9, "{ratio:?}");
        assert_eq!(records.ratio(records.peers()[2], Work::Http2), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.to_vec()).map(|spread| spread.median);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(3.0));
        assert_eq!(of(&[5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(of(&[4.0, 1.0, 3.0, 9.0]), Some(3.5));
    }
}
