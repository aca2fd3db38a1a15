//! The door: streams that others began and that have proved nothing yet.
//!
//! They get few bytes, little time, and few of them wait at once, so a flood of half-open streams
//! costs a bounded amount of memory and never keeps a new one out: the one that waited longest goes
//! instead. It counts how each of them parted. Pure; the node drives it, and closes what it names.

use std::collections::VecDeque;
use std::time::Duration;

use super::handshake::UNPROVED_MAX_BYTES;
use super::stream::StreamError;
use crate::time::Mono;

/// Most streams that wait at once.
pub const PENDING_MAX: usize = 64;

/// How long a stream may take to prove itself.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(3);

/// How a stream left the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parting {
    /// It proved itself.
    Proved,
    /// Its peer closed it.
    Closed,
    /// It waited longest when one too many came.
    CrowdedOut,
    /// It took longer than [`PROOF_TIMEOUT`].
    Late,
    /// It sent more than [`UNPROVED_MAX_BYTES`].
    TooLong,
    /// It spoke another protocol, or another version of it.
    NotOurs,
    /// One end has keys and the other none.
    Unlike,
    /// It named a key that is not accepted.
    UnknownKey,
    /// It did not hold the key that it named.
    Forged,
    /// Its peer has the key and still does not belong here.
    Foreign,
}

impl Parting {
    /// All of them.
    pub const ALL: [Parting; 10] = [
        Parting::Proved,
        Parting::Closed,
        Parting::CrowdedOut,
        Parting::Late,
        Parting::TooLong,
        Parting::NotOurs,
        Parting::Unlike,
        Parting::UnknownKey,
        Parting::Forged,
        Parting::Foreign,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Parting::Proved => "proved",
            Parting::Closed => "closed",
            Parting::CrowdedOut => "crowded_out",
            Parting::Late => "late",
            Parting::TooLong => "too_long",
            Parting::NotOurs => "not_ours",
            Parting::Unlike => "unlike",
            Parting::UnknownKey => "unknown_key",
            Parting::Forged => "forged",
            Parting::Foreign => "foreign",
        }
    }
}

impl From<StreamError> for Parting {
    fn from(error: StreamError) -> Parting {
        match error {
            StreamError::TooLong(_) => Parting::TooLong,
            StreamError::NotOurs | StreamError::Version(_) => Parting::NotOurs,
            StreamError::Clear | StreamError::Sealed => Parting::Unlike,
            StreamError::NoKey | StreamError::UnknownKey(_) => Parting::UnknownKey,
            StreamError::Forged | StreamError::Exhausted | StreamError::Broken => Parting::Forged,
            StreamError::Truncated => Parting::Closed,
            StreamError::Malformed
            | StreamError::Foreign(_)
            | StreamError::Own
            | StreamError::Misdirected(_) => Parting::Foreign,
        }
    }
}

/// The streams that wait, by the caller's names for them, each of which is there once.
#[derive(Debug)]
pub struct Door<K> {
    /// In the order of their coming, and so of their deadlines.
    pending: VecDeque<Pending<K>>,
    counts: [u64; Parting::ALL.len()],
}

#[derive(Debug)]
struct Pending<K> {
    stream: K,
    deadline: Mono,
    bytes: usize,
}

impl<K> Default for Door<K> {
    fn default() -> Self {
        Door { pending: VecDeque::new(), counts: [0; Parting::ALL.len()] }
    }
}

impl<K: Copy + PartialEq> Door<K> {
    /// Lets `stream` wait. Returns the one that must be closed for it.
    pub fn arrive(&mut self, stream: K, now: Mono) -> Option<K> {
        let crowded_out = if self.pending.len() < PENDING_MAX {
            None
        } else {
            self.pending.pop_front().map(|oldest| oldest.stream)
        };
        if crowded_out.is_some() {
            self.count(Parting::CrowdedOut);
        }
        let deadline = now + PROOF_TIMEOUT;
        self.pending.push_back(Pending { stream, deadline, bytes: 0 });
        crowded_out
    }

