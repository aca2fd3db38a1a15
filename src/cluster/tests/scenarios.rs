//! The named scenarios that are about consensus alone, each a script and a transcript.
//!
//! `TRANSCRIPTS_REWRITE=1` writes the transcripts anew, to be read before they are kept.

use std::path::Path;

use super::super::*;
use super::disk::WRITE;
use super::hearsay::Hearsay;
use super::node;
use super::plan::{Fault, apply};
use super::world::{MS, World};
use crate::ident::{Epoch, Index, NodeId};

type Script = fn(&mut World);

/// What the transcript's file is called, how many voters and spares there are, and the script.
const SCENARIOS: &[(&str, u32, u32, Script)] = &[
    ("01-leader-dies-before-any-append", 3, 0, s01),
    ("02-leader-dies-before-the-answer", 3, 0, s02),
    ("03-figure-8", 5, 0, s03),
    ("04-split-with-writes-on-both-sides", 5, 0, s04),
    ("05-two-cut-and-a-third-sees-both", 3, 0, s05),
    ("06-one-way-loss-from-the-leader", 3, 0, s06),
    ("07-a-follower-that-can-only-send", 3, 0, s07),
    ("08-partial-mesh", 5, 0, s08),
    ("09-the-highest-flaps", 3, 0, s09),
    ("10-best-rank-without-a-majority", 3, 0, s10),
    ("11-equal-journals-same-tick", 5, 0, s11),
    ("12-crash-between-promise-and-vote", 3, 0, s12),
    ("13-old-messages-across-restarts", 3, 0, s13),
    ("14-leader-stands-still-for-a-minute", 3, 0, s14),
    ("15-power-cut-of-all-mid-group", 3, 0, s15),
    ("17-fsync-fails-once", 3, 0, s17),
    ("18-crash-before-fsync-and-power-cut", 3, 0, s18),
    ("20-stale-completion", 5, 0, s20),
    ("21-leaders-disk-stalls", 3, 0, s21),
    ("22-wiped-and-rolled-back", 5, 1, s22),
    ("23-snapshot-and-a-leader-change", 3, 0, s23),
    ("24-two-leaders-two-configurations", 3, 1, s24),
    ("29-gossip-says-all-are-dead", 3, 0, s29),
];

/// A world in which every message and every write takes 1 ms.
pub(super) fn staged(voters: u32, spares: u32) -> World {
    let mut world = World::new(5, voters, spares);
    world.net.delay = (1_000, 1_000);
    for server in world.servers.values_mut() {
        (server.disk.slow, server.disk.keeps) = ((1_000, 1_000), Some(false));
    }
    world.told = Some(Vec::new());
    world
}

#[test]
fn the_named_scenarios_read_as_they_did() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/transcripts");
    let rewrite = std::env::var_os("TRANSCRIPTS_REWRITE").is_some();
    let mut changed = Vec::new();
    for &(name, voters, spares, script) in SCENARIOS {
        println!("{name}");
        let mut world = staged(voters, spares);
        script(&mut world);
        assert_eq!(world.checks.broken, None, "{name}");
        let text = world.told.take().unwrap_or_default().join("\n") + "\n";
        let path = dir.join(format!("{name}.txt"));
        if rewrite {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "TRANSCRIPTS_REWRITE=1 and read what has changed: {changed:?}");
}

#[test]
fn any_number_of_voters_elects_one_leader_whose_records_are_committed() {
    for voters in 1..=7 {
        let mut world = staged(voters, 0);
        world.begin();
        world.write(node(voters));
        world.agree();
        assert_eq!((world.checks.answered, world.checks.end()), (Index(2), Index(2)));
        assert_eq!((world.checks.counts.wins, world.checks.broken), (1, None), "{voters} voters");
    }
}

impl World {
    /// Waits in steps of a millisecond until it is so.
    #[track_caller]
    pub(super) fn until(&mut self, ms: u64, what: &str, is_so: impl Fn(&World) -> bool) {
        for _ in 0..ms {
            if is_so(self) {
                return;
            }
            self.run_for(1);
        }
        println!("{}", self.told.take().unwrap_or_default().join("\n"));
        panic!("not within {ms} ms: {what}; {:?}", self.checks.broken);
    }

