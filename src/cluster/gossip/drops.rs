//! What was not taken, and why, counted.

/// Why something that came in changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Drop {
    /// It could not be read: wrong version, too long, or no message at all.
    Malformed,
    /// A message of another cluster.
    Foreign,
    /// News from a node that has not joined, to one that has: only what it says of itself counts.
    Unjoined,
    /// A message in the name of this node.
    Own,
    /// A word about an earlier start of a node, or a message from one.
    OldBoot,
    /// A member that is said to be gone and was not known.
    UnknownGone,
    /// A member for which there was no room.
    Full,
    /// A ping for another node.
    Misdirected,
    /// An answer that nobody waits for.
    Unasked,
    /// A message to be passed on to a node whose address is not known.
    NoAddress,
    /// A description of no known member, or an old one.
    StrayCard,
}

impl Drop {
    /// All of them, in the order of the counters.
    pub const ALL: [Drop; 11] = [
        Drop::Malformed,
        Drop::Foreign,
        Drop::Unjoined,
        Drop::Own,
        Drop::OldBoot,
        Drop::UnknownGone,
        Drop::Full,
        Drop::Misdirected,
        Drop::Unasked,
        Drop::NoAddress,
        Drop::StrayCard,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Drop::Malformed => "malformed",
            Drop::Foreign => "foreign",
            Drop::Unjoined => "unjoined",
            Drop::Own => "own",
            Drop::OldBoot => "old_boot",
            Drop::UnknownGone => "unknown_gone",
            Drop::Full => "full",
            Drop::Misdirected => "misdirected",
            Drop::Unasked => "unasked",
            Drop::NoAddress => "no_address",
            Drop::StrayCard => "stray_card",
        }
    }
}

/// One counter for each [`Drop`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Drops([u64; Drop::ALL.len()]);

impl Drops {
    pub(super) fn count(&mut self, why: Drop) {
        let counter = &mut self.0[why as usize];
        *counter = counter.saturating_add(1);
    }

    /// How often that was the reason.
    pub fn of(&self, why: Drop) -> u64 {
        self.0[why as usize]
    }
}
