//! A worker's life as conversations: what it is told, and what it wants done, in order.

use super::*;
use crate::ident::{BootId, Index, NodeId};
use crate::run::order::{Program, Stage, StartFailure};
use crate::store::{End, Reason};

const A: Instance = Instance(1);
const B: Instance = Instance(2);

fn run(group: u64) -> RunId {
    RunId { group: Index(group), node: NodeId::new(1).unwrap(), attempt: 1 }
}

fn now(second: u64) -> Now {
    Now { mono: Mono(second), wall: Wall(0) }
}

fn order(group: u64, epoch: u64, deadline: u64) -> Order {
    let spawn = SpawnOrder {
        run: run(group),
        instance: Instance(0),
        program: Program::Shell("true".into()),
        env: Vec::new(),
        cwd: None,
        timeout_ms: 0,
        kill_grace_ms: 0,
        tail_max_bytes: 0,
    };
    Order { epoch: Epoch(epoch), deadline: Mono(deadline), spawn }
}

fn process(pid: u32) -> Process {
    Process { pid, start_ticks: 1, boot: BootId(1) }
}

fn failed() -> Entry {
    Entry::Failed(StartFailure { stage: Stage::Exec, errno: 2, at: Wall(0) })
}

/// A worker with a log that is written when the conversation says so.
struct Told {
    worker: Worker,
    log: Vec<RunsRecord>,
    unwritten: VecDeque<RunsRecord>,
    now: Now,
}

impl Told {
    fn new(running_max: usize) -> Told {
        let worker = Worker::new(running_max);
        Told { worker, log: Vec::new(), unwritten: VecDeque::new(), now: now(0) }
    }

    /// A worker of epoch 1 with a launcher.
    fn ready(running_max: usize) -> Told {
        let mut told = Told::new(running_max);
        told.worker.greet(Epoch(1));
        told.said();
        told.write();
        told.welcome(A);
        told
    }

    fn welcome(&mut self, instance: Instance) -> String {
        self.launcher(LauncherEvent::Welcome { instance, table: Vec::new() })
    }

    fn launcher(&mut self, event: LauncherEvent) -> String {
        self.worker.launcher(event, self.now);
        self.said()
    }

    fn order(&mut self, order: Order) -> String {
        self.worker.order(order, self.now);
        self.said()
    }

    /// All that waits for the disk becomes durable.
    fn write(&mut self) -> String {
        for record in std::mem::take(&mut self.unwritten) {
            self.log.push(record.clone());
            self.worker.durable(&record, self.now);
        }
        self.said()
    }

    fn said(&mut self) -> String {
        let mut said = Vec::new();
        while let Some(work) = self.worker.poll() {
            said.push(match work {
                Work::Append(record) => {
                    let text = match &record {
                        RunsRecord::Epoch(epoch) => format!("+epoch {epoch}"),
                        RunsRecord::Accepted { run, instance } => {
                            format!("+accepted {} {instance}", run.group)
                        }
                        RunsRecord::Spawned { run, .. } => format!("+spawned {}", run.group),
                        RunsRecord::Exited { run, .. } => format!("+exited {}", run.group),
                        RunsRecord::Forgotten { run } => format!("+forgotten {}", run.group),
                    };
                    self.unwritten.push_back(record);
                    text
                }
                Work::Launcher(LauncherCommand::Spawn(order)) => {
                    format!("spawn {} {}", order.run.group, order.instance)
                }
                Work::Launcher(LauncherCommand::Ack(run)) => format!("ack {}", run.group),
                Work::Launcher(LauncherCommand::Kill(run)) => format!("kill {}", run.group),
                Work::Watch(process) => format!("watch {}", process.pid),
                Work::Report(run, report) => {
                    let what = match report {
                        Report::NeverStarted => "never",
                        Report::Starting => "starting",
                        Report::Running(_) => "running",
                        Report::Ended(..) => "ended",
                    };
                    format!("{} {what}", run.group)
                }
            });
        }
        said.join(", ")
    }

