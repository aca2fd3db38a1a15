//! The execution object of an answer: one attempt of one run on one node, or a range of due times
//! that was skipped.
//!
//! Which state a run is in is decided elsewhere; here is only how each is shown. Old clients test
//! `finished_at` for Go's zero time, and all clients may rely on no time being null.

use crate::ident::Index;
use crate::time::Wall;

use super::spec::words_of;
use super::times;
use super::write::Object;

/// Most skipped due times that are counted; beyond it the count is shown as `"10000+"`.
pub const SKIPPED_COUNT_MAX: u64 = 10_000;

/// What is shown of an execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecutionView<'a> {
    /// Its job.
    pub job_name: &'a str,
    /// Where it runs; empty for what never had a target.
    pub node_name: &'a str,
    /// Index of the claim.
    pub group: Index,
    /// From 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: State,
    /// Why it was claimed.
    pub trigger: Trigger,
    /// When it was due, or for manual and chained runs the moment of the claim.
    pub scheduled_for: Wall,
    /// When it started, or for what never did the moment that was decided.
    pub started_at: Wall,
    /// When it ended; `None` while it is open.
    pub finished_at: Option<Wall>,
    /// What the process returned.
    pub exit_code: Option<i32>,
    /// What killed the process.
    pub signal: Option<i32>,
    /// Processor time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Largest resident memory.
    pub max_rss_bytes: Option<u64>,
    /// The tail of what it printed, as far as it is to be shown.
    pub output: &'a [u8],
    /// How much it printed altogether.
    pub output_bytes: u64,
    /// Whether `output` is less than that.
    pub output_truncated: bool,
    /// Why it ended as it did; may be empty.
    pub reason: &'a str,
    /// What this entry stands for, when it is a range of due times instead of a run.
    pub skipped: Option<Skipped>,
    /// For an open run whose job is gone; the key is left out otherwise.
    pub job_deleted: bool,
    /// For the list of open runs only.
    pub contact: Option<Contact>,
}

/// A range of due times that ends with `scheduled_for`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// The first of them.
    pub from: Wall,
    /// How many; above [`SKIPPED_COUNT_MAX`] it is only known to be more.
    pub count: u64,
}

/// What the leader knows of the node of an open run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// Whether it has a session.
    pub reachable: bool,
    /// When it last answered.
    pub last_seen: Wall,
}

/// Where an execution stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Decided, and perhaps on its way.
    Claimed,
    /// Waits for another run of its job.
    Queued,
    /// Its node has it.
    Starting,
    /// Its process runs.
    Running,
    /// Its process has been told to end.
    Terminating,
    /// Ended with status 0.
    Succeeded,
    /// Ended otherwise, or never began.
    Failed,
    /// Ended by a signal that somebody asked for.
    Killed,
    /// Ended because it took too long.
    TimedOut,
    /// Nobody can know.
    Lost,
    /// Decided against.
    Skipped,
    /// Too late.
    Missed,
}
words_of!(State {
    Claimed = "claimed",
    Queued = "queued",
    Starting = "starting",
    Running = "running",
    Terminating = "terminating",
    Succeeded = "succeeded",
    Failed = "failed",
    Killed = "killed",
    TimedOut = "timed_out",
    Lost = "lost",
    Skipped = "skipped",
    Missed = "missed"
});

impl State {
    /// Whether it may still change.
    pub fn is_open(self) -> bool {
        match self {
            State::Claimed
            | State::Queued
            | State::Starting
            | State::Running
            | State::Terminating => true,
            State::Succeeded
            | State::Failed
            | State::Killed
            | State::TimedOut
            | State::Lost
            | State::Skipped
            | State::Missed => false,
        }
    }
}

/// Why a run was claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// It was due.
    Schedule,
    /// It had been due.
    Catchup,
    /// Somebody asked.
    Manual,
    /// Another job ended.
    Parent,
    /// An attempt before it failed.
    Retry,
}
words_of!(Trigger {
    Schedule = "schedule",
    Catchup = "catchup",
    Manual = "manual",
    Parent = "parent",
    Retry = "retry"
});

