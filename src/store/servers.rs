//! Who keeps the journal, and who decides.

use super::bytes::encode_nodes;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{ClusterId, NodeId};

/// The servers of a cluster: who keeps the journal. Each list is in order of number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Servers {
    /// The cluster.
    pub cluster: ClusterId,
    /// They decide.
    pub voters: Vec<NodeId>,
    /// They are sent the journal and do not vote.
    pub learners: Vec<NodeId>,
    /// Who is to vote in the end. One voter comes or goes at a time, so a change may take several
    /// records; whoever leads goes on with it.
    pub wanted: Vec<NodeId>,
}

impl Servers {
    /// Voters alone, who are all that is wanted.
    pub fn of(cluster: ClusterId, voters: Vec<NodeId>) -> Servers {
        Servers { cluster, wanted: voters.clone(), voters, learners: Vec::new() }
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u64(self.cluster.0);
        encode_nodes(&self.voters, out);
        encode_nodes(&self.learners, out);
        encode_nodes(&self.wanted, out);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Servers, DecodeError> {
        Ok(Servers {
            cluster: ClusterId(input.u64()?),
            voters: input.list(NodeId::decode)?,
            learners: input.list(NodeId::decode)?,
            wanted: input.list(NodeId::decode)?,
        })
    }
}
