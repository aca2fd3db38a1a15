//! A min-heap of deadlines.
//!
//! Entries are never removed early: who arms a timer keeps a token in the payload and ignores an
//! entry that has become stale when it comes out. That makes a cancel free and keeps every
//! operation O(log n), as calloop and foca do it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Deadlines of type `D` with a payload each, earliest first; entries of one deadline come out in
/// the order in which they were armed.
#[derive(Debug)]
pub struct TimerQueue<D, T> {
    heap: BinaryHeap<Reverse<Entry<D, T>>>,
    next_seq: u64,
}

impl<D: Ord + Copy, T> TimerQueue<D, T> {
    /// An empty queue.
    pub fn new() -> Self {
        TimerQueue { heap: BinaryHeap::new(), next_seq: 0 }
    }

    /// Arms `payload` for `deadline`.
    pub fn arm(&mut self, deadline: D, payload: T) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.heap.push(Reverse(Entry { deadline, seq, payload }));
    }

    /// Takes out the earliest entry whose deadline is at or before `now`. Call again until `None`.
    pub fn pop_due(&mut self, now: D) -> Option<(D, T)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.deadline, entry.payload))
    }

    /// The earliest entry, left in place.
    pub fn peek(&self) -> Option<(D, &T)> {
        self.heap.peek().map(|Reverse(entry)| (entry.deadline, &entry.payload))
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<D> {
        self.peek().map(|(deadline, _)| deadline)
    }

    /// How many entries are armed, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Drops the entries whose payload `keep` refuses, in O(n): for a queue in which stale entries
    /// outnumber the rest.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.heap.retain(|Reverse(entry)| keep(&entry.payload));
    }

    /// Drops every entry.
    pub fn clear(&mut self) {
        self.heap.clear();
    }
}

impl<D: Ord + Copy, T> Default for TimerQueue<D, T> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Entry<D, T> {
    deadline: D,
    seq: u64,
    payload: T,
}

impl<D: Ord, T> Entry<D, T> {
    fn key(&self) -> (&D, u64) {
        (&self.deadline, self.seq)
    }
}

impl<D: Ord, T> PartialEq for Entry<D, T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<D: Ord, T> Eq for Entry<D, T> {}

impl<D: Ord, T> PartialOrd for Entry<D, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<D: Ord, T> Ord for Entry<D, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_by_deadline_and_ties_in_the_order_armed() {
        let mut queue = TimerQueue::new();
        for (deadline, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b'), (9, 'e')] {
            queue.arm(deadline, name);
        }
        assert_eq!(queue.next_deadline(), Some(1));
        let mut seen = Vec::new();
        while let Some((deadline, name)) = queue.pop_due(5) {
            seen.push((deadline, name));
        }
        assert_eq!(seen, [(1, 'a'), (1, 'b'), (5, 'c'), (5, 'd')]);
        assert_eq!(queue.peek(), Some((9, &'e')));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn stale_entries_can_be_dropped_and_the_order_stays() {
        let mut queue = TimerQueue::new();
        for (deadline, name) in [(3, 'c'), (1, 'a'), (2, 'b'), (1, 'd')] {
            queue.arm(deadline, name);
        }
        queue.retain(|&name| name != 'b');
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_due(9)).collect();
        assert_eq!(order, [(1, 'a'), (1, 'd'), (3, 'c')]);
    }
}