impl ExecutionView<'_> {
    /// The execution's id: `<group>-<node name>-<attempt>`, or `<group>-skip`.
    pub fn id(&self) -> String {
        match self.skipped {
            Some(_) => format!("{}-skip", self.group),
            None => format!("{}-{}-{}", self.group, self.node_name, self.attempt),
        }
    }

    /// Appends the execution object to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        let ended = match (self.state.is_open(), self.finished_at) {
            (true, _) => None,
            (false, Some(at)) => Some(at),
            // What never started has both times at the moment that was decided.
            (false, None) => Some(self.started_at),
        };
        let finished_at = ended.map_or(times::ZERO_TIME.into(), times::format_utc);
        let duration_ms = ended.map(|ended| ended.ms_since(self.started_at).max(0));
        let output = String::from_utf8_lossy(self.output);
        let mut object = Object::begin(out);
        object
            .text("id", &self.id())
            .text("job_name", self.job_name)
            .time("started_at", self.started_at)
            .text("finished_at", &finished_at)
            .flag("success", self.state == State::Succeeded)
            .text("output", &output)
            .text("node_name", self.node_name)
            .number("group", self.group.0)
            .number("attempt", self.attempt)
            .text("state", self.state.as_str())
            .text("trigger", self.trigger.as_str())
            .time("scheduled_for", self.scheduled_for)
            .maybe_number("exit_code", self.exit_code)
            .maybe_number("signal", self.signal)
            .maybe_number("duration_ms", duration_ms)
            .maybe_number("cpu_ms", self.cpu_ms)
            .maybe_number("max_rss_bytes", self.max_rss_bytes)
            .number("output_bytes", self.output_bytes)
            .flag("output_truncated", self.output_truncated)
            .text("reason", self.reason);
        self.render_rare(&mut object);
        object.end();
    }

    fn render_rare(&self, object: &mut Object<'_>) {
        if let Some(skipped) = self.skipped {
            object.time("skipped_from", skipped.from);
            if skipped.count > SKIPPED_COUNT_MAX {
                object.text("skipped_count", &format!("{SKIPPED_COUNT_MAX}+"));
            } else {
                object.number("skipped_count", skipped.count);
            }
        }
        if self.job_deleted {
            object.flag("job_deleted", true);
        }
        if let Some(contact) = self.contact {
            object.flag("reachable", contact.reachable).time("last_seen", contact.last_seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::json;
    use crate::rng::Rng;

    const OPEN: ExecutionView<'_> = ExecutionView {
        job_name: "backup",
        node_name: "n1",
        group: Index(17),
        attempt: 1,
        state: State::Running,
        trigger: Trigger::Schedule,
        scheduled_for: Wall(60_000),
        started_at: Wall(60_250),
        finished_at: None,
        exit_code: None,
        signal: None,
        cpu_ms: None,
        max_rss_bytes: None,
        output: b"a\xffb\n\xc3",
        output_bytes: 5,
        output_truncated: false,
        reason: "",
        skipped: None,
        job_deleted: false,
        contact: None,
    };

    #[track_caller]
    fn check(view: ExecutionView<'_>, wanted: &str) {
        let mut out = Vec::new();
        view.render(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn an_open_run_has_go_s_zero_time_and_no_success() {
        check(
            OPEN,
            concat!(
                r#"{"id":"17-n1-1","job_name":"backup","started_at":"1970-01-01T00:01:00.250Z","#,
                r#""finished_at":"0001-01-01T00:00:00Z","success":false,"output":"a�b\n�","#,
                r#""node_name":"n1","group":17,"attempt":1,"state":"running","#,
                r#""trigger":"schedule","scheduled_for":"1970-01-01T00:01:00Z","#,
                r#""exit_code":null,"signal":null,"duration_ms":null,"cpu_ms":null,"#,
                r#""max_rss_bytes":null,"output_bytes":5,"output_truncated":false,"reason":""}"#,
            ),
        );
    }

    #[test]
    fn an_ended_run_and_a_skip_show_what_they_know() {
        let ended = ExecutionView {
            state: State::Succeeded,
            finished_at: Some(Wall(61_000)),
            exit_code: Some(0),
            cpu_ms: Some(12),
            max_rss_bytes: Some(4_096),
            output: b"",
            output_bytes: 0,
            job_deleted: true,
            contact: Some(Contact { reachable: false, last_seen: Wall(0) }),
            ..OPEN
        };
        check(
            ended,
            concat!(
                r#"{"id":"17-n1-1","job_name":"backup","started_at":"1970-01-01T00:01:00.250Z","#,
                r#""finished_at":"1970-01-01T00:01:01Z","success":true,"output":"","#,
                r#""node_name":"n1","group":17,"attempt":1,"state":"succeeded","#,
                r#""trigger":"schedule","scheduled_for":"1970-01-01T00:01:00Z","#,
                r#""exit_code":0,"signal":null,"duration_ms":750,"cpu_ms":12,"#,
                r#""max_rss_bytes":4096,"output_bytes":0,"output_truncated":false,"reason":"","#,
                r#""job_deleted":true,"reachable":false,"last_seen":"1970-01-01T00:00:00Z"}"#,
            ),
        );
        let skip = ExecutionView {
            node_name: "",
            state: State::Skipped,
            output: b"",
            output_bytes: 0,
            reason: "missed",
            skipped: Some(Skipped { from: Wall(1_000), count: SKIPPED_COUNT_MAX }),
            ..OPEN
        };
        let end = |count: &str| {
            [
                r#"{"id":"17-skip","job_name":"backup","started_at":"1970-01-01T00:01:00.250Z","#,
                r#""finished_at":"1970-01-01T00:01:00.250Z","success":false,"output":"","#,
                r#""node_name":"","group":17,"attempt":1,"state":"skipped","#,
                r#""trigger":"schedule","scheduled_for":"1970-01-01T00:01:00Z","#,
                r#""exit_code":null,"signal":null,"duration_ms":0,"cpu_ms":null,"#,
                r#""max_rss_bytes":null,"output_bytes":0,"output_truncated":false,"#,
                r#""reason":"missed","skipped_from":"1970-01-01T00:00:01Z","#,
                &format!("\"skipped_count\":{count}}}"),
            ]
            .concat()
        };
        check(skip, &end("10000"));
        let more = Skipped { from: Wall(1_000), count: SKIPPED_COUNT_MAX + 1 };
        check(ExecutionView { skipped: Some(more), ..skip }, &end("\"10000+\""));
    }

    #[test]
    fn states_and_triggers_are_named_by_their_words() {
        for state in State::ALL {
            assert_eq!(State::from_word(state.as_str()), Some(*state));
        }
        let open: Vec<_> = State::ALL.iter().filter(|s| s.is_open()).map(|s| s.as_str()).collect();
        assert_eq!(open, ["claimed", "queued", "starting", "running", "terminating"]);
        assert_eq!(Trigger::words(), ["schedule", "catchup", "manual", "parent", "retry"]);
        assert_eq!(State::from_word("done"), None);
    }

    #[test]
    fn random_executions_are_strict_json() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let output: Vec<u8> = (0..rng.below(20)).map(|_| rng.next_u64() as u8).collect();
            let mut maybe = |value: i64| rng.chance(1, 2).then_some(value);
            let view = ExecutionView {
                finished_at: maybe([i64::MIN, 61_000][seed as usize % 2]).map(Wall),
                started_at: Wall(maybe(i64::MAX).unwrap_or(5)),
                exit_code: maybe(-1).map(|n| n as i32),
                contact: maybe(1).map(|_| Contact { reachable: true, last_seen: Wall(1) }),
                skipped: maybe(1).map(|_| Skipped { from: Wall(1), count: 2 }),
                state: State::ALL[rng.below(State::ALL.len() as u64) as usize],
                output: &output,
                ..OPEN
            };
            let mut out = Vec::new();
            view.render(&mut out);
            let object = json::read_object(&out).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert!(object["finished_at"].is_string() && object["started_at"].is_string());
            let unfinished = view.state.is_open() || view.finished_at == Some(Wall(i64::MIN));
            let zero = object["finished_at"] == times::ZERO_TIME;
            assert_eq!(zero, unfinished, "seed {seed}: {view:?}");
        }
    }
}
