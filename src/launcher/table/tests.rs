use std::cell::RefCell;

use super::*;
use crate::ident::BootId;
use crate::launcher::testing::{order, run};
use crate::rng::Rng;
use crate::run::order::{Program, Status};
use crate::time::Wall;

const INSTANCE: Instance = Instance(9);

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: Wall(1_000_000 + ms as i64) }
}

fn end(code: i32) -> End {
    End { status: Status::Code(code), cpu_ms: 1, max_rss_bytes: 2 }
}

fn process(pid: u32) -> Process {
    Process { pid, start_ticks: 1, boot: BootId(1) }
}

/// A table with an agent, and everything it has said.
struct Bench {
    table: Table,
    now: u64,
    /// The runs whose process was asked for.
    identified: RefCell<Vec<u64>>,
}

impl Bench {
    fn new() -> Bench {
        let mut bench =
            Bench { table: Table::new(INSTANCE), now: 0, identified: RefCell::default() };
        bench.table.agent_came();
        assert_eq!(bench.answers(), ["welcome", "listed"]);
        bench
    }

    fn order(&mut self, number: u64, timeout_ms: u64, kill_grace_ms: u64) {
        let order = order(number, Program::Shell("x".into()));
        let order = SpawnOrder { timeout_ms, kill_grace_ms, ..order };
        self.table.command(LauncherCommand::Spawn(order), at(self.now));
    }

    /// Orders a run, forks it and lets it come to its program.
    fn running(&mut self, number: u64, timeout_ms: u64, kill_grace_ms: u64) {
        self.order(number, timeout_ms, kill_grace_ms);
        assert_eq!(self.effects(), [format!("spawn {number}")]);
        self.table.executed(run(number));
        assert_eq!(self.answers(), [format!("run {number} running")]);
    }

    fn kill(&mut self, number: u64) {
        self.table.command(LauncherCommand::Kill(run(number)), at(self.now));
    }

    fn ack(&mut self, number: u64) {
        self.table.command(LauncherCommand::Ack(run(number)), at(self.now));
    }

    fn reap(&mut self, number: u64, group_lives: bool) {
        self.table.reaped(run(number), end(0), group_lives, at(self.now));
    }

    fn advance(&mut self, ms: u64) {
        self.now = ms;
        self.table.handle_timeout(at(ms));
    }

    fn effects(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.table.poll_effect())
            .map(|effect| match effect {
                Effect::Spawn(order) => format!("spawn {}", order.run.group),
                Effect::Signal(run, signal) => format!("{signal:?} {}", run.group),
                Effect::Release(run) => format!("release {}", run.group),
            })
            .collect()
    }

    fn answers(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.answer()).map(|answer| show(&answer)).collect()
    }

    fn answer(&mut self) -> Option<Answer> {
        self.table.poll_answer(&|run| {
            self.identified.borrow_mut().push(run.group.0);
            Some(process(run.group.0 as u32))
        })
    }
}