    /// The same node after a crash that kept the first `kept` records of its log.
    fn restart(&self, kept: usize) -> Told {
        let mut told = Told::new(100);
        for record in &self.log[..kept] {
            told.worker.restore(record.clone());
            told.log.push(record.clone());
        }
        told
    }
}

#[test]
fn a_process_is_asked_for_once_and_only_after_the_promise_is_durable() {
    let mut told = Told::ready(100);
    assert_eq!(told.order(order(7, 1, 99)), "+accepted 7 1");
    assert_eq!(told.order(order(7, 1, 99)), "7 starting", "a repeated order is answered");
    assert_eq!(told.write(), "spawn 7 1, 7 starting");
    assert_eq!(told.order(order(7, 1, 99)), "7 starting");
    let running = Entry::Running(process(5), Wall(1));
    assert_eq!(told.launcher(LauncherEvent::Run(run(7), running.clone())), "+spawned 7, 7 running");
    assert_eq!(told.launcher(LauncherEvent::Run(run(7), running)), "");
    assert_eq!(told.launcher(LauncherEvent::Run(run(7), failed())), "+exited 7");
    assert_eq!(told.order(order(7, 1, 99)), "7 running", "an end is told when it is durable");
    assert_eq!(told.write(), "ack 7, 7 ended");
    told.worker.settled(run(7), told.now);
    assert_eq!(told.said(), "+forgotten 7");
}

#[test]
fn orders_wait_for_room_for_a_launcher_and_for_the_epoch_in_turn_and_not_for_ever() {
    let mut told = Told::ready(1);
    assert_eq!(told.order(order(7, 1, 99)), "+accepted 7 1");
    assert_eq!(told.order(order(8, 1, 50)), "");
    assert_eq!(told.order(order(9, 1, 99)), "");
    assert_eq!(told.worker.poll_timeout(), Some(Mono(50)));
    told.write();
    told.now = now(50);
    told.worker.tick(told.now);
    assert_eq!(told.said(), "8 never");
    assert_eq!(told.launcher(LauncherEvent::Run(run(7), failed())), "+exited 7, +accepted 9 1");
    told.launcher(LauncherEvent::Gone);
    assert_eq!(told.write(), "ack 7, 7 ended", "9 waits for a launcher");
    assert_eq!(told.welcome(B), "+accepted 9 2", "which is another, so it is promised anew");
    assert_eq!(told.write(), "spawn 9 2, 9 starting");

    let mut told = Told::new(1);
    told.welcome(A);
    assert_eq!(told.order(order(7, 1, 99)), "", "its leader was not greeted");
    told.worker.greet(Epoch(1));
    assert_eq!(told.said(), "+epoch 1");
    assert_eq!(told.write(), "+accepted 7 1");
    told.now = now(99);
    assert_eq!(told.write(), "+forgotten 7, 7 never", "the disk was too slow");
}

#[test]
fn orders_of_a_lower_epoch_are_not_obeyed() {
    let mut told = Told::ready(1);
    told.order(order(7, 1, 99));
    assert_eq!(told.order(order(8, 1, 99)), "");
    told.worker.greet(Epoch(3));
    assert_eq!(told.said(), "+epoch 3");
    assert_eq!(told.order(order(9, 2, 99)), "");
    told.write();
    told.worker.question(run(8));
    assert_eq!(told.said(), "8 never", "it was ordered by a leader that is none any more");
    assert_eq!(told.launcher(LauncherEvent::Run(run(7), failed())), "+exited 7");
    assert_eq!(told.write(), "ack 7, 7 ended", "and nothing else has waited");
    assert_eq!(told.restart(told.log.len()).order(order(9, 2, 99)), "");
}

