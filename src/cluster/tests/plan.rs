//! What a seed lets happen to a world: a list of faults and requests with their times, so that a
//! failure shrinks by leaving out what it does not need.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::*;
use super::checks::Counts;
use super::node;
use super::world::{MS, SECOND, World};
use crate::ident::NodeId;
use crate::mistake::{Mistake, made};
use crate::rng::{Rng, mix};

/// How long a healed cluster may take to have a leader.
const LEADER_MAX: u64 = 10 * SECOND;
/// Most worlds that are tried to make one smaller.
const SHRINKS_MAX: usize = 600;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Fault {
    Crash(u32),
    CrashAll,
    Start(u32),
    Pause(u32, u64),
    Cut(u32, u32),
    /// Those whose bit is set hear only each other.
    Split(u64),
    /// All cuts are mended.
    Mend,
    Clog(u32, u32, u64),
    /// Of a thousand messages so many are lost.
    Loss(u64),
    Doubled(u64),
    /// Microseconds, at most.
    Delay(u64),
    Slow(u32, u64),
    Stall(u32, u64),
    Eio(u32),
    Wipe(u32),
    Save(u32),
    RollBack(u32),
    Replay(u64),
    Write(u64),
    Read,
    Snapshot(u32),
    Change(u64),
    Transfer(u32),
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) voters: u32,
    pub(super) spares: u32,
    pub(super) any_subset: bool,
    pub(super) drift: u64,
    pub(super) ms: u64,
    /// In milliseconds.
    pub(super) items: Vec<(u64, Fault)>,
}

/// Kinds of faults that a seed turns on or off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    Crash,
    CrashAll,
    Pause,
    Cut,
    Split,
    Clog,
    Loss,
    Doubled,
    Delay,
    Slow,
    Stall,
    Eio,
    Wipe,
    RollBack,
    Replay,
    Snapshot,
    Change,
    Transfer,
}

const KINDS: [Kind; 18] = [
    Kind::Crash,
    Kind::CrashAll,
    Kind::Pause,
    Kind::Cut,
    Kind::Split,
    Kind::Clog,
    Kind::Loss,
    Kind::Doubled,
    Kind::Delay,
    Kind::Slow,
    Kind::Stall,
    Kind::Eio,
    Kind::Wipe,
    Kind::RollBack,
    Kind::Replay,
    Kind::Snapshot,
    Kind::Change,
    Kind::Transfer,
];