fn show(answer: &Answer) -> String {
    let entry = |entry: &Entry| match entry {
        Entry::Running(..) => "running".to_string(),
        Entry::Ended(exit) => format!("ended {:?} {:?}", exit.status, exit.cause),
        Entry::Failed(failure) => format!("failed {:?} {}", failure.stage, failure.errno),
    };
    match answer {
        Answer::Welcome(_) => "welcome".into(),
        Answer::Listed(run, it) => format!("list {} {}", run.group, entry(it)),
        Answer::ListedAll => "listed".into(),
        Answer::Run(run, it) => format!("run {} {}", run.group, entry(it)),
        Answer::Refused(run) => format!("refused {}", run.group),
        Answer::Mismatch { .. } => "mismatch".into(),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn a_run_that_ends_by_itself_is_kept_until_it_is_acknowledged() {
    let mut bench = Bench::new();
    bench.running(1, 0, 0);
    bench.table.output(run(1), b"hello");
    bench.ack(1);
    assert!(!bench.table.is_empty(), "alive, so it is kept");
    bench.now = 250;
    bench.reap(1, false);
    assert_eq!(bench.effects(), ["release 1"]);
    match bench.answer() {
        Some(Answer::Run(_, Entry::Ended(exit))) => {
            let wanted = Exit {
                status: Status::Code(0),
                cause: Cause::Own,
                started: at(0).wall,
                finished: at(250).wall,
                duration_ms: 250,
                cpu_ms: 1,
                max_rss_bytes: 2,
                output_bytes: 5,
                tail: b"hello".to_vec(),
            };
            assert_eq!(exit, wanted);
        }
        other => panic!("{other:?}"),
    }
    bench.order(1, 0, 0);
    assert_eq!(bench.effects(), NONE, "a repeated order starts nothing");
    assert_eq!(bench.answers(), ["run 1 ended Code(0) Own"]);
    bench.ack(1);
    assert!(bench.table.is_empty());
    assert_eq!(bench.table.tails_bytes, 0);
    bench.ack(1);
    bench.kill(1);
    assert_eq!(bench.effects(), NONE);
    assert_eq!(bench.answers(), NONE);
}

#[test]
fn a_timeout_terminates_then_kills() {
    let mut bench = Bench::new();
    bench.running(1, 1_000, 500);
    bench.advance(999);
    assert_eq!(bench.effects(), NONE);
    bench.advance(1_000);
    assert_eq!(bench.effects(), ["Terminate 1"]);
    bench.now = 1_200;
    bench.kill(1);
    assert_eq!(bench.effects(), NONE, "it is being ended already");
    bench.advance(1_500);
    assert_eq!(bench.effects(), ["Kill 1"]);
    bench.reap(1, false);
    assert_eq!(bench.answers(), ["run 1 ended Code(0) TimedOut"]);
    bench.advance(1_000_000);
    assert_eq!(bench.effects(), ["release 1"]);
    assert_eq!(bench.table.poll_timeout(), None);
}

#[test]
fn a_kill_names_its_cause_and_comes_before_a_timeout() {
    let mut bench = Bench::new();
    bench.running(1, 1_000, 5_000);
    bench.now = 900;
    bench.kill(1);
    assert_eq!(bench.effects(), ["Terminate 1"]);
    bench.advance(1_000);
    assert_eq!(bench.effects(), NONE, "the timeout has been overtaken");
    bench.reap(1, false);
    assert_eq!(bench.answers(), ["run 1 ended Code(0) Killed"]);
}

#[test]
fn a_terminated_group_lingers_in_its_grace_and_no_longer() {
    for goes_by_itself in [true, false] {
        let mut bench = Bench::new();
        bench.running(1, 0, 500);
        assert!(!bench.table.wants_group_ended(run(1)));
        bench.kill(1);
        assert!(bench.table.wants_group_ended(run(1)));
        bench.reap(1, true);
        assert_eq!(bench.effects(), ["Terminate 1"]);
        assert_eq!(bench.answers(), NONE, "not over while others live");
        bench.table.output(run(1), b"late");
        bench.now = 300;
        if goes_by_itself {
            bench.table.group_gone(run(1), at(300));
            assert_eq!(bench.effects(), ["release 1"]);
        } else {
            bench.advance(500);
            assert_eq!(bench.effects(), ["Kill 1", "release 1"]);
        }
        assert_eq!(bench.answers(), ["run 1 ended Code(0) Killed"]);
    }
}

/// A kill without a grace, and a fork that the system refused, within one turn of the loop.
#[test]
fn a_start_may_fail_after_its_run_was_killed() {
    for (grace, effects) in
        [(1, &["spawn 1", "Terminate 1"][..]), (0, &["spawn 1", "Terminate 1", "Kill 1"])]
    {
        let mut bench = Bench::new();
        bench.order(1, 0, grace);
        bench.kill(1);
        bench.advance(0);
        assert_eq!(bench.effects(), effects);
        bench.table.fork_failed(run(1), Stage::Fork, 11, at(0));
        assert_eq!(bench.answers(), ["run 1 failed Fork 11"], "a grace of {grace} ms");
        bench.advance(10);
        bench.ack(1);
        assert!(bench.table.is_empty());
    }
}

#[test]
fn a_start_that_fails_leaves_an_entry_with_its_step() {
    let mut bench = Bench::new();
    bench.order(1, 0, 0);
    bench.effects();
    bench.table.fork_failed(run(1), Stage::Pipe, 24, at(0));
    assert_eq!(bench.answers(), ["run 1 failed Pipe 24"]);
    bench.order(2, 0, 0);
    bench.table.exec_failed(run(2), Stage::Directory, 2, at(0));
    assert_eq!(bench.answers(), NONE, "its process is still to be reaped");
    bench.reap(2, false);
    assert_eq!(bench.answers(), ["run 2 failed Directory 2"]);
    bench.order(2, 0, 0);
    assert_eq!(bench.answers(), ["run 2 failed Directory 2"]);
    bench.ack(1);
    bench.ack(2);
    assert_eq!(bench.table.counts(), (0, 0));
}

#[test]
fn a_start_that_hangs_counts_as_running_and_can_then_only_end() {
    // Told by time, or to an agent that comes in the meantime.
    for by_time in [true, false] {
        let mut bench = Bench::new();
        bench.order(1, 300, 500);
        bench.effects();
        bench.order(1, 300, 500);
        assert_eq!(bench.answers(), NONE, "the answer comes with the start");
        if by_time {
            bench.advance(1_000);
            assert_eq!(bench.answers(), ["run 1 running"]);
            assert_eq!(bench.effects(), ["Terminate 1"], "its timeout has passed as well");
        } else {
            bench.table.agent_came();
            assert_eq!(bench.answers(), ["welcome", "list 1 running", "listed"]);
        }
        bench.table.exec_failed(run(1), Stage::Exec, 2, at(bench.now));
        bench.table.reaped(run(1), end(127), false, at(bench.now));
        let cause = if by_time { "TimedOut" } else { "Own" };
        assert_eq!(bench.answers(), [format!("run 1 ended Code(127) {cause}")]);
    }
}

#[test]
fn a_process_is_looked_up_once_and_only_for_a_run_that_is_told_as_running() {
    let mut bench = Bench::new();
    bench.order(1, 0, 0);
    bench.order(2, 0, 0);
    bench.effects();
    bench.table.executed(run(1));
    bench.table.executed(run(2));
    bench.reap(1, false);
    assert_eq!(bench.answers(), ["run 1 ended Code(0) Own", "run 2 running"]);
    bench.table.agent_came();
    bench.answers();
    bench.reap(2, false);
    bench.answers();
    assert_eq!(*bench.identified.borrow(), [2]);
}

#[test]
fn a_kill_reaches_a_run_that_has_not_started_yet() {
    let mut bench = Bench::new();
    bench.order(1, 0, 100);
    bench.kill(1);
    assert_eq!(bench.effects(), ["spawn 1", "Terminate 1"]);
    bench.table.executed(run(1));
    bench.reap(1, false);
    assert_eq!(bench.answers(), ["run 1 ended Code(0) Killed"]);
    bench.order(2, 0, 100);
    bench.kill(2);
    bench.table.fork_failed(run(2), Stage::Fork, 11, at(0));
    assert_eq!(bench.answers(), ["run 2 failed Fork 11"]);
    bench.advance(100);
    assert_eq!(bench.table.poll_effect().map(|_| ()), Some(()));
}

#[test]
fn orders_that_cannot_be_carried_out_leave_no_entry() {
    let mut bench = Bench::new();
    let good = order(1, Program::Shell("x".into()));
    let strange = SpawnOrder { instance: Instance(8), ..good.clone() };
    let broken = SpawnOrder { program: Program::Shell("\0".into()), ..good };
    bench.table.command(LauncherCommand::Spawn(strange), at(0));
    bench.table.command(LauncherCommand::Spawn(broken), at(0));
    assert_eq!(bench.answers(), ["refused 1", "run 1 failed Refused 0"]);
    assert!(bench.table.is_empty());
    for number in 1..=RUNS_MAX as u64 + 1 {
        bench.order(number, 0, 0);
    }
    assert_eq!(bench.table.counts(), (RUNS_MAX, RUNS_MAX));
    assert_eq!(bench.answers(), [format!("run {} failed Refused 11", RUNS_MAX + 1)]);
}

#[test]
fn answers_without_an_entry_hold_up_commands_until_they_are_taken() {
    let mut bench = Bench::new();
    let strange = SpawnOrder { instance: Instance(8), ..order(1, Program::Shell("x".into())) };
    for _ in 0..ANSWERS_MAX {
        assert!(bench.table.takes_commands());
        bench.table.command(LauncherCommand::Spawn(strange.clone()), at(0));
    }
    assert!(!bench.table.takes_commands());
    assert_eq!(bench.answers().len(), ANSWERS_MAX);
    assert!(bench.table.takes_commands());
}

#[test]
fn an_agent_hears_the_whole_table_and_then_only_news() {
    let mut bench = Bench::new();
    for number in 1..=4 {
        bench.running(number, 0, 0);
    }
    bench.table.agent_went();
    bench.reap(2, false);
    bench.effects();
    assert_eq!(bench.answers(), NONE);
    assert!(!bench.table.has_answers());
    bench.table.agent_came();
    let mut next = || bench.answer().map(|answer| show(&answer)).unwrap();
    assert_eq!([next(), next(), next()], ["welcome", "list 1 running", "list 2 ended Code(0) Own"]);
    // Of what has been listed there are news; what has not is listed as it is by then.
    bench.reap(1, false);
    bench.reap(3, false);
    let ended = |start: &str| format!("{start} ended Code(0) Own");
    let wanted = [ended("list 3"), "list 4 running".into(), "listed".into(), ended("run 1")];
    assert_eq!(bench.answers(), wanted);
}

#[test]
fn news_that_nobody_reads_become_one() {
    let mut bench = Bench::new();
    bench.order(1, 0, 0);
    bench.table.executed(run(1));
    bench.reap(1, false);
    assert_eq!(bench.answers(), ["run 1 ended Code(0) Own"]);
}

#[test]
fn output_is_bounded_whatever_runs_print() {
    let mut bench = Bench::new();
    let block = [b'x'; 70_000];
    let count = RUNS_MAX as u64;
    for number in 1..=count {
        bench.order(number, 0, 0);
        bench.table.output(run(number), &block);
        bench.table.output(run(number), &block[..100]);
    }
    let bound = TAILS_MAX_BYTES + 4_096 + RUNS_MAX * TAIL_FLOOR_BYTES;
    assert!(bench.table.tails_bytes <= bound, "{}", bench.table.tails_bytes);
    let kept: usize = bench.table.slots.values().map(|slot| slot.tail.len()).sum();
    assert_eq!(bench.table.tails_bytes, kept);
    for number in 1..=count {
        bench.reap(number, false);
        bench.ack(number);
    }
    assert_eq!(bench.table.tails_bytes, 0);
}

#[test]
fn stale_timers_do_not_pile_up() {
    let mut bench = Bench::new();
    for number in 1..=5_000 {
        bench.running(number, 86_400_000, 0);
        bench.reap(number, false);
        bench.ack(number);
        bench.effects();
        assert!(bench.table.timers.len() <= 70, "{}", bench.table.timers.len());
    }
}

#[test]
fn any_order_of_events_keeps_the_table_consistent() {
    for seed in 0..300 {
        let outcome = std::panic::catch_unwind(|| shuffle(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

/// Plays a loop that makes mistakes only where the real one can: a process is reaped once.
fn shuffle(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut bench = Bench { table: Table::new(INSTANCE), now: 0, identified: RefCell::default() };
    let mut alive = BTreeSet::new();
    let mut lingering = BTreeSet::new();
    for _ in 0..400 {
        let number = 1 + rng.below(5);
        match rng.below(12) {
            0 => bench.order(number, rng.below(3) * 500, rng.below(500)),
            1 => bench.kill(number),
            2 => bench.ack(number),
            3 => bench.table.agent_came(),
            4 => bench.table.agent_went(),
            5 => bench.table.executed(run(number)),
            6 => bench.table.output(run(number), &[b'x'; 600]),
            7 if alive.contains(&number) => {
                bench.table.exec_failed(run(number), Stage::Exec, 2, at(bench.now));
            }
            8 if alive.remove(&number) => {
                let lives = bench.table.wants_group_ended(run(number)) && rng.chance(1, 2);
                bench.reap(number, lives);
                if lives {
                    lingering.insert(number);
                }
            }
            9 if lingering.remove(&number) => bench.table.group_gone(run(number), at(bench.now)),
            10 => drop(bench.answer()),
            _ => bench.advance(bench.now + rng.below(400)),
        }
        while let Some(effect) = bench.table.poll_effect() {
            match effect {
                Effect::Spawn(order) if rng.chance(1, 8) => {
                    bench.table.fork_failed(order.run, Stage::Fork, 11, at(bench.now));
                }
                Effect::Spawn(order) => {
                    assert!(alive.insert(order.run.group.0), "started twice");
                }
                Effect::Release(run) => assert!(!alive.contains(&run.group.0)),
                Effect::Signal(..) => {}
            }
        }
        let (runs, count) = bench.table.counts();
        let living = |slot: &&Slot| !slot.is_over();
        assert_eq!(bench.table.slots.values().filter(living).count(), count);
        assert!(count <= runs && alive.len() <= count);
        let kept: usize = bench.table.slots.values().map(Slot::kept_bytes).sum();
        assert_eq!(bench.table.tails_bytes, kept);
    }
}
