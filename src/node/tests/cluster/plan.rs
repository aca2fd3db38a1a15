//! What goes wrong in a world, drawn before it begins: a list, so that a failure shrinks by leaving
//! out parts of it.

use std::collections::BTreeSet;

use super::machine::{MS, SECOND};
use super::network::Weather;
use crate::rng::Rng;

/// Something that goes wrong; the spans are in nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The agent dies, and is started again so much later.
    Agent(usize, u64),
    /// The launcher dies; its processes go on.
    Launcher(usize, u64),
    /// The machine loses its power.
    Machine(usize, u64),
    /// All machines lose their power at one moment.
    All(u64),
    /// The agent gets no turn for so long.
    Pause(usize, u64),
    /// The wire between agent and launcher is cut.
    Wire(usize),
    /// The agent is asked to stop, and started again.
    Stop(usize, u64),
    /// The wall clock is set forward or back by so many milliseconds.
    Step(usize, i64),
    /// The disk is slow, or does nothing.
    SlowDisk(usize, u64),
    StuckDisk(usize, u64),
    /// Those are cut off from the others.
    Part(BTreeSet<usize>, u64),
    /// Nothing goes that way.
    OneWay(usize, usize, u64),
    /// The connection breaks, and all that is on its way in it is lost.
    Break(usize, usize),
    /// The node leaves, and is started again so much later.
    Leave(usize, u64),
    /// The leader is asked to hand over to that voter.
    Transfer(usize),
    /// It is asked that this node vote, or not.
    Vote(usize, bool),
    /// Whoever leads then is what happens to.
    Leader(Box<Fault>),
}

/// What goes wrong, and when.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) items: Vec<(u64, Fault)>,
    pub(super) weather: Weather,
    /// How long the world lives with that.
    pub(super) span: u64,
    /// Whether wall clocks are set at all.
    pub(super) steps: bool,
    /// Whether the agent may die between any two effects, in one of so many.
    pub(super) mid: u64,
}

impl Plan {
    /// Nothing goes wrong.
    pub(super) fn calm(span: u64) -> Plan {
        Plan { items: Vec::new(), weather: Weather::default(), span, steps: false, mid: 0 }
    }

    /// The plan of a world of so many nodes; `changes` says whether voters and leaders are changed
    /// on purpose, too.
    pub(super) fn drawn(rng: &mut Rng, count: usize, changes: bool) -> Plan {
        let span = match rng.below(8) {
            0 => 240 * SECOND,
            _ => (20 + rng.below(50)) * SECOND,
        };
        let steps = rng.chance(1, 4);
        let mut kinds: Vec<u64> = (0..KINDS).filter(|_| rng.chance(1, 3)).collect();
        if changes {
            kinds.extend(KINDS..KINDS + CHANGES);
        }
        kinds.retain(|&kind| kind != STEP || steps);
        let mut one_in = |most: u64| if rng.chance(1, 2) { 2 + rng.below(most) } else { 0 };
        let weather = match count {
            1 => Weather::default(),
            _ => Weather {
                loss: one_in(40),
                twice: one_in(30),
                late: one_in(60),
                replay: one_in(200),
            },
        };
        let mid = one_in(9_000) * 2;
        let gap = (500 + rng.below(8_000)) * MS;
        let mut items = Vec::new();
        let mut at = 0;
        while !kinds.is_empty() {
            at += rng.below(2 * gap);
            if at >= span {
                break;
            }
            let kind = kinds[rng.below(kinds.len() as u64) as usize];
            items.push((at, fault(kind, rng, count)));
        }
        Plan { items, weather, span, steps, mid }
    }
}

const KINDS: u64 = 13;
/// Those that change who votes and leads come from here on, in worlds that may change.
const CHANGES: u64 = 3;
const STEP: u64 = 7;

fn fault(kind: u64, rng: &mut Rng, count: usize) -> Fault {
    let one = rng.below(count as u64) as usize;
    let other = rng.below(count as u64) as usize;
    let (short, long) = (rng.below(4 * SECOND), rng.below(30 * SECOND));
    let span = if rng.chance(2, 3) { short } else { long };
    let fault = match kind {
        0 => Fault::Agent(one, span),
        1 => Fault::Launcher(one, span),
        2 => Fault::Machine(one, SECOND + span),
        3 => Fault::All(SECOND + short),
        4 if rng.chance(1, 6) => Fault::Pause(one, 60 * SECOND),
        4 => Fault::Pause(one, short),
        5 => Fault::Wire(one),
        6 => Fault::Stop(one, span),
        STEP => {
            let spans = [2_000, 20_000, 600_000, 1_200_000];
            let most = spans[rng.below(4) as usize];
            Fault::Step(one, rng.below(2 * most) as i64 - most as i64)
        }
        8 => Fault::SlowDisk(one, long),
        9 => Fault::StuckDisk(one, short),
        10 => {
            let side = (0..count).filter(|_| rng.chance(1, 2)).collect();
            let longer = if rng.chance(1, 8) { 130 * SECOND } else { span };
            Fault::Part(side, longer)
        }
        11 => Fault::OneWay(one, other, span),
        KINDS => Fault::Leave(one, span),
        14 => Fault::Transfer(one),
        15 => Fault::Vote(one, rng.chance(2, 3)),
        _ => Fault::Break(one, other),
    };
    if rng.chance(1, 3) { Fault::Leader(Box::new(fault)) } else { fault }
}

impl Fault {
    /// The same for that machine instead.
    pub(super) fn at(self, one: usize) -> Fault {
        match self {
            Fault::Agent(_, span) => Fault::Agent(one, span),
            Fault::Launcher(_, span) => Fault::Launcher(one, span),
            Fault::Machine(_, span) => Fault::Machine(one, span),
            Fault::Pause(_, span) => Fault::Pause(one, span),
            Fault::Wire(_) => Fault::Wire(one),
            Fault::Stop(_, span) => Fault::Stop(one, span),
            Fault::Step(_, ms) => Fault::Step(one, ms),
            Fault::SlowDisk(_, span) => Fault::SlowDisk(one, span),
            Fault::StuckDisk(_, span) => Fault::StuckDisk(one, span),
            Fault::Part(_, span) => Fault::Part(BTreeSet::from([one]), span),
            Fault::OneWay(_, to, span) => Fault::OneWay(one, to, span),
            Fault::Break(_, to) => Fault::Break(one, to),
            Fault::Leave(_, span) => Fault::Leave(one, span),
            Fault::Transfer(to) => Fault::Transfer(to),
            Fault::Vote(_, votes) => Fault::Vote(one, votes),
            Fault::All(span) => Fault::All(span),
            Fault::Leader(fault) => fault.at(one),
        }
    }
}
