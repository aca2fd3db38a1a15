//! What must hold across all servers, by the specification alone. The numbers are its invariants.

use std::collections::BTreeMap;

use super::super::*;
use super::disk::Journal;
use super::world::Server;
use crate::ident::{Epoch, Index, NodeId};

/// What all servers together have shown.
#[derive(Default)]
pub(super) struct Checks {
    /// The chain at each place that any journal ever had.
    chains: BTreeMap<Place, u64>,
    pub(super) winners: BTreeMap<Epoch, NodeId>,
    /// What is committed at each index from 1 on, and the lowest epoch that committed it.
    truth: Vec<Committed>,
    /// Up to where clients were answered.
    pub(super) answered: Index,
    /// The first thing that went wrong.
    pub(super) broken: Option<String>,
    pub(super) counts: Counts,
}

/// How much happened, so that a quiet world does not pass for a safe one.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Counts {
    pub(super) worlds: u64,
    pub(super) wins: u64,
    pub(super) answered: u64,
    pub(super) reads: u64,
    pub(super) cuts: u64,
    pub(super) installs: u64,
    pub(super) changes: u64,
    pub(super) transfers: u64,
    pub(super) crashes: u64,
    pub(super) seconds: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Counts) {
        let Counts { worlds, wins, answered, reads, cuts, installs, .. } = other;
        self.worlds += worlds;
        self.wins += wins;
        self.answered += answered;
        self.reads += reads;
        self.cuts += cuts;
        self.installs += installs;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.crashes += other.crashes;
        self.seconds += other.seconds;
    }
}

#[derive(Clone, Copy)]
struct Committed {
    place: Place,
    chain: u64,
    by: Epoch,
}

type Servers = BTreeMap<NodeId, Server>;

impl Checks {
    pub(super) fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub(super) fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    /// I2 and I3: a record has come to a journal, with its chain.
    pub(super) fn appended(&mut self, at: NodeId, raw: &Raw, chain: u64) {
        let known = *self.chains.entry(raw.place()).or_insert(chain);
        self.require(known == chain, || {
            format!("I2, I3: {at} has another record or another past at {}", show(raw.place()))
        });
    }

    /// I1, and I4 for what is committed already; and that a majority has promised durably.
    pub(super) fn won(&mut self, at: NodeId, epoch: Epoch, servers: &Servers) {
        self.counts.wins += 1;
        let first = self.winners.insert(epoch, at);
        self.require(first.is_none(), || {
            format!("I1: {at} wins epoch {} which {first:?} has won", epoch.0)
        });
        let Some(up) = servers.get(&at).and_then(|server| server.up.as_ref()) else { return };
        let config = up.journal.config();
        let has_promised = |node: NodeId| {
            let kept = |server: &Server| server.disk.kept.contains(&(epoch, at));
            // What a disk held before it was lost is not known here any more.
            servers.get(&node).is_some_and(|server| server.refused || kept(server))
        };
        let carried = config.is_some_and(|config| config.voters.carried(has_promised));
        self.require(carried, || format!("I8: {at} wins epoch {} by promises in memory", epoch.0));
        let below: Vec<Committed> =
            self.truth.iter().filter(|known| known.by < epoch).copied().collect();
        for known in below {
            self.holds(at, epoch, &up.journal, known);
        }
    }

    /// I4 and I9: a leader of `epoch` has what an earlier one committed.
    fn holds(&mut self, at: NodeId, epoch: Epoch, journal: &Journal, known: Committed) {
        let below_base = known.place.index < journal.base.place.index;
        let holds = below_base || journal.chain(known.place.index) == Some(known.chain);
        self.require(holds, || {
            let (place, epoch) = (show(known.place), epoch.0);
            format!("I4, I9: {at} leads epoch {epoch} without {place}, which is committed")
        });
    }

    /// I5, I6's other side and I4: a server calls everything up to `index` committed.
    pub(super) fn committed(&mut self, at: NodeId, index: Index, servers: &Servers) {
        let Some(up) = servers.get(&at).and_then(|server| server.up.as_ref()) else { return };
        let leads = up.office;
        if index > up.journal.last().index {
            return self.fail(format!("{at} calls {} committed and has not got it", index.0));
        }
        if let Some(epoch) = leads {
            let config = up.journal.config();
            let chain = up.journal.chain(index);
            let on_disk = |node: NodeId| {
                let has = |server: &Server| {
                    let journal = &server.disk.durable.journal;
                    index < journal.base.place.index || journal.chain(index) == chain
                };
                servers.get(&node).is_some_and(|server| server.refused || has(server))
            };
            let carried = config.is_some_and(|config| config.voters.carried(on_disk));
            self.require(carried, || {
                format!("I8: {at} commits {} in epoch {} without a majority", index.0, epoch.0)
            });
        }
        for at_index in up.applied.0 + 1..=index.0 {
            let Some((raw, chain)) = up.journal.get(Index(at_index)) else { continue };
            let by = leads.unwrap_or(raw.epoch.max(up.promise.epoch));
            let new = Committed { place: raw.place(), chain: *chain, by };
            match self.truth.get_mut(at_index as usize - 1) {
                Some(known) if known.chain == *chain => known.by = known.by.min(by),
                Some(known) => {
                    let (old, new) = (show(known.place), show(new.place));
                    return self.fail(format!("I5: {at} commits {new}, where {old} is committed"));
                }
                None => self.first_committed(at, new, leads, servers),
            }
        }
    }

