//! What was not taken, and why, counted.

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)*) => {
        /// Why something that came in changed nothing.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Drop {
            $($(#[$doc])* $reason,)*
        }

        impl Drop {
            /// All of them, in the order of the counters.
            pub const ALL: &[Drop] = &[$(Drop::$reason),*];

            /// The name in metrics.
            pub fn name(self) -> &'static str {
                match self {
                    $(Drop::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// It could not be read: another version, too long, or no message at all.
    Malformed = "malformed",
    /// A message of another cluster.
    Foreign = "foreign",
    /// News from a node that has not joined, to one that has: only what it says of itself counts.
    Unjoined = "unjoined",
    /// A message in the name of this node.
    Own = "own",
    /// A word about an earlier start of a node, or a message from one.
    OldBoot = "old_boot",
    /// A member that is said to be gone and was not known.
    UnknownGone = "unknown_gone",
    /// A member for which there was no room.
    Full = "full",
    /// A ping for another node.
    Misdirected = "misdirected",
    /// An answer that nobody waits for.
    Unasked = "unasked",
    /// A message to be passed on to a node whose address is not known.
    NoAddress = "no_address",
    /// A description of no known member, or an old one.
    StrayCard = "stray_card",
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
