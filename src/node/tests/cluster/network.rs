//! The network between the machines, which delays, loses, repeats, reorders and cuts.
//!
//! Words of the consensus may suffer all of that. What is said in sessions and forwarded travels
//! in order between two nodes, as over one TCP connection: while they are cut off it waits, and
//! when the connection breaks, all that was on its way is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::machine::{MS, NEVER, SECOND};
use crate::node::Word;
use crate::rng::Rng;

/// Most words that wait in a connection; beyond, it breaks.
const STREAM_MAX: usize = 4_000;
/// How long a word waits to be sent again while its way is cut.
const AGAIN: u64 = 150 * MS;

/// From one machine to another.
pub(super) type Way = (usize, usize);

/// What this network does, as one in so many; 0 is never.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) twice: u64,
    /// One in so many words takes up to a second.
    pub(super) late: u64,
    /// One in so many comes once more after up to two minutes.
    pub(super) replay: u64,
}

pub(super) struct Network {
    rng: Rng,
    pub(super) weather: Weather,
    seq: u64,
    loose: BTreeMap<(u64, u64), (Way, Word)>,
    streams: BTreeMap<Way, VecDeque<(u64, Word)>>,
    /// Ways on which nothing comes through, and until when.
    cuts: BTreeMap<Way, u64>,
    /// Connections that have broken, for those who look: what follows begins a new one.
    pub(super) broken: u64,
}

impl Network {
    pub(super) fn new(rng: Rng, weather: Weather) -> Network {
        Network {
            rng,
            weather,
            seq: 0,
            loose: BTreeMap::new(),
            streams: BTreeMap::new(),
            cuts: BTreeMap::new(),
            broken: 0,
        }
    }

    pub(super) fn send(&mut self, way: Way, word: Word, t: u64) {
        let envelope = match word {
            Word::Consensus(envelope) => envelope,
            word => return self.stream(way, word, t),
        };
        if self.has(self.weather.loss) || self.is_cut(way, t) {
            return;
        }
        if self.has(self.weather.twice) {
            let again = t + self.rng.below(300 * MS);
            self.push(again, way, Word::Consensus(envelope.clone()));
        }
        if self.has(self.weather.replay) {
            let again = t + self.rng.below(120 * SECOND);
            self.push(again, way, Word::Consensus(envelope.clone()));
        }
        let at = t + self.delay();
        self.push(at, way, Word::Consensus(envelope));
    }

    fn push(&mut self, at: u64, way: Way, word: Word) {
        self.seq += 1;
        self.loose.insert((at, self.seq), (way, word));
    }

    fn stream(&mut self, way: Way, word: Word, t: u64) {
        let delay = self.delay();
        let queue = self.streams.entry(way).or_default();
        if queue.len() >= STREAM_MAX {
            return self.break_both(way);
        }
        let at = queue.back().map_or(0, |&(at, _)| at + 1).max(t + delay);
        queue.push_back((at, word));
    }

    fn delay(&mut self) -> u64 {
        let most = if self.has(self.weather.late) { SECOND } else { 3 * MS };
        MS / 10 + self.rng.below(most)
    }

    fn has(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.rng.chance(1, one_in)
    }

    /// When the next word arrives.
    pub(super) fn next(&self) -> u64 {
        let loose = self.loose.keys().next().map_or(NEVER, |&(at, _)| at);
        let fronts = self.streams.values().filter_map(|queue| queue.front());
        fronts.map(|&(at, _)| at).min().unwrap_or(NEVER).min(loose)
    }

    /// The word that arrives at `t`, unless it is lost or has to wait: `waits` says until when a
    /// machine takes none.
    pub(super) fn arrive(&mut self, t: u64, waits: &dyn Fn(usize) -> u64) -> Option<(Way, Word)> {
        if let Some((&key, _)) = self.loose.first_key_value().filter(|((at, _), _)| *at <= t) {
            let (way, word) = self.loose.remove(&key)?;
            let until = waits(way.1);
            if until > t {
                self.push(until, way, word);
                return None;
            }
            return Some((way, word)).filter(|_| !self.is_cut(way, t));
        }
        let is_due = |queue: &VecDeque<(u64, Word)>| queue.front().is_some_and(|w| w.0 <= t);
        let way = self.streams.iter().find(|(_, queue)| is_due(queue)).map(|(&way, _)| way)?;
        let cut = if self.is_cut(way, t) { t + AGAIN } else { t };
        let until = waits(way.1).max(cut);
        let queue = self.streams.get_mut(&way)?;
        if until > t {
            if let Some(front) = queue.front_mut() {
                front.0 = until;
            }
            return None;
        }
        queue.pop_front().map(|(_, word)| (way, word))
    }

    fn is_cut(&self, way: Way, t: u64) -> bool {
        self.cuts.get(&way).is_some_and(|&until| until > t)
    }

    pub(super) fn cut(&mut self, way: Way, until: u64) {
        let own = self.cuts.entry(way).or_default();
        *own = until.max(*own);
    }

    /// Cuts those machines off from the others.
    pub(super) fn part(&mut self, side: &BTreeSet<usize>, count: usize, until: u64) {
        for a in 0..count {
            for b in 0..count {
                if side.contains(&a) != side.contains(&b) {
                    self.cut((a, b), until);
                }
            }
        }
    }

    /// The connection between two machines breaks.
    pub(super) fn break_both(&mut self, (a, b): Way) {
        self.streams.remove(&(a, b));
        self.streams.remove(&(b, a));
        self.broken += 1;
    }

    /// The agent of a machine has died, and its connections with it.
    pub(super) fn died(&mut self, machine: usize) {
        self.streams.retain(|&(a, b), _| a != machine && b != machine);
    }

    /// From now on nothing is cut, nothing lost, and nothing comes that was said long ago: what a
    /// leader said keeps voters waiting for it.
    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.loose.clear();
        self.weather = Weather::default();
    }
}
