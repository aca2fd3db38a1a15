//! Deliberate mistakes, one for each rule that a cluster's safety hangs on.
//!
//! A build for tests can be told to make one; the simulation must then fail, or it proves nothing.
//! Elsewhere the question is a constant and costs nothing. A mistake that no test catches is a
//! fault of the tests.

/// A rule that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mistake {
    /// The number of a node decides elections, not its journal.
    PlainBully,
    /// Journals are compared by length, not by epoch first.
    IndexOnly,
    /// A majority of those that seem alive elects and commits.
    GossipQuorum,
    /// Records of an earlier epoch are committed by counting copies.
    OldEpochCount,
    /// A follower acknowledges what is not on its disk yet.
    AckBeforeFsync,
    /// A leader or candidate counts itself before its disk has answered.
    SelfBeforeFsync,
    /// A vote leaves before the promise is on the disk.
    VoteBeforeFsync,
    /// Promises are not kept on the disk.
    NoPromiseDisk,
    /// Two candidates of one epoch get the vote.
    VoteTwice,
    /// The epoch that was promised counts as the epoch of the last record.
    EpochMarkerAheadOfLog,
    /// A leader of a lower epoch is still obeyed.
    NoFence,
    /// A higher candidacy is taken on although a leader is alive.
    StickyVoid,
    /// A short Append cuts a longer journal that agrees with it.
    TruncOnShort,
    /// A disk completion from before a cut counts after it.
    StaleCompletion,
    /// A second change of voters begins before the first is committed.
    TwoConfigChanges,
    /// A datagram is opened as often as it comes.
    ReplayWindowOff,
}

#[cfg(not(test))]
pub(crate) use off::made;
#[cfg(test)]
pub(crate) use on::{Making, made};

#[cfg(not(test))]
mod off {
    use super::Mistake;

    /// Whether the mistake is made: never, outside tests.
    #[inline(always)]
    pub(crate) const fn made(_: Mistake) -> bool {
        false
    }
}

#[cfg(test)]
mod on {
    use super::Mistake;
    use std::cell::Cell;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// Whether the mistake is made in this thread.
    pub(crate) fn made(mistake: Mistake) -> bool {
        MADE.with(|made| made.get() == Some(mistake))
    }

    /// While it lives, its mistake is made in this thread.
    pub(crate) struct Making;

    impl Making {
        pub(crate) fn new(mistake: Option<Mistake>) -> Making {
            MADE.with(|made| made.set(mistake));
            Making
        }
    }

    impl Drop for Making {
        fn drop(&mut self) {
            MADE.with(|made| made.set(None));
        }
    }
}
