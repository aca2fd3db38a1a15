//! Every cell of the table, to be read.

use super::*;
use crate::ident::{BootId, Index, NodeId};
use crate::run::order::{Cause, Exit, Program, Stage, StartFailure, Status};

const A: Instance = Instance(1);
const B: Instance = Instance(2);
const NOW: Wall = Wall(9_000);

fn run() -> RunId {
    RunId { group: Index(7), node: NodeId::new(1).unwrap(), attempt: 1 }
}

fn process() -> Process {
    Process { pid: 5, start_ticks: 6, boot: BootId(7) }
}

fn order() -> Box<SpawnOrder> {
    Box::new(SpawnOrder {
        run: run(),
        instance: A,
        program: Program::Shell("true".into()),
        env: Vec::new(),
        cwd: None,
        timeout_ms: 0,
        kill_grace_ms: 0,
        tail_max_bytes: 0,
    })
}

fn lost() -> Ending {
    Ending::decided(End::Lost, Reason::LauncherGone, NOW)
}

/// A phase by its name; the launcher is A unless it says otherwise.
fn phase(name: &str) -> Phase {
    match name {
        "accepting" => Phase::Accepting(order()),
        "accepted" => Phase::Accepted(order()),
        "asked" => Phase::Asked(A),
        "running" => Phase::Running(A, process(), Wall(1)),
        "orphaned" => Phase::Orphaned(process(), Wall(1)),
        "ending" => Phase::Ending(lost(), Vec::new()),
        "ended" => Phase::Ended(lost(), Vec::new()),
        other => panic!("{other}"),
    }
}

const EVENTS: [&str; 14] = [
    "durable",
    "durable B",
    "durable none",
    "durable late",
    "lacking",
    "lacking B",
    "lacking late",
    "running",
    "exit 0",
    "exit 3",
    "failed",
    "refused",
    "gone",
    "settled",
];

fn event(name: &str) -> Event {
    let launcher = |instance, late| Launcher { instance, late };
    let exit = |code| {
        Event::News(Entry::Ended(Exit {
            status: Status::Code(code),
            cause: Cause::Own,
            started: Wall(1),
            finished: Wall(2),
            duration_ms: 1,
            cpu_ms: 0,
            max_rss_bytes: 0,
            output_bytes: 0,
            tail: Vec::new(),
        }))
    };
    match name {
        "durable" => Event::Durable(launcher(Some(A), false)),
        "durable B" => Event::Durable(launcher(Some(B), false)),
        "durable none" => Event::Durable(launcher(None, false)),
        "durable late" => Event::Durable(launcher(Some(A), true)),
        "lacking" => Event::Lacking(launcher(Some(A), false)),
        "lacking B" => Event::Lacking(launcher(Some(B), false)),
        "lacking late" => Event::Lacking(launcher(Some(A), true)),
        "running" => Event::News(Entry::Running(process(), Wall(1))),
        "exit 0" => exit(0),
        "exit 3" => exit(3),
        "failed" => {
            Event::News(Entry::Failed(StartFailure { stage: Stage::Exec, errno: 2, at: Wall(2) }))
        }
        "refused" => Event::Refused,
        "gone" => Event::ProcessGone,
        "settled" => Event::Settled,
        other => panic!("{other}"),
    }
}

fn name(instance: Instance) -> &'static str {
    if instance == A { "A" } else { "B" }
}

fn told(from: &Phase, (next, actions): Step) -> String {
    let mut said = match &next {
        Some(next) if next == from => "-".to_owned(),
        None => "forgotten".into(),
        Some(Phase::Accepting(order)) => format!("accepting {}", name(order.instance)),
        Some(Phase::Accepted(_)) => "accepted".into(),
        Some(Phase::Asked(instance)) => format!("asked {}", name(*instance)),
        Some(Phase::Running(..)) => "running".into(),
        Some(Phase::Orphaned(..)) => "orphaned".into(),
        Some(Phase::Ending(ending, _)) => format!("ending {}", ending.end.name()),
        Some(Phase::Ended(..)) => "ended".into(),
    };
    for action in actions {
        said.push_str(match action {
            Action::Append(RunsRecord::Accepted { .. }) => " +Accepted",
            Action::Append(RunsRecord::Spawned { .. }) => " +Spawned",
            Action::Append(RunsRecord::Exited { .. }) => " +Exited",
            Action::Append(RunsRecord::Forgotten { .. }) => " +Forgotten",
            Action::Append(RunsRecord::Epoch(_)) => " +Epoch",
            Action::Spawn(_) => " spawn",
            Action::Ack => " ack",
            Action::Watch(_) => " watch",
            Action::ReportNeverStarted => " tell-never",
            Action::ReportPhase => " tell",
        });
    }
    said
}