    /// Starts the highest voter a little before the others, and waits until it leads.
    pub(super) fn begin(&mut self) {
        let voters = self.servers.values().filter(|s| s.disk.durable.journal.config().is_some());
        let leader = node(voters.count() as u32);
        self.start(leader);
        self.run_until(self.now + MS / 2);
        self.start_all();
        self.until(3_000, "a leader", |world| world.leaders() == [leader]);
        self.run_for(10);
    }

    pub(super) fn is_led_by(&mut self, id: u32, ms: u64) {
        self.until(ms, "it leads", |world| world.leaders().contains(&node(id)));
        self.run_for(10);
    }

    fn isolate(&mut self, id: u32) {
        self.remark(&format!("n{id} is cut off"));
        for other in self.ids() {
            self.net.cut_both(node(id), other);
        }
    }

    fn mend(&mut self) {
        self.remark("the network is whole");
        self.net.cuts.clear();
        self.net.lost = None;
    }

    pub(super) fn last(&self, id: u32) -> Place {
        self.servers[&node(id)].up.as_ref().expect("it runs").journal.last()
    }

    fn promised(&self, id: u32) -> u64 {
        self.servers[&node(id)].up.as_ref().expect("it runs").promise.epoch.0
    }

    pub(super) fn slow(&mut self, id: u32, ms: u64) {
        self.remark(&format!("a write on the disk of n{id} takes {ms} ms"));
        self.servers.get_mut(&node(id)).unwrap().disk.slow = (ms * 1_000, ms * 1_000);
    }

    /// All that run have the same journal, all of it committed.
    #[track_caller]
    pub(super) fn agree(&mut self) {
        self.run_for(2_000);
        let end = self.checks.end();
        let leaders = self.leaders();
        let [leader] = leaders[..] else { panic!("{} lead", leaders.len()) };
        let config = self.servers[&leader].up.as_ref().and_then(|up| up.journal.config());
        for (id, server) in self.servers.iter().filter(|(_, server)| !server.refused) {
            let up = server.up.as_ref().expect("it runs");
            let member = config.as_ref().is_some_and(|config| config.contains(*id));
            let chain = server.disk.durable.journal.chain(end);
            assert!(!member || up.applied == end, "{id} knows {} of {}", up.applied.0, end.0);
            assert!(!member || chain == self.checks.chain_of(end), "{id} has something else");
        }
    }
}

fn place(epoch: u64, index: u64) -> Place {
    Place { epoch: Epoch(epoch), index: Index(index) }
}

fn is_append(envelope: &Envelope) -> bool {
    matches!(&envelope.message, Message::Append(append) if !append.records.is_empty())
}

fn s01(w: &mut World) {
    w.begin();
    w.remark("a record reaches the leader's disk and nothing else");
    w.net.lost = Some(|from, _, letter| from == node(3) && is_append(letter));
    w.write(node(3));
    w.run_for(3);
    assert_eq!(w.servers[&node(3)].disk.durable.journal.last(), place(1, 2));
    w.crash(node(3));
    w.is_led_by(2, 4_000);
    w.net.lost = None;
    w.start(node(3));
    w.agree();
    assert_eq!((w.last(3), w.checks.answered), (place(2, 2), Index(0)));
}

fn s02(w: &mut World) {
    w.begin();
    w.remark("all have the record, and no acknowledgement arrives");
    w.net.lost =
        Some(|_, to, letter| to == node(3) && matches!(letter.message, Message::Ack { .. }));
    w.write(node(3));
    w.run_for(4);
    w.crash(node(3));
    w.is_led_by(2, 4_000);
    w.net.lost = None;
    w.start(node(3));
    w.agree();
    let up = w.servers[&node(3)].up.as_ref().unwrap();
    let records: Vec<Place> = up.journal.entries.iter().map(|(raw, _)| raw.place()).collect();
    assert_eq!(records, [place(1, 1), place(1, 2), place(2, 3)], "it is there once");
    assert_eq!(w.checks.answered, Index(0));
}