    fn first_committed(
        &mut self,
        at: NodeId,
        new: Committed,
        leads: Option<Epoch>,
        servers: &Servers,
    ) {
        self.require(self.truth.len() as u64 + 1 == new.place.index.0, || {
            format!("{at} commits {} behind a gap", show(new.place))
        });
        self.require(leads.is_some(), || {
            format!("{at} calls {} committed before any leader did", show(new.place))
        });
        self.truth.push(new);
        for (&other, server) in servers {
            let Some(up) = &server.up else { continue };
            if let Some(epoch) = up.office.filter(|&epoch| epoch > new.by) {
                self.holds(other, epoch, &up.journal, new);
            }
        }
    }

    /// I5 for a journal that a snapshot has replaced.
    pub(super) fn installed(&mut self, at: NodeId, place: Place, chain: u64) {
        self.counts.installs += 1;
        let known = self.truth.get(place.index.0 as usize - 1).map(|known| known.chain);
        self.require(known == Some(chain), || {
            format!("I5: {at} has a snapshot at {} that is not the truth", show(place))
        });
    }

    /// I6: a server cuts its journal.
    pub(super) fn cut(&mut self, at: NodeId, keep: Index, applied: Index) {
        self.counts.cuts += 1;
        self.require(keep >= applied, || {
            format!("I6: {at} cuts behind {}, and {} is committed", keep.0, applied.0)
        });
    }

    /// I7: a server promises.
    pub(super) fn promised(&mut self, at: NodeId, before: Promise, promise: Promise) {
        let rises = promise.epoch > before.epoch
            || (promise.epoch == before.epoch && (before.to.is_none() || promise.to == before.to));
        self.require(rises, || {
            let (now, before) = (promise.epoch.0, before.epoch.0);
            format!("I7: {at} has promised epoch {before}, and now {now} to {:?}", promise.to)
        });
    }

    /// I8: a message leaves.
    pub(super) fn sent(&mut self, from: NodeId, to: NodeId, envelope: &Envelope, all: &Servers) {
        let Some(server) = all.get(&from) else { return };
        let (kept, durable) = (&server.disk.kept, &server.disk.durable);
        let epoch = envelope.epoch;
        match &envelope.message {
            Message::Vote { granted: true, .. } => {
                self.require(kept.contains(&(epoch, to)), || {
                    format!("I8: {from} votes for {to} in {} before its disk knows", epoch.0)
                });
            }
            Message::Candidacy { tail, .. } => {
                let promised = kept.contains(&(epoch, from));
                let is_there =
                    tail.index < durable.journal.base.place.index || durable.journal.holds(*tail);
                self.require(promised && is_there, || {
                    format!("I8: {from} asks for {} before its disk knows", epoch.0)
                });
            }
            Message::Ack { matched, .. } => {
                let leader = all.get(&to).and_then(|leader| leader.up.as_ref());
                let theirs = leader
                    .filter(|up| up.office == Some(epoch))
                    .and_then(|up| up.journal.chain(*matched));
                let own = durable.journal.chain(*matched);
                let is_below = *matched < durable.journal.base.place.index;
                let same = is_below || own.is_some() && theirs.is_none_or(|is| Some(is) == own);
                let promised = server.up.as_ref().map(|up| up.promise.epoch);
                self.require(promised <= Some(epoch), || {
                    format!("{from} obeys epoch {}, and has promised a later one", epoch.0)
                });
                self.require(same && durable.promise.epoch >= epoch, || {
                    format!("I8: {from} acknowledges {} in {}, not on its disk", matched.0, epoch.0)
                });
            }
            Message::Stale { promised } | Message::Vote { granted: false, promised } => {
                self.require(*promised <= durable.promise.epoch, || {
                    format!("I8: {from} says that it promised {}, in memory", promised.0)
                });
            }
            Message::Append(append) => {
                let applied = server.up.as_ref().map(|up| up.consensus.log().committed());
                self.require(applied.is_some_and(|applied| append.commit <= applied), || {
                    format!("{from} says that {} is committed and does not know", append.commit.0)
                });
            }
            Message::Probe { .. }
            | Message::ProbeAnswer { .. }
            | Message::Conflict { .. }
            | Message::Transfer => {}
        }
    }

    /// I16: a read is served at `index`; `floor` was answered before it began.
    pub(super) fn read(&mut self, at: NodeId, index: Index, floor: Index) {
        self.counts.reads += 1;
        self.require(index >= floor, || {
            format!("I16: {at} serves a read at {}, and {} was answered", index.0, floor.0)
        });
    }

    /// How much is committed.
    pub(super) fn end(&self) -> Index {
        Index(self.truth.len() as u64)
    }

    pub(super) fn chain_of(&self, index: Index) -> Option<u64> {
        self.truth.get((index.0 as usize).checked_sub(1)?).map(|known| known.chain)
    }
}

/// A place as it is written here: epoch.index.
pub(super) fn show(place: Place) -> String {
    format!("{}.{}", place.epoch.0, place.index.0)
}
