//! Many machines in one thread on a network that loses, delays, doubles and cuts. One seed decides
//! all of it.

use super::*;
use crate::cluster::seal::DATAGRAM_MAX_BYTES;
use crate::rng::{mix, stable_hash};
use crate::timer::TimerQueue;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the seal, UDP and IPv4 add to a datagram, at most.
const OVERHEAD: u64 = (DATAGRAM_MAX_BYTES - PAYLOAD_BYTES_MAX + 28) as u64;

/// The kind of a ping on the wire.
const PING: u8 = 1;

/// How many old datagrams are kept to be replayed.
const KEPT: usize = 4_096;

/// How the network treats a datagram.
#[derive(Clone, Copy)]
pub(super) struct Net {
    /// Lost, doubled and held up for seconds: so many of a thousand.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) held_up: u64,
    /// Under way for 200 µs to this many.
    pub(super) delay_us: u64,
}

impl Net {
    /// A local network that loses so many of a thousand.
    pub(super) fn lan(lost: u64) -> Net {
        Net { lost, doubled: 0, held_up: 0, delay_us: 2_000 }
    }
}

enum Incident {
    Wake,
    Datagram(SocketAddr, Vec<u8>),
    ListAsked(SocketAddr, Vec<u8>),
    ListAnswered(SocketAddr, Vec<u8>),
}

pub(super) struct Node {
    /// `None` while it is down.
    pub(super) gossip: Option<Gossip>,
    pub(super) boot: u64,
    /// Nodes hear each other when they are on the same side.
    pub(super) side: u8,
    /// Does nothing until then; what comes in waits.
    pub(super) asleep_until: Mono,
    wakes_at: Option<Mono>,
    /// Bytes sent as datagrams, in each second.
    pub(super) sent_bytes: Vec<u64>,
    pub(super) list_bytes: u64,
}

/// All nodes and the network between them. Node `i` has the number `i + 1`.
pub(super) struct World {
    pub(super) now: Mono,
    pub(super) net: Net,
    pub(super) nodes: Vec<Node>,
    /// A number for all that has happened.
    pub(super) trace: u64,
    /// Who was told dead by whom, and when it was told last.
    pub(super) deaths: BTreeMap<(u32, u32), Mono>,
    /// Who is down and was told a suspect by whom, and when it was told first.
    pub(super) suspicions: BTreeMap<(u32, u32), Mono>,
    /// When a node that is down was pinged first.
    pub(super) pinged: BTreeMap<u32, Mono>,
    pub(super) old: Vec<(u32, SocketAddr, Vec<u8>)>,
    queue: TimerQueue<Mono, (usize, Incident)>,
    rng: Rng,
    join: Vec<SocketAddr>,
    is_checked: bool,
}

impl World {
    /// So many nodes that know one address each: that of the first node.
    pub(super) fn new(count: u32, net: Net, seed: u64) -> World {
        println!("GOSSIP_SEED={seed} replays this: {count} nodes, {} ‰ lost", net.lost);
        let node = |_| Node {
            gossip: None,
            boot: 0,
            side: 0,
            asleep_until: Mono(0),
            wakes_at: None,
            sent_bytes: Vec::new(),
            list_bytes: 0,
        };
        let mut world = World {
            now: Mono(1_000_000_000),
            net,
            nodes: (0..count).map(node).collect(),
            trace: seed,
            deaths: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            pinged: BTreeMap::new(),
            old: Vec::new(),
            queue: TimerQueue::new(),
            rng: Rng::new(seed),
            join: vec![address(1)],
            is_checked: count <= 100,
        };
        (0..count as usize).for_each(|at| world.start(at));
        world
    }

    /// The same nodes, but they know each other already.
    pub(super) fn acquainted(count: u32, net: Net, seed: u64) -> World {
        let mut world = World::new(count, net, seed);
        world.queue.clear();
        for teller in [2, 1] {
            let list = list(teller, 1..=count, true);
            for at in 0..count as usize {
                world.nodes[at].wakes_at = None;
                if at + 1 != teller as usize && (teller == 2 || at == 1) {
                    let now = world.now;
                    let gossip = world.nodes[at].gossip.as_mut().unwrap();
                    acts(gossip);
                    gossip.list_answered(address(teller), &list, now);
                    acts(gossip);
                    gossip.rumors = Rumors::default();
                }
            }
        }
        (0..count as usize).for_each(|at| world.pump(at));
        world
    }

