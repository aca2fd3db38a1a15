//! Names and numbers that identify things, each a type of its own, so that a job's number is never
//! taken for a run's.

use std::fmt;
use std::num::NonZeroU32;

use crate::codec::{DecodeError, Decoder, Encoder};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A cluster, drawn at random at its genesis; 0 before that.
    ClusterId(u64)
);
number!(
    /// A data directory, drawn at random when it is made: a wiped disk never comes back as the
    /// node it was.
    StoreId(u64)
);
number!(
    /// A start of a node; raised durably each time, and at least the Unix time.
    Boot(u64)
);
number!(
    /// A leader's time in office. At most one node leads in an epoch.
    Epoch(u64)
);
number!(
    /// A record's place in the replicated journal, from 1.
    Index(u64)
);
number!(
    /// A job: the index of the record that created it. A name created anew is a new job.
    JobId(u64)
);
number!(
    /// A launcher process, drawn at random when it starts.
    Instance(u64)
);
number!(
    /// A start of the operating system (the first 64 bits of its random boot id).
    BootId(u64)
);
number!(
    /// A request that the node answers later.
    RequestId(u64)
);
number!(
    /// A large answer that the node makes piece by piece.
    StreamId(u64)
);
number!(
    /// A batch given to the disk; its completion carries it back.
    Ticket(u64)
);

/// A node of the cluster, drawn at random; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub NonZeroU32);

impl NodeId {
    /// The node numbered `id`; `None` for 0.
    pub fn new(id: u32) -> Option<NodeId> {
        NonZeroU32::new(id).map(NodeId)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Reads a node's number.
    ///
    /// # Errors
    /// When the bytes are too few or the number is 0.
    pub fn decode(input: &mut Decoder<'_>) -> Result<NodeId, DecodeError> {
        NodeId::new(input.u32()?).ok_or(DecodeError::Invalid("node"))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One run of a job: a claim's index, the node that runs it, and the attempt, from 1. All
/// executions of one claim share the group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId {
    /// Index of the claim.
    pub group: Index,
    /// The target.
    pub node: NodeId,
    /// 1 for the first try.
    pub attempt: u32,
}

impl RunId {
    /// Writes the 16 bytes that [`RunId::decode`] reads.
    pub fn encode(self, out: &mut Encoder) {
        out.u64(self.group.0).u32(self.node.get()).u32(self.attempt);
    }

    /// Reads a run's name.
    ///
    /// # Errors
    /// When the bytes are too few or the node is 0.
    pub fn decode(input: &mut Decoder<'_>) -> Result<RunId, DecodeError> {
        let group = Index(input.u64()?);
        let node = NodeId::decode(input)?;
        Ok(RunId { group, node, attempt: input.u32()? })
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.group, self.node, self.attempt)
    }
}

/// Length of a [`Digest`].
pub const DIGEST_BYTES: usize = 32;

/// A SHA-256.
pub type Digest = [u8; DIGEST_BYTES];

/// Longest name of a job or a node, in bytes.
pub const NAME_MAX_BYTES: usize = 128;

/// Says what is wrong with `name` as the name of a job or a node: 1–128 of `A-Z a-z 0-9 _ . -`,
/// not starting with `.` or `-`.
///
/// # Errors
/// One clause that fits after "name: ".
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty".into());
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(format!("is {} bytes long, at most {NAME_MAX_BYTES} are allowed", name.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if let Some((at, c)) = name.char_indices().find(|&(_, c)| !allowed(c)) {
        let shown = crate::text::escape_control(&c.to_string());
        return Err(format!(
            "has '{shown}' at column {}; letters a-z and A-Z, digits, '_', '.' and '-' are allowed",
            at + 1
        ));
    }
    if name.starts_with(['.', '-']) {
        return Err("must not start with '.' or '-'".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(NAME_MAX_BYTES + 1);
        for (name, complaint) in [
            ("backup", None),
            ("A.b-c_9", None),
            (&long[1..], None),
            ("", Some("must not be empty")),
            (&long, Some("is 129 bytes long")),
            ("a b", Some("has ' ' at column 2")),
            ("a/../b", Some("has '/' at column 2")),
            ("naïve", Some("has 'ï' at column 3")),
            ("a\nb", Some("has '\\n' at column 2")),
            (".hidden", Some("must not start")),
            ("-rf", Some("must not start")),
        ] {
            match (check_name(name), complaint) {
                (Ok(()), None) => {}
                (Err(said), Some(start)) if said.starts_with(start) => {}
                (said, wanted) => panic!("{name:?}: {said:?}, wanted {wanted:?}"),
            }
        }
    }

    #[test]
    fn a_run_is_written_as_group_node_attempt() {
        let node = NodeId::new(0xabc).unwrap();
        let run = RunId { group: Index(17), node, attempt: 1 };
        assert_eq!(run.to_string(), "17-00000abc-1");
        assert_eq!(NodeId::new(0), None);
    }
}