impl Plan {
    /// The plan of `seed`: which kinds are on, how many, then each with its time.
    pub(super) fn drawn(seed: u64) -> Plan {
        let mut rng = Rng::new(mix(seed ^ 0x706c_616e));
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| rng.chance(2, 5)).collect();
        Plan::of(seed, &kinds)
    }

    /// A plan of those kinds.
    pub(super) fn of(seed: u64, kinds: &[Kind]) -> Plan {
        let mut rng = Rng::new(mix(seed).wrapping_add(1));
        let voters = [1, 2, 3, 3, 3, 3, 5, 5, 7, 4][rng.below(10) as usize];
        let changes = kinds.contains(&Kind::Change);
        let mut plan = Plan {
            seed,
            voters,
            spares: if changes { 2 } else { 0 },
            any_subset: rng.chance(1, 2),
            drift: rng.below(400),
            ms: 8_000 + rng.below(16_000),
            items: Vec::new(),
        };
        for &kind in kinds {
            for _ in 0..1 + rng.below(5) {
                plan.draw(kind, &mut rng);
            }
        }
        let pace = 60 + rng.below(500);
        let mut at = rng.below(2 * pace);
        while at < plan.ms {
            let request = if rng.chance(1, 4) { Fault::Read } else { Fault::Write(rng.below(3)) };
            plan.items.push((at, request));
            at += rng.below(2 * pace);
        }
        plan.items.sort_by_key(|&(at, _)| at);
        plan
    }

    fn draw(&mut self, kind: Kind, rng: &mut Rng) {
        let at = rng.below(self.ms);
        let all = u64::from(self.voters + self.spares);
        let mut some = || 1 + rng.below(all) as u32;
        let (a, b) = (some(), some());
        let lasts = [300, 2_000, 6_000][rng.below(3) as usize];
        let lasts = 1 + rng.below(lasts);
        let much = rng.below(1 << 32);
        let (item, end) = match kind {
            Kind::Crash => (Fault::Crash(a), Some(Fault::Start(a))),
            Kind::CrashAll => (Fault::CrashAll, Some(Fault::Start(0))),
            Kind::Pause => (Fault::Pause(a, [lasts, 60_000][rng.below(2) as usize]), None),
            Kind::Cut => (Fault::Cut(a, b), Some(Fault::Mend)),
            Kind::Split => (Fault::Split(much), Some(Fault::Mend)),
            Kind::Clog => (Fault::Clog(a, b, lasts), None),
            Kind::Loss => (Fault::Loss(1 + much % 300), Some(Fault::Loss(0))),
            Kind::Doubled => (Fault::Doubled(1 + much % 300), None),
            Kind::Delay => (Fault::Delay(2_000 + much % 400_000), Some(Fault::Delay(2_000))),
            Kind::Slow => (Fault::Slow(a, 10_000 + much % 600_000), Some(Fault::Slow(a, 10_000))),
            Kind::Stall => (Fault::Stall(a, lasts + much % 12_000), None),
            Kind::Eio => (Fault::Eio(a), Some(Fault::Start(a))),
            Kind::Wipe => (Fault::Wipe(a), Some(Fault::Start(a))),
            Kind::RollBack => (Fault::Save(a), Some(Fault::RollBack(a))),
            Kind::Replay => (Fault::Replay(1 + much % 60), None),
            Kind::Snapshot => (Fault::Snapshot(a), None),
            Kind::Change => (Fault::Change(much), Some(Fault::Change(much / 7))),
            Kind::Transfer => (Fault::Transfer(a), None),
        };
        self.items.push((at, item));
        self.items.extend(end.map(|fault| (at + lasts, fault)));
        if let Some(Fault::RollBack(a)) = end {
            self.items.push((at + lasts + 1, Fault::Start(a)));
        }
    }

    pub(super) fn world(&self) -> World {
        let mut world = World::new(self.seed, self.voters, self.spares);
        world.any_subset = self.any_subset;
        let drift = self.drift;
        for (id, server) in &mut world.servers {
            server.drift = u64::from(id.get()) * drift / 7;
        }
        world
    }

    /// Lives the plan, then heals the world and sees that it comes to rest.
    pub(super) fn live(&self, world: &mut World) {
        world.start_all();
        for &(at, fault) in &self.items {
            world.run_until(at * MS);
            if world.checks.broken.is_some() {
                return;
            }
            apply(world, fault);
        }
        world.run_until(self.ms * MS);
        heal(world);
    }

    /// What comes of it.
    pub(super) fn outcome(&self) -> Outcome {
        let mut world = self.world();
        let lived = catch_unwind(AssertUnwindSafe(|| self.live(&mut world)));
        if let Err(panic) = lived {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            world.checks.fail(format!("panic: {}", text.unwrap_or_default()));
        }
        let mut counts = world.checks.counts;
        (counts.worlds, counts.seconds) = (1, world.now / SECOND);
        let (trace, steps) = (world.trace, world.steps);
        Outcome { broken: world.checks.broken, trace, steps, counts }
    }

    /// The same failure from fewer items.
    pub(super) fn shrunk(&self, broken: &str) -> Plan {
        let kind = |text: &str| text.split([':', ' ']).next().unwrap_or_default().to_owned();
        let wanted = kind(broken);
        let (mut plan, mut tried) = (self.clone(), 0);
        let mut width = plan.items.len().div_ceil(2);
        while width > 0 && tried < SHRINKS_MAX {
            let mut at = 0;
            while at < plan.items.len() && tried < SHRINKS_MAX {
                let mut less = plan.clone();
                less.items.drain(at..(at + width).min(less.items.len()));
                tried += 1;
                match less.outcome().broken {
                    Some(other) if kind(&other) == wanted => plan = less,
                    Some(_) | None => at += width,
                }
            }
            width /= 2;
        }
        plan
    }
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) broken: Option<String>,
    pub(super) trace: u64,
    pub(super) steps: u64,
    pub(super) counts: Counts,
}

pub(super) fn apply(world: &mut World, fault: Fault) {
    let now = world.now;
    let ids = world.ids();
    match fault {
        Fault::Crash(a) | Fault::Eio(a) => world.crash(node(a)),
        Fault::CrashAll => ids.iter().for_each(|&id| world.crash(id)),
        Fault::Start(0) => ids.iter().for_each(|&id| world.start(id)),
        Fault::Start(a) => world.start(node(a)),
        Fault::Pause(a, ms) => world.pause(node(a), ms),
        Fault::Cut(a, b) => {
            world.net.cuts.insert((node(a), node(b)));
        }
        Fault::Split(mask) => {
            let side = |id: NodeId| mask >> id.get() & 1;
            for &a in &ids {
                let others = ids.iter().filter(|&&b| side(a) != side(b));
                world.net.cuts.extend(others.map(|&b| (a, b)));
            }
        }
        Fault::Mend => world.net.cuts.clear(),
        Fault::Clog(a, b, ms) => {
            world.net.clogs.insert((node(a), node(b)), now + ms * MS);
        }
        Fault::Loss(loss) => world.net.loss = loss,
        Fault::Doubled(doubled) => world.net.doubled = doubled,
        Fault::Delay(most) => world.net.delay.1 = most,
        Fault::Slow(a, most) => world.servers.get_mut(&node(a)).unwrap().disk.slow.1 = most,
        Fault::Stall(a, ms) => {
            let disk = &mut world.servers.get_mut(&node(a)).unwrap().disk;
            disk.stalled_until = disk.stalled_until.max(now + ms * MS);
        }
        Fault::Wipe(a) => lose_disk(world, node(a), Mistake::WipedSameId),
        Fault::Save(a) => world.servers.get_mut(&node(a)).unwrap().disk.save(),
        Fault::RollBack(a) => lose_disk(world, node(a), Mistake::RolledBackDisk),
        Fault::Replay(count) => world.replay(count),
        Fault::Write(more) => {
            for id in world.leaders() {
                (0..=more).for_each(|_| world.write(id));
            }
        }
        Fault::Read => world.leaders().into_iter().for_each(|id| world.read(id)),
        Fault::Snapshot(a) => world.snapshot(node(a)),
        Fault::Change(choice) => {
            for id in world.leaders() {
                if let Some(next) = changed(world, id, choice) {
                    world.change(id, next);
                }
            }
        }
        Fault::Transfer(a) => world.leaders().into_iter().for_each(|id| {
            world.transfer(id, node(a));
        }),
    }
}