    /// Starts a node, anew if it was down or running.
    pub(super) fn start(&mut self, at: usize) {
        let number = at as u32 + 1;
        let seed = self.rng.next_u64();
        self.nodes[at].boot += 1;
        let mut gossip = started(number, self.nodes[at].boot, seed);
        gossip.set_join(self.join.clone(), self.now);
        self.nodes[at].gossip = Some(gossip);
        self.nodes[at].wakes_at = None;
        self.pump(at);
    }

    pub(super) fn crash(&mut self, at: usize) {
        self.nodes[at].gossip = None;
    }

    /// Gives a node something to do outside of what it hears.
    pub(super) fn with(&mut self, at: usize, work: impl FnOnce(&mut Gossip, Mono)) {
        let now = self.now;
        if let Some(gossip) = &mut self.nodes[at].gossip {
            work(gossip, now);
            self.pump(at);
        }
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    /// Delivers an old datagram as it was.
    pub(super) fn replay(&mut self, which: usize) {
        let (number, from, bytes) = self.old[which].clone();
        self.queue.arm(self.now, (number as usize - 1, Incident::Datagram(from, bytes)));
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, (node, incident))) = self.queue.pop_due(end) {
            self.now = self.now.max(at);
            self.happen(node, incident);
        }
        self.now = end;
    }

    /// Runs until `is_done`, looked at every 100 ms; says how long it took, or `None` when it did
    /// not come in time.
    pub(super) fn run_until(
        &mut self,
        at_most: Duration,
        mut is_done: impl FnMut(&World) -> bool,
    ) -> Option<Duration> {
        let begin = self.now;
        while self.now.since(begin) <= at_most {
            if is_done(self) {
                return Some(self.now.since(begin));
            }
            self.run_for(Duration::from_millis(100));
        }
        None
    }

    /// Whether every running node believes this of the node `at`; `None` for not known.
    pub(super) fn all_believe(&self, at: usize, state: Option<State>) -> bool {
        let number = at as u32 + 1;
        let others = self.nodes.iter().enumerate().filter(|&(other, _)| other != at);
        let mut running = others.filter_map(|(_, node)| node.gossip.as_ref());
        running.all(|gossip| state_of(gossip, number) == state)
    }

    /// Whether every running node holds every other running one for alive, in its newest boot and
    /// described, and nobody else for live.
    pub(super) fn is_converged(&self) -> bool {
        let running = |at: usize| self.nodes[at].gossip.is_some();
        let count = (0..self.nodes.len()).filter(|&at| running(at)).count();
        self.nodes.iter().filter_map(|node| node.gossip.as_ref()).all(|gossip| {
            let is_right = |view: &View<'_>| {
                let at = view.update.node.get() as usize - 1;
                let node = self.nodes.get(at);
                view.update.state == State::Alive
                    && view.meta.is_some()
                    && node.is_some_and(|n| n.gossip.is_some() && n.boot == view.update.boot.0)
            };
            let live = gossip.members().filter(|view| view.update.state.is_live()).count();
            gossip.members().filter(is_right).count() == count - 1 && live == count - 1
        })
    }

    fn happen(&mut self, at: usize, incident: Incident) {
        let node = &mut self.nodes[at];
        if node.asleep_until > self.now {
            if matches!(incident, Incident::Wake) {
                node.wakes_at = Some(node.asleep_until);
            }
            return self.queue.arm(node.asleep_until, (at, incident));
        }
        let Some(gossip) = &mut node.gossip else { return };
        match incident {
            Incident::Wake => {
                if node.wakes_at != Some(self.now) {
                    return;
                }
                node.wakes_at = None;
                gossip.tick(self.now);
            }
            Incident::Datagram(from, bytes) => {
                if self.is_checked {
                    let what = stable_hash(&bytes) ^ self.now.0 ^ (at as u64) << 48;
                    self.trace = mix(self.trace ^ what);
                }
                gossip.handle(from, &bytes, self.now);
            }
            Incident::ListAsked(from, bytes) => {
                if let Some(answer) = gossip.list_asked(from, &bytes, self.now) {
                    node.list_bytes += answer.len() as u64;
                    let answer = Incident::ListAnswered(address(at as u32 + 1), answer);
                    self.stream(at, from, answer);
                }
            }
            Incident::ListAnswered(from, bytes) => gossip.list_answered(from, &bytes, self.now),
        }
        self.pump(at);
    }

    /// Carries out what a node wants done, and sees to it that it wakes.
    fn pump(&mut self, at: usize) {
        let Some(gossip) = &mut self.nodes[at].gossip else { return };
        let acts = acts(gossip);
        if self.is_checked {
            check(gossip);
        }
        for act in acts {
            match act {
                Act::Send { to, bytes } => self.send(at, to, bytes),
                Act::Exchange { with, bytes } => {
                    self.nodes[at].list_bytes += bytes.len() as u64;
                    self.stream(at, with, Incident::ListAsked(address(at as u32 + 1), bytes));
                }
                Act::Tell(Event::Member { node, state, .. }) => {
                    let (victim, witness) = (node.get(), at as u32 + 1);
                    let is_down = self.nodes[victim as usize - 1].gossip.is_none();
                    if state == State::Dead {
                        self.deaths.insert((victim, witness), self.now);
                    } else if state == State::Suspect && is_down {
                        self.suspicions.entry((victim, witness)).or_insert(self.now);
                    }
                }
                Act::Tell(_) => {}
            }
        }
        let node = &mut self.nodes[at];
        let next = node.gossip.as_ref().and_then(Gossip::poll_timeout);
        let next = next.map(|next| next.max(self.now));
        if next.is_some_and(|next| node.wakes_at.is_none_or(|at| next < at)) {
            node.wakes_at = next;
            self.queue.arm(next.unwrap(), (at, Incident::Wake));
        }
    }

    /// The node that listens at `to`, if the way to it is open.
    fn reachable(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let SocketAddr::V4(to) = to else { return None };
        let at = (u32::from(*to.ip()) - 0x0a00_0001) as usize;
        let node = self.nodes.get(at)?;
        (node.side == self.nodes[from].side).then_some(at)
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        let second = (self.now.0 / 1_000_000_000) as usize;
        let sent = &mut self.nodes[from].sent_bytes;
        sent.resize((second + 1).max(sent.len()), 0);
        sent[second] += bytes.len() as u64 + OVERHEAD;
        let Some(to) = self.reachable(from, to) else { return };
        if self.nodes[to].gossip.is_none() && bytes[1] == PING {
            self.pinged.entry(to as u32 + 1).or_insert(self.now);
        }
        let sender = address(from as u32 + 1);
        if self.is_checked && self.old.len() < KEPT {
            self.old.push((to as u32 + 1, sender, bytes.clone()));
        }
        if self.rng.chance(self.net.doubled, 1_000) {
            let at = self.arrival();
            self.queue.arm(at, (to, Incident::Datagram(sender, bytes.clone())));
        }
        if !self.rng.chance(self.net.lost, 1_000) {
            let at = self.arrival();
            self.queue.arm(at, (to, Incident::Datagram(sender, bytes)));
        }
    }

    fn stream(&mut self, from: usize, to: SocketAddr, incident: Incident) {
        if let Some(to) = self.reachable(from, to) {
            let at = self.arrival();
            self.queue.arm(at, (to, incident));
        }
    }

    fn arrival(&mut self) -> Mono {
        let mut us = 200 + self.rng.below(self.net.delay_us - 200);
        if self.rng.chance(self.net.held_up, 1_000) {
            us += self.rng.below(5_000_000);
        }
        self.now + Duration::from_micros(us)
    }
}

/// The seeds to try: the one that `GOSSIP_SEED` names, or as many as `GOSSIP_SEEDS` says.
pub(super) fn seeds(unless_said: u64) -> std::ops::Range<u64> {
    match number("GOSSIP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GOSSIP_SEEDS").unwrap_or(unless_said),
    }
}

pub(super) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}