/// Raft, section 5.4.2. The record is large, so that it travels alone.
pub(super) fn s03(w: &mut World) {
    w.begin();
    w.remark("n5 gives a large record to n4 alone, and dies");
    w.net.lost = Some(|_, to, letter| to != node(4) && is_append(letter));
    w.append(node(5), WRITE, vec![7; APPEND_MAX_BYTES + 1]);
    w.turn(node(5));
    w.run_for(4);
    w.crash(node(5));
    w.isolate(4);
    w.remark("n3 wins without n4, and dies before anybody has its first record");
    w.net.lost = Some(|from, _, letter| from == node(3) && is_append(letter));
    w.until(5_000, "n3 wins", |world| world.last(3) == place(2, 2));
    w.run_for(2);
    w.crash(node(3));
    w.mend();
    w.isolate(1);
    w.remark("n5 wins again; of its journal only the old record reaches others");
    w.net.lost = Some(|_, _, letter| match &letter.message {
        Message::Append(append) => append.records.iter().any(|raw| raw.epoch > Epoch(2)),
        Message::Probe { .. }
        | Message::ProbeAnswer { .. }
        | Message::Candidacy { .. }
        | Message::Vote { .. }
        | Message::Ack { .. }
        | Message::Conflict { .. }
        | Message::Stale { .. }
        | Message::Transfer => false,
    });
    w.start(node(5));
    let has_it = |world: &World| world.servers[&node(2)].disk.durable.journal.last() == place(1, 2);
    w.until(12_000, "n2 has the record", has_it);
    w.run_for(3);
    assert_eq!(w.checks.end(), Index(1), "three of five have it, and it is not committed");
    w.crash(node(5));
    w.mend();
    w.isolate(4);
    w.start(node(3));
    w.is_led_by(3, 12_000);
    w.mend();
    w.start(node(5));
    w.agree();
    assert_eq!(w.last(5).index, w.checks.end());
    assert!(w.servers[&node(5)].disk.durable.journal.holds(place(2, 2)), "the other one stands");
}

fn s04(w: &mut World) {
    w.begin();
    w.remark("n4 and n5 on one side, the rest on the other");
    apply(w, Fault::Split(0b11_0000));
    w.write(node(5));
    w.is_led_by(3, 5_000);
    assert!(!w.leaders().contains(&node(5)), "a leader without a majority steps down first");
    w.write(node(3));
    w.run_for(50);
    let answered = w.checks.answered;
    assert_eq!(answered, Index(3));
    w.mend();
    w.agree();
    assert_eq!(w.last(5), w.last(3));
}

fn s05(w: &mut World) {
    w.begin();
    w.remark("n2 and n3 do not hear each other");
    w.net.cut_both(node(2), node(3));
    for _ in 0..20 {
        w.write(node(3));
        w.run_for(1_000);
    }
    assert_eq!(w.checks.counts.wins, 1, "nobody is unseated");
    assert_eq!(w.checks.answered, Index(21));
    w.mend();
    w.run_for(8_000);
    w.agree();
    assert_eq!(w.checks.counts.wins, 1);
}

fn s06(w: &mut World) {
    w.begin();
    w.remark("what n3 sends to n2 is lost; the other way is open");
    w.net.cuts.insert((node(3), node(2)));
    w.write(node(3));
    w.run_for(20_000);
    assert_eq!((w.checks.counts.wins, w.promised(2)), (1, 1));
    assert_eq!(w.checks.answered, Index(2));
    w.mend();
    w.agree();
}

fn s07(w: &mut World) {
    w.begin();
    w.remark("n1 hears nothing for ten minutes");
    w.net.cuts.extend([(node(2), node(1)), (node(3), node(1))]);
    for _ in 0..10 {
        w.run_for(60_000);
        w.write(node(3));
    }
    w.mend();
    w.agree();
    assert_eq!((w.checks.counts.wins, w.promised(1)), (1, 1), "it raises no epoch");
}

fn s08(w: &mut World) {
    w.begin();
    w.remark("only neighbours in a ring hear each other");
    for (a, b) in [(1, 3), (1, 4), (2, 4), (2, 5), (3, 5)] {
        w.net.cut_both(node(a), node(b));
    }
    for _ in 0..10 {
        w.write(node(5));
        w.run_for(1_000);
    }
    assert_eq!((w.checks.counts.wins, w.checks.answered), (1, Index(11)));
    w.crash(node(5));
    w.run_for(15_000);
    w.start(node(5));
    w.mend();
    w.run_for(9_000);
    w.agree();
    assert!(!w.leaders().is_empty());
}