/// All that is not here changes nothing and does nothing.
const CELLS: [(&str, &str, &str); 35] = [
    // A process is asked for once the promise is durable, of the launcher that it names.
    ("accepting", "durable", "asked A spawn tell"),
    ("accepting", "durable B", "accepting B +Accepted"),
    ("accepting", "durable none", "accepted"),
    ("accepting", "durable late", "forgotten +Forgotten tell-never"),
    ("accepted", "lacking", "asked A spawn tell"),
    ("accepted", "lacking B", "accepting B +Accepted"),
    ("accepted", "lacking late", "forgotten +Forgotten tell-never"),
    // The launcher that was asked knows; another cannot.
    ("asked", "lacking", "forgotten +Forgotten tell-never"),
    ("asked", "lacking late", "forgotten +Forgotten tell-never"),
    ("asked", "lacking B", "ending lost +Exited"),
    ("asked", "running", "running +Spawned tell"),
    ("asked", "exit 0", "ending succeeded +Exited"),
    ("asked", "exit 3", "ending failed +Exited"),
    ("asked", "failed", "ending failed +Exited"),
    ("asked", "refused", "forgotten +Forgotten tell-never"),
    ("running", "lacking", "ending lost +Exited"),
    ("running", "lacking late", "ending lost +Exited"),
    ("running", "lacking B", "orphaned watch"),
    ("running", "exit 0", "ending succeeded +Exited"),
    ("running", "exit 3", "ending failed +Exited"),
    ("running", "failed", "ending lost +Exited"),
    ("orphaned", "gone", "ending lost +Exited"),
    // The launcher may forget when the end is on disk, this node when the leader has it.
    ("ending", "durable", "ended ack tell"),
    ("ending", "durable B", "ended ack tell"),
    ("ending", "durable none", "ended ack tell"),
    ("ending", "durable late", "ended ack tell"),
    ("ended", "running", "- ack"),
    ("ended", "exit 0", "- ack"),
    ("ended", "exit 3", "- ack"),
    ("ended", "failed", "- ack"),
    ("ended", "settled", "forgotten +Forgotten"),
    // An ended run is not moved by what comes late.
    ("ended", "lacking B", "-"),
    ("ended", "gone", "-"),
    ("ending", "exit 3", "-"),
    ("ending", "settled", "-"),
];

#[test]
fn every_cell_of_the_table() {
    for from in ["accepting", "accepted", "asked", "running", "orphaned", "ending", "ended"] {
        for happens in EVENTS {
            let cell = CELLS.iter().find(|cell| (cell.0, cell.1) == (from, happens));
            let wanted = cell.map_or("-", |cell| cell.2);
            let said = told(&phase(from), step(run(), phase(from), event(happens), NOW));
            assert_eq!(said, wanted, "{from}, {happens}");
        }
    }
}

#[test]
fn an_end_is_called_what_it_was() {
    for (status, cause, end, code, signal) in [
        (Status::Code(0), Cause::Own, End::Succeeded, Some(0), None),
        (Status::Code(1), Cause::Own, End::Failed, Some(1), None),
        (Status::Code(255), Cause::Own, End::Failed, Some(255), None),
        (Status::Signal(9), Cause::Own, End::Failed, None, Some(9)),
        (Status::Signal(15), Cause::TimedOut, End::TimedOut, None, Some(15)),
        (Status::Code(0), Cause::TimedOut, End::TimedOut, Some(0), None),
        (Status::Signal(15), Cause::Killed, End::Killed, None, Some(15)),
        (Status::Code(0), Cause::Killed, End::Killed, Some(0), None),
    ] {
        let Event::News(Entry::Ended(exit)) = event("exit 0") else { panic!() };
        let exit = Exit { status, cause, ..exit };
        let ending = ending::of_exit(&exit);
        let got = (ending.end, ending.exit_code, ending.signal, ending.reason);
        assert_eq!(got, (end, code, signal, None), "{status:?} {cause:?}");
        assert_eq!((ending.started, ending.finished), (exit.started, exit.finished));
    }
}