#[test]
fn what_a_restart_makes_of_a_run() {
    let mut told = Told::ready(100);
    told.order(order(7, 1, 99));
    told.write();
    let running = Entry::Running(process(5), Wall(1));
    told.launcher(LauncherEvent::Run(run(7), running.clone()));
    told.write();
    told.launcher(LauncherEvent::Run(run(7), failed()));
    told.write();
    let knows = |entry: &Entry| vec![(run(7), entry.clone())];
    // Records kept, the launcher that comes and its table, what follows; then the answer.
    for (kept, instance, table, follows, answer) in [
        (0, A, vec![], "", "7 never"),
        (1, A, vec![], "", "7 never"),
        (2, A, vec![], "+forgotten 7", "7 never"),
        (2, A, knows(&running), "+spawned 7", "7 running"),
        (2, A, knows(&failed()), "+exited 7", "7 running"),
        (2, B, vec![], "+exited 7", "7 running"),
        (3, A, knows(&running), "", "7 running"),
        (3, A, knows(&failed()), "+exited 7", "7 running"),
        (3, B, vec![], "watch 5", "7 running"),
        (4, A, knows(&failed()), "ack 7", "7 ended"),
        (4, A, vec![], "", "7 ended"),
        (4, B, vec![], "", "7 ended"),
    ] {
        let mut again = told.restart(kept);
        again.worker.question(run(7));
        assert_eq!(again.said(), "", "nothing is answered before the launcher is heard");
        let said = again.launcher(LauncherEvent::Welcome { instance, table });
        let said: Vec<&str> =
            said.split(", ").filter(|piece| !piece.starts_with('7') && !piece.is_empty()).collect();
        assert_eq!(said.join(", "), follows, "{kept} records");
        again.unwritten.clear();
        again.worker.greet(Epoch(2));
        again.said();
        let said = again.write();
        assert!(said.split(", ").any(|piece| piece == answer), "{kept} records: {said}");
        assert!(!said.contains("spawn"), "{kept} records: {said}");
    }
}

#[test]
fn an_orphan_is_lost_when_it_ends_and_again_orphaned_after_a_restart() {
    let mut told = Told::ready(100);
    told.order(order(7, 1, 99));
    told.write();
    told.launcher(LauncherEvent::Run(run(7), Entry::Running(process(5), Wall(1))));
    told.write();
    told.launcher(LauncherEvent::Gone);
    assert_eq!(told.welcome(B), "watch 5");
    let live = told.worker.live_records();
    told.worker.process_gone(process(6), told.now);
    assert_eq!(told.said(), "", "another process");
    told.worker.process_gone(process(5), told.now);
    assert_eq!(told.said(), "+exited 7");

    let mut again = Told::new(100);
    live.into_iter().for_each(|record| again.worker.restore(record));
    assert_eq!(again.welcome(B), "watch 5");
}

#[test]
fn an_end_that_no_leader_has_settled_is_told_to_the_next() {
    let mut told = Told::new(100);
    let ending = Ending::decided(End::Lost, Reason::LauncherGone, Wall(1));
    told.worker.restore(RunsRecord::Exited { run: run(7), ending, tail: Vec::new() });
    told.worker.greet(Epoch(2));
    told.said();
    assert_eq!(told.write(), "7 ended");
}

#[test]
fn the_records_that_are_kept_restore_the_same_worker() {
    let mut told = Told::ready(100);
    for group in 7..12 {
        told.order(order(group, 1, 99));
    }
    told.write();
    told.launcher(LauncherEvent::Run(run(8), Entry::Running(process(5), Wall(1))));
    for group in [9, 10] {
        told.launcher(LauncherEvent::Run(run(group), failed()));
    }
    told.write();
    told.worker.settled(run(10), told.now);
    told.said();
    told.write();
    let live = told.worker.live_records();
    let mut again = Told::new(100);
    live.iter().for_each(|record| again.worker.restore(record.clone()));
    assert_eq!(again.worker.live_records(), live);
    assert_eq!(told.restart(told.log.len()).worker.live_records(), live);
}

#[test]
fn a_worker_holds_so_many_runs_and_no_more() {
    let mut told = Told::ready(HELD_MAX);
    for group in 0..HELD_MAX as u64 + 1 {
        told.worker.order(order(group + 1, 1, 99), told.now);
    }
    let accepted = told.said().matches("+accepted").count();
    assert_eq!(accepted, HELD_MAX);
}

mod ends {
    use super::super::*;
    use crate::ident::{Index, NodeId};
    use crate::run::order::{Cause, Exit, Status};