    /// Notes that the handshake of `stream` took so many bytes more. False when that was too much:
    /// it has left the door and must be closed.
    pub fn took(&mut self, stream: K, bytes: usize) -> bool {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.stream == stream) else {
            return false;
        };
        pending.bytes = pending.bytes.saturating_add(bytes);
        if pending.bytes <= UNPROVED_MAX_BYTES {
            return true;
        }
        self.leave(stream, Parting::TooLong);
        false
    }

    /// Ends the waiting of `stream`, which the caller has closed or taken over.
    pub fn leave(&mut self, stream: K, parting: Parting) {
        let at = self.pending.iter().position(|pending| pending.stream == stream);
        if at.and_then(|at| self.pending.remove(at)).is_some() {
            self.count(parting);
        }
    }

    /// The next stream whose time is over; it has left the door and must be closed.
    pub fn poll_late(&mut self, now: Mono) -> Option<K> {
        let stream = self.pending.front().filter(|first| first.deadline <= now)?.stream;
        self.leave(stream, Parting::Late);
        Some(stream)
    }

    /// When [`Door::poll_late`] has something to say, at the earliest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.pending.front().map(|first| first.deadline)
    }

    /// How many wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many parted so.
    pub fn parted(&self, parting: Parting) -> u64 {
        self.counts[parting as usize]
    }

    fn count(&mut self, parting: Parting) {
        self.counts[parting as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(9_000_000_000) + Duration::from_millis(ms)
    }

    #[test]
    fn a_flood_crowds_out_who_waited_longest_and_never_who_comes() {
        let mut door = Door::default();
        for stream in 0..PENDING_MAX {
            assert_eq!(door.arrive(stream, at(0)), None);
        }
        for stream in PENDING_MAX..100_000 {
            assert_eq!(door.arrive(stream, at(0)), Some(stream - PENDING_MAX));
            assert_eq!(door.pending(), PENDING_MAX);
        }
        assert_eq!(door.parted(Parting::CrowdedOut), 100_000 - PENDING_MAX as u64);
        // One that proves itself at once gets through all the same.
        door.arrive(100_000, at(1));
        assert!(door.took(100_000, 220));
        door.leave(100_000, Parting::Proved);
        assert_eq!((door.pending(), door.parted(Parting::Proved)), (PENDING_MAX - 1, 1));
    }

    #[test]
    fn who_takes_too_long_is_named_once_and_at_its_time() {
        let mut door = Door::default();
        assert_eq!(door.poll_timeout(), None);
        door.arrive('a', at(0));
        door.arrive('b', at(5));
        door.arrive('c', at(5));
        assert_eq!(door.poll_timeout(), Some(at(3_000)));
        assert_eq!(door.poll_late(at(2_999)), None);
        assert_eq!(door.poll_late(at(3_000)), Some('a'));
        assert_eq!(door.poll_late(at(3_000)), None);
        assert_eq!(door.poll_timeout(), Some(at(3_005)));
        door.leave('b', Parting::Closed);
        assert_eq!(door.poll_late(at(9_000)), Some('c'));
        assert_eq!((door.poll_late(at(9_000)), door.poll_timeout()), (None, None));
        assert_eq!((door.parted(Parting::Late), door.parted(Parting::Closed)), (2, 1));
    }

    #[test]
    fn who_says_too_much_goes() {
        let mut door = Door::default();
        door.arrive(1, at(0));
        assert!(door.took(1, UNPROVED_MAX_BYTES - 1));
        assert!(door.took(1, 1));
        assert!(!door.took(1, 1));
        assert!(!door.took(1, 0), "it is gone");
        assert_eq!((door.pending(), door.parted(Parting::TooLong)), (0, 1));
        door.arrive(2, at(0));
        assert!(!door.took(2, usize::MAX) && !door.took(2, usize::MAX));
    }

    #[test]
    fn who_is_not_there_is_not_counted() {
        let mut door = Door::default();
        door.leave(1, Parting::Proved);
        door.arrive(1, at(0));
        door.leave(1, StreamError::Forged.into());
        door.leave(1, StreamError::Forged.into());
        assert_eq!((door.parted(Parting::Proved), door.parted(Parting::Forged)), (0, 1));
    }

    #[test]
    fn each_parting_has_a_counter_and_a_name_of_its_own() {
        for (at, parting) in Parting::ALL.into_iter().enumerate() {
            assert_eq!(parting as usize, at);
            assert!(Parting::ALL[..at].iter().all(|other| other.name() != parting.name()));
        }
    }
}