fn s09(w: &mut World) {
    w.begin();
    for _ in 0..5 {
        w.crash(node(3));
        w.run_for(4_000);
        w.start(node(3));
        w.run_for(4_000);
    }
    assert_eq!(w.leaders(), [node(2)]);
    assert_eq!(w.checks.counts.wins, 2, "one that comes back unseats nobody");
}

fn s10(w: &mut World) {
    w.begin();
    w.isolate(3);
    w.write(node(3));
    w.is_led_by(2, 5_000);
    w.run_for(60_000);
    assert_eq!(w.promised(3), 1, "the best journal alone raises no epoch");
    w.mend();
    w.agree();
    assert_eq!(w.last(3), w.last(2));
}

fn s11(w: &mut World) {
    w.start_all();
    w.run_for(20_000);
    assert_eq!((w.leaders().len(), w.checks.counts.wins), (1, 1), "one wins, and stays");
    w.agree();
}

fn s12(w: &mut World) {
    w.begin();
    w.slow(1, 20);
    w.crash(node(3));
    w.until(4_000, "n1 promises", |world| world.promised(1) == 2);
    w.remark("before the fsync: the promise is forgotten, and nobody was told of it");
    w.crash(node(1));
    w.start(node(1));
    assert_eq!(w.promised(1), 1);
    w.net.lost = Some(|_, _, letter| matches!(letter.message, Message::Vote { .. }));
    let kept = |world: &World| world.servers[&node(1)].disk.durable.promise.to == Some(node(2));
    w.until(9_000, "n1 keeps a promise to n2", kept);
    w.run_for(1);
    let kept = w.servers[&node(1)].disk.durable.promise;
    w.remark("after the fsync, and the vote is lost: the promise binds");
    w.crash(node(1));
    w.start(node(1));
    assert_eq!(w.servers[&node(1)].up.as_ref().unwrap().promise, kept);
    w.net.lost = None;
    w.until(12_000, "a leader", |world| !world.leaders().is_empty());
    w.start(node(3));
    w.agree();
}

fn s13(w: &mut World) {
    w.begin();
    w.write(node(3));
    w.crash(node(3));
    w.is_led_by(2, 4_000);
    w.start(node(3));
    w.write(node(2));
    w.run_for(1_000);
    for id in w.ids() {
        w.crash(id);
    }
    w.remark("minutes later all messages of the past come again");
    w.run_for(180_000);
    w.start_all();
    w.run_for(5);
    w.replay(40);
    w.run_for(5_000);
    w.replay(40);
    w.until(12_000, "a leader", |world| !world.leaders().is_empty());
    w.agree();
}

fn s14(w: &mut World) {
    w.begin();
    w.pause(node(3), 600_000);
    w.is_led_by(2, 5_000);
    w.write(node(2));
    w.run_for(57_000);
    let answered = w.checks.answered;
    w.remark("n3 wakes, and a request that waited comes first");
    w.servers.get_mut(&node(3)).unwrap().paused = false;
    w.write(node(3));
    w.read(node(3));
    w.servers.get_mut(&node(3)).unwrap().paused = true;
    w.resume(node(3));
    w.agree();
    assert_eq!((w.checks.answered, w.leaders()), (answered, vec![node(2)]));
}

fn s15(w: &mut World) {
    w.begin();
    for id in 1..=3 {
        w.servers.get_mut(&node(id)).unwrap().disk.slow = (5_000, 5_000);
        w.servers.get_mut(&node(id)).unwrap().disk.keeps = None;
    }
    for _ in 0..12 {
        w.write(node(3));
        w.run_for(2);
    }
    w.remark("the power fails everywhere");
    for id in w.ids() {
        w.crash(id);
    }
    let answered = w.checks.answered;
    assert!(answered > Index(3), "some were answered");
    w.start_all();
    w.until(4_000, "a leader", |world| !world.leaders().is_empty());
    w.agree();
    assert!(w.checks.end() > answered, "all that was answered is there");
}

fn s17(w: &mut World) {
    w.begin();
    w.slow(1, 10);
    w.write(node(3));
    w.run_for(5);
    w.remark("the fsync of n1 fails, so its process ends; what was written is not there");
    w.crash(node(1));
    w.start(node(1));
    w.agree();
    assert_eq!((w.checks.counts.wins, w.checks.answered), (1, Index(2)));
}

