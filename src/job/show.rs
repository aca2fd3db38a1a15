//! The job object of an answer: its definition, and after it what changes without the user.
//!
//! The definition is shown from its stored bytes, which are copied and never read into values, so
//! that a long list costs little more than copying.

use crate::time::Wall;

use super::canonical;
use super::spec::words_of;
use super::write::Object;

/// What changes while a job runs. Times that never came are null.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hot {
    /// What became of its executions.
    pub counts: Counts,
    /// When it is due next.
    pub next: Option<Wall>,
    /// Names of the jobs that run after it.
    pub dependent_jobs: Vec<String>,
    /// Raised by every change of the definition.
    pub version: u64,
    /// When it was created.
    pub created_at: Wall,
    /// When its definition last changed.
    pub updated_at: Wall,
    /// Sentences for who created it; the key is left out when there are none.
    pub warnings: Vec<String>,
}

/// What became of the executions of a job, in every object that tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Executions that ended well.
    pub success_count: u64,
    /// Executions that ended badly, lost ones too.
    pub error_count: u64,
    /// Executions that were skipped or missed.
    pub missed_count: u64,
    /// When one last ended well.
    pub last_success: Option<Wall>,
    /// When one last ended badly.
    pub last_error: Option<Wall>,
    /// Of the last group of executions.
    pub status: Status,
}

impl Counts {
    pub(super) fn write(&self, object: &mut Object<'_>) {
        object
            .number("success_count", self.success_count)
            .number("error_count", self.error_count)
            .number("missed_count", self.missed_count)
            .maybe_time("last_success", self.last_success)
            .maybe_time("last_error", self.last_error)
            .text("status", self.status.as_str());
    }
}

/// The outcome of a job's last group of executions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// It has not run.
    #[default]
    Untriggered,
    /// Some are open.
    Running,
    /// All ended well.
    Success,
    /// All ended badly.
    Failed,
    /// Some ended well.
    PartiallyFailed,
}
words_of!(Status {
    Untriggered = "",
    Running = "running",
    Success = "success",
    Failed = "failed",
    PartiallyFailed = "partially_failed"
});

/// Appends a job object to `out`.
///
/// # Panics
/// When `stored` is not what [`super::Spec::to_bytes`] gave.
pub fn render(stored: &[u8], hot: &Hot, out: &mut Vec<u8>) {
    canonical::show(stored, out);
    let mut object = Object::resume(out);
    hot.counts.write(&mut object);
    object
        .maybe_time("next", hot.next)
        .list("dependent_jobs", &hot.dependent_jobs)
        .number("version", hot.version)
        .time("created_at", hot.created_at)
        .time("updated_at", hot.updated_at);
    if !hot.warnings.is_empty() {
        object.list("warnings", &hot.warnings);
    }
    object.end();
}

/// `json` with four spaces for each level and a newline at its end.
pub fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut pretty = Pretty::default();
    pretty.feed(json, &mut out);
    pretty.finish(&mut out);
    out
}

/// Deepest level that is still indented further, which bounds what a byte can become.
pub const INDENT_MAX: usize = 128;

/// Indents compact JSON that comes in pieces, split anywhere. Other bytes come out as something,
/// never as a panic.
#[derive(Clone, Debug, Default)]
pub struct Pretty {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// A bracket was opened; whether it is empty is not known yet.
    opened: bool,
}

impl Pretty {
    /// Appends the next piece, indented.
    pub fn feed(&mut self, json: &[u8], out: &mut Vec<u8>) {
        for &byte in json {
            if self.in_text {
                out.push(byte);
                self.in_text = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
            } else {
                self.structure(byte, out);
            }
        }
    }

