//! Which epoch each record of a journal is of, without the records.

use super::message::Place;
use crate::ident::{Epoch, Index};
use crate::mistake::{Mistake, made};

/// Where a journal begins and ends, and the epochs along it.
///
/// What lies at or before the base is in a snapshot: it is there, and of its places only the base
/// itself is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    base: Place,
    last: Index,
    /// The first record of each epoch behind the base, in order.
    epochs: Vec<Place>,
}

impl Shape {
    /// An empty journal behind `base`.
    pub fn behind(base: Place) -> Shape {
        Shape { base, last: base.index, epochs: Vec::new() }
    }

    /// The last record, or the base.
    pub fn last(&self) -> Place {
        let epoch = self.epochs.last().map_or(self.base.epoch, |first| first.epoch);
        Place { epoch, index: self.last }
    }

    /// The newest place that is only known from a snapshot.
    pub fn base(&self) -> Place {
        self.base
    }

    /// The epoch of the record at `index`; `None` beyond either end.
    pub fn epoch_at(&self, index: Index) -> Option<Epoch> {
        if index < self.base.index || index > self.last {
            return None;
        }
        let behind = self.epochs.partition_point(|first| first.index <= index);
        Some(behind.checked_sub(1).map_or(self.base.epoch, |at| self.epochs[at].epoch))
    }

    /// Whether the record at `place` is this journal's.
    pub fn holds(&self, place: Place) -> bool {
        self.epoch_at(place.index) == Some(place.epoch)
    }

    /// The place of the record at `index`, which must lie between base and end.
    pub fn place(&self, index: Index) -> Place {
        let Some(epoch) = self.epoch_at(index) else { return self.base };
        Place { epoch, index }
    }

    /// The first record of the epoch that the record at `index` is of, as far as it is known.
    pub fn first_of_epoch_at(&self, index: Index) -> Index {
        let behind = self.epochs.partition_point(|first| first.index <= index);
        behind.checked_sub(1).map_or(self.base.index, |at| self.epochs[at].index)
    }

    /// The last record whose epoch is not above `epoch`.
    pub fn last_up_to(&self, epoch: Epoch) -> Place {
        let later = self.epochs.iter().find(|first| first.epoch > epoch);
        let index = later.map_or(self.last, |first| Index(first.index.0 - 1));
        self.place(index)
    }

    /// Appends a record of `epoch` and returns its place.
    ///
    /// # Panics
    /// When the epoch is below the last one's: epochs never decrease along a journal.
    pub fn push(&mut self, epoch: Epoch) -> Place {
        let last = self.last();
        assert!(epoch >= last.epoch || made(Mistake::NoFence), "epochs never decrease");
        let place = Place { epoch, index: Index(last.index.0 + 1) };
        if epoch != last.epoch {
            self.epochs.push(place);
        }
        self.last = place.index;
        place
    }

    /// Drops every record behind `index`, which is not below the base.
    pub fn cut(&mut self, index: Index) {
        assert!(index >= self.base.index, "what a snapshot holds is committed");
        self.last = self.last.min(index);
        self.epochs.retain(|first| first.index <= index);
    }

    /// A snapshot holds everything up to `index` now: what lies before is not known any more.
    pub fn rebase(&mut self, index: Index) {
        if index <= self.base.index || index > self.last {
            return;
        }
        self.base = self.place(index);
        self.epochs.retain(|first| first.index > index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u64, index: u64) -> Place {
        Place { epoch: Epoch(epoch), index: Index(index) }
    }

    /// Against the plain list of epochs.
    #[test]
    fn a_shape_knows_what_a_list_of_epochs_knows() {
        let mut rng = crate::rng::Rng::new(7);
        for round in 0..300 {
            let mut base = rng.below(5);
            let mut epochs = vec![base; base as usize + 1];
            let mut shape = Shape::behind(place(base, base));
            for _ in 0..rng.below(40) {
                match rng.below(10) {
                    0 => {
                        let keep = base + rng.below(epochs.len() as u64 - base);
                        epochs.truncate(keep as usize + 1);
                        shape.cut(Index(keep));
                    }
                    1 => {
                        base += rng.below(epochs.len() as u64 - base);
                        shape.rebase(Index(base));
                    }
                    _ => {
                        let epoch = epochs.last().unwrap() + rng.below(5) / 3;
                        epochs.push(epoch);
                        let wanted = place(epoch, epochs.len() as u64 - 1);
                        assert_eq!(shape.push(Epoch(epoch)), wanted, "round {round}");
                    }
                }
                let last = epochs.len() as u64 - 1;
                assert_eq!(shape.last(), place(epochs[last as usize], last));
                for index in 0..last + 2 {
                    let known = (base..=last).contains(&index);
                    let wanted = known.then(|| Epoch(epochs[index as usize]));
                    assert_eq!(shape.epoch_at(Index(index)), wanted, "round {round}");
                    let Some(epoch) = wanted else { continue };
                    let first = (base..=last).find(|&i| epochs[i as usize] == epoch.0);
                    assert_eq!(Some(shape.first_of_epoch_at(Index(index))), first.map(Index));
                    let up_to = (base..=last).rfind(|&i| epochs[i as usize] <= epoch.0);
                    assert_eq!(Some(shape.last_up_to(epoch).index), up_to.map(Index));
                }
            }
        }
    }
}