fn s18(w: &mut World) {
    w.begin();
    w.slow(1, 100);
    w.isolate(2);
    w.write(node(3));
    w.run_for(5);
    w.remark(
        "the process of n1 dies between write and fsync; at its start the tail is made durable",
    );
    w.servers.get_mut(&node(1)).unwrap().disk.keeps = Some(true);
    w.crash(node(1));
    w.start(node(1));
    w.slow(1, 1);
    w.until(2_000, "it is answered", |world| world.checks.answered == Index(2));
    w.remark("the power fails everywhere");
    w.servers.get_mut(&node(1)).unwrap().disk.keeps = Some(false);
    for id in w.ids() {
        w.crash(id);
    }
    w.start(node(1));
    w.start(node(2));
    w.mend();
    w.is_led_by(1, 12_000);
    w.start(node(3));
    w.agree();
    assert!(w.servers[&node(2)].disk.durable.journal.holds(place(1, 2)));
}

pub(super) fn s20(w: &mut World) {
    w.begin();
    w.slow(1, 2_500);
    w.remark("two records of n5 come to n1 alone, one after the other");
    w.net.lost = Some(|from, to, letter| (from == node(5)) == (to != node(1)) && is_append(letter));
    w.write(node(5));
    w.run_for(50);
    w.write(node(5));
    w.run_for(50);
    w.crash(node(5));
    w.net.lost = Some(|_, to, letter| to == node(1) && is_append(letter));
    w.is_led_by(4, 2_300);
    assert_eq!((w.promised(1), w.last(1)), (2, place(1, 3)));
    w.run_for(1_100);
    w.remark("the second is being written while n4 replaces it");
    w.net.lost = None;
    w.until(1_000, "n1 cuts", |world| world.last(1) == place(2, 2));
    w.run_for(6_000);
    assert_eq!(w.servers[&node(1)].disk.durable.journal.last(), place(2, 2));
    w.slow(1, 1);
    w.crash(node(4));
    w.until(12_000, "another leads", |world| !world.leaders().is_empty());
    w.start(node(4));
    w.start(node(5));
    w.agree();
}

fn s21(w: &mut World) {
    w.begin();
    apply(w, Fault::Stall(3, 30_000));
    w.remark("the disk of n3 stands still for 30 s");
    w.write(node(3));
    w.run_for(100);
    assert_eq!(w.checks.answered, Index(2), "the others are a majority without it");
    w.until(14_000, "another leads", |world| world.leaders() == [node(2)]);
    w.run_for(30_000);
    w.agree();
    assert_eq!(w.leaders(), [node(2)]);
}

fn s22(w: &mut World) {
    w.begin();
    w.write(node(5));
    apply(w, Fault::Save(2));
    w.write(node(5));
    w.run_for(20);
    w.remark("the disk of n1 is wiped, that of n2 goes back; the others know by store and boot");
    apply(w, Fault::Wipe(1));
    apply(w, Fault::RollBack(2));
    w.start(node(1));
    w.start(node(2));
    assert!(w.is_refused(node(1)) && w.is_refused(node(2)));
    w.write(node(5));
    w.run_for(20);
    assert_eq!(w.checks.answered, Index(4));
    let config = |voters: &[u32], learners: &[u32]| {
        let nodes = |ids: &[u32]| ids.iter().map(|&id| node(id)).collect::<Vec<NodeId>>();
        Config { voters: Voters::new(nodes(voters)).unwrap(), learners: nodes(learners) }
    };
    w.remark("n1 is taken out, n6 comes in its place");
    assert!(w.change(node(5), config(&[2, 3, 4, 5], &[])));
    w.run_for(20);
    assert!(w.change(node(5), config(&[2, 3, 4, 5], &[6])));
    w.run_for(500);
    assert!(w.change(node(5), config(&[2, 3, 4, 5, 6], &[])));
    w.run_for(500);
    w.agree();
    assert_eq!(w.checks.counts.wins, 1);
}

fn s23(w: &mut World) {
    w.begin();
    w.crash(node(1));
    for _ in 0..10 {
        w.write(node(3));
    }
    w.run_for(100);
    w.snapshot(node(3));
    w.snapshot(node(2));
    w.run_for(10);
    w.start(node(1));
    w.run_for(30);
    w.crash(node(3));
    w.is_led_by(2, 5_000);
    w.run_for(3_000);
    w.start(node(3));
    w.agree();
    assert_eq!(w.checks.counts.installs, 1);
}

