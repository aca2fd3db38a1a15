//! Founders that die, forget what was not durable, and hear late, twice or never.

use super::*;
use crate::rng::Rng;

const SECOND: u64 = 1_000_000_000;

fn node(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

fn now(t: u64) -> Now {
    Now { mono: Mono(t), wall: Wall((t / 1_000_000) as i64) }
}

/// One machine: what its disk holds, and the founder that runs on it, if it runs.
struct Machine {
    expect: u8,
    disk: Option<Genesis>,
    founding: Option<Founding>,
    /// What is on its way to the disk, and when it is there.
    keeping: Option<(u64, Genesis)>,
    stands: Option<Genesis>,
}

struct World {
    rng: Rng,
    t: u64,
    machines: Vec<Machine>,
    words: Vec<(u64, usize, usize, GenesisWord)>,
    draws: u64,
    /// One in so many words is lost; 0 is none.
    loss: u64,
    /// How long a disk takes at most: longer than a word, or nothing is given away too early.
    disk: u64,
}

impl World {
    fn new(seed: u64, expects: &[u8]) -> World {
        let machine = |&expect: &u8| Machine {
            expect,
            disk: None,
            founding: None,
            keeping: None,
            stands: None,
        };
        let machines = expects.iter().map(machine).collect();
        let (rng, disk) = (Rng::new(seed), SECOND / 10);
        World { rng, t: 0, machines, words: Vec::new(), draws: 0, loss: 0, disk }
    }

    fn start(&mut self, at: usize) {
        self.draws += 1;
        let machine = &mut self.machines[at];
        let (me, draw) = (node(at as u32 + 1), ClusterId(self.draws));
        let founding = Founding::new(me, machine.expect, machine.disk.clone(), draw, Mono(self.t));
        machine.founding = Some(founding);
    }

    fn crash(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.founding = None;
        if let Some((_, genesis)) = machine.keeping.take().filter(|_| self.rng.chance(1, 2)) {
            machine.disk = Some(genesis);
        }
    }

    /// Gossip shows these to machine `at`.
    fn show(&mut self, at: usize, seen: &[usize]) {
        let now = now(self.t);
        let expect = self.machines[at].expect;
        let alike = |&&other: &&usize| self.machines[other].expect == expect;
        let seen: Vec<NodeId> =
            seen.iter().filter(alike).map(|&other| node(other as u32 + 1)).collect();
        if let Some(founding) = &mut self.machines[at].founding {
            founding.seen(seen, now);
        }
        self.act(at);
    }

    fn act(&mut self, at: usize) {
        while let Some(act) = self.machines[at].founding.as_mut().and_then(Founding::poll) {
            match act {
                GenesisAct::Keep(genesis) => {
                    let due = self.t + self.rng.below(self.disk);
                    assert!(self.machines[at].disk.is_none(), "it has agreed to one already");
                    self.machines[at].keeping = Some((due, genesis));
                }
                GenesisAct::Send(to, word) => {
                    for _ in 0..1 + self.rng.below(2) {
                        let lost = self.loss > 0 && self.rng.chance(1, self.loss);
                        let due = self.t + self.rng.below(SECOND / 2);
                        let to = to.get() as usize - 1;
                        self.words.extend((!lost).then(|| (due, at, to, word.clone())));
                    }
                }
                GenesisAct::Stands(genesis) => {
                    self.machines[at].stands = Some(genesis);
                    self.check();
                }
            }
        }
    }

    /// What stands anywhere is on the disks of all its founders.
    fn check(&self) {
        for genesis in self.machines.iter().filter_map(|machine| machine.stands.as_ref()) {
            for founder in genesis.founders.nodes() {
                let disk = &self.machines[founder.get() as usize - 1].disk;
                assert_eq!(disk.as_ref(), Some(genesis), "{founder} has not agreed");
            }
        }
    }

    /// Lets a tenth of a second pass.
    fn pass(&mut self) {
        self.t += SECOND / 10;
        let now = now(self.t);
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            if let Some((_, genesis)) = machine.keeping.take_if(|(due, _)| *due <= now.mono.0) {
                machine.disk = Some(genesis);
                machine.founding.iter_mut().for_each(|founding| founding.kept(now));
            }
            let is_due = |at: Mono| at <= now.mono;
            if let Some(founding) = &mut machine.founding {
                if founding.poll_timeout().is_some_and(is_due) {
                    founding.tick(now);
                }
            }
            self.act(at);
        }
        let due = |word: &mut (u64, usize, usize, GenesisWord)| word.0 <= now.mono.0;
        for (_, from, to, word) in self.words.extract_if(.., due).collect::<Vec<_>>() {
            if let Some(founding) = &mut self.machines[to].founding {
                founding.handle(node(from as u32 + 1), word, now);
            }
            self.act(to);
        }
    }

    fn stand(&self) -> usize {
        self.machines.iter().filter(|machine| machine.stands.is_some()).count()
    }
}