    /// Appends the final newline.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.push(b'\n');
    }

    fn structure(&mut self, byte: u8, out: &mut Vec<u8>) {
        let closes = matches!(byte, b'}' | b']');
        if byte.is_ascii_whitespace() {
            return;
        }
        if closes {
            self.depth = self.depth.saturating_sub(1);
        }
        if self.opened != closes {
            self.line(out);
        }
        self.opened = false;
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.in_text = true,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        let width = 4 * self.depth.min(INDENT_MAX);
        out.resize(out.len() + width, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Spec;
    use crate::job::json;
    use crate::job::keys::env_text;
    use crate::job::testing::{random_hot, random_spec};
    use crate::rng::Rng;

    #[test]
    fn the_object_holds_every_key_once_and_in_order() {
        let spec = Spec {
            name: "a".into(),
            command: "echo \"x\"".into(),
            env: [("A".to_owned(), "1,2".to_owned()), ("B".to_owned(), String::new())].into(),
            ..Spec::default()
        };
        let hot = Hot {
            counts: Counts {
                success_count: 3,
                last_success: Some(Wall(1_500)),
                status: Status::PartiallyFailed,
                ..Counts::default()
            },
            version: 7,
            ..Hot::default()
        };
        let mut out = Vec::new();
        render(&spec.to_bytes(), &hot, &mut out);
        let wanted = concat!(
            r#"{"id":"a","name":"a","displayname":"","timezone":"","schedule":"","#,
            r#""command":"echo \"x\"","shell":false,"owner":"","owner_email":"","#,
            r#""run_as_user":"","disabled":false,"tags":{},"metadata":{},"retries":0,"#,
            r#""parent_job":"","processors":{},"concurrency":"allow","executor":"shell","#,
            r#""executor_config":{"command":"echo \"x\"","shell":"false","env":"A=1,2,B="},"#,
            r#""ephemeral":false,"starts_at":null,"expires_at":null,"env":{"A":"1,2","B":""},"#,
            r#""cwd":"","timeout":"","kill_grace":"10s","start_deadline":"1m0s","#,
            r#""catchup":"latest","catchup_window":"","catchup_max":100,"retry_backoff":"1s","#,
            r#""run_on":"all","queue_max":0,"limits":{},"output_limit":16777216,"keep":100,"#,
            r#""idempotent":false,"notify":[],"note":"","success_count":3,"error_count":0,"#,
            r#""missed_count":0,"last_success":"1970-01-01T00:00:01.500Z","last_error":null,"#,
            r#""status":"partially_failed","next":null,"dependent_jobs":[],"version":7,"#,
            r#""created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"}"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn random_jobs_are_shown_as_strict_json_plain_and_pretty() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let (spec, hot) = (random_spec(&mut rng), random_hot(&mut rng));
            let mut out = Vec::new();
            render(&spec.to_bytes(), &hot, &mut out);
            let object = json::read_object(&out).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert_eq!(object["version"], hot.version, "seed {seed}");
            let config = &object["executor_config"];
            for key in ["command", "cwd", "timeout"] {
                let shown = config.get(key).and_then(|text| text.as_str()).unwrap_or_default();
                assert_eq!(object[key], shown, "seed {seed}");
            }
            assert_eq!(object["shell"].to_string(), config["shell"].as_str().unwrap());
            let pairs = config.get("env").and_then(|text| text.as_str()).unwrap_or_default();
            assert_eq!(pairs, env_text(&spec.env), "seed {seed}");
            assert_eq!(object.contains_key("warnings"), !hot.warnings.is_empty(), "seed {seed}");
            let indented = json::read_object(&pretty(&out));
            assert_eq!(indented, Ok(object), "seed {seed}");

            // In pieces, as a long list is made.
            let (mut pieces, mut state) = (Vec::new(), Pretty::default());
            for piece in out.chunks(1 + rng.below(7) as usize) {
                state.feed(piece, &mut pieces);
            }
            state.finish(&mut pieces);
            assert_eq!(pieces, pretty(&out), "seed {seed}");
        }
    }

    #[test]
    fn pretty_is_four_spaces_and_a_final_newline() {
        for (json, wanted) in [
            ("", "\n"),
            ("[]", "[]\n"),
            ("{}", "{}\n"),
            ("[{}]", "[\n    {}\n]\n"),
            ("[1,\"a,\\\"b\\\\\"]", "[\n    1,\n    \"a,\\\"b\\\\\"\n]\n"),
            ("{\"a\":{\"b\":[]}}", "{\n    \"a\": {\n        \"b\": []\n    }\n}\n"),
            (" [ 1 , 2 ] ", "[\n    1,\n    2\n]\n"),
        ] {
            assert_eq!(String::from_utf8(pretty(json.as_bytes())).unwrap(), wanted, "{json}");
        }
    }

    #[test]
    fn pretty_takes_any_bytes_and_bounds_the_indent() {
        let alphabet = b"{}[]\",:\\ a\xff";
        for seed in 0..5_000 {
            let mut rng = Rng::new(seed);
            let text: Vec<u8> =
                (0..rng.below(60)).map(|_| alphabet[rng.below(11) as usize]).collect();
            assert!(pretty(&text).ends_with(b"\n"), "seed {seed}");
        }
        let deep = pretty(&b"[".repeat(1_000));
        assert!(deep.len() <= 1_000 * (2 + 4 * INDENT_MAX));
        assert!(deep.len() > 800 * 4 * INDENT_MAX);
    }

    #[test]
    #[should_panic(expected = "a stored definition is an object of known keys in their order")]
    fn other_bytes_are_not_shown_as_a_job() {
        render(b"[]", &Hot::default(), &mut Vec::new());
    }
}