fn s24(w: &mut World) {
    w.begin();
    let config = |voters: &[u32], learners: &[u32]| {
        let nodes = |ids: &[u32]| ids.iter().map(|&id| node(id)).collect::<Vec<NodeId>>();
        Config { voters: Voters::new(nodes(voters)).unwrap(), learners: nodes(learners) }
    };
    assert!(w.change(node(3), config(&[1, 2, 3], &[4])));
    w.run_for(500);
    w.isolate(3);
    assert!(w.change(node(3), config(&[1, 2, 3, 4], &[])));
    assert!(!w.change(node(3), config(&[1, 2, 4], &[])), "one at a time");
    w.is_led_by(2, 5_000);
    assert!(w.change(node(2), config(&[1, 2], &[4])));
    w.run_for(1_000);
    w.mend();
    w.run_for(3_000);
    w.agree();
    for id in [1, 2, 4] {
        let up = w.servers[&node(id)].up.as_ref().unwrap();
        assert_eq!(up.journal.config(), Some(config(&[1, 2], &[4])));
    }
    w.remark("n3, which does not know that it is out, asks for ever and disturbs nobody");
    w.run_for(30_000);
    assert_eq!((w.checks.counts.wins, w.promised(3)), (2, 1));
}

/// Gossip has no way into the consensus; what is wrong in it changes no leader, quorum or voter.
fn s29(w: &mut World) {
    use crate::cluster::gossip::State::{Alive, Dead, Left};
    let mut hearsay = Hearsay::new();
    w.begin();
    w.remark("gossip says that all voters are dead and that n9 leads epoch 99");
    hearsay.hear(w, &[(1, 2, Dead), (2, 2, Dead), (3, 2, Dead)], Some((99, 9)));
    w.write(node(3));
    w.run_for(5_000);
    assert_eq!((w.checks.counts.wins, w.checks.answered), (1, Index(2)), "n3 still leads");
    w.remark(
        "gossip says that n3 lives and leads epoch 100 when it has died, and that n1 has left",
    );
    w.crash(node(3));
    hearsay.hear(w, &[(3, 3, Alive), (1, 2, Left)], Some((100, 3)));
    w.is_led_by(2, 4_000);
    w.write(node(2));
    w.run_for(50);
    assert_eq!((w.checks.counts.wins, w.checks.answered), (2, Index(4)), "n1 voted and has it");
    w.remark("words about the earlier starts come again");
    hearsay.hear(w, &[(1, 1, Dead), (2, 1, Alive), (3, 1, Left)], Some((98, 9)));
    w.start(node(3));
    w.agree();
    let config = w.servers[&node(2)].up.as_ref().unwrap().journal.config().unwrap();
    assert_eq!(config, Config::of(Voters::new((1..=3).map(node).collect()).unwrap()));
    assert_eq!((w.checks.counts.wins, w.promised(2)), (2, 2), "no epoch came from gossip");
}

/// A long journal of an old epoch against a short one of a new epoch, which has committed.
pub(super) fn long_against_new(w: &mut World) {
    w.begin();
    w.isolate(3);
    for _ in 0..10 {
        w.write(node(3));
    }
    w.is_led_by(2, 5_000);
    w.write(node(2));
    w.run_for(50);
    assert_eq!(w.checks.answered, Index(3));
    w.isolate(2);
    w.net.cuts.remove(&(node(1), node(3)));
    w.net.cuts.remove(&(node(3), node(1)));
    w.run_for(12_000);
    w.mend();
    w.until(12_000, "a leader", |world| !world.leaders().is_empty());
    w.agree();
}

/// A leader that is cut off takes the others out one by one.
pub(super) fn out_one_by_one(w: &mut World) {
    w.begin();
    w.isolate(3);
    let config =
        |ids: &[u32]| Config::of(Voters::new(ids.iter().map(|&id| node(id)).collect()).unwrap());
    assert!(w.change(node(3), config(&[2, 3])));
    w.change(node(3), config(&[3]));
    w.run_for(100);
    w.is_led_by(2, 5_000);
    w.mend();
    w.agree();
}
