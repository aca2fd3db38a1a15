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
    /// A read is served by who was the leader, without asking whether it still is.
    ReadWithoutRound,
    /// A datagram is opened as often as it comes.
    ReplayWindowOff,
    /// A run is ordered before its claim is committed.
    StartBeforeCommit,
    /// A process is asked for before the promise to start it once is on the disk.
    AcceptedNotFsynced,
    /// An order that comes twice is taken twice.
    NoWorkerDedup,
    /// An order of a leader whose epoch has passed is obeyed.
    LowEpochObeyed,
    /// A new leader fires from now on, not from where the last one stopped.
    ResumeFromNow,
    /// An edit of the schedule leaves the mark where it was.
    MarkNotResetOnEdit,
    /// Of the targets of a claim only the first is ordered.
    SecondTargetRefused,
    /// A clock that was set back a little brings back what was decided.
    BackStepRefires,
    /// A clock that was once far ahead is waited for.
    FutureClockBlocks,
    /// A run of which nobody can know the outcome is started again.
    LostIsRetried,
    /// A new leader knows nothing of what is to be tried again.
    RetryLostOnFailover,
    /// A new leader knows nothing of the fires that jobs are owed because others have succeeded.
    ChildLostOnFailover,
    /// Due times are passed over, and nothing tells of them.
    SkipWithoutRecord,
    /// A target that can't be told at once is given up.
    NoSessionMeansSkip,
    /// A run that may have started is called missed.
    MissedWrittenForStarted,
    /// A snapshot holds no run that is open.
    SnapshotWithoutOpenRuns,
    /// What a record does depends on the clock of who applies it.
    ApplyReadsClock,
    /// A server whose disk was wiped is taken for the old one.
    WipedSameId,
    /// A server whose disk went back in time is taken for the one that it was.
    RolledBackDisk,
}

#[cfg(not(test))]
pub(crate) use off::{clock, made};
#[cfg(test)]
pub(crate) use on::{Making, clock, made};

#[cfg(not(test))]
mod off {
    use super::Mistake;

    /// Whether the mistake is made: never, outside tests.
    #[inline(always)]
    pub(crate) const fn made(_: Mistake) -> bool {
        false
    }

    /// What [`Mistake::ApplyReadsClock`] would read.
    #[inline(always)]
    pub(crate) const fn clock() -> i64 {
        0
    }
}

#[cfg(test)]
mod on {
    use super::Mistake;
    use std::cell::Cell;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
        static CLOCK: Cell<i64> = const { Cell::new(0) };
    }

    /// Whether the mistake is made in this thread.
    pub(crate) fn made(mistake: Mistake) -> bool {
        MADE.with(|made| made.get() == Some(mistake))
    }

    /// A clock, which shows another time at each look.
    pub(crate) fn clock() -> i64 {
        CLOCK.with(|clock| {
            clock.set(clock.get() + 1);
            clock.get()
        })
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