/// Founders die at any moment, words come late or twice or never, gossip shows some of them. If
/// there are as many as they wait for, all of them stand in the end, in one cluster; whoever there
/// are, nothing ever stands to which not all of its founders have agreed.
#[test]
fn all_found_one_cluster_or_nobody_does() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed ^ 0x9e0);
        let count = 2 + rng.below(6) as usize;
        // In every other world there are more than they wait for, or they don't agree on that.
        let is_sound = seed % 2 == 0;
        let expect = |rng: &mut Rng| match is_sound {
            true => count as u8,
            false => 2 + rng.below(count as u64 - 1) as u8,
        };
        let expects: Vec<u8> = (0..count).map(|_| expect(&mut rng)).collect();
        let mut world = World::new(seed, &expects);
        world.loss = [0, 2, 5][rng.below(3) as usize];
        world.disk = 2 * SECOND;
        for _ in 0..400 {
            let at = rng.below(count as u64) as usize;
            match rng.below(30) {
                0 => world.crash(at),
                1..4 if world.machines[at].founding.is_none() => world.start(at),
                4..10 => {
                    let seen: Vec<usize> = (0..count).filter(|_| rng.chance(9, 10)).collect();
                    world.show(at, &seen);
                }
                _ => {}
            }
            world.pass();
        }
        let all: Vec<usize> = (0..count).collect();
        world.loss = 0;
        for at in 0..count {
            if world.machines[at].founding.is_none() {
                world.start(at);
            }
        }
        for _ in 0..120 {
            (0..count).for_each(|at| world.show(at, &all));
            world.pass();
        }
        world.check();
        if is_sound {
            assert_eq!(world.stand(), count, "seed {seed}: all stand");
        }
    }
}

#[test]
fn nobody_proposes_before_exactly_those_are_there() {
    // Who is shown to n1, of three that wait for three.
    for (seen, proposes) in
        [(vec![0], false), (vec![0, 1], false), (vec![0, 1, 2], true), (vec![0, 1, 2, 3], false)]
    {
        let mut world = World::new(1, &[3, 3, 3, 3]);
        world.start(0);
        world.show(0, &seen);
        for _ in 0..30 {
            world.pass();
        }
        assert_eq!(world.machines[0].disk.is_some(), proposes, "{seen:?}");
    }
    let mut world = World::new(1, &[3, 3, 3]);
    world.start(1);
    world.show(1, &[0, 1, 2]);
    (0..30).for_each(|_| world.pass());
    assert_eq!(world.machines[1].disk, None, "the lowest proposes");
}

#[test]
fn what_is_missing_is_named() {
    let mut world = World::new(1, &[3, 3, 3]);
    // The third waits for another number than it shows.
    (0..2).for_each(|at| world.start(at));
    (0..2).for_each(|at| world.show(at, &[0, 1, 2]));
    (0..40).for_each(|_| world.pass());
    let missing = |world: &World| world.machines[0].founding.as_ref().unwrap().missing();
    assert_eq!(missing(&world), [(node(3), None)]);
    world.machines[2].expect = 5;
    world.start(2);
    (0..40).for_each(|_| world.pass());
    assert_eq!(missing(&world), [(node(3), Some(Refusal::Expects(5)))]);
    let founders = Voters::new(vec![node(2), node(3)]).unwrap();
    world.crash(2);
    world.machines[2].disk = Some(Genesis { cluster: ClusterId(99), wall: Wall(1), founders });
    world.start(2);
    (0..40).for_each(|_| world.pass());
    assert_eq!(missing(&world), [(node(3), Some(Refusal::Another))]);
    assert_eq!(world.stand(), 0);
    world.crash(2);
    (world.machines[2].disk, world.machines[2].expect) = (None, 3);
    world.start(2);
    (0..40).for_each(|_| world.pass());
    assert_eq!((missing(&world), world.stand()), (Vec::new(), 3));
}

#[test]
fn words_of_strangers_and_of_other_clusters_change_nothing() {
    let founders = Voters::new(vec![node(1), node(2)]).unwrap();
    let genesis = Genesis { cluster: ClusterId(5), wall: Wall(1), founders };
    let mut founding = Founding::new(node(1), 2, Some(genesis.clone()), ClusterId(9), Mono(0));
    for (from, word) in [
        (node(2), GenesisWord::Agree(ClusterId(6))),
        (node(3), GenesisWord::Agree(ClusterId(5))),
        (node(3), GenesisWord::Propose(genesis.clone())),
        (node(1), GenesisWord::Propose(genesis.clone())),
    ] {
        founding.handle(from, word.clone(), now(0));
        assert_eq!(founding.missing(), [(node(2), None)], "{word:?} of {from}");
    }
    founding.handle(node(2), GenesisWord::Agree(ClusterId(5)), now(0));
    let acts: Vec<GenesisAct> = std::iter::from_fn(|| founding.poll()).collect();
    assert_eq!(acts.last(), Some(&GenesisAct::Stands(genesis)));
}