/// The disk of `id` is wiped or goes back in time, unless too many were; the others notice that
/// by the store and the boot it names, and refuse it.
fn lose_disk(world: &mut World, id: NodeId, mistake: Mistake) {
    let refused = world.servers.values().filter(|server| server.refused).count();
    let voters = world.servers.len() - 1;
    if world.is_refused(id) || refused >= voters.saturating_sub(1) / 2 {
        return;
    }
    world.crash(id);
    let server = world.servers.get_mut(&id).unwrap();
    let lost = match mistake == Mistake::WipedSameId {
        true => {
            server.disk.wipe();
            true
        }
        false => server.disk.roll_back(),
    };
    server.refused = lost && !made(mistake);
}

/// One step from the newest configuration of `id`.
fn changed(world: &mut World, id: NodeId, choice: u64) -> Option<Config> {
    let ids = world.ids();
    let config = world.up(id)?.consensus.config()?.clone();
    let Config { voters, mut learners } = config;
    let mut voters = voters.nodes().to_vec();
    let some = |nodes: &[NodeId]| nodes.get((choice / 8) as usize % nodes.len().max(1)).copied();
    match choice % 4 {
        0 => {
            let outside = |id: &&NodeId| !voters.contains(id) && !learners.contains(id);
            let free: Vec<NodeId> = ids.iter().filter(outside).copied().collect();
            learners.push(some(&free)?);
        }
        1 | 2 => {
            let learner = some(&learners)?;
            learners.retain(|&node| node != learner);
            voters.push(learner);
        }
        _ => {
            let voter = some(&voters)?;
            voters.retain(|&node| node != voter);
        }
    }
    learners.sort_unstable();
    Some(Config { voters: Voters::new(voters)?, learners })
}

/// Mends everything, and sees that the cluster does what it must then.
pub(super) fn heal(world: &mut World) {
    world.net.heal();
    // What a disk has begun it ends first.
    let stalled = world.servers.values().map(|server| server.disk.stalled_until).max();
    world.run_until(stalled.unwrap_or_default().max(world.now) + SECOND);
    for id in world.ids() {
        world.servers.get_mut(&id).unwrap().disk.slow = (500, 10_000);
        world.resume(id);
        world.start(id);
    }
    let began = world.now;
    if world.checks.broken.is_some() || !can_lead(world) {
        return;
    }
    while world.leaders().is_empty() && world.elapsed(began).as_nanos() < LEADER_MAX.into() {
        world.run_for(20);
        if world.checks.broken.is_some() {
            return;
        }
    }
    world.checks.require(!world.leaders().is_empty(), || "I17: no leader within 10 s".into());
    world.run_for(6_000);
    let wins = world.checks.counts.wins;
    world.leaders().into_iter().for_each(|id| world.write(id));
    world.leaders().into_iter().for_each(|id| world.read(id));
    world.run_for(4_000);
    if world.checks.broken.is_none() {
        let quiet = world.checks.counts.wins == wins;
        world.checks.require(quiet, || "I17: an election without need".into());
        at_rest(world);
    }
}

/// Whether a majority of every configuration that somebody goes by is there.
fn can_lead(world: &World) -> bool {
    let live = || world.servers.values().filter(|server| !server.refused);
    live()
        .filter_map(|server| server.up.as_ref()?.journal.config())
        .all(|config| config.voters.carried(|node| !world.is_refused(node)))
}

/// All who belong to the cluster have what is committed, and everything is.
fn at_rest(world: &mut World) {
    let leaders = world.leaders();
    let [leader] = leaders[..] else {
        return world.checks.fail(format!("I17: {} leaders at rest", leaders.len()));
    };
    let end = world.checks.end();
    let up = world.up(leader).expect("leads");
    let (config, last) = (up.journal.config().expect("a leader has one"), up.journal.last());
    world.checks.require(last.index == end, || "I17: not all is committed".into());
    let chain = world.checks.chain_of(end);
    for node in config.nodes() {
        let server = &world.servers[&node];
        let Some(up) = server.up.as_ref().filter(|_| !server.refused) else { continue };
        let same = up.applied == end && up.journal.chain(end) == chain;
        let durable = server.disk.durable.journal.chain(end) == chain && server.disk.is_idle();
        world.checks.require(same && durable, || {
            format!("I17: {node} has not caught up: {} of {}", up.applied.0, end.0)
        });
    }
}
