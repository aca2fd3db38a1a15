//! One job as a line of a backup: its definition as answers show it, and beside it what an empty
//! cluster must be told to go on as if it had always had the job.
//!
//! A job object of an answer, Dkron's too, can be read in the same way: what it does not tell is
//! taken for never having been.

use serde_json::{Map, Value};

use super::canonical;
use super::fields::{quoted, refuse, shown};
use super::json::kind;
use super::request::Refusal;
use super::show::{Counts, Status};
use super::times;
use super::write::Object;
use crate::cron::civil;
use crate::time::{Second, Wall};

/// What a backup holds of a job beside its definition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// What became of its executions.
    pub counts: Counts,
    /// When it was created, where that is told.
    pub created_at: Option<Wall>,
    /// When its definition last changed, where that is told.
    pub updated_at: Option<Wall>,
    /// From where `@every` counts, where that is told.
    pub anchor: Option<Second>,
    /// Up to where its due times are decided, where that is told.
    pub decided_until: Option<Second>,
}

/// Appends the line of a backup without its end.
///
/// # Panics
/// When `stored` is not what [`super::Spec::to_bytes`] gave.
pub fn render_kept(stored: &[u8], kept: &Kept, out: &mut Vec<u8>) {
    canonical::show(stored, out);
    let mut object = Object::resume(out);
    kept.counts.write(&mut object);
    object
        .maybe_time("created_at", kept.created_at)
        .maybe_time("updated_at", kept.updated_at)
        .maybe_time("anchor", kept.anchor.map(Second::wall))
        .maybe_time("decided_until", kept.decided_until.map(Second::wall));
    object.end();
}

impl Kept {
    /// Takes out of `object` what [`render_kept`] adds to a definition.
    ///
    /// # Errors
    /// With a sentence that names the key, when a value is none of its kind.
    pub fn take(object: &mut Map<String, Value>) -> Result<Kept, Refusal> {
        Ok(Kept {
            counts: Counts {
                success_count: count(object, "success_count")?,
                error_count: count(object, "error_count")?,
                missed_count: count(object, "missed_count")?,
                last_success: time(object, "last_success")?,
                last_error: time(object, "last_error")?,
                status: status(object)?,
            },
            created_at: time(object, "created_at")?,
            updated_at: time(object, "updated_at")?,
            anchor: time(object, "anchor")?.map(Wall::second),
            decided_until: time(object, "decided_until")?.map(Wall::second),
        })
    }
}

fn count(object: &mut Map<String, Value>, key: &str) -> Result<u64, Refusal> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value.as_u64().ok_or_else(|| {
            let why = format!("must be a whole number, 0 or more, not {}", shown(&value));
            refuse("", key, &why)
        }),
    }
}

/// A time; Go's zero time is what typed servers show for "never".
fn time(object: &mut Map<String, Value>, key: &str) -> Result<Option<Wall>, Refusal> {
    let text = match object.remove(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() || text == times::ZERO_TIME => {
            return Ok(None);
        }
        Some(Value::String(text)) if text.len() <= times::TEXT_MAX_BYTES => text,
        Some(other) => {
            let why = format!("must be a time or null, not {}", kind(&other));
            return Err(refuse("", key, &why));
        }
    };
    let at = civil::parse_rfc3339(&text).filter(|at| (Wall(0)..=times::MAX).contains(at));
    let wrong = || {
        let why = format!("{} is not a time of the years 1970-9999", quoted(&text));
        refuse("", key, &why)
    };
    at.map(Some).ok_or_else(wrong)
}

fn status(object: &mut Map<String, Value>) -> Result<Status, Refusal> {
    let word = match object.remove("status") {
        None | Some(Value::Null) => return Ok(Status::Untriggered),
        Some(Value::String(word)) => word,
        Some(other) => {
            let why = format!("must be a text, not {}", kind(&other));
            return Err(refuse("", "status", &why));
        }
    };
    match Status::from_word(&word) {
        // What runs there does not run here.
        Some(Status::Running) => Ok(Status::Untriggered),
        Some(status) => Ok(status),
        None => Err(refuse("", "status", &format!("{} is no status", quoted(&word)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::json;
    use crate::job::testing::{Fixed, random_hot, random_spec};
    use crate::job::{Draft, Mode};
    use crate::rng::Rng;

    #[test]
    fn a_line_of_a_backup_is_read_back_as_the_job_it_was_made_of() {
        for seed in 0..2_000 {
            let rng = &mut Rng::new(seed);
            let (spec, hot) = (random_spec(rng), random_hot(rng));
            let at = |rng: &mut Rng| Wall(rng.below(times::MAX.0 as u64) as i64).second();
            let status = match hot.counts.status {
                Status::Running => Status::Failed,
                other => other,
            };
            let kept = Kept {
                counts: Counts { status, ..hot.counts },
                created_at: Some(hot.created_at),
                updated_at: rng.chance(1, 2).then_some(hot.updated_at),
                anchor: rng.chance(1, 2).then(|| at(rng)),
                decided_until: rng.chance(1, 2).then(|| at(rng)),
            };
            let mut line = Vec::new();
            render_kept(&spec.to_bytes(), &kept, &mut line);
            assert!(!line.contains(&b'\n'), "seed {seed}");
            let mut object = json::read_object(&line).unwrap();
            assert_eq!(Kept::take(&mut object), Ok(kept), "seed {seed}");
            let draft = Draft::of(object);
            let parsed = draft.finish(None, Mode::Replace, None, &Fixed::default());
            let parsed = parsed.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(parsed.canonical, spec.to_bytes(), "seed {seed}");
            assert_eq!(parsed.ignored, Vec::<String>::new(), "seed {seed}");
        }
    }

    #[test]
    fn what_is_no_such_value_is_refused_by_its_key() {
        for (text, sentence) in [
            ("{}", ""),
            (r#"{"success_count":null,"last_error":null,"status":null}"#, ""),
            (r#"{"last_success":"0001-01-01T00:00:00Z","status":"running"}"#, ""),
            (r#"{"success_count":-1}"#, "success_count: must be a whole number, 0 or more, not -1"),
            (r#"{"last_error":7}"#, "last_error: must be a time or null, not a number"),
            (
                r#"{"anchor":"1969-12-31T23:59:59Z"}"#,
                "anchor: \"1969-12-31T23:59:59Z\" is not a time of the years 1970-9999",
            ),
            (r#"{"status":"good"}"#, "status: \"good\" is no status"),
            (r#"{"status":[]}"#, "status: must be a text, not an array"),
        ] {
            let read = Kept::take(&mut json::read_object(text.as_bytes()).unwrap());
            match read {
                Ok(kept) => assert_eq!((kept, sentence), (Kept::default(), ""), "{text}"),
                Err(refusal) => assert_eq!(refusal.sentence, sentence, "{text}"),
            }
        }
    }
}