    const NOW: Now = Now { mono: Mono(0), wall: Wall(0) };
    const LAUNCHER: Instance = Instance(5);

    /// A run had ended while no agent was there. The next agent heard so from the launcher before
    /// it led, and told its own leading half, which did not know the claim yet and took the run
    /// for settled: it was forgotten, found open and unknown a moment later, and started again.
    #[test]
    fn an_end_is_told_to_no_leader_but_one_that_has_come() {
        let mut worker = after([RunsRecord::Accepted { run: run(), instance: LAUNCHER }]);
        let table = vec![(run(), Entry::Ended(exit()))];
        worker.launcher(LauncherEvent::Welcome { instance: LAUNCHER, table }, NOW);
        let records = appended(&mut worker);
        assert!(matches!(records[..], [RunsRecord::Exited { .. }]), "{records:?}");
        worker.durable(&records[0], NOW);
        assert_eq!(reports(&mut worker), []);
        worker.question(run());
        assert_eq!(reports(&mut worker), []);
        worker.greet(Epoch(2));
        assert_eq!(reports(&mut worker), [], "the office is not on the disk");
        worker.durable(&RunsRecord::Epoch(Epoch(2)), NOW);
        let told = reports(&mut worker);
        assert!(!told.is_empty());
        assert!(told.iter().all(|report| matches!(report, Report::Ended(..))), "{told:?}");
    }

    /// The end was committed, and the agent killed before it had forgotten the run: no leader
    /// asks for a run that has ended, so the entry stayed for ever.
    #[test]
    fn an_end_that_nobody_asks_for_is_told_to_every_new_leader() {
        let ending = super::super::super::ending::of_exit(&exit());
        let mut worker = after([RunsRecord::Exited { run: run(), ending, tail: b"out".to_vec() }]);
        for epoch in [2, 3].map(Epoch) {
            worker.greet(epoch);
            worker.durable(&RunsRecord::Epoch(epoch), NOW);
            assert_eq!(reports(&mut worker), [Report::Ended(ending, b"out".to_vec())]);
        }
        worker.settled(run(), NOW);
        assert_eq!(appended(&mut worker), [RunsRecord::Forgotten { run: run() }]);
        assert_eq!(worker.live_records(), [RunsRecord::Epoch(Epoch(3))]);
    }

    fn run() -> RunId {
        RunId { group: Index(9), node: NodeId::new(1).unwrap(), attempt: 1 }
    }

    fn exit() -> Exit {
        Exit {
            status: Status::Code(0),
            cause: Cause::Own,
            started: Wall(1),
            finished: Wall(2),
            duration_ms: 1,
            cpu_ms: 0,
            max_rss_bytes: 0,
            output_bytes: 0,
            tail: Vec::new(),
        }
    }

    fn after(records: impl IntoIterator<Item = RunsRecord>) -> Worker {
        let mut worker = Worker::new(10);
        worker.restore(RunsRecord::Epoch(Epoch(1)));
        records.into_iter().for_each(|record| worker.restore(record));
        worker
    }

    fn appended(worker: &mut Worker) -> Vec<RunsRecord> {
        let all = std::iter::from_fn(|| worker.poll());
        all.filter_map(|work| if let Work::Append(record) = work { Some(record) } else { None })
            .collect()
    }

    fn reports(worker: &mut Worker) -> Vec<Report> {
        let all = std::iter::from_fn(|| worker.poll());
        all.filter_map(|work| if let Work::Report(_, report) = work { Some(report) } else { None })
            .collect()
    }
}

/// A job that runs each second and may be started a day late left a timer behind for every run.
#[test]
fn an_order_that_waits_no_more_leaves_no_timer() {
    let mut told = Told::ready(10);
    for group in 1..=1_000 {
        told.order(order(group, 1, 86_400));
        told.write();
        told.launcher(LauncherEvent::Run(run(group), failed()));
        told.write();
        told.worker.settled(run(group), told.now);
        told.write();
    }
    assert!(told.worker.runs.is_empty());
    assert_eq!(told.worker.deadlines.len(), 0);
}
